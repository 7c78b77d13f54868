"""Upstreams that take back, that are several, and that are not to be asked: through the front door."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from cheddar.settings import Settings
from cheddar.settings.upstreams import read_upstreams
from tests.support.distributions import make_wheel
from tests.support.later import LaterReactor
from tests.support.server import CheddarHere
from tests.support.upstream import EvilUpstream

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
OLD, NEW = make_wheel("demo", "1.0"), make_wheel("demo", "2.0")


@pytest.fixture
def clock(reactor: Any) -> LaterReactor:
    """Puts the server's time forward."""
    return LaterReactor(reactor)


@pytest_twisted.async_yield_fixture
async def other(reactor: Any) -> AsyncIterator[EvilUpstream]:
    """Another upstream."""
    server = EvilUpstream(reactor)
    await server.start()
    yield server
    await server.stop()


async def listed(cheddar: CheddarHere) -> dict[str, dict[str, Any]]:
    """The files of the page, by name."""
    answer = await cheddar.ask("GET", "/simple/demo/", headers=JSON)
    assert answer.status == 200, answer.body
    return {file["filename"]: file for file in answer.json()["files"]}


def path(file: dict[str, Any]) -> str:
    """Its address."""
    return str(file["url"]).removeprefix("../..")


async def refreshed(cheddar: CheddarHere, clock: LaterReactor, reactor: Any) -> None:
    """A listing that is due is served, and refreshed behind: wait until what came of it is remembered."""
    clock.later(601)
    now = clock.seconds()
    await listed(cheddar)
    while (page := await cheddar.service.store.pages.get("remote", "demo")) is None or page.checked_at < now:
        await deferLater(reactor, 0.02)
    clock.later(2)  # what this process remembers of a page is believed for a second


@pytest.mark.parametrize("on_removed", ["withhold", "mark", "keep"])
async def test_a_file_that_upstream_removes(
    settings: Settings, upstream: EvilUpstream, clock: LaterReactor, reactor: Any, on_removed: Any
) -> None:
    """Page and cached file follow within one refresh, as ON_REMOVED says; audited once; so after a restart."""
    upstream.add_file("demo", *OLD)
    upstream.add_file("demo", *NEW)
    settings = attrs.evolve(settings, on_removed=on_removed)
    cheddar = await CheddarHere(settings, clock).start()
    before = await listed(cheddar)
    address = path(before[NEW[0]])
    assert (await cheddar.ask("GET", address)).body == NEW[1]
    del upstream.projects["demo"][1]
    await refreshed(cheddar, clock, reactor)

    async def gone() -> bool:
        after = await listed(cheddar)
        return NEW[0] not in after if on_removed == "withhold" else "yanked" in after[NEW[0]]

    for _ in range(2):
        if on_removed == "keep":
            assert (await listed(cheddar))[NEW[0]] == before[NEW[0]]
        else:
            assert await gone()
        assert (await listed(cheddar))[OLD[0]] == before[OLD[0]]
        answer = await cheddar.ask("GET", address)
        assert answer.status == (404 if on_removed == "withhold" else 200)
        await cheddar.stop()
        cheddar = await CheddarHere(settings, clock).start()
    events = [json.loads(line) for line in settings.audit_file.read_text().splitlines()]
    assert [(event["action"], event["filename"]) for event in events] == [("upstream.removed", NEW[0])]
    await cheddar.stop()


async def test_offline(settings: Settings, upstream: EvilUpstream, clock: LaterReactor) -> None:
    """What is cached works, however old; nothing is asked of upstream, and what is not here says why."""
    upstream.add_file("demo", *OLD)
    upstream.add_file("unseen", *make_wheel("unseen", "1.0"))
    cheddar = await CheddarHere(settings, clock).start()
    address = path((await listed(cheddar))[OLD[0]])
    assert (await cheddar.ask("GET", address)).body == OLD[1]
    assert (await cheddar.ask("GET", address + ".metadata")).status == 200
    await cheddar.stop()
    assert upstream.connections, "the control"
    upstream.connections = 0
    clock.later(30 * 24 * 3600)
    cheddar = await CheddarHere(attrs.evolve(settings, offline=True), clock).start()
    assert list(await listed(cheddar)) == [OLD[0]]
    assert (await cheddar.ask("GET", address)).body == OLD[1]
    assert (await cheddar.ask("GET", address + ".metadata")).status == 200
    unseen = await cheddar.ask("GET", "/simple/unseen/")
    assert unseen.status == 503
    assert b"OFFLINE" in unseen.body
    assert (await cheddar.ask("GET", "/health/ready")).json()["upstreams"][0]["offline"] is True
    assert upstream.connections == 0
    await cheddar.stop()


async def test_two_upstreams(
    settings: Settings, upstream: EvilUpstream, other: EvilUpstream, clock: LaterReactor
) -> None:
    """A project is the first one's that has it, file and metadata too; one that fails is not passed over."""
    upstream.add_file("demo", *OLD)
    other.add_file("demo", *NEW)
    single = make_wheel("single", "1.0")
    other.add_file("single", *single)
    tables = [
        {"name": "first", "url": upstream.url, "exclude": ["private-*"]},
        {"name": "second", "url": other.url},
    ]
    cheddar = await CheddarHere(attrs.evolve(settings, upstream=read_upstreams("test", tables)), clock).start()
    assert list(await listed(cheddar)) == [OLD[0]]
    answer = await cheddar.ask("GET", "/simple/single/", headers=JSON)
    (file,) = answer.json()["files"]
    assert (await cheddar.ask("GET", path(file))).body == single[1]
    assert (await cheddar.ask("GET", path(file) + ".metadata")).status == 200
    assert not [seen for seen in upstream.requests if "single-" in seen.path]
    upstream.misbehave("/simple/third/", status=503)
    other.add_file("third", *make_wheel("third", "6.6.6"))
    assert (await cheddar.ask("GET", "/simple/third/")).status == 503
    assert (await cheddar.ask("GET", "/simple/private-x/")).status == 404
    assert not [seen for seen in upstream.requests if "private" in seen.path]
    assert [seen for seen in other.requests if "private" in seen.path]
    states = (await cheddar.ask("GET", "/health/ready")).json()["upstreams"]
    assert [state["name"] for state in states] == ["first", "second"]
    await cheddar.stop()
