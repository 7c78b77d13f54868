"""The shared metadata store, on Redis: many nodes, one truth."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.interfaces import IStore
from cheddar.store.changes import Changes
from cheddar.store.kept import EVENTS_KEPT
from cheddar.store.redis.accounts import RedisAccounts
from cheddar.store.redis.address import parse_address
from cheddar.store.redis.changes import RedisChanges
from cheddar.store.redis.connection import RedisConnection
from cheddar.store.redis.events import RedisEvents
from cheddar.store.redis.leases import RedisLeases
from cheddar.store.redis.pages import RedisPages
from cheddar.store.redis.projects import RedisProjects
from cheddar.store.redis.rights import RedisRights
from cheddar.store.redis.tokens import RedisTokens

__all__ = ["RedisStore"]


@implementer(IStore)
@define(eq=False)
class RedisStore:
    """
    Metadata in Redis 5 or newer, or Valkey.

    @ivar url: C{redis://[user[:password]@]host[:port][/db]}, C{rediss://} for verified TLS, or C{unix:///path}.
    @ivar history_size: how many releases the history keeps.
    @ivar events_kept: how many events of the audit log can be looked through.
    @raise SettingsError: the address cannot be read.
    """

    url: str = field(repr=False)
    history_size: int
    # The real reactor: txredisapi takes no other.
    _reactor: Any
    events_kept: int = EVENTS_KEPT
    _connection: RedisConnection = field(init=False)
    description: str = field(init=False)
    projects: RedisProjects = field(init=False)
    pages: RedisPages = field(init=False)
    accounts: RedisAccounts = field(init=False)
    rights: RedisRights = field(init=False)
    tokens: RedisTokens = field(init=False)
    leases: RedisLeases = field(init=False)
    events: RedisEvents = field(init=False)
    changes: Changes = field(init=False)

    def __attrs_post_init__(self) -> None:
        address = parse_address(self.url)
        self.changes = Changes(self._reactor, lambda: news.new())
        self._connection = RedisConnection(address, self._reactor, self.changes.tell)
        news = RedisChanges(self._connection)
        self.description = f"Redis at {address}"
        self.projects = RedisProjects(self._connection, self.history_size)
        self.pages = RedisPages(self._connection)
        self.accounts = RedisAccounts(self._connection)
        self.rights = RedisRights(self._connection)
        self.tokens = RedisTokens(self._connection)
        self.leases = RedisLeases(self._connection)
        self.events = RedisEvents(self._connection, self.events_kept)

    @returns_deferred
    async def start(self) -> None:
        """Begin to connect. Redis may be down: calls fail until it is back, and then work."""
        self._connection.open()
        self.changes.start()

    @returns_deferred
    async def stop(self) -> None:
        """Close all connections, and wait until they are."""
        await self.changes.stop()
        await self._connection.close()

    @returns_deferred
    async def check(self) -> None:
        """Whether Redis answers. [StoreUnavailable]"""
        await self._connection.command("PING")
