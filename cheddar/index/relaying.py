"""
A file of upstream that cannot be kept, passed on to one client as it comes: the disk is full, or cannot be written.

Nothing is shared here, for there is nothing that could be: each client has its own relay, at its own pace, and upstream
waits where the client does. The end of what a client wants is held back until the digest of the whole file was right,
of a part too: who puts a file together from parts has then nothing that was not compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cheddar import metrics
from cheddar.deferreds import Pace
from cheddar.errors import CheddarError, Unavailable, UpstreamUnavailable, WrongBytes
from cheddar.index.arriving import GIVEN_UP, TAIL, wrong_length
from cheddar.interfaces import IBodyReceiver, IFileView, IUpstream
from cheddar.model import STRONG_DIGESTS, File

#: Bytes of one read, and of one write.
CHUNK = 128 * 1024
#: When there will be room: somebody has to make it first.
NOBODY_KNOWS = 0

_HASHES: Mapping[str, Callable[[], Any]] = {
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "sha384": hashlib.sha384,
    "blake2b_256": partial(hashlib.blake2b, digest_size=32),
}
assert set(_HASHES) == set(STRONG_DIGESTS)


@implementer(IBodyReceiver)
class Relay:
    """
    One file on its way through, to one client.

    In this order: maybe L{take_up}, maybe L{want}, L{start}, L{reach} as often as needed, L{give}; and at last L{end},
    whatever happened.

    @ivar length: bytes of the whole file, as far as known now.
    """

    log = Logger()

    def __init__(self, file: File, length: int | None, ended: Callable[[Relay], None]) -> None:
        """
        @param length: what the client was told of the whole file; None: nothing, and the listing says nothing.
        @param ended: called once it is over.
        @raise Unavailable: the listing has no digest to be compared with.
        """
        algorithm = next((name for name in STRONG_DIGESTS if name in file.digests), None)
        if algorithm is None:
            raise Unavailable(
                f"There is no room here to keep {file.filename}, and what is only passed on must have a strong digest "
                f"in its listing ({', '.join(STRONG_DIGESTS)}) to be compared with: this file has none. The server's "
                "administrator has to make room in the file storage; then try again.",
                NOBODY_KNOWS,
            )
        self.length = file.size if length is None else length
        self._file = file
        self._algorithm = algorithm
        self._hash = _HASHES[algorithm]()
        self._tell_ended = ended
        self._hashed = 0
        self._received = 0
        self._first = 0
        self._last: int | None = None
        # What the client wants and has not been given; from there on all of it.
        self._held = bytearray()
        self._verified = False
        self._failure: BaseException | None = None
        self._outcome = "cancelled"
        self._fetching: Deferred[None] | None = None
        self._news: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._over = False
        metrics.relays_under_way.inc()

    async def take_up(self, view: IFileView, offset: int, reactor: IReactorTime) -> None:
        """
        The client already has bytes before C{offset}, from C{view}: the digest will be of these, and not of those that
        upstream sends in their place now. Else a wrong beginning and a right end would make a whole.
        """
        while self._hashed < offset:
            data = await view.read(self._hashed, min(CHUNK, offset - self._hashed))
            if not data:
                raise Unavailable("The server cannot read this file from its storage now. Try again later.")
            self._hash.update(data)
            self._hashed += len(data)
            await deferLater(reactor, 0)

    def want(self, first: int, last: int | None) -> None:
        """Plain call. From now on only the bytes C{first} to C{last} (included; None: to the end) are wanted."""
        before = self._received - len(self._held)
        del self._held[: max(0, first - before)]
        if last is not None:
            del self._held[max(0, last + 1 - max(first, before)) :]
        self._first, self._last = first, last

    def start(self, upstream: IUpstream, *, uncached: bool = False) -> None:
        """Plain call. Ask upstream."""
        self._fetching = upstream.fetch_file(self._file.url, self, uncached=uncached)
        self._fetching.addCallback(self._arrived).addErrback(self._failed)

    async def reach(self) -> None:
        """
        Wait until the first byte that is wanted may be given; the length is then as exact as upstream made it.

        @raise NotFound: upstream has no such file. [UpstreamUnavailable, UpstreamBroken]
        """
        while True:
            if self._failure is not None:
                raise self._failure
            if self._givable() or self._verified:
                return
            await self._more()

    async def give(self, consumer: IConsumer, pace: Pace) -> None:
        """
        Write all that is wanted.

        @raise UpstreamUnavailable: not all of it came. [UpstreamBroken: it is wrong]
        """
        while True:
            if self._failure is not None:
                raise self._failure
            count = min(CHUNK, self._givable())
            if count:
                data = bytes(self._held[:count])
                del self._held[:count]
                consumer.write(data)
                del data  # the transport may have made a copy
                await pace.turn()
            elif self._verified:
                return
            else:
                await self._more()

    def end(self) -> None:
        """Plain call. Nobody wants any more of it; more than once does no harm."""
        if self._over:
            return
        self._over = True
        if self._fetching is not None:
            self._fetching.cancel()
        if not self._verified and self._failure is None:
            self._failure = UpstreamUnavailable(GIVEN_UP)
        self._held.clear()
        self._tell_ended(self)
        metrics.relays_under_way.dec()
        metrics.relays.labels(self._outcome).inc()
        self._wake()

    def begin(self, length: int | None) -> None:
        """See L{IBodyReceiver}."""
        if length is not None and self.length not in (None, length):
            raise wrong_length(self._file, length, self.length)
        if length is not None:
            self.length = length

    def write(self, data: bytes) -> Deferred[None] | None:
        """See L{IBodyReceiver}."""
        at = self._received
        self._received += len(data)
        if self.length is not None and self._received > self.length:
            raise wrong_length(self._file, self._received, self.length)
        if self._received > self._hashed:
            self._hash.update(memoryview(data)[self._hashed - at :])
            self._hashed = self._received
        wanted = len(data) if self._last is None else max(0, self._last + 1 - at)
        self._held += memoryview(data)[max(0, self._first - at) : wanted]
        if not self._givable():
            return None
        self._pause = Deferred()
        pause = self._pause
        self._wake()
        return pause

    def _givable(self) -> int:
        return len(self._held) if self._verified else max(0, len(self._held) - TAIL)

    def _arrived(self, _: None) -> None:
        if self.length is not None and self._received != self.length:
            raise wrong_length(self._file, self._received, self.length)
        digest, right = self._hash.hexdigest(), self._file.digests[self._algorithm]
        if digest != right:
            metrics.wrong_bytes.inc()
            raise WrongBytes(self._file.filename, self._algorithm, digest, right)
        self.length = self._received
        self._verified = True
        self._outcome = "whole"
        self._wake()

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, CancelledError):
            self._failure = UpstreamUnavailable(GIVEN_UP)
        else:
            self._failure, self._outcome = error, type(error).__name__
            if not isinstance(error, CheddarError):
                self.log.failure("Passing {name} on failed", name=self._file.filename, failure=failure)
        self._wake()

    def _more(self) -> Deferred[None]:
        """Let upstream go on. @return: fires when there are more bytes, or an end."""
        news = self._news = Deferred()
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.callback(None)
        return news

    def _wake(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.called:  # else its client left
            news.callback(None)
