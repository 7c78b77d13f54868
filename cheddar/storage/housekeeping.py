"""The size of the cache of upstream's files: looked after in a thread, for as long as the service runs."""

from __future__ import annotations

from time import monotonic
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from cheddar import metrics
from cheddar.deferreds import returns_deferred
from cheddar.errors import CheddarError
from cheddar.storage.cache_folder import Amount, CacheFolder
from cheddar.storage.eviction import Evicted, evict
from cheddar.storage.pins import Pins

#: Seconds between two looks at what other processes brought and removed: with a limit, and without one.
INTERVAL = 60.0
UNLIMITED_INTERVAL = 600.0
#: A look at many files takes its time: it is taken no oftener than after so many times that.
SHARE = 100
#: The same where there is too much; and seconds after a look that could remove nothing.
SHARE_WHEN_FULL = 2
RETRY = 5.0
SHORTEST = 0.1


@define(eq=False)
class Housekeeping:
    """
    Counts what comes, looks at the folder now and then, and evicts where there is too much.

    What is there is only known by a look, since other processes and the command line share the folder. The first look
    begins with the start, which does not wait for it: nothing is evicted before all was seen.

    @ivar limit: bytes; 0: none.
    """

    _folder: CacheFolder
    limit: int
    # IReactorTime, and IReactorFromThreads
    _reactor: Any
    # One thread is enough.
    _pool: ThreadPool
    _there: Amount | None = field(init=False, default=None)
    _came_meanwhile: Amount = field(init=False, factory=Amount)
    _due: IDelayedCall | None = field(init=False, default=None)
    _earliest: float = field(init=False, default=0.0)
    _turn: Deferred[None] | None = field(init=False, default=None)
    _stopped: bool = field(init=False, default=False)

    log = Logger()

    def start(self) -> None:
        """Begin with a look."""
        self._begin_turn()

    @returns_deferred
    async def stop(self) -> None:
        """End; fires when no thread is at it any more."""
        self._stopped = True
        self._folder.stop()
        if self._due is not None:
            self._due.cancel()
            self._due = None
        while self._turn is not None:
            await self.turn()

    def came(self, size: int) -> None:
        """For use in a thread. A file of so many bytes is in the cache now."""
        self._reactor.callFromThread(self._count, size)

    def turn(self) -> Deferred[None]:
        """Look, and evict where there is too much: now, or along with the turn that is under way."""
        if self._turn is None:
            if self._stopped:
                return succeed(None)
            self._begin_turn()
        ended: Deferred[None] = Deferred()

        def tell(result: None) -> None:
            ended.callback(None)

        if self._turn is None:  # ended at once
            return succeed(None)
        self._turn.addCallback(tell)
        return ended

    def _begin_turn(self) -> None:
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None
        turn = self._take_turn()
        if not turn.called:
            self._turn = turn

    @returns_deferred
    async def _take_turn(self) -> None:
        began = monotonic()
        self._came_meanwhile = Amount()
        evicted = None
        try:
            there, evicted = await deferToThreadPool(self._reactor, self._pool, self._look)
            self._learn(there, evicted)
        except (CheddarError, OSError) as error:
            if not self._stopped:
                self.log.error("The size of the cache is not kept: {error}", error=error)
        except Exception:  # noqa: BLE001 - the next turn comes all the same
            self.log.failure("A look at the cache failed; the next one comes")
        finally:
            self._turn = None
            self._plan(monotonic() - began, stuck=evicted is None or not evicted.removed.files)

    def _look(self) -> tuple[Amount, Evicted | None]:
        """In a thread."""
        files = size = 0
        for file in self._folder.files():
            files += 1
            size += file.size
        there = Amount(files, size)
        if not self._limited(there):
            return there, None
        with self._folder.gate(wait=False) as mine:
            # Else another process is at it: it is seen soon what that has left.
            evicted = evict(self._folder, self.limit, Pins(self._folder).read()) if mine else None
        return (there if evicted is None else evicted.left), evicted

    def _limited(self, there: Amount) -> bool:
        return 0 < self.limit < there.size

    def _learn(self, there: Amount, evicted: Evicted | None) -> None:
        # What came during the look was seen, or not: the next one will know.
        meanwhile = self._came_meanwhile
        self._tell(Amount(there.files + meanwhile.files, there.size + meanwhile.size))
        if evicted is None:
            return
        metrics.cache_evictions.inc(evicted.removed.files)
        metrics.cache_evicted_bytes.inc(evicted.removed.size)
        self.log.info(
            "{files} files of {size} bytes were evicted from the cache; {left} bytes are left",
            files=evicted.removed.files,
            size=evicted.removed.size,
            left=evicted.left.size,
        )
        if evicted.pinned.size > self.limit:
            self.log.warn(
                "{pinned} bytes of the cache are pinned, and REMOTE_CACHE_SIZE is {limit}: nothing else is kept",
                pinned=evicted.pinned.size,
                limit=self.limit,
            )

    def _count(self, size: int) -> None:
        meanwhile = self._came_meanwhile
        self._came_meanwhile = Amount(meanwhile.files + 1, meanwhile.size + size)
        if self._there is None:
            return
        self._tell(Amount(self._there.files + 1, self._there.size + size))
        if self._due is not None and self._limited(self._there):
            # Never later than it was planned.
            self._due.reset(max(0.0, self._earliest - monotonic()))

    def _tell(self, there: Amount) -> None:
        self._there = there
        metrics.cache_files.set(there.files)
        metrics.cache_bytes.set(there.size)

    def _plan(self, took: float, *, stuck: bool) -> None:
        if self._stopped:
            return
        shortest = max(SHORTEST, SHARE_WHEN_FULL * took)
        self._earliest = monotonic() + shortest
        if self._there is not None and self._limited(self._there):
            delay = max(RETRY, shortest) if stuck else shortest
        else:
            delay = max(INTERVAL if self.limit else UNLIMITED_INTERVAL, SHARE * took)
        self._due = self._reactor.callLater(delay, self._begin_turn)
