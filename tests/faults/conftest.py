"""A Cheddar whose upstream misbehaves, and what must be left of that in the end: nothing."""

from __future__ import annotations

import http.client
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.task import deferLater

from cheddar import metrics
from cheddar.settings import Settings
from tests.conformance.served import Served
from tests.support.distributions import make_wheel, sha256
from tests.support.later import LaterReactor
from tests.support.server import Answer, CheddarHere
from tests.support.upstream import EvilUpstream

#: The one file that upstream has, of the project C{demo}: more than is held back of it until it is verified.
WHEEL, CONTENT = make_wheel("demo", "1.0", size=400_000)
GAUGES = ("cheddar_downloads_under_way", "cheddar_connections")


@define(eq=False)
class Ending:
    """
    What must be left of an upstream's misbehaviour: nothing.

    @ivar upstreams: those that were asked.
    """

    _reactor: Any
    _cheddar: CheddarHere
    upstreams: list[EvilUpstream] = field(factory=list)

    def left(self) -> list[str]:
        """What is left, while Cheddar runs and keeps idle connections to use again."""
        settings = self._cheddar.settings
        spools = [folder / ".incoming" for folder in (settings.remote_dir, settings.local_dir)]
        partial = [str(path) for spool in spools for path in spool.rglob("*") if path.name not in ("gate", "lock")]
        return [
            *(path for path in partial if Path(path).is_file()),
            *(f"under way: {seen}" for upstream in self.upstreams for seen in upstream.requests if not seen.ended),
            *(f"{name} is not 0" for name in GAUGES if metrics.registry.get_sample_value(name) != 0),
        ]

    async def nothing_is_left(self, seconds: float = 10) -> None:
        """Wait so long at most until there is nothing."""
        end = monotonic() + seconds
        while self.left() and monotonic() < end:
            await deferLater(self._reactor, 0.01)
        left = self.left()
        assert left == [], left  # said here too: no pytest explains it to the script

    async def stop(self, seconds: float = 5) -> None:
        """Stop Cheddar: no connection outlives it, but for the time that it takes upstream to see so."""
        await self._cheddar.service.stopService()
        end = monotonic() + seconds
        while any(upstream.open_connections for upstream in self.upstreams) and monotonic() < end:
            await deferLater(self._reactor, 0.01)
        still_open = [upstream.open_connections for upstream in self.upstreams]
        assert not any(still_open), f"connections to upstream: {still_open}"


@pytest_twisted.async_yield_fixture
async def upstream(reactor: Any) -> AsyncIterator[EvilUpstream]:
    """An upstream that does as it is told."""
    server = EvilUpstream(reactor)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def clock(reactor: Any) -> LaterReactor:
    """Cheddar's clock, and its reactor."""
    return LaterReactor(reactor)


@pytest.fixture
def settings(tmp_path: Path, upstream: EvilUpstream) -> Settings:
    """A Cheddar without much patience."""
    return Settings(data_dir=tmp_path / "data", index_url=upstream.url, get_timeout=4, listing_wait=10)


@pytest_twisted.async_yield_fixture
async def served(clock: LaterReactor, settings: Settings, upstream: EvilUpstream) -> AsyncIterator[Served]:
    """A running Cheddar, whose upstream has one wheel."""
    upstream.add_file("demo", WHEEL, CONTENT)
    server = await CheddarHere(settings, clock).start()
    yield Served("combined", "remote", server, upstream, clock)
    await server.stop()


@pytest_twisted.async_yield_fixture
async def nothing_left(reactor: Any, served: Served, upstream: EvilUpstream) -> AsyncIterator[Ending]:
    """The end of every test here."""
    ending = Ending(reactor, served.cheddar, [upstream])
    yield ending
    await ending.nothing_is_left()
    await ending.stop()


def says_come_again(answer: Answer) -> None:
    """Upstream's trouble is never "not found", which would send installers to another index, nor Cheddar's fault."""
    assert answer.status in (502, 503), answer
    assert answer.headers["cache-control"] == "no-store"
    if answer.status == 503:
        assert int(answer.headers["retry-after"]) > 0


async def address_of_file(served: Served) -> str:
    """The path of demo's one file."""
    (address,) = (await served.addresses("demo")).values()
    return address


async def bytes_got(served: Served, address: str) -> int:
    """How many bytes of a file came before the connection was cut; 0 where an error was the answer."""
    try:
        answer = await served.get(address)
    except http.client.IncompleteRead as error:
        return len(error.partial)
    except ConnectionError:
        return 0
    says_come_again(answer)
    return 0


async def gives_the_file(served: Served) -> None:
    """The positive control: page and file are as they should be."""
    answer = await served.get(await address_of_file(served))
    assert (answer.status, sha256(answer.body)) == (200, sha256(CONTENT))
