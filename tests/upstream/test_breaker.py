"""How long an upstream that fails is left alone."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from cheddar.errors import UpstreamUnavailable
from cheddar.upstream.addresses import Origin
from cheddar.upstream.breaker import MAX_ORIGINS, Breaker, Breakers


def failing(clock: Clock, failures: int = 5) -> Breaker:
    """A breaker after so many failures."""
    breaker = Breaker(clock)
    for _ in range(failures):
        breaker.enter()
        breaker.bad("Upstream is down.")
    return breaker


def test_opens_after_five() -> None:
    """Four failures are borne; after the fifth nobody asks for a second. A good answer in between starts anew."""
    clock = Clock()
    breaker = failing(clock, 4)
    breaker.good()
    assert breaker.failures == 0
    for _ in range(4):
        breaker.enter()
        breaker.bad("Upstream is down.")
    breaker.enter()
    breaker.bad("Upstream is down.")
    with pytest.raises(UpstreamUnavailable, match="Upstream is down") as caught:
        breaker.enter()
    assert caught.value.retry_after == 1


def test_one_probe_at_a_time() -> None:
    """After the pause one request goes through; the others wait for what it finds."""
    clock = Clock()
    breaker = failing(clock)
    clock.advance(1)
    breaker.enter()
    with pytest.raises(UpstreamUnavailable):
        breaker.enter()
    breaker.good()
    breaker.enter()
    breaker.enter()


def test_a_probe_that_is_given_up() -> None:
    """A probe whose caller went away leaves its turn to the next."""
    clock = Clock()
    breaker = failing(clock)
    clock.advance(1)
    breaker.enter()
    breaker.left()
    breaker.enter()


def test_pauses_double() -> None:
    """Each probe that fails doubles the pause, up to a minute; a good answer ends it all."""
    clock = Clock()
    breaker = failing(clock)
    for pause in (1, 2, 4, 8, 16, 32, 60, 60):
        clock.advance(pause - 0.01)
        with pytest.raises(UpstreamUnavailable):
            breaker.enter()
        clock.advance(0.02)
        breaker.enter()
        breaker.bad("Upstream is down.")
    clock.advance(61)
    breaker.enter()
    breaker.good()
    assert failing(clock).failures == 5
    breaker.bad("Upstream is down.")
    breaker.enter()


def test_clock_set_back() -> None:
    """A clock that is set back does not make the pause longer."""
    clock = Clock()
    clock.advance(10_000)
    breaker = failing(clock)
    clock.rightNow -= 3600
    breaker.enter()


def test_since() -> None:
    """It is known since when upstream has been failing, or good."""
    clock = Clock()
    breaker = Breaker(clock)
    assert breaker.since is None
    clock.advance(5)
    breaker.good()
    clock.advance(5)
    breaker.good()
    assert breaker.since == 5
    breaker.bad("Upstream is down.")
    clock.advance(5)
    breaker.bad("Upstream is down.")
    assert (breaker.since, breaker.failures, breaker.error) == (10, 2, "Upstream is down.")


def test_held() -> None:
    """The longest wait that an origin asked for is kept to, whatever it answers to what was asked before that."""
    clock = Clock()
    breaker = Breaker(clock)
    breaker.bad("Upstream is busy.")
    breaker.hold(100)
    breaker.bad("Upstream is busy.")
    breaker.hold(1)
    breaker.good()
    clock.advance(99)
    with pytest.raises(UpstreamUnavailable, match="Upstream is busy") as caught:
        breaker.enter()
    assert (caught.value.retry_after, breaker.state) == (1, "open")
    clock.advance(1)
    breaker.enter()
    breaker.good()
    assert breaker.state == "closed"
    breaker.hold(100)
    clock.rightNow -= 3600
    breaker.hold(1)
    clock.advance(1)
    breaker.enter()


def test_by_origin() -> None:
    """Each origin is judged by itself, and many origins do not push upstream's own judgement out."""
    clock = Clock()
    own = Origin("https", "index.example", 443)
    own_breaker = Breaker(clock)
    breakers = Breakers(clock, own, own_breaker)
    other = breakers.of(Origin("https", "files.example", 443))
    other.bad("Upstream is down.")
    assert breakers.of(Origin("https", "files.example", 443)) is other
    for number in range(MAX_ORIGINS):
        breakers.of(Origin("https", f"files{number}.example", 443))
    assert breakers.of(own) is own_breaker
    assert not own_breaker.failures
    assert breakers.of(Origin("https", "files.example", 443)) is not other


def test_state() -> None:
    """What is shown of it: closed, open after five failures, half-open while one may try, open again if it fails."""
    clock = Clock()
    breaker = failing(clock, 4)
    assert breaker.state == "closed"
    breaker.bad("Upstream is down.")
    assert breaker.state == "open"
    clock.advance(0.9)
    assert breaker.state == "open"
    clock.advance(0.1)
    assert breaker.state == "half-open"
    breaker.enter()
    assert breaker.state == "half-open"
    breaker.bad("Upstream is down.")
    assert breaker.state == "open"
    clock.advance(2)
    breaker.enter()
    breaker.good()
    assert breaker.state == "closed"
