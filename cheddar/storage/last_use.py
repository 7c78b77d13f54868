"""What the use of a file leaves on it: the time, and for as long as it is read a lock that readers share."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from attrs import define
from twisted.internet.interfaces import IReactorTime

#: Seconds in which the use of a file is noted once: a write to the disk for each request would be felt.
INTERVAL = 60.0


def share(descriptor: int) -> None:
    """Lock an open file as one that is read, if nobody removes it at this moment: then reading goes on all the same."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


def leave(descriptor: int) -> None:
    """Nobody reads it now, though it is open."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@define(eq=False)
class LastUse:
    """
    Notes the use of a storage's files. Everything here runs in threads, and never fails: where the disk cannot be
    written, files are as old as they are.

    @ivar _came: told of each file that came, with its bytes.
    """

    _clock: IReactorTime
    _came: Callable[[int], None]

    def opened(self, descriptor: int, status: os.stat_result) -> None:
        """A file was opened to be read, and has this status."""
        share(descriptor)
        now = self._clock.seconds()
        # One from the future is brought back: the clock was set.
        if not 0 <= now - status.st_mtime < INTERVAL:
            _note(descriptor, status.st_atime_ns, now)

    def coming(self, path: Path) -> None:
        """The file at C{path} is about to be made visible."""
        now = self._clock.seconds()
        _note(path, round(now * 1e9), now)

    def came(self, size: int) -> None:
        """It is, and has so many bytes."""
        self._came(size)


def _note(file: int | Path, accessed: int, used: float) -> None:
    with suppress(OSError):
        os.utime(file, ns=(accessed, round(used * 1e9)))
