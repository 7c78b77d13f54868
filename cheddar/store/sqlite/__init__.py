"""The embedded metadata store, on SQLite."""

from __future__ import annotations

from pathlib import Path

from attrs import define, field
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.interfaces import IStore
from cheddar.store.changes import Changes
from cheddar.store.kept import EVENTS_KEPT
from cheddar.store.sqlite.accounts import SQLiteAccounts
from cheddar.store.sqlite.connection import Database
from cheddar.store.sqlite.events import SQLiteEvents
from cheddar.store.sqlite.leases import SQLiteLeases
from cheddar.store.sqlite.pages import SQLitePages
from cheddar.store.sqlite.projects import SQLiteProjects
from cheddar.store.sqlite.rights import SQLiteRights
from cheddar.store.sqlite.tokens import SQLiteTokens

__all__ = ["SQLiteStore"]


@implementer(IStore)
@define(eq=False)
class SQLiteStore:
    """
    Metadata in one file beside the data. Other processes of this machine may use the file at the same time.

    @ivar path: the database; its folder is made, for its owner alone, where it is missing.
    @ivar history_size: how many releases the history keeps.
    @ivar events_kept: how many events of the audit log can be looked through.
    """

    path: Path
    history_size: int
    _reactor: IReactorFromThreads
    _clock: IReactorTime
    events_kept: int = EVENTS_KEPT
    _database: Database = field(init=False)
    description: str = field(init=False)
    projects: SQLiteProjects = field(init=False)
    pages: SQLitePages = field(init=False)
    accounts: SQLiteAccounts = field(init=False)
    rights: SQLiteRights = field(init=False)
    tokens: SQLiteTokens = field(init=False)
    leases: SQLiteLeases = field(init=False)
    events: SQLiteEvents = field(init=False)
    changes: Changes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.changes = Changes(self._clock, lambda: self._database.changed())
        self._database = Database(self.path, self._reactor, self.changes.tell)
        self.description = f"SQLite in {self.path}"
        self.projects = SQLiteProjects(self._database, self.history_size, self._clock)
        self.pages = SQLitePages(self._database)
        self.accounts = SQLiteAccounts(self._database)
        self.rights = SQLiteRights(self._database)
        self.tokens = SQLiteTokens(self._database)
        self.leases = SQLiteLeases(self._database, self._clock)
        self.events = SQLiteEvents(self._database, self.events_kept)

    @returns_deferred
    async def start(self) -> None:
        """
        Open, and migrate. @raise SettingsError: another program's, or a newer Cheddar's, database.
        [StoreUnavailable, NoRoom]
        """
        await self._database.open()
        self.changes.start()

    @returns_deferred
    async def stop(self) -> None:
        """Close, after the changes that were asked for."""
        await self.changes.stop()
        await self._database.close()

    @returns_deferred
    async def check(self) -> None:
        """Whether the database can be read. [StoreUnavailable]"""
        await self.projects.serial()
