"""Logging in with an API token: who gets in, until when, and what is noted of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest_twisted
from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, eventAsText, globalLogPublisher
from zope.interface import implementer

from cheddar.auth.tokens import REFUSED, TokenAuthenticator, new_token
from cheddar.deferreds import returns_deferred
from cheddar.errors import BadCredentials, NoRoom
from cheddar.formats.tokens import format_token, parse_token
from cheddar.interfaces import IAuthenticator, ITokenStore
from cheddar.model import ANONYMOUS, TOKEN_USER, Action, Credentials, Identity, Scope, Token, User
from cheddar.store.sqlite import SQLiteStore
from tests.support.tokens import UPLOADS

START = 1_800_000_000.0
NOW = datetime.fromtimestamp(START, timezone.utc)
PUBLISHER = "github:acme/web"


@implementer(IAuthenticator)
class AnybodyElse:
    """Takes everybody for who they say they are."""

    def identify(self, credentials: Credentials | None) -> Deferred[Identity]:
        """See L{IAuthenticator}."""
        return succeed(Identity(credentials.username) if credentials else ANONYMOUS)


@implementer(ITokenStore)
@attrs.define(eq=False)
class Counting:
    """
    A store that counts what it is asked.

    @ivar trouble: what becomes of changes, while it is set.
    """

    store: Any
    read: int = 0
    noted: int = 0
    trouble: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def token(self, token_id: str) -> Any:
        """See L{ITokenStore}."""
        self.read += 1
        return self.store.token(token_id)

    def note_token_use(self, token_id: str, at: datetime) -> Any:
        """See L{ITokenStore}."""
        self.noted += 1
        return fail(self.trouble) if self.trouble else self.store.note_token_use(token_id, at)


@attrs.define(eq=False)
class Door:
    """An authenticator, and what is behind it."""

    store: SQLiteStore
    tokens: Counting
    clock: Clock
    keeper: TokenAuthenticator

    @returns_deferred
    async def make(self, owner: str = "alice", scope: Scope = UPLOADS, days: float = 90) -> tuple[Token, str]:
        """A token in the store."""
        token, text = new_token(owner, scope, "CI", NOW, timedelta(days=days))
        await self.store.tokens.add_token(token)
        return token, text

    @returns_deferred
    async def says(self, text: str) -> str:
        """What a token is answered with: an error's text, or whose it is."""
        try:
            return (await self.keeper.identify(Credentials(TOKEN_USER, text))).name
        except BadCredentials as error:
            return str(error)

    @returns_deferred
    async def last_used(self, token: Token) -> datetime | None:
        """When the store knows it was used last; after what was asked of the store before."""
        await self.store.tokens.revoke_token("nothing")
        found = await self.store.tokens.token(token.id)
        return found.last_used if found else None


@pytest_twisted.async_yield_fixture
async def door(reactor: Any, tmp_path: Path) -> AsyncIterator[Door]:
    """A store with one user."""
    store = SQLiteStore(tmp_path / "cheddar.sqlite", 10, reactor, reactor)
    await store.start()
    await store.accounts.put_user(User("alice", "secret"))
    clock = Clock()
    clock.advance(START)
    tokens = Counting(store.tokens)
    yield Door(store, tokens, clock, TokenAuthenticator(tokens, clock, AnybodyElse()))
    await store.stop()


async def test_a_token_says_whose_it_is_and_what_for(door: Door) -> None:
    """Its bearer is its owner, within its scope; who comes otherwise is somebody else's business."""
    token, text = await door.make(scope=Scope(frozenset({Action.READ}), ("acme-*",)))
    assert await door.keeper.identify(Credentials("__token__", text)) == Identity("alice", token.id, token.scope)
    scope = Scope(frozenset({Action.UPLOAD}), ("acme-web",))
    minted, text = await door.make(PUBLISHER, scope, days=0.01)
    known = await door.keeper.identify(Credentials("__token__", text))
    assert known == Identity(PUBLISHER, minted.id, scope)
    assert not known.anonymous
    assert await door.keeper.identify(None) == ANONYMOUS
    assert await door.keeper.identify(Credentials("bob", text)) == Identity("bob")


