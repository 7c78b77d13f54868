"""When a metadata store counts as one that has forgotten what it knew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool

from cheddar.errors import StoreUnavailable
from cheddar.index.store_memory import BELIEF, StoreMemory
from cheddar.model import File
from cheddar.storage.filesystem import FilesystemStorage
from cheddar.store.sqlite import SQLiteStore


async def test_only_an_empty_store_has_forgotten(reactor: Any, tmp_path: Path) -> None:
    """
    A store that never had rows is well, one that had and has none any more is not; a restored backup, which knows
    less than the store did, is taken as the remedy that it is.
    """
    pool = ThreadPool(0, 1, name="files")
    pool.start()
    storage = FilesystemStorage(tmp_path / "files", reactor, pool)
    await storage.start()
    stores = [SQLiteStore(tmp_path / f"{name}.sqlite", 10, reactor, reactor) for name in ("full", "backup", "empty")]
    full, backup, empty = stores
    try:
        for store in stores:
            await store.start()
        await StoreMemory(empty.projects, storage, Clock()).check()
        for store, versions in ((full, ("1.0", "1.1", "1.2")), (backup, ("1.0",))):
            for version in versions:
                await store.projects.add_file("demo", "demo", File(f"demo-{version}.tar.gz", version), True)
        clock = Clock()
        memory = StoreMemory(full.projects, storage, clock)
        await memory.note_change()
        await memory.check()
        memory._projects = backup.projects
        clock.advance(BELIEF)
        await memory.check()
        memory._projects = empty.projects
        clock.advance(BELIEF)
        with pytest.raises(StoreUnavailable, match="cheddar rebuild"):
            await memory.check()
    finally:
        for store in stores:
            await store.stop()
        await storage.stop()
        pool.stop()
