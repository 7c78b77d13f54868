"""
A request that is decided before its body is read.

Twisted reads the whole body before it looks at a request, parses forms in memory and knows no limit. Here the
headers decide: an upload is streamed to the storage's own file system once its sender is known, and what is unwelcome
is read and dropped, so that its sender still gets to read the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import Counter
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from zope.interface import implementer

from cheddar import metrics
from cheddar.errors import CheddarError, Invalid, TooLarge
from cheddar.interfaces import IDescriptorConsumer
from cheddar.model import Identity, Sight
from cheddar.web.access_log import AccessLog, Answered
from cheddar.web.channel import Census, Limits, PacedChannel
from cheddar.web.incoming import Incoming
from cheddar.web.responses import Response, header_value, headers_of
from cheddar.web.strict import is_clean_path, is_host
from cheddar.web.turns import Turns

if TYPE_CHECKING:
    from cheddar.web.hot import HotAnswers
    from cheddar.web.hot_files import HotFile

#: The most that a body may have that is no upload, in bytes: a yank's reason.
SMALL_BODY = 64 * 1024

#: An unwelcome body is dropped for so long, and so many bytes, before the connection is closed.
LINGER_SECONDS = 5.0
LINGER_BYTES = 64 * 1024 * 1024

#: Where uploads go, and the route that each path is.
UPLOAD_PATHS = {b"/pypi": "/pypi/", b"/pypi/": "/pypi/", b"/legacy": "/legacy/", b"/legacy/": "/legacy/"}

#: Methods that are counted by name: a client may make up others without end.
_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"))


@implementer(IDescriptorConsumer)
class CheddarRequest(Request):
    """
    @ivar identity: who is asking, once that is known.
    @ivar sight: what it may read, once that is known.
    @ivar incoming: the upload that the body is, if it is one.
    @ivar gone: whether the client has left.
    @ivar received: bytes of the body so far.
    @ivar waits: whether the client is made to wait before it sends more.
    @ivar noted: whether the audit log has it.
    @ivar peer: the address of the connection's other end; empty where that has none.
    @ivar head: the bytes of its head, where they came whole and in one piece; else empty.
    @ivar began: when they were here, in seconds of the reactor's clock.
    @ivar route: the route that answers, once that is known; empty for none.
    """

    identity: Identity | None = None
    sight: Sight | None = None
    incoming: Incoming | None = None
    gone = False
    waits = False
    noted = False
    head = b""
    began = 0.0
    route = ""
    site: CheddarSite

    _refused = False
    _arrived = False
    received = 0
    _linger: IDelayedCall | None = None

    def __init__(self, channel: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(channel, *args, **kwargs)
        # Twisted sets this no sooner than it processes the request; its client may leave before that.
        self.site = channel.site
        self.peer: str = getattr(channel, "peer", "")

    @cached_property
    def client_address(self) -> str:
        """
        The IP address that the request comes from, once its headers are here; C{unix} where it has none. A proxy's
        C{X-Forwarded-For} counts where TRUSTED_PROXIES names that proxy, and nowhere else.
        """
        return self.site.census.limits.trusted.client(self.peer, self.forwarded)

    @property
    def forwarded(self) -> tuple[str, ...]:
        """What proxies say of where the request comes from."""
        values = self.requestHeaders.getRawHeaders(b"x-forwarded-for", [])
        return tuple(value.decode("latin-1") for value in values)

    def gotLength(self, length: int | None) -> None:
        """All headers are here; what happens to the body is decided now."""
        # HTTPChannel gives these to the request only after the body; an answer may be due before that.
        channel = cast(Any, self.channel)
        self.head, channel.head = channel.head, b""
        self.began = self.site.clock.seconds()
        self.method, self.uri, self.clientproto = channel._command, channel._path, channel._version
        self.content = BytesIO()
        self.site.under_way.add(self)
        if self.method == b"POST" and self.uri.partition(b"?")[0] in UPLOAD_PATHS:
            # The channel answers "100 Continue" right after this; here that is said once the sender is known. HTTP/1.0
            # knows no such answer (RFC 9110, section 10.1.1).
            expected = [value.lower() for value in self.requestHeaders.getRawHeaders(b"expect", [])]
            expect = expected == [b"100-continue"] and self.clientproto == b"HTTP/1.1"
            self.requestHeaders.removeHeader(b"expect")
            self.incoming = self.site.receive(self, length)
            self.incoming.start(expect)
        elif length is not None and length > SMALL_BODY:
            self.refuse(TooLarge(f"A body of {length} bytes is too large here; the most is {SMALL_BODY}."))

    def handleContentChunk(self, data: bytes) -> None:
        """The next bytes of the body."""
        self.received += len(data)
        if self._refused:
            if self.received > LINGER_BYTES:
                self._close()
        elif self.incoming is not None:
            self.incoming.data_received(data)
        elif self.received > SMALL_BODY:
            self.refuse(TooLarge(f"The body is too large here; the most is {SMALL_BODY} bytes."))
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is complete."""
        self._arrived = True
        if self._refused:
            self._close()
            return
        if self.incoming is not None:
            self.incoming.body_received()
        super().requestReceived(command, path, version)

    def private(self, index: str, project: str | None = None) -> bool:
        """Whether what an index answers depends on a login (L{Sight.depends}): no cache may give it to others."""
        return self.sight is None or self.sight.depends(index, project)

    def small_body(self) -> bytes:
        """The body of a request that is no upload."""
        return cast(BytesIO, self.content).getvalue()

    def process(self) -> None:
        """Look at what Twisted is lenient about, then go on to the routes."""
        wrong = self._wrong()
        if wrong:
            self._answer(Invalid(wrong))
        else:
            super().process()

    def _wrong(self) -> str:
        """What is wrong with the request, whatever it is for; empty where nothing is."""
        hosts = self.requestHeaders.getRawHeaders(b"host", [])
        if (len(hosts) != 1 and (hosts or self.clientproto != b"HTTP/1.0")) or not all(map(is_host, hosts)):
            return "A request has exactly one Host header, with a host in it (RFC 9112, section 3.2)."
        if self.method != self.method.upper():
            # The router would take it for the other.
            return "Methods are written in capital letters (RFC 9110, section 9.1)."
        if not is_clean_path(self.uri.partition(b"?")[0].lower()):
            return "There is no such path: it is not one that a page here links to."
        return ""

    def getRequestHostname(self) -> bytes:
        """Klein asks for it, and fails for what is no host name; the request's Host counts for nothing here."""
        return b"localhost"

    def _answer(self, error: CheddarError) -> None:
        response = self.site.problem(self, error)
        self.setResponseCode(response.status, header_value(response.reason))
        for name, values in headers_of(response).getAllRawHeaders():
            self.responseHeaders.setRawHeaders(name, list(values))
        self.write(b"" if self.method == b"HEAD" else response.body)
        self.count("none")
        self.finish()

    def refuse(self, error: CheddarError) -> None:
        """Answer now, although the body is still on its way; what comes of it is dropped."""
        if self._arrived or self._refused or self.gone:
            return
        self._refused = True
        self.requestHeaders.removeHeader(b"expect")
        response = self.site.problem(self, error)
        self.code = response.status
        headers = headers_of(response)
        headers.setRawHeaders(b"connection", [b"close"])
        self.channel.writeHeaders(b"HTTP/1.1", b"%d" % response.status, header_value(response.reason)[:200], headers)
        self.channel.write(b"" if self.method == b"HEAD" else response.body)
        self.sentLength = len(response.body)
        self.count(UPLOAD_PATHS[self.uri.partition(b"?")[0]] if self.incoming is not None else "none")
        self.site.log(self)
        self.resume_reading()
        self._linger = self.site.clock.callLater(LINGER_SECONDS, self._close)

    def takes_descriptors(self) -> bool:
        """See L{IDescriptorConsumer}: not where the body is sent in chunks."""
        framed = not self.chunked if self.startedWriting else self.responseHeaders.hasHeader(b"content-length")
        return not self.gone and framed and self.method != b"HEAD" and cast(Any, self.channel).takes_descriptors()

    def take(self, descriptor: int, offset: int, length: int) -> Deferred[int]:
        """See L{IDescriptorConsumer}; the headers go first."""
        if self.gone:
            return fail(CancelledError())
        if not self.startedWriting:
            self.write(b"")
        taken: Deferred[int] = cast(Any, self.channel).take(descriptor, offset, length, self._took)
        return taken

    def _took(self, count: int) -> None:
        self.sentLength += count

    def pause_reading(self) -> None:
        """Let the client wait before it sends more."""
        self.waits = True
        cast(Any, self.channel).transport.pauseProducing()

    def resume_reading(self) -> None:
        """Go on reading."""
        self.waits = False
        cast(Any, self.channel).transport.resumeProducing()

    def _close(self) -> None:
        self._stop_lingering()
        self.channel.loseConnection()

    def _stop_lingering(self) -> None:
        if self._linger is not None:
            try:
                self._linger.cancel()
            except (AlreadyCalled, AlreadyCancelled):
                pass
            self._linger = None

    def count(self, route: str) -> None:
        """Note in the metrics how the request ended."""
        self.counter(route).inc()

    def counter(self, route: str) -> Counter:
        """What counts requests like this one."""
        method = self.method.decode("latin-1") if self.method in _METHODS else "other"
        status = "gone" if self.gone and not self.startedWriting else str(self.code)
        return metrics.requests.labels(method, route, status)

    def write(self, data: bytes) -> None:
        """Send; the first call sends the headers."""
        if self.site.draining and not self.startedWriting and not self.gone:
            self.channel.persistent = False
            self.setHeader(b"connection", b"close")
        begun = self.startedWriting
        super().write(data)
        if not begun and not self.gone:
            cast(Any, self.channel).flush()

    async def cut(self) -> None:
        """End the connection so that the client sees that the answer is not whole."""
        if self.gone:
            return
        finished = self.notifyFinish()
        cast(Any, self.channel).transport.abortConnection()
        # However the connection ends, it has ended: and this is also what cancels the caller.
        await finished.addErrback(lambda _: None)

    def connectionLost(self, reason: Failure) -> None:
        """The client has left, or was cut off."""
        self.gone = True
        self._stop_lingering()
        if self in self.site.under_way:
            self.site.under_way.discard(self)
            if not self._refused:
                self.site.note(self.peer, self.began, Answered.of(self), whole=False)
        if self.incoming is not None:
            self.incoming.abort()
        super().connectionLost(reason)

    def finish(self) -> None:
        """The answer is complete."""
        if self.gone:
            return
        if self.incoming is not None:
            # Whoever answered, maybe before the route was asked: what is left of the body is not wanted any more.
            self.incoming.abort()
        # A connection whose answer had begun when the server was told to stop goes on: the client was not told that it
        # would end, and its next request may be on the way.
        self.site.under_way.discard(self)
        super().finish()


