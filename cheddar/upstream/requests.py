"""One GET to upstream: through checked redirects, with one more try where no byte came, to the head of the answer."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ProxyAgent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from cheddar import __version__
from cheddar.errors import CheddarError, UpstreamBroken, UpstreamUnavailable
from cheddar.upstream.addresses import AddressRules, Target
from cheddar.upstream.answers import REDIRECTS, error_from, error_of, header, is_down, never_answered, retry_after
from cheddar.upstream.bodies import discard
from cheddar.upstream.breaker import Breaker, Breakers
from cheddar.upstream.connections import CheckedEndpoints
from cheddar.upstream.credentials import OriginCredentials

MAX_REDIRECTS = 5
#: Statuses whose Retry-After is about all that comes from there (RFC 6585, section 4; RFC 9110, section 15.6.4).
HOLDING = frozenset({429, 503})
IDLE_CONNECTION_SECONDS = 60

_log = Logger()


@define(eq=False)
class Requests:
    """
    Sends GETs.

    @ivar _timeout: seconds until the head of an answer must be there.
    @ivar _kept: connections that are used again; C{_fresh}: those that are not.
    """

    _clock: IReactorTime
    _timeout: float
    _rules: AddressRules
    _credentials: OriginCredentials
    _breakers: Breakers
    _kept_pool: HTTPConnectionPool
    _kept: IAgent
    _fresh: IAgent
    _user_agent: bytes = field(init=False, default=f"Cheddar/{__version__}".encode())

    @classmethod
    def over(
        cls,
        reactor: Any,
        endpoints: CheckedEndpoints,
        connections: int,
        timeout: float,
        rules: AddressRules,
        credentials: OriginCredentials,
        breakers: Breakers,
    ) -> Requests:
        """@param connections: how many idle ones to keep open per host."""
        pool = HTTPConnectionPool(reactor, persistent=True)
        pool.maxPersistentPerHost = connections
        pool.cachedConnectionTimeout = IDLE_CONNECTION_SECONDS
        # Its own second try might take another connection that is as dead; ours takes a new one.
        pool.retryAutomatically = False
        kept = _Agents(reactor, endpoints, pool)
        fresh = _Agents(reactor, endpoints, HTTPConnectionPool(reactor, persistent=False))
        return cls(reactor, timeout, rules, credentials, breakers, pool, kept, fresh)

    async def get(
        self,
        target: Target,
        headers: Headers,
        what: str,
        *,
        verbatim: bool = True,
        expected: frozenset[int] = frozenset(),
    ) -> tuple[IResponse, Target]:
        """
        @param what: what is asked for, for messages.
        @param verbatim: whether the body must be the bytes that upstream keeps; else it may come compressed.
        @param expected: statuses that the caller makes sense of itself.
        @return: an answer that is 200 (or 304, where C{headers} are conditional; or C{expected}), its body not yet
            taken; and the address that gave it.
        @raise NotFound: [UpstreamUnavailable, UpstreamBroken]
        """
        self._rules.check(target)
        conditional = headers.hasHeader(b"If-None-Match") or headers.hasHeader(b"If-Modified-Since")
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._answer(target, headers, what, verbatim, expected)
            if response.code not in REDIRECTS:
                if response.code in expected or (response.code == 304 and conditional):
                    return response, target
                error = error_of(response, target, what, self._clock.seconds())
                if error is None:
                    return response, target
                await discard(response, self._clock)
                raise error
            location = header(response.headers, "Location")
            await discard(response, self._clock)
            if not location:
                raise UpstreamBroken(f"{target.origin} redirects the request for {what} to nowhere.")
            target = self._rules.follow(target, location)
        raise UpstreamBroken(f"Upstream redirects the request for {what} more than {MAX_REDIRECTS} times.")

    def close(self) -> None:
        """Forget the idle connections, and their timers."""
        self._kept_pool.closeCachedConnections().addErrback(lambda _: None)

    async def _answer(
        self, target: Target, headers: Headers, what: str, verbatim: bool, expected: frozenset[int]
    ) -> IResponse:
        breaker = self._breakers.of(target.origin)
        breaker.enter()
        try:
            response = await self._send_twice(target, headers, verbatim)
        except UpstreamBroken:
            breaker.left()
            raise
        except CheddarError as error:
            breaker.bad(str(error))
            raise
        except BaseException:
            breaker.left()
            raise
        if response.code in expected:
            breaker.good()
        else:
            self._judge(breaker, response, target, what)
        return response

    def _judge(self, breaker: Breaker, response: IResponse, target: Target, what: str) -> None:
        if not is_down(response):
            breaker.good()
            return
        breaker.bad(str(error_of(response, target, what, self._clock.seconds())))
        wait = retry_after(response.headers, self._clock.seconds())
        if response.code in HOLDING and wait is not None:
            breaker.hold(wait)

    async def _send_twice(self, target: Target, headers: Headers, verbatim: bool) -> IResponse:
        try:
            return await self._send(self._kept, target, headers, verbatim)
        except (CheddarError, CancelledError):
            raise
        except Exception as error:
            if not never_answered(error):
                raise error_from(error, target) from error
            _log.info("{origin} closed a connection without an answer: asking once more", origin=str(target.origin))
        try:
            return await self._send(self._fresh, target, headers, verbatim)
        except CancelledError:
            raise
        except Exception as error:
            raise error_from(error, target) from error

    def _send(self, agent: IAgent, target: Target, headers: Headers, verbatim: bool) -> Deferred[IResponse]:
        headers = headers.copy()
        headers.setRawHeaders(b"User-Agent", [self._user_agent])
        authorization = self._credentials.authorization(target)
        if authorization is not None:
            headers.setRawHeaders(b"Authorization", [authorization])
        if verbatim or ":" in target.origin.host:
            # treq always adds gzip to what is accepted, and takes an IPv6 address for a name to be encoded.
            if not verbatim:
                headers.setRawHeaders(b"Accept-Encoding", [b"gzip"])
            asked = agent.request(b"GET", str(target).encode("ascii"), headers, None)
        else:
            asked = _get_compressed(agent, target, headers, self._clock)
        return _within(self._timeout, self._clock, asked, target)


@implementer(IAgent)
class _Agents:
    """Sends a request to its origin, maybe through a tunnel; or to the proxy of an origin of plain HTTP."""

    def __init__(self, reactor: Any, endpoints: CheckedEndpoints, pool: HTTPConnectionPool) -> None:
        self._reactor = reactor
        self._endpoints = endpoints
        self._pool = pool
        self._direct = Agent.usingEndpointFactory(reactor, endpoints, pool)

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """See L{IAgent.request}."""
        found = self._endpoints.to_proxy(Target.parse(uri.decode("ascii")).origin)
        if found is None:
            direct: Deferred[IResponse] = self._direct.request(method, uri, headers, bodyProducer)
            return direct
        proxy, endpoint = found
        headers = Headers() if headers is None else headers.copy()
        for name, value in proxy.headers():
            headers.setRawHeaders(name, [value])
        agent = ProxyAgent(endpoint, self._reactor, self._pool)
        asked: Deferred[IResponse] = agent.request(method, uri, headers, bodyProducer)
        return asked


_CODING, _SET_ASIDE = b"Content-Encoding", b"X-Set-Aside-Content-Encoding"


@implementer(IAgent)
@define(eq=False)
class _CodingSetAside:
    """
    Hides an answer's content coding from treq, which would inflate it without a bound: 65 kB on the wire can become
    64 MiB in one call.
    """

    _agent: IAgent

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """See L{IAgent.request}."""
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(_rename, _CODING, _SET_ASIDE)


def _rename(response: IResponse, old: bytes, new: bytes) -> IResponse:
    values = response.headers.getRawHeaders(old)
    if values is not None:
        response.headers.removeHeader(old)
        response.headers.setRawHeaders(new, values)
    return response


def _get_compressed(agent: IAgent, target: Target, headers: Headers, clock: IReactorTime) -> Deferred[IResponse]:
    # A client of its own for each request: no cookie outlives the answer that set it.
    client: Any = HTTPClient(_CodingSetAside(agent))  # its types want more of a reactor than the clock it uses
    asked: Deferred[IResponse] = client.get(
        str(target), headers=headers, allow_redirects=False, unbuffered=True, reactor=clock
    )
    return asked.addCallback(_rename, _SET_ASIDE, _CODING)


def _within(seconds: float, clock: IReactorTime, asked: Deferred[IResponse], target: Target) -> Deferred[IResponse]:
    # What Twisted makes of a cancelled request depends on how far it was: an unknown host, a connection that failed,
    # an answer that never came. Only whoever cancelled knows better.
    answer: Deferred[IResponse] = Deferred(lambda _: stop())

    def too_late() -> None:
        stop()
        answer.errback(UpstreamUnavailable(f"{target.origin} did not answer within {seconds:g} seconds."))

    timer = clock.callLater(seconds, too_late)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        if timer.active():
            timer.cancel()
        asked.cancel()

    def ended(result: IResponse | Failure) -> None:
        if stopped:
            return
        timer.cancel()
        if isinstance(result, Failure):
            answer.errback(result)
        else:
            answer.callback(result)

    asked.addBoth(ended)
    return answer
