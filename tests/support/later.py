"""The real reactor with a clock that can be put forward: what is two seconds old need not be waited for."""

from __future__ import annotations

from typing import Any

from zope.interface import directlyProvides, providedBy


class LaterReactor:
    """
    Everything is the real reactor's, but C{seconds()} is ahead of it by as much as L{later} was told.

    Delays are relative, so they run at the real pace.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._ahead = 0.0
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def seconds(self) -> float:
        """Seconds since the epoch, for whoever is given this reactor."""
        return float(self._reactor.seconds()) + self._ahead

    def later(self, seconds: float) -> None:
        """From now on it is so much later."""
        self._ahead += seconds
