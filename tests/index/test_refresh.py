"""The refresh loop: on one node, for as long as the service runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from cheddar.index.refresh import RefreshService
from cheddar.interfaces import IRefreshable
from cheddar.store.sqlite import SQLiteStore


@implementer(IRefreshable)
class Counted:
    """Counts its turns, and takes as long as it is told to."""

    def __init__(self) -> None:
        self.turns = 0
        self.result: Any = lambda: succeed(0)

    def refresh(self) -> Deferred[int]:
        self.turns += 1
        result: Deferred[int] = self.result()
        return result


@pytest_twisted.async_yield_fixture
async def store(tmp_path: Path, reactor: Any, clock: Clock) -> AsyncIterator[SQLiteStore]:
    """A store whose leases run by the clock."""
    store = SQLiteStore(tmp_path / "cheddar.sqlite", 10, reactor, clock)
    await store.start()
    yield store
    await store.stop()


async def turn(clock: Clock, store: SQLiteStore, seconds: float = 60) -> None:
    """Let time pass, and let what it set going come to rest."""
    clock.advance(seconds)
    for _ in range(5):
        # One thread writes, in the order in which it is asked: what was asked before is answered before this.
        await store._database.change(lambda connection: None, durable=False)


async def test_turns(store: SQLiteStore, clock: Clock) -> None:
    """A turn is taken every interval, the first one an interval after the start, none after the stop."""
    index = Counted()
    service = RefreshService(index, store.leases, clock, 60, "node")
    service.startService()
    await turn(clock, store, 59)
    assert index.turns == 0
    await turn(clock, store, 1)
    assert index.turns == 1
    await turn(clock, store)
    assert index.turns == 2
    await service.stopService()
    await turn(clock, store)
    assert index.turns == 2
    assert [call for call in clock.getDelayedCalls() if "Changes._look" not in str(call)] == []


async def test_a_turn_that_fails(store: SQLiteStore, clock: Clock, nothing_left_behind: list[Any]) -> None:
    """A turn that fails, in whatever way, is logged, and the next one comes."""
    index = Counted()
    service = RefreshService(index, store.leases, clock, 60, "node")
    service.startService()
    for result in (lambda: fail(ValueError("later")), lambda: 1 / 0, lambda: succeed(3)):
        index.result = result
        await turn(clock, store)
    assert index.turns == 3
    assert [failure.type for failure in nothing_left_behind] == [ValueError, ZeroDivisionError]
    nothing_left_behind.clear()
    await service.stopService()


async def test_one_node_does_it(store: SQLiteStore, clock: Clock) -> None:
    """Of several nodes one takes the turns; when it stops, or dies, another one does."""
    indexes = [Counted(), Counted(), Counted()]
    services = [
        RefreshService(index, store.leases, clock, 60, f"node-{number}") for number, index in enumerate(indexes)
    ]
    for service in services:
        service.startService()
    for _ in range(3):
        await turn(clock, store)
    turns = [index.turns for index in indexes]
    assert sorted(turns) == [0, 0, 3]
    active = turns.index(3)
    await services[active].stopService()
    await turn(clock, store)
    assert sum(index.turns for index in indexes) == 4
    assert indexes[active].turns == 3
    # A node that dies does not give its lease back.
    await store.leases.claim("refresh", "dead", 1)
    for number, service in enumerate(services):
        if number != active:
            await service.stopService()
    assert await store.leases.claim("refresh", "dead", 150)
    services[active].startService()
    await turn(clock, store)
    await turn(clock, store)
    assert indexes[active].turns == 3
    await turn(clock, store)
    assert indexes[active].turns == 4
    await services[active].stopService()


async def test_a_long_turn(store: SQLiteStore, clock: Clock) -> None:
    """A turn that takes longer than its lease keeps it, overlaps with no other, and is waited for at the stop."""
    index, other = Counted(), Counted()
    end: Deferred[int] = Deferred()
    index.result = lambda: end
    service = RefreshService(index, store.leases, clock, 60, "node")
    service.startService()
    await turn(clock, store)
    second = RefreshService(other, store.leases, clock, 60, "other")
    second.startService()
    for _ in range(10):
        await turn(clock, store)
    assert (index.turns, other.turns) == (1, 0)
    stopping = service.stopService()
    await turn(clock, store, 1)
    assert not stopping.called
    end.callback(1)
    await stopping
    await turn(clock, store)
    assert (index.turns, other.turns) == (1, 1)
    await second.stopService()
    assert [call for call in clock.getDelayedCalls() if "Changes._look" not in str(call)] == []
