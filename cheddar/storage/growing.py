"""The bytes of a file on its way into storage, for those who read it meanwhile."""

from __future__ import annotations

import os

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cheddar.errors import NoRoom
from cheddar.interfaces import IFileView
from cheddar.storage.sending import FileView

GIVEN_UP = "The file was given up before it was whole. Try again."


@define(eq=False)
class Growing:
    """
    What there is of a file: its beginning in memory, so that nobody who waits for it waits for the disk, and an open
    file with all that has been written.

    Several hold it, and the last one closes the file. A duplicate for each of a crowd would cost a call of the system
    each, while a thread wants its turn, too.

    @ivar beginning: the first bytes, on the disk or not; they stay.
    @ivar descriptor: of the open file, for reading at given offsets, or for the one who writes; None: not made yet.
    """

    beginning: bytearray = field(init=False, factory=bytearray)
    descriptor: int | None = field(init=False, default=None)
    _holders: int = field(init=False, default=1)

    def hold(self) -> None:
        """One more has it. [NoRoom: it is closed]"""
        if not self._holders:
            raise NoRoom(GIVEN_UP)
        self._holders += 1

    def let_go(self) -> None:
        """One has it no longer."""
        self._holders -= 1
        if not self._holders and self.descriptor is not None:
            os.close(self.descriptor)


@implementer(IFileView)
class GrowingView:
    """What one reader sees of it."""

    def __init__(self, growing: Growing, reactor: IReactorFromThreads, pool: ThreadPool) -> None:
        """@raise NoRoom: C{growing} is closed."""
        growing.hold()
        self._growing = growing
        self._reactor = reactor
        self._pool = pool
        self._file: FileView | None = None
        self._closed = False

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """See L{IFileView}."""
        beginning = self._growing.beginning
        if offset < len(beginning):
            return succeed(bytes(beginning[offset : offset + length]))
        if self._file is None:
            if self._growing.descriptor is None:
                return succeed(b"")
            self._file = FileView(self._growing.descriptor, self._reactor, self._pool, self._growing.let_go)
        return self._file.read(offset, length)

    def close(self) -> None:
        """See L{IFileView}."""
        if self._file is not None:
            self._file.close()
        elif not self._closed:
            self._closed = True
            self._growing.let_go()
