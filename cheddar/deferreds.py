"""Small pieces for working with Deferreds: coroutines at interfaces, work shared by many, turns by key, pace."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.internet.interfaces import IConsumer, IPushProducer, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

_log = Logger()

P = ParamSpec("P")
T = TypeVar("T")


def returns_deferred(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Deferred[T]]:
    """Make a coroutine function one that returns a Deferred, started at once: a coroutine nobody awaits never runs."""

    @wraps(function)
    def start(*args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        return Deferred.fromCoroutine(function(*args, **kwargs))

    return start


class SingleFlight(Generic[T]):
    """
    Run one piece of work per key at a time, shared by all who ask for it meanwhile.

    A waiter that is cancelled leaves alone: the work goes on for the others, and for the cache it fills.
    """

    def __init__(self) -> None:
        self._waiters: dict[Hashable, list[Deferred[T]]] = {}

    def run(self, key: Hashable, start: Callable[[], Deferred[T]]) -> Deferred[T]:
        """
        Join the work under way for C{key}, or start it.

        @param start: begins the work; called only where none is under way.
        @return: the work's result, for this waiter.
        """
        waiter: Deferred[T] = Deferred()
        waiters = self._waiters.get(key)
        if waiters is not None:
            waiters.append(waiter)
            return waiter
        self._waiters[key] = [waiter]
        # maybeDeferred: a synchronous raise would otherwise leave the key taken for ever.
        maybeDeferred(start).addBoth(self._finished, key)
        return waiter

    def under_way(self) -> int:
        """How many keys have work under way."""
        return len(self._waiters)

    def _finished(self, result: T | Failure, key: Hashable) -> None:
        for waiter in self._waiters.pop(key):
            if waiter.called:  # cancelled
                continue
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(result)


class Turns:
    """One turn at a time per key: who comes later waits for the earlier ones."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[DeferredLock, int]] = {}

    @returns_deferred
    async def take(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for C{key}'s turn, then run C{work} to its end."""
        lock, users = self._locks.get(key, (DeferredLock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            await lock.acquire()
            try:
                return await work()
            finally:
                lock.release()
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)


def shielded(work: Deferred[T]) -> Deferred[T]:
    """
    A Deferred with the result of C{work} whose cancellation leaves C{work} alone: for a change that must run to its
    end although the client that asked for it has left.
    """
    waiter: Deferred[T] = Deferred()

    def pass_on(result: T | Failure) -> None:
        if waiter.called:  # cancelled
            if isinstance(result, Failure):
                _log.failure("A change failed after its client had left", failure=result)
            return
        if isinstance(result, Failure):
            waiter.errback(result)
        else:
            waiter.callback(result)

    work.addBoth(pass_on)
    return waiter


@implementer(IPushProducer)
class Pace:
    """The pace of a consumer, for a coroutine that writes to it: it awaits L{turn} before each write."""

    def __init__(self, consumer: IConsumer, clock: IReactorTime) -> None:
        self._consumer = consumer
        self._clock = clock
        self._paused = False
        self._registered = False
        self._resumed: Deferred[None] | None = None
        self._work: Deferred[None] | None = None

    def run(self, work: Callable[[Pace], Coroutine[Any, Any, None]]) -> Deferred[None]:
        """
        Be the consumer's producer for as long as C{work} runs.

        @return: the end of the work; L{CancelledError<twisted.internet.defer.CancelledError>} where the consumer
            wants no more, because its client left.
        """
        self._registered = True
        self._consumer.registerProducer(self, True)
        self._work = Deferred.fromCoroutine(work(self))
        return self._work.addBoth(self._ended)

    def turn(self) -> Deferred[None]:
        """When the consumer takes more, and the reactor had a chance to do other work."""
        if not self._paused:
            return deferLater(self._clock, 0)
        self._resumed = Deferred()
        return self._resumed

    def pauseProducing(self) -> None:
        """The consumer has enough for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The consumer takes more."""
        self._paused = False
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.called:
            resumed.callback(None)

    def stopProducing(self) -> None:
        """The client left."""
        self._unregister()
        # A turn later: the request is told of the loss only after its producer, and whoever waits for the work
        # would take the connection for a living one.
        self._clock.callLater(0, self._cancel)

    def _cancel(self) -> None:
        if self._work is not None:
            self._work.cancel()

    def _ended(self, result: T) -> T:
        self._unregister()
        return result

    def _unregister(self) -> None:
        if self._registered:
            self._registered = False
            try:
                self._consumer.unregisterProducer()
            except AttributeError:
                # twisted.web's Request has no channel any more, once its connection is lost.
                pass
