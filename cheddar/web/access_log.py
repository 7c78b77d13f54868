"""
What is noted of each request: a line of text in the log, as ever, or JSON lines in a file of their own.

The lines are made and written once a second: while a request is answered, all that is done for its line is to keep what
will be in it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from datetime import datetime, timezone
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from cheddar import metrics
from cheddar.deferreds import returns_deferred
from cheddar.logs import escaped
from cheddar.web.clients import TrustedProxies

#: Seconds between two writings.
INTERVAL = 1.0
#: So many requests are written at once, without waiting for the second to end; beyond so many none is kept any more.
BATCH = 2_000
MOST_KEPT = 20_000

#: So many lines are one event of the log.
EVENT = 200

#: What ACCESS_LOG_FILE says for the standard output.
STANDARD_OUTPUT = Path("-")


@frozen(slots=False)
class Answered:
    """
    A request and how it ended. How that is written is kept: an answer that is given again is noted again.

    @ivar user: who asked; empty for nobody.
    @ivar path: without the query, which may hold secrets; empty for an address that is no path: it may hold a login.
    @ivar protocol: and its version.
    @ivar size: bytes of the body that were sent.
    @ivar agent: what the client calls itself.
    @ivar forwarded: what proxies say of where the request comes from.
    @ivar route: the rule that answered; empty for none.
    """

    user: str
    method: bytes
    path: bytes
    protocol: bytes
    status: int
    size: int
    agent: bytes
    forwarded: tuple[str, ...]
    route: str

    @classmethod
    def of(cls, request: Any) -> Answered:
        """@param request: a L{CheddarRequest<cheddar.web.request.CheddarRequest>}."""
        return cls(
            request.identity.name if request.identity else "",
            request.method,
            request.uri.partition(b"?")[0] if request.uri.startswith(b"/") else b"",
            request.clientproto,
            request.code,
            request.sentLength,
            request.requestHeaders.getRawHeaders(b"user-agent", _NO_AGENT)[0],
            request.forwarded,
            request.route,
        )

    def to(self, agent: bytes, forwarded: tuple[str, ...]) -> Answered:
        """The same, answered to another client."""
        if (agent, forwarded) == (self.agent, self.forwarded):
            return self
        return evolve(self, agent=agent, forwarded=forwarded)

    def line(self, timestamp: str, address: str) -> str:
        """
        In the "combined" format of other servers, but for where a link was followed: that may hold others' secrets.

        @param timestamp: in brackets.
        """
        before, after = self._words
        return f'"{address}" - {before} {timestamp} {after}'

    @cached_property
    def _words(self) -> tuple[str, str]:
        what = " ".join(map(_text, (self.method, self.path or b"-", self.protocol)))
        agent = _text(self.agent or b"-")
        return _text(self.user.encode()) or "-", f'"{what}" {self.status} {self.size or "-"} "-" "{agent}"'

    @cached_property
    def json(self) -> str:
        """As members of a JSON object; what is empty is left out."""
        said = {
            "user": self.user,
            "method": self.method.decode("latin-1"),
            "path": self.path.decode("latin-1"),
            "route": self.route,
            "status": self.status,
            "bytes": self.size,
            "agent": self.agent.decode("latin-1"),
        }
        # ASCII: nothing that a client wrote can begin a line, or steer the terminal that shows it.
        return json.dumps({name: value for name, value in said.items() if value != ""}, ensure_ascii=True)[1:-1]


_NO_AGENT = (b"",)


def _text(value: bytes) -> str:
    """One word or several, without an end to the quotes around them."""
    return escaped(value.decode("latin-1")).replace("\\", "\\\\").replace('"', '\\"')


class AccessLog(Protocol):
    """Where requests are noted."""

    def add(self, peer: str, began: float, answered: Answered, whole: bool = True) -> None:
        """Plain call. One has ended: see L{CheddarSite.note<cheddar.web.request.CheddarSite.note>}."""


#: When a request ended and when it began, the other end of its connection, the rest, and whether it was answered whole.
_Entry: TypeAlias = tuple[float, float, str, Answered, bool]


class NoLog:
    """The access log that is off."""

    def add(self, peer: str, began: float, answered: Answered, whole: bool = True) -> None:
        """Note nothing."""


class TextLines:
    """The access log as lines of the log, several in one event."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, trusted: TrustedProxies) -> None:
        """@param trusted: the proxies that say who their clients are."""
        self._clock = clock
        self._client = lru_cache(maxsize=256)(trusted.client)
        self._lines: list[str] = []
        self._loop = LoopingCall(self._say)
        self._loop.clock = clock

    def start(self) -> None:
        """Begin to write."""
        self._loop.start(INTERVAL, now=False)

    @returns_deferred
    async def stop(self) -> None:
        """Write what is left."""
        if self._loop.running:
            self._loop.stop()
        self._say()

    def add(self, peer: str, began: float, answered: Answered, whole: bool = True) -> None:
        """See L{AccessLog}. There are no words for who did not wait for the end."""
        if not whole:
            return
        timestamp = _timestamp(int(self._clock.seconds()))
        self._lines.append(answered.line(timestamp, self._client(peer, answered.forwarded)))
        if len(self._lines) == EVENT:
            self._say()

    def _say(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            # What is in them is escaped: none has an end of a line in it.
            self._log.info("{lines}", lines="\n".join(lines), log_lines=True)


@lru_cache(maxsize=2)
def _timestamp(second: int) -> str:
    return f"{datetime.fromtimestamp(second, timezone.utc):[%d/%b/%Y:%H:%M:%S +0000]}"


class JSONLines:
    """
    The access log as JSON objects, one a line.

    Nobody waits for it: what cannot be written is lost, which is said once.
    """

    _log = Logger()

    def __init__(
        self,
        path: Path,
        reactor: IReactorFromThreads,
        clock: IReactorTime,
        pool: ThreadPool,
        trusted: TrustedProxies,
    ) -> None:
        """
        @param path: the file; its folder is made with it. It is opened for each writing, so that it can be moved away
            and another takes its place. Or L{STANDARD_OUTPUT}.
        @param pool: where lines are made and written.
        @param trusted: the proxies that say who their clients are.
        """
        self._path = path
        self._reactor = reactor
        self._clock = clock
        self._pool = pool
        # Who asks once asks again.
        self._client = lru_cache(maxsize=256)(trusted.client)
        self._kept: list[_Entry] = []
        self._lost = 0
        self._failing = False
        self._writing: Deferred[None] | None = None
        self._loop = LoopingCall(self._turn)
        self._loop.clock = clock

    def start(self) -> None:
        """Begin to write."""
        self._loop.start(INTERVAL, now=False)

    @returns_deferred
    async def stop(self) -> None:
        """Write what is left."""
        if self._loop.running:
            self._loop.stop()
        while self._kept or self._writing is not None:
            await self._write()

    def add(self, peer: str, began: float, answered: Answered, whole: bool = True) -> None:
        """See L{AccessLog}."""
        kept = self._kept
        if len(kept) >= MOST_KEPT:
            self._lose(1)
            return
        kept.append((self._clock.seconds(), began, peer, answered, whole))
        if len(kept) == BATCH:
            self._turn()

    def _turn(self) -> None:
        if self._kept and self._writing is None:
            self._write()

    def _write(self) -> Deferred[None]:
        if self._writing is None:
            entries, self._kept = self._kept, []
            self._writing = deferToThreadPool(self._reactor, self._pool, self._put, entries)
            self._writing.addCallbacks(self._written, self._failed, errbackArgs=(len(entries),))
        waiter: Deferred[None] = Deferred()
        self._writing.addBoth(lambda _: waiter.callback(None))
        return waiter

    def _put(self, entries: Iterable[_Entry]) -> None:
        lines = "".join(map(self._line, entries)).encode("ascii")
        if self._path == STANDARD_OUTPUT:
            while lines:
                lines = lines[os.write(1, lines) :]
        else:
            _append(self._path, lines)

    def _line(self, entry: _Entry) -> str:
        at, began, peer, answered, whole = entry
        time = datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        client = self._client(peer, answered.forwarded)
        # The clock may have been set meanwhile.
        seconds = max(0.0, at - began)
        end = "" if whole else ', "cut": true'
        return f'{{"at": "{time}", "client": "{client}", {answered.json}, "seconds": {seconds:.6f}{end}}}\n'

    def _written(self, _: None) -> None:
        self._writing = None
        if self._failing or self._lost:
            self._log.warn("The access log is written again; {lost} requests are not in it", lost=self._lost)
        self._failing, self._lost = False, 0

    def _failed(self, failure: Failure, count: int) -> None:
        self._writing = None
        self._lose(count)
        if not self._failing:
            self._failing = True
            self._log.error("The access log cannot be written: {error}", error=failure.value)

    def _lose(self, count: int) -> None:
        self._lost += count
        metrics.access_log_lost.inc(count)


def _append(path: Path, lines: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        # One call: lines of several processes do not mix.
        written = os.write(descriptor, lines)
        if written < len(lines):
            end = os.lseek(descriptor, 0, os.SEEK_CUR)
            if os.fstat(descriptor).st_size == end:
                # The disk is full. Half a line would spoil the next one.
                os.ftruncate(descriptor, end - written + lines.rfind(b"\n", 0, written) + 1)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)
