"""Cheddar on the test's reactor, on each store."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted

from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.settings import Settings
from cheddar.store.redis import connection
from tests.support.redis import RedisServer
from tests.support.server import PASSWORD, USER, CheddarHere
from tests.support.upstream import EvilUpstream


@pytest.fixture(autouse=True)
def redis_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine stands still, Redis answers late: none of these tests is about that."""
    monkeypatch.setattr(connection, "REPLY_TIMEOUT", 10.0)
    monkeypatch.setattr(connection, "DEADLINE", 15.0)


@pytest_twisted.async_yield_fixture
async def upstream(reactor: Any) -> AsyncIterator[EvilUpstream]:
    """An upstream that does as it is told."""
    server = EvilUpstream(reactor)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def settings(tmp_path: Path, upstream: EvilUpstream) -> Settings:
    """Everything below the test's own directory, the evil upstream behind the remote index."""
    return Settings(data_dir=tmp_path / "data", index_url=upstream.url, public_url="http://cheddar.example/")


@pytest_twisted.async_yield_fixture(params=["sqlite", "redis"])
async def cheddar(request: Any, reactor: Any, settings: Settings, tmp_path: Path) -> AsyncIterator[CheddarHere]:
    """A running Cheddar with one user."""
    redis = None
    if request.param == "redis":
        (tmp_path / "redis").mkdir()
        redis = RedisServer(tmp_path / "redis")
        redis.start()
        settings = attrs.evolve(settings, redis_url=redis.url)
    server = await CheddarHere(settings, reactor).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    yield server
    await server.stop()
    if redis is not None:
        redis.kill()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each C{sendfile} sent: the real one, looked at."""
    steps: list[int] = []
    real = os.sendfile

    def watched(*arguments: Any) -> int:
        steps.append(real(*arguments))
        return steps[-1]

    monkeypatch.setattr(os, "sendfile", watched)
    return steps
