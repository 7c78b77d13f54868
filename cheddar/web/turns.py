"""
How many requests are begun in one turn of the reactor.

All of a crowd's requests may lie ready at once. Were they all begun in one turn, what the first of them waits for (a
thread's answer, the next step to upstream, a timer) would have to wait until the last one is begun.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

#: Requests that are begun in one turn: some milliseconds' work.
MOST = 4
#: Requests from which on the end of a turn is looked for: to look costs a little.
_COUNTED_FROM = 2


class Waiting(Protocol):
    """A connection whose next request has to wait."""

    def go_on(self) -> None:
        """Begin it."""


@define(eq=False)
class Turns:
    """Counts. All are plain calls."""

    _clock: IReactorTime
    _begun: int = field(default=0, init=False)
    _waiting: deque[Waiting] = field(factory=deque, init=False)
    _looking: bool = field(default=False, init=False)

    def take(self) -> bool:
        """Whether a request may be begun now; if not, its connection is to L{wait}."""
        if self._waiting or self._begun >= MOST:
            return False
        self._begun += 1
        if self._begun >= _COUNTED_FROM:
            self._look()
        return True

    def wait(self, connection: Waiting) -> None:
        """Begin this one's request in one of the next turns; each gets its turn in the order in which it came."""
        self._waiting.append(connection)
        self._look()

    def _look(self) -> None:
        if not self._looking:
            self._looking = True
            self._clock.callLater(0, self._next)

    def _next(self) -> None:
        self._looking = False
        self._begun = 0
        try:
            for _ in range(min(MOST, len(self._waiting))):
                self._begun += 1
                self._waiting.popleft().go_on()
        finally:
            if self._waiting or self._begun >= _COUNTED_FROM:
                self._look()
