"""OFFLINE: what is cached works, nothing is asked of upstream, and what is not here says why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from cheddar.formats.provenance import CONTENT_TYPE
from cheddar.settings import Settings
from tests.clients.conftest import STORES, TREE, running_upstream, store_options
from tests.clients.installers import INSTALLERS
from tests.support.attestations import PUBLISH, attest, provenance_of
from tests.support.clients import output
from tests.support.distributions import core_metadata_of, make_sdist, make_wheel
from tests.support.later import LaterReactor
from tests.support.redis import RedisServer
from tests.support.server import JSON, CheddarHere, CheddarProcess, ask
from tests.support.upstream import EvilUpstream

DAY = 24 * 3600
WHEEL, MADE, SDIST = make_wheel("demo", "1.0"), make_wheel("made", "1.0", size=100_000), make_sdist("demo", "0.9")
UNSEEN = make_wheel("demo", "0.8")


@pytest.fixture
def clock(reactor: Any) -> LaterReactor:
    """Puts the server's time forward."""
    return LaterReactor(reactor)


@pytest_twisted.async_yield_fixture(params=STORES)
async def stored(request: Any, settings: Settings, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings with a store that outlives a Cheddar."""
    if request.param == "sqlite":
        yield settings
        return
    (tmp_path / "redis").mkdir()
    redis = RedisServer(tmp_path / "redis")
    redis.start()
    yield attrs.evolve(settings, redis_url=redis.url)
    redis.kill()


def offer(upstream: EvilUpstream) -> None:
    """A project with all that a file may have, one whose metadata is made, and one that nobody asks for."""
    document = provenance_of(PUBLISH, [attest(*WHEEL)])
    address = "/integrity/demo/1.0/provenance"
    upstream.misbehave(address, status=200, body=document, headers={"Content-Type": CONTENT_TYPE})
    upstream.add_file("demo", *WHEEL, provenance=upstream.origin + address)
    upstream.add_file("demo", *SDIST)
    upstream.add_file("demo", *UNSEEN)
    upstream.add_file("made", *MADE, core_metadata=None)
    upstream.add_file("unseen", *make_wheel("unseen", "1.0"))


async def files(cheddar: CheddarHere, project: str) -> dict[str, dict[str, Any]]:
    """What the page lists, by name."""
    answer = await cheddar.ask("GET", f"/simple/{project}/", headers={"Accept": JSON})
    assert answer.status == 200, answer
    return {file["filename"]: file for file in answer.json()["files"]}


def address(file: dict[str, Any]) -> str:
    """Where it is."""
    return "/" + str(file["url"]).removeprefix("../../")


@pytest.fixture
def online(stored: Settings, upstream: EvilUpstream, clock: LaterReactor, reactor: Any) -> Any:
    """Everything was asked for once, but for what is called unseen."""

    async def cached() -> dict[str, tuple[str, bytes]]:
        offer(upstream)
        cheddar = await CheddarHere(stored, clock).start()
        while "core-metadata" not in (made := (await files(cheddar, "made"))[MADE[0]]):
            await deferLater(reactor, 0.05)
        listed = await files(cheddar, "demo")
        got = {}
        for name, path in (
            ("wheel", address(listed[WHEEL[0]])),
            ("sdist", address(listed[SDIST[0]])),
            ("metadata", address(listed[WHEEL[0]]) + ".metadata"),
            ("provenance", address(listed[WHEEL[0]]) + ".provenance"),
            ("made metadata", address(made) + ".metadata"),
        ):
            answer = await cheddar.ask("GET", path)
            assert answer.status == 200, answer
            got[name] = (path, answer.body)
        assert (await cheddar.ask("GET", "/simple/missing/")).status == 404
        await cheddar.stop()
        return got

    return cached


async def test_everything_that_is_cached_works(
    online: Any, stored: Settings, upstream: EvilUpstream, clock: LaterReactor
) -> None:
    """Pages however old, files, core metadata (made here too) and provenance; no connection is opened."""
    got = await online()
    assert got["metadata"][1] == core_metadata_of(WHEEL[1])
    assert got["made metadata"][1] == core_metadata_of(MADE[1])
    clock.later(90 * DAY)
    upstream.connections = 0
    cheddar = await CheddarHere(attrs.evolve(stored, offline=True), clock).start()
    assert set(await files(cheddar, "demo")) == {WHEEL[0], SDIST[0], UNSEEN[0]}
    for path, body in got.values():
        answer = await cheddar.ask("GET", path)
        assert (answer.status, answer.body) == (200, body)
        part = await cheddar.ask("GET", path, headers={"Range": "bytes=1-3"})
        assert part.body in (body[1:4], body)
    names = (await cheddar.ask("GET", "/simple/", headers={"Accept": JSON})).json()["projects"]
    assert [project["name"] for project in names] == ["demo", "made"]
    assert (await cheddar.ask("GET", "/project/demo/")).status == 200
    assert (await cheddar.ask("GET", "/pypi/demo/json")).status == 200
    assert upstream.connections == 0
    await cheddar.stop()
    cheddar = await CheddarHere(stored, clock).start()
    await files(cheddar, "demo")
    while not upstream.connections:
        await deferLater(clock, 0.01)  # the control: a listing that old is asked for again, once it is allowed
    await cheddar.stop()


async def test_what_is_not_here_says_why(
    online: Any, stored: Settings, upstream: EvilUpstream, clock: LaterReactor
) -> None:
    """A project, a file or metadata that was never asked for: 503, and that it is OFFLINE."""
    await online()
    upstream.connections = 0
    cheddar = await CheddarHere(attrs.evolve(stored, offline=True), clock).start()
    unseen = address((await files(cheddar, "demo"))[UNSEEN[0]])
    wanted = ["/simple/unseen/", "/remote/simple/unseen/", "/project/unseen/", unseen, unseen + ".metadata"]
    clock.later(DAY)
    wanted.append("/simple/missing/")  # what was not there yesterday may be there now
    for path in wanted:
        answer = await cheddar.ask("GET", path)
        assert answer.status == 503, path
        assert "OFFLINE is set" in answer.reason
        assert "retry-after" not in answer.headers, "pip would wait for it before it says what is wrong"
    assert upstream.connections == 0
    await cheddar.stop()
    cheddar = await CheddarHere(stored, clock).start()
    assert [(await cheddar.ask("GET", path)).status for path in wanted] == [200] * 5 + [404], "the control"
    await cheddar.stop()


async def test_it_says_that_it_is_offline(stored: Settings, upstream: EvilUpstream, clock: LaterReactor) -> None:
    """Readiness and the front page say so; nobody is invited to ask upstream; nothing is claimed of its health."""
    upstream.add_file("demo", *WHEEL)
    for offline in (False, True):
        cheddar = await CheddarHere(attrs.evolve(stored, offline=offline), clock).start()
        ready = await cheddar.ask("GET", "/health/ready")
        assert ready.status == 200
        assert [state["offline"] for state in ready.json()["upstreams"]] == [offline]
        home = (await cheddar.ask("GET", "/", headers={"Accept": "text/html"})).body
        assert (b"This server is offline" in home, b"is fetched from upstream and kept" in home) == (
            offline,
            not offline,
        )
        found = (await cheddar.ask("GET", "/?q=flask", headers={"Accept": "text/html"})).body
        assert (b"Ask upstream" in found) is not offline
        metrics = (await cheddar.ask("GET", "/metrics")).body
        assert (b'cheddar_upstream_up{upstream="default"} 1.0' in metrics) is not offline
        await cheddar.stop()
    assert upstream.connections == 0


@pytest.mark.client("installs what is cached from a server that is offline", "pip")
@pytest.mark.parametrize("store", STORES)
def test_pip_installs_offline(tmp_path: Path, store: str) -> None:
    """With an empty cache of its own, of a tree that somebody installed before; upstream is up and hears nothing."""
    with running_upstream(tmp_path / "upstream") as upstream, store_options(store, tmp_path) as chosen:
        asked = []
        for environ in ({}, {"CHEDDAR_OFFLINE": "true"}):
            options = (*chosen, "--index-url", upstream.url)
            server = CheddarProcess(tmp_path / "data", options=options, environ=environ).start()
            try:
                pip = INSTALLERS["pip"](tmp_path / f"pip{len(asked)}")
                done = pip.install(f"{server.url}simple/", "trunk")
                assert done.returncode == 0, output(done)
                assert pip.installed() == {name: TREE[name] for name in ("trunk", "branch", "leaf")}
                asked.append(upstream.log.read_text())
                if environ:
                    pip.environ = {"PIP_VERBOSE": "2"}  # it says why to who asks
                    done = pip.install(f"{server.url}simple/", "source-only")
                    assert done.returncode != 0
                    assert "503" in output(done)
                    assert ask(server.port, "GET", "/simple/source-only/").status == 503
            finally:
                server.stop()
        assert asked[0], "the control"
        assert asked == [upstream.log.read_text()] * 2
