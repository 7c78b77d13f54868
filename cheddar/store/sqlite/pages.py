"""Upstream's answers in SQLite. Nothing here waits for the disk: what is lost is fetched again."""

from __future__ import annotations

import sqlite3

from attrs import define, evolve, field
from twisted.logger import Logger
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import StoreUnavailable
from cheddar.formats.records import dump_page
from cheddar.interfaces import IPageCache
from cheddar.model import CachedPage
from cheddar.store.parsed import ParsedListings
from cheddar.store.sqlite.connection import Database
from cheddar.store.wanted import asked_again

_log = Logger()


@implementer(IPageCache)
@define(eq=False)
class SQLitePages:
    """Times lie in a row of their own, so that noting one doesn't write the listing again."""

    _database: Database
    _parsed: ParsedListings[str] = field(factory=ParsedListings, init=False)

    @returns_deferred
    async def get(self, index: str, name: str) -> CachedPage | None:
        """The remembered answer; a damaged one is as good as none."""

        def read(connection: sqlite3.Connection) -> CachedPage | StoreUnavailable | None:
            row = connection.execute(
                "SELECT checked_at, asked_at, record FROM pages JOIN page_records ON page = id "
                "WHERE index_name = ? AND name = ?",
                (index, name),
            ).fetchone()
            if row is None:
                return None
            checked_at, asked_at, record = row
            try:
                page = self._parsed.load(index, name, record)
            except StoreUnavailable as damage:
                return damage
            return evolve(page, checked_at=checked_at, asked_at=asked_at)

        page = await self._database.read(read)
        if isinstance(page, StoreUnavailable):
            _log.warn("The cached listing of {name} is fetched again: {damage}", name=name, damage=page)
            return None
        return page

    @returns_deferred
    async def put(self, index: str, name: str, page: CachedPage) -> None:
        """Remember an answer in place of the one before."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO pages (index_name, name, listed, checked_at, asked_at, wanted) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (index_name, name) DO UPDATE SET listed = excluded.listed, "
                "checked_at = excluded.checked_at, asked_at = excluded.asked_at, "
                "wanted = max(wanted, excluded.wanted)",
                (index, name, page.listed, page.checked_at, page.asked_at, page.asked_at),
            )
            connection.execute(
                "INSERT OR REPLACE INTO page_records SELECT id, ? FROM pages WHERE index_name = ? AND name = ?",
                (dump_page(page), index, name),
            )

        await self._database.change(write, durable=False)

    @returns_deferred
    async def touch(self, index: str, name: str, asked_at: float) -> None:
        """Note that a client asked."""

        def write(connection: sqlite3.Connection) -> None:
            row = connection.execute(
                "SELECT id, wanted FROM pages WHERE index_name = ? AND name = ?", (index, name)
            ).fetchone()
            if row is not None:
                page, wanted = row
                connection.execute(
                    "UPDATE pages SET asked_at = ?, wanted = ? WHERE id = ?",
                    (asked_at, asked_again(wanted, asked_at), page),
                )

        await self._database.change(write, durable=False)

    @returns_deferred
    async def mark_checked(self, index: str, name: str, checked_at: float) -> None:
        """Note that upstream confirmed the answer."""
        await self._set("UPDATE pages SET checked_at = ? WHERE index_name = ? AND name = ?", checked_at, index, name)

    @returns_deferred
    async def stale(self, index: str, checked_before: float, asked_after: float, limit: int) -> tuple[str, ...]:
        """Names that are due, the most wanted first."""
        return await self._names(
            # No listing is wanted less than its last request makes it.
            "SELECT name FROM pages WHERE index_name = ? AND wanted > ? AND asked_at > ? AND checked_at < ? "
            "ORDER BY wanted DESC LIMIT ?",
            index,
            asked_after,
            asked_after,
            checked_before,
            max(0, limit),
        )

    @returns_deferred
    async def names(self, index: str) -> tuple[str, ...]:
        """Projects with a listing, sorted."""
        return await self._names("SELECT name FROM pages WHERE index_name = ? AND listed ORDER BY name", index)

    @returns_deferred
    async def drop(self, index: str, name: str) -> None:
        """Forget."""
        await self._set("DELETE FROM pages WHERE index_name = ? AND name = ?", index, name)

    async def _set(self, statement: str, *values: object) -> None:
        def write(connection: sqlite3.Connection) -> None:
            connection.execute(statement, values)

        await self._database.change(write, durable=False)

    async def _names(self, statement: str, *values: object) -> tuple[str, ...]:
        def read(connection: sqlite3.Connection) -> tuple[str, ...]:
            return tuple(row[0] for row in connection.execute(statement, values))

        return await self._database.read(read)
