"""Both stores, so that each contract is tested on each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from cheddar.interfaces import IStore
from cheddar.store.redis import RedisStore
from cheddar.store.sqlite import SQLiteStore
from tests.support.redis import RedisServer, redis_server

__all__ = ["EVENTS_KEPT", "HISTORY_SIZE", "StoreUnderTest", "redis_server", "store", "under_test"]

HISTORY_SIZE = 5
EVENTS_KEPT = 40


@define(eq=False)
class StoreUnderTest:
    """
    @ivar store: a started store on an empty database.
    @ivar make: makes another one on the same database.
    @ivar pass_time: lets a lease's seconds pass.
    """

    make: Callable[[], IStore]
    pass_time: Callable[[float], Deferred[None]]
    kind: str
    store: IStore = field(init=False)
    opened: list[IStore] = field(factory=list)

    async def another(self) -> IStore:
        """A second store object on the same database, started."""
        store = self.make()
        await store.start()
        self.opened.append(store)
        return store


@pytest_twisted.async_yield_fixture(params=["sqlite", "redis"])
async def under_test(request: pytest.FixtureRequest, reactor: Any, tmp_path: Path) -> AsyncIterator[StoreUnderTest]:
    """Each of the stores in turn."""
    if request.param == "sqlite":
        clock = Clock()
        clock.advance(1_800_000_000)

        def passes(seconds: float) -> Deferred[None]:
            clock.advance(seconds)
            return deferLater(reactor, 0, lambda: None)

        made = StoreUnderTest(
            lambda: SQLiteStore(tmp_path / "data" / "cheddar.sqlite", HISTORY_SIZE, reactor, clock, EVENTS_KEPT),
            passes,
            "sqlite",
        )
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        server.command("FLUSHALL")
        made = StoreUnderTest(
            lambda: RedisStore(server.url, HISTORY_SIZE, reactor, EVENTS_KEPT),
            # Leases end by the server's own clock.
            lambda seconds: deferLater(reactor, seconds, lambda: None),
            "redis",
        )
    made.store = await made.another()
    yield made
    for store in made.opened:
        await store.stop()


@pytest.fixture
def store(under_test: StoreUnderTest) -> IStore:
    """A started store on an empty database."""
    return under_test.store
