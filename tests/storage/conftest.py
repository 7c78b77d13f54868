"""A storage in a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.python.threadpool import ThreadPool

from cheddar.storage.filesystem import FilesystemStorage


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    """Threads for the disk."""
    pool = ThreadPool(0, 4)
    pool.start()
    yield pool
    pool.stop()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the storage lies."""
    return tmp_path / "files"


@pytest_twisted.async_yield_fixture
async def storage(root: Path, reactor: Any, pool: ThreadPool) -> AsyncIterator[FilesystemStorage]:
    """A started storage."""
    storage = FilesystemStorage(root, reactor, pool)
    await storage.start()
    yield storage
    await storage.stop()
