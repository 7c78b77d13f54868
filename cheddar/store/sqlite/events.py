"""The newest events of the audit log in SQLite. The file has them all, and is what a power failure does not undo."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from attrs import define
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.formats.event_lines import dump_event, load_event
from cheddar.interfaces import IEventStore
from cheddar.model import Event, EventQuery
from cheddar.store.sqlite.connection import Database

_ADD = """
INSERT INTO events (operation, project, who, record) VALUES (?, ?, ?, ?) ON CONFLICT (operation) DO UPDATE SET
    project = excluded.project, who = excluded.who, record = excluded.record
"""
_FIND = "SELECT record FROM events WHERE ? IN ('', project) AND ? IN ('', who) ORDER BY number DESC"


@implementer(IEventStore)
@define(eq=False)
class SQLiteEvents:
    """
    @ivar _kept: how many.
    """

    _database: Database
    _kept: int

    @returns_deferred
    async def add(self, events: Sequence[Event]) -> None:
        """Note events."""
        rows = [(event.operation or None, event.project, event.who, dump_event(event)) for event in events]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(_ADD, rows)
            newest = connection.execute("SELECT max(number) FROM events").fetchone()[0]
            connection.execute("DELETE FROM events WHERE number <= ?", ((newest or 0) - self._kept,))

        if rows:
            await self._database.change(write, durable=False)

    @returns_deferred
    async def find(self, query: EventQuery, limit: int) -> tuple[Event, ...]:
        """The newest events that are looked for."""

        def read(connection: sqlite3.Connection) -> tuple[Event, ...]:
            found: list[Event] = []
            for (record,) in connection.execute(_FIND, (query.project, query.who)):
                event = load_event(record)
                if query.admits(event):
                    found.append(event)
                    if len(found) >= limit:
                        break
            return tuple(found)

        return await self._database.read(read)
