"""What the tests of logging in share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet.task import Clock

from cheddar.store.sqlite import SQLiteStore
from tests.auth.door import CountingPool, Door


@pytest_twisted.async_yield_fixture
async def door(reactor: Any, tmp_path: Path) -> AsyncIterator[Door]:
    """A store without users."""
    store = SQLiteStore(tmp_path / "cheddar.sqlite", 10, reactor, reactor)
    await store.start()
    pool = CountingPool(0, 2, name="passwords")
    pool.start()
    yield Door(store, pool, Clock(), reactor)
    pool.stop()
    await store.stop()
