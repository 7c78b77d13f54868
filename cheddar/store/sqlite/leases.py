"""Leases in SQLite: between the processes of one machine, whose clock they share."""

from __future__ import annotations

import sqlite3

from attrs import define
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.interfaces import ILeases
from cheddar.store.sqlite.connection import Database


@implementer(ILeases)
@define(eq=False)
class SQLiteLeases:
    """A lease ends by itself; its row stays until the next claim."""

    _database: Database
    _clock: IReactorTime

    @returns_deferred
    async def claim(self, name: str, holder: str, seconds: float) -> bool:
        """Take the lease, or prolong it. @return: whether C{holder} has it now."""
        now = self._clock.seconds()

        def take(connection: sqlite3.Connection) -> bool:
            return (
                connection.execute(
                    "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                    "holder = excluded.holder, ends_at = excluded.ends_at "
                    "WHERE leases.holder = excluded.holder OR leases.ends_at <= ?",
                    (name, holder, now + seconds, now),
                ).rowcount
                > 0
            )

        return await self._database.change(take, durable=False)

    @returns_deferred
    async def release(self, name: str, holder: str) -> None:
        """Give it back."""

        def give_back(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (name, holder))

        await self._database.change(give_back, durable=False)
