"""Since when a page has been what it is, as far as this process can tell: no store keeps that."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime, timezone
from math import floor

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

#: Pages that are remembered: some 3 MB. One that was forgotten is taken for new, which costs its readers one answer.
MOST_PAGES = 10_000

#: Seconds for which a page must have been what it is before anything is said about it.
SETTLED = 2.0


@define(eq=False)
class Sightings:
    """
    Remembers for each page what it was when it was last looked at, and when it was first seen so.

    A date in a header has whole seconds, so it is rounded up: whoever got another page before, even in the same
    second, has an earlier date, be it that page's C{Last-Modified} or C{Date} (RFC 9110, section 8.8.2). And it is
    told only when it is past, so that one who got the page in between has none that a later change could share.

    @ivar _latest: the clock's latest time: one that was set back must not make a new page older than the one before.
    """

    _clock: IReactorTime
    _most: int = MOST_PAGES
    _seen: OrderedDict[Hashable, tuple[Hashable, float]] = field(factory=OrderedDict, init=False)
    _latest: float = field(default=0.0, init=False)

    def since(self, page: Hashable, state: Hashable) -> datetime | None:
        """
        Look at a page.

        @param page: which page it is, of which index and in which format.
        @param state: what it is now: equal only where nothing has changed.
        @return: the time, in whole seconds, at or before which it became that; None where that is too fresh to say.
        """
        now = self._clock.seconds()
        self._latest = max(self._latest, now)
        known, first = self._seen.get(page, (None, 0.0))
        if known != state or page not in self._seen:
            first = self._latest
            self._seen[page] = (state, first)
        self._seen.move_to_end(page)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return datetime.fromtimestamp(floor(first) + 1, timezone.utc) if now - first >= SETTLED else None
