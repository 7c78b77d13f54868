"""
Core metadata of wheels for which upstream has none, read out of the wheels themselves: a few small parts of each, never
the whole.

These bytes come from the same place as the wheel, and cannot be compared with its digest, which is that of the whole:
they are believed as upstream's own C{.metadata} without a digest would be, until the wheel itself comes and is
verified. Then its METADATA is compared with what was made, and what was made wrongly is dropped for good: installers
give up where a wheel is other than its metadata said (PEP 658), and keep the metadata that they once got.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from cheddar.deferreds import SingleFlight, returns_deferred
from cheddar.errors import CheddarError, Invalid, NoRoom, NotFound, UpstreamUnavailable
from cheddar.formats.filenames import is_wheel
from cheddar.formats.links import digest_segment
from cheddar.index.behind import WorkBehind
from cheddar.index.kept_metadata import is_as_told, keep, metadata_key, read_kept
from cheddar.index.listings import COMPARED_DIGESTS, find_file, storage_key
from cheddar.index.upstreams import Upstreams
from cheddar.index.wheel_metadata import WheelMetadata, WheelReader
from cheddar.interfaces import IFileStorage
from cheddar.model import STRONG_DIGESTS, File, Project

#: The newest releases of a listing in use for which it is made before anybody asks.
NEWEST = 5
#: Releases at a time, and how many may wait.
CONCURRENCY = 2
MAX_WAITING = 1000
#: Seconds in which the clients that brought a listing into use go first.
DELAY = 1.0
#: Seconds in which nothing is tried again that nobody asks for, and of how many files that is remembered.
PAUSE = 3600.0
MAX_REMEMBERED = 20_000

T = TypeVar("T")


@frozen
class Listing:
    """
    A listing that can be changed, as the index that keeps it gives it.

    @ivar name: of the project.
    @ivar present: what it says now; None where upstream's project of that name is not offered any more.
    @ivar replace: puts files in the place of others, where the listing still says what it said before.
    """

    name: str
    present: Callable[[], Deferred[Project | None]]
    replace: Callable[[Sequence[tuple[File, File]]], Deferred[None]]


@frozen
class _Outcome:
    """
    What came of making it.

    @ivar file: as the listing is to have it.
    @ivar raw: METADATA; None: there is none, and C{why}.
    @ivar compare: whether it is yet to be compared with the wheel.
    """

    file: File
    raw: bytes | None
    why: str = ""
    compare: bool = False


class MadeMetadata:
    """Makes core metadata: when asked for it, and for the newest releases before that."""

    log = Logger()

    def __init__(
        self,
        upstreams: Upstreams,
        storage: IFileStorage,
        reactor: Any,
        pool: ThreadPool,
        clock: IReactorTime,
        newest: int = NEWEST,
    ) -> None:
        """
        @param storage: where upstream's files are.
        @param reactor: IReactorFromThreads.
        @param pool: where archives are read.
        @param newest: of how many releases it is made before anybody asks.
        """
        self._newest = newest
        self._storage = storage
        self._clock = clock
        self._wheels = WheelReader(upstreams, storage, reactor, pool)
        self._makes: SingleFlight[_Outcome] = SingleFlight()
        self._answers: SingleFlight[_Outcome] = SingleFlight()
        self._behind = WorkBehind(clock, concurrency=CONCURRENCY, limit=MAX_WAITING, delay=DELAY)
        self._tried: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._under_way: set[Deferred[Any]] = set()
        self._stopped = False

    @returns_deferred
    async def get(self, listing: Listing, file: File) -> bytes:
        """
        The core metadata of a file for which upstream has none, made now where it was not before.

        @raise NotFound: it cannot be made. [UpstreamUnavailable, UpstreamBroken]
        """
        key = metadata_key(listing.name, file)
        if file.core_metadata is not None:
            try:
                return await read_kept(self._storage, key, file)
            except NotFound:
                # Storage was emptied, or another node made it: what is made now must be the same.
                pass
        elif not _can_be_made(file):
            raise NotFound(f"Upstream offers no separate core metadata for {file.filename}, and none can be made.")
        outcome = await self._unless_stopped(self._answers.run(key, lambda: self._tracked(self._answer(listing, file))))
        if outcome.raw is None:
            raise NotFound(f"There is no separate core metadata for {file.filename}: {outcome.why}")
        return outcome.raw

    @returns_deferred
    async def again(self, name: str, file: File) -> bytes | None:
        """
        The core metadata that was first seen of a file whose upstream has it no more, out of the file.

        @param name: of the project.
        @return: None where it is other, or cannot be made.
        """
        if not is_wheel(file.filename) or not any(name in (file.core_metadata or ()) for name in STRONG_DIGESTS):
            return None
        try:
            outcome = await self._unless_stopped(self._outcome(name, file))
        except CheddarError as error:
            self.log.info("No core metadata could be made of {name}: {error}", name=file.filename, error=error)
            return None
        return outcome.raw

    async def _unless_stopped(self, work: Deferred[_Outcome]) -> _Outcome:
        try:
            return await work
        except CancelledError:
            if self._stopped:
                raise UpstreamUnavailable("Cheddar is stopping.") from None
            raise

    def consider(self, listing: Listing, project: Project) -> None:
        """Plain call. This listing is in use: what its newest releases lack is made a little later."""
        for version, wheels in _newest_wheels(project, self._newest):
            lacking = [file for file in wheels if _can_be_made(file) and not self._tried_lately(listing.name, file)]
            if lacking:
                self._behind.add((listing.name, version), partial(self._make_behind, listing, lacking))

    def arrived(self, listing: Listing, file: File) -> None:
        """Plain call. The wheel is here now, and verified: what was made of it before is compared with it."""
        if is_wheel(file.filename) and not self._stopped:
            self._tracked(self._compare(listing, file)).addErrback(self._not_compared, file)

    def left(self) -> int:
        """Plain call. How much waits to be done, or is being done."""
        return self._behind.left() + len(self._under_way)

    @returns_deferred
    async def stop(self) -> None:
        """Break off what is under way, and wait until it is over."""
        self._stopped = True
        await self._behind.stop()
        under_way = list(self._under_way)
        ended = DeferredList(under_way)
        for work in under_way:
            work.cancel()
        await ended

    def _tracked(self, work: Deferred[T]) -> Deferred[T]:
        self._under_way.add(work)

        def over(result: T) -> T:
            self._under_way.discard(work)
            return result

        return work.addBoth(over)

    # On demand, and behind

    @returns_deferred
    async def _answer(self, listing: Listing, file: File) -> _Outcome:
        outcome = await self._outcome(listing.name, file)
        await self._note(listing, [(file, outcome)])
        return outcome

    @returns_deferred
    async def _make_behind(self, listing: Listing, files: Sequence[File]) -> None:
        """Make what these files of one release lack; the listing is written once for all of them."""
        project = await listing.present()
        outcomes: list[tuple[File, _Outcome]] = []
        for file in files:
            now = None if project is None else find_file(project, file.filename, digest_segment(file))
            if now is None or not _can_be_made(now):
                continue
            self._remember(listing.name, file)
            try:
                outcomes.append((now, await self._outcome(listing.name, now)))
            except NotFound as error:
                self.log.debug("No core metadata is made of {name}: {error}", name=file.filename, error=error)
            except CheddarError as error:
                self.log.info("No core metadata could be made of {name}: {error}", name=file.filename, error=error)
        await self._note(listing, outcomes)

    async def _note(self, listing: Listing, outcomes: Sequence[tuple[File, _Outcome]]) -> None:
        """Bring outcomes into the listing: from the next answer on it says what there is."""
        changes = [(file, outcome.file) for file, outcome in outcomes if outcome.file != file]
        if not changes:
            return
        try:
            await listing.replace(changes)
        except NoRoom as error:
            self.log.warn("The listing of {name} stays as it was: {error}", name=listing.name, error=error)
            return
        for _, outcome in outcomes:
            # The wheel may have come while this was made: it was compared with nothing then.
            if outcome.compare and await self._is_here(storage_key(listing.name, outcome.file)):
                await self._compare(listing, outcome.file)

    async def _is_here(self, key: str) -> bool:
        try:
            await self._storage.open(key)
        except NotFound:
            return False
        return True

    def _tried_lately(self, name: str, file: File) -> bool:
        tried = self._tried.get((name, file.filename, digest_segment(file)))
        return tried is not None and 0 <= self._clock.seconds() - tried < PAUSE

    def _remember(self, name: str, file: File) -> None:
        key = (name, file.filename, digest_segment(file))
        self._tried[key] = self._clock.seconds()
        self._tried.move_to_end(key)
        if len(self._tried) > MAX_REMEMBERED:
            self._tried.popitem(last=False)

    # One file

    def _outcome(self, name: str, file: File) -> Deferred[_Outcome]:
        return self._makes.run(metadata_key(name, file), lambda: self._tracked(self._make(name, file)))

    @returns_deferred
    async def _make(self, name: str, file: File) -> _Outcome:
        key = metadata_key(name, file)
        if file.size is not None:
            try:
                # Left from a listing that was dropped since.
                return _made(file, await read_kept(self._storage, key, file), file.size, compare=False)
            except NotFound:
                pass
        try:
            read = await self._read(name, file)
        except Invalid as error:
            self.log.info("No core metadata can be made of {name}: {error}", name=file.filename, error=error)
            return _Outcome(_without(file), None, str(error))
        except NotFound as error:
            if file.core_metadata is None:
                raise
            # It was made once, and is neither here nor to be had: nobody is to be told that it is.
            return _Outcome(evolve(file, core_metadata=None, made_metadata=False), None, str(error))
        if not is_as_told(read.raw, file.core_metadata):
            self.log.warn("Upstream's {name} has other core metadata than before", name=file.filename)
            return _Outcome(_without(file), None, "upstream's file is not what it was.")
        if not await keep(self._storage, key, read.raw):
            return _Outcome(file, read.raw)
        return _made(file, read.raw, read.size, compare=not read.verified)

    async def _read(self, name: str, file: File) -> WheelMetadata:
        stored = await self._wheels.from_storage(storage_key(name, file), file)
        return await self._wheels.from_upstream(file) if stored is None else stored

    @returns_deferred
    async def _compare(self, listing: Listing, file: File) -> None:
        """Compare what was made of a wheel with the wheel, which is here."""
        project = await listing.present()
        now = None if project is None else find_file(project, file.filename, digest_segment(file))
        if now is None or now.core_metadata is None or not now.made_metadata:
            return
        try:
            read = await self._wheels.from_storage(storage_key(listing.name, now), now)
            if read is None or is_as_told(read.raw, now.core_metadata):
                return
        except Invalid:
            # What was read in parts was not this wheel.
            pass
        self.log.warn(
            "The core metadata made of {name} is not that of the wheel which came now: dropped", name=now.filename
        )
        await listing.replace([(now, _without(now))])
        await self._storage.delete(metadata_key(listing.name, now))

    def _not_compared(self, failure: Failure, file: File) -> None:
        if not isinstance(failure.value, CancelledError):
            self.log.failure("The core metadata made of {name} was not compared", failure, name=file.filename)


def _can_be_made(file: File) -> bool:
    """
    Whether C{file} lacks what can be made: that of a file without a digest could not be told from that of the file
    which upstream has under the name tomorrow.
    """
    return (
        file.core_metadata is None
        and not file.made_metadata
        and is_wheel(file.filename)
        and any(algorithm in file.digests for algorithm in COMPARED_DIGESTS)
    )


def _made(file: File, raw: bytes, size: int | None, *, compare: bool) -> _Outcome:
    digests = {"sha256": hashlib.sha256(raw).hexdigest()}
    made = evolve(file, core_metadata=digests, made_metadata=True, size=size if file.size is None else file.size)
    return _Outcome(made, raw, compare=compare)


def _without(file: File) -> File:
    """The file marked as one of which nothing can be made."""
    return evolve(file, core_metadata=None, made_metadata=True)


def _newest_wheels(project: Project, releases: int) -> Iterable[tuple[str, list[File]]]:
    """The wheels of the newest releases that are not yanked, the newest first."""
    found: dict[str, list[File]] = {}
    for file in reversed(project.files):
        if file.yanked is not None:
            continue
        if file.version not in found and len(found) == releases:
            break
        wheels = found.setdefault(file.version, [])
        if is_wheel(file.filename):
            wheels.append(file)
    return found.items()
