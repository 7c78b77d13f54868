"""
Files that are being sent, or were a moment ago: who wants one of them gets it from the same descriptor, and asks no
thread. What one job of a fleet takes, the next one takes soon.
"""

from __future__ import annotations

import os
from pathlib import Path

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cheddar.storage.last_use import leave, share

#: Seconds after which a file is opened anew for those who come then: that notes its use.
ANEW_AFTER = 30.0
#: Seconds for which a file stays open when nobody is sent it any more: as long may the room on the disk be taken that
#: a file has which was deleted. And how many files do.
RESTING = 5.0
MOST_RESTING = 64


@define(eq=False)
class Opened:
    """
    An open file, and how many have it. Its descriptor is read from given offsets alone, so they do not disturb each
    other.

    @ivar size: bytes. @ivar key: what it is called in the storage.
    """

    descriptor: int
    size: int
    key: str
    _files: OpenFiles
    _since: float
    _inode: tuple[int, int]
    _users: int = 1

    def release(self) -> None:
        """One has it no longer; it is closed a while after the last one."""
        self._users -= 1
        if not self._users:
            self._files.rest(self)

    def share(self) -> Opened:
        """One more has it."""
        if not self._users:
            self._files.take_up(self)
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
    """
    The files of a storage that are being sent, or were a moment ago. All are plain calls.

    @ivar _followed: whether their use is: what is not being sent may then be removed by others, open or not.
    """

    _root: Path
    _clock: IReactorTime
    _followed: bool = False
    _opened: dict[str, Opened] = field(factory=dict, init=False)
    # By when they are closed, the next one first.
    _resting: dict[Opened, float] = field(factory=dict, init=False)
    _closing: IDelayedCall | None = field(default=None, init=False)
    _over: bool = field(default=False, init=False)

    def find(self, key: str) -> Opened | None:
        """The file C{key}, if it is open and still what lies there; only to be looked at, or shared at once."""
        opened = self._opened.get(key)
        return opened if opened is not None and opened.is_at(self._root / key, self._clock.seconds()) else None

    def add(self, key: str, descriptor: int) -> Opened:
        """C{key} was opened: C{descriptor} is the file's from now on."""
        self.drop(key)
        status = os.fstat(descriptor)
        inode = (status.st_dev, status.st_ino)
        opened = Opened(descriptor, status.st_size, key, self, self._clock.seconds(), inode)
        self._opened[key] = opened
        return opened

    def rest(self, opened: Opened) -> None:
        """Nobody has it now."""
        self._resting[opened] = self._clock.seconds() + RESTING
        if self._over or not RESTING or self._opened.get(opened.key) is not opened:  # another is in its place
            self._close(opened)
            return
        if self._followed:
            leave(opened.descriptor)
        if len(self._resting) > MOST_RESTING:
            self._close(next(iter(self._resting)))
        self._wait()

    def take_up(self, opened: Opened) -> None:
        """Somebody has it again."""
        del self._resting[opened]
        if self._followed:
            share(opened.descriptor)

    def drop(self, key: str) -> None:
        """C{key} is another file now, or none: whoever is being sent it is sent it to the end."""
        opened = self._opened.pop(key, None)
        if opened is not None and opened in self._resting:
            self._close(opened)

    def close(self) -> None:
        """Nothing more is sent; what still is, is closed after that."""
        self._over = True
        for opened in tuple(self._resting):
            self._close(opened)
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    def _close(self, opened: Opened) -> None:
        del self._resting[opened]
        if self._opened.get(opened.key) is opened:
            del self._opened[opened.key]
        os.close(opened.descriptor)

    def _wait(self) -> None:
        if self._closing is None and self._resting:
            due = next(iter(self._resting.values()))
            self._closing = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._close_due)

    def _close_due(self) -> None:
        self._closing = None
        now = self._clock.seconds()
        for opened, due in tuple(self._resting.items()):
            if due > now and due - now <= RESTING:  # else the clock was put back
                break
            self._close(opened)
        self._wait()
