"""The size of the cache, as clients and administrators see it."""

from __future__ import annotations

import hashlib
import http.client
import random
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool

from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.service import make_service
from cheddar.settings import Settings
from cheddar.settings.known import Size
from cheddar.storage import housekeeping
from cheddar.storage.cache_folder import CacheFolder
from tests.cli.commands import execute
from tests.storage.test_eviction import left
from tests.support.distributions import make_sdist, make_wheel
from tests.support.later import LaterReactor
from tests.support.server import JSON, PASSWORD, USER, CheddarHere
from tests.support.upstream import EvilUpstream

READERS = 50


def offered(upstream: EvilUpstream, count: int, size: int) -> dict[str, str]:
    """Let upstream offer files of one project. @return: their SHA-256 by name."""
    digests = {}
    for number in range(count):
        filename, content = make_sdist("many", f"{number}.0", size=size)
        upstream.add_file("many", filename, content)
        digests[filename] = hashlib.sha256(content).hexdigest()
    return digests


async def addresses(cheddar: CheddarHere, project: str = "many") -> dict[str, str]:
    """The paths of a project's files, by name."""
    page = await cheddar.ask("GET", f"/remote/simple/{project}/", headers={"Accept": JSON})
    return {file["filename"]: f"/remote/files/{file['url'].partition('/files/')[2]}" for file in page.json()["files"]}


def read_slowly(port: int, path: str, seconds: float) -> tuple[int, str]:
    """Blocking. @return: the status, and the SHA-256 of what came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        digest = hashlib.sha256()
        while piece := response.read(50_000):
            digest.update(piece)
            time.sleep(seconds)
        return response.status, digest.hexdigest()
    finally:
        connection.close()


async def settled(cheddar: CheddarHere, limit: int, reactor: Any) -> None:
    """Wait until there is no more than there may be; the test's deadline ends the wait."""
    while size(cheddar.settings) > limit:
        await deferLater(reactor, 0.05)


def size(settings: Settings) -> int:
    """Bytes of the cache."""
    return sum(file.size for file in CacheFolder(settings.remote_dir).files())


