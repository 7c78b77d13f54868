"""The local index when its storage and its store do not agree, or do not work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool

from cheddar.auth.known_rights import KnownRights
from cheddar.auth.permissions import Permissions
from cheddar.deferreds import returns_deferred
from cheddar.errors import NoRoom, NotFound, StoreUnavailable, Unavailable
from cheddar.index.local import LocalIndex
from cheddar.index.store_memory import StoreMemory
from cheddar.interfaces import IProjectStore, IStoredFile
from cheddar.model import Identity, Selector
from cheddar.storage.filesystem import FilesystemStorage
from cheddar.store.sqlite import SQLiteStore
from tests.support.distributions import make_wheel


@attrs.define
class Sent:
    """An upload that has arrived."""

    filename: str
    writer: Any
    fields: dict[str, tuple[str, ...]] = attrs.Factory(dict)
    digests: dict[str, str] = attrs.Factory(dict)


class Ours:
    """A local index on a real store and a real storage."""

    def __init__(self, folder: Path, reactor: Any) -> None:
        self.folder = folder
        self.pool = ThreadPool(0, 2, name="local")
        self.store = SQLiteStore(folder / "cheddar.sqlite", 10, reactor, reactor)
        self.storage = FilesystemStorage(folder / "local", reactor, self.pool)
        self._reactor = reactor

    def index(self, projects: Any = None, storage: Any = None) -> LocalIndex:
        """The index; other parts in place of the real ones where they are given."""
        projects = projects or self.store.projects
        storage = storage or self.storage
        memory = StoreMemory(projects, storage, Clock())
        permissions = Permissions(
            KnownRights(self.store.rights, self._reactor), self.store.accounts.grants, self.store.projects.owned_names
        )
        return LocalIndex(projects, memory, storage, self._reactor, Clock(), self.pool, permissions)

    @returns_deferred
    async def publish(self, index: LocalIndex, filename: str, content: bytes) -> None:
        """Upload."""
        writer = await self.storage.create(("sha256",))
        writer.write(content)
        try:
            await index.publish(Sent(filename, writer), Identity("alice"))
        finally:
            await writer.abort()

    def files(self) -> list[str]:
        """The names of all files that are stored."""
        root = self.folder / "local"
        apart = {".incoming", "store"}
        return sorted(path.name for path in root.rglob("*") if path.is_file() and not apart & set(path.parts))


@pytest_twisted.async_yield_fixture
async def ours(reactor: Any, tmp_path: Path) -> AsyncIterator[Ours]:
    """An index without projects."""
    made = Ours(tmp_path, reactor)
    made.pool.start()
    await made.store.start()
    await made.storage.start()
    yield made
    await made.storage.stop()
    await made.store.stop()
    made.pool.stop()


class Refusing:
    """A store of projects that takes no file, and gives the reason that it is told to."""

    def __init__(self, projects: IProjectStore, reason: Exception) -> None:
        self._projects = projects
        self._reason = reason

    def add_file(self, *_: object) -> Deferred[None]:
        """Refuses."""
        return fail(self._reason)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._projects, name)


async def test_a_full_store_leaves_no_bytes(ours: Ours) -> None:
    """Where there is no room for the row, what was stored for it gives its room back."""
    filename, content = make_wheel("demo", "1.0")
    with pytest.raises(NoRoom):
        await ours.publish(ours.index(Refusing(ours.store.projects, NoRoom("full"))), filename, content)
    assert ours.files() == []
    await ours.publish(ours.index(), filename, content)
    assert ours.files() == [filename, f"{filename}.metadata"], "the control"


async def test_a_store_that_does_not_answer_may_have_the_row(ours: Ours) -> None:
    """Then the bytes stay: a row without them would be worse than bytes without a row."""
    filename, content = make_wheel("demo", "1.0")
    with pytest.raises(StoreUnavailable):
        await ours.publish(ours.index(Refusing(ours.store.projects, StoreUnavailable("down"))), filename, content)
    assert ours.files() == [filename, f"{filename}.metadata"]


class Interrupted:
    """A storage in which something else happens just before a file is opened for the first time."""

    def __init__(self, storage: FilesystemStorage, happens: Any) -> None:
        self._storage = storage
        self._happens = [happens]

    @returns_deferred
    async def open(self, key: str) -> IStoredFile:
        """See L{IFileStorage}."""
        while self._happens:
            await self._happens.pop()()
        return await self._storage.open(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


async def test_a_file_removed_while_it_is_asked_for(ours: Ours) -> None:
    """It is not found, as a moment later; replaced by other bytes it is those; no alarm, since nothing is amiss."""
    filename, content = make_wheel("demo", "1.0")
    _, other = make_wheel("demo", "1.0", extra=(("demo/other.py", b"x\n"),))
    index = ours.index()
    await ours.publish(index, filename, content)

    async def remove() -> None:
        await index.remove("demo", Selector("1.0"))

    async def replace() -> None:
        await remove()
        await ours.publish(index, filename, other)

    found = await ours.index(storage=Interrupted(ours.storage, replace)).file("demo", filename, None)
    assert found.size == len(other)
    with pytest.raises(NotFound):
        await ours.index(storage=Interrupted(ours.storage, remove)).file("demo", filename, None)


async def test_missing_bytes_are_an_alarm(ours: Ours) -> None:
    """A file that is listed and not there is the server's fault, which an operator has to see to."""
    filename, content = make_wheel("demo", "1.0")
    await ours.publish(ours.index(), filename, content)
    (stored,) = ours.folder.rglob("*.whl")
    stored.unlink()
    with pytest.raises(Unavailable, match="rebuild"):
        await ours.index().file("demo", filename, None)


async def test_damaged_metadata_is_left_out(ours: Ours) -> None:
    """A release is shown although the metadata beside its file cannot be read any more."""
    filename, content = make_wheel("demo", "1.0")
    await ours.publish(ours.index(), filename, content)
    (_, metadata) = await ours.index().release_metadata("demo", "1.0")
    assert metadata is not None
    (sidecar,) = ours.folder.rglob("*.metadata")
    sidecar.write_bytes(b"\0 no metadata")
    (files, metadata) = await ours.index().release_metadata("demo", "1.0")
    assert [file.filename for file in files] == [filename]
    assert metadata is None
