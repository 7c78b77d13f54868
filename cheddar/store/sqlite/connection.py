"""The one way to the database: a thread that writes, two that read, and errors in Cheddar's own words."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from attrs import Factory, define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from cheddar import metrics
from cheddar.deferreds import returns_deferred, shielded
from cheddar.errors import CheddarError, NoRoom, StoreUnavailable
from cheddar.store.changes import EVERYTHING
from cheddar.store.sqlite.schema import migrate

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

#: Seconds that a call waits for another process's change; counted from the call, so that calls behind it don't add up.
BUSY_SECONDS = 5.0
READERS = 2


@define(eq=False)
class Database:
    """
    One writing connection, and readers beside it (WAL: neither waits for the other), each used by one thread at a
    time. C{BEGIN IMMEDIATE}: a transaction that reads first and writes later fails at once when another process
    wrote in between, however long it may wait.
    """

    path: Path
    _reactor: IReactorFromThreads
    _tell: Callable[[Iterable[str]], None]
    _writing: ThreadPool | None = None
    _reading: ThreadPool | None = None
    _writer: sqlite3.Connection | None = None
    # Taken and given back by the reading threads, of which there are as many.
    _readers: list[sqlite3.Connection] = field(default=Factory(list))
    # The writing thread's: the number of the last change that was told, and other processes' last version.
    _told: int = 0
    _version: int = 0

    @returns_deferred
    async def open(self) -> None:
        """Open and migrate. [SettingsError, StoreUnavailable, NoRoom]"""
        writing = ThreadPool(1, 1, name="sqlite-writer")
        reading = ThreadPool(0, READERS, name="sqlite-reader")
        writing.start()
        reading.start()
        try:
            await deferToThreadPool(self._reactor, writing, self._guarded, self._open)
        except BaseException:
            # Both are idle now, so that this waits for nothing.
            reading.stop()
            writing.stop()
            raise
        self._writing, self._reading = writing, reading

    @returns_deferred
    async def close(self) -> None:
        """Close, after the work that was asked for; twice does no harm."""
        writing, reading = self._writing, self._reading
        self._writing = self._reading = None
        if writing is None or reading is None:
            return
        # In the writing thread: it comes after all changes, and may wait for the readers.
        await deferToThreadPool(self._reactor, writing, self._close, reading)
        writing.stop()

    def read(self, work: Work[T]) -> Deferred[T]:
        """Run C{work}, one statement, on a reader. [StoreUnavailable]"""
        if self._reading is None:
            return fail(StoreUnavailable(f"The metadata store {self.path} is not open."))
        return deferToThreadPool(self._reactor, self._reading, self._guarded, self._read, work)

    @returns_deferred
    async def change(self, work: Work[T], durable: bool = True) -> T:
        """
        Run C{work} in a transaction of its own: all of it happens, or, where it raises, nothing. What it has changed is
        told before this fires.

        @param durable: whether a power failure must not undo it; what can be fetched again need not wait for the
            disk. A crash of the process undoes neither.
        """
        if self._writing is None:
            raise StoreUnavailable(f"The metadata store {self.path} is not open.")
        give_up = time.monotonic() + BUSY_SECONDS
        changing: Deferred[tuple[T, Iterable[str]]] = deferToThreadPool(
            self._reactor, self._writing, self._guarded, self._change, work, durable, give_up
        )

        def tell(outcome: tuple[T, Iterable[str]]) -> T:
            result, changed = outcome
            self._tell(changed)
            return result

        # Whoever gives up waiting does not undo it, and it is to be told.
        return await shielded(changing.addCallback(tell))

    def changed(self) -> Deferred[Iterable[str]]:
        """What other processes have changed since this was asked, and L{EVERYTHING} where nobody knows any more."""
        if self._writing is None:
            return fail(StoreUnavailable(f"The metadata store {self.path} is not open."))
        return deferToThreadPool(self._reactor, self._writing, self._guarded, self._by_others)

    # What follows runs in threads.

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The file holds password hashes; SQLite gives the mode of the file to those it makes beside it.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreUnavailable(
                f"The metadata store {self.path} cannot be opened: {error.strerror}. Check DATA_DIR and its owner."
            ) from error
        opened: list[sqlite3.Connection] = []
        try:
            opened.append(self._connect())
            self._use_wal(opened[0])
            self._in_transaction(opened[0], lambda connection: migrate(connection, self.path))
            for _ in range(READERS):
                opened.append(self._connect())
                opened[-1].execute("PRAGMA query_only = ON")
        except BaseException:
            for connection in opened:
                connection.close()
            raise
        self._writer, *self._readers = opened
        self._version = _version_of_others(opened[0])
        self._told = opened[0].execute("SELECT coalesce(max(number), 0) FROM changes").fetchone()[0]

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        # This one statement doesn't wait for another process that opens the new file at the same moment.
        give_up = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(0.05)
            else:
                break
        if mode != "wal":
            raise StoreUnavailable(
                f"The metadata store {self.path} cannot be shared by its readers and its writer on this file system "
                f"(journal mode {mode}): set DATA_DIR to a local disk."
            )

    def _read(self, work: Work[T]) -> T:
        connection = self._readers.pop()
        try:
            return work(connection)
        finally:
            self._readers.append(connection)

    def _change(self, work: Work[T], durable: bool, give_up: float) -> tuple[T, Iterable[str]]:
        connection = self._writer
        assert connection is not None
        patience = max(50, int((give_up - time.monotonic()) * 1000))
        connection.execute(f"PRAGMA busy_timeout = {patience}")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        told = self._told

        def change(connection: sqlite3.Connection) -> tuple[T, Iterable[str]]:
            return work(connection), self._untold(connection)

        try:
            return self._in_transaction(connection, change)
        except BaseException:
            self._told = told
            raise

    def _by_others(self) -> Iterable[str]:
        connection = self._writer
        assert connection is not None
        version = _version_of_others(connection)
        if version == self._version:
            return ()
        # In this order: what comes in between is told twice, and what could not be read is asked for again.
        changed = self._untold(connection)
        self._version = version
        return changed

    def _untold(self, connection: sqlite3.Connection) -> Iterable[str]:
        told = self._told
        rows = connection.execute(
            "SELECT number, name FROM changes WHERE number > ? ORDER BY number", (told,)
        ).fetchall()
        if not rows:
            self._told = connection.execute("SELECT coalesce(max(number), 0) FROM changes").fetchone()[0]
            # Fewer than before: a backup was put in its place.
            return () if self._told == told else (EVERYTHING,)
        self._told = rows[-1][0]
        # The oldest are forgotten.
        return (EVERYTHING,) if rows[0][0] > told + 1 else [name for _, name in rows]

    def _in_transaction(self, connection: sqlite3.Connection, work: Work[T]) -> T:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk may have ended it already
                connection.execute("ROLLBACK")
            raise
        return result

    def _close(self, reading: ThreadPool) -> None:
        reading.stop()
        assert self._writer is not None
        for connection in (*self._readers, self._writer):
            connection.close()
        self._readers.clear()
        self._writer = None

    def _guarded(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return work(*arguments)
        except sqlite3.Error as error:
            metrics.store_failures.inc()
            translated = self._translated(error)
            if translated is None:
                raise
            raise translated from error

    def _translated(self, error: sqlite3.Error) -> CheddarError | None:
        said = str(error)
        if isinstance(error, sqlite3.OperationalError):
            if "locked" in said:
                return StoreUnavailable(
                    f"The metadata store {self.path} is in use by another process for longer than {BUSY_SECONDS:g} "
                    "seconds: try again, and see what else writes to it."
                )
            if "full" in said or "readonly" in said:
                return NoRoom(f"The metadata store {self.path} cannot be written: {said}.")
            return StoreUnavailable(f"The metadata store {self.path} does not work: {said}.")
        if type(error) is sqlite3.DatabaseError:
            return StoreUnavailable(
                f"The metadata store {self.path} is damaged: {said}. Stop Cheddar, move the file away, and restore a "
                "backup; or run `cheddar rebuild`, which makes the rows of local files anew (users are to be added "
                "again).",
                retry_after=60,
            )
        return None


def _version_of_others(connection: sqlite3.Connection) -> int:
    """A number that is another one after every change by another connection."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
