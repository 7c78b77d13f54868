"""Processes for real clients: Cheddar on each store, and an upstream."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.distributions import make_sdist, make_wheel
from tests.support.redis import RedisServer
from tests.support.server import CheddarProcess


class UpstreamProcess:
    """An upstream in a process of its own, serving a folder of distribution files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.upstream", "--port", "0", "--dir", str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent.parent,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url.startswith("http://"), self.url

    def stop(self) -> None:
        """End it; its port refuses connections from now on."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[UpstreamProcess]:
    """An upstream with a small tree of projects."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    for filename, content in (
        make_wheel("leaf", "1.0"),
        make_wheel("leaf", "2.0rc1"),
        make_wheel("branch", "1.10", requires=("leaf>=1",)),
        make_wheel("trunk", "3.0", requires=("branch", "leaf"), requires_python=">=3.8"),
        make_sdist("source-only", "0.9"),
    ):
        (folder / filename).write_bytes(content)
    server = UpstreamProcess(folder)
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "redis"])
def start_cheddar(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., CheddarProcess]]:
    """Start Cheddar on a store: C{start_cheddar("--index-url", url)}."""
    servers: list[CheddarProcess] = []
    redis = None
    store: tuple[str, ...] = ()
    if request.param == "redis":
        (tmp_path / "redis").mkdir()
        redis = RedisServer(tmp_path / "redis")
        redis.start()
        store = ("--redis", redis.url)

    def start(*options: str) -> CheddarProcess:
        server = CheddarProcess(tmp_path / "data", options=(*store, *options)).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()
    if redis is not None:
        redis.kill()


@pytest.fixture
def cheddar(start_cheddar: Callable[..., CheddarProcess], upstream: UpstreamProcess) -> CheddarProcess:
    """A Cheddar with the upstream behind it, and one user."""
    server = start_cheddar("--index-url", upstream.url)
    server.add_user()
    return server
