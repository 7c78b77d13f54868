"""Changes that are noted before they are made, with who makes them, from where, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from secrets import token_hex
from typing import TypeVar

from attrs import define, evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cheddar.deferreds import returns_deferred
from cheddar.errors import BadCredentials, CheddarError, NoCredentials, NoRoom, StoreUnavailable
from cheddar.interfaces import IAuditLog
from cheddar.model import BEGUN, DONE, FAILED, REFUSED, Action, Event, Identity
from cheddar.web.errors import MOST_SAID
from cheddar.web.request import CheddarRequest

T = TypeVar("T")

#: Actions that change nothing, or whose changes are noted where they are made.
UNNOTED = frozenset({Action.READ, Action.OBSERVE, Action.IDENTIFY})


@define(eq=False)
class Audited:
    """
    Notes changes in the audit log: no change without its note.

    @ivar _log: where they are noted.
    """

    _log: IAuditLog
    _clock: IReactorTime

    _logger = Logger()

    @returns_deferred
    async def change(self, request: CheddarRequest, event: Event, work: Callable[[], Deferred[T]]) -> T:
        """
        Make a change. It is noted that it begins, durably, and how it ends.

        @param event: what is changed: C{at} and what the request says are filled in here.
        @raise NoRoom: it could not be noted, so nothing was changed. [StoreUnavailable; what C{work} fails with]
        """
        begun = evolve(self._of(request, event), outcome=BEGUN, operation=token_hex(8))
        request.noted = True
        await self._log.record([begun])
        try:
            result = await work()
        except CancelledError:
            await self._end(begun, FAILED, "broken off")
            raise
        except CheddarError as error:
            # A store that did not answer may have made the change all the same.
            await self._end(begun, FAILED if isinstance(error, StoreUnavailable) else REFUSED, str(error)[:MOST_SAID])
            raise
        except Exception as error:
            await self._end(begun, FAILED, type(error).__name__)
            raise
        await self._end(begun, DONE, event.detail)
        return result

    async def refused(self, request: CheddarRequest, action: Action, project: str, error: CheddarError) -> None:
        """
        Note that a change was asked for and is not made, where it is not noted yet: by somebody known, or by a login
        that was looked at and is wrong. Of these there are so many as guessing is allowed; of all else a stranger could
        send so much that what matters is not found among it.
        """
        if request.noted or action in UNNOTED:
            return
        request.noted = True
        looked_at = isinstance(error, BadCredentials) and not isinstance(error, NoCredentials)
        if (request.identity is None or request.identity.anonymous) and not looked_at:
            return
        event = Event(
            action=action.value, at=self._now(), project=project, outcome=REFUSED, detail=str(error)[:MOST_SAID]
        )
        await self._note(self._of(request, event))

    async def _end(self, begun: Event, outcome: str, detail: str) -> None:
        await self._note(evolve(begun, at=self._now(), outcome=outcome, detail=detail))

    async def _note(self, event: Event) -> None:
        """What is over is not undone because it could not be noted: that it began, is."""
        try:
            await self._log.record([event], durable=False)
        except (NoRoom, StoreUnavailable) as error:
            self._logger.error(
                "The audit log lacks how {action} of {project} {filename} ended ({outcome}): {error}",
                action=event.action,
                project=event.project,
                filename=event.filename,
                outcome=event.outcome,
                error=str(error),
            )

    def _of(self, request: CheddarRequest, event: Event) -> Event:
        identity = request.identity or Identity()
        return evolve(event, at=self._now(), who=identity.name, via=identity.token, address=request.client_address)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.seconds(), timezone.utc)
