"""Since when a page has been what it is: what is told, and when."""

from __future__ import annotations

from datetime import datetime, timezone

from twisted.internet.task import Clock

from cheddar.web.modified import Sightings


def clock_at(seconds: float) -> Clock:
    """A clock that shows C{seconds} since the epoch."""
    clock = Clock()
    clock.advance(seconds)
    return clock


def at(seconds: int) -> datetime:
    """A time in whole seconds."""
    return datetime.fromtimestamp(seconds, timezone.utc)


def test_a_fresh_page_has_no_date() -> None:
    """A page has a date once it has been what it is for two seconds, and then keeps it."""
    clock = clock_at(1000.25)
    pages = Sightings(clock)
    assert pages.since("page", "a") is None
    clock.advance(1.99)
    assert pages.since("page", "a") is None
    clock.advance(0.01)
    assert pages.since("page", "a") == at(1001)
    clock.advance(100_000)
    assert pages.since("page", "a") == at(1001)


def test_no_two_states_share_a_date() -> None:
    """
    However fast a page changes, and whenever it is asked for: nobody holds a date as late as that of a later state, be
    it a Last-Modified or the Date of the answer.
    """
    for wait in (0.0, 0.001, 0.3, 0.999, 1.0, 1.7, 2.0, 3.5):
        clock = clock_at(1000.0)
        pages = Sightings(clock)
        held: list[float] = []
        for state in range(20):
            for _ in range(3):
                date = pages.since("page", state)
                if date is not None:
                    assert all(older < date.timestamp() for older in held[: state * 3])
                held.append(max(float(int(clock.seconds())), date.timestamp() if date else 0.0))
                clock.advance(wait)
        clock.advance(5)
        final = pages.since("page", 19)
        assert final is not None
        assert all(older < final.timestamp() for older in held[:-3])


def test_what_was_changed_back_has_changed() -> None:
    """The date of the first time is not the date of the second."""
    clock = clock_at(1000)
    pages = Sightings(clock)
    pages.since("page", "a")
    clock.advance(10)
    assert pages.since("page", "a") == at(1001), "the control"
    pages.since("page", "b")
    clock.advance(10)
    assert pages.since("page", "a") is None
    clock.advance(10)
    assert pages.since("page", "a") == at(1021)


def test_pages_have_dates_of_their_own() -> None:
    """One page's change is not another's."""
    clock = clock_at(1000)
    pages = Sightings(clock)
    pages.since(("local", "demo", "html"), "a")
    clock.advance(10)
    pages.since(("local", "demo", "json"), "a")
    clock.advance(10)
    assert pages.since(("local", "demo", "html"), "a") == at(1001)
    assert pages.since(("local", "demo", "json"), "a") == at(1011)


def test_memory_is_bounded() -> None:
    """The page that was looked at least recently is forgotten: it counts as new, which is safe."""
    clock = clock_at(1000)
    pages = Sightings(clock, 2)
    pages.since("first", "a")
    pages.since("second", "a")
    clock.advance(10)
    assert pages.since("first", "a") == at(1001)
    pages.since("third", "a")
    assert pages.since("first", "a") == at(1001)
    assert pages.since("second", "a") is None
    clock.advance(10)
    assert pages.since("second", "a") == at(1011)


def test_a_clock_that_is_set_back() -> None:
    """What changes after that has no older date than what was there before, and none until the clock is there again."""
    clock = clock_at(1000)
    pages = Sightings(clock)
    pages.since("page", "a")
    clock.advance(10)
    assert pages.since("page", "a") == at(1001)
    clock.rightNow = 500
    assert pages.since("page", "b") is None
    clock.advance(100)
    assert pages.since("page", "b") is None
    clock.rightNow = 1013
    assert pages.since("page", "b") == at(1011)
