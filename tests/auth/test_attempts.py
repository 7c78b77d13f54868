"""Counting failed logins: by whom, from where, for how long, and how many are remembered."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from cheddar.auth.attempts import Attempts
from cheddar.errors import TooOften


def tried(attempts: Attempts, client: str, account: str, fails: bool = True) -> bool:
    """Whether an attempt was let through; it ended as told."""
    try:
        waiter = attempts.take(client, account)
    except TooOften:
        return False
    assert waiter is None, "nothing else is under way"
    attempts.end(client, account, fails)
    return True


def wait_of(attempts: Attempts, client: str, account: str) -> int:
    """The seconds that somebody is told to wait."""
    with pytest.raises(TooOften) as refused:
        attempts.take(client, account)
    assert f"in {refused.value.retry_after} seconds" in str(refused.value)
    return refused.value.retry_after


def test_ten_of_one_user_from_one_address() -> None:
    """The eleventh waits; other users there, and the user elsewhere, do not. It says for how long, and then goes on."""
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(10):
        assert tried(attempts, "a", "alice")
        clock.advance(1)
    assert wait_of(attempts, "a", "alice") == 290
    assert tried(attempts, "a", "bob")
    assert tried(attempts, "b", "alice")
    clock.advance(289)
    assert wait_of(attempts, "a", "alice") == 1
    clock.advance(1)
    assert tried(attempts, "a", "alice"), "the first of the ten is over"
    assert wait_of(attempts, "a", "alice") == 1, "the second is not"


def test_thirty_from_one_address() -> None:
    """An address that tries one user after the other waits as well, and nobody at another address does."""
    attempts = Attempts(Clock())
    assert sum(tried(attempts, "a", f"user{number}") for number in range(100)) == 30
    assert wait_of(attempts, "a", "somebody new") == 300
    assert tried(attempts, "b", "user1")


def test_what_is_right_does_not_count() -> None:
    """However often somebody logs in."""
    attempts = Attempts(Clock())
    assert all(tried(attempts, "a", "alice", fails=False) for _ in range(100))
    assert not attempts._counts, "and nothing is remembered of it"


def test_a_clock_that_is_put_back_closes_nobody_out() -> None:
    """A failure that lies in the future counts no more: else an hour's correction would be an hour's wait."""
    clock = Clock()
    clock.advance(7200)
    attempts = Attempts(clock)
    while tried(attempts, "a", "alice"):
        pass
    clock.rightNow -= 3600
    assert tried(attempts, "a", "alice")


def test_all_at_once() -> None:
    """Of many attempts at the same moment ten are let through; the others wait for their end, and are refused then."""
    attempts = Attempts(Clock())
    waiting = [attempts.take("a", "alice") for _ in range(50)]
    assert waiting[:10] == [None] * 10
    assert None not in waiting[10:]
    attempts.end("a", "alice", failed=False)
    assert all(waiter is not None and waiter.called for waiter in waiting[10:]), "one was right: they ask again"
    assert attempts.take("a", "alice") is None
    again = [attempts.take("a", "alice") for _ in range(3)]
    again[0].cancel()  # type: ignore[union-attr]  # it is a Deferred, or the test fails here
    again[0].addErrback(lambda _: None)  # type: ignore[union-attr]  # it is a Deferred: it was cancelled
    closed = [attempts.end("a", "alice", failed=True) for _ in range(10)]
    assert closed == [False] * 9 + [True], "it says which was the last"
    assert all(waiter is not None and waiter.called for waiter in again)
    assert wait_of(attempts, "a", "alice") == 300


def test_all_at_once_from_one_address() -> None:
    """The same for many users at the same moment."""
    attempts = Attempts(Clock())
    taken = [attempts.take("a", f"user{number}") for number in range(50)]
    assert [waiter is None for waiter in taken] == [True] * 30 + [False] * 20
    assert isinstance(taken[-1], Deferred)
    assert attempts.take("b", "user1") is None


class Small(Attempts):
    """One that remembers fifty counts."""

    COUNTED_MOST = 50


def test_what_is_remembered_is_bounded() -> None:
    """Whatever a hostile network makes up: the oldest failures go first; what is over goes by itself."""
    clock = Clock()
    attempts = Small(clock)
    for number in range(2000):
        tried(attempts, f"client{number}", f"user{number}")
        assert len(attempts._counts) <= 51
    assert sum(tried(attempts, "client1999", f"one{number}") for number in range(100)) == 29
    before = dict(attempts._counts)
    assert not any(tried(attempts, "client1999", f"more{number}") for number in range(100))
    assert attempts._counts == before, "who is refused adds nothing"
    clock.advance(301)
    for number in range(30):
        tried(attempts, "somebody", f"later{number}")
    assert len(attempts._counts) <= 31


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.booleans(), st.integers(0, 40)), max_size=120),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_never_more_than_allowed(tries: list[tuple[str, str, bool, int]], per_account: int, per_client: int) -> None:
    """In every stretch of the time, no more failures than allowed; and never a refusal without that many."""
    clock = Clock()
    attempts = Attempts(clock, per_account, per_client, 100)
    failures: list[tuple[float, str, str]] = []
    for client, account, fails, pause in tries:
        clock.advance(pause)
        recent = [(c, a) for at, c, a in failures if clock.seconds() - at < 100]
        free = recent.count((client, account)) < per_account and Counter(c for c, _ in recent)[client] < per_client
        assert tried(attempts, client, account, fails) is free
        if free and fails:
            failures.append((clock.seconds(), client, account))
