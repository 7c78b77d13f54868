"""What the tests of the command share: settings for each of the two stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from cheddar.settings import Settings
from tests.support.redis import RedisServer, redis_server

__all__ = ["redis_server"]


@pytest.fixture(params=["sqlite", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings for an empty store; each test runs once for each kind."""
    if request.param == "sqlite":
        return Settings(data_dir=tmp_path)
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return Settings(data_dir=tmp_path, redis_url=server.url)
