"""
Fetching ahead: everything that files of requirements and lock files name, before anybody asks for it.

It asks the remote index for pages, files and core metadata, as clients would: what it leaves is what the server gives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredSemaphore, FirstError, gatherResults
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import CheddarError, NoRoom, NotFound, StoreUnavailable, UpstreamUnavailable
from cheddar.formats.filenames import is_wheel
from cheddar.formats.links import digest_segment
from cheddar.formats.targets import Target
from cheddar.index.choosing import Choice, choose, choose_locked, find_locked
from cheddar.index.remote import RemoteIndex
from cheddar.interfaces import IArriving
from cheddar.model import Elsewhere, Environment, File, Locked, LockedFile, Named, Project, Wanted, WantedList

#: Listings and files at a time.
CONCURRENCY = 8
#: How often upstream is asked before it is given up, and the most seconds to wait when it says when to come again.
TRIES = 3
MAX_WAIT = 30.0

T = TypeVar("T")

#: Tells how far it is: how many are done, of how many, and how many bytes have come.
Progress = Callable[[int, int, int], None]


@frozen
class Fetched:
    """A file that is here now, or would be."""

    project: str
    filename: str
    size: int | None


@frozen
class Missing:
    """Something that could not be had."""

    what: str
    why: str


@define
class WarmReport:
    """
    What came of it; each sorted.

    @ivar fetched: files that came now; in a dry run, that would be fetched.
    @ivar present: files that were here.
    @ivar local: names of the local index, which upstream is not asked for.
    @ivar at_hand: what lies beside the file that names it, and needs no index.
    @ivar missing: what could not be had.
    @ivar received: bytes of files that came.
    """

    fetched: list[Fetched] = field(factory=list)
    present: list[Fetched] = field(factory=list)
    local: list[str] = field(factory=list)
    at_hand: list[str] = field(factory=list)
    missing: list[Missing] = field(factory=list)
    received: int = 0


@define(eq=False)
class Warming:
    """
    One run.

    @ivar _owns: whether a name is the local index's.
    @ivar _targets: for which Pythons on which platforms; none: for all there may be.
    @ivar _sdist: see L{Choice}.
    @ivar _registries: addresses of indexes that this one stands for.
    @ivar _told_projects: told how far the listings are; C{_told_files}: the same of files.
    """

    _remote: RemoteIndex
    _owns: Callable[[str], Deferred[bool]]
    _clock: IReactorTime
    _targets: Sequence[Target]
    _sdist: str
    _registries: Collection[str]
    _told_projects: Progress
    _told_files: Progress
    _dry: bool = False
    _report: WarmReport = field(factory=WarmReport, init=False)
    _places: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(CONCURRENCY), init=False)
    _files: dict[tuple[str, str], File] = field(factory=dict, init=False)
    _no_room: NoRoom | None = field(default=None, init=False)
    _done: int = field(default=0, init=False)
    _in_vain: bool = field(default=False, init=False)

    @returns_deferred
    async def run(self, lists: Iterable[WantedList]) -> WarmReport:
        """
        Fetch what they name. What cannot be had stops nothing.

        @raise StoreUnavailable: whose name is whose cannot be told.
        """
        wishes = self._wishes(lists)
        await self._each(wishes.items(), self._told_projects, lambda wish: self._plan(*wish))
        await self._each(self._files.items(), self._told_files, lambda planned: self._fetch(planned[0][0], planned[1]))
        report = self._report
        report.fetched.sort(key=lambda file: (file.project, file.filename))
        report.present.sort(key=lambda file: (file.project, file.filename))
        report.local = sorted(set(report.local))
        report.at_hand.sort()
        report.missing = sorted(set(report.missing), key=lambda missing: (missing.what, missing.why))
        return report

    def _wishes(self, lists: Iterable[WantedList]) -> dict[Wanted, list[tuple[Target | None, Environment | None]]]:
        """What is wanted, each with where."""
        wishes: dict[Wanted, list[tuple[Target | None, Environment | None]]] = {}
        places: list[tuple[Target | None, Environment | None]] = [
            (target, environment) for target in self._targets for environment in target.environments
        ]
        for one in lists:
            for target, environment in places or [(None, None)]:
                for wanted in one.wanted(environment):
                    wishes.setdefault(wanted, []).append((target, environment))
        return wishes

    async def _each(self, items: Collection[T], told: Progress, work: Callable[[T], Deferred[None]]) -> None:
        self._done = 0
        told(0, len(items), 0)

        def done(_: None) -> None:
            self._done += 1
            told(self._done, len(items), self._report.received)

        try:
            await gatherResults([self._places.run(work, item).addCallback(done) for item in items], consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()

    # What is wanted

    @returns_deferred
    async def _plan(self, wanted: Wanted, places: Sequence[tuple[Target | None, Environment | None]]) -> None:
        """Find the files that are meant."""
        if isinstance(wanted, Elsewhere):
            if wanted.at_hand:
                self._report.at_hand.append(wanted.what)
            else:
                self._miss(wanted, f"cannot be had from an index: {wanted.why}")
            return
        if await self._owns(wanted.name):
            self._report.local.append(wanted.name)
            return
        if isinstance(wanted, Locked) and not self._stands_for(wanted.registry):
            self._miss(wanted, f"it is from another index: {wanted.registry} (--registry, if this one stands for it)")
            return
        try:
            project = await self._patiently(lambda: self._remote.current(wanted.name))
        except StoreUnavailable:
            raise
        except CheddarError as error:
            self._miss(wanted, str(error))
            return
        if isinstance(wanted, Named):
            self._choose(project, wanted, places)
        else:
            self._choose_locked(project, wanted, places)

    def _choose(
        self, project: Project, wanted: Named, places: Sequence[tuple[Target | None, Environment | None]]
    ) -> None:
        reasons: dict[Target | None, str] = {}
        served: set[Target | None] = set()
        for target, environment in places:
            try:
                chosen = choose(project, wanted, Choice(target, self._sdist), environment)
            except NotFound as error:
                reasons[target] = str(error)
            else:
                served.add(target)
                self._files.update({(project.name, file.filename): file for file in chosen})
        for target, why in reasons.items():
            # Of some patch releases of a Python that was named without is enough.
            if target not in served:
                self._miss(wanted, why)

    def _choose_locked(
        self, project: Project, wanted: Locked, places: Sequence[tuple[Target | None, Environment | None]]
    ) -> None:
        files: dict[str, LockedFile] = {}
        for target in dict.fromkeys(target for target, _ in places):
            try:
                files.update({file.filename: file for file in choose_locked(wanted, Choice(target, self._sdist))})
            except NotFound as error:
                if wanted.certain:
                    self._miss(wanted, str(error))
        for file in files.values():
            try:
                self._files[project.name, file.filename] = find_locked(project, file)
            except CheddarError as error:
                self._miss(file.filename, str(error))

    def _stands_for(self, registry: str) -> bool:
        return not registry or any(_plain(registry).startswith(_plain(url)) for url in self._registries)

    def _miss(self, what: object, why: str) -> None:
        self._report.missing.append(Missing(str(what), why))

    # Fetching it

    @returns_deferred
    async def _fetch(self, name: str, file: File) -> None:
        what = file.filename
        try:
            await self._patiently(lambda: self._fetch_file(name, file))
            if not self._dry:
                what = f"{file.filename}.metadata"
                await self._patiently(lambda: self._fetch_core_metadata(name, file))
        except StoreUnavailable:
            raise
        except CheddarError as error:
            self._miss(what, str(error))

    @returns_deferred
    async def _fetch_file(self, name: str, file: File) -> None:
        stored = await self._remote.file(name, file.filename, digest_segment(file))
        if not IArriving.providedBy(stored):
            self._report.present.append(Fetched(name, file.filename, stored.size))
            return
        if not self._dry:
            if self._no_room is not None:
                raise self._no_room
            await stored.send(_Counter(self._count), 0, None)
            stored = await self._remote.file(name, file.filename, digest_segment(file))
            if IArriving.providedBy(stored):
                self._no_room = NoRoom("There is no room to keep it.")
                raise self._no_room
        self._report.fetched.append(Fetched(name, file.filename, stored.size))

    @returns_deferred
    async def _fetch_core_metadata(self, name: str, file: File) -> None:
        offered = file.core_metadata is not None and not file.made_metadata
        if not offered and not is_wheel(file.filename):
            return
        try:
            await self._remote.core_metadata(name, file.filename, digest_segment(file))
        except NotFound:
            if offered:
                raise

    def _count(self, count: int) -> None:
        self._report.received += count
        self._told_files(self._done, len(self._files), self._report.received)

    @returns_deferred
    async def _patiently(self, work: Callable[[], Deferred[T]]) -> T:
        """
        Upstream that is busy, or in trouble for a moment, is asked again; once it was in vain for one, the others do
        not wait too, until it answers.
        """
        left = TRIES
        while True:
            left -= 1
            try:
                result = await work()
            except UpstreamUnavailable as error:
                if not left:
                    self._in_vain = True
                if self._in_vain or not error.retry_after:
                    raise
                # What is told is rounded, and after a pause one request goes ahead of the others.
                wait = min(error.retry_after + 1, MAX_WAIT)
            else:
                self._in_vain = False
                return result
            await deferLater(self._clock, wait)


@implementer(IConsumer)
@define(eq=False)
class _Counter:
    """Takes the bytes of a file, and counts them: it is kept where it comes from."""

    _count: Callable[[int], None]

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """There is nothing to slow down."""

    def unregisterProducer(self) -> None:
        """There is nothing to wait for."""

    def write(self, data: bytes) -> None:
        """The next bytes."""
        self._count(len(data))


def _plain(url: str) -> str:
    """An address without its login, with one slash at its end."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/") + "/"
