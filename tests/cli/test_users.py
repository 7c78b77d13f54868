"""`cheddar user`, in either store."""

from __future__ import annotations

from typing import Any

import pytest
from argon2 import PasswordHasher
from attrs import evolve
from twisted.python.usage import UsageError

from cheddar.errors import AlreadyExists, Invalid, NotFound
from cheddar.model import User
from cheddar.service import open_store
from cheddar.settings import Settings
from tests.cli.commands import execute


async def stored(reactor: Any, settings: Settings, name: str) -> User | None:
    store = open_store(settings, reactor)
    await store.start()
    try:
        return await store.accounts.user(name)
    finally:
        await store.stop()


async def has_password(reactor: Any, settings: Settings, name: str, password: str) -> bool:
    user = await stored(reactor, settings, name)
    assert user is not None
    assert user.password.startswith("$argon2id$")
    return PasswordHasher().verify(user.password, password)


async def test_users_are_added_listed_and_removed(reactor: Any, settings: Settings) -> None:
    """add, list, remove: what one command did, the next one sees."""
    assert await execute(reactor, settings, "user", "list") == ""
    said = await execute(reactor, settings, "user", "add", "--stdin", "zoe", stdin="secret\nnot this\n")
    assert "zoe" in said
    # Options may stand behind the name.
    await execute(reactor, settings, "user", "add", "adam", "--stdin", stdin="007")
    assert await execute(reactor, settings, "user", "list") == "adam\nzoe\n"
    assert await has_password(reactor, settings, "zoe", "secret")
    assert await has_password(reactor, settings, "adam", "007")
    await execute(reactor, settings, "user", "remove", "zoe")
    assert await execute(reactor, settings, "user", "list") == "adam\n"
    with pytest.raises(NotFound, match="no user zoe"):
        await execute(reactor, settings, "user", "remove", "zoe")


async def test_a_password_is_asked_for_twice(reactor: Any, settings: Settings) -> None:
    """Without --stdin the password is prompted for; a slip of the finger changes nothing."""
    with pytest.raises(Invalid, match="not the same"):
        await execute(reactor, settings, "user", "add", "me", typed=["secret", "sekret"])
    assert await stored(reactor, settings, "me") is None
    await execute(reactor, settings, "user", "add", "me", typed=["pässword ", "pässword "])
    assert await has_password(reactor, settings, "me", "pässword ")
    with pytest.raises(Invalid, match="--stdin"):
        await execute(reactor, settings, "user", "add", "other")


async def test_add_does_not_replace_and_password_does(reactor: Any, settings: Settings) -> None:
    """A user is never overwritten by `add`; `password` sets a new password, for who is there."""
    await execute(reactor, settings, "user", "add", "me", "--stdin", stdin="first\n")
    with pytest.raises(AlreadyExists, match="cheddar user password"):
        await execute(reactor, settings, "user", "add", "me", "--stdin", stdin="second\n")
    assert await has_password(reactor, settings, "me", "first")
    await execute(reactor, settings, "user", "password", "me", "--stdin", stdin="second\n")
    assert await has_password(reactor, settings, "me", "second")
    with pytest.raises(NotFound, match="no user you"):
        await execute(reactor, settings, "user", "password", "you", "--stdin", stdin="second\n")
    assert await stored(reactor, settings, "you") is None


async def test_grants(reactor: Any, settings: Settings) -> None:
    """grant, revoke, list: who may create which reserved names, however they are spelled."""
    settings = evolve(settings, reserved_names=("acme-*", "widget"))

    async def cheddar(*words: str) -> str:
        return await execute(reactor, settings, "user", *words)

    for name in ("adam", "zoe"):
        await execute(reactor, settings, "user", "add", "--stdin", name, stdin="secret\n")
    assert await cheddar("grant", "zoe", "Acme_Web.*") == "zoe may create acme-web-* now.\n"
    assert await cheddar("grant", "zoe", "widget") == "zoe may create widget now.\n"
    assert await cheddar("grant", "zoe", "widget") == "zoe may create widget now.\n"
    assert await cheddar("list") == "adam\nzoe (may create acme-web-*, widget)\n"
    with pytest.raises(NotFound, match=r"not granted acme-\*; it was granted acme-web-\*, widget$"):
        await cheddar("revoke", "zoe", "acme-*")
    with pytest.raises(NotFound, match=r"it was granted nothing$"):
        await cheddar("revoke", "adam", "widget")
    assert "no longer" in await cheddar("revoke", "zoe", "ACME-web-*")
    assert await cheddar("list") == "adam\nzoe (may create widget)\n"
    await cheddar("remove", "zoe")
    await execute(reactor, settings, "user", "add", "--stdin", "zoe", stdin="secret\n")
    assert await cheddar("list") == "adam\nzoe\n"


