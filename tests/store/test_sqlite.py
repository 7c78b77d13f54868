"""What the embedded store does beyond the contract: its file, other processes, damage."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import DeferredList, gatherResults
from twisted.internet.task import Clock, LoopingCall

from cheddar.errors import NoRoom, SettingsError, StoreUnavailable
from cheddar.model import CachedPage, File, Project, Selector, User
from cheddar.store.sqlite import SQLiteStore
from cheddar.store.sqlite import connection as sqlite_connection
from cheddar.store.sqlite.schema import MIGRATIONS
from tests.contracts.test_page_cache import listing
from tests.support.tokens import token

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database goes: in a folder that is not there yet."""
    return tmp_path / "var" / "cheddar.sqlite"


@pytest.fixture
def make(path: Path, reactor: Any) -> Callable[[], SQLiteStore]:
    """Makes a store that is not started."""
    return lambda: SQLiteStore(path, 50, reactor, Clock())


@pytest_twisted.async_yield_fixture
async def store(make: Callable[[], SQLiteStore]) -> AsyncIterator[SQLiteStore]:
    """A started store."""
    store = make()
    await store.start()
    yield store
    await store.stop()


@contextmanager
def held_by_another_process(path: Path) -> Iterator[None]:
    """Another process is in the middle of a change."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    with closing(holder.stdin), closing(holder.stdout):
        assert holder.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            holder.stdin.write(b"\n")
            holder.stdin.flush()
            assert holder.wait(10) == 0


async def starting_is_refused(store: SQLiteStore, error: type[Exception], match: str) -> None:
    """Starting fails, and leaves nothing open."""
    try:
        with pytest.raises(error, match=match):
            await store.start()
    finally:
        await store.stop()


async def test_file_is_private(store: SQLiteStore, path: Path) -> None:
    """The folder and the files, which hold password hashes, are open to their owner alone."""
    await store.accounts.put_user(User("ann", "x"))
    assert path.parent.stat().st_mode & 0o777 == 0o700
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["cheddar.sqlite", "cheddar.sqlite-shm", "cheddar.sqlite-wal"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


async def test_one_file_after_stop(store: SQLiteStore, path: Path) -> None:
    """After a stop the database is one file, which can be copied as a backup."""
    await store.accounts.put_user(User("ann", "x"))
    await store.stop()
    assert [file.name for file in path.parent.iterdir()] == ["cheddar.sqlite"]


async def test_settings_of_the_database(store: SQLiteStore, path: Path) -> None:
    """Readers don't wait for the writer, and what was acknowledged survives a power failure."""

    def settings(connection: sqlite3.Connection) -> tuple[Any, ...]:
        names = ("journal_mode", "synchronous", "foreign_keys", "user_version")
        return tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)

    await store.pages.put("remote", "spam", listing())
    assert await store._database.change(settings) == ("wal", 2, 1, len(MIGRATIONS))
    assert await store._database.read(settings) == ("wal", 2, 1, len(MIGRATIONS))


async def test_change_is_all_or_nothing(store: SQLiteStore) -> None:
    """A change that fails half-way leaves no trace, and the next one works."""

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO users VALUES ('ann', 'x')")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store._database.change(half)
    assert await store.accounts.user("ann") is None
    await store.accounts.put_user(User("bob", "x"))
    assert await store.accounts.user_names() == ("bob",)


