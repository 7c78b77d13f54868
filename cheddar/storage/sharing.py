"""
Files that are being sent: who wants one of them meanwhile gets it from the same descriptor, and asks no thread.

Nothing is open for longer than somebody is sent it.
"""

from __future__ import annotations

import os
from pathlib import Path

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

#: Seconds after which a file is opened anew for those who come then: that notes its use.
ANEW_AFTER = 30.0


@define(eq=False)
class Opened:
    """
    An open file, and how many have it. Its descriptor is read from given offsets alone, so they do not disturb each
    other.

    @ivar size: bytes.
    """

    descriptor: int
    size: int
    _files: OpenFiles
    _key: str
    _since: float
    _inode: tuple[int, int]
    _users: int = 1

    def release(self) -> None:
        """One has it no longer; the last one closes it."""
        self._users -= 1
        if not self._users:
            self._files.forget(self._key, self)
            os.close(self.descriptor)

    def share(self) -> Opened:
        """One more has it."""
        self._users += 1
        return self

    def is_at(self, path: Path, now: float) -> bool:
        """Whether it is still what lies at C{path}, and was opened not long ago."""
        if not 0 <= now - self._since < ANEW_AFTER:
            return False
        try:
            # What was opened a moment ago is not waited for: the kernel knows its name.
            status = os.stat(path, follow_symlinks=False)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._inode and status.st_size == self.size


@define(eq=False)
class OpenFiles:
    """The files of a storage that are being sent. All are plain calls."""

    _root: Path
    _clock: IReactorTime
    _opened: dict[str, Opened] = field(factory=dict, init=False)

    def find(self, key: str) -> Opened | None:
        """The file C{key}, if it is being sent and still what lies there; only to be looked at, or shared at once."""
        opened = self._opened.get(key)
        return opened if opened is not None and opened.is_at(self._root / key, self._clock.seconds()) else None

    def add(self, key: str, descriptor: int) -> Opened:
        """C{key} was opened: C{descriptor} is the file's from now on."""
        status = os.fstat(descriptor)
        inode = (status.st_dev, status.st_ino)
        opened = Opened(descriptor, status.st_size, self, key, self._clock.seconds(), inode)
        self._opened[key] = opened
        return opened

    def forget(self, key: str, opened: Opened) -> None:
        """It is closed."""
        if self._opened.get(key) is opened:
            del self._opened[key]
