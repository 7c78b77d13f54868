"""The audit log: what happened, one JSON object a line, only ever added to."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from datetime import timezone
from pathlib import Path

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cheddar.interfaces import IAuditLog
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

    def record(self, events: Sequence[Event]) -> Deferred[None]:
        """See L{IAuditLog.record}."""
        return deferToThreadPool(self._reactor, self._pool, _append, self._path, b"".join(map(_line, events)))


def _line(event: Event) -> bytes:
    said = {"at": event.at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z"), "action": event.action}
    for name in ("who", "project", "filename", "digest", "detail"):
        if getattr(event, name):
            said[name] = getattr(event, name)
    # ASCII: no name or reason can begin a new line, or hide one from a terminal.
    return json.dumps(said, ensure_ascii=True).encode("ascii") + b"\n"


def _append(path: Path, lines: bytes) -> None:
    if not lines:
        return
    with storing():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            # One call: lines of several processes do not mix. What a full disk has cut off is taken back.
            before = os.fstat(descriptor).st_size
            written = os.write(descriptor, lines)
            if written != len(lines):
                os.ftruncate(descriptor, before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