async def test_a_grant_that_cannot_work_is_refused_or_said(reactor: Any, settings: Settings) -> None:
    """A user that is none, a pattern that is none: refused. A name that nothing reserves: granted, and said."""
    settings = evolve(settings, reserved_names=("acme-*",))
    await execute(reactor, settings, "user", "add", "--stdin", "me", stdin="secret\n")
    with pytest.raises(NotFound, match="no user you"):
        await execute(reactor, settings, "user", "grant", "you", "acme-*")
    for pattern in ("*", "acme-*-x", "", "a b"):
        with pytest.raises(Invalid, match=r"cannot be granted: it must be a project name, or .* acme-\*"):
            await execute(reactor, settings, "user", "grant", "me", pattern)
    for words in (("me",), ("me", "acme-one", "acme-two")):  # an unquoted * was the shell's
        with pytest.raises(UsageError, match=r"alice 'acme-\*'"):
            await execute(reactor, settings, "user", "grant", *words)
    assert await execute(reactor, settings, "user", "list") == "me\n"
    assert "RESERVED_NAMES reserves none" in await execute(reactor, settings, "user", "grant", "me", "acmee-*")
    for pattern in ("acme", "acme-web-*", "acme*", "ac*"):
        assert "RESERVED_NAMES" not in await execute(reactor, settings, "user", "grant", "me", pattern)


async def test_names_and_passwords_that_cannot_work_are_refused(reactor: Any, settings: Settings) -> None:
    """A name with a colon could never log in; an empty password is nobody's intention."""
    for name in ("a:b", "", "../x", "a b", "x" * 65, "naïve"):
        with pytest.raises(Invalid, match="cannot be a user's name"):
            await execute(reactor, settings, "user", "add", name, "--stdin", stdin="secret\n")
    for password in ("", "\n", "x" * 5000):
        with pytest.raises(Invalid, match="password has 1 to"):
            await execute(reactor, settings, "user", "add", "me", "--stdin", stdin=password)
    assert await execute(reactor, settings, "user", "list") == ""


async def test_plain_text_passwords_are_replaced_at_once(reactor: Any, settings: Settings) -> None:
    """hash: of users by name, or of all; hashes stay, and what can be no password is named."""
    store = open_store(settings, reactor)
    await store.start()
    try:
        for name, password in (("adam", "007"), ("bea", "secret"), ("carl", "third"), ("long", "x" * 5000)):
            await store.accounts.put_user(User(name, password))
    finally:
        await store.stop()
    await execute(reactor, settings, "user", "add", "--stdin", "zoe", stdin="hashed\n")
    assert await execute(reactor, settings, "user", "hash", "adam", "zoe") == (
        "Replaced 1 plain text passwords by their hashes.\n"
    )
    assert await has_password(reactor, settings, "adam", "007")
    assert await stored(reactor, settings, "bea") == User("bea", "secret")
    with pytest.raises(Invalid, match="not replaced: long"):
        await execute(reactor, settings, "user", "hash", "--all")
    for name, password in (("adam", "007"), ("bea", "secret"), ("carl", "third"), ("zoe", "hashed")):
        assert await has_password(reactor, settings, name, password)
    with pytest.raises(NotFound, match="no user you"):
        await execute(reactor, settings, "user", "hash", "you")
    for words in ((), ("--all", "adam")):
        with pytest.raises(UsageError, match="--all"):
            await execute(reactor, settings, "user", "hash", *words)
