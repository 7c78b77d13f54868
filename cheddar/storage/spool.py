"""Files on their way into storage: a folder of partial files for this process, and one file in it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import DigestMismatch, NoRoom
from cheddar.interfaces import IFileWriter, IStoredFile
from cheddar.storage.last_use import share
from cheddar.storage.sending import FileView, StoredFile
from cheddar.storage.sharing import Opened
from cheddar.storage.work import Work, storing

#: Bytes that may wait for the disk before the giver is asked to pause, and how few there are when it may go on.
HIGH_WATER = 2 * 1024 * 1024
LOW_WATER = 1024 * 1024
#: So many at the beginning of a file are written before more is taken: those who wait for them would wait longer where
#: reading on and writing take turns.
BEGINNING = 64 * 1024

_GIVEN_UP = "The file was given up before it was whole. Try again."


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


#: Algorithms by the names that listings and upload forms use.
HASHES: Mapping[str, Callable[[], _Hash]] = {
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha224": hashlib.sha224,
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
    "sha3_256": hashlib.sha3_256,
    "sha3_384": hashlib.sha3_384,
    "sha3_512": hashlib.sha3_512,
    "blake2b": hashlib.blake2b,
    "blake2b_256": lambda: hashlib.blake2b(digest_size=32),
    "blake2s": hashlib.blake2s,
}


@define(eq=False)
class SpoolFolder:
    """
    The partial files of this process: a folder that is locked while the process lives.

    Several processes may share the storage: only folders whose lock nobody holds any more are swept. All of this
    blocks, and runs in threads.

    @ivar _incoming: what holds it, in the storage's root.
    """

    _incoming: Path
    _root_was_there: bool = field(init=False, default=False)
    _folder: Path | None = field(init=False, default=None)
    _lock: int = field(init=False, default=-1)
    _in_use: bool = field(init=False, default=False)
    _opening: Lock = field(init=False, factory=Lock)

    def open(self) -> None:
        """
        Make the storage's root, sweep what dead processes left behind, and make this process's own folder. What cannot
        be made now is made when a file is wanted. [NoRoom]
        """
        with self._opening:
            self._in_use = True
            self._open()

    def _open(self) -> None:
        with storing():
            if not self._root_was_there:
                self._incoming.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._root_was_there = True
            self._incoming.mkdir(mode=0o700, exist_ok=True)
            # One start at a time: a folder just made is not locked yet, and must not pass for a dead one's.
            gate = os.open(self._incoming / "gate", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(gate, fcntl.LOCK_EX)
                self._sweep()
                folder = self._incoming / f"{os.getpid()}-{secrets.token_hex(4)}"
                folder.mkdir(mode=0o700)
                self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                self._folder = folder
            finally:
                os.close(gate)

    def close(self) -> None:
        """Remove this process's folder."""
        with self._opening:
            self._in_use = False
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._let_go()

    def new_file(self) -> tuple[int, Path]:
        """
        An empty file of its own, open for reading and writing, and where it is.

        Where the folder is gone, it is made again: but not what it is in, if that was there once. A disk that is not
        mounted any more is no place to write to. [NoRoom]
        """
        with storing():
            folder = self._folder
            if folder is not None:
                try:
                    return _new_file(folder)
                except FileNotFoundError:
                    pass
            with self._opening:
                if not self._in_use:
                    raise NoRoom("The file storage is not open. Try again when the server runs.")
                if self._folder is folder:
                    self._let_go()
                    self._open()
                assert self._folder is not None
                return _new_file(self._folder)

    def _let_go(self) -> None:
        if self._folder is not None:
            os.close(self._lock)
            self._folder = None

    def _sweep(self) -> None:
        for folder in self._incoming.iterdir():
            if folder.is_symlink() or not folder.is_dir():
                continue
            try:
                lock = os.open(folder / "lock", os.O_RDWR | os.O_NOFOLLOW)
            except FileNotFoundError:  # its process died before it made the lock: the gate says that none is at it now
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            else:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _new_file(folder: Path) -> tuple[int, Path]:
    path = folder / secrets.token_hex(8)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    # Those who follow the file as it grows hold this, and so the lock: they go on reading when it has its name. See
    # L{cheddar.storage.last_use}.
    share(descriptor)
    return descriptor, path


@define(eq=False)
class _Held:
    """
    A descriptor that several hold; it is closed by the last one.

    @ivar number: of it; for reading and writing at given offsets, or for one who writes on and on.
    """

    number: int
    _holders: int = 1

    def hold(self) -> None:
        """One more has it. [NoRoom: it is closed]"""
        if not self._holders:
            raise NoRoom(_GIVEN_UP)
        self._holders += 1

    def let_go(self) -> None:
        """One has it no longer."""
        self._holders -= 1
        if not self._holders:
            os.close(self.number)