async def test_tokens_are_not_alike() -> None:
    """Nobody guesses one from another."""
    made = [new_token("alice", UPLOADS, "", NOW, timedelta(days=1)) for _ in range(100)]
    assert len({token.id for token, _ in made}) == len({token.digest for token, _ in made}) == 100
    for token, text in made:
        token_id, secret = parse_token(text)
        assert token_id == token.id
        assert secret not in repr(token) + str(attrs.asdict(token))


async def test_whatever_is_wrong_is_answered_alike(door: Door) -> None:
    """Malformed, mistyped, unknown, with another's secret, revoked, expired: one answer, and it says what to do."""
    token, text = await door.make()
    other, other_text = await door.make()
    over, over_text = await door.make(days=1)
    revoked, revoked_text = await door.make()
    assert await door.says(text) == await door.says(over_text) == await door.says(revoked_text) == "alice"
    assert await door.store.tokens.revoke_token(revoked.id)
    door.clock.advance(86400)
    token_id, secret = parse_token(text)
    for wrong in (
        "",
        "secret",
        "chd_",
        "é" * 56,
        text[:-1],
        text + " ",
        format_token("zzzzzzzzzzzz", secret),
        format_token(token_id, parse_token(other_text)[1]),
        f"chd_{token_id}_{token.digest[:32]}_000000",
        revoked_text,
        over_text,
    ):
        assert await door.says(wrong) == REFUSED
    assert "cheddar token create" in REFUSED
    assert await door.says(text) == "alice", "the control"


async def test_what_is_no_token_costs_no_question(door: Door) -> None:
    """Whoever makes tokens up is refused by the checksum, and what comes at once is one question."""
    _, text = await door.make()
    for wrong in ("", "x" * 5000, text[:-1] + ("0" if text[-1] != "0" else "1"), text.swapcase()):
        assert await door.says(wrong) == REFUSED
    assert door.tokens.read == 0
    assert set(await gatherResults([door.says(text) for _ in range(100)])) == {"alice"}
    assert door.tokens.read == 1


async def test_a_token_ends_at_once(door: Door) -> None:
    """The next request after it was revoked, or its user removed, is refused: nothing is remembered."""
    token, text = await door.make()
    assert await door.says(text) == "alice"
    await door.store.tokens.revoke_token(token.id)
    assert await door.says(text) == REFUSED
    _, text = await door.make()
    assert await door.says(text) == "alice"
    await door.store.accounts.remove_user("alice")
    assert await door.says(text) == REFUSED
    await door.store.accounts.put_user(User("alice", "secret"))
    assert await door.says(text) == REFUSED, "nor does it come back with the next alice"


async def test_the_last_use_is_noted(door: Door) -> None:
    """To the minute, whatever the number of requests; a refused one is no use."""
    token, text = await door.make()
    unused, unused_text = await door.make()
    await gatherResults([door.says(text) for _ in range(50)])
    assert await door.last_used(token) == NOW
    door.clock.advance(30)
    await door.says(text)
    assert door.tokens.noted == 1
    door.clock.advance(30)
    await door.says(text)
    assert await door.last_used(token) == NOW + timedelta(minutes=1)
    assert door.tokens.noted == 2
    await door.says(format_token(unused.id, parse_token(text)[1]))
    assert await door.last_used(unused) is None
    await door.says(unused_text)
    assert await door.last_used(unused) is not None, "the control"


async def test_a_use_that_cannot_be_noted_is_no_failure(door: Door) -> None:
    """A store that takes no changes now lets tokens in; the log says it, without a word of the secret."""
    token, text = await door.make()
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        door.tokens.trouble = NoRoom("The disk is full.")
        assert await door.says(text) == await door.says(text) == "alice"
        await door.says(text[:-1])
        door.tokens.trouble = None
        assert await door.says(text) == "alice"
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert await door.last_used(token) == NOW
    said = "\n".join(map(eventAsText, events))
    assert f"use of token {token.id} is not noted: The disk is full." in said
    for secret in (parse_token(text)[1], token.digest):
        assert secret not in said + str(events)
    assert text not in repr(Credentials("__token__", text))
