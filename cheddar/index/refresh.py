"""The loop that keeps cached listings fresh, on one node of those that share a store."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from cheddar.deferreds import returns_deferred
from cheddar.errors import StoreUnavailable
from cheddar.interfaces import ILeases, IRefreshable

LEASE = "refresh"


class RefreshService(Service):
    """
    Takes turns for as long as it runs; a turn that fails is logged, and the next one comes.

    The first turn comes one interval after the start: a start asks nothing of upstream.
    """

    log = Logger()

    def __init__(self, index: IRefreshable, leases: ILeases, clock: IReactorTime, interval: float, holder: str) -> None:
        """
        @param interval: seconds from the begin of one turn to that of the next; a long turn is waited for.
        @param holder: names this process among all that share the store.
        """
        self._index = index
        self._leases = leases
        self._interval = interval
        self._holder = holder
        # As long as three turns: a node that dies is replaced, one that is a little late is not.
        self._lease_seconds = 3 * interval
        self._loop = LoopingCall(self._turn)
        self._renewal = LoopingCall(self._renew)
        self._loop.clock = self._renewal.clock = clock
        self._ended: Deferred[object] = succeed(None)

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._ended = self._loop.start(self._interval, now=False).addErrback(self._log_failure)

    @returns_deferred
    async def stopService(self) -> None:
        """End; fires when the turn under way is over, and another node may go on."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        await self._ended
        try:
            await self._leases.release(LEASE, self._holder)
        except StoreUnavailable as error:
            self.log.info("The refresh lease ends by itself: {error}", error=error)

    def _turn(self) -> Deferred[object]:
        return self._take_turn().addErrback(self._log_failure)

    @returns_deferred
    async def _take_turn(self) -> object:
        if not await self._leases.claim(LEASE, self._holder, self._lease_seconds):
            return None
        renewing = self._renewal.start(self._interval, now=False)
        try:
            count = await self._index.refresh()
        finally:
            self._renewal.stop()
            await renewing
        self.log.debug("{count} listings brought up to date", count=count)
        return count

    def _renew(self) -> Deferred[object]:
        return self._leases.claim(LEASE, self._holder, self._lease_seconds).addErrback(self._log_failure)

    def _log_failure(self, failure: Failure) -> None:
        self.log.failure("A turn of the refresh loop failed; the next one comes", failure=failure)
