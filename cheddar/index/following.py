"""One client's view of a file of upstream: as it arrives, or, where nothing can be kept, as it passes through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from twisted.internet.interfaces import IConsumer, IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from cheddar.deferreds import Pace, returns_deferred
from cheddar.errors import AddressRefused, FileTooLarge, NoRoom, NotFound, Unavailable, UpstreamBroken, WrongBytes
from cheddar.index.arriving import Attempt, Download, Wanted
from cheddar.index.relaying import Relay
from cheddar.interfaces import IArriving, IFileView, IUpstream
from cheddar.model import File

#: Bytes of one read.
CHUNK = 128 * 1024
#: Bytes of the first one, so that all of many who wait have something soon.
FIRST = 16 * 1024
#: How often a file is fetched for one client that is evicted each time before the client is given anything of it.
MOST_FETCHES = 3


class Sources(Protocol):
    """What the bytes come from. All are plain calls."""

    def join(self, wanted: Wanted) -> Download:
        """The download under way; a new one where there is none. [NoRoom, NotFound, UpstreamUnavailable]"""

    def upstream_of(self, file: File) -> IUpstream:
        """Who has a file. [NotFound, UpstreamUnavailable]"""

    def relay(self, file: File, length: int | None) -> Relay:
        """One that is ended when the service stops. [Unavailable]"""

    def note_wrong_bytes(self, wanted: Wanted, error: WrongBytes) -> None:
        """Upstream sent other bytes than it lists, and did so when it was asked again."""


@implementer(IArriving)
class Arriving:
    """One client's view of a file that is on its way, or will be once the client wants it."""

    log = Logger()

    def __init__(
        self,
        wanted: Wanted,
        downloads: Sources,
        reactor: IReactorTime,
        promised: int | None = None,
    ) -> None:
        """
        @param promised: how many bytes the client was told of; None: it was told nothing.
        """
        self.digests: Mapping[str, str] = wanted.file.digests
        self.published_at = wanted.file.upload_time
        self.path: Path | None = None
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
                if not again or isinstance(error, AddressRefused | FileTooLarge):
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
    chunk = FIRST
    while last is None or offset <= last:
        if isinstance(attempt.failure, NoRoom):
            return offset
        if attempt.failure is not None:
            raise attempt.failure
        edge = attempt.edge
        if last is not None:
            # The last byte of a part waits for the digest, like the end of the file: no wrong part is ever whole.
            edge = min(edge, last + 1 if attempt.verified else last)
        if offset < edge:
            data = await view.read(offset, min(chunk, edge - offset))
            chunk = CHUNK
            if not data:
                raise Unavailable("The server cannot read this file from its storage now. Try again later.")
            offset += len(data)
            consumer.write(data)
            del data  # the transport may have made a copy: held here, each of many clients costs it twice
            await pace.turn()
        elif attempt.verified:
            return None
        else:
            await download.news()
    return None
