"""Which cached files go, and which never do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool

from cheddar.errors import Invalid, NotFound, SettingsError, Unavailable
from cheddar.storage import sharing
from cheddar.storage.cache_folder import CachedFile, CacheFolder
from cheddar.storage.cache_patterns import read_pattern, read_patterns
from cheddar.storage.eviction import evict
from cheddar.storage.filesystem import FilesystemStorage
from cheddar.storage.last_use import INTERVAL, LastUse
from cheddar.storage.pins import Pins
from tests.storage.test_sending import open_files
from tests.support.consumers import Taker

NOW = 1_700_000_000.0


def key(name: str, folder: str = "releases", version: str = "1.0") -> str:
    """Where a file of one project each lies."""
    return f"{folder}/{name}/0123456789abcdef/{name}-{version}.tar.gz"


def lay(root: Path, path: str, size: int, used: float) -> Path:
    """Put a file into the cache as if it had been used then."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    os.utime(file, (used, used))
    return file


def left(root: Path) -> set[str]:
    """The keys of the files that are there."""
    return {file.key for file in CacheFolder(root).files()}


@pytest.fixture
def folder(root: Path) -> CacheFolder:
    """An empty cache."""
    root.mkdir()
    return CacheFolder(root)


def test_the_least_recently_used_go_first(folder: CacheFolder) -> None:
    """
    Files go in the order of their last use, whatever their size, name and place, until a twentieth of the limit is
    free; what goes leaves no empty folders.
    """
    for name, size, used in (("c", 300, 30), ("a", 200, 40), ("b", 100, 10), ("d", 400, 20)):
        lay(folder.root, key(name, "pre-releases" if name == "d" else "releases"), size, NOW + used)
    sidecar = f"{key('b')}.metadata"
    lay(folder.root, sidecar, 50, NOW + 50)
    # The control: what fits stays, to the byte.
    assert evict(folder, 1050, ()).removed.files == 0
    done = evict(folder, 1049, ())
    assert (done.removed.files, done.removed.size, done.left.files, done.left.size) == (1, 100, 4, 950)
    assert left(folder.root) == {sidecar, key("a"), key("c"), key("d", "pre-releases")}
    evict(folder, 600, ())
    assert left(folder.root) == {sidecar, key("a"), key("c")}
    assert not (folder.root / "pre-releases" / "d").exists()
    evict(folder, 220, ())
    assert left(folder.root) == {sidecar}


def test_what_is_pinned_stays(folder: CacheFolder) -> None:
    """Pinned files, and what lies beside them, stay although they are the oldest, and more than there may be."""
    for used, name in enumerate(("pinned", "other", "newest")):
        lay(folder.root, key(name), 1000, NOW + used)
    lay(folder.root, f"{key('pinned')}.metadata", 10, NOW)
    pins = read_patterns(["pinned"])
    assert evict(folder, 2200, pins).pinned.size == 1010
    assert left(folder.root) == {key("pinned"), f"{key('pinned')}.metadata", key("newest")}
    for limit in (1005, 100):
        assert evict(folder, limit, pins).left.size == 1010
        assert left(folder.root) == {key("pinned"), f"{key('pinned')}.metadata"}
    # The control: they go, were they not pinned.
    evict(folder, 9, ())
    assert left(folder.root) == set()


def test_a_file_over_the_whole_limit_takes_nobodys_place(folder: CacheFolder) -> None:
    """A file that is larger than the limit goes, however new, and no other goes for it."""
    lay(folder.root, key("a"), 400, NOW)
    lay(folder.root, key("b"), 500, NOW + 1)
    lay(folder.root, key("huge"), 1001, NOW + 2)
    evict(folder, 1000, ())
    assert left(folder.root) == {key("a"), key("b")}


