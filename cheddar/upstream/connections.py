"""Connections to upstream: to checked addresses only, bounded before the body begins, and closed at once when told."""

from __future__ import annotations

from typing import Any

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import UpstreamBroken
from cheddar.upstream.addresses import AddressRules, Origin, refusal
from cheddar.upstream.proxies import Choice, Proxy, TunnelEndpoint, no_proxy

# Twisted's HTTP client bounds a header's line, not their number: an answer whose head never ends is cut here.
MAX_HEAD = 256 * 1024
#: Bytes of one read where a long body comes: each takes the whole way through Twisted's client and to the disk.
LONG_READ = 256 * 1024
#: Of one read of a body in chunks, which may have one byte each: Twisted takes them out one after the other, and nobody
#: else has a turn meanwhile.
CHUNKED_READ = 16 * 1024
_CHUNKED = b"chunked"


@implementer(IAgentEndpointFactory)
@define(eq=False)
class CheckedEndpoints:
    """
    Makes the endpoints for an L{Agent<twisted.web.client.Agent>}, and knows the connections that came of them.

    @ivar _reactor: IReactorTCP, IReactorTime and IReactorPluggableNameResolver.
    @ivar _timeout: seconds for one attempt to connect.
    @ivar _proxy_for: the proxy on the way to an origin; the administrator chose it: it may be private.
    """

    _reactor: Any
    _rules: AddressRules
    _tls: IPolicyForHTTPS
    _timeout: float
    _proxy_for: Choice = no_proxy
    _open: set[_Connection] = field(factory=set)
    _closed: Deferred[None] | None = None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """An endpoint that connects to the host's checked addresses, with TLS for https."""
        origin = Origin(uri.scheme.decode("ascii"), uri.host.decode("ascii"), uri.port)
        return _CheckedEndpoint(self, origin)

    def to_proxy(self, origin: Origin) -> tuple[Proxy, IStreamClientEndpoint] | None:
        """
        For an origin of plain HTTP: the proxy that its requests are sent to whole (RFC 9112, section 3.2.2), and the
        endpoint that connects to it. None where there is no proxy, or a tunnel through it.

        @raise UpstreamBroken: the origin is a private address.
        """
        proxy = self._proxy_for(origin)
        if proxy is None or origin.scheme != "http":
            return None
        self._check_literal(origin)
        return proxy, _ProxyEndpoint(self, proxy)

    def abort_all(self) -> Deferred[None]:
        """Close every connection. @return: fires when none is left."""
        if not self._open:
            return succeed(None)
        self._closed = Deferred()
        for connection in list(self._open):
            connection.loseConnection()
        return self._closed

    @returns_deferred
    async def connect(self, origin: Origin, factory: IProtocolFactory) -> IProtocol:
        """
        Connect to C{origin}, at whichever of its addresses answers first (RFC 8305).

        @raise UpstreamBroken: it has addresses, and none that may be asked.
        """
        proxy = self._proxy_for(origin)
        if proxy is not None:
            self._check_literal(origin)
            through = TunnelEndpoint(self._connector(self._reactor, proxy.origin), proxy, origin)
            return await self._connected(self._wrapped(through, origin), factory)
        reactor = _CheckingReactor(self._reactor, self._rules, origin)
        try:
            return await self._connected(self._connector(reactor, origin), factory)
        except DNSLookupError:
            refused = reactor.nameResolver.refused
            if refused:
                raise _refused(refused[0], origin) from None
            raise

    @returns_deferred
    async def connect_to_proxy(self, proxy: Proxy, factory: IProtocolFactory) -> IProtocol:
        """Connect to the proxy itself."""
        return await self._connected(self._connector(self._reactor, proxy.origin), factory)

    def _connector(self, reactor: Any, origin: Origin) -> IStreamClientEndpoint:
        return self._wrapped(HostnameEndpoint(reactor, origin.host, origin.port, self._timeout), origin)

    def _wrapped(self, endpoint: IStreamClientEndpoint, origin: Origin) -> IStreamClientEndpoint:
        if origin.scheme != "https":
            return endpoint
        wrapped: IStreamClientEndpoint = wrapClientTLS(
            self._tls.creatorForNetloc(origin.host.encode("ascii"), origin.port), endpoint
        )
        return wrapped

    def _check_literal(self, origin: Origin) -> None:
        """What a proxy makes of a name is not known here; an address that is spelled out is."""
        try:
            reason = self._rules.reason_against(origin, origin.host)
        except ValueError:
            return
        if reason is not None:
            raise _refused(reason, origin)

    async def _connected(self, endpoint: IStreamClientEndpoint, factory: IProtocolFactory) -> IProtocol:
        connection: Any = await endpoint.connect(_ConnectionFactory(factory, self))
        protocol: IProtocol = connection.wrappedProtocol
        return protocol

    def _opened(self, connection: _Connection) -> None:
        self._open.add(connection)

    def _lost(self, connection: _Connection) -> None:
        self._open.discard(connection)
        if not self._open and self._closed is not None:
            closed, self._closed = self._closed, None
            closed.callback(None)


@implementer(IStreamClientEndpoint)
@define(eq=False)
class _CheckedEndpoint:
    _endpoints: CheckedEndpoints
    _origin: Origin

    def __repr__(self) -> str:
        return f"<upstream {self._origin}>"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self._endpoints.connect(self._origin, protocolFactory)


