"""
One file of upstream on its way here, and who waits for it.

The bytes go to a partial file of the storage at upstream's speed; everybody who waits reads them from there at an own
pace. The end of the file is held back until length and digests are right and the file is safely stored, so no client
can take a broken file for a complete one.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cheddar import metrics
from cheddar.errors import (
    AddressRefused,
    CheddarError,
    FileTooLarge,
    NoRoom,
    NotFound,
    StoreUnavailable,
    Unavailable,
    UpstreamBroken,
    UpstreamUnavailable,
    WrongBytes,
)
from cheddar.interfaces import IBodyReceiver, IFileStorage, IFileView, IFileWriter, IStoredFile, IUpstream
from cheddar.model import File

#: Bytes at the end that go out only when the whole file proved right. What is not longer can be asked for again
#: without any client noticing.
TAIL = 16 * 1024
#: Seconds that a download nobody waits for any more goes on, and the size under which it is finished all the same.
PATIENCE = 5.0
SMALL = 16 * 1024 * 1024
#: From how many on those who wait are told of several pieces at once, and seconds for which these are gathered: a turn
#: for each of them costs more than the pieces do.
CROWD = 8
GATHERING = 0.02

GIVEN_UP = "The download was given up. Ask again."

#: Keeps the SHA-256 that was computed for a file whose listing had none, and gives the key to store the file under.
Pin = Callable[[File], Deferred[str]]


@frozen
class Wanted:
    """
    A file of upstream's that somebody asks for.

    @ivar key: where it is kept, or will be.
    @ivar file: where upstream has it, and what it must be.
    @ivar pin: see L{Pin}; for a file whose listing has no SHA-256.
    @ivar arrived: called once it was downloaded, verified and stored.
    @ivar project: whose it is.
    @ivar missed: how many files had arrived here when it was looked for and was not there; None: nobody has looked.
    """

    key: str
    file: File
    pin: Pin | None = None
    arrived: Callable[[], None] | None = None
    project: str = ""
    missed: int | None = None


def wrong_length(file: File, length: int, right: int | None) -> UpstreamBroken:
    """Upstream sends another number of bytes than was promised for C{file}."""
    return UpstreamBroken(f"Upstream sent {length} bytes of {file.filename}, which has {right}. Try again later.")


@implementer(IBodyReceiver)
class Attempt:
    """One try to get a file."""

    def __init__(self, file: File, writer: IFileWriter, clock: IReactorTime, grown: Callable[[], None]) -> None:
        """
        @param grown: called whenever followers may read on.
        """
        self.length = file.size
        self.received = 0
        self.followers = 0
        self.verified = False
        self.failure: BaseException | None = None
        self._file = file
        self._writer = writer
        self._clock = clock
        self._grown = grown
        self._readable = 0
        self._problem: CheddarError | None = None
        self._fetching: Deferred[None] | None = None
        writer.notify(self._more_readable)

    @property
    def edge(self) -> int:
        """How many bytes from the start may be given to clients now."""
        if self.verified:
            return self.received
        if "sha256" not in self._file.digests:
            return 0  # nothing strong to compare with: the file is pinned first, whole
        return max(0, self._readable - TAIL)

    @property
    def fetching(self) -> bool:
        """Whether upstream is still sending."""
        return self._fetching is not None

    def view(self) -> IFileView:
        """The bytes as they come."""
        view: IFileView = self._writer.view()
        return view

    async def fetch(self, upstream: IUpstream, *, uncached: bool) -> None:
        """Get all bytes. [NotFound, UpstreamUnavailable, UpstreamBroken, NoRoom]"""
        self._fetching = upstream.fetch_file(self._file.url, self, uncached=uncached)
        try:
            await self._fetching
        except Exception:
            if self._problem is None:
                raise
        finally:
            self._fetching = None
        if self._problem is not None:
            raise self._problem
        if self.length is None and not self._file.digests:
            raise UpstreamBroken(f"Upstream says neither length nor digest of {self._file.filename}: it may be cut.")
        if self.length is not None and self.received != self.length:
            raise self._wrong_length(self.received)

    def begin(self, length: int | None) -> None:
        """See L{IBodyReceiver}."""
        if length is not None and self.length not in (None, length):
            self._give_up(self._wrong_length(length))
        elif length is not None:
            self.length = length

    def write(self, data: bytes) -> Deferred[None] | None:
        """See L{IBodyReceiver}."""
        if self._problem is not None:
            return None
        self.received += len(data)
        if self.length is not None and self.received > self.length:
            self._give_up(self._wrong_length(self.received))
            return None
        try:
            return self._writer.write(data)
        except NoRoom as error:
            self._give_up(error)
            return None

    def _wrong_length(self, length: int) -> UpstreamBroken:
        return wrong_length(self._file, length, self.length)

    def _give_up(self, problem: CheddarError) -> None:
        if self._problem is None:
            self._problem = problem
            # Not now: upstream's client is in the middle of its own work, and cannot be cancelled there.
            self._clock.callLater(0, self._cancel)

    def _cancel(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()

    def _more_readable(self, count: int) -> None:
        self._readable = count
        if self.edge:
            # Else there is nothing to give yet: a crowd's first bytes are not gathered, and these are not them.
            self._grown()


class Download:
    """
    One file on its way, and who waits for it.

    @ivar stored: the file, once it is here.
    @ivar failure: why it never will be.
    """

    log = Logger()

    def __init__(
        self,
        wanted: Wanted,
        *,
        storage: IFileStorage,
        upstream: IUpstream,
        reactor: IReactorTime,
        clock: IReactorTime,
        forget: Callable[[Download], None],
        missing: bool = False,
    ) -> None:
        """@param missing: whether it was seen that it is not in C{storage}, and nothing has come since."""
        self.key = wanted.key
        self.wanted = wanted
        self.stored: IStoredFile | None = None
        self.failure: BaseException | None = None
        self.attempt: Attempt | None = None
        self._file = wanted.file
        self._storage = storage
        self._upstream = upstream
        self._reactor = reactor
        self._clock = clock
        self._forget = forget
        self._missing = missing
        self._seats = 0
        self._begun = False
        self._leaving: IDelayedCall | None = None
        self._waiters: list[Deferred[None]] = []
        self._waking: IDelayedCall | None = None
        self._task: Deferred[None] | None = None
        self._cleaning: list[Deferred[None]] = []

    def start(self) -> None:
        """Begin."""
        metrics.downloads_under_way.inc()
        obtaining = Deferred.fromCoroutine(self._obtain())
        self._task = obtaining.addCallbacks(self._arrived, self._failed).addCallback(self._ended)

    def cancel(self) -> Deferred[None]:
        """Give up; who waits fails. @return: fires when nothing is left of it."""
        if self._task is None:
            return succeed(None)
        self._task.cancel()
        return self._task

    @property
    def size(self) -> int | None:
        """Bytes, as far as known now."""
        if self.stored is not None:
            return self.stored.size
        return self._file.size if self.attempt is None else self.attempt.length

    def sit_down(self) -> None:
        """Somebody waits for the file."""
        self._seats += 1
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def leave(self) -> None:
        """Somebody has the file, or left."""
        self._seats -= 1
        if not self._seats and self.stored is None and self.failure is None:
            self._leaving = self._clock.callLater(PATIENCE, self._deserted)

    async def reach(self, offset: int) -> Attempt | IStoredFile:
        """
        Wait until the byte at C{offset} may be given.

        @return: the stored file, or the attempt that has the byte. [What L{IUpstream.fetch_file} fails with, NoRoom]
        """
        while True:
            if self.stored is not None:
                return self.stored
            if self.failure is not None:
                raise self.failure
            if self.attempt is not None and self.attempt.failure is None and self.attempt.edge > offset:
                return self.attempt
            await self.news()

    def news(self) -> Deferred[None]:
        """Fires when there are more bytes, or an end."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter

    def _grown(self) -> None:
        if len(self._waiters) < CROWD or not self._begun:
            # The first bytes are not gathered: nobody has anything yet.
            self._begun = bool(self._waiters)
            self._wake()
        elif self._waking is None:
            self._waking = self._reactor.callLater(GATHERING, self._wake)

    def _wake(self) -> None:
        waking, self._waking = self._waking, None
        if waking is not None and waking.active():
            waking.cancel()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.called:  # else its client left
                waiter.callback(None)

    def _deserted(self) -> None:
        self._leaving = None
        attempt = self.attempt
        if attempt is None or not attempt.fetching:
            return  # not begun, or all but done
        whole = attempt.length
        if whole is not None and (whole < SMALL or attempt.received > whole / 2):
            return
        self._forget(self)
        self.cancel()

    def _arrived(self, stored: IStoredFile) -> str:
        self.stored = stored
        if self.wanted.arrived is not None and self.attempt is not None:
            self.wanted.arrived()
        return "whole"

    def _failed(self, failure: Failure) -> str:
        error = failure.value
        if isinstance(error, CancelledError):
            self.failure = UpstreamUnavailable(GIVEN_UP)
            return "cancelled"
        self.failure = error
        if not isinstance(error, CheddarError):
            self.log.failure("Download of {name} failed", name=self._file.filename, failure=failure)
        return type(error).__name__

    def _ended(self, outcome: str) -> Deferred[None]:
        metrics.downloads.labels(outcome).inc()
        metrics.downloads_under_way.dec()
        self._forget(self)
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        self._wake()
        return gatherResults(self._cleaning).addCallback(lambda _: None)

    async def _obtain(self) -> IStoredFile:
        stored = None if self._missing else await self._find()
        if stored is not None:
            return stored
        try:
            return await self._try()
        except (AddressRefused, FileTooLarge):
            raise  # it would be again
        except UpstreamBroken as error:
            if self.attempt is None or self._seats <= self.attempt.followers:
                raise  # nobody is left whom a second try could help
            self.log.warn("Asking upstream once more for {name}: {error}", name=self._file.filename, error=error)
            self._wake()
        return await self._try(uncached=True)

    async def _find(self) -> IStoredFile | None:
        """It may have come between the question of who waits and now."""
        try:
            stored: IStoredFile = await self._storage.open(self.key)
        except NotFound:
            return None
        except Unavailable as error:
            raise NoRoom(str(error)) from error  # what cannot be read could not be kept either
        return stored if self._file.size in (None, stored.size) else None

    async def _try(self, *, uncached: bool = False) -> IStoredFile:
        algorithms = tuple({"sha256", *self._file.digests})
        writer = await self._storage.create(algorithms)
        attempt = self.attempt = Attempt(self._file, writer, self._reactor, self._grown)
        try:
            await attempt.fetch(self._upstream, uncached=uncached)
            stored = await self._store(writer)
            attempt.verified = True
            return stored
        except Exception as error:
            # Who waits is told by what follows: not before it is certain that nobody joins what is dead.
            attempt.failure = UpstreamUnavailable(GIVEN_UP) if isinstance(error, CancelledError) else error
            self._cleaning.append(writer.abort().addErrback(self._not_cleaned))
            raise

    def _not_cleaned(self, failure: Failure) -> None:
        self.log.warn("A partial file is left: {error}", error=failure.value)

    async def _store(self, writer: IFileWriter) -> IStoredFile:
        digests = await writer.finish()
        key = self.key
        for algorithm, digest in self._file.digests.items():
            if digests.get(algorithm, digest) != digest:
                metrics.wrong_bytes.inc()
                raise WrongBytes(self._file.filename, algorithm, digests[algorithm], digest)
        if "sha256" not in self._file.digests and self.wanted.pin is not None:
            known = {**self._file.digests, "sha256": digests["sha256"]}
            try:
                key = await self.wanted.pin(evolve(self._file, digests=known, size=writer.size))
            except (NoRoom, StoreUnavailable) as error:
                self.log.warn("The digest of {name} could not be kept: {error}", name=self._file.filename, error=error)
        stored: IStoredFile = await writer.commit(key, self._file.digests)
        return stored
