"""Disk work: what runs in threads for one open file, and which errors of the disk mean what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from cheddar.errors import NoRoom

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def storing() -> Iterator[None]:
    """Make an error of the operating system, while something is written, L{NoRoom}."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise NoRoom(
            f"The server cannot write to its file storage ({reason}). "
            "Its administrator has to make room there, or allow writing; then try again."
        ) from error


@define(eq=False)
class Work:
    """
    Jobs in the pool that belong together, and the moment when none is under way.

    Who stops waiting for a job does not stop the thread: files may be closed only when L{idle} fires.
    """

    _reactor: IReactorFromThreads
    _pool: ThreadPool
    _under_way: int = field(init=False, default=0)
    _waiting: list[Deferred[None]] = field(init=False, factory=list)

    def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run C{job} in the pool. @return: its result; cancelling this leaves the job alone."""
        waiter: Deferred[T] = Deferred()
        self._under_way += 1
        deferToThreadPool(self._reactor, self._pool, job, *args, **kwargs).addBoth(self._done, waiter)
        return waiter

    def acquire(self, job: Callable[[], T], release: Callable[[T], object]) -> Deferred[T]:
        """Run C{job}, which opens something; if nobody waits for it by then, C{release} closes it again."""
        waiter: Deferred[T] = Deferred()

        def hand_over(result: T) -> None:
            if waiter.called:
                release(result)
            else:
                waiter.callback(result)

        def fail(failure: Failure) -> None:
            if not waiter.called:
                waiter.errback(failure)

        self.run(job).addCallbacks(hand_over, fail)
        return waiter

    def idle(self) -> Deferred[None]:
        """Fires when no job is under way."""
        if not self._under_way:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        return waiter

    def _done(self, result: T | Failure, waiter: Deferred[T]) -> None:
        self._under_way -= 1
        if not waiter.called:  # else it was cancelled
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(result)
        if not self._under_way:
            waiting, self._waiting = self._waiting, []
            for idle in waiting:
                if not idle.called:
                    idle.callback(None)
