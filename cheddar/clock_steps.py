"""What becomes of timers when the machine's clock is set."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from time import monotonic
from typing import Any

from attrs import define, field
from twisted.logger import Logger

#: Seconds between two looks, and the smallest step that is one: less is no harm, and clocks are trimmed all the time.
INTERVAL = 1.0
SMALLEST = 5.0
#: Seconds after which it is seen at the latest.
LATEST = 3.0


@define(eq=False)
class ClockSteps:
    """
    Twisted's timers go by the clock of the wall. Where that is put back by an hour, all of them wait for an hour more:
    the pace of clients, timeouts of upstream, the refresh, the watchdog. This looks from a thread, which waits by
    another clock, and brings forward what had been set before.

    @ivar _reactor: whose clock is looked at, and whose timers are brought forward.
    @ivar _steady: seconds of a clock that nobody sets.
    """

    _reactor: Any
    _steady: Callable[[], float] = monotonic
    _offset: float = field(init=False)
    _over: Event = field(factory=Event, init=False)

    _log = Logger()

    @_offset.default
    def _offset_now(self) -> float:
        return float(self._reactor.seconds()) - self._steady()

    def start(self) -> None:
        """Begin to look."""
        Thread(target=self._watch, name="cheddar-clock", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(INTERVAL):
            step = self.step()
            if step:
                self._reactor.callFromThread(self.stepped, step)

    def step(self) -> float:
        """By how many seconds the clock was set since the last look, back if below 0; 0 for none."""
        before, self._offset = self._offset, self._offset_now()
        step = self._offset - before
        return step if abs(step) >= SMALLEST else 0.0

    def stepped(self, seconds: float) -> None:
        """The clock was set: bring timers forward that would wait too long."""
        self._log.warn("The clock of this machine was set by {seconds:.0f} seconds", seconds=seconds)
        if seconds > 0:
            return  # what waits comes too soon, once, as timers may
        now = self._reactor.seconds()
        for call in self._reactor.getDelayedCalls():
            # What was set since the step is mostly due sooner than this; where not, it comes too soon, once.
            if call.getTime() - now >= -seconds - LATEST:
                call.delay(seconds)
