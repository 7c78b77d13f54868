"""
Files of upstream: from the storage, or on their way there, one download per file however many wait for it.

Everybody reads the growing file at an own pace: nobody's slowness is another's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.defer import gatherResults
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from cheddar.deferreds import Pace, returns_deferred
from cheddar.errors import NotFound, Unavailable, UpstreamBroken
from cheddar.index.arriving import Attempt, Download, Pin
from cheddar.index.upstreams import Upstreams
from cheddar.interfaces import IArriving, IFileStorage, IFileView, IStoredFile
from cheddar.model import File

#: Bytes of one read.
CHUNK = 128 * 1024


class Downloads:
    """All downloads under way. What a finished one brought is in the storage."""

    log = Logger()

    def __init__(
        self,
        storage: IFileStorage,
        upstreams: Upstreams,
        reactor: IReactorTime,
        clock: IReactorTime | None = None,
    ) -> None:
        """
        @param upstreams: where there are none, only stored files are had.
        @param reactor: gives turns to those who send.
        @param clock: tells how long nobody has waited for a download; the reactor unless said.
        """
        self._storage = storage
        self._upstreams = upstreams
        self._reactor = reactor
        self._clock = reactor if clock is None else clock
        self._under_way: dict[str, Download] = {}

    @returns_deferred
    async def stop(self) -> None:
        """Give up what is under way."""
        await gatherResults([download.cancel() for download in tuple(self._under_way.values())])

    @returns_deferred
    async def follow(
        self, key: str, file: File, pin: Pin | None = None, arrived: Callable[[], None] | None = None
    ) -> IStoredFile:
        """
        The file under C{key}: from the storage, or as it arrives, in which case it provides
        L{IArriving<cheddar.interfaces.IArriving>}. Nothing is asked of upstream before somebody wants its bytes.

        @param file: where upstream has it, and what it must be.
        @param pin: see L{Pin}; for a file whose listing has no SHA-256.
        @param arrived: called once the file was downloaded, verified and stored.
        """
        if key not in self._under_way:
            try:
                stored = await self._storage.open(key)
            except NotFound:
                pass
            else:
                if file.size in (None, stored.size):
                    stored.published_at = file.upload_time
                    return stored
                self.log.error(
                    "{key} has {size} bytes, not {right}: dropped", key=key, size=stored.size, right=file.size
                )
                await self._storage.delete(key)
        return Arriving(key, file, pin, arrived, self, self._reactor)

    def join(self, key: str, file: File, pin: Pin | None, arrived: Callable[[], None] | None = None) -> Download:
        """Plain call. The download under way for C{key}; a new one where there is none."""
        download = self._under_way.get(key)
        if download is None:
            if not self._upstreams:
                raise NotFound(f"{file.filename} is not here, and there is no upstream to get it from.")
            upstream = self._upstreams.of(file.upstream)
            download = self._under_way[key] = Download(
                key,
                file,
                pin,
                arrived,
                storage=self._storage,
                upstream=upstream,
                reactor=self._reactor,
                clock=self._clock,
                forget=self._forget,
            )
            download.start()
        return download

    def under_way(self) -> int:
        """Plain call. How many downloads run."""
        return len(self._under_way)

    def _forget(self, download: Download) -> None:
        if self._under_way.get(download.key) is download:
            del self._under_way[download.key]


@implementer(IArriving)
class Arriving:
    """One client's view of a file that is on its way, or will be once the client wants it."""

    def __init__(
        self,
        key: str,
        file: File,
        pin: Pin | None,
        arrived: Callable[[], None] | None,
        downloads: Downloads,
        reactor: IReactorTime,
    ) -> None:
        self.digests: Mapping[str, str] = file.digests
        self.published_at = file.upload_time
        self._key = key
        self._file = file
        self._pin = pin
        self._arrived = arrived
        self._downloads = downloads
        self._reactor = reactor
        self._download: Download | None = None
        self._promised: int | None = None

    @property
    def size(self) -> int | None:
        """Bytes, as far as known now."""
        return self._file.size if self._download is None else self._download.size

    @returns_deferred
    async def ready(self) -> None:
        """See L{IArriving}."""
        download = self._sit_down()
        try:
            await download.reach(0)
            self._promised = download.size
        finally:
            download.leave()

    @returns_deferred
    async def send(self, consumer: IConsumer, first: int, last: int | None) -> None:
        """
        See L{IStoredFile<cheddar.interfaces.IStoredFile>}. The consumer is left alone until the byte at C{first}
        may be given: what goes wrong until then can still be answered.

        Fails with L{CancelledError<twisted.internet.defer.CancelledError>} where the client leaves.
        """
        download = self._sit_down()
        try:
            source = await download.reach(first)
            if self._promised not in (None, download.size):
                raise UpstreamBroken(f"Upstream changed its mind about the length of {self._file.filename}. Try again.")
            if isinstance(source, Attempt):
                await self._follow(source, download, consumer, first, last)
            else:
                await source.send(consumer, first, last)
        finally:
            download.leave()

    def _sit_down(self) -> Download:
        # The one that ready() promised something about, unless it came to nothing.
        if self._download is None or self._download.failure is not None:
            self._download = self._downloads.join(self._key, self._file, self._pin, self._arrived)
        self._download.sit_down()
        return self._download

    async def _follow(
        self, attempt: Attempt, download: Download, consumer: IConsumer, first: int, last: int | None
    ) -> None:
        view = attempt.view()
        attempt.followers += 1
        try:
            await Pace(consumer, self._reactor).run(
                lambda pace: _give(attempt, download, view, consumer, first, last, pace)
            )
        finally:
            attempt.followers -= 1
            view.close()


async def _give(
    attempt: Attempt,
    download: Download,
    view: IFileView,
    consumer: IConsumer,
    offset: int,
    last: int | None,
    pace: Pace,
) -> None:
    """Write the bytes from C{offset} on, as they may be given."""
    while last is None or offset <= last:
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
            return
        else:
            await download.news()
