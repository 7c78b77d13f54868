"""Twisted's checkers of logins, beside the store's users: real ones, and ones that fail in every way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.cred.checkers import ANONYMOUS as NOBODY
from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import LoginDenied, UnauthorizedLogin, UnhandledCredentials
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogEvent, globalLogPublisher
from zope.interface import implementer

from cheddar.auth.attempts import Attempts
from cheddar.auth.checkers import Checkers, named
from cheddar.auth.logins import LimitedLogins
from cheddar.auth.passwords import hash_password
from cheddar.errors import SettingsError, TooOften, Unavailable
from cheddar.model import Credentials, Identity
from tests.auth.door import Door, refused


@implementer(ICredentialsChecker)
@attrs.define(eq=False)
class Foreign:
    """A checker as others write them: it answers as it is told."""

    answer: Callable[[Any], Any]
    asked: int = 0
    credentialInterfaces = (IUsernamePassword,)

    def requestAvatarId(self, credentials: Any) -> Any:
        """See L{ICredentialsChecker}."""
        self.asked += 1
        return self.answer(credentials)


def no(credentials: Any) -> Any:
    """The answer of a checker to whom it does not know."""
    return fail(UnauthorizedLogin())


def beside(door: Door, *checkers: ICredentialsChecker, clock: Clock | None = None) -> Checkers:
    """Checkers, asked in the pool that counts; on the reactor, or on a clock where they are no threads'."""
    return Checkers(checkers, clock or door.reactor, door.pool)


async def test_a_file_of_users(door: Door, tmp_path: Path) -> None:
    """
    Who is in the file gets in, with every kind of password; a change counts at once; the store's user of a name is not
    overridden. A wrong password and an unknown name cost the same, a right one no hash.
    """
    file = tmp_path / "passwords"
    file.write_text("bob:secret\nalice:of the file\ncarol:pässword\nempty:\n_x:secret\nbroken\n")
    await door.put("alice", hash_password("of the store"))
    keeper = door.keeper(others=beside(door, *named([f"file:{file}"])))
    assert await keeper.identify(Credentials("bob", "secret")) == Identity("bob")
    assert await keeper.identify(Credentials("carol", "pässword")) == Identity("carol")
    assert await keeper.identify(Credentials("alice", "of the store")) == Identity("alice")
    for name, password in (
        ("alice", "of the file"), ("bob", "secre"), ("bob", "secret "), ("BOB", "secret"), ("empty", ""),
        ("broken", ""), ("_x", "secret"), ("nobody", "secret"), ("bob", "x" * 5000),
    ):  # fmt: skip
        assert await refused(keeper.identify(Credentials(name, password))), name
    # The file is one job, and the hash that says no is another.
    assert [await door.cost(keeper, *login) for login in (("bob", "secret"), ("bob", "x"), ("nobody", "x"))] == [
        1,
        2,
        2,
    ]
    file.write_text("bob:changed\n")
    assert await refused(keeper.identify(Credentials("bob", "secret")))
    assert await keeper.identify(Credentials("bob", "changed")) == Identity("bob")
    file.write_text("")
    assert await refused(keeper.identify(Credentials("bob", "changed")))


async def test_a_file_that_cannot_be_read(door: Door, tmp_path: Path) -> None:
    """That is no wrong password: clients are told to come again; the store's users get in."""
    await door.put("alice", hash_password("007"))
    keeper = door.keeper(others=beside(door, *named([f"file:{tmp_path / 'nothing'}"])))
    with pytest.raises(Unavailable) as failed:
        await keeper.identify(Credentials("bob", "secret"))
    assert failed.value.retry_after > 0
    assert await keeper.identify(Credentials("alice", "007")) == Identity("alice")
    (tmp_path / "nothing").write_text("bob:secret")
    assert await keeper.identify(Credentials("bob", "secret")) == Identity("bob"), "it heals"


async def test_users_in_memory(door: Door) -> None:
    """C{memory:name:password:...}, for trying things out."""
    keeper = door.keeper(others=beside(door, *named(["memory:bob:secret:carol:007"])))
    assert await keeper.identify(Credentials("carol", "007")) == Identity("carol")
    assert await refused(keeper.identify(Credentials("bob", "007")))


