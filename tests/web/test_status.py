"""What operators see of upstreams: in readiness, and in metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import pytest_twisted

from cheddar.settings import Settings
from cheddar.settings.upstreams import read_upstreams
from tests.support.distributions import make_wheel
from tests.support.later import LaterReactor
from tests.support.server import CheddarHere
from tests.support.upstream import EvilUpstream


@pytest.fixture
def clock(reactor: Any) -> LaterReactor:
    """Puts the server's time forward."""
    return LaterReactor(reactor)


@pytest_twisted.async_yield_fixture
async def other(reactor: Any) -> AsyncIterator[EvilUpstream]:
    """An upstream that is well."""
    server = EvilUpstream(reactor)
    server.add_file("well", *make_wheel("well", "1.0"))
    await server.start()
    yield server
    await server.stop()


async def shown(cheddar: CheddarHere, name: str) -> tuple[Any, ...]:
    """Of an upstream: its breaker, failures and whether it is up, as metrics and readiness both say."""
    ready = await cheddar.ask("GET", "/health/ready")
    assert (ready.status, ready.json()["ready"]) == (200, True), "Cheddar goes on"
    (state,) = (state for state in ready.json()["upstreams"] if state["name"] == ("" if name == "default" else name))
    samples = {}
    for line in (await cheddar.ask("GET", "/metrics")).body.decode().splitlines():
        if line.startswith("cheddar_upstream_") and f'upstream="{name}"' in line:
            sample, _, value = line.rpartition(" ")
            samples[sample] = float(value)
    breakers = [
        breaker
        for breaker in ("closed", "open", "half-open")
        if samples.pop(f'cheddar_upstream_breaker{{state="{breaker}",upstream="{name}"}}') == 1
    ]
    assert breakers == [state["breaker"]]
    assert samples == {
        f'cheddar_upstream_up{{upstream="{name}"}}': float(state["ok"]),
        f'cheddar_upstream_failures{{upstream="{name}"}}': float(state["failures"]),
    }
    return state["breaker"], state["failures"], state["ok"], state["error"]


async def test_the_breakers_of_upstreams(
    settings: Settings, upstream: EvilUpstream, other: EvilUpstream, clock: LaterReactor
) -> None:
    """Closed; open after five failures, with what went wrong; half-open after the pause; closed again. Always ready."""
    upstream.add_file("demo", *make_wheel("demo", "1.0"))
    tables = [
        {"name": "first", "url": upstream.url, "exclude": ["well"]},
        {"name": "second", "url": other.url},
    ]
    cheddar = await CheddarHere(attrs.evolve(settings, upstream=read_upstreams("test", tables)), clock).start()
    assert await shown(cheddar, "first") == ("closed", 0, True, None)
    assert (await cheddar.ask("GET", "/simple/well/")).status == 200
    upstream.misbehave("/simple/demo/", status=500)
    for failures in range(1, 6):
        assert (await cheddar.ask("GET", "/simple/demo/")).status == 503
        assert (await shown(cheddar, "first"))[:3] == ("open" if failures == 5 else "closed", failures, False)
    assert (await cheddar.ask("GET", "/simple/demo/")).status == 503
    assert upstream.hits["GET /simple/demo/"] == 5, "it is left alone"
    assert "500" in (await shown(cheddar, "first"))[3]
    assert await shown(cheddar, "second") == ("closed", 0, True, None), "the other is another"
    clock.later(1.5)
    assert (await shown(cheddar, "first"))[0] == "half-open"
    upstream.behave()
    assert (await cheddar.ask("GET", "/simple/demo/")).status == 200
    assert await shown(cheddar, "first") == ("closed", 0, True, None)
    await cheddar.stop()


async def test_the_one_of_index_url(settings: Settings, clock: LaterReactor) -> None:
    """An upstream without a name has one in metrics."""
    cheddar = await CheddarHere(settings, clock).start()
    assert await shown(cheddar, "default") == ("closed", 0, True, None)
    await cheddar.stop()
