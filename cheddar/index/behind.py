"""Work that no client waits for: a little at a time, never much of it, and over when told."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cheddar.deferreds import returns_deferred
from cheddar.errors import CheddarError


class WorkBehind:
    """
    Pieces of work, each with a key: taken up one after the other, some at a time. One that fails is logged.

    What there is no room for is not remembered: whoever has such work comes again.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, *, concurrency: int, limit: int, delay: float) -> None:
        """
        @param concurrency: pieces under way at a time.
        @param limit: pieces that wait at most.
        @param delay: seconds before the first is begun, so that clients who ask for much at once go before.
        """
        self._clock = clock
        self._concurrency = concurrency
        self._limit = limit
        self._delay = delay
        self._waiting: OrderedDict[Hashable, Callable[[], Deferred[None]]] = OrderedDict()
        self._running: dict[Hashable, Deferred[None]] = {}
        self._beginning: IDelayedCall | None = None
        self._stopped = False

    def add(self, key: Hashable, start: Callable[[], Deferred[None]]) -> None:
        """Plain call. Do this later, unless work of that key waits or is under way."""
        if self._stopped or key in self._waiting or key in self._running or len(self._waiting) >= self._limit:
            return
        self._waiting[key] = start
        if self._beginning is None and len(self._running) < self._concurrency:
            self._beginning = self._clock.callLater(self._delay, self._begin)

    def left(self) -> int:
        """Plain call. How many pieces wait or are under way."""
        return len(self._waiting) + len(self._running)

    @returns_deferred
    async def stop(self) -> None:
        """Forget what waits, break off what is under way, and wait until it is over."""
        self._stopped = True
        self._waiting.clear()
        if self._beginning is not None:
            self._beginning.cancel()
            self._beginning = None
        running = list(self._running.values())
        ended = DeferredList(running)
        for work in running:
            work.cancel()
        await ended

    def _begin(self) -> None:
        self._beginning = None
        while self._waiting and len(self._running) < self._concurrency:
            key, start = self._waiting.popitem(last=False)
            work = maybeDeferred(start)
            self._running[key] = work
            work.addErrback(self._failed).addBoth(self._over, key)

    def _over(self, _: None, key: Hashable) -> None:
        del self._running[key]
        if self._waiting and self._beginning is None:
            # Not at once: work that ends at once would go ever deeper.
            self._beginning = self._clock.callLater(0, self._begin)

    def _failed(self, failure: Failure) -> None:
        if isinstance(failure.value, CancelledError):
            return
        if isinstance(failure.value, CheddarError):
            self.log.info("Given up behind clients' requests: {error}", error=failure.value)
        else:
            self.log.failure("Work behind clients' requests failed", failure=failure)
