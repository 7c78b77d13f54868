"""
The short road: what was asked for a moment ago, in the very same bytes, is answered in the same way.

Whatever a request's answer depends on is either in the bytes of its head, or in the store, which tells of its changes;
so a head that was answered over the long road (routes, permission, index, rendering, conditions) may be looked up, byte
for byte but for lines such as the client's name, which are only noted, until a change is told of. No thread, no store
and no Deferred is asked. That an answer is kept is decided on the long road; what is kept is the head that it wrote,
with the date left open, and its body.

Kept are answers to those who have not logged in, about pages and files that everybody may see: who may see them is in
the store too. A user's login is looked at each time. Of a file only the head is kept: see L{cheddar.web.hot_files}.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from time import perf_counter, time
from typing import Any

from attrs import define, field
from prometheus_client import Histogram
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.web.http import datetimeToString

from cheddar import metrics
from cheddar.interfaces import IChanges, IStoredFile
from cheddar.web.access_log import Answered
from cheddar.web.hot_files import HotFile
from cheddar.web.hot_heads import LONGEST, client_of, may_be_kept, noted, parts_of, without_asides
from cheddar.web.responses import Lasting, age_of

#: Bytes of heads, and of the bodies that go with them, that are kept.
MOST_HEADS = 8 * 1024 * 1024
MOST_BODIES = 48 * 1024 * 1024
#: Seconds between two times that the index hears that an answer is asked for; and that the metrics do.
ASKED = 60.0
COUNTED = 1.0
#: Seconds without a change before an answer is kept: longer than any part of the long road goes by what it knew before
#: (a second), and the store takes to answer.
SETTLED = 3.0
#: Names whose last change is remembered.
_MOST_NAMES = 10_000
#: Heads, each as it came, of which it is remembered what asks for.
_MOST_KNOWN = 2000
#: Requests for files of which it is remembered that there was one. An answer with a file is kept from the second on:
#: most files are asked for once in a while, and would take the place of pages.
_MOST_ASKED_ONCE = 1000

_END = b"\r\n\r\n"
#: So many answers are given at once on one connection.
AT_ONCE = 4
#: Bytes that an answer costs besides its head and its body.
_OVERHEAD = 1200


@define(eq=False)
class Kept:
    """
    An answer.

    @ivar key: the head that asks for it, without what is only noted.
    @ivar heads: those that are known to ask for it, as they came.
    @ivar name: the project that it tells of; None: all of them.
    @ivar since: when it was kept, in seconds of the reactor's clock. @ivar until: how long it is good.
    @ivar start: its head up to the date. @ivar middle: up to the age, if it tells one. @ivar rest: what is left.
    @ivar checked_at: what the age counts from; None: it tells none.
    @ivar body: empty where none is sent, and where C{file} is.
    @ivar asked: see L{Lasting}. @ivar asked_at: when that was called last.
    @ivar hits: how often it was given, and C{seconds} how long that took, since the metrics had it.
    """

    key: bytes
    name: str | None
    since: float
    until: float
    start: bytes
    middle: bytes
    rest: bytes
    checked_at: float | None
    body: bytes
    file: IStoredFile | None
    answered: Answered
    asked: Callable[[], None] | None
    count: Callable[[float], None]
    duration: Histogram
    asked_at: float
    heads: set[bytes] = field(factory=set)
    hits: int = 0
    seconds: float = 0.0
    _head: bytes = b""
    _head_at: tuple[int, int] = (0, 0)

    def head(self, now: float) -> bytes:
        """The head, as of now."""
        age = 0 if self.checked_at is None else age_of(self.checked_at, now)
        moment = (int(time()), age)
        if moment != self._head_at:
            told = b"" if self.checked_at is None else b"%d" % age
            self._head = b"".join((self.start, datetimeToString(moment[0]), self.middle, told, self.rest))
            self._head_at = moment
        return self._head


@define(eq=False)
class HotAnswers:
    """
    The answers that are kept, by the heads that ask for them.

    @ivar _changes: what the store tells of.
    @ivar given: how many answers were given.
    """

    _clock: IReactorTime
    _changes: IChanges
    _kept: dict[bytes, Kept] = field(factory=dict, init=False)
    _known: dict[bytes, tuple[Kept, Answered]] = field(factory=dict, init=False)
    _of: defaultdict[str | None, set[bytes]] = field(factory=lambda: defaultdict(set), init=False)
    _head_bytes: int = field(default=0, init=False)
    _bodies: Counter[int] = field(factory=Counter, init=False)
    _body_bytes: int = field(default=0, init=False)
    _asked_once: dict[bytes, None] = field(factory=dict, init=False)
    _changed: dict[str, float] = field(factory=dict, init=False)
    given: int = field(default=0, init=False)
    _uncounted: list[Kept] = field(factory=list, init=False)
    _counting: LoopingCall | None = field(default=None, init=False)
    _all_changed: float = field(init=False)
    _any_changed: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._all_changed = self._any_changed = self._clock.seconds()
        self._changes.watch(self.changed)

    # The road.

    def answer(self, channel: Any, data: bytes) -> tuple[bytes, bool]:
        """
        Answer the requests that C{data} begins with, as long as they are known; not many of them, as others wait.

        @param channel: has no request under way, and nothing of one that has come before.
        @return: what is left, and whether the next of it may be known too.
        """
        began = self._clock.seconds()
        left = AT_ONCE
        while data and self._changes.heard():
            if not left or channel.stalled_since is not None:
                return data, True
            left -= 1
            end = data.find(_END) + len(_END)
            head = data if end == len(data) else data[:end]
            known = self._known.get(head) or self._find(channel, head)
            if known is None:
                break
            kept, answered = known
            if kept.file is not None:
                break
            if not kept.since <= began < kept.until:
                self._drop(kept.key)
                break
            started = perf_counter()
            if not kept.hits:
                self._uncounted.append(kept)
            kept.hits += 1
            self.given += 1
            channel.site.note(channel.peer, began, answered)
            channel.give(kept.head(began), kept.body)
            kept.seconds += perf_counter() - started
            if kept.asked is not None and began - kept.asked_at >= ASKED:
                kept.asked_at = began
                kept.asked()
            data = data[end:]
        return data, False

    def send(self, channel: Any, data: bytes) -> bytes | None:
        """
        Begin to send the file that C{data} begins with a request for, if it is known.

        @param channel: like that of L{answer}; it has it for its C{sending} until the file is sent.
        @return: what is left of C{data}; None where that is for the long road.
        """
        if not self._changes.heard():
            return None
        began = self._clock.seconds()
        end = data.find(_END) + len(_END)
        kept, answered = self._known.get(data[:end], (None, None))
        file = None if kept is None else kept.file
        if kept is None or answered is None or file is None:
            return None
        if not kept.since <= began < kept.until:
            self._drop(kept.key)
            return None

        def ended(seconds: float | None, begun: bool) -> None:
            if seconds is None:
                self._drop(kept.key)
                self.given -= 1
                return
            # At once: some take long and others do not, and the last ones end when nothing is counted any more.
            (kept.count if begun else metrics.requests.labels("GET", answered.route, "gone").inc)(1)
            kept.duration.observe(seconds)
            metrics.hot_answers.inc()

        self.given += 1
        HotFile(data[:end], channel, file, kept.head(began), answered, began, ended).start()
        return data[end:]

    def _find(self, channel: Any, head: bytes) -> tuple[Kept, Answered] | None:
        """What a request that has not come in these bytes yet asks for, and how its answer is noted."""
        if len(head) > min(LONGEST, channel.totalHeadersSize) or head.count(b"\r\n") - 2 > channel.maxHeaders:
            return None
        key, asides = without_asides(head)
        kept = self._kept.get(key)
        if kept is None:
            return None
        answered = noted(kept.answered, *client_of(head)) if asides else kept.answered
        if len(self._known) >= _MOST_KNOWN:
            first = next(iter(self._known))
            self._known.pop(first)[0].heads.discard(first)
        self._known[head] = kept, answered
        kept.heads.add(head)
        return kept, answered

    def count(self) -> None:
        """Note in the metrics what was answered since this was called last: once for many costs what one costs."""
        uncounted, self._uncounted = self._uncounted, []
        for kept in uncounted:
            hits, seconds, kept.hits, kept.seconds = kept.hits, kept.seconds, 0, 0.0
            kept.count(hits)
            metrics.hot_answers.inc(hits)
            metrics.observe_alike(kept.duration, seconds, hits)
            if kept.checked_at is not None:
                _served.inc(hits)
                age = max(0.0, self._clock.seconds() - kept.checked_at)
                metrics.observe_alike(metrics.page_age, age * hits, hits)

    def start(self) -> None:
        """Begin to count."""
        self._counting = LoopingCall(self.count)
        self._counting.clock = self._clock
        self._counting.start(COUNTED, now=False)

    def stop(self) -> None:
        """Count what is left."""
        if self._counting is not None and self._counting.running:
            self._counting.stop()
        self.count()

    # What is kept.

    def keep(self, request: Any, lasting: Lasting, body: bytes, file: IStoredFile | None = None) -> None:
        """
        Keep an answer that was written.

        @param request: a L{CheddarRequest<cheddar.web.request.CheddarRequest>}.
        @param body: what was sent of it.
        @param file: what was sent in its place.
        """
        now = self._clock.seconds()
        if not (now < lasting.until and self._changes.heard() and self._is_settled(lasting.name, request.began)):
            return
        if not may_be_kept(request, now):
            return
        key, _ = without_asides(request.head)
        if file is not None and not self._was_asked(key):
            return
        start, middle, rest = parts_of(request)
        kept = Kept(
            key=key,
            name=lasting.name,
            since=now,
            until=lasting.until,
            start=start,
            middle=middle,
            rest=rest,
            checked_at=lasting.checked_at if request.responseHeaders.hasHeader(b"age") else None,
            body=body,
            file=file,
            answered=Answered.of(request).to(b"", ()),
            count=request.counter(request.route).inc,
            duration=metrics.request_seconds.labels(request.route),
            asked=lasting.asked,
            asked_at=now,
        )
        self._drop(key)
        self._kept[key] = kept
        self._of[lasting.name].add(key)
        self._head_bytes += len(key) + _OVERHEAD
        self._bodies[id(body)] += 1
        if self._bodies[id(body)] == 1:
            self._body_bytes += len(body)
        while self._kept and (self._head_bytes > MOST_HEADS or self._body_bytes > MOST_BODIES):
            self._drop(next(iter(self._kept)))

    def _was_asked(self, key: bytes) -> bool:
        if key in self._asked_once:
            del self._asked_once[key]
            return True
        if len(self._asked_once) >= _MOST_ASKED_ONCE:
            del self._asked_once[next(iter(self._asked_once))]
        self._asked_once[key] = None
        return False

    def _drop(self, head: bytes) -> None:
        kept = self._kept.pop(head, None)
        if kept is None:
            return
        for known in kept.heads:
            del self._known[known]
        heads = self._of[kept.name]
        heads.discard(head)
        if not heads:
            del self._of[kept.name]
        self._head_bytes -= len(head) + _OVERHEAD
        self._bodies[id(kept.body)] -= 1
        if not self._bodies[id(kept.body)]:
            del self._bodies[id(kept.body)]
            self._body_bytes -= len(kept.body)

    # What changes.

    def changed(self, name: str | None) -> None:
        """A project, or everything (None), is not what it was."""
        now = self._any_changed = self._clock.seconds()
        if name is None:
            self._all_changed = now
            for kept in (self._kept, self._known, self._of, self._bodies):
                kept.clear()
            self._head_bytes = self._body_bytes = 0
            return
        if len(self._changed) >= _MOST_NAMES:
            # Then it is as if each of them had changed now: they are kept a little later.
            self._changed.clear()
            self._all_changed = now
        self._changed[name] = now
        for head in (*self._of.get(name, ()), *self._of.get(None, ())):
            self._drop(head)

    def _is_settled(self, name: str | None, began: float) -> bool:
        changed = self._any_changed if name is None else max(self._changed.get(name, 0.0), self._all_changed)
        return began - changed >= SETTLED


_served = metrics.pages_served.labels("memory")
