"""Cheddar, as it is run: one process on SQLite, one on Redis, two workers."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, field

from benchmarks.content import MEDIAN
from benchmarks.filling import DEEP, filled, own_name
from benchmarks.servers import KEPT_SECONDS, LOOPBACK, Server
from tests.support.redis import RedisServer
from tests.support.server import BIN, PASSWORD, ROOT, USER


@functools.cache
def takes_workers() -> bool:
    """Whether this Cheddar can be run with several processes."""
    done = subprocess.run([str(BIN / "twistd"), "cheddar", "--help"], capture_output=True, text=True, check=True)
    return "--workers" in done.stdout


@define(eq=False)
class Cheddar(Server):
    """
    One process, metadata in SQLite.

    @ivar projects: of its own, that are in the store before it starts.
    @ivar files: theirs.
    """

    projects: int = field(default=2000, kw_only=True)
    files: int = field(default=2000, kw_only=True)

    name = "cheddar"

    @property
    def data(self) -> Path:
        """What it keeps."""
        return self.folder / "data"

    def options(self) -> Sequence[str]:
        """What is added to the command line."""
        return ()

    def store_options(self) -> Sequence[str]:
        """Those of them that say where the store is; for the C{cheddar} command too."""
        return ()

    def fill(self) -> None:
        """Put its projects into the store."""
        self.data.mkdir(mode=0o700)
        shutil.copy(filled(self.projects, self.files), self.data / "cheddar.sqlite")

    def prepare(self) -> None:
        """Fill the store, and add a user."""
        self.fill()
        subprocess.run(
            [str(BIN / "cheddar"), "--data-dir", str(self.data), *self.store_options(), "user", "add", "--stdin", USER],
            input=f"{PASSWORD}\n",
            text=True,
            check=True,
            capture_output=True,
            env={**os.environ, **LOOPBACK},
        )

    def command(self) -> Sequence[str]:
        """As an operator would."""
        return (
            *(str(BIN / "twistd"), "--nodaemon", "--pidfile=", "cheddar"),
            *("--listen", f"tcp:{self.port}:interface=127.0.0.1:backlog=511", "--data-dir", str(self.data)),
            *("--index-url", self.upstream, *self.store_options(), *self.options()),
        )

    def environ(self) -> Mapping[str, str]:
        """Its settings."""
        return {
            "CHEDDAR_VERSIONS_SHORT_TTL": str(KEPT_SECONDS),
            "CHEDDAR_PUBLIC_URL": self.address,
            "CHEDDAR_ACCESS_LOG": "off",  # as nginx has it here
        }

    @property
    def uploads(self) -> str:
        """Its own address for them."""
        return f"{self.address}pypi/"

    @property
    def own_page(self) -> str:
        """The address of a page of its own with as many files as the median one."""
        assert self.files >= MEDIAN
        return self.page(DEEP)

    def own(self, number: int) -> str:
        """The address of another page of its own."""
        return self.page(own_name(number % self.projects))


@define(eq=False)
class OwnCheddar(Cheddar):
    """Without any upstream: what it has is its own."""

    name = "cheddar alone"

    @property
    def sign_of_life(self) -> str:
        """A page of its own."""
        return self.own_page


@define(eq=False)
class CheddarOnRedis(Cheddar):
    """One process, metadata in a Redis whose CPU time and memory are counted in."""

    _redis: RedisServer | None = field(default=None, init=False)

    name = "cheddar redis"

    @property
    def redis(self) -> RedisServer:
        """Its own."""
        if self._redis is None:
            # As an operator would have it, whose metadata must survive.
            self._redis = RedisServer(self.folder, "--appendonly", "yes")
        return self._redis

    def store_options(self) -> Sequence[str]:
        """Where the Redis is."""
        return ("--redis", self.redis.url)

    def fill(self) -> None:
        """Row by row."""
        self.redis.start()
        self.data.mkdir(mode=0o700)
        subprocess.run(
            [sys.executable, "-m", "benchmarks.filling", str(self.projects), str(self.files), self.redis.url],
            check=True,
            cwd=ROOT,
        )

    @property
    def roots(self) -> tuple[int, ...]:
        """Cheddar's, and Redis's."""
        redis = self.redis._process
        return (*super().roots, *((redis.pid,) if redis is not None and self.redis.running else ()))

    def close(self) -> None:
        """Redis too, which stays when the other is stopped."""
        self.stop()
        self.redis.kill()


@define(eq=False)
class TwoCheddars(Cheddar):
    """Two processes on one socket."""

    name = "cheddar, 2 workers"

    def options(self) -> Sequence[str]:
        """See the class."""
        return ("--workers", "2")
