"""A remote index of real parts: a misbehaving upstream on loopback, a store, a storage, and a clock of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool

from cheddar.index.downloads import Downloads
from cheddar.index.made_metadata import MadeMetadata
from cheddar.index.remote import RemoteIndex
from cheddar.index.reservations import Reservations
from cheddar.index.upstreams import Source, Upstreams
from cheddar.storage.filesystem import FilesystemStorage
from cheddar.store.sqlite import SQLiteStore
from cheddar.upstream import Upstream
from tests.support.upstream import EvilUpstream


def owns_nothing(name: str) -> Deferred[bool]:
    """A local index that is empty."""
    return succeed(False)


class Node:
    """One Cheddar's remote half. Several may lie on the same folder, one after the other or at once."""

    def __init__(
        self,
        folder: Path,
        url: str,
        reactor: Any,
        clock: Clock,
        owns: Callable[[str], Deferred[bool]],
        reservations: Reservations | None = None,
    ) -> None:
        self.pool = ThreadPool(0, 4)
        self.store = SQLiteStore(folder / "cheddar.sqlite", 10, reactor, clock)
        self.storage = FilesystemStorage(folder / "remote", reactor, self.pool)
        self.upstream = Upstream(url, reactor=reactor, pool=self.pool, timeout=5.0, connections=8)
        self.upstreams = Upstreams([Source("", self.upstream)])
        self.downloads = Downloads(self.storage, self.upstreams, reactor, clock)
        self.made = MadeMetadata(self.upstreams, self.storage, reactor, self.pool, clock)
        self.index = RemoteIndex(
            self.upstreams,
            self.store.pages,
            self.downloads,
            self.storage,
            clock,
            self.store.changes,
            short_ttl=600,
            long_ttl=3600 * 24,
            negative_ttl=300,
            wait=12,
            owns=owns,
            made=self.made,
            reservations=reservations,
        )

    async def start(self) -> None:
        """Start all parts."""
        self.pool.start()
        await self.store.start()
        await self.storage.start()

    async def stop(self) -> None:
        """Stop all parts."""
        await self.made.stop()
        await self.downloads.stop()
        await self.upstream.stop()
        await self.storage.stop()
        await self.store.stop()
        self.pool.stop()


@pytest.fixture
def clock() -> Clock:
    """The clock by which listings age."""
    clock = Clock()
    clock.advance(1_700_000_000)
    return clock


@pytest_twisted.async_yield_fixture
async def evil(reactor: Any) -> AsyncIterator[EvilUpstream]:
    """An upstream that is up, and empty."""
    upstream = EvilUpstream(reactor)
    await upstream.start()
    yield upstream
    await upstream.stop()


@pytest_twisted.async_yield_fixture
async def make_node(
    reactor: Any, clock: Clock, evil: EvilUpstream, tmp_path: Path
) -> AsyncIterator[Callable[..., Any]]:
    """Makes started nodes on one folder, and stops them."""
    made: list[Node] = []

    async def make(
        owns: Callable[[str], Deferred[bool]] = owns_nothing, reservations: Reservations | None = None
    ) -> Node:
        node = Node(tmp_path, evil.url, reactor, clock, owns, reservations)
        await node.start()
        made.append(node)
        return node

    async def stop(node: Node) -> None:
        made.remove(node)
        await node.stop()

    make.stop = stop  # type: ignore[attr-defined]
    yield make
    for node in list(made):
        await node.stop()


@pytest_twisted.async_yield_fixture
async def node(make_node: Callable[..., Any]) -> AsyncIterator[Node]:
    """One node."""
    yield await make_node()
