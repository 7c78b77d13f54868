"""
Files of upstream: from the storage, or on their way there, one download per file however many wait for it.

Everybody reads the growing file at an own pace: nobody's slowness is another's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IConsumer, IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from cheddar.deferreds import Pace, returns_deferred
from cheddar.errors import AddressRefused, NoRoom, NotFound, Unavailable, UpstreamBroken, WrongBytes
from cheddar.index.arriving import Attempt, Download, Pin, Wanted
from cheddar.index.events import Events
from cheddar.index.found import Found
from cheddar.index.relaying import Relay
from cheddar.index.upstreams import Upstreams
from cheddar.interfaces import IArriving, IAuditLog, IFileStorage, IFileView, IStoredFile, IUpstream
from cheddar.model import File

#: Bytes of one read.
CHUNK = 128 * 1024
#: Seconds in which a file that filled the disk is not tried again to be kept, and of how many that is remembered.
NO_ROOM_PAUSE = 10.0
MAX_REMEMBERED = 1000
#: How often a file is fetched for one client that is evicted each time before the client is given anything of it.
MOST_FETCHES = 3


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

        def arriving(promised: int | None = None) -> Arriving:
            return Arriving(Wanted(key, file, pin, arrived, project), self, self._reactor, promised)

        if key not in self._under_way:
            try:
                stored = await self._storage.open(key)
            except NotFound:
                pass
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
        if isinstance(download.failure, WrongBytes):
            self.note_wrong_bytes(download.wanted, download.failure)
        if isinstance(download.failure, NoRoom) and download.attempt is not None:
            # Each client would fill the disk once more before it is passed what it wants.
            if len(self._without_room) >= MAX_REMEMBERED:
                self._without_room.clear()
            self._without_room[download.key] = (self._clock.seconds(), download.failure)


@implementer(IArriving)
class Arriving:
    """One client's view of a file that is on its way, or will be once the client wants it."""

    log = Logger()

    def __init__(
        self,
        wanted: Wanted,
        downloads: Downloads,
        reactor: IReactorTime,
        promised: int | None = None,
    ) -> None:
        """
        @param promised: how many bytes the client was told of; None: it was told nothing.
        """
        self.digests: Mapping[str, str] = wanted.file.digests
        self.published_at = wanted.file.upload_time
        self._wanted = wanted
        self._file = wanted.file
        self._downloads = downloads
        self._reactor = reactor
        self._download: Download | None = None
        self._promised = promised
        self._relay: Relay | None = None
        self._unsent: IDelayedCall | None = None

    @property
    def size(self) -> int | None:
        """Bytes, as far as known now."""
        if self._promised is not None:
            return self._promised
        return self._file.size if self._download is None else self._download.size

    @returns_deferred
    async def ready(self) -> None:
        """See L{IArriving}. Where nothing can be kept, upstream is asked for this client alone."""
        try:
            download = self._sit_down()
            try:
                await download.reach(0)
                self._promised = download.size
            finally:
                download.leave()
        except NoRoom as error:
            self._tell_no_room(error)
            with self._noting_wrong_bytes():
                self._relay = await self._begin_relay(0, None)
            self._promised = self._relay.length
            # Whoever sends does so at once; a client that asked for the head alone does not.
            self._unsent = self._reactor.callLater(0, self._drop_relay)

    @returns_deferred
    async def send(self, consumer: IConsumer, first: int, last: int | None) -> None:
        """
        See L{IStoredFile<cheddar.interfaces.IStoredFile>}. The consumer is left alone until the byte at C{first}
        may be given: what goes wrong until then can still be answered.

        Fails with L{CancelledError<twisted.internet.defer.CancelledError>} where the client leaves.
        """
        if self._relay is None:
            try:
                for _ in range(MOST_FETCHES):
                    if await self._send_kept(consumer, first, last):
                        return
                    self._download = None
            except NoRoom as error:
                # Nothing has been given: who was in the middle of it went on.
                self._tell_no_room(error)
            else:
                raise Unavailable(f"{self._file.filename} goes from the cache as soon as it is there. Ask again.")
        relay = self._take_relay()
        try:
            with self._noting_wrong_bytes():
                if relay is None:
                    relay = await self._begin_relay(first, last)
                else:
                    relay.want(first, last)
                    await relay.reach()
            self._check_promise(relay.length)
            with self._noting_wrong_bytes():
                await Pace(consumer, self._reactor).run(partial(relay.give, consumer))
        finally:
            if relay is not None:
                relay.end()

    async def _send_kept(self, consumer: IConsumer, first: int, last: int | None) -> bool:
        """@return: whether it was sent; else it came, and was evicted before anything was given."""
        download = self._sit_down()
        try:
            source = await download.reach(first)
            self._check_promise(download.size)
            if isinstance(source, Attempt):
                view = source.view()
                following = partial(self._follow, source, download, view, consumer, first, last)
                try:
                    await Pace(consumer, self._reactor).run(following)
                finally:
                    view.close()
            else:
                try:
                    await source.send(consumer, first, last)
                except NotFound:
                    return False
        finally:
            download.leave()
        return True

    def _check_promise(self, size: int | None) -> None:
        if self._promised not in (None, size):
            raise UpstreamBroken(f"Upstream changed its mind about the length of {self._file.filename}. Try again.")

    def _sit_down(self) -> Download:
        # The one that ready() promised something about, unless it came to nothing.
        if self._download is None or self._download.failure is not None:
            self._download = self._downloads.join(self._wanted)
        self._download.sit_down()
        return self._download

    async def _follow(
        self,
        attempt: Attempt,
        download: Download,
        view: IFileView,
        consumer: IConsumer,
        first: int,
        last: int | None,
        pace: Pace,
    ) -> None:
        attempt.followers += 1
        try:
            reached = await _give(attempt, download, view, consumer, first, last, pace)
        finally:
            attempt.followers -= 1
        if reached is not None:
            await self._go_on_from(reached, view, download.size, consumer, last, pace)

    # Where there is no room

    async def _begin_relay(self, first: int, last: int | None) -> Relay:
        """A relay whose first byte may be given. The client has nothing yet: wrong bytes are asked for once more."""
        for again in (True, False):
            relay = self._downloads.relay(self._file, self._promised)
            try:
                relay.want(first, last)
                relay.start(self._downloads.upstream_of(self._file), uncached=not again)
                await relay.reach()
            except UpstreamBroken as error:
                relay.end()
                if not again or isinstance(error, AddressRefused):
                    raise
            except BaseException:
                relay.end()
                raise
            else:
                break
        return relay

    async def _go_on_from(
        self, offset: int, view: IFileView, size: int | None, consumer: IConsumer, last: int | None, pace: Pace
    ) -> None:
        """The client has the bytes before C{offset}, of what could not be kept: give it the rest."""
        relay = self._downloads.relay(self._file, size)
        try:
            await relay.take_up(view, offset, self._reactor)
            view.close()  # the room that it holds is wanted
            relay.want(offset, last)
            relay.start(self._downloads.upstream_of(self._file))
            with self._noting_wrong_bytes():
                await relay.give(consumer, pace)
        finally:
            relay.end()

    @contextmanager
    def _noting_wrong_bytes(self) -> Iterator[None]:
        try:
            yield
        except WrongBytes as error:
            self._downloads.note_wrong_bytes(self._wanted, error)
            raise

    def _take_relay(self) -> Relay | None:
        relay, self._relay = self._relay, None
        unsent, self._unsent = self._unsent, None
        if unsent is not None and unsent.active():
            unsent.cancel()
        return relay

    def _drop_relay(self) -> None:
        relay = self._take_relay()
        if relay is not None:
            relay.end()

    def _tell_no_room(self, error: NoRoom) -> None:
        self.log.warn("{name} is passed on and not kept: {error}", name=self._file.filename, error=error)


async def _give(
    attempt: Attempt,
    download: Download,
    view: IFileView,
    consumer: IConsumer,
    offset: int,
    last: int | None,
    pace: Pace,
) -> int | None:
    """
    Write the bytes from C{offset} on, as they may be given.

    @return: None where all were; else the offset from which on the storage has no room.
    """
    while last is None or offset <= last:
        if isinstance(attempt.failure, NoRoom):
            return offset
        if attempt.failure is not None:
            raise attempt.failure
        edge = attempt.edge if last is None else min(attempt.edge, last + 1)
        if offset < edge:
            data = await view.read(offset, min(CHUNK, edge - offset))
            if not data:
                raise Unavailable("The server cannot read this file from its storage now. Try again later.")
            offset += len(data)
            consumer.write(data)
            await pace.turn()
        elif attempt.verified:
            return None
        else:
            await download.news()
    return None
