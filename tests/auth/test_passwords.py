"""Logging in with a name and a password: who gets in, at what cost, and for how long."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import LogEvent, globalLogPublisher

from cheddar.auth.passwords import MAX_PASSWORD_BYTES, PasswordAuthenticator, hash_password, is_hash
from cheddar.errors import BadCredentials, Unavailable
from cheddar.model import ANONYMOUS, Credentials, Identity, User
from cheddar.settings import Settings
from tests.auth.door import Door, refused
from tests.support.server import CheddarHere


class Forgetful(PasswordAuthenticator):
    """One that remembers two logins: more would take the test a minute."""

    REMEMBERED_MOST = 2


async def test_the_right_password_says_who_it_is(door: Door) -> None:
    """A user is known by name and password; nobody is anonymous; all else is refused alike."""
    await door.put("alice", hash_password("007"))
    keeper = door.keeper()
    assert await keeper.identify(Credentials("alice", "007")) == Identity("alice")
    assert await keeper.identify(None) == ANONYMOUS
    said = set()
    for name, password in (
        ("alice", "7"),
        ("alice", ""),
        ("alice", "007\0"),
        ("Alice", "007"),
        ("alice ", "007"),
        ("bob", "007"),
        ("", ""),
        ("*", "007"),
        ("a" * 5000, "007"),
    ):
        with pytest.raises(BadCredentials) as failed:
            await keeper.identify(Credentials(name, password))
        said.add(str(failed.value))
    assert len(said) == 1, "the message does not say which of the two was wrong"


async def test_a_login_is_remembered_until_the_password_changes(door: Door) -> None:
    """The next request costs no hash; a changed or removed user loses access with that change."""
    await door.put("alice", hash_password("old"))
    keeper = door.keeper()
    asked = Credentials("alice", "old")
    assert await door.cost(keeper, "alice", "old") == 1
    assert await door.cost(keeper, "alice", "old") == 0
    assert await refused(keeper.identify(Credentials("alice", "new")))
    await door.put("alice", hash_password("new"))
    assert await refused(keeper.identify(asked))
    assert not await refused(keeper.identify(Credentials("alice", "new")))
    await door.store.accounts.remove_user("alice")
    assert await refused(keeper.identify(Credentials("alice", "new")))


async def test_a_login_is_forgotten_after_a_while(door: Door) -> None:
    """What was verified is verified again, five minutes later."""
    await door.put("alice", hash_password("007"))
    keeper = door.keeper()
    assert await door.cost(keeper, "alice", "007") == 1
    door.clock.advance(keeper.REMEMBERED_SECONDS - 1)
    assert await door.cost(keeper, "alice", "007") == 0
    door.clock.advance(2)
    assert await door.cost(keeper, "alice", "007") == 1


async def test_not_all_logins_are_remembered(door: Door) -> None:
    """However many users there are, a bounded number is remembered; the least recently seen go first."""
    keeper = Forgetful(door.store.accounts, door.reactor, door.clock, door.pool)
    for name in ("a1", "b2", "c3"):
        await door.put(name, hash_password(name))
    costs = [await door.cost(keeper, name, name) for name in ("a1", "b2", "a1", "c3", "a1", "b2")]
    assert costs == [1, 1, 0, 1, 0, 1]


async def test_an_unknown_user_costs_as_much_as_a_wrong_password(door: Door) -> None:
    """By the time that an answer takes nobody learns which names exist."""
    await door.put("alice", hash_password("007"))
    await door.put("carol", "plain")
    for plaintext in ("upgrade", "accept", "reject"):
        keeper = door.keeper(plaintext)
        for name, password in (
            ("alice", "wrong"),
            ("carol", "wrong"),
            ("nobody", "007"),
            ("*", "007"),
            ("alice", ""),
            ("alice", "x" * 5000),
            ("nobody", "x" * 5000),
        ):
            assert await door.cost(keeper, name, password) == 1, (plaintext, name)


async def test_many_at_once_tell_no_more(door: Door) -> None:
    """The same wrong login many times at the same moment is one hash, be there such a user or not."""
    await door.put("alice", hash_password("007"))
    await door.put("carol", "plain")
    keeper = door.keeper()
    for name in ("alice", "carol", "nobody", "*"):
        before = door.pool.jobs
        assert all(
            await gatherResults(
                [Deferred.fromCoroutine(refused(keeper.identify(Credentials(name, "wrong")))) for _ in range(50)]
            )
        )
        assert door.pool.jobs - before == 1, name


async def test_too_many_logins_at_once(door: Door) -> None:
    """Beyond a number, who comes is told to come again, and not queued without end; later it goes on."""
    await door.put("alice", hash_password("007"))
    keeper = door.keeper()
    waiting = [keeper.identify(Credentials("*", f"wrong {number}")) for number in range(keeper.HASHING_MOST)]
    for asked in waiting:
        asked.addErrback(lambda failure: failure.trap(BadCredentials))
    with pytest.raises(Unavailable) as failed:
        await keeper.identify(Credentials("*", "one too many"))
    assert failed.value.retry_after > 0
    await gatherResults(waiting)
    assert await keeper.identify(Credentials("alice", "007")) == Identity("alice")


async def test_who_leaves_still_counts(door: Door) -> None:
    """A client that leaves at once does not make room for the next while its password is being looked at."""
    keeper = door.keeper()
    # No user can have such a name, so that the store is not asked and the job begins at once.
    asked = [keeper.identify(Credentials("*", f"wrong {number}")) for number in range(keeper.HASHING_MOST)]
    assert door.pool.jobs == keeper.HASHING_MOST
    for one in asked:
        one.addErrback(lambda _: None)
        one.cancel()
    with pytest.raises(Unavailable):
        await keeper.identify(Credentials("*", "x"))
    assert door.pool.jobs == keeper.HASHING_MOST


async def test_one_users_many_jobs_are_one_verification(door: Door) -> None:
    """A hundred uploads of one user that begin at the same moment all get in, by one hash."""
    await door.put("alice", hash_password("007"))
    await door.put("bob", "plain")
    keeper = door.keeper()
    for name, password in (("alice", "007"), ("bob", "plain")):
        before = door.pool.jobs
        known = await gatherResults([keeper.identify(Credentials(name, password)) for _ in range(100)])
        assert set(known) == {Identity(name)}
        assert door.pool.jobs - before == 1


@pytest.mark.parametrize(
    ("plaintext", "gets_in", "hashed"), [("upgrade", True, True), ("accept", True, False), ("reject", False, False)]
)
async def test_plain_text_in_the_store(door: Door, plaintext: str, gets_in: bool, hashed: bool) -> None:
    """A password set by hand: replaced by its hash at the first login, accepted, or refused; and a warning."""
    events: list[LogEvent] = []
    await door.put("carol", "canary 007")
    keeper = door.keeper(plaintext)
    globalLogPublisher.addObserver(events.append)
    try:
        assert await refused(keeper.identify(Credentials("carol", "canary 7")))
        assert await refused(keeper.identify(Credentials("carol", "canary 007"))) is not gets_in
        assert await refused(keeper.identify(Credentials("carol", "canary 007"))) is not gets_in
    finally:
        globalLogPublisher.removeObserver(events.append)
    user = await door.store.accounts.user("carol")
    assert user is not None
    assert is_hash(user.password) is hashed
    warnings = [event for event in events if event.get("name") == "carol"]
    assert warnings
    assert "canary" not in str(events), "no password in the log"


async def test_a_hash_is_not_a_password(door: Door) -> None:
    """Whoever has read the store cannot log in with what stands there."""
    stored = hash_password("007")
    await door.put("alice", stored)
    await door.put("broken", "$argon2id$v=19$garbage")
    for plaintext in ("upgrade", "accept"):
        assert await refused(door.keeper(plaintext).identify(Credentials("alice", stored)))
        assert await refused(door.keeper(plaintext).identify(Credentials("broken", "$argon2id$v=19$garbage")))


def test_passwords_have_a_length() -> None:
    """Neither none nor more than hashing should take, counted in bytes."""
    for wrong in ("", "x" * (MAX_PASSWORD_BYTES + 1), "é" * (MAX_PASSWORD_BYTES // 2 + 1)):
        with pytest.raises(ValueError, match="1024"):
            hash_password(wrong)
    assert is_hash(hash_password("x" * MAX_PASSWORD_BYTES))


async def test_passwords_in_every_spelling_over_http(reactor: Any, tmp_path: Path) -> None:
    """Colons, letters beyond ASCII as UTF-8 or as old clients send them, and the longest one; in a name no colon."""
    server = await CheddarHere(Settings(data_dir=tmp_path / "data", index_url="", read_auth=True), reactor).start()
    try:
        accounts = server.service.store.accounts
        for name, password in (("alice", "a:b:é"), ("bob", "x" * MAX_PASSWORD_BYTES)):
            await accounts.put_user(User(name, hash_password(password)))

        async def status(credentials: bytes) -> int:
            authorization = "Basic " + base64.b64encode(credentials).decode()
            return (await server.ask("GET", "/simple/", headers={"Authorization": authorization})).status

        assert await status("alice:a:b:é".encode()) == 200
        assert await status("alice:a:b:é".encode("latin-1")) == 200
        assert await status(b"bob:" + b"x" * MAX_PASSWORD_BYTES) == 200
        for wrong in (b"alice:a:b", b"alice:a", b"alice", b"", b":", b"bob:" + b"x" * (MAX_PASSWORD_BYTES + 1)):
            assert await status(wrong) == 401, wrong
    finally:
        await server.stop()