async def test_another_process_writes(store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process is in a long change, reading goes on, changes fail in time and together, and then work."""
    monkeypatch.setattr(sqlite_connection, "BUSY_SECONDS", 0.5)
    await store.accounts.put_user(User("ann", "x"))
    with held_by_another_process(path):
        assert await store.accounts.user("ann") == User("ann", "x")
        begin = time.monotonic()
        results = await DeferredList(
            [store.accounts.put_user(User("ann", str(number))) for number in range(10)], consumeErrors=True
        )
        assert time.monotonic() - begin < 6
        for succeeded, failure in results:
            assert not succeeded
            assert failure.check(StoreUnavailable)
            assert "another process" in failure.getErrorMessage()
        assert await store.accounts.user("ann") == User("ann", "x")
    await store.accounts.put_user(User("ann", "y"))
    assert await store.accounts.user("ann") == User("ann", "y")


async def test_waits_for_another_process(store: SQLiteStore, path: Path, reactor: Any) -> None:
    """A short change of another process is waited for."""
    with held_by_another_process(path):
        change = store.accounts.put_user(User("ann", "x"))
    await change
    assert await store.accounts.user("ann") == User("ann", "x")


@pytest.mark.deadline(30)
async def test_two_start_at_once(make: Callable[[], SQLiteStore]) -> None:
    """A new database may be opened by many at the same moment, and is made once."""
    stores = [make() for _ in range(6)]
    await gatherResults([store.start() for store in stores])
    await gatherResults([store.accounts.put_user(User(f"u{i}", "x")) for i, store in enumerate(stores)])
    assert len(await stores[0].accounts.user_names()) == 6
    await gatherResults([store.stop() for store in stores])


@pytest.mark.parametrize("schema", range(1, len(MIGRATIONS)))
async def test_older_schema(make: Callable[[], SQLiteStore], path: Path, schema: int) -> None:
    """A database of any older Cheddar is brought up to date where it stands, with all that is in it."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        for number in range(schema):
            MIGRATIONS[number](connection)
        connection.execute(f"PRAGMA user_version = {schema}")
        connection.execute("INSERT INTO users VALUES ('ann', 'x')")
        connection.execute("INSERT INTO projects (name, display_name, serial) VALUES ('spam', 'Spam', 1)")
        connection.commit()
    store = make()
    await store.start()
    try:
        assert await store.accounts.user("ann") == User("ann", "x")
        await store.accounts.put_grant("ann", "acme-*")
        assert await store.accounts.grants("ann") == ("acme-*",)
        await store.tokens.add_token(token("ann"))
        assert await store.tokens.tokens("ann") == (token("ann"),)
        await store.projects.set_status("spam", "archived", None)
        assert (await store.projects.project("spam")).status == "archived"
    finally:
        await store.stop()


async def test_newer_schema(store: SQLiteStore, make: Callable[[], SQLiteStore], path: Path) -> None:
    """A database of a newer Cheddar is refused and not touched; the message says what to do."""
    await store.stop()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    await starting_is_refused(make(), SettingsError, r"newer Cheddar.*backup.*cheddar rebuild")
    assert path.read_bytes() == before


async def test_another_programs_database(make: Callable[[], SQLiteStore], path: Path) -> None:
    """Another program's database is refused, and gets no tables from us."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    await starting_is_refused(make(), SettingsError, r"another program.*DATA_DIR")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


@pytest.mark.parametrize("garbage", [b"\x00" * 8192, b"not a database, but long enough to be looked at" * 100])
async def test_not_a_database(make: Callable[[], SQLiteStore], path: Path, garbage: bytes) -> None:
    """A file that is no database is refused and left as it is; the message says what to do."""
    path.parent.mkdir()
    path.write_bytes(garbage)
    await starting_is_refused(make(), StoreUnavailable, r"damaged.*backup.*cheddar rebuild")
    assert path.read_bytes() == garbage


@pytest.mark.deadline(60)
async def test_damaged_in_the_middle(store: SQLiteStore, make: Callable[[], SQLiteStore], path: Path) -> None:
    """Damage that is found while serving is told as such, not answered as "there is nothing"."""
    for number in range(300):
        await store.projects.put_file("spam", "spam", File(f"spam-1.{number}.tar.gz", f"1.{number}", url="x" * 500))
    await store.stop()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size // 2))
    again = make()
    await again.start()
    with pytest.raises(StoreUnavailable, match=r"damaged.*cheddar rebuild"):
        await again.projects.project("spam")
    await again.stop()


async def test_damaged_record(store: SQLiteStore) -> None:
    """A damaged row fails its own project alone; a damaged cached listing is as good as none."""
    await store.projects.put_file("spam", "spam", File("spam-1.0.tar.gz", "1.0"))
    await store.projects.put_file("eggs", "eggs", File("eggs-1.0.tar.gz", "1.0"))
    await store.pages.put("remote", "spam", listing())
    await store._database.change(lambda connection: connection.execute("UPDATE page_records SET record = '{'"))
    await store._database.change(
        lambda connection: connection.execute("UPDATE files SET record = '{' WHERE project = 'spam'")
    )
    with pytest.raises(StoreUnavailable, match="cheddar rebuild"):
        await store.projects.project("spam")
    assert (await store.projects.project("eggs")).versions == ("1.0",)
    assert await store.pages.get("remote", "spam") is None


async def test_folder_cannot_be_made(tmp_path: Path, reactor: Any) -> None:
    """Where the database cannot be, the message names it and says why."""
    (tmp_path / "file").write_text("")
    store = SQLiteStore(tmp_path / "file" / "cheddar.sqlite", 50, reactor, Clock())
    await starting_is_refused(store, StoreUnavailable, r"file/cheddar\.sqlite.*DATA_DIR")


async def test_disk_full(store: SQLiteStore) -> None:
    """A change for which there is no room is refused as that, and undone; smaller ones work afterwards."""

    def limit(pages: int) -> Callable[[sqlite3.Connection], None]:
        return lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").close()

    await store._database.change(limit(40))
    with pytest.raises(NoRoom, match="full"):
        await store.pages.put("remote", "spam", listing(files=2000))
    assert await store.pages.get("remote", "spam") is None
    await store.pages.put("remote", "eggs", listing("eggs"))
    assert await store.pages.get("remote", "eggs") == listing("eggs")


@pytest.mark.deadline(30)
async def test_disk_refuses(store: SQLiteStore) -> None:
    """A disk that takes no more bytes fails the change, which is undone, and nothing else."""
    await store.accounts.put_user(User("ann", "x"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises((NoRoom, StoreUnavailable)):
            await store.pages.put("remote", "spam", listing(files=5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await store.pages.get("remote", "spam") is None
    await store.pages.put("remote", "spam", listing(files=5000))
    assert await store.accounts.user("ann") == User("ann", "x")


async def test_touching_does_not_write_the_listing(store: SQLiteStore, path: Path) -> None:
    """Noting a time for a listing of megabytes costs a few pages, not the listing again."""
    wal = path.with_name(path.name + "-wal")
    await store.pages.put("remote", "spam", listing(files=5000))
    await store._database.change(lambda connection: None)
    before = wal.stat().st_size
    for number in range(20):
        await store.pages.touch("remote", "spam", float(number))
        await store.pages.mark_checked("remote", "spam", float(number))
    assert wal.stat().st_size - before < 1_000_000 < before


@pytest.mark.deadline(120)
async def test_many_files(store: SQLiteStore, path: Path) -> None:
    """With 100,000 files a project of 40 is still read, changed and listed quickly."""
    await store.stop()
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            "INSERT INTO projects (name, display_name, serial) VALUES (?, ?, 1)",
            [(f"p{number}", f"p{number}") for number in range(2500)],
        )
        record = '{"filename":"%s","version":"1.%d","digests":{"sha256":"' + "a" * 64 + '"},"size":1}'
        connection.executemany(
            "INSERT INTO files VALUES (?, ?, ?, ?)",
            [
                (f"p{number}", f"p{number}-1.{version}.tar.gz", f"1.{version}", record % (f"p{number}", version))
                for number in range(2500)
                for version in range(40)
            ],
        )
        connection.commit()
    await store.start()

    async def seconds_each(times: int, work: Callable[[int], Any]) -> float:
        took = []
        for number in range(times):
            begin = time.monotonic()
            await work(number)
            took.append(time.monotonic() - begin)
        return sorted(took)[times // 2]  # a machine that stands still once makes none of the others longer

    assert len((await store.projects.project("p1234")).files) == 40
    assert await seconds_each(50, lambda number: store.projects.project(f"p{number * 50}")) < 0.02
    assert await seconds_each(3, lambda _: store.projects.listed()) < 0.2
    assert await seconds_each(10, lambda n: store.projects.set_yanked(f"p{n}", Selector(f"1.{n}"), "x")) < 0.1
    added = [File(f"new-{number}.tar.gz", "9.9") for number in range(10)]
    assert await seconds_each(10, lambda n: store.projects.add_file("p7", "p7", added[n], True)) < 0.1


@pytest.mark.deadline(60)
async def test_reactor_stays_free(store: SQLiteStore, reactor: Any) -> None:
    """A listing of 10,000 files is written and read without holding up the reactor."""
    files = tuple(
        File(f"spam-1.{number}.tar.gz", f"1.{number}", digests={"sha256": "a" * 64}, url="https://files.example/" * 5)
        for number in range(10_000)
    )
    page = CachedPage(Project("spam", files, index="remote"))
    gaps: list[float] = []
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        now = time.monotonic()
        gaps.append(now - last)
        last = now

    heart = LoopingCall(beat)
    beating = heart.start(0.001, now=False)
    await store.pages.put("remote", "spam", page)
    assert await store.pages.get("remote", "spam") == page
    heart.stop()
    await beating
    # Comparing the pages, just above, is the test's own doing and comes after the last beat.
    assert len(gaps) > 5
    assert sorted(gaps)[len(gaps) * 9 // 10] < 0.05


async def test_kill_in_the_middle(path: Path, make: Callable[[], SQLiteStore]) -> None:
    """A process killed in the middle of a change leaves a database that opens, without that change."""
    store = make()
    await store.start()
    await store.accounts.put_user(User("ann", "x"))
    await store.stop()
    script = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("PRAGMA cache_size = 1")
connection.execute("DELETE FROM users")
connection.executemany("INSERT INTO users VALUES (?, ?)", [(str(n), "x" * 1000) for n in range(1000)])
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script, os.fspath(path)], check=False).returncode == -9
    again = make()
    await again.start()
    assert await again.accounts.user_names() == ("ann",)
    await again.stop()


async def test_a_backup_in_its_place(store: SQLiteStore, path: Path, tmp_path: Path) -> None:
    """Whoever keeps something of what was there before a backup was put back hears that everything has changed."""
    await store.pages.put("remote", "spam", listing())
    with closing(sqlite3.connect(tmp_path / "backup")) as backup, closing(sqlite3.connect(path)) as live:
        live.backup(backup)
        await store.pages.put("remote", "ham", listing("ham"))
        assert await store._database.changed() == (), "this process knows what it has done itself"
        backup.backup(live)
    assert await store.pages.get("remote", "ham") is None, "the control: the backup is in place"
    assert tuple(await store._database.changed()) == ("",)
    assert await store._database.changed() == ()