@pytest.mark.deadline(60)
async def test_readers_while_files_are_evicted(
    reactor: Any, settings: Settings, upstream: EvilUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Fifty clients read twenty files in a cache with room for five, slowly: each gets every byte of each, whatever goes
    meanwhile; the cache stays bounded, and what upstream is asked for more often than once was evicted before.
    """
    monkeypatch.setattr(housekeeping, "RETRY", 0.1)  # seconds: the readers are done in fewer than five
    each = 300_000
    digests = offered(upstream, 20, each)
    limit = 5 * (each + 10_000)
    cheddar = await CheddarHere(attrs.evolve(settings, remote_cache_size=Size(limit)), reactor).start()
    try:
        paths = await addresses(cheddar)
        assert paths.keys() == digests.keys()
        most = 0
        running = True

        async def watch() -> None:
            nonlocal most
            while running:
                most = max(most, size(cheddar.settings))
                await deferLater(reactor, 0.02)

        def read(reader: int) -> list[tuple[str, int, str]]:
            names = random.Random(reader).sample(sorted(paths), 5)
            return [(name, *read_slowly(cheddar.port, paths[name], 0.005)) for name in names]

        watching = Deferred.fromCoroutine(watch())
        pool = cheddar._clients
        results = await gatherResults([deferToThreadPool(reactor, pool, read, n) for n in range(READERS)])
        running = False
        await watching
        answers = [answer for result in results for answer in result]
        assert len(answers) == READERS * 5
        assert [answer for answer in answers if answer[1:] != (200, digests[answer[0]])] == []
        await settled(cheddar, limit, reactor)
        asked = sum(upstream.hits[f"GET /files/{name}"] for name in digests)
        metrics = (await cheddar.ask("GET", "/metrics")).body.decode()
        # What was read at the same moment came on top: at most all files at once, and no more than that.
        assert limit < most <= len(digests) * (each + 10_000)
        assert len(digests) < asked < len(answers)
        evictions = [line for line in metrics.splitlines() if line.startswith("cheddar_cache_evictions_total ")]
        assert float(evictions[0].split()[1]) >= asked - 5
        # The page stays as it was, and so does what it names.
        assert await addresses(cheddar) == paths
        name = next(name for name in paths if not any(key.endswith(f"/{name}") for key in left(settings.remote_dir)))
        before = upstream.hits[f"GET /files/{name}"]
        answer = await cheddar.ask("GET", paths[name])
        assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, digests[name])
        assert upstream.hits[f"GET /files/{name}"] == before + 1
    finally:
        await cheddar.stop()


async def test_a_restart_remembers_what_was_used(reactor: Any, settings: Settings, upstream: EvilUpstream) -> None:
    """After a restart the file goes that was not used for the longest time, and not the one that came first."""
    digests = offered(upstream, 4, 100_000)
    later = LaterReactor(reactor)
    cheddar = await CheddarHere(attrs.evolve(settings, remote_cache_size=Size(350_000)), later).start()
    try:
        paths = await addresses(cheddar)
        first, second, third, fourth = sorted(digests)
        for name in (first, second, third, first):
            assert (await cheddar.ask("GET", paths[name])).status == 200
            later.later(3600)
        await cheddar.restart()
        assert len(left(settings.remote_dir)) == 3
        assert (await cheddar.ask("GET", paths[fourth])).status == 200
        await settled(cheddar, 350_000, reactor)
        assert {key.rpartition("/")[2] for key in left(settings.remote_dir)} == {first, third, fourth}
        assert upstream.hits[f"GET /files/{first}"] == 1
    finally:
        await cheddar.stop()


async def test_a_file_over_the_limit_passes_through(reactor: Any, settings: Settings, upstream: EvilUpstream) -> None:
    """A file that is larger than the whole cache is served, and goes by itself; what was there stays."""
    (small,) = offered(upstream, 1, 50_000)
    filename, content = make_wheel("huge", "1.0", size=500_000)
    upstream.add_file("huge", filename, content)
    cheddar = await CheddarHere(attrs.evolve(settings, remote_cache_size=Size(200_000)), reactor).start()
    try:
        assert (await cheddar.ask("GET", (await addresses(cheddar))[small])).status == 200
        path = (await addresses(cheddar, "huge"))[filename]
        for times in (1, 2):
            answers = await gatherResults([cheddar.ask("GET", path) for _ in range(5)])
            assert {answer.body for answer in answers} == {content}
            assert upstream.hits[f"GET /files/{filename}"] >= times
            await settled(cheddar, 200_000, reactor)
        assert any(key.endswith(small) for key in left(settings.remote_dir))
    finally:
        await cheddar.stop()


@pytest.mark.deadline(90)
async def test_purge_while_it_is_read_and_downloaded(
    reactor: Any, settings: Settings, upstream: EvilUpstream, tmp_path: Path
) -> None:
    """
    What is purged again and again while clients ask for it is never a 404: who reads it gets it whole, a download under
    way is left alone, and uploaded files are not touched.
    """
    digests = offered(upstream, 3, 200_000)
    cheddar = await CheddarHere(settings, reactor).start()
    local = settings.local_dir / "releases" / "mine" / "mine-1.0.tar.gz"
    try:
        local.parent.mkdir(parents=True)
        local.write_bytes(b"mine")
        paths = await addresses(cheddar)
        removed = 0
        statuses: list[int] = []
        running = True

        async def purge() -> None:
            nonlocal removed
            while running:
                said = await execute(reactor, cheddar.settings, "cache", "purge", "--all")
                removed += said.count(".tar.gz  ")
                await deferLater(reactor, 0.001)

        purging = Deferred.fromCoroutine(purge())
        for _ in range(12):
            for name, path in paths.items():
                answers = await gatherResults([cheddar.ask("GET", path) for _ in range(4)])
                statuses += [answer.status for answer in answers]
                assert {hashlib.sha256(answer.body).hexdigest() for answer in answers} == {digests[name]}
        running = False
        await purging
        assert set(statuses) == {200}
        assert removed > 3
        assert local.read_bytes() == b"mine"

        # One that comes slowly: nothing of it is cached yet, and nothing of it is purged.
        name, path = next(iter(paths.items()))
        await execute(reactor, cheddar.settings, "cache", "purge", "--all")
        upstream.misbehave(f"/files/{name}", rate=100_000, times=1)
        asking = cheddar.ask("GET", path)
        incoming = settings.remote_dir / ".incoming"
        while not any(file.stat().st_size >= 50_000 for file in incoming.glob("*/*")):
            await deferLater(reactor, 0.01)
        said = await execute(reactor, cheddar.settings, "cache", "purge", "--all", "--pinned")
        assert said == "Nothing like that is cached.\n"
        assert any(file.stat().st_size >= 50_000 for file in incoming.glob("*/*"))
        answer = await asking
        assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, digests[name])
    finally:
        await cheddar.stop()


async def test_nothing_is_evicted_that_could_not_be_fetched_again(
    reactor: Any, settings: Settings, upstream: EvilUpstream
) -> None:
    """While OFFLINE is set the cache is what there is, however small it is to be; the control: without, it goes."""
    digests = offered(upstream, 3, 100_000)
    cheddar = await CheddarHere(settings, reactor).start()
    try:
        for path in (await addresses(cheddar)).values():
            assert (await cheddar.ask("GET", path)).status == 200
        cheddar.settings = attrs.evolve(cheddar.settings, offline=True, remote_cache_size=Size(150_000))
        await restart(cheddar, reactor)
        assert len(left(settings.remote_dir)) == len(digests)
        cheddar.settings = attrs.evolve(cheddar.settings, offline=False)
        await restart(cheddar, reactor)
        await settled(cheddar, 150_000, reactor)
        assert len(left(settings.remote_dir)) == 1
    finally:
        await cheddar.stop()


async def test_uploaded_files_are_never_evicted(reactor: Any, settings: Settings, upstream: EvilUpstream) -> None:
    """Uploads are no part of the cache, neither counted nor evicted; upstream's files are: the control."""
    offered(upstream, 3, 100_000)
    cheddar = await CheddarHere(attrs.evolve(settings, remote_cache_size=Size(250_000)), reactor).start()
    try:
        await cheddar.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
        uploads = [make_sdist("mine", f"{number}.0", size=200_000) for number in range(3)]
        for filename, content in uploads:
            assert (await cheddar.upload(filename, content)).status == 200
        paths = await addresses(cheddar)
        for path in paths.values():
            assert (await cheddar.ask("GET", path)).status == 200
        await settled(cheddar, 250_000, reactor)
        assert 1 <= len(left(settings.remote_dir)) < 3
        await cheddar.restart()
        for filename, content in uploads:
            assert (await cheddar.ask("GET", f"/local/{filename}")).body == content
    finally:
        await cheddar.stop()


async def restart(cheddar: CheddarHere, reactor: Any) -> None:
    """Again, with the settings of now; and look at the whole cache once."""
    await cheddar.service.stopService()
    cheddar.service = make_service(cheddar.settings, reactor)
    cheddar.service.startService()
    await cheddar.service.started()
    cheddar.port = cheddar.service.ports[0].getHost().port
    await deferLater(reactor, 0.3)
