"""
Files in folders that a person recognises, on a local file system.

A file becomes visible whole: spooled beside, digests compared, synced, renamed into place, folders synced.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import Invalid, NotFound, TooLarge, Unavailable
from cheddar.interfaces import IFileStorage, IFileWriter, IStoredFile
from cheddar.storage.folders import MAX_DEPTH, NOT_THERE, is_segment, open_file, open_folder, remove_file, walk
from cheddar.storage.sending import UNREADABLE, StoredFile
from cheddar.storage.sharing import Opened, OpenFiles
from cheddar.storage.spool import SpoolFile
from cheddar.storage.spool_folder import SpoolFolder
from cheddar.storage.work import Work, storing

#: The folder of partial files: no key begins with a dot.
INCOMING = ".incoming"


def no_checkpoint(step: str) -> None:
    """What a storage tells its steps to where nobody asks."""


class Uses(Protocol):
    """Is told what becomes of the files of a storage, in its threads."""

    def opened(self, descriptor: int, status: os.stat_result) -> None:
        """A file was opened to be read, and has this status."""

    def coming(self, path: Path) -> None:
        """The file at C{path} is about to be made visible."""

    def came(self, size: int) -> None:
        """It is, and has so many bytes."""


@implementer(IFileStorage)
class FilesystemStorage:
    """
    Storage below one folder; several processes may share it.

    No symbolic link below the root is ever followed.
    """

    def __init__(
        self,
        root: Path,
        reactor: IReactorFromThreads,
        pool: ThreadPool,
        checkpoint: Callable[[str], None] = no_checkpoint,
        uses: Uses | None = None,
    ) -> None:
        """
        @param root: made if it is not there.
        @param pool: runs what may wait for the disk; a started one.
        @param checkpoint: is told, in a thread, each step of a commit by its name: C{spooled}, C{synced},
            C{renamed}, C{folder-synced}.
        @param uses: is told what becomes of the files, where their use is followed.
        """
        self._root = Path(os.path.abspath(root))
        self._resolved = self._root.resolve()
        self._open_files = OpenFiles(self._root, IReactorTime(reactor), uses is not None)
        self._reactor = reactor
        self._pool = pool
        self._checkpoint = checkpoint
        self._uses = uses
        self._work = Work(reactor, pool)
        self._spool = SpoolFolder(self._root / INCOMING)
        self._writers: set[SpoolFile] = set()

    @returns_deferred
    async def start(self) -> None:
        """Make the root, and sweep the partial files of processes that died. [NoRoom]"""
        await self._work.run(self._spool.open)

    @returns_deferred
    async def stop(self) -> None:
        """Drop the files that are not committed."""
        await gatherResults([writer.abort() for writer in self._writers])
        self._writers.clear()
        await self._work.idle()
        self._open_files.close()
        await self._work.run(self._spool.close)

    @returns_deferred
    async def open(self, key: str) -> IStoredFile:
        """See L{IFileStorage}. The file's digests are not computed again: they are empty."""
        opened = self._open_files.find(key)
        size = await self._work.run(self._size, key) if opened is None else opened.size
        return StoredFile(
            size, {}, partial(self._open, key, size), self._reactor, self._pool, path=self._resolved / key
        )

    def read(self, key: str, limit: int) -> Deferred[bytes]:
        """See L{IFileStorage}."""
        return self._work.run(self._read, key, limit)

    def inspect(self, key: str) -> Deferred[BinaryIO]:
        """See L{IFileStorage}."""
        return self._work.acquire(lambda: os.fdopen(self._descriptor(key), "rb"), lambda file: file.close())

    @returns_deferred
    async def create(self, algorithms: tuple[str, ...] = ("sha256",)) -> IFileWriter:
        """See L{IFileStorage}. What keeps it from being written shows when it is; once it has, before."""
        new_file = self._spool.new_file
        writer = SpoolFile(new_file, algorithms, self._place, self._reactor, self._pool, self._checkpoint)
        self._writers = {other for other in self._writers if not other.closed} | {writer}
        if self._spool.failing:
            # Upstream need not be asked for a file that cannot be kept.
            try:
                await writer.open()
            except Exception:
                await writer.abort()
                raise
        return writer

    def delete(self, key: str) -> Deferred[None]:
        """See L{IFileStorage}. Folders that become empty go too, but for the topmost."""
        self._open_files.drop(key)
        return self._work.run(self._delete, key)

    def names(self) -> Deferred[tuple[tuple[str, int, datetime], ...]]:
        """See L{IFileStorage}. What could not be opened by its name (links, odd names) is left out."""
        return self._work.run(lambda: tuple(sorted(self._names())))

    def check(self) -> Deferred[None]:
        """See L{IFileStorage}."""
        return self._work.run(self._check)

    @returns_deferred
    async def _open(self, key: str, size: int) -> Opened:
        opened = self._open_files.find(key)
        if opened is not None and opened.size == size:
            return opened.share()
        descriptor = await self._work.acquire(partial(self._descriptor, key, size), os.close)
        return self._open_files.add(key, descriptor)

    def _check(self) -> None:
        descriptor, path = self._spool.new_file()
        try:
            with storing():
                os.write(descriptor, b"\0")
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)

    def _segments(self, key: str) -> tuple[str, ...]:
        segments = tuple(key.split("/"))
        if not 2 <= len(segments) <= MAX_DEPTH or not all(map(is_segment, segments)):
            raise Invalid(f"{key!r} cannot name a file in storage. Ask for the file by its own name.")
        root = str(self._root)
        if os.path.commonpath((root, os.path.join(root, *segments))) != root:
            raise Invalid(f"{key!r} leads out of the file storage.")
        return segments

    def _descriptor(self, key: str, size: int | None = None) -> int:
        """Open the file C{key}; where C{size} is given it must still have it. [NotFound, Unavailable]"""
        missing = f"{key.rpartition('/')[2]} is not in the file storage."
        try:
            descriptor = open_file(self._root, self._segments(key))
        except Invalid as error:
            raise NotFound(str(error)) from error
        except OSError as error:
            if error.errno in NOT_THERE:
                raise NotFound(missing) from error
            raise Unavailable(UNREADABLE) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise NotFound(missing)
        if size is not None and status.st_size != size:
            os.close(descriptor)
            raise Unavailable("The file was replaced at this moment. Ask again.")
        if self._uses is not None:
            self._uses.opened(descriptor, status)
        return descriptor

    def _size(self, key: str) -> int:
        descriptor = self._descriptor(key)
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def _read(self, key: str, limit: int) -> bytes:
        with os.fdopen(self._descriptor(key), "rb") as file:
            try:
                data = file.read(limit + 1)
            except OSError as error:
                raise Unavailable(UNREADABLE) from error
        if len(data) > limit:
            raise TooLarge(f"{key.rpartition('/')[2]} is over {limit} bytes long.")
        return data

    def _place(self, path: Path, key: str) -> Callable[[], Deferred[Opened]]:
        *folders, filename = self._segments(key)
        with storing():
            size = path.stat().st_size
            if self._uses is not None:
                self._uses.coming(path)
            while True:
                try:
                    with open_folder(self._root, tuple(folders), make=True) as folder:
                        os.rename(path, filename, dst_dir_fd=folder)
                        self._checkpoint("renamed")
                        os.fsync(folder)
                        self._checkpoint("folder-synced")
                        break
                except FileNotFoundError:
                    # A delete removed the folder it had emptied, between our making it and our using it.
                    if not path.exists():
                        raise
        if self._uses is not None:
            self._uses.came(size)
        return partial(self._open, key, size)

    def _delete(self, key: str) -> None:
        remove_file(self._root, self._segments(key))

    def _names(self) -> Iterator[tuple[str, int, datetime]]:
        for segments, status in walk(self._root):
            yield "/".join(segments), status.st_size, datetime.fromtimestamp(status.st_mtime, timezone.utc)
