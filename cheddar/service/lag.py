"""How late the reactor is: measured by itself, all the time."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cheddar import metrics

#: Seconds between two looks.
INTERVAL = 0.25


@define(eq=False)
class LagProbe:
    """Plans a call and sees how much later it comes: so long did something else keep the reactor, or the processor."""

    _clock: IReactorTime
    _call: IDelayedCall | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin."""
        self._plan()

    def stop(self) -> Deferred[None]:
        """End."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        return succeed(None)

    def _plan(self) -> None:
        self._call = self._clock.callLater(INTERVAL, self._look, self._clock.seconds() + INTERVAL)

    def _look(self, due: float) -> None:
        metrics.reactor_lag.observe(max(0.0, self._clock.seconds() - due))
        self._plan()