async def test_what_is_read_stays(reactor: Any, pool: ThreadPool, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file that is being sent, or is followed since before it was whole, stays; once nobody reads it, it goes. A
    process that dies while it reads leaves no trace.
    """
    monkeypatch.setattr(sharing, "RESTING", 3600.0)
    storage = FilesystemStorage(root, reactor, pool, uses=LastUse(reactor, lambda size: None))
    folder = CacheFolder(root)
    await storage.start()
    lay(root, key("sent"), 300_000, NOW)
    lay(root, key("other"), 300_000, NOW + 9)
    taker = Taker(pause_after=1)
    sending = (await storage.open(key("sent"))).send(taker, 0, None)
    writer = await storage.create()
    writer.write(b"x" * 1000)
    await writer.finish()
    view = writer.view()
    await writer.commit(key("followed"), {})
    read = subprocess.Popen(
        [sys.executable, "-c", "import os,sys; from cheddar.storage.last_use import share; "
         "share(os.open(sys.argv[1], os.O_RDONLY)); print('reads', flush=True); sys.stdin.read()",
         str(lay(root, key("elsewhere"), 1000, NOW))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert read.stdout is not None
    assert read.stdout.readline() == "reads\n"
    while not taker.taken:
        await pool_turn(reactor)
    evict(folder, 10, ())
    assert left(root) == {key("sent"), key("followed"), key("elsewhere")}
    taker.resume()
    await sending
    assert bytes(taker.taken) == b"x" * 300_000
    view.close()
    read.kill()
    read.communicate()
    await pool_turn(reactor)
    # It is still open here for who wants it soon: whoever is sent it keeps it, and that it is open alone does not.
    assert open_files(root / key("sent")) == 1
    again = Taker(pause_after=1)
    sending = (await storage.open(key("sent"))).send(again, 0, None)
    assert again.taken
    evict(folder, 10, ())
    assert left(root) == {key("sent")}
    again.resume()
    await sending
    await pool_turn(reactor)
    assert open_files(root / key("sent")) == 1
    evict(folder, 10, ())
    assert left(root) == set()
    with pytest.raises(NotFound):
        await storage.open(key("sent"))
    await storage.stop()


async def pool_turn(reactor: Any) -> None:
    """Let threads and the reactor go on."""
    from twisted.internet.task import deferLater

    await deferLater(reactor, 0.01)


def test_a_file_that_was_used_since_it_was_looked_at_stays(folder: CacheFolder) -> None:
    """Another process's use counts, to the last moment; and what another one has removed is no error."""
    lay(folder.root, key("a"), 10, NOW)
    (seen,) = folder.files()
    os.utime(folder.root / key("a"), (NOW, NOW + 1))
    assert not folder.remove_unused(seen)
    (seen,) = folder.files()
    assert folder.remove_unused(seen)
    assert left(folder.root) == set()
    assert folder.remove_unused(seen)
    assert not folder.remove(seen)


def test_only_the_cache_is_looked_at(folder: CacheFolder, tmp_path: Path) -> None:
    """Partial files, pins, foreign files, and what a link leads to are neither counted nor touched."""
    others = [lay(folder.root, path, 10, NOW) for path in (".incoming/1-a/b", ".pins", "notes.txt", "local/releases/x")]
    others.append(lay(tmp_path, "elsewhere/releases/x/x-1.tar.gz", 10, NOW))
    (folder.root / "releases").mkdir()
    (folder.root / "releases" / "link").symlink_to(others[-1].parent)
    (folder.root / "releases" / "one.tar.gz").symlink_to(others[-1])
    assert list(folder.files()) == []
    control = lay(folder.root, key("a"), 10, NOW)
    evict(folder, 1, ())
    assert not control.exists()
    assert all(path.exists() for path in others)


def test_uploaded_files_are_no_cache(folder: CacheFolder, tmp_path: Path) -> None:
    """Where the folder of uploaded files lies in that of the cache, nothing may be removed."""
    link = tmp_path / "link"
    link.symlink_to(folder.root)
    for local in (folder.root, folder.root / "releases" / "local", link / "local"):
        with pytest.raises(SettingsError, match="LOCAL_CACHE_DIR"):
            folder.check_apart(local)
    folder.check_apart(tmp_path / "local")
    folder.check_apart(folder.root.with_name(f"{folder.root.name}-local"))


async def test_the_last_use_is_noted_now_and_then(reactor: Any, pool: ThreadPool, root: Path) -> None:
    """A file is as old as its last use: looked for, read or sent; one write a minute is enough to say so."""
    clock = Clock()
    clock.advance(NOW)
    came: list[int] = []
    storage = FilesystemStorage(root, reactor, pool, uses=LastUse(clock, came.append))
    await storage.start()
    path = lay(root, key("a"), 10, NOW - 1000)
    writer = await storage.create()
    writer.write(b"123")
    await writer.commit(key("b"), {})
    assert came == [3]
    assert (root / key("b")).stat().st_mtime == NOW

    await storage.open(key("a"))
    assert path.stat().st_mtime == NOW
    clock.advance(INTERVAL - 1)
    await storage.read(key("a"), 100)
    assert path.stat().st_mtime == NOW
    clock.advance(1)
    await storage.read(key("a"), 100)
    assert path.stat().st_mtime == NOW + INTERVAL
    # A clock that was set back does not leave a file new for ever.
    clock.advance(-1000)
    (await storage.inspect(key("a"))).close()
    assert path.stat().st_mtime == NOW + INTERVAL - 1000
    assert came == [3]
    await storage.stop()


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("Zope.Interface", {"zope.interface-5.0.tar.gz", "zope_interface-5.0-py3-none-any.whl"}),
        ("zope*", {"zope.interface-5.0.tar.gz", "zope_interface-5.0-py3-none-any.whl", "zope-5.0.tar.gz"}),
        ("zope-*", {"zope.interface-5.0.tar.gz", "zope_interface-5.0-py3-none-any.whl"}),
        ("zope/5", {"zope-5.0.tar.gz"}),
        ("zope/5.1", set()),
        ("*/5.*", {"zope.interface-5.0.tar.gz", "zope_interface-5.0-py3-none-any.whl", "zope-5.0.tar.gz"}),
        ("zope*.tar.gz", {"zope.interface-5.0.tar.gz", "zope-5.0.tar.gz"}),
        ("zope-5.0.tar.gz", {"zope-5.0.tar.gz"}),
        ("*.whl", {"zope_interface-5.0-py3-none-any.whl"}),
    ],
)
def test_what_a_pattern_is_of(text: str, matched: set[str]) -> None:
    """A project in any spelling, a version in any spelling, a file's name; and with each what lies beside."""
    names = {"zope.interface-5.0.tar.gz", "zope_interface-5.0-py3-none-any.whl", "zope-5.0.tar.gz"}
    pattern = read_pattern(text)
    for name in names:
        project = "zope" if name.startswith("zope-") else "zope-interface"
        for beside in ("", ".metadata", ".provenance"):
            file = CachedFile(f"releases/{project}/0123456789abcdef/{name}{beside}", 1, 1)
            assert pattern.matches(file) == (name in matched)
    assert read_pattern(pattern.text) == pattern


