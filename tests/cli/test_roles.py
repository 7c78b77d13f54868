"""`cheddar role` and `cheddar group`, in either store."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.python.usage import UsageError

from cheddar.errors import Invalid, NotFound
from cheddar.settings import Settings
from tests.cli.commands import execute


async def test_roles_are_given_listed_and_taken_back(reactor: Any, settings: Settings) -> None:
    """However a name is spelled; what follows from it for others is said at once."""

    async def role(*words: str) -> str:
        return await execute(reactor, settings, "role", *words)

    await execute(reactor, settings, "user", "add", "--stdin", "zoe", stdin="secret\n")
    assert await role("list") == ""
    assert await role("grant", "zoe", "owner", "Acme_Web") == "zoe is owner of acme-web now.\n"
    assert "There is no user bob in the store" in await role("grant", "bob", "maintainer", "acme-web")
    assert "Nobody is in @web yet" in await role("grant", "@web", "maintainer", "acme-*")
    said = await role("grant", "zoe", "reader", "tool")
    assert "tool is for those alone who have a role there" in said
    assert "tool has no owner" in said
    assert await role("grant", "zoe", "admin") == "zoe is admin of everything now.\n"
    assert await role("grant", "@users", "owner", "index:local") == "@users is owner of index:local now.\n"
    assert await role("list") == (
        "* admin zoe\nacme-* maintainer @web\nacme-web maintainer bob\nacme-web owner zoe\n"
        "index:local owner @users\ntool reader zoe\n"
    )
    assert await role("list", "zoe") == "* admin zoe\nacme-web owner zoe\ntool reader zoe\n"
    assert await role("list", "acme-web") == "acme-web maintainer bob\nacme-web owner zoe\n"
    with pytest.raises(NotFound, match=r"bob is not owner of acme-web; it is maintainer of acme-web$"):
        await role("revoke", "bob", "owner", "acme-web")
    assert await role("revoke", "bob", "maintainer", "ACME-web") == "bob is not maintainer of acme-web any more.\n"
    assert "Nobody owns acme-web now: only administrators" in await role("revoke", "zoe", "owner", "acme-web")
    assert await role("list", "acme-web") == "acme-web (its owner is gone)\n"
    await role("grant", "zoe", "owner", "acme-web")
    assert await role("list", "acme-web") == "acme-web owner zoe\n"


async def test_groups(reactor: Any, settings: Settings) -> None:
    """Users come and go; a group that is removed takes its roles with it."""

    async def group(*words: str) -> str:
        return await execute(reactor, settings, "group", *words)

    assert await group("add", "@web", "bob", "alice") == "bob, alice are in @web now.\n"
    assert await group("add", "ops", "bob") == "bob is in @ops now.\n"
    assert await group("list") == "@ops bob\n@web alice bob\n"
    assert await group("remove", "web", "bob") == "bob is not in @web any more.\n"
    with pytest.raises(NotFound, match="bob is not in @web"):
        await group("remove", "web", "bob")
    await execute(reactor, settings, "role", "grant", "@web", "reader", "acme")
    assert await group("remove", "web") == "Removed the group @web, and its roles.\n"
    with pytest.raises(NotFound, match="no group @web"):
        await group("remove", "web")
    assert await group("list") == "@ops bob\n"
    assert await execute(reactor, settings, "role", "list") == ""


async def test_words_that_cannot_be_meant_are_refused(reactor: Any, settings: Settings) -> None:
    """Nothing is stored that would never count."""
    for words, text in (
        (("a:b", "owner", "acme"), "cannot have a role"),
        (("", "owner", "acme"), "cannot have a role"),
        (("bob", "boss", "acme"), "no role 'boss'; there are reader, maintainer, owner, admin"),
        (("bob", "owner", "a b"), "cannot be a role's target"),
        (("bob", "owner", "index:all"), "one of index:local, index:remote, index:combined"),
        (("bob", "admin", "acme"), "an admin is one of everything"),
    ):
        for command in ("grant", "revoke"):
            with pytest.raises(Invalid, match=text):
                await execute(reactor, settings, "role", command, *words)
    for line in (
        ("role", "grant", "bob", "owner"),
        ("role", "grant", "bob"),
        ("group", "add", "@web"),
        ("group", "add"),
    ):
        with pytest.raises(UsageError, match="as in: "):
            await execute(reactor, settings, *line)
    for line in (("group", "add", "@users", "bob"), ("group", "add", "@web", "@ops")):
        with pytest.raises(Invalid, match=r"everybody who logs in|cannot be a name"):
            await execute(reactor, settings, *line)
    assert await execute(reactor, settings, "role", "list") == ""
    assert await execute(reactor, settings, "group", "list") == ""
