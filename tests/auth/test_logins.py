"""Guessing: how often, at what cost, and whom it does not hold back."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import LogEvent, eventAsText, globalLogPublisher

from cheddar import metrics
from cheddar.auth.attempts import Attempts
from cheddar.auth.logins import LimitedLogins
from cheddar.auth.passwords import PasswordAuthenticator, hash_password
from cheddar.errors import BadCredentials, CheddarError, TooOften
from cheddar.model import ANONYMOUS, Credentials, Identity
from tests.auth.door import Door

HOME, OFFICE = "192.0.2.1", "192.0.2.2"


def limited(door: Door, authenticator: PasswordAuthenticator | None = None) -> LimitedLogins:
    """The way in: three of a user from an address, nine from an address."""
    return LimitedLogins(authenticator or door.keeper(), Attempts(door.clock, 3, 9))


def ended(asked: Deferred[Identity]) -> Deferred[Any]:
    """How a login ends: the user's name, or the class of the error."""
    return asked.addCallbacks(
        lambda identity: identity.name, lambda failure: failure.trap(CheddarError) and failure.type
    )


async def login(logins: LimitedLogins, name: str, password: str, client: str = HOME) -> Any:
    """How one login ends."""
    return await ended(logins.identify(Credentials(name, password), client))


async def test_three_guesses(door: Door) -> None:
    """
    After as many wrong passwords of a user from an address nothing is hashed for that user there, right or wrong, known
    or unknown; five minutes later it goes on. All others are looked at as ever.
    """
    await door.put("alice", hash_password("007"))
    await door.put("bob", hash_password("008"))
    for name in ("alice", "nobody"):
        logins = limited(door)
        before = door.pool.jobs
        assert [await login(logins, name, f"wrong {number}") for number in range(3)] == [BadCredentials] * 3
        assert door.pool.jobs - before == 3, "the control: these were hashed"
        for password in ("wrong 0", "wrong 4", "007"):
            assert await login(logins, name, password) is TooOften
        assert door.pool.jobs - before == 3, "and none of these"
        assert await login(logins, "bob", "008") == "bob"
        assert await login(logins, "alice", "007", OFFICE) == "alice"
        assert await logins.identify(None, HOME) == ANONYMOUS
        door.clock.advance(301)
        assert await login(logins, name, "wrong again") is BadCredentials
    assert await login(logins, "alice", "007") == "alice"


async def test_what_was_right_is_never_held_back(door: Door) -> None:
    """
    A job with an old password does not stop those with the new one behind the same gateway: not while their login is
    remembered, and not when it has to be verified again. A changed password is the end of that.
    """
    await door.put("ci", hash_password("new"))
    logins = limited(door)
    assert await login(logins, "ci", "new") == "ci"
    for _ in range(2):
        door.clock.advance(301)
        tried = Counter([await login(logins, "ci", "old") for _ in range(5)])
        assert tried == {BadCredentials: 3, TooOften: 2}
        before = door.pool.jobs
        assert await login(logins, "ci", "new") == "ci"
        assert door.pool.jobs - before == 1, "it was verified again"
        assert await login(logins, "ci", "new") == "ci"
        assert door.pool.jobs - before == 1, "and is remembered"
    await door.put("ci", hash_password("newest"))
    assert await login(logins, "ci", "new") is BadCredentials, "whoever it was right for loses access with the change"
    assert await login(logins, "ci", "new") is TooOften
    assert await login(logins, "ci", "newest") is TooOften
    assert await login(logins, "ci", "newest", OFFICE) == "ci"


async def test_nine_guesses_from_one_address(door: Door) -> None:
    """Trying many users is no way around; who was there before goes on."""
    await door.put("alice", hash_password("007"))
    await door.put("bob", hash_password("008"))
    logins = limited(door)
    assert await login(logins, "alice", "007") == "alice"
    tried = Counter([await login(logins, f"user{number // 2}", f"wrong {number}") for number in range(15)])
    assert tried == {BadCredentials: 9, TooOften: 6}
    assert await login(logins, "bob", "008") is TooOften
    assert await login(logins, "bob", "008", OFFICE) == "bob"
    assert await login(logins, "bob", "008") == "bob", "what was right somewhere is no guess here"
    assert await login(logins, "alice", "007") == "alice"


