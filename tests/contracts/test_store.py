"""What every IStore does."""

from __future__ import annotations

import pytest

from cheddar.errors import StoreUnavailable
from cheddar.interfaces import IStore
from tests.contracts.conftest import StoreUnderTest


async def test_life(under_test: StoreUnderTest) -> None:
    """A store works from its start to its stop, may be started again, and says plainly when it is not open."""
    store = under_test.make()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.check()
    await store.stop()
    for _ in range(2):
        await store.start()
        await store.check()
        await store.stop()
        await store.stop()
        with pytest.raises(StoreUnavailable, match="not open"):
            await store.projects.serial()
        with pytest.raises(StoreUnavailable, match="not open"):
            await store.leases.claim("x", "y", 1)


async def test_stop_finishes_what_was_asked(under_test: StoreUnderTest) -> None:
    """Stopping while changes are under way leaves each of them done, or reported as failed."""
    store = await under_test.another()
    changes = [store.leases.claim(f"lease {number}", "ann", 60) for number in range(50)]
    await store.stop()
    done = 0
    for change in changes:
        try:
            done += await change
        except StoreUnavailable:
            continue
    free = [await under_test.store.leases.claim(f"lease {number}", "bob", 60) for number in range(50)]
    assert free.count(False) >= done
    assert under_test.kind == "redis" or done == 50


async def test_description(store: IStore) -> None:
    """The start line can say where metadata lies."""
    assert store.description.startswith(("SQLite in /", "Redis at redis://127.0.0.1:"))