@implementer(IFileWriter)
class SpoolFile:
    """
    One partial file.

    Bytes are taken on the reactor's thread and written and hashed in the pool, one batch at a time: while one is
    at work, the next one gathers.
    """

    def __init__(
        self,
        descriptor: int,
        path: Path,
        algorithms: tuple[str, ...],
        place: Callable[[Path, str], Callable[[], Deferred[Opened]]],
        reactor: IReactorFromThreads,
        pool: ThreadPool,
        checkpoint: Callable[[str], None],
    ) -> None:
        """
        @param descriptor: of the file C{path}, open for reading and writing; this object's from now on.
        @param place: moves a path to a key, in a thread, and gives what opens the file there.
        @param checkpoint: is told each step by its name.
        """
        self.size = 0
        self._held = _Held(descriptor)
        self._path = path
        self._hashes = {name: HASHES[name]() for name in algorithms if name in HASHES}
        self._place = place
        self._reactor = reactor
        self._pool = pool
        self._checkpoint = checkpoint
        self._work = Work(reactor, pool)
        self._gathered: list[bytes] = []
        self._unwritten = 0
        self._written = 0
        self._writing = False
        self.closed = False
        self._failure: Failure | None = None
        self._digests: Mapping[str, str] | None = None
        self._grown: Callable[[int], None] | None = None
        self._wanting_room: list[Deferred[None]] = []
        self._wanting_rest: list[Deferred[None]] = []

    def write(self, data: bytes) -> Deferred[None] | None:
        """See L{IFileWriter}. The Deferred itself never fails: what went wrong is raised by the next call."""
        if self._failure is not None:
            self._failure.raiseException()
        if self.closed or not data:
            return None
        self.size += len(data)
        self._unwritten += len(data)
        self._gathered.append(data)
        self._write_batch()
        high = HIGH_WATER if self._written else BEGINNING
        return self._wait_in(self._wanting_room) if self._unwritten > high else None

    @returns_deferred
    async def finish(self) -> Mapping[str, str]:
        """See L{IFileWriter}."""
        if self._writing:
            await self._wait_in(self._wanting_rest)
        if self._failure is not None:
            self._failure.raiseException()
        if self.closed and self._digests is None:
            raise NoRoom(_GIVEN_UP)
        if self._digests is None:
            self._digests = await self._work.run(self._sync)
        return self._digests

    def reader(self) -> BinaryIO:
        """See L{IFileWriter}. Not after L{commit}."""
        return self._path.open("rb")

    def view(self) -> FileView:
        """See L{IFileWriter<cheddar.interfaces.IFileWriter>}."""
        # A duplicate for each of a crowd would cost a call of the system each, while a thread wants its turn, too.
        self._held.hold()
        return FileView(self._held.number, self._reactor, self._pool, self._held.let_go)

    def notify(self, grown: Callable[[int], None]) -> None:
        """See L{IFileWriter}."""
        self._grown = grown

    @returns_deferred
    async def commit(self, key: str, expected: Mapping[str, str]) -> IStoredFile:
        """See L{IFileWriter}."""
        digests = await self.finish()
        for algorithm, digest in expected.items():
            if digests.get(algorithm, digest) != digest:
                await self.abort()
                raise DigestMismatch(
                    f"The file's {algorithm} is {digests[algorithm]}, not {digest} as promised: send it again, whole."
                )
        opener = await self._work.run(self._place, self._path, key)
        self._close()
        return StoredFile(self.size, digests, opener, self._reactor, self._pool)

    @returns_deferred
    async def abort(self) -> None:
        """See L{IFileWriter}."""
        if self.closed:
            return
        self._gathered.clear()
        self.closed = True
        await self._work.idle()
        self._held.let_go()
        await self._work.run(self._path.unlink, missing_ok=True)

    def _close(self) -> None:
        if not self.closed:
            self.closed = True
            self._held.let_go()

    def _wait_in(self, waiters: list[Deferred[None]]) -> Deferred[None]:
        waiter: Deferred[None] = Deferred()
        waiters.append(waiter)
        return waiter

    def _write_batch(self) -> None:
        if not self._writing and self._gathered:
            self._writing = True
            batch, self._gathered = self._gathered, []
            self._work.run(self._append, b"".join(batch)).addCallbacks(self._appended, self._failed)

    def _append(self, data: bytes) -> int:
        with storing():
            left = memoryview(data)
            while left:
                left = left[os.write(self._held.number, left) :]
        for hash_ in self._hashes.values():
            hash_.update(data)
        return len(data)

    def _sync(self) -> Mapping[str, str]:
        self._checkpoint("spooled")
        with storing():
            os.fsync(self._held.number)
        self._checkpoint("synced")
        return {name: hash_.hexdigest() for name, hash_ in self._hashes.items()}

    def _appended(self, count: int) -> None:
        self._writing = False
        self._written += count
        self._unwritten -= count
        self._write_batch()
        if self._unwritten <= LOW_WATER:
            _fire(self._wanting_room)
        if self._grown is not None and not self.closed:
            self._grown(self._written)
        if not self._writing:
            _fire(self._wanting_rest)

    def _failed(self, failure: Failure) -> None:
        self._writing = False
        self._failure = failure
        self._gathered.clear()
        _fire(self._wanting_room)
        _fire(self._wanting_rest)


def _fire(waiters: list[Deferred[None]]) -> None:
    fired, waiters[:] = list(waiters), []
    for waiter in fired:
        if not waiter.called:  # else it was cancelled
            waiter.callback(None)
