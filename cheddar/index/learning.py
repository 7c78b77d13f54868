"""What upstream says of its projects, asked for, compared with what is known, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from zlib import crc32

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cheddar.deferreds import Turns, returns_deferred
from cheddar.errors import NoRoom, NotFound, StoreUnavailable, UpstreamUnavailable
from cheddar.index.events import Events
from cheddar.index.upstreams import Upstreams
from cheddar.index.withdrawals import SAFE, Followed, WithdrawalPolicy, follow, follow_deletion, is_settled
from cheddar.interfaces import IPageCache
from cheddar.model import CachedPage, Event, Fetched, NotModified, Project, Validators

#: Seconds that must lie between two answers that a known project is gone before its listing is.
CONFIRMATION = 600.0
#: Seconds after its last confirmation for which a listing is kept against an older one of the same upstream's. By then
#: no cache in between is behind: upstream was rebuilt, and counts anew.
SERIAL_BELIEF = 86_400.0
#: Seconds after which to ask again for a listing that came older than it was.
SERIAL_WAIT = 30
#: The part of their time by which listings are brought up to date early, each by another bit of it: those that were
#: fetched together are not due together for ever.
JITTER = 0.1


@define(eq=False)
class Learning:
    """
    Keeps listings in the store as upstream has them, within what is first seen stays so.

    @ivar _index: the name of the remote index.
    @ivar _events: told of what upstream takes back.
    @ivar _short_ttl: seconds that a listing is good for.
    @ivar _negative_ttl: seconds that "no such project" is good for.
    """

    _index: str
    _upstreams: Upstreams
    _pages: IPageCache
    _clock: IReactorTime
    _events: Events
    _short_ttl: float
    _negative_ttl: float
    _policy: WithdrawalPolicy = SAFE
    _changes: Turns = field(factory=Turns, init=False)

    _log = Logger()

    def is_due(self, page: CachedPage, early: float = 0.0) -> bool:
        """
        Plain call. Whether upstream is to be asked again.

        @param early: seconds by which a listing is due before its time.
        """
        if page.project is not None and not self._upstreams.knows(page.project, page.validators.url):
            # The settings are others than when it was fetched.
            return True
        return not self.younger(page, self._negative_ttl if page.project is None else self._short_ttl - early)

    def due_at(self, page: CachedPage) -> float:
        """Plain call. When a listing is due, in seconds since the epoch; a time past where it is."""
        return page.checked_at + self._short_ttl if not self.is_due(page) else 0.0

    def is_due_soon(self, name: str, page: CachedPage) -> bool:
        """Plain call. Whether upstream is to be asked again by whoever is ahead of the clients that ask here."""
        # Not by chance: every node comes to the same. By the time too: what comes early now comes late another time.
        part = crc32(f"{name} {page.checked_at:.0f}".encode()) / 2**32
        return self.is_due(page, JITTER * self._short_ttl * part)

    @property
    def earliest(self) -> float:
        """The age in seconds from which on a listing may be due soon."""
        return (1 - JITTER) * self._short_ttl

    def younger(self, page: CachedPage, seconds: float) -> bool:
        """Plain call. Whether upstream confirmed C{page} within so many seconds."""
        # A clock that was set back makes ages negative: such a page is due.
        return 0 <= self._clock.seconds() - page.checked_at < seconds

    @returns_deferred
    async def ask(self, name: str, asked_at: Callable[[], float | None]) -> tuple[CachedPage, bool]:
        """
        Ask upstream, and remember what it says.

        @param asked_at: when a client last asked, as far as this process knows by then.
        @return: the listing, and whether it was learned now; else the store had it already, from somebody else.
        @raise UpstreamUnavailable: [UpstreamBroken, StoreUnavailable]
        """
        page = await self._pages.get(self._index, name)
        if page is not None and not self.is_due_soon(name, page):
            return page, False  # somebody was faster: another request, another node
        known = page
        if page is not None and not is_settled(page, self._policy):
            known = None  # "not modified" would leave it so
        answer: Fetched | NotModified | None
        try:
            answer = await self._upstreams.fetch_project(name, known)
        except NotFound:
            answer = None
        return await self._changes.take(name, lambda: self._learn(name, answer, asked_at)), True

    @returns_deferred
    async def change(self, name: str, change: Callable[[Project], Project]) -> CachedPage | None:
        """Change what is remembered of a listing, where it still is. @return: as it is then."""

        async def work() -> CachedPage | None:
            page = await self._pages.get(self._index, name)
            if page is None or page.project is None:
                return None
            page = evolve(page, project=change(page.project))
            await self._pages.put(self._index, name, page)
            return page

        return await self._changes.take(name, work)

    async def _learn(
        self, name: str, answer: Fetched | NotModified | None, asked_at: Callable[[], float | None]
    ) -> CachedPage:
        """Remember upstream's answer (None: there is no such project) beside what is known by now."""
        page = await self._pages.get(self._index, name)
        events: Sequence[Event] = ()
        if answer is None:
            new, events = self._missing(page)
        elif isinstance(answer, Fetched):
            self._refuse_older(name, page, answer)
            followed = follow(page, evolve(answer.project, index=self._index), self._policy, self._now())
            new, events = _page(followed, CachedPage(None, answer.validators)), followed.events
        elif page is None or page.project is None:
            raise UpstreamUnavailable(f"The listing of {name} was dropped while upstream confirmed it. Ask again.", 1)
        else:
            new = evolve(page, missing_since=None)
        now = self._clock.seconds()
        asked = [when for when in (None if page is None else page.asked_at, asked_at()) if when is not None]
        new = evolve(new, checked_at=now, asked_at=max(asked, default=now))
        # Before it takes effect: an event is told at least once, never not at all.
        await self._events.tell(events)
        try:
            if page is not None and evolve(new, checked_at=page.checked_at, asked_at=page.asked_at) == page:
                await self._pages.mark_checked(self._index, name, now)
            else:
                await self._pages.put(self._index, name, new)
        except (NoRoom, StoreUnavailable) as error:
            # The store could be read a moment ago, so whose name it is was answered. What cannot be kept is passed on.
            self._log.warn("The listing of {name} is passed on and not kept: {error}", name=name, error=error)
        return new

    def _refuse_older(self, name: str, page: CachedPage | None, answer: Fetched) -> None:
        """
        A cache between upstream and here may be behind: what is known is not given up for what was before it.

        @raise UpstreamUnavailable: it is older.
        """
        if page is None or page.project is None or not self.younger(page, SERIAL_BELIEF):
            return
        known, now = page.validators, answer.validators
        if known.url == now.url and known.serial is not None and now.serial is not None and now.serial < known.serial:
            raise UpstreamUnavailable(
                f"Upstream sent a listing of {name} (serial {now.serial}) that is older than the one that is known "
                f"(serial {known.serial}). That one is kept; ask again for what is newer.",
                SERIAL_WAIT,
            )

    def _missing(self, page: CachedPage | None) -> tuple[CachedPage, Sequence[Event]]:
        """Upstream says that there is no such project: believed at once only of a project never seen."""
        now = self._clock.seconds()
        if page is None:
            return CachedPage(None), ()
        if page.project is None:
            return CachedPage(None, withdrawn=page.withdrawn), ()
        if page.missing_since is None:
            return evolve(page, missing_since=now), ()
        if now - page.missing_since < CONFIRMATION:
            return page, ()
        # It was as certain when it was last asked: then that was followed.
        told = page.checked_at - page.missing_since >= CONFIRMATION
        followed = follow_deletion(page, self._policy, self._now(), told=told)
        # Where it is kept: the very same listing, should it come back, is news.
        return evolve(_page(followed, page), validators=Validators()), followed.events

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.seconds(), timezone.utc)


def _page(followed: Followed, before: CachedPage) -> CachedPage:
    return evolve(before, project=followed.project, withdrawn=followed.withdrawn)
