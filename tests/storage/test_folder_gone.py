"""A storage whose folder is taken away while it is in use, or was not there to begin with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import gatherResults
from twisted.python.threadpool import ThreadPool

from cheddar.errors import NoRoom, NotFound
from cheddar.storage.filesystem import FilesystemStorage
from tests.support.disks import read_only


async def store(storage: FilesystemStorage, key: str) -> None:
    """Store a file under C{key}."""
    writer = await storage.create()
    try:
        writer.write(b"content")
        await writer.finish()
        await writer.commit(key, {})
    finally:
        await writer.abort()


async def test_the_folder_is_gone(storage: FilesystemStorage, root: Path) -> None:
    """It cannot be written, and says so; who took it away has to make it again, and then everybody can write."""
    await store(storage, "releases/a/a-1.0.tar.gz")
    shutil.rmtree(root)
    for _ in range(2):
        with pytest.raises(NoRoom, match="No such file or directory"):
            await storage.check()
        with pytest.raises(NoRoom):
            await store(storage, "releases/a/a-1.0.tar.gz")
    assert not root.exists()
    root.mkdir()
    await gatherResults([storage.check() for _ in range(10)])
    await store(storage, "releases/a/a-1.0.tar.gz")
    assert [name for name, _, _ in await storage.names()] == ["releases/a/a-1.0.tar.gz"]
    assert len([path for path in (root / ".incoming").iterdir() if path.is_dir()]) == 1
    await storage.stop()
    with pytest.raises(NoRoom, match="not open"):
        await storage.check()


async def test_it_cannot_be_written_at_the_start(tmp_path: Path, reactor: Any, pool: ThreadPool) -> None:
    """The start fails, and says why; it works from when there is room, without another."""
    root = tmp_path / "late"
    root.mkdir()
    storage = FilesystemStorage(root, reactor, pool)
    with read_only(root):
        with pytest.raises(NoRoom, match="Read-only"):
            await storage.start()
        with pytest.raises(NoRoom, match="Read-only"):
            await storage.check()
    await store(storage, "releases/a/a-1.0.tar.gz")
    await storage.check()
    await storage.stop()


@contextmanager
def a_file(folder: Path) -> Iterator[None]:
    """Something that is no folder has the storage's place in C{folder}."""
    (folder / "files").write_bytes(b"")
    yield
    (folder / "files").unlink()


@pytest.mark.parametrize("in_the_way", [a_file, read_only])
async def test_it_cannot_be_made_at_the_start(
    tmp_path: Path, reactor: Any, pool: ThreadPool, in_the_way: Callable[[Path], AbstractContextManager[None]]
) -> None:
    """It is made as soon as it can be; from then on, who takes it away has to make it again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    storage = FilesystemStorage(disk / "files", reactor, pool)
    with in_the_way(disk):
        with pytest.raises(NoRoom):
            await storage.start()
        with pytest.raises(NotFound):
            await storage.open("releases/a/a-1.0.tar.gz")
        with pytest.raises(NoRoom):
            await store(storage, "releases/a/a-1.0.tar.gz")
    await gatherResults([storage.check() for _ in range(10)])
    await store(storage, "releases/a/a-1.0.tar.gz")
    assert [name for name, _, _ in await storage.names()] == ["releases/a/a-1.0.tar.gz"]
    shutil.rmtree(disk / "files")
    with pytest.raises(NoRoom):
        await storage.check()
    assert not (disk / "files").exists()
    await storage.stop()
