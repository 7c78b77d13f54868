"""`cheddar token`, in either store."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from twisted.python.usage import UsageError

from cheddar.errors import Invalid, NotFound
from cheddar.formats.tokens import PATTERN, parse_token
from cheddar.interfaces import IStore
from cheddar.model import Action, Scope, Token, User
from cheddar.service import open_store
from cheddar.settings import Settings
from tests.cli.commands import execute
from tests.support.tokens import made

Command = Callable[..., Awaitable[str]]


async def in_store(reactor: Any, settings: Settings, work: Callable[[IStore], Awaitable[Any]]) -> Any:
    store = open_store(settings, reactor)
    await store.start()
    try:
        return await work(store)
    finally:
        await store.stop()


async def all_tokens(reactor: Any, settings: Settings) -> tuple[Token, ...]:
    found: tuple[Token, ...] = await in_store(reactor, settings, lambda store: store.tokens.tokens(None))
    return found


async def with_users(reactor: Any, settings: Settings) -> Command:
    """Runs `cheddar token`; there are users me and you."""

    async def add(store: IStore) -> None:
        for name in ("me", "you"):
            await store.accounts.put_user(User(name, "secret"))

    await in_store(reactor, settings, add)

    async def run(*words: str) -> str:
        return await execute(reactor, settings, "token", *words)

    return run


async def test_tokens_are_made_listed_and_revoked(reactor: Any, settings: Settings) -> None:
    """create prints the token; list tells of it, and never shows it; revoke ends it, by its id or by itself."""
    cheddar = await with_users(reactor, settings)
    assert await cheddar("list") == ""
    options = ("--action", "upload", "--action=read", "--project", "Acme_Web.*", "--project=tool", "--index", "local")
    text = (await cheddar("create", "--user", "me", *options, "--expires", "30", "--label", "CI of acme")).strip()
    assert re.fullmatch(PATTERN, text)
    token_id, secret = parse_token(text)
    (token,) = await all_tokens(reactor, settings)
    assert token.id == token_id
    assert (token.owner, token.label) == ("me", "CI of acme")
    assert token.scope == Scope(frozenset({Action.READ, Action.UPLOAD}), ("acme-web-*", "tool"), ("local",))
    assert token.expires - token.created == timedelta(days=30)
    day = token.expires.date()
    assert await cheddar("list") == (
        f"{token_id} me (CI of acme): read, upload of acme-web-*, tool at local; never used; expires {day}\n"
    )
    other = (await cheddar("create", "--user", "you", "--action", "yank")).strip()
    await in_store(reactor, settings, lambda store: store.tokens.note_token_use(token_id, token.created))
    listed = await cheddar("list")
    assert f"last used {token.created.date()}; expires {day}\n" in listed
    assert len(listed.splitlines()) == 2
    for hidden in (secret, parse_token(other)[1], token.digest):
        assert hidden not in listed + await cheddar("list", "--json")
    assert parse_token(other)[0] in await cheddar("list", "--user", "you")
    assert token_id not in await cheddar("list", "--user", "you")

    assert await cheddar("revoke", token_id) == f"Revoked token {token_id}: the next request with it is refused.\n"
    with pytest.raises(NotFound, match=f"no token {token_id}"):
        await cheddar("revoke", token_id)
    assert parse_token(other)[1] not in await cheddar("revoke", other)
    assert await cheddar("list") == ""
    assert await cheddar("list", "--user", "me") == ""


async def test_tokens_are_in_the_audit_log(reactor: Any, settings: Settings) -> None:
    """Which token was made for whom and what, and which was revoked; not the token."""
    cheddar = await with_users(reactor, settings)
    text = (await cheddar("create", "--user", "me", "--action", "upload", "--project", "acme-*")).strip()
    await cheddar("revoke", text)
    events = [json.loads(line) for line in settings.audit_file.read_text().splitlines()]
    token_id, secret = parse_token(text)
    assert [(event["action"], event.get("outcome", "done")) for event in events] == [
        *(("token.create", "begun"), ("token.create", "done"), ("token.revoke", "begun"), ("token.revoke", "done")),
    ]
    assert all(event["detail"].startswith(token_id) for event in events)
    assert "of me, for upload of acme-*, until " in events[0]["detail"]
    assert secret not in settings.audit_file.read_text()


async def test_what_a_token_is_without_options(reactor: Any, settings: Settings) -> None:
    """It ends after 90 days, and is for all that its user has."""
    cheddar = await with_users(reactor, settings)
    await cheddar("create", "--user", "me", "--action", "upload")
    (token,) = await all_tokens(reactor, settings)
    assert token.expires - token.created == timedelta(days=90)
    assert token.scope == Scope(frozenset({Action.UPLOAD}))
    assert token.label == ""


async def test_lists_for_programs(reactor: Any, settings: Settings) -> None:
    """list --json is one document, with what has expired marked."""
    cheddar = await with_users(reactor, settings)
    assert json.loads(await cheddar("list", "--json")) == []
    await in_store(reactor, settings, lambda store: made(store, "me", Action.READ, days=-1))
    await cheddar("create", "--user", "me", "--action", "delete", "--project", "acme*", "--label", "x")
    over, now = json.loads(await cheddar("list", "--json"))
    assert (over["expired"], now["expired"]) == (True, False)
    assert now.keys() == {
        *("id", "label", "owner", "actions", "projects", "indexes", "created", "expires", "expired", "last_used")
    }
    assert (now["owner"], now["label"], now["actions"], now["projects"]) == ("me", "x", ["delete"], ["acme*"])
    assert now["last_used"] is None
    lines = (await cheddar("list")).splitlines()
    assert ["expired" in line for line in lines] == [True, False]


async def test_a_token_that_cannot_work_is_not_made(reactor: Any, settings: Settings) -> None:
    """No user, no action, an odd pattern, index, label or time: said, and nothing is kept."""
    cheddar = await with_users(reactor, settings)
    good = ("create", "--user", "me", "--action", "upload")
    for words, error, message in (
        (("create", "--user", "carl", "--action", "upload"), NotFound, "no user carl .*cheddar user add"),
        (("create", "--user", "github:acme/web", "--action", "upload"), Invalid, "cannot be a user's name"),
        (("create", "--action", "upload"), UsageError, "--user NAME"),
        (("create", "--user", "me"), UsageError, "--action: read, upload, yank, delete, admin"),
        ((*good, "--action", "observe"), Invalid, "'observe' is not an action; there are read, upload"),
        ((*good, "--project", "*"), Invalid, r"--project must be a project name, or .* acme-\*"),
        ((*good, "--project", "acme-*-x"), Invalid, "--project must be"),
        ((*good, "--index", "main"), Invalid, "'main' is not an index; there are local, remote, combined"),
        ((*good, "--expires", "0"), Invalid, "from 1 to 365"),
        ((*good, "--expires", "366"), Invalid, "from 1 to 365"),
        ((*good, "--expires", "never"), Invalid, "from 1 to 365"),
        ((*good, "--expires", "9" * 5000), Invalid, "from 1 to 365"),
        ((*good, "--label", "a\nb"), Invalid, "printable"),
        ((*good, "--label", "x" * 101), Invalid, "at most 100"),
        ((*good, "acme-*"), UsageError, "Wrong number of arguments"),
        (("list", "--user", "carl"), NotFound, "no user carl"),
        (("revoke",), UsageError, "exactly one token"),
        (("revoke", "abc"), NotFound, "no token abc"),
    ):
        with pytest.raises(error, match=message):
            await cheddar(*words)
    assert await all_tokens(reactor, settings) == ()
    with pytest.raises(Invalid) as failed:
        await cheddar("revoke", "chd_abcdefghijkl_secretsecret")
    assert "secret" not in str(failed.value), "a token that lacks a character is a secret all the same"
    await cheddar(*good, "--expires", "365")
    assert len(await all_tokens(reactor, settings)) == 1, "the control"


async def test_the_token_alone_is_on_standard_output(reactor: Any, settings: Settings) -> None:
    """So that it can be piped to where it is needed; what people should know of it is on standard error."""
    await with_users(reactor, settings)
    told = io.StringIO()
    words = ("token", "create", "--user", "me", "--action", "upload", "--project", "acme-*")
    printed = await execute(reactor, settings, *words, stderr=told)
    assert re.fullmatch(PATTERN + "\n", printed)
    token_id, secret = parse_token(printed.strip())
    assert f"Token {token_id} of me, for upload of acme-*, until " in told.getvalue()
    assert "__token__" in told.getvalue()
    assert secret not in told.getvalue()
