"""
What a request costs, as a multiple of what it would cost with nothing behind it: the same bytes from a resource of
twisted.web that only has them. Both are measured in one process and one run, so that the machine does not matter.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from tests.support.repeating import Repeating

#: Requests before anything is counted, for each of two counts, and for each turn of the clock.
_WARMING, _FEW, _MANY, _TIMED = 50, 10, 60, 200
#: Turns, and counts in each of them: so short that what happens once a second, such as the writing of a log, is in few.
_TURNS, _COUNTS = 5, 5


@frozen
class Asked:
    """
    A request that is measured.

    @ivar port: of its server. @ivar request: its bytes. @ivar status: of the answer.
    """

    port: int
    request: bytes
    status: int = 200


@frozen
class Cost:
    """
    Of one request.

    @ivar calls: of functions, on the reactor's thread, those written in C among them. All but the same in every run:
        where the machine stands still for a moment, a server may ask once more for what it remembers.
    @ivar work: seconds of CPU time of the whole process, its other threads included: what a function in C takes, and
        a count does not show. It is for comparison within one run alone.
    """

    calls: float
    work: float


@define
class _Calls:
    number: int = 0

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            self.number += 1


async def costs(asked: Sequence[Asked]) -> list[Cost]:
    """Measure; they take turns, and of each the best counts: what disturbs only ever adds to it."""
    async with AsyncExitStack() as running:
        clients = [await running.enter_async_context(_client(one)) for one in asked]
        best = [_Best() for _ in clients]
        for _ in range(_TURNS):
            for client, least in zip(clients, best, strict=True):
                for _ in range(_COUNTS):
                    least.few = min(least.few, await _counted(client, _FEW))
                    least.many = min(least.many, await _counted(client, _MANY))
                began = time.process_time()
                await deferToThread(client.turn, _TIMED)
                least.work = min(least.work, (time.process_time() - began) / _TIMED)
    # What a turn costs besides its requests is in both counts.
    return [Cost((least.many - least.few) / (_MANY - _FEW), least.work) for least in best]


@define
class _Best:
    """The least of each that was found."""

    few: float = float("inf")
    many: float = float("inf")
    work: float = float("inf")


@asynccontextmanager
async def _client(asked: Asked) -> AsyncIterator[Repeating]:
    client = Repeating(asked.port, asked.request, asked.status)
    await deferToThread(client.__enter__)
    try:
        await deferToThread(client.turn, _WARMING)
        yield client
    finally:
        await deferToThread(client.__exit__, None, None, None)


async def _counted(client: Repeating, times: int) -> int:
    calls = _Calls()
    before = sys.getprofile()
    sys.setprofile(calls)
    try:
        await deferToThread(client.turn, times)
    finally:
        sys.setprofile(before)
    return calls.number


class _Plain(Resource):
    isLeaf = True

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"etag", b'"plain"')
        request.setHeader(b"vary", b"Accept")
        return self._body


class _QuietSite(Site):
    def log(self, request: Any) -> None:
        """No access log."""


@asynccontextmanager
async def plain_server(body: bytes, reactor: Any) -> AsyncIterator[int]:
    """A server that has nothing but C{body}. @return: its port."""
    port = reactor.listenTCP(0, _QuietSite(_Plain(body)), interface="127.0.0.1")
    try:
        yield port.getHost().port
    finally:
        await maybeDeferred(port.stopListening)
