"""
Files in folders that a person recognises, on a local file system.

A file becomes visible whole: spooled beside, digests compared, synced, renamed into place, folders synced.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import Invalid, NoRoom, NotFound, TooLarge, Unavailable
from cheddar.interfaces import IFileStorage, IFileWriter, IStoredFile
from cheddar.names import is_filename
from cheddar.storage.sending import UNREADABLE, StoredFile
from cheddar.storage.spool import SpoolFile, SpoolFolder
from cheddar.storage.work import Work, storing

#: The folder of partial files: no key begins with a dot.
INCOMING = ".incoming"
SIDECARS = (".metadata", ".provenance")
MAX_DEPTH = 8

#: Errors that mean that there is no such file here; a link (ELOOP) is none of ours.
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# O_NONBLOCK: opening a named pipe would otherwise wait for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def no_checkpoint(step: str) -> None:
    """What a storage tells its steps to where nobody asks."""


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
    ) -> None:
        """
        @param root: made if it is not there.
        @param pool: runs what may wait for the disk; a started one.
        @param checkpoint: is told, in a thread, each step of a commit by its name: C{spooled}, C{synced},
            C{renamed}, C{folder-synced}.
        """
        self._root = Path(os.path.abspath(root))
        self._reactor = reactor
        self._pool = pool
        self._checkpoint = checkpoint
        self._work = Work(reactor, pool)
        self._spool = SpoolFolder(self._root / INCOMING)
        self._writers: set[SpoolFile] = set()

    @returns_deferred
    async def start(self) -> None:
        """Make the root, and sweep the partial files of processes that died. [NoRoom]"""
        await self._work.run(self._start)

    @returns_deferred
    async def stop(self) -> None:
        """Drop the files that are not committed."""
        await gatherResults([writer.abort() for writer in self._writers])
        self._writers.clear()
        await self._work.idle()
        await self._work.run(self._spool.close)

    @returns_deferred
    async def open(self, key: str) -> IStoredFile:
        """See L{IFileStorage}. The file's digests are not computed again: they are empty."""
        size = await self._work.run(self._size, key)
        return StoredFile(size, {}, lambda: self._descriptor(key, size), self._reactor, self._pool)

    def read(self, key: str, limit: int) -> Deferred[bytes]:
        """See L{IFileStorage}."""
        return self._work.run(self._read, key, limit)

    def inspect(self, key: str) -> Deferred[BinaryIO]:
        """See L{IFileStorage}."""
        return self._work.acquire(lambda: os.fdopen(self._descriptor(key), "rb"), lambda file: file.close())

    @returns_deferred
    async def create(self, algorithms: tuple[str, ...] = ("sha256",)) -> IFileWriter:
        """See L{IFileStorage}."""
        descriptor, path = await self._work.acquire(self._spool.new_file, lambda opened: os.close(opened[0]))
        writer = SpoolFile(descriptor, path, algorithms, self._place, self._reactor, self._pool, self._checkpoint)
        self._writers = {other for other in self._writers if not other.closed} | {writer}
        return writer

    def delete(self, key: str) -> Deferred[None]:
        """See L{IFileStorage}. Folders that become empty go too, but for the topmost."""
        return self._work.run(self._delete, key)

    def names(self) -> Deferred[tuple[tuple[str, int, datetime], ...]]:
        """See L{IFileStorage}. What could not be opened by its name (links, odd names) is left out."""
        return self._work.run(lambda: tuple(sorted(self._names((), self._root))))

    def check(self) -> Deferred[None]:
        """See L{IFileStorage}."""
        return self._work.run(self._check)

    def _start(self) -> None:
        with storing():
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._spool.open()

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

    @contextmanager
    def _folder(self, segments: tuple[str, ...], make: bool = False) -> Iterator[int]:
        """Open the folder C{segments} step by step: so no link on the way is followed."""
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for segment in segments:
                if make:
                    _make_folder(segment, folder)
                inner = os.open(segment, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
            yield folder
        finally:
            os.close(folder)

    def _descriptor(self, key: str, size: int | None = None) -> int:
        """Open the file C{key}; where C{size} is given it must still have it. [NotFound, Unavailable]"""
        missing = f"{key.rpartition('/')[2]} is not in the file storage."
        try:
            *folders, filename = self._segments(key)
            with self._folder(tuple(folders)) as folder:
                descriptor = os.open(filename, _FILE, dir_fd=folder)
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

    def _place(self, path: Path, key: str) -> Callable[[], int]:
        *folders, filename = self._segments(key)
        with storing():
            size = path.stat().st_size
            while True:
                try:
                    with self._folder(tuple(folders), make=True) as folder:
                        os.rename(path, filename, dst_dir_fd=folder)
                        self._checkpoint("renamed")
                        os.fsync(folder)
                        self._checkpoint("folder-synced")
                        break
                except FileNotFoundError:
                    # A delete removed the folder it had emptied, between our making it and our using it.
                    if not path.exists():
                        raise
        return lambda: self._descriptor(key, size)

    def _delete(self, key: str) -> None:
        *folders, filename = self._segments(key)
        try:
            with self._folder(tuple(folders)) as folder:
                os.unlink(filename, dir_fd=folder)
            while len(folders) > 1:
                name = folders.pop()
                with self._folder(tuple(folders)) as folder:
                    os.rmdir(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in (*NOT_THERE, errno.ENOTEMPTY, errno.EEXIST):
                raise NoRoom(
                    f"The server cannot delete from its file storage ({error.strerror}). "
                    "Its administrator has to allow writing there; then try again."
                ) from error

    def _names(self, above: tuple[str, ...], folder: Path) -> Iterator[tuple[str, int, datetime]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_segment(entry.name):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode) and len(above) < MAX_DEPTH - 1:
                        yield from self._names((*above, entry.name), folder / entry.name)
                    elif stat.S_ISREG(status.st_mode) and above:
                        changed = datetime.fromtimestamp(status.st_mtime, timezone.utc)
                        yield "/".join((*above, entry.name)), status.st_size, changed
                except FileNotFoundError:  # deleted meanwhile
                    continue


def is_segment(segment: str) -> bool:
    """Whether C{segment} may be one step of a key: a file name, maybe with the ending of what lies beside a file."""
    ending = next((ending for ending in SIDECARS if segment.endswith(ending)), "")
    return is_filename(segment.removesuffix(ending))


def _make_folder(name: str, parent: int) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)
