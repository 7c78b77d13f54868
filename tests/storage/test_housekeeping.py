"""A cache that is kept to its size while it is used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.python.threadpool import ThreadPool

from cheddar import metrics
from cheddar.storage.cache_folder import CacheFolder
from cheddar.storage.cache_patterns import read_patterns
from cheddar.storage.filesystem import FilesystemStorage
from cheddar.storage.housekeeping import Housekeeping
from cheddar.storage.last_use import LastUse
from cheddar.storage.pins import Pins
from tests.storage.test_eviction import NOW, key, lay, left


class Cache:
    """One process's view of a folder."""

    def __init__(self, root: Path, limit: int, reactor: Any, pool: ThreadPool) -> None:
        self.folder = CacheFolder(root)
        self.housekeeping = Housekeeping(self.folder, limit, reactor, pool)
        self.storage = FilesystemStorage(root, reactor, pool, uses=LastUse(reactor, self.housekeeping.came))

    async def put(self, name: str, size: int) -> None:
        """A file comes."""
        writer = await self.storage.create()
        writer.write(b"x" * size)
        await writer.commit(key(name), {})


@pytest_twisted.async_yield_fixture
async def make(reactor: Any, pool: ThreadPool, root: Path) -> AsyncIterator[Callable[[int], Any]]:
    """Makes started caches on one folder."""
    made: list[Cache] = []

    async def start(limit: int) -> Cache:
        cache = Cache(root, limit, reactor, pool)
        await cache.storage.start()
        cache.housekeeping.start()
        made.append(cache)
        return cache

    yield start
    for cache in made:
        await cache.housekeeping.stop()
        await cache.storage.stop()


async def until(condition: Callable[[], bool], reactor: Any) -> None:
    """Wait for it; the test's deadline ends the wait."""
    while not condition():
        await deferLater(reactor, 0.01)


async def test_what_is_too_much_goes_as_it_comes(make: Any, root: Path, reactor: Any) -> None:
    """What comes makes the oldest go, soon; what fits makes nothing go. The metrics say how much there is."""
    lay(root, key("old"), 400, NOW)
    lay(root, key("older"), 400, NOW - 1)
    cache = await make(1000)
    await cache.housekeeping.turn()
    evictions = metrics.cache_evictions._value.get()
    assert (metrics.cache_files._value.get(), metrics.cache_bytes._value.get()) == (2, 800)
    await cache.put("fits", 200)
    await cache.housekeeping.turn()
    assert left(root) == {key("old"), key("older"), key("fits")}
    assert metrics.cache_evictions._value.get() == evictions
    await cache.put("more", 1)
    await until(lambda: key("older") not in left(root), reactor)
    await cache.housekeeping.turn()
    assert left(root) == {key("old"), key("fits"), key("more")}
    assert metrics.cache_evictions._value.get() == evictions + 1
    assert (metrics.cache_files._value.get(), metrics.cache_bytes._value.get()) == (3, 601)


async def test_without_a_limit_nothing_goes(make: Any, root: Path) -> None:
    """No size, no eviction; what there is is counted all the same."""
    lay(root, key("old"), 1000, NOW)
    cache = await make(0)
    await cache.put("new", 10_000)
    await cache.housekeeping.turn()
    await cache.housekeeping.turn()
    assert metrics.cache_bytes._value.get() == 11_000
    assert left(root) == {key("old"), key("new")}


async def test_a_limit_that_was_lowered_takes_effect_with_the_start(make: Any, root: Path, reactor: Any) -> None:
    """What is too much when the server starts goes without anything coming; what is pinned stays."""
    for number in range(10):
        lay(root, key(f"p{number}"), 100, NOW + number)
    Pins(CacheFolder(root)).add(read_patterns(["p0"]))
    await make(500)
    await until(lambda: len(left(root)) == 4, reactor)
    assert left(root) == {key("p0"), *(key(f"p{number}") for number in (7, 8, 9))}


async def test_pins_count_in_a_running_server(make: Any, root: Path, reactor: Any) -> None:
    """What is pinned after the start stays from then on, and goes when it is unpinned."""
    cache = await make(1000)
    await cache.housekeeping.turn()
    await cache.put("kept", 600)
    Pins(CacheFolder(root)).add(read_patterns(["kept"]))
    await cache.put("other", 600)
    await until(lambda: key("other") not in left(root), reactor)
    assert left(root) == {key("kept")}
    Pins(CacheFolder(root)).remove(read_patterns(["kept"]))
    await cache.put("third", 600)
    await until(lambda: key("kept") not in left(root), reactor)
    assert left(root) == {key("third")}


async def test_pins_that_cannot_be_read_stop_eviction(make: Any, root: Path, reactor: Any) -> None:
    """Nobody knows what must stay, so all does; once they can be read, what is too much goes."""
    cache = await make(1000)
    await cache.housekeeping.turn()
    (root / ".pins").write_bytes(b"\xff")
    await cache.put("a", 600)
    await cache.put("b", 600)
    await cache.housekeeping.turn()
    await cache.housekeeping.turn()
    assert left(root) == {key("a"), key("b")}
    (root / ".pins").unlink()
    await cache.housekeeping.turn()
    assert left(root) == {key("b")}


async def test_processes_share_a_folder(make: Any, root: Path, reactor: Any) -> None:
    """
    Each sees what the other brought with its next look, and what the other used stays; while one evicts, the other
    leaves it to that.
    """
    one, other = await make(1000), await make(1000)
    await one.housekeeping.turn()
    await other.housekeeping.turn()
    lay(root, key("a"), 400, NOW)
    lay(root, key("b"), 400, NOW + 1)
    await other.storage.open(key("a"))
    await one.put("c", 300)
    await one.housekeeping.turn()
    await one.housekeeping.turn()
    assert left(root) == {key("a"), key("c")}
    lay(root, key("d"), 400, NOW)
    with CacheFolder(root).gate(wait=True):
        await other.housekeeping.turn()
        await other.housekeeping.turn()
        assert key("d") in left(root)
    await other.housekeeping.turn()
    assert left(root) == {key("a"), key("c")}


@pytest.mark.parametrize("what", ["missing", "file"])
async def test_without_a_folder_it_goes_on(make: Any, root: Path, what: str) -> None:
    """A cache that cannot be read is logged, and no end: when it is back it is kept to its size again."""
    cache = await make(100)
    await cache.housekeeping.turn()
    away = root.with_name("away")
    root.rename(away)
    if what == "file":
        root.write_text("no folder")
    await cache.housekeeping.turn()
    if what == "file":
        root.unlink()
    away.rename(root)
    lay(root, key("a"), 90, NOW)
    lay(root, key("b"), 90, NOW + 1)
    await cache.housekeeping.turn()
    assert left(root) == {key("b")}


async def test_a_stop_does_not_wait_for_a_look(reactor: Any, pool: ThreadPool, root: Path) -> None:
    """A look that would take long is broken off when the service stops, and removes nothing any more."""
    for number in range(50):
        lay(root, key(f"p{number}"), 10, NOW + number)
    cache = Cache(root, 20, reactor, pool)
    cache.housekeeping.start()
    await cache.housekeeping.stop()
    await cache.housekeeping.turn()
    assert len(left(root)) >= 2
    before = left(root)
    cache.housekeeping.came(1000)
    await deferLater(reactor, 0.05)
    assert left(root) == before
