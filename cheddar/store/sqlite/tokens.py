"""API tokens in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timezone

from attrs import define
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import AlreadyExists, NotFound
from cheddar.formats.token_records import dump_token, load_token
from cheddar.interfaces import ITokenStore
from cheddar.model import TOKEN_KEPT, TOKEN_USE_STEP, Token
from cheddar.store.sqlite.connection import Database


@implementer(ITokenStore)
@define(eq=False)
class SQLiteTokens:
    """Tokens go with the rows of their users."""

    _database: Database

    @returns_deferred
    async def token(self, token_id: str) -> Token | None:
        """The token, or None."""
        found = await self._rows("WHERE id = ?", token_id)
        return found[0] if found else None

    @returns_deferred
    async def tokens(self, owner: str | None) -> tuple[Token, ...]:
        """All of an owner, or all there are, by their time of creation."""
        order = "ORDER BY created_at, id"
        return await (self._rows(order) if owner is None else self._rows(f"WHERE owner = ? {order}", owner))

    @returns_deferred
    async def add_token(self, token: Token) -> None:
        """Add a token, and forget those that expired long before. [NotFound, AlreadyExists]"""
        user = token.owner if token.of_user else None
        created, ends = token.created.timestamp(), token.expires.timestamp()
        row = (token.id, token.owner, user, dump_token(token), created, ends)

        def write(connection: sqlite3.Connection) -> None:
            if user is not None and not connection.execute("SELECT 1 FROM users WHERE name = ?", (user,)).fetchone():
                raise NotFound(f"There is no user {user}.")
            connection.execute("DELETE FROM tokens WHERE ends_at < ?", (created - TOKEN_KEPT.total_seconds(),))
            if not connection.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, NULL) ON CONFLICT (id) DO NOTHING", row
            ).rowcount:
                raise AlreadyExists(f"There is a token {token.id} already.")

        await self._database.change(write)

    @returns_deferred
    async def revoke_token(self, token_id: str) -> bool:
        """Forget a token. @return: whether there was one."""

        def write(connection: sqlite3.Connection) -> bool:
            return connection.execute("DELETE FROM tokens WHERE id = ?", (token_id,)).rowcount > 0

        return await self._database.change(write)

    @returns_deferred
    async def note_token_use(self, token_id: str, at: datetime) -> None:
        """Note that a token was used, to the minute."""
        time = at.timestamp()

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE tokens SET used_at = ? WHERE id = ? AND (used_at IS NULL OR used_at <= ?)",
                (time, token_id, time - TOKEN_USE_STEP.total_seconds()),
            )

        await self._database.change(write, durable=False)

    async def _rows(self, condition: str, *values: str) -> tuple[Token, ...]:
        def read(connection: sqlite3.Connection) -> Sequence[tuple[str, float | None]]:
            return connection.execute(f"SELECT record, used_at FROM tokens {condition}", values).fetchall()

        return tuple(
            load_token(record, None if used is None else datetime.fromtimestamp(used, timezone.utc))
            for record, used in await self._database.read(read)
        )