@pytest.mark.parametrize("text", ["", "/", "a/", "/1", "a/1/2", "a b", "[a]", "\u00e4", "#a", "a\n"])
def test_what_is_no_pattern(text: str) -> None:
    """It is refused in words that say what would be one."""
    with pytest.raises(Invalid, match="no pattern of cached files: give a project"):
        read_pattern(text)


def test_pins_are_kept_in_the_folder(folder: CacheFolder) -> None:
    """What was pinned is pinned until it is unpinned; a file of pins that cannot be read is no empty one."""
    pins = Pins(folder)
    assert pins.read() == ()
    flask, acme = read_patterns(["flask", "acme-*"])[::-1]
    assert pins.add((flask,)) == (flask,)
    assert pins.add((flask, acme)) == (acme,)
    assert Pins(CacheFolder(folder.root)).read() == (acme, flask)
    assert pins.remove((flask,)) == (flask,)
    assert pins.remove((flask,)) == ()
    assert pins.read() == (acme,)
    (folder.root / ".pins").write_text("what is [this]\n")
    with pytest.raises(Unavailable, match="What is pinned cannot be read"):
        pins.read()
    with pytest.raises(Unavailable):
        pins.add((flask,))


async def test_a_missing_file_is_still_not_found(reactor: Any, pool: ThreadPool, root: Path) -> None:
    """A storage whose use is followed says the same of what is not there."""
    storage = FilesystemStorage(root, reactor, pool, uses=LastUse(Clock(), lambda size: None))
    await storage.start()
    with pytest.raises(NotFound):
        await storage.open(key("a"))
    await storage.stop()
