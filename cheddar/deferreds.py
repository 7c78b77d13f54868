"""Small pieces for working with Deferreds: coroutines at interfaces, work shared by many, turns by key."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.python.failure import Failure

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
