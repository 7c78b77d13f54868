"""Redis killed in mid-flight."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from cheddar.auth.passwords import hash_password
from cheddar.index.store_memory import BELIEF
from cheddar.model import User
from cheddar.settings import Settings
from tests.cli.commands import execute
from tests.support.distributions import make_wheel
from tests.support.redis import RedisServer
from tests.support.server import JSON, PASSWORD, USER, CheddarHere, basic
from tests.support.upstream import EvilUpstream


@pytest_twisted.async_yield_fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis that keeps its data on disk."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    yield server
    server.kill()


@pytest_twisted.async_yield_fixture
async def cheddar(reactor: Any, redis: RedisServer, tmp_path: Path) -> AsyncIterator[CheddarHere]:
    """Cheddar on that Redis."""
    server = await CheddarHere(Settings(data_dir=tmp_path / "data", redis_url=redis.url, index_url=""), reactor).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    yield server
    await server.stop()


async def until_well(cheddar: CheddarHere, reactor: Any) -> None:
    """Wait until Cheddar says that it is ready."""
    for _ in range(200):
        if (await cheddar.ask("GET", "/health/ready")).status == 200:
            return
        await deferLater(reactor, 0.05)
    raise AssertionError("not ready again")


@pytest.mark.deadline(60)
@pytest.mark.parametrize("trouble", ["killed", "stopped"])
async def test_a_store_that_is_away_is_a_503_and_heals(
    cheddar: CheddarHere, redis: RedisServer, reactor: Any, trouble: str
) -> None:
    """Every request ends soon with a 503 that says why; nothing is half done; all is well when Redis is back."""
    filename, content = make_wheel("demo", "1.0")
    assert (await cheddar.upload(filename, content)).status == 200
    assert (await cheddar.ask("GET", "/simple/demo/")).status == 200
    await deferToThread(redis.kill if trouble == "killed" else redis.stop)
    # What was read before goes on being known for a second.
    while cheddar.service.store.changes.heard():
        await deferLater(reactor, 0.02)
    began = time.monotonic()
    answers = await gatherResults(
        [
            cheddar.ask("GET", "/simple/demo/"),
            cheddar.ask("GET", f"/local/{filename}"),
            cheddar.upload(*make_wheel("demo", "1.1")),
            cheddar.ask("DELETE", "/simple/demo/1.0", headers={"Authorization": basic()}),
            cheddar.ask("GET", "/health/ready"),
        ]
    )
    assert [answer.status for answer in answers] == [503] * 5
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    assert "store" in answers[0].reason
    # Each call to the store is given up after 1.5 s; three times that, since this machine is shared.
    assert time.monotonic() - began < 3 * 2.5
    assert (await cheddar.ask("GET", "/health/live")).status == 200
    await deferToThread(redis.start if trouble == "killed" else redis.cont)
    await until_well(cheddar, reactor)
    assert (await cheddar.upload(*make_wheel("demo", "1.2"))).status == 200
    page = (await cheddar.ask("GET", "/simple/demo/", headers={"Accept": JSON})).json()
    assert {"1.0", "1.2"} <= set(page["versions"])


async def test_cheddar_starts_without_its_redis(reactor: Any, tmp_path: Path) -> None:
    """It answers that it lives, says that it is not ready, and takes up work when Redis comes."""
    redis = RedisServer(tmp_path)
    server = await CheddarHere(Settings(data_dir=tmp_path / "data", redis_url=redis.url, index_url=""), reactor).start()
    try:
        assert (await server.ask("GET", "/health/live")).status == 200
        assert (await server.ask("GET", "/health/ready")).status == 503
        await deferToThread(redis.start)
        await until_well(server, reactor)
    finally:
        await server.stop()
        redis.kill()


async def test_a_redis_user_of_the_original(cheddar: CheddarHere, redis: RedisServer) -> None:
    """`redis-cli set cheddar.user.NAME PASSWORD` adds a user; the password is a hash after the first login."""
    assert await deferToThread(redis.command, "SET", "cheddar.user.carol", "007") == b"+OK\r\n"
    answer = await cheddar.upload(*make_wheel("demo", "1.0"), authorization=basic("carol", "007"))
    assert answer.status == 200
    assert b"$argon2id$" in await deferToThread(redis.command, "GET", "cheddar.user.carol")


async def emptied(server: CheddarHere, upstream: EvilUpstream) -> None:
    """What is asked of a server whose store was emptied: nothing is given away, nothing is taken in."""
    before = len(upstream.requests)
    for path in ("/simple/demo/", "/simple/", "/local/simple/demo/", "/remote/simple/demo/", "/pypi/demo/json"):
        answer = await server.ask("GET", path)
        assert answer.status == 503, path
        assert "cheddar rebuild" in answer.reason
    assert (await server.ask("GET", "/health/ready")).status == 503
    assert len(upstream.requests) == before, "a private name is not even asked for"


@pytest.mark.deadline(60)
async def test_an_emptied_store_gives_no_private_name_away(redis: RedisServer, reactor: Any, tmp_path: Path) -> None:
    """
    A Redis that lost its data does not turn private names into public ones: all is 503 until the rows are made anew,
    over a restart of Cheddar too.
    """
    upstream = EvilUpstream(reactor)
    upstream.add_file("demo", *make_wheel("demo", "99.0"))
    await upstream.start()
    settings = Settings(data_dir=tmp_path / "data", redis_url=redis.url, index_url=upstream.url)
    server = await CheddarHere(settings, reactor).start()
    try:
        await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
        assert (await server.ask("GET", "/health/ready")).status == 200, "a store that never had anything is well"
        assert (await server.ask("GET", "/remote/simple/demo/")).status == 200, "the control: upstream has the name"
        assert (await server.upload(*make_wheel("demo", "1.0"))).status == 200
        await deferToThread(redis.command, "FLUSHALL")
        await deferLater(reactor, BELIEF)
        await emptied(server, upstream)
        await server.stop()
        server = await CheddarHere(settings, reactor).start()
        await emptied(server, upstream)
        await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
        assert (await server.upload(*make_wheel("other", "1.0"))).status == 503
        await execute(reactor, server.settings, "rebuild")
        page = await server.ask("GET", "/simple/demo/", headers={"Accept": JSON})
        assert page.json()["versions"] == ["1.0"]
        assert (await server.ask("GET", "/health/ready")).status == 200
    finally:
        await server.stop()
        await upstream.stop()
