"""Processes for real clients: Cheddar on each store, and an upstream."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from attrs import frozen

from tests.support.distributions import make_sdist, make_wheel
from tests.support.redis import RedisServer
from tests.support.server import JSON, CheddarProcess, ask, basic, upload_form

T = TypeVar("T")

STORES = ("sqlite", "redis")

#: What comes with C{ours} of L{Stocked}.
TREE = {"ours": "1.0", "trunk": "3.0", "branch": "1.10", "leaf": "1.0"}
UPSTREAM_FILES = (
    make_wheel("leaf", "1.0"),
    make_wheel("leaf", "2.0rc1"),
    make_wheel("branch", "1.10", requires=("leaf>=1",)),
    make_wheel("trunk", "3.0", requires=("branch", "leaf"), requires_python=">=3.8"),
    make_sdist("source-only", "0.9"),
)


class UpstreamProcess:
    """
    An upstream in a process of its own, serving a folder of distribution files.

    @ivar log: the requests it got, a line each; see L{tests.support.upstream}.
    """

    def __init__(self, folder: Path, attributes: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """
        @param attributes: more for the entries of files, by file name.
        """
        self.folder = folder
        self.log = folder.with_suffix(".log")
        self.log.touch()
        told = folder.with_suffix(".json")
        told.write_text(json.dumps(attributes or {}))
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.upstream", "--port", "0", "--dir", str(folder)),
                *("--attributes", str(told), "--log", str(self.log)),
            ],
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


@contextmanager
def running_upstream(
    folder: Path,
    files: tuple[tuple[str, bytes], ...] = UPSTREAM_FILES,
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[UpstreamProcess]:
    """An upstream with these files."""
    folder.mkdir()
    for filename, content in files:
        (folder / filename).write_bytes(content)
    server = UpstreamProcess(folder, attributes)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def store_options(store: str, folder: Path) -> Iterator[tuple[str, ...]]:
    """The options with which Cheddar uses C{store}; a Redis runs meanwhile if it is that."""
    if store == "sqlite":
        yield ()
        return
    (folder / "redis").mkdir()
    redis = RedisServer(folder / "redis")
    redis.start()
    try:
        yield ("--redis", redis.url)
    finally:
        redis.kill()


#: For a Cheddar that many clients with wrong logins come to from one address.
MANY_LOGINS = dict.fromkeys(("CHEDDAR_FAILED_LOGINS", "CHEDDAR_FAILED_LOGINS_PER_ADDRESS"), "10000")


@contextmanager
def running_cheddar(
    store: str, folder: Path, *options: str, environ: Mapping[str, str] | None = None
) -> Iterator[CheddarProcess]:
    """
    A Cheddar with one user, its data below C{folder}. All clients come from one address, many with wrong logins: they
    are not held back unless C{environ} says so.
    """
    with store_options(store, folder) as chosen:
        server = CheddarProcess(
            folder / "data", options=(*chosen, *options), environ={**MANY_LOGINS, **(environ or {})}
        ).start()
        try:
            server.add_user()
            yield server
        finally:
            server.stop()


def publish(cheddar: CheddarProcess, *distributions: tuple[str, bytes]) -> None:
    """Upload into the local index."""
    for filename, content in distributions:
        body, content_type = upload_form(filename, content)
        answer = ask(cheddar.port, "POST", "/pypi/", body, {"Content-Type": content_type, "Authorization": basic()})
        assert answer.status == 200, answer


@frozen
class Stocked:
    """
    A Cheddar with something for every scenario, and the upstream behind it.

    Local: C{ours} (a pre-release too; it requires upstream's C{trunk}, that C{branch} and C{leaf}), C{recalled} (1.1 is
    yanked), C{fresh} (1.1 came later than 1.0), C{attic} (archived), C{sealed} (quarantined). Upstream: the tree,
    C{withdrawn} (1.1 is yanked), C{dated} (1.0 of January 2024, 2.0 of March 2025).

    @ivar index: the address of the combined index.
    """

    cheddar: CheddarProcess
    upstream: UpstreamProcess

    @property
    def index(self) -> str:
        return f"{self.cheddar.url}simple/"

    def entry(self, filename: str) -> Any:
        """What the page says of a file."""
        project = filename.partition("-")[0]
        page = ask(self.cheddar.port, "GET", f"/simple/{project}/", headers={"Accept": JSON}).json()
        (entry,) = (file for file in page["files"] if file["filename"] == filename)
        return entry

    def digest(self, filename: str) -> str:
        """The SHA-256 that the page gives for a file."""
        return str(self.entry(filename)["hashes"]["sha256"])


@contextmanager
def running_stocked(store: str, folder: Path) -> Iterator[Stocked]:
    """See L{Stocked}."""
    dated = {version: make_wheel("dated", version) for version in ("1.0", "2.0")}
    withdrawn = {version: make_wheel("withdrawn", version) for version in ("1.0", "1.1")}
    attributes = {
        dated["1.0"][0]: {"upload_time": "2024-01-02T03:04:05.678901Z"},
        dated["2.0"][0]: {"upload_time": "2025-03-01T00:00:00Z"},
        withdrawn["1.1"][0]: {"yanked": "broken"},
    }
    files = (*UPSTREAM_FILES, *dated.values(), *withdrawn.values())
    with (
        running_upstream(folder / "upstream", files, attributes) as upstream,
        running_cheddar(store, folder, "--index-url", upstream.url) as cheddar,
    ):
        for version in ("1.0", "1.1rc1"):
            publish(cheddar, make_wheel("ours", version, requires=("trunk",)))
        for name, version in (
            *(("recalled", "1.0"), ("recalled", "1.1")),
            *(("fresh", "1.0"), ("fresh", "1.1")),
            *(("attic", "1.0"), ("sealed", "1.0")),
        ):
            publish(cheddar, make_wheel(name, version))
        yanked = ask(cheddar.port, "PUT", "/simple/recalled/1.1/yanked", b"broken", {"Authorization": basic()})
        assert yanked.status == 200, yanked
        for command, name in (("archive", "attic"), ("quarantine", "sealed")):
            done = cheddar.cheddar("project", command, name)
            assert done.returncode == 0, done.stderr
        yield Stocked(cheddar, upstream)


def on_stores(clients: Iterable[str], both: Iterable[str] = ("pip", "uv", "poetry", "pdm")) -> list[tuple[str, str]]:
    """Each client with a store: with SQLite all of them, and with Redis those of C{both}."""
    return [
        *((client, "sqlite") for client in clients),
        *((client, "redis") for client in clients if client in both),
    ]


@contextmanager
def when_asked(
    folders: pytest.TempPathFactory, start: Callable[[str, Path], AbstractContextManager[T]]
) -> Iterator[Callable[[str], T]]:
    """
    What C{start} makes of a store, once for each store that somebody asks for; all go on until the end.

    A fixture of module scope that was parametrized would be made anew whenever the store changes from test to test.
    """
    running: dict[str, T] = {}
    with ExitStack() as stack:

        def of(store: str) -> T:
            if store not in running:
                running[store] = stack.enter_context(start(store, folders.mktemp(store)))
            return running[store]

        yield of


@pytest.fixture(scope="module")
def stocked_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Stocked]]:
    """For all tests of a module, which change nothing there."""
    with when_asked(tmp_path_factory, running_stocked) as of:
        yield of


@pytest.fixture
def stocked(stocked_on: Callable[[str], Stocked], store: str) -> Stocked:
    """That on the C{store} of the test."""
    return stocked_on(store)


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[UpstreamProcess]:
    """An upstream with a small tree of projects."""
    with running_upstream(tmp_path / "upstream") as server:
        yield server


@pytest.fixture(params=STORES)
def start_cheddar(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., CheddarProcess]]:
    """Start Cheddar on a store: C{start_cheddar("--index-url", url)}."""
    servers: list[CheddarProcess] = []
    with store_options(request.param, tmp_path) as store:

        def start(*options: str) -> CheddarProcess:
            server = CheddarProcess(tmp_path / "data", options=(*store, *options)).start()
            servers.append(server)
            return server

        yield start
        for server in servers:
            server.stop()


@pytest.fixture
def cheddar(start_cheddar: Callable[..., CheddarProcess], upstream: UpstreamProcess) -> CheddarProcess:
    """A Cheddar with the upstream behind it, and one user."""
    server = start_cheddar("--index-url", upstream.url)
    server.add_user()
    return server
