"""The client of the other server behind a remote index."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface import implementer

from cheddar import metrics
from cheddar.deferreds import returns_deferred
from cheddar.errors import CheddarError, NotFound, UpstreamBroken, UpstreamUnavailable
from cheddar.formats import simple_html, simple_json
from cheddar.interfaces import IBodyReceiver, IUpstream
from cheddar.model import Fetched, NotModified, Project, Ranged, Validators
from cheddar.upstream.addresses import AddressRules, Target
from cheddar.upstream.answers import header
from cheddar.upstream.bodies import BrokenOff, collect, drop, inflate, receive
from cheddar.upstream.breaker import Breaker, Breakers
from cheddar.upstream.connections import CheckedEndpoints
from cheddar.upstream.credentials import OriginCredentials, split_credentials
from cheddar.upstream.proxies import Choice, no_proxy
from cheddar.upstream.ranges import PARTIAL, REFUSALS, WithoutRanges, part_of, range_header
from cheddar.upstream.requests import Requests
from cheddar.upstream.resuming import RESUMPTIONS, Counting, Whole
from cheddar.upstream.tls import OwnCertificatePolicy

JSON_TYPES = frozenset({"application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.latest+json"})
HTML_TYPES = frozenset({"application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.latest+html", "text/html"})
# PEP 691, "Version + Format Selection"; JSON first, for HTML lacks sizes and times.
ACCEPT = b"application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
MAX_PAGE = 32 * 1024**2
MAX_INFLATED_PAGE = 256 * 1024**2
MAX_RANGE = 32 * 1024**2
MAX_FILE = 16 * 1024**3
# Downloads are long and pages are short: each has its own places, and there are more for what takes longer.
DOWNLOADS_PER_CONNECTION = 4
LONGEST_CONNECT = 10.0
# RFC 9111, section 5.2.1.4; and section 5.4, for caches of HTTP/1.0's days.
UNCACHED = Headers({b"Cache-Control": [b"no-cache"], b"Pragma": [b"no-cache"]})

_log = Logger()
T = TypeVar("T")


@implementer(IUpstream)
class Upstream:
    """
    One other server, asked over HTTP(S).

    @ivar url: the address of its Simple API, with a slash at its end and without credentials.
    """

    def __init__(
        self,
        url: str,
        *,
        reactor: Any,
        pool: ThreadPool,
        timeout: float,
        connections: int,
        trust: Any = None,
        proxy_for: Choice = no_proxy,
        name: str = "",
        credentials: OriginCredentials | None = None,
        certificate: PrivateCertificate | None = None,
        max_file: int = MAX_FILE,
    ) -> None:
        """
        @param url: the address of the Simple API, maybe with credentials: they are sent to its origin alone.
        @param reactor: IReactorTCP, IReactorTime, IReactorFromThreads and IReactorPluggableNameResolver.
        @param pool: where pages are parsed.
        @param timeout: seconds after which an upstream that sends nothing is given up.
        @param connections: how many pages are fetched at a time, and idle connections kept per host.
        @param trust: the certificate authorities to believe, as L{twisted.internet.ssl.trustRootFromCertificates}
            gives them; None: the platform's.
        @param proxy_for: the proxy on the way to an origin.
        @param name: what the settings call it; files of its pages say that they are its.
        @param credentials: of its origin, in place of those in C{url}.
        @param certificate: shown to its origin.
        @param max_file: bytes of the largest file that is fetched.
        @raise UpstreamBroken: C{url} is no http(s) address.
        """
        bare, in_url = split_credentials(url.rstrip("/") + "/")
        base = Target.parse(bare)
        self.name = name
        self.url = str(base)
        self._base = base
        self._reactor = reactor
        self._pool = pool
        self._timeout = timeout
        self._max_file = max_file
        self._rules = AddressRules(base.origin)
        tls = OwnCertificatePolicy(trust, base.origin, certificate)
        self._endpoints = CheckedEndpoints(reactor, self._rules, tls, min(timeout, LONGEST_CONNECT), proxy_for)
        self._own_breaker = Breaker(reactor)
        self._breakers = Breakers(reactor, base.origin, self._own_breaker)
        self._requests = Requests.over(
            reactor, self._endpoints, connections, timeout, self._rules, credentials or in_url, self._breakers
        )
        self._page_places = DeferredSemaphore(connections)
        self._file_places = DeferredSemaphore(connections * DOWNLOADS_PER_CONNECTION)
        self._range_places = DeferredSemaphore(connections)
        self._without_ranges = WithoutRanges(reactor)
        self._under_way: set[Deferred[Any]] = set()
        self._stopped = False

    def fetch_project(self, name: str, validators: Validators) -> Deferred[Fetched | NotModified]:
        """
        @param name: normalized.
        @raise NotFound: upstream has no such project. [UpstreamUnavailable, UpstreamBroken]
        """
        return self._start("page", self._page_places, lambda: self._fetch_project(name, validators))

    def fetch_file(self, url: str, receiver: IBodyReceiver, *, uncached: bool = False) -> Deferred[None]:
        """
        See L{IUpstream}. Cancelling ends it, and its connection.

        @param url: absolute; checked like any address that upstream names.
        @return: fires at the end of the body; where upstream does not say how long it is, that is the end of the
            connection, and only a digest tells whether it was whole. [NotFound, UpstreamUnavailable, UpstreamBroken;
            FileTooLarge, which it will be the next time too; what the receiver raised]
        """
        return self._start("file", self._file_places, lambda: self._fetch_file(url, receiver, uncached))

    def fetch_bytes(self, url: str, limit: int) -> Deferred[bytes]:
        """A small body, at most C{limit} bytes. [NotFound, UpstreamUnavailable, UpstreamBroken]"""
        return self._start("metadata", self._page_places, lambda: self._fetch_bytes(url, limit))

    def fetch_range(self, url: str, first: int, last: int | None = None) -> Deferred[Ranged]:
        """
        See L{IUpstream}. An origin that answers with something other than the part is left alone for an hour, and
        what it answered is not read: it may be the whole file.

        @param url: absolute; checked like any address that upstream names.
        """
        return self._start("range", self._range_places, lambda: self._fetch_range(url, first, last))

    def state(self) -> Mapping[str, object]:
        """Whether the last answer of the configured origin was good (C{ok}), and since when; for readiness."""
        breaker = self._own_breaker
        return {
            "name": self.name,
            "url": self.url,
            "ok": not breaker.failures,
            "failures": breaker.failures,
            "breaker": breaker.state,
            "since": breaker.since,
            "error": breaker.error,
        }

    @returns_deferred
    async def stop(self) -> None:
        """Break off what is under way, and close all connections."""
        self._stopped = True
        for deferred in list(self._under_way):
            deferred.cancel()
        self._requests.close()
        await self._endpoints.abort_all()

    def _start(self, kind: str, places: DeferredSemaphore, fetch: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        deferred = Deferred.fromCoroutine(self._counted(kind, places, fetch))
        self._under_way.add(deferred)

        def ended(result: Any) -> Any:
            self._under_way.discard(deferred)
            return result

        return deferred.addBoth(ended)

    async def _counted(self, kind: str, places: DeferredSemaphore, fetch: Callable[[], Coroutine[Any, Any, T]]) -> T:
        outcome = "error"
        try:
            if self._stopped:
                raise UpstreamUnavailable("Cheddar is stopping.")
            await places.acquire()
            try:
                result = await fetch()
            finally:
                places.release()
            outcome = "not_modified" if isinstance(result, NotModified) else "ok"
            return result
        except NotFound:
            outcome = "not_found"
            raise
        except UpstreamUnavailable:
            outcome = "unavailable"
            raise
        except UpstreamBroken as error:
            outcome = "broken"
            _log.warn("Upstream answered wrongly: {error}", error=str(error))
            raise
        except CancelledError:
            outcome = "cancelled"
            if self._stopped:
                raise UpstreamUnavailable("Cheddar is stopping.") from None
            raise
        finally:
            metrics.upstream_requests.labels(kind, outcome).inc()

    async def _fetch_project(self, name: str, validators: Validators) -> Fetched | NotModified:
        target = Target.parse(f"{self.url}{quote(name)}/")
        what = f"project {name}"
        headers = Headers({b"Accept": [ACCEPT]})
        if validators.url != self.url:
            # Another server's: a date of its own would make an older page of this one's "not modified".
            validators = Validators()
        if validators.etag is not None:
            headers.setRawHeaders(b"If-None-Match", [validators.etag.encode("latin-1")])
        if validators.last_modified is not None:
            headers.setRawHeaders(b"If-Modified-Since", [validators.last_modified.encode("latin-1")])
        response, there = await self._requests.get(target, headers, what, verbatim=False)
        if response.code == 304:
            if _confirms(response, validators):
                return NotModified()
            return await self._fetch_project(name, Validators())
        kind = header(response.headers, "Content-Type") or ""
        encoding = header(response.headers, "Content-Encoding") or ""
        answered = Validators(
            header(response.headers, "ETag"),
            header(response.headers, "Last-Modified"),
            _serial(header(response.headers, "X-PyPI-Last-Serial") or ""),
            self.url,
        )
        body, sure = await collect(response, MAX_PAGE, self._reactor, self._timeout)
        project: Project = await deferToThreadPool(
            self._reactor, self._pool, _read_page, body, sure, encoding, kind, name, str(there), self.name
        )
        return Fetched(project, answered)

    async def _fetch_file(self, url: str, receiver: IBodyReceiver, uncached: bool) -> None:
        target = Target.parse(url)
        response = await self._verbatim(target, f"file {_filename(target)}", UNCACHED if uncached else Headers())
        whole, counting = Whole.of(response), Counting(receiver, self._max_file)
        left = 0 if whole is None else RESUMPTIONS
        while True:
            received = counting.received
            try:
                await receive(response, counting, self._reactor, self._timeout)
                return
            except BrokenOff as error:
                if whole is None or not left or counting.received == received:
                    raise
                left -= 1
                response = await self._rest(target, whole, counting.received, error)

    async def _rest(self, target: Target, whole: Whole, first: int, error: BrokenOff) -> IResponse:
        """@raise BrokenOff: C{error}, where the rest is not to be had."""
        name = _filename(target)
        _log.info("Going on with {name} from byte {first}: {error}", name=name, first=first, error=error)
        headers = whole.headers_from(first)
        try:
            response = await self._verbatim(target, f"file {name}", headers, REFUSALS | {PARTIAL})
        except CheddarError as again:
            raise error from again
        if not whole.goes_on(response, first):
            drop(response, self._reactor)
            raise error
        metrics.downloads_resumed.inc()
        return response

    async def _fetch_bytes(self, url: str, limit: int) -> bytes:
        target = Target.parse(url)
        response = await self._verbatim(target, f"file {_filename(target)}", Headers())
        body, _ = await collect(response, limit, self._reactor, self._timeout)
        return body

    async def _fetch_range(self, url: str, first: int, last: int | None) -> Ranged:
        target = Target.parse(url)
        self._without_ranges.check(target.origin)
        headers = Headers({b"Accept-Encoding": [b"identity"], b"Range": [range_header(first, last).encode("ascii")]})
        what = f"a part of file {_filename(target)}"
        response, _ = await self._requests.get(target, headers, what, expected=REFUSALS | {PARTIAL})
        part = part_of(response, first, last)
        if part is None or not _is_identity(response):
            drop(response, self._reactor)
            raise self._without_ranges.add(target.origin)
        begin, end, total = part
        if end - begin >= MAX_RANGE:
            drop(response, self._reactor)
            raise UpstreamBroken(f"Cheddar asks for parts of files up to {MAX_RANGE} bytes, and this one is larger.")
        body, _ = await collect(response, end - begin + 1, self._reactor, self._timeout)
        if len(body) != end - begin + 1:
            raise UpstreamUnavailable(f"Upstream broke off in {what}.")
        return Ranged(body, begin, total)

    async def _verbatim(
        self, target: Target, what: str, headers: Headers, expected: frozenset[int] = frozenset()
    ) -> IResponse:
        headers = headers.copy()
        headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
        response, there = await self._requests.get(target, headers, what, expected=expected)
        if not _is_identity(response):
            drop(response, self._reactor)
            encoding = header(response.headers, "Content-Encoding")
            raise UpstreamBroken(f"{there.origin} sent {what} in another form ({encoding}) than it was asked for.")
        return response


def _is_identity(response: IResponse) -> bool:
    return (header(response.headers, "Content-Encoding") or "identity").lower() == "identity"


def _confirms(response: IResponse, validators: Validators) -> bool:
    """
    Whether a 304 is about what is remembered: one with another entity tag is about something else, and what is
    remembered must not be used for it (RFC 9111, section 4.3.4).
    """
    tag = header(response.headers, "ETag")
    return None in (tag, validators.etag) or _opaque(tag) == _opaque(validators.etag)


def _opaque(tag: str | None) -> str:
    """An entity tag for the weak comparison (RFC 9110, section 8.8.3.2)."""
    return (tag or "").removeprefix("W/")


def _serial(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


def _filename(target: Target) -> str:
    return target.path.partition("?")[0].rpartition("/")[2]


def _read_page(
    body: bytes, sure: bool, encoding: str, content_type: str, name: str, base_url: str, upstream: str
) -> Project:
    """The page of a project; for use in a thread."""
    project = _parse_page(body, sure, encoding, content_type, name, base_url)
    if not upstream:
        return project
    return evolve(project, upstream=upstream, files=tuple(evolve(file, upstream=upstream) for file in project.files))


def _parse_page(body: bytes, sure: bool, encoding: str, content_type: str, name: str, base_url: str) -> Project:
    if encoding.lower() in ("gzip", "x-gzip"):
        body = inflate(body, MAX_INFLATED_PAGE)
    elif encoding.lower() not in ("", "identity"):
        raise UpstreamBroken(f"Upstream sent the page of {name} in an encoding that was not asked for.")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in JSON_TYPES:
        return simple_json.parse_project(body, name, base_url)
    if media_type in HTML_TYPES:
        # Nothing but the end of the connection said that this is all, and HTML can be cut anywhere.
        if not sure and not body.rstrip().lower().endswith(b"</html>"):
            raise UpstreamUnavailable(f"Upstream broke off in the page of {name}.")
        return simple_html.parse_project(body, content_type, name, base_url)
    raise UpstreamBroken(f"Upstream answered for project {name} with something other than a page of the Simple API.")
