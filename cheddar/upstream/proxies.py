"""
HTTP proxies on the way to upstream: which one is asked for an origin, and the tunnel through it.

A proxy resolves names itself. What it connects to cannot be checked from here, so with a proxy a private address is
only refused where it is spelled out in the URL; the proxy's own rules must do the rest.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from cheddar.errors import SettingsError, UpstreamUnavailable
from cheddar.upstream.addresses import DEFAULT_PORTS, Origin

#: The value of a setting that stands for "no proxy, whatever the environment says".
DIRECT = "none"
#: Bytes of a proxy's answer before the tunnel stands.
MAX_ANSWER = 16 * 1024


@frozen
class Proxy:
    """
    An HTTP proxy.

    @ivar origin: where it is; with C{https} the way to it is encrypted too.
    """

    origin: Origin
    _authorization: bytes | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """
        @param url: such as C{http://proxy.example:3128} or C{http://user:password@proxy.example}; without a scheme,
            as many have it in their environment, C{http}.
        @raise SettingsError: it is no such address; the message does not repeat it, for it may have a password.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.scheme not in DEFAULT_PORTS or not host.isascii():
            raise SettingsError("A proxy must be an address such as http://proxy.example:3128; SOCKS is not spoken.")
        authorization = None
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = b"Basic " + b64encode(login.encode())
        return cls(Origin(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme]), authorization)

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What a request that the proxy reads must have besides."""
        return () if self._authorization is None else ((b"Proxy-Authorization", self._authorization),)


#: Which proxy to ask for an origin; None: none.
Choice = Callable[[Origin], "Proxy | None"]


def proxies(setting: str, environ: Mapping[str, str]) -> Choice:
    """
    Read which proxies to ask.

    @param setting: the proxy's address, L{DIRECT}, or empty for what the environment says: C{HTTPS_PROXY},
        C{HTTP_PROXY}, C{ALL_PROXY} and C{NO_PROXY}, in lower case too, as other tools read them.
    @raise SettingsError: an address is none.
    """
    if setting == DIRECT:
        return no_proxy
    if setting:
        always = Proxy.parse(setting)
        return lambda origin: always
    lower = {name.lower(): value for name, value in environ.items() if name != name.lower()}
    lower.update((name, value) for name, value in environ.items() if name == name.lower())
    if "REQUEST_METHOD" in environ:
        # A CGI program's HTTP_PROXY is a header of its client's making.
        lower.pop("http_proxy", None)
    by_scheme = {}
    for scheme in DEFAULT_PORTS:
        url = lower.get(f"{scheme}_proxy") or lower.get("all_proxy")
        if url:
            by_scheme[scheme] = Proxy.parse(url)
    without = tuple(filter(None, (entry.strip().lower() for entry in lower.get("no_proxy", "").split(","))))

    def choose(origin: Origin) -> Proxy | None:
        return None if any(_covers(entry, origin) for entry in without) else by_scheme.get(origin.scheme)

    return choose


def _covers(entry: str, origin: Origin) -> bool:
    """Whether an entry of C{NO_PROXY} means C{origin}: a domain with all below it, an address, a network, or all."""
    if entry == "*":
        return True
    try:
        return ip_address(origin.host) in ip_network(entry, strict=False)
    except ValueError:
        pass
    name, _, port = entry.rpartition(":") if entry.rpartition(":")[2].isdigit() else (entry, "", "")
    name = name.removeprefix("*").strip(".")
    return port in ("", str(origin.port)) and (origin.host == name or origin.host.endswith(f".{name}"))


def no_proxy(origin: Origin) -> Proxy | None:
    """Never one."""
    return None


@implementer(IStreamClientEndpoint)
@define(eq=False)
class TunnelEndpoint:
    """
    Connects to an origin through a proxy (RFC 9110, section 9.3.6, CONNECT).

    @ivar _to_proxy: connects to the proxy itself.
    """

    _to_proxy: IStreamClientEndpoint
    _proxy: Proxy
    _origin: Origin

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IStreamClientEndpoint}. [UpstreamUnavailable: the proxy refuses]"""
        tunnels: list[_Tunnel] = []

        def build() -> _Tunnel:
            tunnels.append(_Tunnel(self._proxy, self._origin, protocolFactory))
            return tunnels[-1]

        def cancel(_: Any) -> None:
            connecting.cancel()
            for tunnel in tunnels:
                tunnel.abort()

        done: Deferred[IProtocol] = Deferred(cancel)
        connecting = self._to_proxy.connect(Factory.forProtocol(build))

        def ended(failure: Failure) -> None:
            if not done.called:  # else nobody wanted it any more
                done.errback(failure)

        def connected(protocol: Any) -> None:
            protocol.stands.addCallbacks(done.callback, ended)

        connecting.addCallbacks(connected, ended)
        return done


class _Tunnel(Protocol):
    """Asks the proxy; once it agrees, stands between the transport and the protocol that wanted the connection."""

    transport: Any  # ITCPTransport, or TLS over it

    def __init__(self, proxy: Proxy, origin: Origin, factory: IProtocolFactory) -> None:
        self.stands: Deferred[IProtocol] = Deferred()
        self._proxy = proxy
        self._origin = origin
        self._factory = factory
        self._answer = b""
        self._inner: Any = None

    def connectionMade(self) -> None:
        host = f"[{self._origin.host}]" if ":" in self._origin.host else self._origin.host
        there = f"{host}:{self._origin.port}".encode("ascii")
        lines = [b"CONNECT " + there + b" HTTP/1.1", b"Host: " + there]
        lines += [name + b": " + value for name, value in self._proxy.headers()]
        self.transport.write(b"\r\n".join([*lines, b"", b""]))

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._answer += data
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        if not end:
            if len(self._answer) > MAX_ANSWER:
                self._refuse("answers without an end")
            return
        words = head.split(b"\r\n")[0].split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            self._refuse("answered something other than HTTP")
        elif words[1] == b"407":
            self._refuse("wants another login than it got (407)")
        elif not words[1].startswith(b"2"):
            self._refuse(f"refuses ({words[1].decode('ascii')})")
        else:
            self._begin(rest)

    def _begin(self, rest: bytes) -> None:
        self._answer = b""
        inner: Any = self._factory.buildProtocol(_ProxyAddress(self._origin))
        self._inner = inner
        inner.makeConnection(self.transport)
        if rest:
            inner.dataReceived(rest)
        self.stands.callback(inner)

    def _refuse(self, why: str) -> None:
        error = UpstreamUnavailable(f"The proxy {self._proxy.origin} {why} for {self._origin}.")
        self.stands.errback(error)
        self.transport.abortConnection()

    def abort(self) -> None:
        """Nobody wants the tunnel any more."""
        if self.transport is not None:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.stands.called:
            error = UpstreamUnavailable(f"The proxy {self._proxy.origin} closed the connection to {self._origin}.")
            self.stands.errback(error)


@implementer(IAddress)
@frozen
class _ProxyAddress:
    """The far end of a tunnel: whatever address the proxy has found."""

    origin: Origin
