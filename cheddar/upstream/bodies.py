"""Bodies of upstream's answers: taken at the receiver's pace, bounded in size and in time."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse

from cheddar.errors import CheddarError, UpstreamBroken, UpstreamUnavailable
from cheddar.interfaces import IBodyReceiver

# A body slower than this, over a window of some timeouts, is given up: one byte now and then is no download.
MIN_RATE = 100
WINDOW_TIMEOUTS = 3
# How long a page may take as a whole, in timeouts.
DEADLINE_TIMEOUTS = 5
# An error's text is read so that its connection can be used again; a longer one is not worth it.
MAX_DISCARDED = 64 * 1024
MAX_DISCARD_SECONDS = 2.0
# gzip allows any number of members in a row; each costs a copy of what follows.
MAX_GZIP_MEMBERS = 100
# Bytes that are inflated at a time, and what becomes of them at most.
INFLATED_FROM = 16 * 1024
INFLATED_TO = 256 * 1024


class BrokenOff(UpstreamUnavailable):
    """The connection ended, or nothing came any more, before the end of a body."""


class Body(Protocol):
    """
    Hands a body to a function; where that returns a Deferred, upstream is paused until it fires.

    @ivar done: fires at the end of the body: True where its length was known, False where the end of the
        connection is all that says that it was whole. Cancelling it closes the connection.
    """

    transport: Any  # Twisted's HTTP client gives one that can be paused and closed, and names no interface for it

    def __init__(self, write: Callable[[bytes], Deferred[None] | None], clock: IReactorTime, timeout: float) -> None:
        self.done: Deferred[bool] = Deferred(self._cancelled)
        self._write = write
        self._clock = clock
        self._timeout = timeout
        self._idle: IDelayedCall | None = None
        self._window: IDelayedCall | None = None
        self._received = 0
        self._received_before = 0
        self._was_held = False
        self._waiting = False
        self._held = False
        self._over = False
        self._queue: deque[bytes] = deque()
        self._end: Failure | None = None

    def connectionMade(self) -> None:
        """The head has been read."""
        self._idle = self._clock.callLater(self._timeout, self._nothing_came)
        self._window = self._clock.callLater(WINDOW_TIMEOUTS * self._timeout, self._window_ended)

    def dataReceived(self, data: bytes) -> None:
        """Some of the body."""
        if self._over:
            return
        self._received += len(data)
        if self._waiting:
            # One read from the network may hold several pieces; a pause stops only the next read.
            self._queue.append(data)
            return
        self._give(data)
        if self._over:
            return
        if self._waiting:
            self._hold()
        elif self._idle is not None:
            self._idle.reset(self._timeout)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended, one way or another."""
        if self._over:
            return
        if self._waiting:
            self._end = reason
            return
        self._finish(reason)

    def _give(self, data: bytes) -> None:
        self._waiting = True
        maybeDeferred(self._write, data).addCallbacks(self._go_on, self._fail)

    def _hold(self) -> None:
        self._held = self._was_held = True
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self.transport.pauseProducing()

    def _go_on(self, _: None) -> None:
        self._waiting = False
        if self._over or not self._held:
            return
        if self._queue:
            data = b"".join(self._queue)
            self._queue.clear()
            self._give(data)
            if self._over or self._waiting or not self._held:
                return
        if self._end is not None:
            self._finish(self._end)
            return
        self._held = False
        self._idle = self._clock.callLater(self._timeout, self._nothing_came)
        self.transport.resumeProducing()

    def _nothing_came(self) -> None:
        self._idle = None
        self._fail(Failure(BrokenOff(f"Upstream stopped sending after {self._received} bytes.")))

    def _window_ended(self) -> None:
        window = WINDOW_TIMEOUTS * self._timeout
        slow = self._received - self._received_before < MIN_RATE * window
        self._window = None
        if slow and not self._was_held:
            self._fail(Failure(UpstreamUnavailable("Upstream sends too slowly; the transfer was given up.")))
            return
        self._received_before = self._received
        self._was_held = self._held
        self._window = self._clock.callLater(window, self._window_ended)

    def _finish(self, reason: Failure) -> None:
        self._stop()
        if reason.check(ResponseDone):
            self.done.callback(True)
        elif reason.check(PotentialDataLoss):
            self.done.callback(False)
        else:
            self.done.errback(BrokenOff(f"Upstream broke off after {self._received} bytes."))

    def _fail(self, failure: Failure) -> None:
        if self._over:
            return
        self._stop()
        self.transport.loseConnection()
        self.done.errback(failure)

    def _cancelled(self, _: Deferred[bool]) -> None:
        self._stop()
        self.transport.loseConnection()

    def _stop(self) -> None:
        self._over = True
        for call in (self._idle, self._window):
            if call is not None and call.active():
                call.cancel()
        self._idle = self._window = None
        self._queue.clear()


