"""The audit log: what happened, one JSON object a line, only ever added to."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.formats.event_lines import dump_event
from cheddar.interfaces import IAuditLog, IEventStore
from cheddar.model import Event
from cheddar.storage.work import storing


@implementer(IAuditLog)
@define(eq=False)
class AuditFile:
    """
    @ivar _path: the file; its folder is made with it. It is opened for each writing, so that it can be moved away and
        another takes its place.
    """

    _path: Path
    _reactor: IReactorFromThreads
    _pool: ThreadPool

    def record(self, events: Sequence[Event], durable: bool = True) -> Deferred[None]:
        """See L{IAuditLog.record}."""
        lines = "".join(f"{dump_event(event)}\n" for event in events).encode("ascii")
        return deferToThreadPool(self._reactor, self._pool, _append, self._path, lines, durable)


@implementer(IAuditLog)
@define(eq=False)
class AuditTrail:
    """
    The audit log: the file, which has everything, and the store, in which the newest of it can be looked through.

    @ivar _file: the first to be told.
    """

    _file: AuditFile
    _events: IEventStore

    @returns_deferred
    async def record(self, events: Sequence[Event], durable: bool = True) -> None:
        """See L{IAuditLog.record}."""
        await self._file.record(events, durable)
        await self._events.add(events)


def _append(path: Path, lines: bytes, durable: bool) -> None:
    if not lines:
        return
    with storing():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            # What a full disk has cut off is taken back, and nothing else: one process at a time.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            before = os.fstat(descriptor).st_size
            written = os.write(descriptor, lines)
            if written != len(lines):
                os.ftruncate(descriptor, before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
