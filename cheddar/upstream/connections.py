"""Connections to upstream: to checked addresses only, bounded before the body begins, and closed at once when told."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
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
from cheddar.upstream.addresses import AddressRules, Origin, refusal

# Twisted's HTTP client bounds a header's line, not their number: an answer whose head never ends is cut here.
MAX_HEAD = 256 * 1024


@implementer(IAgentEndpointFactory)
@define(eq=False)
class CheckedEndpoints:
    """
    Makes the endpoints for an L{Agent<twisted.web.client.Agent>}, and knows the connections that came of them.

    @ivar _reactor: IReactorTCP, IReactorTime and IReactorPluggableNameResolver.
    @ivar _timeout: seconds for one attempt to connect.
    """

    _reactor: Any
    _rules: AddressRules
    _tls: IPolicyForHTTPS
    _timeout: float
    _open: set[_Connection] = field(factory=set)
    _closed: Deferred[None] | None = None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """An endpoint that connects to the host's checked addresses, with TLS for https."""
        origin = Origin(uri.scheme.decode("ascii"), uri.host.decode("ascii"), uri.port)
        return _CheckedEndpoint(self, origin)

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
        reactor = _CheckingReactor(self._reactor, self._rules, origin)
        endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, origin.host, origin.port, self._timeout)
        if origin.scheme == "https":
            creator = self._tls.creatorForNetloc(origin.host.encode("ascii"), origin.port)
            endpoint = wrapClientTLS(creator, endpoint)
        try:
            connection: Any = await endpoint.connect(_ConnectionFactory(factory, self))
        except DNSLookupError:
            refused = reactor.nameResolver.refused
            if refused:
                what = refused[0].replace("_", "-")
                raise refusal(refused[0], f"{origin}, whose address is {what}") from None
            raise
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
    """Between the HTTP client and its transport (inside TLS)."""

    factory: _ConnectionFactory
    transport: Any  # ITCPTransport, or TLS over it
    _head: int | None = None

    def connectionMade(self) -> None:
        self.factory.endpoints._opened(self)

    def loseConnection(self) -> None:
        """
        Close at once. The client closes where it wants nothing more of the other side; an orderly end would wait
        for one that hangs: for the bytes it owes, or for its part of TLS's good-bye.
        """
        self.transport.abortConnection()

    def writeSequence(self, data: Any) -> None:
        # A request goes out: what comes next is a head.
        self._head = 0
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
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.endpoints._lost(self)
        super().connectionLost(reason)
