"""
Files of upstream: from the storage, or on their way there, one download per file however many wait for it.

Everybody reads the growing file at an own pace: nobody's slowness is another's.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cheddar.deferreds import SingleFlight, returns_deferred
from cheddar.errors import NoRoom, NotFound, Unavailable, WrongBytes
from cheddar.index.arriving import Download, Pin, Wanted
from cheddar.index.events import Events
from cheddar.index.following import Arriving
from cheddar.index.found import Found
from cheddar.index.relaying import Relay
from cheddar.index.upstreams import Upstreams
from cheddar.interfaces import IAuditLog, IFileStorage, IStoredFile, IUpstream
from cheddar.model import File

#: Seconds in which a file that filled the disk is not tried again to be kept, and of how many that is remembered.
NO_ROOM_PAUSE = 10.0
MAX_REMEMBERED = 1000


class Downloads:
    """All downloads under way. What a finished one brought is in the storage."""

    log = Logger()

    def __init__(
        self,
        storage: IFileStorage,
        upstreams: Upstreams,
        reactor: IReactorTime,
        clock: IReactorTime | None = None,
        audit: IAuditLog | None = None,
    ) -> None:
        """
        @param upstreams: where there are none, only stored files are had.
        @param reactor: gives turns to those who send.
        @param clock: tells how long nobody has waited for a download; the reactor unless said.
        @param audit: where it is noted that upstream has wrong bytes.
        """
        self._storage = storage
        self._upstreams = upstreams
        self._reactor = reactor
        self._clock = reactor if clock is None else clock
        self._events = Events(self._clock, audit)
        self._telling: set[Deferred[None]] = set()
        self._under_way: dict[str, Download] = {}
        self._arrived = 0
        self._looks: SingleFlight[IStoredFile] = SingleFlight()
        self._relays: set[Relay] = set()
        self._without_room: dict[str, tuple[float, NoRoom]] = {}

    @returns_deferred
    async def stop(self) -> None:
        """Give up what is under way."""
        for relay in tuple(self._relays):
            relay.end()
        await gatherResults([download.cancel() for download in tuple(self._under_way.values())])
        await gatherResults(tuple(self._telling))

    @returns_deferred
    async def follow(
        self,
        key: str,
        file: File,
        pin: Pin | None = None,
        arrived: Callable[[], None] | None = None,
        project: str = "",
    ) -> IStoredFile:
        """
        The file under C{key}: from the storage, or as it arrives, in which case it provides
        L{IArriving<cheddar.interfaces.IArriving>}. Nothing is asked of upstream before somebody wants its bytes.

        @param file: like the others, as L{Wanted} has it.
        """

        def arriving(promised: int | None = None, missed: int | None = None) -> Arriving:
            return Arriving(Wanted(key, file, pin, arrived, project, missed), self, self._reactor, promised)

        if key not in self._under_way:
            before = self._arrived
            try:
                # Many who ask at once ask one question: each would wait for the answers to all the others.
                stored = await self._looks.run(key, lambda: self._storage.open(key))
            except NotFound:
                return arriving(missed=before)
            except Unavailable as error:
                self.log.warn("{key} is fetched again: {error}", key=key, error=error)
            else:
                if file.size in (None, stored.size):
                    return Found(stored, file.upload_time, lambda: arriving(stored.size))
                self.log.error(
                    "{key} has {size} bytes, not {right}: dropped", key=key, size=stored.size, right=file.size
                )
                try:
                    await self._storage.delete(key)
                except NoRoom as error:
                    self.log.warn("{key} stays, and is not served: {error}", key=key, error=error)
        return arriving()

    def join(self, wanted: Wanted) -> Download:
        """
        Plain call. The download under way for C{wanted}; a new one where there is none.

        @raise NoRoom: it filled the disk a moment ago. [NotFound, UpstreamUnavailable: there is nobody to ask]
        """
        download = self._under_way.get(wanted.key)
        if download is None:
            upstream = self.upstream_of(wanted.file)
            self._check_room(wanted.key)
            download = self._under_way[wanted.key] = Download(
                wanted,
                storage=self._storage,
                upstream=upstream,
                reactor=self._reactor,
                clock=self._clock,
                forget=self._forget,
                missing=wanted.missed == self._arrived,
            )
            download.start()
        return download

    def upstream_of(self, file: File) -> IUpstream:
        """Plain call. Who has C{file}. [NotFound, UpstreamUnavailable]"""
        if not self._upstreams:
            raise NotFound(f"{file.filename} is not here, and there is no upstream to get it from.")
        return self._upstreams.of(file.upstream)

    def relay(self, file: File, length: int | None) -> Relay:
        """Plain call. One that is ended when the service stops. @see: L{Relay}, for the arguments and what it raises"""
        relay = Relay(file, length, self._relays.discard)
        self._relays.add(relay)
        return relay

    def under_way(self) -> int:
        """Plain call. How many downloads run."""
        return len(self._under_way)

    def note_wrong_bytes(self, wanted: Wanted, error: WrongBytes) -> None:
        """Plain call. C{wanted} was given up because of them."""
        telling = self._events.tell_wrong_bytes(wanted.project, wanted.file, error)
        self._telling.add(telling)
        telling.addBoth(lambda _: self._telling.discard(telling))

    def _check_room(self, key: str) -> None:
        since, error = self._without_room.get(key, (None, None))
        if since is None or error is None:
            return
        if 0 <= self._clock.seconds() - since < NO_ROOM_PAUSE:
            raise NoRoom(str(error))
        del self._without_room[key]

    def _forget(self, download: Download) -> None:
        if self._under_way.get(download.key) is download:
            del self._under_way[download.key]
        if download.stored is not None:
            self._arrived += 1
        if isinstance(download.failure, WrongBytes):
            self.note_wrong_bytes(download.wanted, download.failure)
        if isinstance(download.failure, NoRoom) and download.attempt is not None and not download.failure.at_all:
            # Each client would fill the disk once more before it is passed what it wants.
            if len(self._without_room) >= MAX_REMEMBERED:
                self._without_room.clear()
            self._without_room[download.key] = (self._clock.seconds(), download.failure)
