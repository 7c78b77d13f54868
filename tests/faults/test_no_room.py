"""Disk full, cache folder gone, read-only: what is upstream's is passed on, uploads are refused and say why."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from cheddar.settings import Settings
from tests.clients.conftest import (
    STORES,
    TREE,
    UPSTREAM_FILES,
    UpstreamProcess,
    publish,
    running_cheddar,
    running_upstream,
)
from tests.clients.installers import INSTALLERS
from tests.support.clients import output
from tests.support.disks import fill, read_only, small_disk
from tests.support.distributions import make_sdist, make_wheel
from tests.support.redis import RedisServer
from tests.support.server import JSON, Answer, CheddarHere, CheddarProcess, ask, basic, upload_form
from tests.support.upstream import EvilUpstream

MIB = 1024 * 1024
LARGE = make_wheel("large", "1.0", size=5 * MIB)
SMALL = make_wheel("small", "1.0")
#: For when there is room again: what filled a disk is not tried again at once.
LATE = make_wheel("late", "1.0")
NEW = make_wheel("ours", "2.0")


def files_in(folder: Path) -> list[Path]:
    """Every file with bytes of upstream's, whole or partial."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name not in ("gate", "lock", "filler")]


def asked(upstream: UpstreamProcess, filename: str) -> int:
    """How often upstream was asked for all of a file."""
    return upstream.log.read_text().count(f"GET /files/{filename} whole\n")


def page(port: int, project: str) -> dict[str, Any]:
    """The one file that a project's page lists."""
    answer = ask(port, "GET", f"/simple/{project}/", headers={"Accept": JSON})
    assert answer.status == 200, answer
    (file,) = answer.json()["files"]
    return dict(file)


def address(file: dict[str, Any]) -> str:
    """Where it is."""
    return "/" + str(file["url"]).removeprefix("../../")


def download(port: int, distribution: tuple[str, bytes]) -> None:
    """Get the page and the file, and compare every byte."""
    project = distribution[0].partition("-")[0]
    answer = ask(port, "GET", address(page(port, project)))
    assert answer.status == 200, answer.body
    assert answer.headers["content-length"] == str(len(distribution[1]))
    assert answer.body == distribution[1]


def upload(port: int, distribution: tuple[str, bytes]) -> Answer:
    """Upload as twine does."""
    body, content_type = upload_form(*distribution)
    headers = {"Content-Type": content_type, "Authorization": basic(), "Accept": "application/json"}
    return ask(port, "POST", "/pypi/", body, headers)


def ready(port: int) -> tuple[int, dict[str, Any]]:
    """What readiness says."""
    answer = ask(port, "GET", "/health/ready")
    return answer.status, answer.json()


def count(port: int, sample: str) -> float:
    """A metric."""
    for line in ask(port, "GET", "/metrics").body.decode().splitlines():
        if line.startswith(f"{sample} "):
            return float(line.rpartition(" ")[2])
    return 0.0


def until_nothing_is_under_way(port: int) -> None:
    """Gauges come back to zero when the last client has gone."""
    end = time.monotonic() + 10
    while count(port, "cheddar_relays_under_way") or count(port, "cheddar_downloads_under_way"):
        assert time.monotonic() < end
        time.sleep(0.02)


def installs(cheddar: CheddarProcess, folder: Path) -> None:
    """pip, with an empty cache of its own, installs the tree."""
    pip = INSTALLERS["pip"](folder)
    done = pip.install(f"{cheddar.url}simple/", "trunk")
    assert done.returncode == 0, output(done)
    assert pip.installed().items() >= {name: TREE[name] for name in ("trunk", "branch", "leaf")}.items()


def nothing_unforeseen(cheddar: CheddarProcess) -> None:
    """The log tells of no room, and has no traceback."""
    log = cheddar.log.read_text()
    reasons = "No space left|full|No such file|Read-only|File exists"
    assert re.search(rf"(passed on and not kept|not kept:).*({reasons})", log), log
    assert "Traceback" not in log
    assert "Unhandled" not in log


