"""
Whether the metadata store still knows what it knew.

A Redis without persistence comes back empty, and a database file can be deleted. An empty store would give every
private name to whoever has it upstream; so a store that has forgotten is no store until its rows are made anew.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cheddar.deferreds import SingleFlight, returns_deferred
from cheddar.errors import NoRoom, NotFound, StoreUnavailable
from cheddar.index.sidecars import write_whole
from cheddar.interfaces import IChanges, IFileStorage, IProjectStore

#: Lies beside the files: the store has had rows.
MARK = "store/has-been-written"

#: Seconds for which an answer of the store is believed, where it does not tell of changes.
BELIEF = 1.0

FORGOTTEN = (
    "The metadata store has lost what it knew: it was emptied, or is another one. An operator must restore it, or make "
    "its rows anew with `cheddar rebuild`; to begin anew without the old projects, remove the folder `store` beside "
    "`releases`."
)


@define(eq=False)
class StoreMemory:
    """
    Remembers that a store was written to, over restarts: as a file in the storage.

    @ivar _changes: a store that tells of its changes, and of none, is what it was.
    """

    _projects: IProjectStore
    _storage: IFileStorage
    _clock: IReactorTime
    _changes: IChanges | None = None
    _checks: SingleFlight[None] = field(factory=SingleFlight, init=False)
    _checked_at: float | None = field(default=None, init=False)
    _told: int = field(default=0, init=False)
    _marked: bool = field(default=False, init=False)

    _log = Logger()

    def changed(self, name: str | None) -> None:
        """Plain call. The store tells of a change (L{IChanges.watch})."""
        self._checked_at = None
        self._told += 1

    async def check(self) -> None:
        """@raise StoreUnavailable: the store does not answer, or has forgotten."""
        if self._checked_at is not None:
            age = self._clock.seconds() - self._checked_at
            if age >= 0 and (age < BELIEF or (self._changes is not None and self._changes.heard())):
                return
        # Who asks after a change does not wait with those who asked before.
        await self._checks.run(self._told, self._check)

    @returns_deferred
    async def _check(self) -> None:
        now, told = self._clock.seconds(), self._told
        # Only nothing at all is proof. A lower serial than before is what a restored backup has, or a Redis that was
        # failed over to: an operator's remedy, not the illness.
        if await self._projects.serial() == 0 and await self._was_written():
            raise StoreUnavailable(FORGOTTEN, retry_after=60)
        if told == self._told:
            self._checked_at = now

    async def note_change(self) -> None:
        """The store has a row now."""
        if self._marked:
            return
        try:
            if not await self._was_written():
                await write_whole(self._storage, MARK, b"The metadata store of these files has had rows.\n")
            self._marked = True
        except NoRoom as error:
            self._log.warn("Could not note that the store was written to: {error}", error=str(error))

    async def _was_written(self) -> bool:
        try:
            await self._storage.open(MARK)
        except NotFound:
            return False
        return True
