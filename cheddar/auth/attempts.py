"""Failed logins, counted: how many there were of late, and whether there may be another."""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice
from math import ceil

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from cheddar.errors import TooOften


@define(eq=False)
class _Count:
    """
    @ivar most: so many failures are allowed in the time.
    @ivar failed: when the last ones were, the oldest first.
    @ivar under_way: attempts whose end is not known.
    @ivar waiting: fire when one of those has ended.
    """

    most: int
    failed: deque[float] = field(init=False)
    under_way: int = 0
    waiting: list[Deferred[None]] = field(factory=list)

    @failed.default
    def _as_many_as_count(self) -> deque[float]:
        return deque(maxlen=self.most)

    def forget(self, now: float, seconds: float) -> None:
        """Let go of failures that are over; what is said to come is of a clock that was put back."""
        while self.failed and not 0 <= now - self.failed[0] < seconds:
            self.failed.popleft()

    @property
    def idle(self) -> bool:
        return not self.under_way and not self.waiting

    @property
    def full(self) -> bool:
        """Whether one more would be too many, if all under way failed."""
        return len(self.failed) + self.under_way >= self.most


@define(eq=False)
class Attempts:
    """
    Attempts to log in: of one account from one client, and of one client in all, whatever the account. Only failures
    count, each for a time from when it happened. An account is never closed to other clients.

    Attempts at the same moment do not get past the limit: who would be one too many if all before it failed waits for
    their end.

    @ivar _per_account: how many may fail of one account from one client.
    @ivar _per_client: how many may fail of one client.
    @ivar _seconds: in how long.
    """

    _clock: IReactorTime
    _per_account: int = 10
    _per_client: int = 30
    _seconds: float = 300.0
    _counts: OrderedDict[tuple[str, ...], _Count] = field(factory=OrderedDict, init=False)

    #: A hostile network makes up clients and accounts: the oldest failures are forgotten first.
    COUNTED_MOST = 20_000

    def take(self, client: str, account: str) -> Deferred[None] | None:
        """
        Begin an attempt; L{end} must follow.

        @return: None: it has begun. Else ask again when this fires: it hangs on attempts that are under way.
        @raise TooOften: too many have failed; nothing has begun.
        """
        now = self._clock.seconds()
        for (key, _), whose in zip(self._keys(client, account), ("of this user ", ""), strict=True):
            count = self._counts.get(key)
            if count is None:
                continue
            count.forget(now, self._seconds)
            if len(count.failed) >= count.most:
                wait = max(1, ceil(count.failed[0] + self._seconds - now))
                raise TooOften(
                    f"Too many logins {whose}from your address have failed: try again in {wait} seconds.", wait
                )
            if count.full:
                waiter: Deferred[None] = Deferred()
                count.waiting.append(waiter)
                return waiter
        for key, most in self._keys(client, account):
            self._counts.setdefault(key, _Count(most)).under_way += 1
        self._make_room()
        return None

    def end(self, client: str, account: str, failed: bool) -> bool:
        """
        An attempt that had begun has ended.

        @return: whether it was a failure after which there may be no more.
        """
        for key, _ in self._keys(client, account):
            self._counts[key].under_way -= 1
        closed = failed and self.note_failure(client, account)
        for key, _ in self._keys(client, account):
            count = self._counts.get(key)
            if count is None:
                continue
            # All of them: whether there is room for each is seen when it asks again.
            waiting, count.waiting = count.waiting, []
            if count.idle and not count.failed:
                del self._counts[key]
            for waiter in waiting:
                if not waiter.called:  # else it was cancelled
                    waiter.callback(None)
        return closed

    def note_failure(self, client: str, account: str) -> bool:
        """
        A login has failed.

        @return: whether there may be no more after it.
        """
        now = self._clock.seconds()
        closed = False
        for key, most in self._keys(client, account):
            count = self._counts.setdefault(key, _Count(most))
            self._counts.move_to_end(key)
            count.forget(now, self._seconds)
            count.failed.append(now)
            closed = closed or len(count.failed) == count.most
        self._make_room()
        return closed

    def _keys(self, client: str, account: str) -> tuple[tuple[tuple[str, ...], int], ...]:
        return ((client, account), self._per_account), ((client,), self._per_client)

    def _make_room(self) -> None:
        now = self._clock.seconds()
        for key, count in tuple(islice(self._counts.items(), 4)):
            count.forget(now, self._seconds)
            if count.idle and (not count.failed or len(self._counts) > self.COUNTED_MOST):
                del self._counts[key]