def receive(response: IResponse, receiver: IBodyReceiver, clock: IReactorTime, timeout: float) -> Deferred[bool]:
    """
    Hand a response's body to C{receiver}.

    @param timeout: seconds without a byte (while nobody asked for a pause) after which it is given up.
    @return: see L{Body}. [BrokenOff, UpstreamUnavailable; what the receiver raised]
    """
    try:
        receiver.begin(None if response.length is UNKNOWN_LENGTH else response.length)
    except Exception:
        drop(response, clock)
        raise
    body = Body(receiver.write, clock, timeout)
    response.deliverBody(body)
    return body.done


def drop(response: IResponse, clock: IReactorTime) -> None:
    """Close the connection of an answer whose body nobody takes: it would stay paused for ever."""
    body = Body(lambda data: None, clock, MAX_DISCARD_SECONDS)
    body.done.addErrback(lambda failure: None)
    response.deliverBody(body)
    body.done.cancel()


def collect(response: IResponse, limit: int, clock: IReactorTime, timeout: float) -> Deferred[tuple[bytes, bool]]:
    """
    A small body.

    @param limit: in bytes.
    @return: the body, and whether its end is sure (L{Body}). [UpstreamUnavailable; UpstreamBroken over C{limit}]
    """
    pieces: list[bytes] = []
    size = 0

    def write(data: bytes) -> None:
        nonlocal size
        size += len(data)
        if size > limit:
            raise _too_long(limit)
        pieces.append(data)

    body = Body(write, clock, timeout)
    response.deliverBody(body)
    if response.length is not UNKNOWN_LENGTH and response.length > limit:
        body._fail(Failure(_too_long(limit)))

    def too_late(_: object, seconds: float) -> tuple[bytes, bool]:
        raise UpstreamUnavailable(f"Upstream's answer was not complete after {seconds:g} seconds.")

    whole = body.done.addCallback(lambda sure: (b"".join(pieces), sure))
    return whole.addTimeout(DEADLINE_TIMEOUTS * timeout, clock, too_late)


async def discard(response: IResponse, clock: IReactorTime) -> None:
    """Read a body that nobody wants, if it is short, so that its connection can be used again."""
    left = MAX_DISCARDED

    def write(data: bytes) -> None:
        nonlocal left
        left -= len(data)
        if left < 0:
            raise _too_long(MAX_DISCARDED)

    body = Body(write, clock, MAX_DISCARD_SECONDS)
    response.deliverBody(body)
    try:
        await body.done
    except CheddarError:
        return  # the connection is closed; the answer's status is what counts


def inflate(body: bytes, limit: int) -> bytes:
    """
    Undo gzip (RFC 1952), for use in a thread.

    @param limit: of the result, in bytes.
    @raise UpstreamBroken: not gzip, cut short, or larger than C{limit}.
    """
    pieces: list[bytes] = []
    size = members = 0
    left = memoryview(body)
    try:
        while left:
            if members == MAX_GZIP_MEMBERS:
                raise UpstreamBroken("Upstream's answer is compressed in more parts than is reasonable.")
            members += 1
            member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            while not member.eof:
                # A step at a time: the other threads wait while the room for what comes out is made.
                step = member.unconsumed_tail
                if not step:
                    step, left = bytes(left[:INFLATED_FROM]), left[INFLATED_FROM:]
                    if not step:
                        raise UpstreamBroken("Upstream's answer is compressed and cut short.")
                piece = member.decompress(step, INFLATED_TO)
                size += len(piece)
                if size > limit:
                    raise _too_long(limit)
                pieces.append(piece)
            if member.unused_data:
                left = memoryview(body)[len(body) - len(left) - len(member.unused_data) :]
    except zlib.error:
        raise UpstreamBroken("Upstream's answer says that it is compressed, and cannot be read as such.") from None
    return b"".join(pieces)


def _too_long(limit: int) -> UpstreamBroken:
    return UpstreamBroken(f"Upstream's answer is larger than {limit} bytes.")
