"""An upstream that fails again and again is left alone for a while, so that nobody waits for it in vain."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from cheddar.errors import UpstreamUnavailable
from cheddar.upstream.addresses import Origin

FAILURES = 5
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
MAX_ORIGINS = 64


@define(eq=False)
class Breaker:
    """
    Counts an origin's failures in a row. At L{FAILURES} it opens: for a second nobody asks, then one request is
    let through; if that fails too, the pause doubles, up to a minute.

    Where the origin itself says for how long it wants to be left alone, that counts, whatever it answers meanwhile.

    @ivar failures: in a row.
    @ivar since: when the state (good or failing) began, in seconds since the epoch; None before the first answer.
    @ivar error: what the last failure said, or None.
    """

    _clock: IReactorTime
    failures: int = 0
    since: float | None = None
    error: str | None = None
    _pause: float = 0.0
    _paused_at: float = 0.0
    _probing: bool = False
    _held: bool = False

    @property
    def state(self) -> str:
        """C{closed} while everybody may ask, C{open} while nobody may, C{half-open} when one may try, or tries."""
        if not self._pause:
            return "closed"
        return "open" if 0 <= self._clock.seconds() - self._paused_at < self._pause else "half-open"

    def enter(self) -> None:
        """
        Ask for leave to send a request; C{good}, C{bad} or C{left} must follow.

        @raise UpstreamUnavailable: no request now.
        """
        if not self._pause:
            return
        # A clock that was set back must not make the pause longer.
        waited = self._clock.seconds() - self._paused_at
        if 0 <= waited < self._pause:
            raise self._refusal(self._pause - waited)
        if self._probing:
            raise self._refusal(FIRST_PAUSE)
        self._probing = True

    def good(self) -> None:
        """The origin answered."""
        if self.failures or self.since is None:
            self.since = self._clock.seconds()
        self.failures = 0
        if self._held and not self._probing:
            return  # it was asked before it wanted to be left alone
        self.error = None
        self._pause, self._probing, self._held = 0.0, False, False

    def bad(self, error: str) -> None:
        """The origin could not be reached, or answered that it cannot serve."""
        if not self.failures:
            self.since = self._clock.seconds()
        self.failures += 1
        self.error = error
        if self._probing:
            self._open(min(LONGEST_PAUSE, 2 * self._pause))
        elif self.failures >= FAILURES and not self._pause:
            self._open(FIRST_PAUSE)

    def left(self) -> None:
        """The request came to no end that says anything about the origin."""
        self._probing = False

    def hold(self, seconds: float) -> None:
        """The origin asked to be left alone for so long; of several such answers the longest wait counts."""
        waited = self._clock.seconds() - self._paused_at
        left = self._pause - waited if self._held and waited >= 0 else 0.0
        self._open(max(seconds, left))
        self._held = True

    def _open(self, pause: float) -> None:
        self._pause, self._paused_at, self._probing, self._held = pause, self._clock.seconds(), False, False

    def _refusal(self, seconds: float) -> UpstreamUnavailable:
        return UpstreamUnavailable(
            f"{self.error or 'Upstream does not answer.'} Cheddar waits a little before it asks again.",
            retry_after=max(1, round(seconds)),
        )


@define(eq=False)
class Breakers:
    """
    One L{Breaker} per origin: the host of the files may be down while the pages are fine.

    @ivar _own_breaker: that of upstream's own origin, which is kept whatever comes.
    """

    _clock: IReactorTime
    _own: Origin
    _own_breaker: Breaker
    _others: dict[Origin, Breaker] = field(factory=dict)

    def of(self, origin: Origin) -> Breaker:
        """The breaker of C{origin}."""
        if origin == self._own:
            return self._own_breaker
        breaker = self._others.pop(origin, None) or Breaker(self._clock)
        self._others[origin] = breaker
        if len(self._others) > MAX_ORIGINS:
            # The one that was used longest ago: pages decide how many origins there are, memory must not follow.
            del self._others[next(iter(self._others))]
        return breaker