def serving(store: str, folder: Path, upstream: UpstreamProcess, cache: Path) -> AbstractContextManager[CheddarProcess]:
    """A Cheddar with its data in C{folder}, and upstream's files in C{cache}."""
    return running_cheddar(store, folder, "--index-url", upstream.url, environ={"CHEDDAR_REMOTE_CACHE_DIR": str(cache)})


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[UpstreamProcess]:
    """An upstream with the tree, and more."""
    with running_upstream(tmp_path / "upstream", (*UPSTREAM_FILES, LARGE, SMALL, LATE)) as server:
        yield server


@pytest.mark.client("installs through a server whose disk is full", "pip")
@pytest.mark.parametrize("store", STORES)
def test_pip_installs_though_nothing_can_be_kept(upstream: UpstreamProcess, tmp_path: Path, store: str) -> None:
    """The disk of the cache is full: pip installs, readiness tells, uploads go on; with room again files are kept."""
    with (
        small_disk(tmp_path / "cache", 4 * MIB) as cache,
        serving(store, tmp_path, upstream, cache / "files") as cheddar,
    ):
        assert ready(cheddar.port)[1]["cache"] == "ok"
        filler = fill(cache)
        for turn in range(2):
            before = asked(upstream, "trunk-3.0-py3-none-any.whl")
            installs(cheddar, tmp_path / f"pip-{turn}")
            assert asked(upstream, "trunk-3.0-py3-none-any.whl") > before
        assert files_in(cache) == []
        status, said = ready(cheddar.port)
        assert (status, said["ready"], said["storage"], said["store"]) == (200, True, "ok", "ok")
        assert "No space left" in said["cache"]
        assert "passed on" in said["cache"]
        assert upload(cheddar.port, NEW).status == 200, "its disk has room"
        filler.unlink()
        for _ in range(2):
            download(cheddar.port, LATE)
        assert [path.name for path in files_in(cache) if path.suffix == ".whl"] == [LATE[0]]
        assert asked(upstream, LATE[0]) == 1
        assert ready(cheddar.port)[1]["cache"] == "ok"
        nothing_unforeseen(cheddar)


def test_everything_is_on_the_disk_that_is_full(upstream: UpstreamProcess, tmp_path: Path) -> None:
    """
    The store is there too: pages and files are passed on, what is here is served, whose name it is stays known; an
    upload is a 507 that says why, and readiness names what cannot be written. With room again all goes on.
    """
    with (
        small_disk(tmp_path / "data", 8 * MIB) as disk,
        serving("sqlite", tmp_path, upstream, disk / "remote") as cheddar,
    ):
        mine = make_wheel("mine", "1.0")
        publish(cheddar, mine)
        download(cheddar.port, SMALL)
        filler = fill(disk)
        installs(cheddar, tmp_path / "pip")
        download(cheddar.port, LARGE)
        download(cheddar.port, mine)
        download(cheddar.port, SMALL)
        assert asked(upstream, SMALL[0]) == 1, "it was here"
        metadata = ask(cheddar.port, "GET", address(page(cheddar.port, "trunk")) + ".metadata")
        assert metadata.status == 200
        assert b"Name: trunk" in metadata.body
        assert ask(cheddar.port, "GET", "/remote/simple/mine/").status == 404, "the local name is known"
        assert ask(cheddar.port, "GET", "/simple/there-is-none/").status == 404
        refused = upload(cheddar.port, NEW)
        assert (refused.status, refused.headers["content-type"]) == (507, "application/problem+json")
        assert "No space left" in refused.json()["detail"]
        status, said = ready(cheddar.port)
        assert (status, said["ready"]) == (503, False)
        assert "No space left" in said["storage"]
        assert "No space left" in said["cache"]
        filler.unlink()
        assert upload(cheddar.port, NEW).status == 200
        assert ready(cheddar.port)[0] == 200
        for _ in range(2):
            download(cheddar.port, LATE)
        assert asked(upstream, LATE[0]) == 1
        until_nothing_is_under_way(cheddar.port)
        nothing_unforeseen(cheddar)


