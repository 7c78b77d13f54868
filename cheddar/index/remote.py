"""
The remote index: another server's projects, remembered.

What was seen once is served for as long as it takes: upstream decides what is new, never whether Cheddar works.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, TimeoutError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cheddar import metrics
from cheddar.deferreds import SingleFlight, Turns, returns_deferred
from cheddar.errors import (
    CheddarError,
    NotFound,
    UpstreamBroken,
    UpstreamUnavailable,
)
from cheddar.index.downloads import Downloads
from cheddar.index.kept_metadata import PassedMetadata
from cheddar.index.listings import find_file, keep_first_seen, pin_file, replace_files, storage_key
from cheddar.index.made_metadata import Listing, MadeMetadata
from cheddar.interfaces import IFileStorage, IIndex, IPageCache, IRefreshable, IStoredFile, IUpstream
from cheddar.model import CachedPage, Fetched, File, NotModified, Project, Validators

#: Seconds for which a page read from the store is believed: how late another process's change may be seen.
BELIEF = 1.0
#: Files in the pages kept that way, all together.
MAX_FILES_KEPT = 50_000
#: Seconds between two notes in the store that a project is asked for.
TOUCH_INTERVAL = 60.0
#: Seconds that must lie between two answers that a known project is gone before its listing is.
CONFIRMATION = 600.0
#: Seconds after a refresh that failed in which the next request does not start another.
PAUSE = 5.0
#: Listings looked at in one turn of the refresh loop.
MAX_PER_TURN = 500


@implementer(IIndex, IRefreshable)
class RemoteIndex:
    """See the module."""

    name = "remote"
    log = Logger()

    def __init__(
        self,
        upstream: IUpstream | None,
        pages: IPageCache,
        downloads: Downloads,
        storage: IFileStorage,
        clock: IReactorTime,
        *,
        short_ttl: float,
        long_ttl: float,
        negative_ttl: float,
        wait: float,
        owns: Callable[[str], Deferred[bool]],
        concurrency: int = 4,
        made: MadeMetadata | None = None,
    ) -> None:
        """
        @param upstream: None where there is none: this index then has nothing.
        @param short_ttl: seconds that a listing is served without asking upstream.
        @param long_ttl: seconds after the last request during which a listing goes on being refreshed.
        @param negative_ttl: seconds that upstream's "no such project" is remembered.
        @param wait: seconds that a client waits for a listing that is not here.
        @param owns: whether a name is the local index's; upstream is never asked for such a name.
        @param concurrency: listings that L{refresh} fetches at a time.
        @param made: makes the core metadata that upstream does not have; None: nobody does.
        """
        self._upstream = upstream
        self._pages = pages
        self._downloads = downloads
        self._clock = clock
        self._short_ttl = short_ttl
        self._long_ttl = long_ttl
        self._negative_ttl = negative_ttl
        self._wait = wait
        self._owns = owns
        self._concurrency = concurrency
        self._kept: OrderedDict[str, tuple[float, CachedPage | None]] = OrderedDict()
        self._reads: SingleFlight[CachedPage | None] = SingleFlight()
        self._fetches: SingleFlight[CachedPage] = SingleFlight()
        self._passed = PassedMetadata(upstream, storage)
        self._made = made
        self._changes = Turns()
        self._failed: dict[str, float] = {}

    @returns_deferred
    async def project_names(self) -> tuple[str, ...]:
        """See L{IIndex}: the names of the listings that are remembered; upstream's whole list is never fetched."""
        return () if self._upstream is None else await self._pages.names(self.name)

    @returns_deferred
    async def project(self, name: str) -> Project:
        """See L{IIndex}."""
        page, source = await self._page(name)
        metrics.pages_served.labels(source).inc()
        if page.project is None:
            raise _no_project(name)
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

        return await self._downloads.follow(storage_key(project, file), file, pin, arrived)

    @returns_deferred
    async def core_metadata(self, project: str, filename: str, digest: str | None) -> bytes:
        """See L{IIndex}."""
        file = await self._file(project, filename, digest)
        if file.core_metadata is not None and not file.made_metadata:
            return await self._passed.get(project, file)
        if self._made is None:
            raise NotFound(f"Upstream offers no separate core metadata for {filename}.")
        return await self._made.get(self._listing(project), file)

    @returns_deferred
    async def refresh(self) -> int:
        """See L{IRefreshable}: listings that are due and were asked for lately, the most recently asked first."""
        if self._upstream is None:
            return 0
        now = self._clock.seconds()
        due = await self._pages.stale(self.name, now - self._short_ttl, now - self._long_ttl, MAX_PER_TURN)
        places = DeferredSemaphore(self._concurrency)
        results = await gatherResults([places.run(self._refresh_one, name) for name in due])
        count = sum(results)
        metrics.listings_refreshed.inc(count)
        return count

    # Pages

    async def _page(self, name: str) -> tuple[CachedPage, str]:
        """The page to go by now, maybe one that says that there is no such project; and where it is from."""
        if self._upstream is None or await self._owns(name):
            raise _no_project(name)
        page = await self._remembered(name)
        if page is None:
            return await self._fetch_patiently(name), "upstream"
        self._note_request(name, page)
        if page.project is None:
            if self._younger(page, self._negative_ttl):
                return page, "negative"
            # An old "no" is worth nothing: upstream is asked, and its failure is not a "no".
            return await self._fetch_patiently(name), "upstream"
        if self._younger(page, self._short_ttl):
            return page, "fresh"
        self._refresh_behind(name)
        return page, "due"

    def _younger(self, page: CachedPage, seconds: float) -> bool:
        # A clock that was set back makes ages negative: such a page is due.
        return 0 <= self._clock.seconds() - page.checked_at < seconds

    async def _remembered(self, name: str) -> CachedPage | None:
        kept = self._kept.get(name)
        if kept is not None and 0 <= self._clock.seconds() - kept[0] < BELIEF:
            self._kept.move_to_end(name)
            return kept[1]
        return await self._reads.run(name, lambda: self._read(name))

    @returns_deferred
    async def _read(self, name: str) -> CachedPage | None:
        page = await self._pages.get(self.name, name)
        self._keep(name, page)
        self._consider(name, page)
        return page

    def _keep(self, name: str, page: CachedPage | None) -> None:
        now = self._clock.seconds()
        self._kept[name] = (now, page)
        self._kept.move_to_end(name)
        files = sum(_weight(kept) for _, kept in self._kept.values())
        while self._kept:
            oldest, (read_at, kept) = next(iter(self._kept.items()))
            if oldest == name or (files <= MAX_FILES_KEPT and 0 <= now - read_at < BELIEF):
                break
            files -= _weight(kept)
            del self._kept[oldest]

    def _note_request(self, name: str, page: CachedPage) -> None:
        now = self._clock.seconds()
        if not 0 <= now - page.asked_at < TOUCH_INTERVAL:
            self._keep(name, evolve(page, asked_at=now))
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
        try:
            page = await self._ask(name)
        except Exception:
            if len(self._failed) > MAX_PER_TURN:
                self._failed.clear()
            self._failed[name] = self._clock.seconds()
            raise
        self._failed.pop(name, None)
        self._keep(name, page)
        self._consider(name, page)
        return page

    async def _ask(self, name: str) -> CachedPage:
        """Ask upstream, and remember what it says."""
        page = await self._pages.get(self.name, name)
        if page is not None and self._younger(page, self._negative_ttl if page.project is None else self._short_ttl):
            return page  # somebody was faster: another request, another node
        if self._upstream is None:
            raise _no_project(name)
        answer: Fetched | NotModified | None
        try:
            answer = await self._upstream.fetch_project(name, Validators() if page is None else page.validators)
            if isinstance(answer, NotModified) and (page is None or page.project is None):
                raise UpstreamBroken(f"Upstream says that {name} has not changed, and was not asked that. Try again.")
        except NotFound:
            answer = None
        return await self._changes.take(name, lambda: self._learn(name, answer))

    async def _learn(self, name: str, answer: Fetched | NotModified | None) -> CachedPage:
        """Remember upstream's answer (None: there is no such project) beside what is known by now."""
        page = await self._pages.get(self.name, name)
        if answer is None:
            new = self._missing(page)
        elif isinstance(answer, Fetched):
            known = None if page is None else page.project
            new = CachedPage(evolve(keep_first_seen(known, answer.project), index=self.name), answer.validators)
        elif page is None or page.project is None:
            raise UpstreamUnavailable(f"The listing of {name} was dropped while upstream confirmed it. Ask again.", 1)
        else:
            new = evolve(page, missing_since=None)
        now = self._clock.seconds()
        asked = [kept.asked_at for kept in (page, self._kept.get(name, (0.0, None))[1]) if kept is not None]
        new = evolve(new, checked_at=now, asked_at=max(asked, default=now))
        if page is not None and evolve(new, checked_at=page.checked_at, asked_at=page.asked_at) == page:
            await self._pages.mark_checked(self.name, name, now)
        else:
            await self._pages.put(self.name, name, new)
        return new

    def _missing(self, page: CachedPage | None) -> CachedPage:
        """Upstream says that there is no such project: believed at once only of a project never seen."""
        now = self._clock.seconds()
        if page is None or page.project is None:
            return CachedPage(None)
        if page.missing_since is None:
            return evolve(page, missing_since=now)
        if now - page.missing_since < CONFIRMATION:
            return page
        self.log.warn("{name} is gone from upstream: no longer listed", name=page.project.name)
        return CachedPage(None)

    @returns_deferred
    async def _refresh_one(self, name: str) -> int:
        try:
            page = await self._pages.get(self.name, name)
            if page is None:
                return 0
            if page.project is None or await self._owns(name):
                # Nothing to keep fresh: a client that asks gets upstream's answer of then, or the local project.
                await self._pages.drop(self.name, name)
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
            raise NotFound(f"{name} lists no file {filename} with this digest. Ask for its page again.")
        return file

    @returns_deferred
    async def _pin(self, name: str, file: File) -> str:
        await self._change(name, lambda project: pin_file(project, file))
        return storage_key(name, file)

    @returns_deferred
    async def _change(self, name: str, change: Callable[[Project], Project]) -> None:
        """Change what is remembered of a listing, where it still is."""

        async def work() -> None:
            page = await self._pages.get(self.name, name)
            if page is not None and page.project is not None:
                page = evolve(page, project=change(page.project))
                await self._pages.put(self.name, name, page)
                self._keep(name, page)

        await self._changes.take(name, work)

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
    return 1 if page is None or page.project is None else 1 + len(page.project.files)


def _no_project(name: str) -> NotFound:
    return NotFound(f"There is no project {name} here. Check the spelling.")
