"""An HTTP proxy on loopback: tunnels, whole addresses, logins, and bad manners on command."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure


@define(eq=False)
class ForwardingProxy:
    """
    @ivar login: the C{Proxy-Authorization} that it wants; empty for none.
    @ivar answer: what it says to every request instead of serving it; empty to serve.
    @ivar leads_to: the TCP port that every name stands for: a proxy resolves names itself.
    @ivar requests: the first lines of what it was asked.
    @ivar heads: the same requests, whole.
    """

    reactor: Any
    login: bytes = b""
    answer: bytes = b""
    leads_to: int | None = None
    requests: list[bytes] = field(factory=list)
    heads: list[bytes] = field(factory=list)
    open: set[Any] = field(factory=set)
    port: Any = None

    async def start(self, tls: Any = None) -> None:
        """Listen, with TLS where a context is given."""
        factory = Factory.forProtocol(lambda: _FromClient(self))
        if tls is None:
            self.port = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(factory)
        else:
            self.port = self.reactor.listenSSL(0, factory, tls, interface="127.0.0.1")

    @property
    def address(self) -> str:
        """Where it is: C{127.0.0.1:PORT}."""
        return f"127.0.0.1:{self.port.getHost().port}"

    async def stop(self) -> None:
        """End it, with its connections."""
        await self.port.stopListening()
        ended = []
        for protocol in list(self.open):
            protocol.ended = Deferred()
            ended.append(protocol.ended)
            protocol.transport.abortConnection()
        for waiting in ended:
            await waiting


class _Piped(Protocol):
    transport: Any

    def __init__(self, proxy: ForwardingProxy, other: Any = None) -> None:
        self.proxy = proxy
        self.other = other
        self.ended: Deferred[None] | None = None

    def connectionMade(self) -> None:
        self.proxy.open.add(self)

    def dataReceived(self, data: bytes) -> None:
        self.other.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.proxy.open.discard(self)
        if self.other is not None:
            self.other.transport.loseConnection()
        if self.ended is not None:
            self.ended.callback(None)


class _FromClient(_Piped):
    _buffer = b""
    _tunnel = False

    def dataReceived(self, data: bytes) -> None:
        if self._tunnel:
            self.other.transport.write(data)
            return
        self._buffer += data
        head, end, self._buffer = self._buffer.partition(b"\r\n\r\n")
        if not end:
            self._buffer = head
            return
        self.proxy.heads.append(head)
        self.proxy.requests.append(head.split(b"\r\n")[0])
        if self.proxy.answer:
            self.transport.write(self.proxy.answer)
        elif self.proxy.login and b"Proxy-Authorization: " + self.proxy.login not in head.split(b"\r\n"):
            self.transport.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        else:
            self._serve(head)

    def _serve(self, head: bytes) -> None:
        method, url, rest = head.split(b" ", 2)
        authority = url if method == b"CONNECT" else url.split(b"/")[2]
        host, colon, port = authority.decode().rpartition(":")
        if self.other is not None:
            self._pass_on(method, url, rest)
            return
        self.transport.pauseProducing()
        if self.proxy.leads_to is not None:
            host, port = "127.0.0.1", str(self.proxy.leads_to)
        there = TCP4ClientEndpoint(self.proxy.reactor, host if colon else port, int(port) if colon else 80)

        def connected(other: Any) -> None:
            self.other = other
            self.transport.resumeProducing()
            if method == b"CONNECT":
                self._tunnel = True
                self.transport.write(b"HTTP/1.1 200 Connection established\r\nVia: tests\r\n\r\n")
            else:
                self._pass_on(method, url, rest)

        def failed(_: Failure) -> None:
            self.transport.resumeProducing()
            self.transport.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

        connectProtocol(there, _Piped(self.proxy, self)).addCallbacks(connected, failed)

    def _pass_on(self, method: bytes, url: bytes, rest: bytes) -> None:
        path = b"/" + url.split(b"/", 3)[3]
        self.other.transport.write(b" ".join((method, path, rest)) + b"\r\n\r\n")
