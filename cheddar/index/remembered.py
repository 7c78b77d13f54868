"""What the store said of names, for as long as it tells of no change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from cheddar.deferreds import SingleFlight, returns_deferred
from cheddar.interfaces import IChanges
from cheddar.model import Project

T = TypeVar("T")


def weight_of(project: Project | None) -> int:
    """What a project, or that there is none, counts for among those that are remembered: its files."""
    return 1 if project is None else 1 + len(project.files)


class Moment:
    """One after which no change of a name has been told of, or one has."""


class Remembered(Generic[T]):
    """
    Asks the store once, and again where it has told of a change, or tells nothing. All methods but L{find} are plain
    calls.
    """

    def __init__(
        self, clock: IReactorTime, changes: IChanges, weight: Callable[[T], int], most: int, belief: float = 0.0
    ) -> None:
        """
        @param weight: how much one is of what is remembered. @param most: how much all may be.
        @param belief: seconds for which a value is believed where the store tells nothing.
        """
        self._clock = clock
        self._changes = changes
        self._weigh = weight
        self._most = most
        self._belief = belief
        self._known: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._weight = 0
        self._moments: WeakValueDictionary[str, Moment] = WeakValueDictionary()
        self._reads: SingleFlight[T] = SingleFlight()
        changes.watch(self.changed)

    async def find(self, name: str, read: Callable[[], Deferred[T]]) -> T:
        """
        What is known of a name.

        @param read: asks the store; called only where that is needed.
        """
        known = self._known.get(name)
        if known is not None and self._is_good(known[0]):
            self._known.move_to_end(name)
            return known[1]
        # Who asks after a change does not wait with those who asked before.
        moment = self.moment(name)
        return await self._reads.run(moment, lambda: self._read(name, read, moment))

    @returns_deferred
    async def _read(self, name: str, read: Callable[[], Deferred[T]], moment: Moment) -> T:
        value = await read()
        self.keep(name, value, moment)
        return value

    def _is_good(self, read_at: float) -> bool:
        age = self._clock.seconds() - read_at
        return age >= 0 and (age < self._belief or self._changes.heard())

    def last(self, name: str) -> T | None:
        """What was known of a name last, be it good or not; None where nothing is remembered."""
        known = self._known.get(name)
        return None if known is None else known[1]

    def moment(self, name: str) -> Moment:
        """Now, for L{keep}."""
        return self._moments.setdefault(name, Moment())

    def keep(self, name: str, value: T, read_after: Moment | None = None) -> None:
        """
        This is how it is now.

        @param read_after: where it is what was read after that moment: if a change was told of since, it is let be.
        """
        if read_after is None or self._moments.get(name) is read_after:
            self._put(name, self._clock.seconds(), value)

    def amend(self, name: str, before: T, value: T) -> None:
        """C{before}, if it is still what is known, has something added that the store does not tell of."""
        known = self._known.get(name)
        if known is not None and known[1] is before:
            self._put(name, known[0], value)

    def changed(self, name: str | None) -> None:
        """The store tells of a change (L{IChanges.watch})."""
        if name is None:
            self._known.clear()
            self._moments.clear()
            self._weight = 0
        else:
            self._forget(name)
            self._moments.pop(name, None)

    def _put(self, name: str, read_at: float, value: T) -> None:
        self._forget(name)
        self._known[name] = (read_at, value)
        self._weight += self._weigh(value)
        while self._weight > self._most and len(self._known) > 1:
            self._forget(next(iter(self._known)))

    def _forget(self, name: str) -> None:
        known = self._known.pop(name, None)
        if known is not None:
            self._weight -= self._weigh(known[1])
