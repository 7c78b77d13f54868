"""
The remote index: another server's projects, remembered.

What was seen once is served for as long as it takes: upstream decides what is new, never whether Cheddar works.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, TimeoutError, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cheddar import metrics
from cheddar.deferreds import SingleFlight, returns_deferred
from cheddar.errors import (
    AddressRefused,
    CheddarError,
    NotFound,
    Unavailable,
    UpstreamBroken,
    UpstreamUnavailable,
)
from cheddar.index.downloads import Downloads
from cheddar.index.events import Events
from cheddar.index.kept_metadata import PassedMetadata
from cheddar.index.kept_provenance import KeptProvenance
from cheddar.index.learning import Learning
from cheddar.index.listings import find_file, pin_file, replace_files, storage_key
from cheddar.index.made_metadata import Listing, MadeMetadata
from cheddar.index.remembered import Remembered, weight_of
from cheddar.index.reservations import Reservations
from cheddar.index.upstreams import Upstreams
from cheddar.index.withdrawals import SAFE, WithdrawalPolicy, why_not_offered
from cheddar.interfaces import IAuditLog, IChanges, IFileStorage, IIndex, IPageCache, IRefreshable, IStoredFile
from cheddar.model import CachedPage, File, Project

#: Seconds for which a page read from the store is believed, where the store does not tell of changes.
BELIEF = 1.0
#: Files in the pages that are remembered, all together.
MAX_FILES_KEPT = 20_000
#: Seconds between two notes in the store that a project is asked for.
TOUCH_INTERVAL = 60.0
#: Seconds after a refresh that failed in which the next request does not start another.
PAUSE = 5.0
#: Listings looked at in one turn of the refresh loop.
MAX_PER_TURN = 500


def _no_names() -> Deferred[frozenset[str]]:
    return succeed(frozenset())


@implementer(IIndex, IRefreshable)
class RemoteIndex:
    """See the module."""

    name = "remote"
    log = Logger()

    def __init__(
        self,
        upstreams: Upstreams,
        pages: IPageCache,
        downloads: Downloads,
        storage: IFileStorage,
        clock: IReactorTime,
        changes: IChanges,
        *,
        short_ttl: float,
        long_ttl: float,
        negative_ttl: float,
        wait: float,
        owns: Callable[[str], Deferred[bool]],
        owned_names: Callable[[], Deferred[frozenset[str]]] = _no_names,
        concurrency: int = 4,
        made: MadeMetadata | None = None,
        reservations: Reservations | None = None,
        policy: WithdrawalPolicy = SAFE,
        audit: IAuditLog | None = None,
    ) -> None:
        """
        @param upstreams: where there are none, this index has nothing.
        @param changes: tells what has changed of C{pages}.
        @param short_ttl: seconds that a listing is served without asking upstream.
        @param long_ttl: seconds after the last request during which a listing goes on being refreshed.
        @param negative_ttl: seconds that upstream's "no such project" is remembered.
        @param wait: seconds that a client waits for a listing that is not here.
        @param owns: whether a name is the local index's; upstream is never asked for such a name.
        @param owned_names: all such names that are taken; they are not listed here.
        @param concurrency: listings that L{refresh} fetches at a time.
        @param made: makes the core metadata that upstream does not have; None: nobody does.
        @param reservations: names that are not shown, whatever is remembered of them; they are among those of C{owns}.
        @param policy: what becomes of what upstream takes back.
        @param audit: where that is noted.
        """
        self._upstreams = upstreams
        self._pages = pages
        self._downloads = downloads
        self._clock = clock
        self._short_ttl = short_ttl
        self._long_ttl = long_ttl
        self._learning = Learning(
            self.name, upstreams, pages, clock, Events(clock, audit), short_ttl, negative_ttl, policy
        )
        self._wait = wait
        self._owns = owns
        self._owned_names = owned_names
        self._reservations = reservations or Reservations()
        self._concurrency = concurrency
        self._known: Remembered[CachedPage | None] = Remembered(clock, changes, _weight, MAX_FILES_KEPT, BELIEF)
        self._fetches: SingleFlight[CachedPage] = SingleFlight()
        self._passed = PassedMetadata(upstreams, storage)
        self._provenance = KeptProvenance(upstreams, storage, clock, wait)
        self._made = made
        self._failed: dict[str, float] = {}

    @returns_deferred
    async def project_names(self) -> tuple[str, ...]:
        """See L{IIndex}: the names of the listings that are remembered; upstream's whole list is never fetched."""
        if not self._upstreams:
            return ()
        owned = await self._owned_names()
        return self._reservations.without(name for name in await self._pages.names(self.name) if name not in owned)

    @returns_deferred
    async def project(self, name: str) -> Project:
        """See L{IIndex}."""
        page, source = await self._page(name)
        metrics.pages_served.labels(source).inc()
        if page.project is None:
            raise self._no_project(name, deleted=bool(page.withdrawn))
        metrics.page_age.observe(max(0.0, self._clock.seconds() - page.checked_at))
        if source == "upstream":
            return page.project
        return evolve(page.project, checked_at=page.checked_at, good_until=self._good_until(page))

    def _good_until(self, page: CachedPage) -> float:
        """Until it is due, or, where it is, asked for behind the next request."""
        return max(self._learning.due_at(page), self._clock.seconds() + BELIEF)

    def asked(self, name: str) -> None:
        """See L{IIndex}."""
        page = self._known.last(name)
        if page is not None:
            self._note_request(name, page)

    @returns_deferred
    async def current(self, name: str) -> Project:
        """As L{project}, for who can wait: a listing that is due is asked for before, where upstream answers."""
        page, source = await self._page(name)
        if source == "due":
            try:
                page = await self._fetch_patiently(name)
            except Unavailable as error:
                self.log.warn("{name} is taken as it was: {error}", name=name, error=error)
        if page.project is None:
            raise self._no_project(name, deleted=bool(page.withdrawn))
        return page.project

    @returns_deferred
    async def file(self, project: str, filename: str, digest: str | None) -> IStoredFile:
        """See L{IIndex}."""
        file = await self._file(project, filename, digest)

        def pin(pinned: File) -> Deferred[str]:
            return self._pin(project, pinned)

        def arrived() -> None:
            if self._made is not None:
                self._made.arrived(self._listing(project), file)

        return await self._downloads.follow(storage_key(project, file), file, pin, arrived, project)

    @returns_deferred
    async def core_metadata(self, project: str, filename: str, digest: str | None) -> bytes:
        """See L{IIndex}."""
        file = await self._file(project, filename, digest)
        if file.core_metadata is not None and not file.made_metadata:
            try:
                return await self._passed.get(project, file)
            except AddressRefused:
                raise
            except (NotFound, UpstreamBroken):
                # What upstream has now is not what was first seen: that may still be in the file itself.
                data = None if self._made is None else await self._made.again(project, file)
                if data is None:
                    raise
                return data
        if self._made is None:
            raise NotFound(f"Upstream offers no separate core metadata for {filename}.")
        return await self._made.get(self._listing(project), file)

    @returns_deferred
    async def provenance(self, project: str, filename: str, digest: str | None) -> bytes:
        """See L{IIndex}."""
        file = await self._file(project, filename, digest)
        if file.provenance is None:
            raise NotFound(f"Upstream offers no provenance for {filename}.")
        return await self._provenance.get(project, file)

    @returns_deferred
    async def refresh(self) -> int:
        """See L{IRefreshable}: listings that are due soon and were asked for lately, the most wanted first."""
        if not self._upstreams or self._upstreams.offline:
            return 0
        now = self._clock.seconds()
        due = await self._pages.stale(self.name, now - self._learning.earliest, now - self._long_ttl, MAX_PER_TURN)
        places = DeferredSemaphore(self._concurrency)
        results = await gatherResults([places.run(self._refresh_one, name) for name in due])
        count = sum(results)
        metrics.listings_refreshed.inc(count)
        return count

    def _no_project(self, name: str, *, deleted: bool = False) -> NotFound:
        if not deleted:
            return self._reservations.no_project(name)
        why = f"Upstream has no project {name} any more, so its files are not offered (the setting ON_REMOVED)."
        return NotFound(self._reservations.explain(name, why))

    # Pages

    async def _page(self, name: str) -> tuple[CachedPage, str]:
        """The page to go by now, maybe one that says that there is no such project; and where it is from."""
        if not self._upstreams or await self._owns(name):
            raise self._no_project(name)
        page = await self._remembered(name)
        if page is None:
            return await self._fetch_patiently(name), "upstream"
        self._note_request(name, page)
        if page.project is None:
            if not self._learning.is_due(page):
                return page, "negative"
            # An old "no" is worth nothing: upstream is asked, and its failure is not a "no".
            return await self._fetch_patiently(name), "upstream"
        if not self._learning.is_due(page):
            return page, "fresh"
        if not self._upstreams.offline:
            self._refresh_behind(name)
        return page, "due"

    async def _remembered(self, name: str) -> CachedPage | None:
        return await self._known.find(name, lambda: self._read(name))

    @returns_deferred
    async def _read(self, name: str) -> CachedPage | None:
        page = await self._pages.get(self.name, name)
        self._consider(name, page)
        return page

    def _note_request(self, name: str, page: CachedPage) -> None:
        now = self._clock.seconds()
        if not 0 <= now - page.asked_at < TOUCH_INTERVAL:
            self._known.amend(name, page, evolve(page, asked_at=now))
            self._pages.touch(self.name, name, now).addErrback(self._failed_behind, name)

    def _refresh_behind(self, name: str) -> None:
        if not 0 <= self._clock.seconds() - self._failed.get(name, -PAUSE) < PAUSE:
            self._fetch(name).addErrback(self._failed_behind, name)

    def _failed_behind(self, failure: Failure, name: str) -> None:
        if isinstance(failure.value, CheddarError):
            self.log.warn("{name} is served as it was: {error}", name=name, error=failure.value)
        else:
            self.log.failure("{name} could not be brought up to date", name=name, failure=failure)

    async def _fetch_patiently(self, name: str) -> CachedPage:
        waiting = self._fetch(name)
        waiting.addTimeout(self._wait, self._clock)
        try:
            return await waiting
        except TimeoutError as error:
            raise UpstreamUnavailable(
                f"Upstream has not answered for {name} in {self._wait:g} s. Ask again: the answer is still waited for."
            ) from error

    def _fetch(self, name: str) -> Deferred[CachedPage]:
        return self._fetches.run(name, lambda: self._fetch_now(name))

    @returns_deferred
    async def _fetch_now(self, name: str) -> CachedPage:
        before = self._known.moment(name)
        try:
            page, learned = await self._learning.ask(name, partial(self._asked_at, name))
        except Exception:
            if len(self._failed) > MAX_PER_TURN:
                self._failed.clear()
            self._failed[name] = self._clock.seconds()
            raise
        self._failed.pop(name, None)
        self._known.keep(name, page, None if learned else before)
        self._consider(name, page)
        return page

    def _asked_at(self, name: str) -> float | None:
        page = self._known.last(name)
        return None if page is None else page.asked_at

    @returns_deferred
    async def _refresh_one(self, name: str) -> int:
        try:
            page = await self._pages.get(self.name, name)
            if page is None:
                return 0
            if page.project is None and page.withdrawn:
                return 0  # remembered for the digests of its files
            if page.project is None or await self._owns(name):
                # Nothing to keep fresh: a client that asks gets upstream's answer of then, or the local project.
                await self._pages.drop(self.name, name)
                return 0
            if not self._learning.is_due_soon(name, page):
                return 0
            await self._fetch(name)
        except CheddarError as error:
            self.log.warn("{name} could not be refreshed: {error}", name=name, error=error)
            return 0
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - whatever one project does, the others get their turn
            self.log.failure("{name} could not be refreshed", name=name)
            return 0
        return 1

    # Files

    async def _file(self, name: str, filename: str, digest: str | None) -> File:
        page, source = await self._page(name)
        file = None if page.project is None else find_file(page.project, filename, digest)
        if file is None and source == "due":
            # A lock file may name what is newer than the listing here.
            page = await self._fetch_patiently(name)
            file = None if page.project is None else find_file(page.project, filename, digest)
        if file is None:
            why = why_not_offered(page, filename)
            raise NotFound(why or f"{name} lists no file {filename} with this digest. Ask for its page again.")
        return file

    @returns_deferred
    async def _pin(self, name: str, file: File) -> str:
        await self._change(name, lambda project: pin_file(project, file))
        return storage_key(name, file)

    @returns_deferred
    async def _change(self, name: str, change: Callable[[Project], Project]) -> None:
        """Change what is remembered of a listing, where it still is."""
        page = await self._learning.change(name, change)
        if page is not None:
            self._known.keep(name, page)

    # Core metadata that is made here

    def _consider(self, name: str, page: CachedPage | None) -> None:
        if self._made is not None and page is not None and page.project is not None:
            self._made.consider(self._listing(name), page.project)

    def _listing(self, name: str) -> Listing:
        def replace(changes: Sequence[tuple[File, File]]) -> Deferred[None]:
            return self._change(name, lambda project: replace_files(project, changes))

        return Listing(name, partial(self._present, name), replace)

    @returns_deferred
    async def _present(self, name: str) -> Project | None:
        if await self._owns(name):
            return None
        page = await self._pages.get(self.name, name)
        return None if page is None else page.project


def _weight(page: CachedPage | None) -> int:
    return weight_of(None if page is None else page.project)
