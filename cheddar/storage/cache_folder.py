"""
The cache of upstream's files as it lies on the disk: what is in it, and when each file was last used.

The folder itself is the record, so several processes and the command line see the same, a restart forgets nothing, and
no store is needed. When a file was last used is its modification time: the time of the last access is moved by every
backup. Who reads a file has a lock on it that is shared by all readers, and ends with their processes.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, field, frozen

from cheddar.errors import SettingsError, Unavailable
from cheddar.formats.filenames import version_of
from cheddar.storage.folders import NOT_THERE, SIDECARS, open_file, remove_file, walk
from cheddar.storage.work import storing

#: The folders of keys. What lies elsewhere is nobody's cache.
TOPS = ("releases", "pre-releases")
#: Who removes files, or changes what is pinned, has this locked: no key begins with a dot.
GATE = ".eviction"


@frozen
class CachedFile:
    """
    A file of the cache, or what lies beside one.

    @ivar key: its storage key.
    @ivar size: bytes.
    @ivar used: when it was last used, in nanoseconds since the epoch.
    """

    key: str
    size: int
    used: int

    @property
    def project(self) -> str:
        """Whose file it is; empty for one that has no place in a project."""
        segments = self.key.split("/")
        return segments[1] if len(segments) > 2 else ""

    @property
    def name(self) -> str:
        """Its own name."""
        return self.key.rpartition("/")[2]

    @property
    def filename(self) -> str:
        """The name of the distribution file that it is, or lies beside."""
        return self.name.removesuffix(next((ending for ending in SIDECARS if self.name.endswith(ending)), ""))

    @property
    def version(self) -> str:
        """The version that its name says; maybe empty."""
        return version_of(self.project, self.filename)


@frozen
class Amount:
    """How much there is."""

    files: int = 0
    size: int = 0


def amount(files: Collection[CachedFile]) -> Amount:
    """How much these are."""
    return Amount(len(files), sum(file.size for file in files))


@define(eq=False)
class CacheFolder:
    """
    Everything here blocks, and runs in threads.

    @ivar root: where the storage of upstream's files lies. It may be missing: then there is nothing in it.
    """

    root: Path
    _stopped: bool = field(init=False, default=False)

    def stop(self) -> None:
        """For use in any thread. Break off what looks at the files, and what removes those that are not used."""
        self._stopped = True

    def _go_on(self) -> None:
        if self._stopped:
            raise Unavailable("Cheddar is stopping.")

    def check_apart(self, local: Path) -> None:
        """
        @param local: where uploaded files lie: nothing of it may ever be taken for cache.
        @raise SettingsError: it is in this folder.
        """
        if local.resolve().is_relative_to(self.root.resolve()):
            raise SettingsError(
                f"LOCAL_CACHE_DIR ({local}) is in REMOTE_CACHE_DIR ({self.root}), so that uploaded files would pass "
                "for cached ones. Move the cache elsewhere before files are removed from it."
            )

    def files(self) -> Iterator[CachedFile]:
        """All that is in the cache, in no order; not what is still on its way into it. [OSError, Unavailable]"""
        for top in TOPS:
            with suppress(FileNotFoundError, NotADirectoryError):
                for segments, status in walk(self.root / top, (top,)):
                    self._go_on()
                    yield CachedFile("/".join(segments), status.st_size, status.st_mtime_ns)

    def remove(self, file: CachedFile) -> bool:
        """Remove a file; who reads it goes on. @return: whether it was there. [NoRoom]"""
        return remove_file(self.root, tuple(file.key.split("/")))

    def remove_unused(self, file: CachedFile) -> bool:
        """
        Remove a file unless somebody reads it now, in whatever process, or has used it since it was looked at.

        @return: whether it is gone. [NoRoom, Unavailable]
        """
        self._go_on()
        segments = tuple(file.key.split("/"))
        try:
            descriptor = open_file(self.root, segments)
        except OSError as error:
            # What cannot be opened for another reason is not read by anybody either.
            return error.errno in NOT_THERE or self.remove(file)
        try:
            if os.fstat(descriptor).st_mtime_ns != file.used:
                return False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                # Anything else: this file system has no locks, and open files outlive their names there too.
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    return False
            # A reader that comes now has the file open, or does not find it, and asks upstream again.
            self.remove(file)
            return True
        finally:
            os.close(descriptor)

    @contextmanager
    def gate(self, wait: bool) -> Iterator[bool]:
        """
        Let one at a time remove what is not used, or say what is pinned.

        @param wait: whether to wait for another one.
        @return: whether it is this one's turn. [NoRoom: the folder cannot be written]
        """
        with storing():
            descriptor = os.open(self.root / GATE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)
