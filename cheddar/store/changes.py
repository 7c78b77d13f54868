"""What has changed in a store, told to whoever keeps something of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import CheddarError
from cheddar.interfaces import IChanges

#: Seconds between two looks at what others have changed.
INTERVAL = 0.25
#: Seconds for which a change by another process may go unheard.
BELIEF = 1.0
#: How many changes a store remembers the names of: who was away for more of them takes everything for changed.
KEPT = 1000
#: Stands in a store for no project's name, but for everything.
EVERYTHING = ""


@implementer(IChanges)
@define(eq=False)
class Changes:
    """
    Asks the store again and again.

    @ivar _new: what others have changed since it was asked last: names, L{EVERYTHING} among them.
    """

    _clock: IReactorTime
    _new: Callable[[], Deferred[Iterable[str]]]
    _told: list[Callable[[str | None], None]] = field(factory=list, init=False)
    _seen_at: float | None = field(default=None, init=False)
    _loop: LoopingCall | None = field(default=None, init=False)
    _looking: Deferred[None] | None = field(default=None, init=False)

    _log = Logger()

    def watch(self, told: Callable[[str | None], None]) -> None:
        """See L{IChanges}."""
        self._told.append(told)

    def seen_at(self) -> float | None:
        """See L{IChanges}."""
        return self._seen_at

    def heard(self) -> bool:
        """See L{IChanges}."""
        return self._seen_at is not None and 0 <= self._clock.seconds() - self._seen_at < BELIEF

    def tell(self, names: Iterable[str]) -> None:
        """Plain call. This process has changed these, or has heard of it."""
        for name in names:
            for told in self._told:
                told(None if name == EVERYTHING else name)

    def start(self) -> None:
        """Begin to look."""
        self._loop = LoopingCall(self._look)
        self._loop.clock = self._clock
        self._loop.start(INTERVAL, now=True)

    @returns_deferred
    async def stop(self) -> None:
        """Look no more; fires when no look is under way."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        self._loop = self._seen_at = None
        if self._looking is not None:
            await self._looking

    def _look(self) -> Deferred[None]:
        self._looking = self._ask()
        return self._looking

    @returns_deferred
    async def _ask(self) -> None:
        began = self._clock.seconds()
        try:
            names = tuple(await self._new())
        except CheddarError:
            return  # the store says so itself, to everybody who asks it
        except Exception:  # noqa: BLE001  # a LoopingCall ends at its first failure; this one is logged, and looks again
            self._log.failure("The store could not be asked for changes")
            return
        if self._loop is not None:
            self.tell(dict.fromkeys(names))
        if self._loop is not None:  # who was told may have stopped it
            self._seen_at = began
