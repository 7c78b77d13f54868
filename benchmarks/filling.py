"""
Stores with very many projects, whose rows are made through the store's own interface: it is not uploads that are
measured there. A filled SQLite is kept, and copied::

    python -m benchmarks.filling 2000 10000 redis://127.0.0.1:6379
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, fail, gatherResults, succeed

from benchmarks.content import MEDIAN
from cheddar.interfaces import IProjectStore
from cheddar.model import File
from cheddar.store.redis import RedisStore
from cheddar.store.sqlite import SQLiteStore
from cheddar.store.sqlite.connection import Work
from cheddar.store.sqlite.projects import SQLiteProjects
from cheddar.store.sqlite.schema import MIGRATIONS
from tests.support.server import ROOT

T = TypeVar("T")

#: A project that has as many files as the median one, in every filled store.
DEEP = "own-median"

_AT_ONCE = 16


def own_name(number: int) -> str:
    """The name of a project of a filled store."""
    return f"own-{number:06}"


def rows(projects: int, files: int) -> Iterator[tuple[str, File]]:
    """Each project with the same number of files, and one as large as the median one."""
    each = max(1, (files - MEDIAN) // (projects - 1))
    for number in range(projects - 1):
        for release in range(each):
            yield own_name(number), _file(own_name(number), release)
    for release in range(MEDIAN):
        yield DEEP, _file(DEEP, release)


def _file(project: str, release: int) -> File:
    version = f"1.{release}"
    filename = f"{project.replace('-', '_')}-{version}-py3-none-any.whl"
    digest = hashlib.sha256(filename.encode()).hexdigest()
    return File(
        filename=filename,
        version=version,
        size=12_345,
        digests={"sha256": digest},
        upload_time=datetime(2024, 1, 2, 3, 4, 5, 678901, timezone.utc),
        requires_python=">=3.8",
        core_metadata={"sha256": digest},
        key=f"releases/{project}/{digest[:8]}/{filename}",
        uploaded_by="alice",
    )


class OneTransaction:
    """
    Stands for L{cheddar.store.sqlite.connection.Database} where this thread makes a million changes: they become
    durable together, or not at all.
    """

    def __init__(self, path: Path) -> None:
        self._whole = sqlite3.connect(path, isolation_level=None)
        self._whole.execute("PRAGMA synchronous = OFF")
        self._whole.execute("BEGIN IMMEDIATE")

    def change(self, work: Work[T], durable: bool = True) -> Deferred[T]:
        """Now, in this thread."""
        try:
            return succeed(work(self._whole))
        except sqlite3.Error as error:
            return fail(error)

    def end(self) -> None:
        """Keep what was changed."""
        self._whole.execute("COMMIT")
        self._whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._whole.close()


async def put_all(store: IProjectStore, projects: int, files: int, at_once: int) -> None:
    """Make all rows."""
    waiting = rows(projects, files)

    async def some() -> None:
        for project, file in waiting:
            await store.put_file(project, project, file)

    await gatherResults([ensureDeferred(some()) for _ in range(at_once)])


async def fill_sqlite(path: Path, projects: int, files: int, reactor: Any) -> None:
    """Make a database at C{path}."""
    store = SQLiteStore(path, 50, reactor, reactor)
    await store.start()
    await store.stop()
    whole = OneTransaction(path)
    standing_in: Any = whole
    await put_all(SQLiteProjects(standing_in, 50, reactor), projects, files, 1)
    whole.end()


async def fill_redis(url: str, projects: int, files: int, reactor: Any) -> None:
    """Fill the Redis at C{url}."""
    store = RedisStore(url, 50, reactor)
    await store.start()
    try:
        await put_all(store.projects, projects, files, _AT_ONCE)
    finally:
        await store.stop()


def filled(projects: int, files: int) -> Path:
    """The path of a filled database, not to be changed. Made in a process of its own if it is not there yet."""
    folder = ROOT / ".bench" / "filled"
    path = folder / f"{projects}-{files}-{len(MIGRATIONS)}.sqlite"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        making = folder / f"making-{os.getpid()}"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        made = making / "cheddar.sqlite"
        subprocess.run(
            [sys.executable, "-m", "benchmarks.filling", str(projects), str(files), str(made)], check=True, cwd=ROOT
        )
        made.rename(path)
        shutil.rmtree(making)
    return path


def main() -> None:
    """See the module."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    projects, files, where = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    failures = []

    def run() -> None:
        work = fill_redis(where, projects, files, reactor) if "://" in where else None
        done = ensureDeferred(work or fill_sqlite(Path(where), projects, files, reactor))
        done.addErrback(failures.append)
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(run)
    reactor.run()
    for failure in failures:
        failure.printTraceback()
        sys.exit(1)


if __name__ == "__main__":
    main()