def test_a_disk_that_fills_while_many_download(upstream: UpstreamProcess, tmp_path: Path) -> None:
    """Twenty clients want a file that does not fit: each gets every byte, at whatever offset the disk was full."""
    with (
        small_disk(tmp_path / "cache", 3 * MIB) as cache,
        serving("sqlite", tmp_path, upstream, cache) as cheddar,
        ThreadPoolExecutor(20) as clients,
    ):
        path = address(page(cheddar.port, "large"))
        answers = list(clients.map(lambda _: ask(cheddar.port, "GET", path), range(20)))
        assert [answer.status for answer in answers] == [200] * 20
        assert {hashlib.sha256(answer.body).hexdigest() for answer in answers} == {hashlib.sha256(LARGE[1]).hexdigest()}
        part = ask(cheddar.port, "GET", path, headers={"Range": "bytes=3000000-3000009"})
        assert (part.status, part.body) == (206, LARGE[1][3_000_000:3_000_010])
        assert part.headers["content-range"] == f"bytes 3000000-3000009/{len(LARGE[1])}"
        until_nothing_is_under_way(cheddar.port)
        assert [path for path in files_in(cache) if path.suffix == ".whl" or ".incoming" in path.parts] == []
        assert count(cheddar.port, 'cheddar_relays_total{outcome="whole"}') >= 2
        download(cheddar.port, SMALL)
        assert [path.name for path in files_in(cache) if path.suffix == ".whl"] == [SMALL[0]], "what fits is kept"
        nothing_unforeseen(cheddar)


def test_the_cache_folder_is_gone(upstream: UpstreamProcess, tmp_path: Path) -> None:
    """Files are passed on, what was here too; readiness tells; when the folder is made again files are kept."""
    cache = tmp_path / "cache"
    with serving("sqlite", tmp_path, upstream, cache) as cheddar:
        download(cheddar.port, SMALL)
        shutil.rmtree(cache)
        for wanted in (SMALL, LARGE, SMALL):
            download(cheddar.port, wanted)
        status, said = ready(cheddar.port)
        assert status == 200
        assert "No such file or directory" in said["cache"]
        assert not cache.exists(), "nobody writes where a disk should be mounted"
        cache.mkdir()
        download(cheddar.port, SMALL)
        assert [path.name for path in files_in(cache) if path.suffix == ".whl"] == [SMALL[0]]
        assert ready(cheddar.port)[1]["cache"] == "ok"
        until_nothing_is_under_way(cheddar.port)
        nothing_unforeseen(cheddar)


def test_a_cache_that_is_read_only(upstream: UpstreamProcess, tmp_path: Path) -> None:
    """What is there is served from there, unless it is broken; the rest is passed on; then files are kept again."""
    cache = tmp_path / "cache"
    with serving("sqlite", tmp_path, upstream, cache) as cheddar:
        download(cheddar.port, SMALL)
        branch = page(cheddar.port, "branch")
        whole = ask(cheddar.port, "GET", address(branch)).body
        (broken,) = cache.rglob("branch-*.whl")
        broken.write_bytes(whole[:100])
        with read_only(cache):
            before = upstream.log.read_text()
            download(cheddar.port, SMALL)
            assert upstream.log.read_text() == before
            download(cheddar.port, LARGE)
            assert ask(cheddar.port, "GET", address(branch)).body == whole, "a file that lost its end is not served"
            status, said = ready(cheddar.port)
            assert status == 200
            assert "Read-only file system" in said["cache"]
            assert upload(cheddar.port, NEW).status == 200
        download(cheddar.port, LARGE)
        assert [path.name for path in cache.rglob("large-*.whl")] == [LARGE[0]]
        nothing_unforeseen(cheddar)


@contextmanager
def a_file(folder: Path) -> Iterator[None]:
    """Something that is no folder is in C{folder} under the cache's name."""
    (folder / "cache").write_bytes(b"")
    yield
    (folder / "cache").unlink()


