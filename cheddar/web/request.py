"""
A request that is decided before its body is read.

Twisted reads the whole body before it looks at a request, parses forms in memory and knows no limit. Here the
headers decide: an upload is streamed to the storage's own file system once its sender is known, and what is unwelcome
is read and dropped, so that its sender still gets to read the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from attrs import define, field
from twisted.internet.defer import CancelledError
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from cheddar.errors import CheddarError, Invalid, TooLarge
from cheddar.model import Identity
from cheddar.web.bodies import Response, header_value

if TYPE_CHECKING:
    from cheddar.web.upload import IncomingUpload

#: The most that a body may have that is no upload, in bytes: a yank's reason.
SMALL_BODY = 64 * 1024

#: An unwelcome body is dropped for so long, and so many bytes, before the connection is closed.
LINGER_SECONDS = 5.0
LINGER_BYTES = 64 * 1024 * 1024

UPLOAD_PATHS = frozenset((b"/pypi", b"/pypi/", b"/legacy", b"/legacy/"))

_UNWELCOME_IN_PATH = (b"%2f", b"%5c", b"%00", b"\\", b"\0", b"/../", b"/./", b"/%2e", b"/.")


class CheddarRequest(Request):
    """
    @ivar identity: who is asking, once that is known.
    @ivar incoming: the upload that the body is, if it is one.
    @ivar gone: whether the client has left.
    """

    identity: Identity | None = None
    incoming: IncomingUpload | None = None
    gone = False
    site: CheddarSite

    _refused = False
    _arrived = False
    _received = 0
    _linger: IDelayedCall | None = None

    def gotLength(self, length: int | None) -> None:
        """All headers are here; what happens to the body is decided now."""
        self.site = cast(Any, self.channel).site
        # HTTPChannel sets method and path on the request only after the body: until then they are in these.
        method, path = self.channel._command, self.channel._path.partition(b"?")[0]
        self.content = BytesIO()
        self.site.under_way.add(self)
        if method == b"POST" and path in UPLOAD_PATHS:
            # The channel answers "100 Continue" right after this; here that is said once the sender is known.
            expect = self.requestHeaders.hasHeader(b"expect")
            self.requestHeaders.removeHeader(b"expect")
            self.incoming = self.site.receive(self, length)
            self.incoming.start(expect)
        elif length is not None and length > SMALL_BODY:
            self.refuse(TooLarge(f"A body of {length} bytes is too large here; the most is {SMALL_BODY}."))

    def handleContentChunk(self, data: bytes) -> None:
        """The next bytes of the body."""
        self._received += len(data)
        if self._refused:
            if self._received > LINGER_BYTES:
                self._close()
        elif self.incoming is not None:
            self.incoming.data_received(data)
        elif self._received > SMALL_BODY:
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

    def small_body(self) -> bytes:
        """The body of a request that is no upload."""
        return cast(BytesIO, self.content).getvalue()

    def process(self) -> None:
        """Look at what Twisted is lenient about, then go on to the routes."""
        self.site = cast(Any, self.channel).site
        hosts = self.requestHeaders.getRawHeaders(b"host", [])
        if self.clientproto == b"HTTP/1.1" and len(hosts) != 1:
            self._answer(Invalid("A request has exactly one Host header (RFC 9112, section 3.2)."))
            return
        path = self.uri.partition(b"?")[0].lower()
        if not path.startswith(b"/") or any(part in path for part in _UNWELCOME_IN_PATH) or _has_control(path):
            self._answer(Invalid("There is no such path: it is not one that a page here links to."))
            return
        super().process()

    def _answer(self, error: CheddarError) -> None:
        response = self.site.problem(self, error)
        self.setResponseCode(response.status, header_value(response.reason))
        for name, value in (*response.headers.items(), ("content-type", response.content_type)):
            self.setHeader(name.encode(), header_value(value))
        self.setHeader(b"content-length", b"%d" % len(response.body))
        self.write(b"" if self.method == b"HEAD" else response.body)
        self.finish()

    def refuse(self, error: CheddarError) -> None:
        """Answer now, although the body is still on its way; what comes of it is dropped."""
        if self._arrived or self._refused or self.gone:
            return
        self._refused = True
        self.requestHeaders.removeHeader(b"expect")
        response = self.site.problem(self, error)
        headers = Headers()
        for name, value in (
            *response.headers.items(),
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            ("Connection", "close"),
        ):
            headers.addRawHeader(name.encode(), header_value(value))
        self.channel.writeHeaders(b"HTTP/1.1", b"%d" % response.status, header_value(response.reason)[:200], headers)
        self.channel.write(response.body)
        self.resume_reading()
        self._linger = self.site.clock.callLater(LINGER_SECONDS, self._close)

    def pause_reading(self) -> None:
        """Let the client wait before it sends more."""
        cast(Any, self.channel).transport.pauseProducing()

    def resume_reading(self) -> None:
        """Go on reading."""
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

    async def cut(self) -> None:
        """End the connection so that the client sees that the answer is not whole."""
        if self.gone:
            return
        finished = self.notifyFinish()
        cast(Any, self.channel).transport.abortConnection()
        try:
            await finished
        except (Exception, CancelledError):  # noqa: BLE001  # however the connection ends, it has ended
            return

    def connectionLost(self, reason: Failure) -> None:
        """The client has left, or was cut off."""
        self.gone = True
        self._stop_lingering()
        self.site.under_way.discard(self)
        if self.incoming is not None:
            self.incoming.abort()
        super().connectionLost(reason)

    def finish(self) -> None:
        """The answer is complete."""
        if self.gone:
            return
        if self.site.draining:
            self.channel.persistent = False
        super().finish()
        self.site.under_way.discard(self)


def _has_control(path: bytes) -> bool:
    return any(byte < 33 or byte == 127 for byte in path) or any(
        path[at : at + 2] in (b"%0", b"%1") or path[at : at + 3] == b"%7f" for at in _percents(path)
    )


def _percents(path: bytes) -> list[int]:
    return [at for at, byte in enumerate(path) if byte == ord("%")]


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
        receive: Callable[[CheddarRequest, int | None], IncomingUpload],
        problem: Callable[[CheddarRequest, CheddarError], Response],
    ) -> None:
        # Twisted's own form parser would need eleven times the body's size in memory.
        super().__init__(resource, requestFactory=CheddarRequest, timeout=60, parsePOSTFormSubmission=False)
        self.clock = clock
        self.receive = receive
        self.problem = problem
        self.under_way: set[CheddarRequest] = set()
        self.draining = False
        self.displayTracebacks = False
        self._channels: WeakSet[Any] = WeakSet()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A new connection."""
        channel = super().buildProtocol(addr)
        self._channels.add(channel)
        return channel

    def idle(self) -> list[Any]:
        """Connections that are open, and on which no request is under way."""
        channels = [wrapper._channel for wrapper in self._channels]
        return [
            channel
            for channel in channels
            if channel.transport is not None and channel.transport.connected and not channel.requests
        ]

    def close_idle(self) -> None:
        """Close connections on which no request is under way."""
        for channel in self.idle():
            channel.loseConnection()


@define(eq=False)
class Drain:
    """Waits, when the server stops, until the requests under way are answered."""

    _site: CheddarSite
    _clock: IReactorTime
    _seconds: float
    _polls: float = field(default=0.05)

    async def wait(self) -> int:
        """@return: how many requests had to be cut."""
        from twisted.internet.task import deferLater

        self._site.draining = True
        end = self._clock.seconds() + self._seconds
        while self._site.under_way and self._clock.seconds() < end:
            await deferLater(self._clock, self._polls, lambda: None)
        left = list(self._site.under_way)
        for request in left:
            await request.cut()
        return len(left)
