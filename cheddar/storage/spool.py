"""One file on its way into storage."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import DigestMismatch, NoRoom
from cheddar.interfaces import IFileWriter, IStoredFile
from cheddar.storage.growing import GIVEN_UP, Growing, GrowingView
from cheddar.storage.sending import StoredFile
from cheddar.storage.sharing import Opened
from cheddar.storage.work import Work, storing

#: Bytes that may wait for the disk before the giver is asked to pause, and how few there are when it may go on.
HIGH_WATER = 2 * 1024 * 1024
LOW_WATER = 1024 * 1024
#: So many at the beginning of a file can be read before they are written, and are written together: a file that has no
#: more takes one turn in a thread.
BEGINNING = 64 * 1024


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


@implementer(IFileWriter)
class SpoolFile:
    """
    One partial file.

    Bytes are taken on the reactor's thread and written and hashed in the pool, one batch at a time: while one is
    at work, the next one gathers. The file itself is made with the first batch.
    """

    def __init__(
        self,
        new_file: Callable[[], tuple[int, Path]],
        algorithms: tuple[str, ...],
        place: Callable[[Path, str], Callable[[], Deferred[Opened]]],
        reactor: IReactorFromThreads,
        pool: ThreadPool,
        checkpoint: Callable[[str], None],
    ) -> None:
        """
        @param new_file: makes an empty one, in a thread, and gives it open, and where it is; this object's from then
            on. [NoRoom]
        @param place: moves a path to a key, in a thread, and gives what opens the file there.
        @param checkpoint: is told each step by its name.
        """
        self.size = 0
        self._growing = Growing()
        self._new_file = new_file
        self._path: Path | None = None
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
        self._failure: BaseException | None = None
        self._digests: Mapping[str, str] | None = None
        self._grown: Callable[[int], None] | None = None
        self._wanting_room: list[Deferred[None]] = []
        self._wanting_rest: list[Deferred[None]] = []

    def open(self) -> Deferred[None]:
        """Make the file now, before there are bytes for it. [NoRoom]"""
        return self._work.run(self._open)

    def write(self, data: bytes) -> Deferred[None] | None:
        """See L{IFileWriter}. The Deferred itself never fails: what went wrong is raised by the next call."""
        if self._failure is not None:
            raise self._failure
        if self.closed or not data:
            return None
        self.size += len(data)
        self._unwritten += len(data)
        self._gathered.append(data)
        room = BEGINNING - len(self._growing.beginning)
        if room:
            # Who waits for these has them before a thread competes for its turn.
            self._growing.beginning += data[:room]
            self._tell()
        if self._written or self._unwritten >= BEGINNING:
            self._write_batch()
        return self._wait_in(self._wanting_room) if self._unwritten > HIGH_WATER else None

    @returns_deferred
    async def finish(self) -> Mapping[str, str]:
        """See L{IFileWriter}."""
        if self._writing:
            await self._wait_in(self._wanting_rest)
        if self._failure is not None:
            raise self._failure
        if self.closed and self._digests is None:
            raise NoRoom(GIVEN_UP)
        if self._digests is None:
            try:
                self._digests = await self._work.run(self._finish, self._take_batch())
            except Exception as error:
                self._failure = error  # what of the rest was written, nobody knows
                raise
            self._written, self._unwritten = self.size, 0
            self._tell()
        return self._digests

    def reader(self) -> BinaryIO:
        """See L{IFileWriter}. After L{finish}, and not after L{commit}."""
        assert self._path is not None
        return self._path.open("rb")

    def view(self) -> GrowingView:
        """See L{IFileWriter<cheddar.interfaces.IFileWriter>}."""
        return GrowingView(self._growing, self._reactor, self._pool)

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
        assert self._path is not None
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
        self._growing.let_go()
        if self._path is not None:
            await self._work.run(self._path.unlink, missing_ok=True)

    def _close(self) -> None:
        if not self.closed:
            self.closed = True
            self._growing.let_go()

    def _wait_in(self, waiters: list[Deferred[None]]) -> Deferred[None]:
        waiter: Deferred[None] = Deferred()
        waiters.append(waiter)
        return waiter

    def _take_batch(self) -> bytes:
        batch, self._gathered = self._gathered, []
        return b"".join(batch)

    def _write_batch(self) -> None:
        if not self._writing and self._gathered:
            self._writing = True
            self._work.run(self._append, self._take_batch()).addCallbacks(self._appended, self._failed)

    def _tell(self) -> None:
        if self._grown is not None and not self.closed:
            self._grown(max(self._written, len(self._growing.beginning)))

    # In threads

    def _open(self) -> None:
        if self._growing.descriptor is None:
            self._growing.descriptor, self._path = self._new_file()

    def _append(self, data: bytes) -> int:
        self._open()
        assert self._growing.descriptor is not None
        with storing():
            left = memoryview(data)
            while left:
                left = left[os.write(self._growing.descriptor, left) :]
        for hash_ in self._hashes.values():
            hash_.update(data)
        return len(data)

    def _finish(self, rest: bytes) -> Mapping[str, str]:
        self._append(rest)
        self._checkpoint("spooled")
        assert self._growing.descriptor is not None
        with storing():
            os.fsync(self._growing.descriptor)
        self._checkpoint("synced")
        return {name: hash_.hexdigest() for name, hash_ in self._hashes.items()}

    # In the reactor's again

    def _appended(self, count: int) -> None:
        self._writing = False
        self._written += count
        self._unwritten -= count
        self._write_batch()
        if self._unwritten <= LOW_WATER:
            _fire(self._wanting_room)
        if self._written > len(self._growing.beginning):
            self._tell()
        if not self._writing:
            _fire(self._wanting_rest)

    def _failed(self, failure: Failure) -> None:
        self._writing = False
        self._failure = failure.value
        self._gathered.clear()
        _fire(self._wanting_room)
        _fire(self._wanting_rest)


def _fire(waiters: list[Deferred[None]]) -> None:
    fired, waiters[:] = list(waiters), []
    for waiter in fired:
        if not waiter.called:  # else it was cancelled
            waiter.callback(None)