async def test_each_token_counts_for_itself(door: Door) -> None:
    """A token that is refused again and again holds back no other one; trying out tokens ends like trying out users."""
    logins = limited(door)
    assert [await login(logins, "__token__", "revoked") for _ in range(4)] == [BadCredentials] * 3 + [TooOften]
    assert await login(logins, "__token__", "another") is BadCredentials
    tried = Counter([await login(logins, "__token__", f"made up {number}") for number in range(8)])
    assert tried == {BadCredentials: 5, TooOften: 3}


async def test_guesses_at_the_same_moment(door: Door) -> None:
    """Sixty at once are no more than one after the other; a hundred of the right ones all get in, by one hash."""
    await door.put("alice", hash_password("007"))
    logins = limited(door)
    before = door.pool.jobs
    right = await gatherResults([ended(logins.identify(Credentials("alice", "007"), HOME)) for _ in range(100)])
    assert Counter(right) == {"alice": 100}
    assert door.pool.jobs - before == 1
    wrong = await gatherResults(
        [ended(logins.identify(Credentials("alice", f"wrong {number}"), HOME)) for number in range(60)]
    )
    assert Counter(wrong) == {BadCredentials: 3, TooOften: 57}
    assert door.pool.jobs - before == 4


async def test_who_leaves_has_tried(door: Door) -> None:
    """A client that hangs up on each guess gets no more of them."""
    keeper = door.keeper()
    logins = limited(door, keeper)
    for number in range(3):
        asked = logins.identify(Credentials("*", f"wrong {number}"), HOME)
        asked.addErrback(lambda _: None)
        asked.cancel()
    assert door.pool.jobs == 3, "the control: each had begun"
    assert await login(logins, "*", "wrong again") is TooOften
    assert door.pool.jobs == 3


class Forgetful(LimitedLogins):
    """One that remembers two."""

    RIGHT_MOST = 2


async def test_not_all_that_was_right_is_remembered(door: Door) -> None:
    """A bounded number of logins, of which the least recently seen go first."""
    for name in ("a1", "b2", "c3"):
        await door.put(name, hash_password(name))
    logins = Forgetful(door.keeper(), Attempts(door.clock, per_client=1))
    for name in ("a1", "b2", "a1", "c3"):
        assert await login(logins, name, name) == name
    assert await login(logins, "nobody", "wrong") is BadCredentials
    assert [await login(logins, name, name) for name in ("a1", "b2", "c3")] == ["a1", TooOften, "c3"]


async def test_what_is_noted_of_guesses(door: Door) -> None:
    """
    The log names the address, and no password, nor the name: now and then that is one. All are counted.
    """
    events: list[LogEvent] = []
    name = "eve\x1b[2J\nroot logged in é" + "x" * 5000
    counted = {what: metrics.logins.labels(what) for what in ("ok", "refused", "limited")}
    before = {what: counter._value.get() for what, counter in counted.items()}
    await door.put("alice", hash_password("canary 007"))
    logins = limited(door)
    globalLogPublisher.addObserver(events.append)
    try:
        assert await login(logins, "alice", "canary 007") == "alice"
        for _ in range(12):
            await login(logins, name, "canary 7")
        assert await login(logins, name + "another", "canary 7") is TooOften, "no name is remembered whole"
    finally:
        globalLogPublisher.removeObserver(events.append)
    lines = [eventAsText(event, includeTimestamp=False) for event in events]
    refusals = [line for line in lines if "was refused" in line]
    assert len(refusals) == 3
    assert all(HOME in line for line in refusals)
    assert not any("logged in" in line for line in lines)
    assert len([line for line in lines if "no more are looked at" in line]) == 1
    assert "canary" not in str(events)
    after = {what: counter._value.get() - before[what] for what, counter in counted.items()}
    assert after == {"ok": 1, "refused": 3, "limited": 10}