class CheddarSite(Site):
    """
    The factory of connections.

    @ivar clock: for deadlines.
    @ivar under_way: requests that are not answered whole.
    @ivar draining: whether the server stops: connections end with the answer under way.
    """

    requestFactory = CheddarRequest

    def __init__(
        self,
        resource: IResource,
        clock: IReactorTime,
        receive: Callable[[CheddarRequest, int | None], Incoming],
        problem: Callable[[CheddarRequest, CheddarError], Response],
        limits: Limits,
        hot: HotAnswers,
        access_log: AccessLog,
    ) -> None:
        # Twisted's own form parser would need eleven times the body's size in memory.
        super().__init__(
            resource,
            requestFactory=CheddarRequest,
            timeout=60,
            parsePOSTFormSubmission=False,
            reactor=clock,
        )
        self.clock = clock
        self._access_log = access_log
        self.receive = receive
        self.problem = problem
        self.under_way: set[CheddarRequest | HotFile] = set()
        self.draining = False
        self.displayTracebacks = False
        # Without the step in between that would choose HTTP/2.
        self.protocol = PacedChannel  # type: ignore[assignment,method-assign]  # Factory takes any callable
        self.census = Census(clock, limits)
        self.hot = hot
        self.turns = Turns(clock)

    def startFactory(self) -> None:
        """Somebody listens."""
        super().startFactory()
        self.census.start()
        self.hot.start()

    def stopFactory(self) -> None:
        """Nobody listens any more; connections may still be open."""
        super().stopFactory()
        self.census.stop()
        self.hot.stop()

    def log(self, request: Any) -> None:
        """A request is answered."""
        self.note(request.peer, request.began, Answered.of(request))

    def note(self, peer: str, began: float, answered: Answered, whole: bool = True) -> None:
        """
        A request has ended.

        @param peer: the address of its connection's other end; empty where that has none.
        @param began: when its headers were here.
        @param whole: whether the client was there to the end of the answer.
        """
        self._access_log.add(peer, began, answered, whole)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A new connection, or None where there are enough."""
        return super().buildProtocol(addr) if self.census.admits(getattr(addr, "host", "")) else None

    def acceptableProtocols(self) -> list[bytes]:
        """What TLS offers: Twisted would add HTTP/2 where its package is installed, which CheddarRequest cannot do."""
        return [b"http/1.1"]

    def busy(self) -> bool:
        """Whether any request is under way, or has come and waits for its turn."""
        return bool(self.under_way) or any(one.postponed and one.stalled_since is None for one in self.census.channels)

    def idle(self) -> list[Any]:
        """Connections that are open, and on which no request is under way; half of one may have come."""
        return [
            channel
            for channel in self.census.channels
            if channel.transport is not None
            and channel.transport.connected
            and not channel.postponed
            and channel.sending is None
            and self.under_way.isdisjoint(channel.requests)
        ]

    def close_idle(self) -> None:
        """Close connections on which no request is under way."""
        for channel in self.idle():
            channel.loseConnection()
