"""Work behind clients' requests: bounded, in order, never twice at once, and over when told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from cheddar.errors import UpstreamUnavailable
from cheddar.index.behind import WorkBehind


class Pieces:
    """Pieces of work that end when told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.behind = WorkBehind(self.clock, concurrency=2, limit=3, delay=1.0)
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.under_way: dict[str, Deferred[None]] = {}

    def add(self, name: str) -> None:
        """Ask for a piece."""
        self.behind.add(name, self._start(name))

    def end(self, name: str) -> None:
        """A piece is done."""
        self.under_way.pop(name).callback(None)
        self.clock.advance(0)

    def _start(self, name: str) -> Callable[[], Deferred[None]]:
        def start() -> Deferred[None]:
            self.begun.append(name)
            self.under_way[name] = Deferred(lambda _: self.cancelled.append(name))
            return self.under_way[name]

        return start


def test_two_at_a_time_after_a_while() -> None:
    """Nothing is begun at once; then two at a time, in the order in which they were asked for."""
    pieces = Pieces()
    for name in "abc":
        pieces.add(name)
    pieces.clock.advance(0.9)
    assert pieces.begun == []
    pieces.clock.advance(0.1)
    assert pieces.begun == ["a", "b"]
    pieces.end("b")
    assert pieces.begun == ["a", "b", "c"]
    pieces.end("a")
    assert pieces.behind.left() == 1
    pieces.add("d")
    pieces.clock.advance(1)
    assert pieces.begun == ["a", "b", "c", "d"]


def test_not_twice_and_not_too_many() -> None:
    """What waits or is under way is not added again; what there is no room for may be asked for later."""
    pieces = Pieces()
    for name in "aabcd":
        pieces.add(name)
    assert pieces.behind.left() == 3
    pieces.clock.advance(1)
    pieces.add("a")
    pieces.add("d")
    for name in "abcd":
        pieces.end(name)
    assert pieces.begun == ["a", "b", "c", "d"]
    pieces.add("a")
    pieces.clock.advance(1)
    assert pieces.begun == ["a", "b", "c", "d", "a"]


def test_failures(nothing_left_behind: list[Any]) -> None:
    """Work that fails, even at once, does not keep the rest from being done; what nobody foresaw is logged as such."""
    pieces = Pieces()

    def broken() -> Deferred[None]:
        raise RuntimeError("broken")

    pieces.behind.add("a", broken)
    pieces.behind.add("b", lambda: fail(Failure(UpstreamUnavailable("down"))))
    pieces.add("c")
    pieces.clock.pump([1, 0, 0])
    assert pieces.begun == ["c"]
    assert [failure.type for failure in nothing_left_behind] == [RuntimeError]
    nothing_left_behind.clear()


def test_the_end() -> None:
    """To stop breaks off what is under way, forgets what waits, takes no more, and leaves no timer."""
    pieces = Pieces()
    for name in "abc":
        pieces.add(name)
    pieces.clock.advance(1)
    ended: list[object] = []
    pieces.behind.stop().addCallback(ended.append)
    pieces.add("d")
    assert pieces.cancelled == ["a", "b"]
    assert pieces.begun == ["a", "b"]
    assert ended == [None]
    assert pieces.clock.getDelayedCalls() == []
    idle = Pieces()
    idle.add("a")
    idle.behind.stop().addCallback(ended.append)
    assert idle.clock.getDelayedCalls() == []
    assert ended == [None, None]


def test_the_end_is_waited_for() -> None:
    """Work that cleans up when it is broken off is waited for."""
    clock = Clock()
    behind = WorkBehind(clock, concurrency=1, limit=1, delay=0)
    cleaning: Deferred[None] = Deferred()

    async def work() -> None:
        try:
            await Deferred()
        except CancelledError:
            await cleaning
            raise

    behind.add("a", lambda: Deferred.fromCoroutine(work()))
    clock.advance(0)
    ended: list[object] = []
    behind.stop().addCallback(ended.append)
    assert ended == []
    cleaning.callback(None)
    assert ended == [None]