async def test_several_checkers(door: Door) -> None:
    """They are asked in their order; one that is broken does not stop those whom another one knows."""
    broken = Foreign(lambda sent: 1 // 0)
    known = InMemoryUsernamePasswordDatabaseDontUse(bob=b"secret")
    first = door.keeper(others=beside(door, broken, known))
    assert await first.identify(Credentials("bob", "secret")) == Identity("bob")
    with pytest.raises(Unavailable):
        await first.identify(Credentials("bob", "wrong"))
    last = Foreign(no)
    assert await door.keeper(others=beside(door, known, last)).identify(Credentials("bob", "secret")) == Identity("bob")
    assert last.asked == 0


@pytest.mark.parametrize(
    "answer",
    [
        no,
        lambda sent: fail(LoginDenied()),
        lambda sent: fail(UnhandledCredentials()),
        lambda sent: succeed(NOBODY),
        lambda sent: succeed(None),
        lambda sent: succeed(b"no user/s name"),
        lambda sent: succeed(b"\xff"),
        lambda sent: "",
    ],
)
async def test_what_counts_as_no(door: Door, answer: Callable[[Any], Any]) -> None:
    """Whoever is not named by a name that a user may have is nobody."""
    foreign = Foreign(answer)
    assert await refused(door.keeper(others=beside(door, foreign)).identify(Credentials("bob", "secret")))
    assert foreign.asked == 1


async def test_a_checker_spells_the_name(door: Door) -> None:
    """
    The user is who the checker says it is, so that one person is one user; but nobody becomes a user of the store by
    the password of another one.
    """
    keeper = door.keeper(others=beside(door, Foreign(lambda sent: succeed(sent.username.lower()))))
    assert await keeper.identify(Credentials("Bob", "any")) == Identity("bob")
    assert await keeper.identify(Credentials("ALICE", "any")) == Identity("alice"), "the control"
    await door.put("alice", hash_password("007"))
    assert await refused(keeper.identify(Credentials("ALICE", "any")))


async def test_a_checker_that_fails_is_no_failed_login(door: Door) -> None:
    """
    Whatever it raises, at once or later: 503, and nobody is held back for it. The log says where, without the password
    that others' messages may hold.
    """

    def raising(sent: Any) -> Any:
        raise ValueError(f"cannot check {sent.password!r}")

    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        for answer in (raising, lambda sent: fail(ZeroDivisionError(sent.password)), lambda sent: 1 // 0):
            keeper = door.keeper(others=beside(door, Foreign(answer)))
            logins = LimitedLogins(keeper, Attempts(door.clock, 1, 1))
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await logins.identify(Credentials("bob", "canary"), "192.0.2.1")
    finally:
        globalLogPublisher.removeObserver(events.append)
    told = [event for event in events if event.get("checker") == "Foreign"]
    assert len(told) == 9
    assert {event["error"] for event in told} == {"ValueError", "ZeroDivisionError"}
    assert "test_checkers.py" in told[0]["file"]
    assert "canary" not in str(events)
    counted = LimitedLogins(door.keeper(others=beside(door, Foreign(no))), Attempts(door.clock, 1, 1))
    assert await refused(counted.identify(Credentials("bob", "canary"), "192.0.2.1"))
    with pytest.raises(TooOften):  # the control: a no counts
        await counted.identify(Credentials("bob", "canary"), "192.0.2.1")


async def test_a_slow_checker(door: Door) -> None:
    """Who waits for it is told to come again after ten seconds, and not more than a number wait."""
    clock = Clock()
    waiting: list[Deferred[Any]] = []
    foreign = Foreign(lambda sent: waiting.append(Deferred()) or waiting[-1])
    checkers = beside(door, foreign, clock=clock)
    keeper = door.keeper(others=checkers)
    await door.put("alice", hash_password("007"))
    ended: list[Any] = []
    asked = [Deferred.fromCoroutine(checkers.name_of("bob", "secret")) for _ in range(checkers.ASKING_MOST)]
    for one in asked:
        one.addErrback(lambda failure: ended.append(failure.type))
    with pytest.raises(Unavailable, match="Too many"):
        await checkers.name_of("bob", "secret")
    assert foreign.asked == checkers.ASKING_MOST
    assert await keeper.identify(Credentials("alice", "007")) == Identity("alice"), "the store's users do not wait"
    clock.advance(checkers.SECONDS + 1)
    assert ended == [Unavailable] * checkers.ASKING_MOST
    later = Deferred.fromCoroutine(checkers.name_of("bob", "secret"))
    waiting[-1].callback(b"bob")
    assert await later == "bob", "and it goes on"


async def test_a_checker_that_holds_its_thread(door: Door, tmp_path: Path) -> None:
    """A file on a disk that hangs: who waits is told, and the thread counts until it has ended."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    clock: Any = Clock()
    clock.callFromThread = door.reactor.callFromThread
    checkers = Checkers(named([f"file:{pipe}"]), clock, door.pool)
    ended: list[Any] = []
    asked = Deferred.fromCoroutine(checkers.name_of("bob", "secret"))
    asked.addErrback(lambda failure: ended.append(failure.type))
    clock.advance(checkers.SECONDS + 1)
    await asked
    assert ended == [Unavailable]
    assert checkers._asking == 1
    while checkers._asking:
        # Opened for both, a pipe waits for nobody; closed, it is at its end for who reads.
        os.close(os.open(pipe, os.O_RDWR))
        await deferLater(door.reactor, 0.01)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("nix:canary", "no kind of checker 'nix'; `twistd cheddar --help-auth`"),
        ("canary", "no kind of checker 'canary'"),
        ("file:", "file cannot be used: .*requires a filename"),
        ("memory:alice:canary:bob", "memory cannot be used: "),
        ("sshkey", "(sshkey cannot be used: it does not check user names|no kind of checker)"),
        ("anonymous", "anonymous cannot be used: it does not check user names with passwords"),
    ],
)
def test_a_checker_that_cannot_be_used(description: str, message: str) -> None:
    """The start fails with one line; what stands behind the colon, which may be a secret, is not in it."""
    with pytest.raises(SettingsError, match=message) as failed:
        named([description])
    assert ":canary" not in str(failed.value)
