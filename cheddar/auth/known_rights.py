"""What the store knows of roles, kept for as long as nothing has changed."""

from __future__ import annotations

from math import inf

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from cheddar.deferreds import SingleFlight, returns_deferred
from cheddar.interfaces import IChanges, IRightsStore
from cheddar.model import Rights

#: Seconds for which reading goes by what was known before.
BELIEF = 1.0


@define(eq=False)
class KnownRights:
    """
    Changes are decided by what the store says at that moment: a project that was founded a moment ago, here or on
    another node, is somebody's. Reading, which is asked for all the time, may be decided by what was true a second ago.
    """

    _store: IRightsStore
    _clock: IReactorTime
    _told: IChanges | None = None
    _known: Rights | None = field(default=None, init=False)
    _checked_at: float = field(default=-inf, init=False)
    _checks: SingleFlight[Rights] = field(factory=SingleFlight, init=False)
    _changes: int = field(default=0, init=False)

    def changed(self, name: str | None) -> None:
        """Plain call. The store tells of a change (L{IChanges.watch}): that of a project has no roles with it."""
        if name is None:
            self._changes += 1
            self._checked_at = -inf

    async def now(self) -> Rights:
        """All roles, as they are. [StoreUnavailable]"""
        return await self._check()

    async def lately(self) -> Rights:
        """All roles, as they were at most a second ago. [StoreUnavailable]"""
        age = self._clock.seconds() - self._checked_at
        if self._known is not None and 0 <= age < inf and (age < BELIEF or (self._told and self._told.heard())):
            return self._known
        # Who asks after a change does not wait with those who asked before.
        return await self._checks.run(str(self._changes), self._check)

    @returns_deferred
    async def _check(self) -> Rights:
        began, changes = self._clock.seconds(), self._changes
        known = self._known
        if known is None or known.serial != await self._store.serial():
            known = await self._store.rights()
        if self._known is None or known.serial >= self._known.serial or began > self._checked_at:
            self._known, self._checked_at = known, began if changes == self._changes else -inf
        return known
