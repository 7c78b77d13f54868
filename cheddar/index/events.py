"""What people are told of upstream: in the log, by a metric and in the audit log, all three or none."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timezone

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cheddar import metrics
from cheddar.deferreds import returns_deferred
from cheddar.errors import CheddarError, WrongBytes
from cheddar.formats.links import digest_segment
from cheddar.interfaces import IAuditLog
from cheddar.model import Event, File

#: Seconds in which the same wrong bytes are told once: each client that asks again gets them again. And of how many
#: files that is remembered.
QUIET = 600.0
MAX_REMEMBERED = 1000


@define(eq=False)
class Events:
    """
    Tells events.

    @ivar _audit: None: there is no audit log.
    """

    _clock: IReactorTime
    _audit: IAuditLog | None = None
    _wrong: OrderedDict[tuple[str, str, str], float] = field(factory=OrderedDict, init=False)

    _log = Logger()

    @returns_deferred
    async def tell(self, events: Sequence[Event]) -> None:
        """What upstream took back, or back again. Never fails."""
        for event in events:
            metrics.withdrawals.labels(event.action.partition(".")[2]).inc()
        await self._tell(events)

    @returns_deferred
    async def tell_wrong_bytes(self, project: str, file: File, error: WrongBytes) -> None:
        """A file had to be given up, for upstream has other bytes than its listing promises. Never fails."""
        now, what = self._clock.seconds(), (project, file.filename, error.detail)
        if 0 <= now - self._wrong.get(what, -QUIET) < QUIET:
            return
        self._wrong.pop(what, None)
        self._wrong[what] = now
        if len(self._wrong) > MAX_REMEMBERED:
            self._wrong.popitem(last=False)
        event = Event(
            action="upstream.wrong_bytes",
            at=datetime.fromtimestamp(now, timezone.utc),
            project=project,
            filename=file.filename,
            digest=digest_segment(file),
            who=file.upstream,
            detail=error.detail,
        )
        await self._tell([event])

    async def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            self._log.warn(
                "{action}: {project} {filename} {detail}",
                action=event.action,
                project=event.project,
                filename=event.filename,
                detail=event.detail,
            )
        if self._audit is None or not events:
            return
        try:
            await self._audit.record(events)
        except CheddarError as error:
            # What upstream has withdrawn must not go on being offered because a disk is full.
            self._log.error("{count} events are missing in the audit log: {error}", count=len(events), error=error)