@implementer(IStreamClientEndpoint)
@frozen
class _ProxyEndpoint:
    # Two of the same proxy are equal: connections to it are kept and used again.
    _endpoints: CheckedEndpoints
    _proxy: Proxy

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self._endpoints.connect_to_proxy(self._proxy, protocolFactory)


def _refused(reason: str, origin: Origin) -> UpstreamBroken:
    return refusal(reason, f"{origin}, whose address is {reason.replace('_', '-')}")


@implementer(IReactorPluggableNameResolver)
class _CheckingReactor:
    """
    As much of a reactor as HostnameEndpoint uses, with a resolver that leaves out what must not be asked.

    The endpoint resolves once and connects to the very addresses it was given: a name that resolves differently a
    moment later (DNS rebinding) gains nothing.
    """

    def __init__(self, reactor: Any, rules: AddressRules, origin: Origin) -> None:
        self.nameResolver = _CheckedResolver(reactor.nameResolver, rules, origin)
        self.connectTCP = reactor.connectTCP
        self.callLater = reactor.callLater
        self.seconds = reactor.seconds

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        raise NotImplementedError("the resolver of one connection is not replaced")


@implementer(IHostnameResolver)
@define(eq=False)
class _CheckedResolver:
    _resolver: IHostnameResolver
    _rules: AddressRules
    _origin: Origin
    refused: list[str] = field(factory=list)

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        checked = _CheckedReceiver(resolutionReceiver, self)
        return self._resolver.resolveHostName(checked, hostName, portNumber, addressTypes, transportSemantics)

    def allows(self, address: IAddress) -> bool:
        if not isinstance(address, IPv4Address | IPv6Address):
            return False
        reason = self._rules.reason_against(self._origin, address.host)
        if reason is not None:
            self.refused.append(reason)
        return reason is None


@implementer(IResolutionReceiver)
@define(eq=False)
class _CheckedReceiver:
    _receiver: IResolutionReceiver
    _resolver: _CheckedResolver

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:
        if self._resolver.allows(address):
            self._receiver.addressResolved(address)

    def resolutionComplete(self) -> None:
        self._receiver.resolutionComplete()


class _ConnectionFactory(WrappingFactory["_Connection"]):
    noisy = False

    def __init__(self, factory: IProtocolFactory, endpoints: CheckedEndpoints) -> None:
        super().__init__(factory)
        self.endpoints = endpoints

    def buildProtocol(self, addr: IAddress | None) -> _Connection:
        inner = self.wrappedFactory.buildProtocol(addr)
        return _Connection(self, inner)


class _Connection(ProtocolWrapper):
    """
    Between the HTTP client and its transport (inside TLS).

    What comes takes the whole way through Twisted's client and on to the disk with each call: bodies are handed on in
    large pieces.
    """

    factory: _ConnectionFactory
    transport: Any  # ITCPTransport, or TLS over it
    _head: int | None = None
    _socket: Any = None
    _usual_read = 0
    _begun = b""
    _chunked = False
    _flushing: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self.factory.endpoints._opened(self)
        self._records: list[bytes] = []
        self._socket = self.transport
        while isinstance(self._socket, ProtocolWrapper):
            self._socket = self._socket.transport
        self._usual_read = getattr(self._socket, "bufferSize", 0)

    def loseConnection(self) -> None:
        """
        Close at once. The client closes where it wants nothing more of the other side; an orderly end would wait
        for one that hangs: for the bytes it owes, or for its part of TLS's good-bye.
        """
        self._records.clear()
        self.transport.abortConnection()

    def writeSequence(self, data: Any) -> None:
        if self._records:
            # What has come already would be taken for the answer.
            self.loseConnection()
            return
        # A request goes out: what comes next is a head.
        self._head = 0
        self._begun, self._chunked = b"", False
        # The first bytes of a body are waited for: they do not wait for more.
        self._read_at_most(self._usual_read)
        super().writeSequence(data)

    def pauseProducing(self) -> None:
        # The client pauses once it has read the head, until somebody takes the body.
        self._head = None
        self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        if self._head is not None:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self.loseConnection()
                return
            self._look_for_chunks(data)
            super().dataReceived(data)
        elif self._socket is self.transport or self._chunked:
            self._hand_on(data)
        else:
            # TLS gives each of its records, of 16 KiB at most (RFC 8446, section 5.1), by itself.
            self._records.append(data)
            if self._flushing is None:
                self._flushing = self.factory.endpoints._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        # The last one by itself: if it comes after the end of the body, the client must see that it is not of it.
        if len(self._records) > 1:
            body = b"".join(self._records[:-1])
            del self._records[:-1]
            self._hand_on(body)
        if self._records:
            self._hand_on(self._records.pop(0))

    def _hand_on(self, data: bytes) -> None:
        if len(data) > self._usual_read / 2 and not self._chunked:
            # Before: the next request may go out at the end of this body.
            self._read_at_most(LONG_READ)
        super().dataReceived(data)

    def _look_for_chunks(self, data: bytes) -> None:
        # Some of the body may come with the head, and have the word in it: it is read in smaller pieces then.
        text = self._begun + data
        self._begun = text[1 - len(_CHUNKED) :]
        if not self._chunked and _CHUNKED in text.lower():
            self._chunked = True
            self._read_at_most(CHUNKED_READ)

    def _read_at_most(self, size: int) -> None:
        if self._usual_read:
            self._socket.bufferSize = size

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.endpoints._lost(self)
        if self._flushing is not None:
            self._flushing.cancel()
            self._flush()
        super().connectionLost(reason)
