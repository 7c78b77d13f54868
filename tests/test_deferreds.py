"""Coroutines at interfaces, work shared by many, turns by key, and the pace of a reader."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock

from cheddar.deferreds import Pace, SingleFlight, Turns, returns_deferred, shielded


class Broken(Exception):
    """What goes wrong here on purpose."""


def result_of(deferred: Deferred[Any]) -> list[Any]:
    """The result or the exception of a Deferred that has one, in a list; empty while there is none."""
    found: list[Any] = []
    deferred.addCallbacks(found.append, lambda failure: found.append(failure.value))
    return found


def test_a_coroutine_is_begun_at_once() -> None:
    """Who calls a method that returns a Deferred need not wait for it to have it done."""
    done = []

    @returns_deferred
    async def work(what: str) -> str:
        """Says what it does."""
        done.append(what)
        return what.upper()

    asked = work("begun")
    assert done == ["begun"]
    assert result_of(asked) == ["BEGUN"]
    assert work.__doc__ == "Says what it does."


def test_one_flight_for_all_who_ask() -> None:
    """While work for a key is under way all get its result; then it is done anew; no key waits for another."""
    flights: SingleFlight[str] = SingleFlight()
    begun: list[Deferred[str]] = []

    def start() -> Deferred[str]:
        begun.append(Deferred())
        return begun[-1]

    first, second, other = (result_of(flights.run(key, start)) for key in ("a", "a", "b"))
    assert (len(begun), flights.under_way()) == (2, 2)
    begun[0].callback("done")
    assert (first, second, other) == (["done"], ["done"], [])
    third = result_of(flights.run("a", start))
    assert len(begun) == 3
    begun[2].errback(Broken("why"))
    begun[1].callback("later")
    assert isinstance(third[0], Broken)
    assert other == ["later"]
    assert flights.under_way() == 0


def test_a_flight_goes_on_without_those_who_leave() -> None:
    """One who is cancelled leaves alone; even when all have left the work is finished, and the key is free again."""
    flights: SingleFlight[str] = SingleFlight()
    work: Deferred[str] = Deferred()
    leaver, stayer = flights.run("a", lambda: work), flights.run("a", lambda: work)
    left, stayed = result_of(leaver), result_of(stayer)
    leaver.cancel()
    assert isinstance(left[0], CancelledError)
    work.callback("done")
    assert stayed == ["done"]
    alone: Deferred[str] = Deferred()
    last = flights.run("a", lambda: alone)
    result_of(last)
    last.cancel()
    assert not alone.called
    alone.callback("nobody")
    assert flights.under_way() == 0


def test_work_that_fails_to_begin_frees_its_key() -> None:
    """A start that raises is a failure for who asked, not a key that is taken for ever."""
    flights: SingleFlight[str] = SingleFlight()

    def start() -> Deferred[str]:
        raise Broken

    assert isinstance(result_of(flights.run("a", start))[0], Broken)
    assert result_of(flights.run("a", lambda: succeed("again"))) == ["again"]


def test_turns_are_taken_one_at_a_time() -> None:
    """In the order of asking; a failure and a waiter that leaves let the next one in; other keys do not wait."""
    turns = Turns()
    steps: list[str] = []
    gates: dict[str, Deferred[None]] = {}

    def work(name: str) -> Any:
        async def run() -> str:
            steps.append(name)
            gates[name] = Deferred()
            await gates[name]
            return name

        return run

    one, two, three, four = (turns.take("key", work(name)) for name in ("one", "two", "three", "four"))
    elsewhere = turns.take("other", work("elsewhere"))
    results = [result_of(taken) for taken in (one, two, three, four, elsewhere)]
    assert steps == ["one", "elsewhere"]
    gates["one"].errback(Broken())
    assert steps[2:] == ["two"]
    three.cancel()
    gates["two"].callback(None)
    assert steps[3:] == ["four"]
    gates["four"].callback(None)
    gates["elsewhere"].callback(None)
    assert isinstance(results[0][0], Broken)
    assert isinstance(results[2][0], CancelledError)
    assert (results[1], results[3], results[4]) == (["two"], ["four"], ["elsewhere"])
    assert turns._locks == {}, "nothing is kept for keys that nobody uses"


def test_a_shielded_change_runs_to_its_end(nothing_left_behind: list[Any]) -> None:
    """Who waits may be cancelled, the change is not; its failure is then in the log, since nobody else hears of it."""
    assert result_of(shielded(succeed("done"))) == ["done"]
    assert isinstance(result_of(shielded(fail(Broken())))[0], Broken)
    for failing in (False, True):
        change: Deferred[str] = Deferred()
        waiter = shielded(change)
        left = result_of(waiter)
        waiter.cancel()
        assert isinstance(left[0], CancelledError)
        assert not change.called
        if failing:
            change.errback(Broken())
        else:
            change.callback("done")
    assert [type(failure.value) for failure in nothing_left_behind] == [Broken]
    nothing_left_behind.clear()


class Consumer:
    """Takes what it is given, and says when it has enough."""

    def __init__(self) -> None:
        self.producer: Any = None
        self.taken: list[bytes] = []
        self.enough = 0

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See L{IConsumer}."""
        assert self.producer is None
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        """See L{IConsumer}."""
        self.producer = None

    def write(self, data: bytes) -> None:
        """See L{IConsumer}."""
        self.taken.append(data)
        if len(self.taken) == self.enough:
            self.producer.pauseProducing()


async def three_pieces(consumer: Consumer, pace: Pace) -> None:
    """Writes three pieces, each when there is room."""
    for piece in (b"1", b"2", b"3"):
        await pace.turn()
        consumer.write(piece)


def test_a_writer_goes_at_the_readers_pace() -> None:
    """None while the reader has enough, and at the end the consumer is free for another producer."""
    clock, consumer = Clock(), Consumer()
    consumer.enough = 2
    pace = Pace(consumer, clock)  # type: ignore[arg-type]  # it is an IConsumer by its methods
    ended = result_of(pace.run(lambda pace: three_pieces(consumer, pace)))
    assert consumer.taken == [], "the reactor has its turn first"
    for _ in range(5):
        clock.advance(1)
    assert consumer.taken == [b"1", b"2"]
    assert ended == []
    consumer.producer.resumeProducing()
    clock.advance(0)
    assert consumer.taken == [b"1", b"2", b"3"]
    assert ended == [None]
    assert consumer.producer is None


@pytest.mark.parametrize("paused", [False, True])
def test_a_reader_that_leaves_ends_the_writing(paused: bool) -> None:
    """Be it waiting for room or not: the work is cancelled, a turn later, and nothing more is written."""
    clock, consumer = Clock(), Consumer()
    pace = Pace(consumer, clock)  # type: ignore[arg-type]  # it is an IConsumer by its methods
    ended = result_of(pace.run(lambda pace: three_pieces(consumer, pace)))
    if paused:
        consumer.enough = 1
        clock.advance(1)
    assert consumer.taken == ([b"1"] if paused else [])
    pace.stopProducing()
    assert ended == [], "not before the request itself is told"
    clock.advance(0)
    assert isinstance(ended[0], CancelledError)
    assert consumer.taken == [b"1"], "at most the piece whose turn had come"
    assert consumer.producer is None
    assert clock.getDelayedCalls() == []