@pytest.mark.parametrize(("in_the_way", "reason"), [(a_file, "File exists"), (read_only, "Read-only file system")])
def test_it_starts_though_the_cache_cannot_be_made(
    upstream: UpstreamProcess, tmp_path: Path, in_the_way: Callable[[Path], AbstractContextManager[None]], reason: str
) -> None:
    """Files are passed on; they are kept as soon as the folder can be made, and nobody has to start it again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with ExitStack() as obstacle:
        obstacle.enter_context(in_the_way(disk))
        with serving("sqlite", tmp_path, upstream, disk / "cache") as cheddar:
            download(cheddar.port, SMALL)
            assert reason in ready(cheddar.port)[1]["cache"]
            obstacle.close()
            download(cheddar.port, LATE)
            assert [path.name for path in files_in(disk) if path.suffix == ".whl"] == [LATE[0]]
            assert ready(cheddar.port)[1]["cache"] == "ok"
            nothing_unforeseen(cheddar)


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Slow clients of a large file that cannot be kept: what they do not take waits at upstream, not in memory."""
    large = make_wheel("large", "1.0", size=64 * MIB)
    digest = hashlib.sha256(large[1]).hexdigest()
    with (
        running_upstream(tmp_path / "upstream", (large,)) as upstream,
        small_disk(tmp_path / "cache", 8 * MIB) as cache,
        serving("sqlite", tmp_path, upstream, cache) as cheddar,
    ):
        path = address(page(cheddar.port, "large"))
        idle = cheddar.memory()
        connections = [http.client.HTTPConnection("127.0.0.1", cheddar.port, timeout=60) for _ in range(6)]
        for connection in connections:
            connection.request("GET", path)
        answers = [connection.getresponse() for connection in connections]
        pieces = [answer.read(MIB) for answer in answers]
        # One more that is not slow: by then each of the others could have all of its bytes.
        assert hashlib.sha256(ask(cheddar.port, "GET", path, timeout=60).body).hexdigest() == digest
        assert cheddar.memory() < idle + 40 * MIB
        for piece, answer in zip(pieces, answers, strict=True):
            assert hashlib.sha256(piece + answer.read()).hexdigest() == digest
        assert cheddar.memory() < idle + 40 * MIB
        for connection in connections:
            connection.close()
        until_nothing_is_under_way(cheddar.port)


# With upstreams that are wrong


@pytest_twisted.async_yield_fixture
async def evil(reactor: Any) -> Any:
    """An upstream that does as it is told."""
    server = EvilUpstream(reactor)
    await server.start()
    yield server
    await server.stop()


@pytest_twisted.async_yield_fixture
async def without_cache(reactor: Any, evil: EvilUpstream, tmp_path: Path) -> Any:
    """A Cheddar whose cache folder is gone."""
    settings = Settings(data_dir=tmp_path / "data", index_url=evil.url)
    server = await CheddarHere(settings, reactor).start()
    shutil.rmtree(settings.remote_dir)
    yield server
    await server.stop()


async def _address(cheddar: CheddarHere, project: str) -> str:
    answer = await cheddar.ask("GET", f"/simple/{project}/", headers={"Accept": JSON})
    (file,) = answer.json()["files"]
    return address(file)


async def test_wrong_bytes_end_in_a_cut_connection(
    without_cache: CheddarHere, evil: EvilUpstream, reactor: Any
) -> None:
    """A client cannot take them for the whole, whether or not it was told how long that is; a short file is a 502."""
    evil.add_file("large", *LARGE)
    evil.add_file("unsized", *make_sdist("unsized", "1.0", size=MIB), size=None)
    evil.add_file("small", *SMALL)
    for project in ("large", "unsized"):
        path = await _address(without_cache, project)
        if project == "unsized":
            evil.misbehave("/files/unsized-1.0.tar.gz", framing="chunked", times=1)
            assert len((await without_cache.ask("GET", path)).body) > MIB, "the control"
            evil.misbehave("/files/unsized-1.0.tar.gz", framing="chunked", flip=MIB)
        else:
            assert (await without_cache.ask("GET", path)).body == LARGE[1], "the control"
            evil.misbehave(f"/files/{LARGE[0]}", flip=4 * MIB)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            await without_cache.ask("GET", path)
    path = await _address(without_cache, "small")
    evil.misbehave(f"/files/{SMALL[0]}", flip=100, times=2)
    answer = await without_cache.ask("GET", path)
    assert (answer.status, "sha256" in answer.reason) == (502, True)
    small = [seen.headers.get("cache-control") for seen in evil.requests if seen.path == f"/files/{SMALL[0]}"]
    assert small == [None, "no-cache"]
    files = (("large", LARGE[0]), ("unsized", "unsized-1.0.tar.gz"), ("small", SMALL[0]))

    def told() -> list[tuple[str, ...]]:
        events = map(json.loads, without_cache.settings.audit_file.read_text().splitlines())
        return [(event["action"], event["project"], event["filename"]) for event in events]

    while len(told()) < len(files):  # the last line is written beside its answer
        await deferLater(reactor, 0.001)
    assert told() == [("upstream.wrong_bytes", *file) for file in files]
    assert (await without_cache.ask("GET", path)).body == SMALL[1]


