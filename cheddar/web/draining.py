"""The end of a server: what is under way is answered first."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cheddar.web.request import CheddarSite


@define(eq=False)
class Drain:
    """Waits, when the server stops, until the requests under way are answered."""

    _site: CheddarSite
    _clock: IReactorTime
    _seconds: float
    _polls: float = field(default=0.05)

    async def wait(self) -> int:
        """@return: how many requests had to be cut."""
        self._site.draining = True
        end = self._clock.seconds() + self._seconds
        while self._site.busy() and self._clock.seconds() < end:
            await deferLater(self._clock, self._polls, lambda: None)
        left = list(self._site.under_way)
        for request in left:
            await request.cut()
        return len(left)