async def test_what_cannot_be_compared_is_not_passed_on(without_cache: CheddarHere, evil: EvilUpstream) -> None:
    """Without a strong digest in the listing it is a 503 that says what is wrong, and what would help."""
    evil.add_file("weak", *make_wheel("weak", "1.0"), hashes={"md5": hashlib.md5(b"").hexdigest()})
    evil.add_file("strong", *make_wheel("strong", "1.0"))
    answer = await without_cache.ask("GET", await _address(without_cache, "weak"))
    assert answer.status == 503
    assert "retry-after" not in answer.headers, "pip would wait for it before it says what is wrong"
    assert answer.headers["content-type"] == "application/problem+json"
    assert "strong digest" in answer.json()["detail"]
    assert "make room" in answer.json()["detail"]
    assert (await without_cache.ask("GET", await _address(without_cache, "strong"))).status == 200, "the control"


async def test_head(without_cache: CheddarHere, evil: EvilUpstream, reactor: Any) -> None:
    """The head tells the size, and costs upstream at most the beginning of a body."""
    evil.add_file("large", *LARGE)
    evil.add_file("unsized", *make_sdist("unsized", "1.0", size=20 * MIB), size=None)
    for project in ("large", "unsized"):
        answer = await without_cache.ask("HEAD", await _address(without_cache, project))
        assert answer.status == 200
        assert int(answer.headers["content-length"]) > MIB
    assert evil.hits[f"GET /files/{LARGE[0]}"] == 0
    (seen,) = (seen for seen in evil.requests if "unsized-" in seen.path)
    while seen.ended is None:
        await deferLater(reactor, 0.001)
    assert seen.ended == "lost"


async def test_a_store_that_takes_no_more(reactor: Any, evil: EvilUpstream, tmp_path: Path) -> None:
    """A Redis out of memory: pages are passed on, each time as upstream has them; what it knows is still known."""
    (tmp_path / "redis").mkdir()
    redis = RedisServer(tmp_path / "redis")
    redis.start()
    settings = Settings(data_dir=tmp_path / "data", index_url=evil.url, redis_url=redis.url)
    cheddar = await CheddarHere(settings, reactor).start()
    evil.add_file("small", *SMALL)
    evil.add_file("known", *make_wheel("known", "1.0"))
    try:
        await _address(cheddar, "known")
        await deferToThread(redis.command, "CONFIG", "SET", "maxmemory", "1")
        assert (await cheddar.ask("GET", await _address(cheddar, "small"))).body == SMALL[1]
        assert await cheddar.service.store.pages.get("remote", "small") is None
        assert (await cheddar.ask("GET", "/simple/known/")).status == 200
        assert evil.hits["GET /simple/known/"] == 1
        await deferToThread(redis.command, "CONFIG", "SET", "maxmemory", "0")
        evil.add_file("later", *make_wheel("later", "1.0"))
        assert (await cheddar.ask("GET", "/simple/later/")).status == 200
        assert await cheddar.service.store.pages.get("remote", "later") is not None, "the control"
        await deferToThread(redis.kill)
        assert (await cheddar.ask("GET", "/simple/unseen/")).status == 503, "whose name it is cannot be known"
        assert evil.hits["GET /simple/unseen/"] == 0
    finally:
        await cheddar.stop()
        redis.kill()
