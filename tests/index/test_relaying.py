"""Files of upstream that cannot be kept: passed on to each who wants them, and nothing wrong ever whole."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.task import Clock, deferLater

from cheddar import metrics
from cheddar.errors import NoRoom, NotFound, Unavailable, UpstreamBroken, UpstreamUnavailable
from cheddar.index.arriving import TAIL
from cheddar.index.downloads import NO_ROOM_PAUSE, Downloads
from cheddar.model import File
from tests.support.consumers import Taker
from tests.support.disks import largest_file
from tests.support.upstream import EvilUpstream

NAME = "big-1.0.tar.gz"
PATH = f"/files/{NAME}"
KEY = f"releases/big/0123456789abcdef/{NAME}"
CONTENT = random.Random(11).randbytes(5_000_003)
#: Where the disk is full.
ROOM = 2_000_000


def file_of(evil: EvilUpstream, content: bytes = CONTENT, **changes: Any) -> File:
    return evolve(
        File(
            filename=NAME,
            version="1.0",
            size=len(content),
            digests={"sha256": hashlib.sha256(content).hexdigest()},
            url=evil.files_url + NAME,
        ),
        **changes,
    )


def take(arriving: Any, taker: Taker | None = None, first: int = 0, last: int | None = None) -> Any:
    """Send to C{taker}. @return: what it took."""

    async def taking() -> bytes:
        consumer = taker or Taker()
        await arriving.send(consumer, first, last)
        assert consumer.producer is None
        return bytes(consumer.taken)

    return Deferred.fromCoroutine(taking())


async def until(condition: Any, reactor: Any) -> None:
    while not condition():
        await deferLater(reactor, 0.001)


def kept(tmp_path: Path) -> list[Path]:
    """Every file below the data folder that has any bytes of a download."""
    remote = tmp_path / "remote"
    return [path for path in remote.rglob("*") if path.is_file() and path.name not in ("gate", "lock")]


def relays(outcome: str) -> float:
    return metrics.registry.get_sample_value("cheddar_relays_total", {"outcome": outcome}) or 0


@pytest_twisted.async_yield_fixture
async def downloads(node: Any, evil: EvilUpstream, tmp_path: Path, reactor: Any) -> AsyncIterator[Downloads]:
    """Downloads from an upstream that has the file; none may leave anything."""
    evil.add_file("big", NAME, CONTENT)
    yield node.downloads
    await until(lambda: node.downloads.under_way() == 0, reactor)
    assert metrics.registry.get_sample_value("cheddar_relays_under_way") == 0
    await until(lambda: all(request.ended for request in evil.requests), reactor)


@pytest.fixture
def gone(node: Any, tmp_path: Path) -> Iterator[None]:
    """The folder of the cache is not there, and somebody has found out."""
    shutil.rmtree(tmp_path / "remote")
    with pytest.raises(NoRoom):
        node.storage._check()  # what its check() does in a thread
    yield
    assert not (tmp_path / "remote").exists()


@pytest.fixture
def full(downloads: Downloads, reactor: Any, tmp_path: Path) -> Iterator[None]:
    """The disk takes no more than L{ROOM} of a file."""
    with largest_file(ROOM):
        yield


async def test_the_control(downloads: Downloads, evil: EvilUpstream, tmp_path: Path) -> None:
    """Where there is room the file is kept: one download for all, and none afterwards."""
    arriving = [await downloads.follow(KEY, file_of(evil)) for _ in range(5)]
    assert await gatherResults([take(one) for one in arriving]) == [CONTENT] * 5
    assert await take(await downloads.follow(KEY, file_of(evil))) == CONTENT
    assert evil.hits[f"GET {PATH}"] == 1
    assert len(kept(tmp_path)) == 1


@pytest.mark.usefixtures("full")
async def test_a_disk_that_fills_in_the_middle(
    downloads: Downloads, evil: EvilUpstream, tmp_path: Path, clock: Clock, reactor: Any
) -> None:
    """Everybody gets every byte, each goes on where it was; nothing is left; with room again the file is kept."""
    before = relays("whole")
    takers = [Taker() for _ in range(5)]
    arriving = [await downloads.follow(KEY, file_of(evil)) for _ in takers]
    assert await gatherResults([take(*pair) for pair in zip(arriving, takers, strict=True)]) == [CONTENT] * 5
    assert {taker.registrations for taker in takers} == {1}
    assert evil.hits[f"GET {PATH}"] == 6, "one that was to be kept, and one for each"
    assert relays("whole") == before + 5
    await until(lambda: kept(tmp_path) == [], reactor)
    with largest_file(10 * ROOM):
        assert await take(await downloads.follow(KEY, file_of(evil))) == CONTENT
        assert kept(tmp_path) == [], "what filled the disk is not tried again at once"
        clock.advance(NO_ROOM_PAUSE)
        assert await take(await downloads.follow(KEY, file_of(evil))) == CONTENT
        assert await take(await downloads.follow(KEY, file_of(evil))) == CONTENT
    assert len(kept(tmp_path)) == 1
    assert evil.hits[f"GET {PATH}"] == 8


@pytest.mark.usefixtures("full")
async def test_the_disk_fills_no_second_time(downloads: Downloads, evil: EvilUpstream) -> None:
    """Who comes after the disk was full asks upstream once, not twice."""
    await take(await downloads.follow(KEY, file_of(evil)))
    assert evil.hits[f"GET {PATH}"] == 2
    arriving = await downloads.follow(KEY, file_of(evil))
    await arriving.ready()
    assert arriving.size == len(CONTENT)
    assert await take(arriving) == CONTENT
    assert evil.hits[f"GET {PATH}"] == 3


@pytest.mark.usefixtures("gone")
async def test_a_folder_that_is_gone(downloads: Downloads, evil: EvilUpstream, tmp_path: Path) -> None:
    """The file is passed on; its size is known before, whoever says it; and when the folder is back it is kept."""
    for size in (len(CONTENT), None):
        evil.hits.clear()
        arriving = await downloads.follow(KEY, file_of(evil, size=size))
        await arriving.ready()
        assert arriving.size == len(CONTENT)
        assert await take(arriving) == CONTENT
        assert evil.hits[f"GET {PATH}"] == 1
    assert await take(await downloads.follow(KEY, file_of(evil))) == CONTENT, "without ready(), too"
    (tmp_path / "remote").mkdir()
    assert await take(await downloads.follow(KEY, file_of(evil))) == CONTENT
    assert len(kept(tmp_path)) == 1
    shutil.rmtree(tmp_path / "remote")


async def test_who_finds_out_that_the_folder_is_gone(
    downloads: Downloads, evil: EvilUpstream, tmp_path: Path, reactor: Any
) -> None:
    """
    Upstream is asked before there is a file for the bytes; who finds that there can be none asks again, alone, and goes
    on where it was. From then on it is known before.
    """
    shutil.rmtree(tmp_path / "remote")
    takers = [Taker() for _ in range(3)]
    arriving = [await downloads.follow(KEY, file_of(evil)) for _ in takers]
    assert await gatherResults([take(*pair) for pair in zip(arriving, takers, strict=True)]) == [CONTENT] * 3
    assert {taker.registrations for taker in takers} == {1}
    assert evil.hits[f"GET {PATH}"] == 4, "one that was to be kept, and one for each"
    await until(lambda: downloads.under_way() == 0, reactor)
    assert await take(await downloads.follow(KEY, file_of(evil))) == CONTENT
    assert evil.hits[f"GET {PATH}"] == 5
    (tmp_path / "remote").mkdir()
    assert await take(await downloads.follow(KEY, file_of(evil))) == CONTENT, "at once: nothing was filled"
    assert len(kept(tmp_path)) == 1
    assert evil.hits[f"GET {PATH}"] == 6


@pytest.mark.parametrize("how", ["gone", "full"])
@pytest.mark.parametrize(
    ("first", "last"),
    [(0, 0), (10, 99), (1_000, None), (3_000_000, 3_100_000), (1_000_000, 4_000_000), (4_999_990, 5_000_002),
     (5_000_002, None), (2_000_000, 10**9)],
)  # fmt: skip
@pytest.mark.parametrize("ready", [True, False])
async def test_a_part(
    request: Any, downloads: Downloads, evil: EvilUpstream, how: str, first: int, last: int | None, ready: bool
) -> None:
    """Any part is sent rightly."""
    request.getfixturevalue(how)
    arriving = await downloads.follow(KEY, file_of(evil))
    if ready:
        await arriving.ready()
    assert await take(arriving, None, first, last) == CONTENT[first : None if last is None else last + 1]


@pytest.mark.usefixtures("gone")
async def test_a_part_is_not_whole_before_the_file_is_verified(
    downloads: Downloads, evil: EvilUpstream, reactor: Any
) -> None:
    """Of a part in the middle the end comes when all of the file was right; of a wrong file it never does."""
    evil.ranges = False
    evil.misbehave(PATH, hang_after=4_900_000, times=1)
    taker = Taker()
    taking = take(await downloads.follow(KEY, file_of(evil)), taker, 1_000_000, 1_999_999)
    await until(lambda: evil.requests and evil.requests[-1].sent >= 4_900_000, reactor)
    await until(lambda: len(taker.taken) == 1_000_000 - TAIL, reactor)
    evil.drop_connections()
    with pytest.raises(UpstreamUnavailable):
        await taking
    assert len(taker.taken) == 1_000_000 - TAIL
    evil.misbehave(PATH, flip=4_800_000, times=1)
    taker = Taker()
    with pytest.raises(UpstreamBroken, match="sha256"):
        await take(await downloads.follow(KEY, file_of(evil)), taker, 1_000_000, 1_999_999)
    assert len(taker.taken) <= 1_000_000 - TAIL
    assert taker.producer is None
    assert (
        await take(await downloads.follow(KEY, file_of(evil)), None, 1_000_000, 1_999_999) == CONTENT[10**6 : 2 * 10**6]
    )


@pytest.mark.parametrize("how", ["gone", "full"])
@pytest.mark.parametrize("flip", [5, 3_000_000, 5_000_000])
async def test_wrong_bytes_are_never_whole(
    request: Any, downloads: Downloads, evil: EvilUpstream, how: str, flip: int
) -> None:
    """One wrong byte, wherever: the end is kept back."""
    request.getfixturevalue(how)
    evil.misbehave(PATH, flip=flip)
    taker = Taker()
    with pytest.raises(UpstreamBroken, match="sha256"):
        await take(await downloads.follow(KEY, file_of(evil)), taker)
    assert 0 < len(taker.taken) <= len(CONTENT) - TAIL
    assert taker.producer is None


@pytest.mark.usefixtures("full")
async def test_a_wrong_beginning_and_a_right_end(downloads: Downloads, evil: EvilUpstream) -> None:
    """Where the bytes that a client had before the disk was full were wrong, right ones after them make no whole."""
    evil.misbehave(PATH, flip=5, times=1)
    taker = Taker()
    with pytest.raises(UpstreamBroken, match="sha256"):
        await take(await downloads.follow(KEY, file_of(evil)), taker)
    assert ROOM - 2 * TAIL < len(taker.taken) <= len(CONTENT) - TAIL
    assert evil.hits[f"GET {PATH}"] == 2


@pytest.mark.usefixtures("gone")
async def test_a_short_file_is_asked_for_again(downloads: Downloads, evil: EvilUpstream) -> None:
    """Of a file that is not longer than the end no byte had gone out: wrong once it is right, wrong twice it fails."""
    content = CONTENT[:9_000]
    evil.projects["big"][0].content = content
    evil.misbehave(PATH, flip=5, times=3)
    with pytest.raises(UpstreamBroken, match="sha256"):
        await (await downloads.follow(KEY, file_of(evil, content))).ready()
    assert evil.hits[f"GET {PATH}"] == 2
    taker = Taker()
    assert await take(await downloads.follow(KEY, file_of(evil, content)), taker) == content
    assert taker.registrations == 1
    assert evil.hits[f"GET {PATH}"] == 4


@pytest.mark.usefixtures("gone")
@pytest.mark.parametrize("size", [len(CONTENT), None])
async def test_a_body_without_length(downloads: Downloads, evil: EvilUpstream, size: int | None) -> None:
    """Where upstream does not say how long the file is, its digest tells that it is whole, and that it is not."""
    evil.misbehave(PATH, framing="close", times=1)
    assert await take(await downloads.follow(KEY, file_of(evil, size=size))) == CONTENT
    evil.misbehave(PATH, framing="close", close_after=3_000_000, times=1)
    with pytest.raises((UpstreamBroken, UpstreamUnavailable)):
        await take(await downloads.follow(KEY, file_of(evil, size=size)))


@pytest.mark.usefixtures("gone")
@pytest.mark.parametrize("wrong", [-1, 1])
async def test_a_length_that_is_not_the_listings(downloads: Downloads, evil: EvilUpstream, wrong: int) -> None:
    """It fails before the first byte."""
    taker = Taker()
    with pytest.raises(UpstreamBroken, match="bytes"):
        await take(await downloads.follow(KEY, file_of(evil, size=len(CONTENT) + wrong)), taker)
    assert (taker.taken, taker.registrations) == (b"", 0)


@pytest.mark.usefixtures("gone")
async def test_upstream_fails_at_once(downloads: Downloads, evil: EvilUpstream) -> None:
    """What goes wrong before the first byte is known before the client was sent anything."""
    evil.misbehave(PATH, status=404, times=1)
    with pytest.raises(NotFound):
        await (await downloads.follow(KEY, file_of(evil))).ready()
    evil.misbehave(PATH, status=503, times=1)
    taker = Taker()
    with pytest.raises(UpstreamUnavailable):
        await take(await downloads.follow(KEY, file_of(evil)), taker)
    assert taker.registrations == 0


@pytest.mark.usefixtures("gone")
async def test_digests(downloads: Downloads, evil: EvilUpstream) -> None:
    """Any strong digest will do, the best one counts; without one nothing is passed on, and the error says why."""
    sha512 = hashlib.sha512(CONTENT).hexdigest()
    blake = hashlib.blake2b(CONTENT, digest_size=32).hexdigest()
    for digests in ({"sha512": sha512, "md5": "0" * 32}, {"blake2b_256": blake}):
        assert await take(await downloads.follow(KEY, file_of(evil, digests=digests))) == CONTENT
        broken = {name: "0" * len(digest) for name, digest in digests.items()}
        with pytest.raises(UpstreamBroken):
            await take(await downloads.follow(KEY, file_of(evil, digests=broken)))
    evil.hits.clear()
    for digests in ({"md5": hashlib.md5(CONTENT).hexdigest()}, {}):
        arriving = await downloads.follow(KEY, file_of(evil, digests=digests), lambda file: succeed("never"))
        with pytest.raises(Unavailable, match="strong digest") as caught:
            await arriving.ready()
        assert caught.value.retry_after == 0
        with pytest.raises(Unavailable, match="strong digest"):
            await take(arriving)
    assert evil.hits == {}


@pytest.mark.parametrize("how", ["gone", "full"])
async def test_upstream_waits_for_a_slow_client(
    request: Any, downloads: Downloads, evil: EvilUpstream, reactor: Any, how: str
) -> None:
    """What a client does not take stays at upstream, not in memory; other clients do not wait."""
    content = CONTENT * 6
    evil.projects["big"][0].content = content
    request.getfixturevalue(how)
    file = file_of(evil, content)
    # With its first bytes, so before the disk is full: who has not come to what was spooled by then asks at once.
    slow = Taker(pause_after=1)
    slow_taking = take(await downloads.follow(KEY, file), slow)
    await until(lambda: slow.taken, reactor)
    assert await take(await downloads.follow(KEY, file)) == content
    assert len(slow.taken) < ROOM
    mine = [seen for seen in evil.requests if seen.ended is None]
    assert len(mine) == (1 if how == "gone" else 0), "whose disk filled has what was spooled, and asks when it goes on"
    # What is on the way is in the buffers of two sockets.
    assert all(seen.sent < ROOM // 2 + 12_000_000 for seen in mine)
    slow.resume()
    assert await slow_taking == content


@pytest.mark.parametrize("how", ["gone", "full"])
async def test_one_that_leaves(request: Any, downloads: Downloads, evil: EvilUpstream, reactor: Any, how: str) -> None:
    """A client that leaves takes its own relay along, and nobody else's."""
    request.getfixturevalue(how)
    file = file_of(evil)
    before = relays("cancelled")
    leaving = Taker(pause_after=ROOM + 500_000)
    taking = take(await downloads.follow(KEY, file), leaving)
    staying = take(await downloads.follow(KEY, file))
    await until(lambda: len(leaving.taken) >= ROOM + 500_000, reactor)
    leaving.leave()
    with pytest.raises(CancelledError):
        await taking
    assert await staying == CONTENT
    assert relays("cancelled") == before + 1
    waiting = take(await downloads.follow(KEY, file))
    waiting.cancel()
    with pytest.raises(CancelledError):
        await waiting


@pytest.mark.usefixtures("gone")
async def test_nobody_sends_what_was_ready(downloads: Downloads, evil: EvilUpstream, reactor: Any) -> None:
    """A client that asked for the size alone has no bytes fetched for it; who sends later has the file all the same."""
    content = CONTENT * 6
    evil.projects["big"][0].content = content
    arriving = await downloads.follow(KEY, file_of(evil, content, size=None))
    await arriving.ready()
    assert arriving.size == len(content)
    await until(lambda: evil.requests[-1].ended == "lost", reactor)
    assert await take(arriving) == content


@pytest.mark.usefixtures("gone")
async def test_stop(downloads: Downloads, evil: EvilUpstream, reactor: Any) -> None:
    """When the service stops, who waits is told."""
    evil.misbehave(PATH, hang_after=1_000_000)
    taker = Taker()
    taking = take(await downloads.follow(KEY, file_of(evil)), taker)
    taking.addErrback(lambda failure: failure.trap(UpstreamUnavailable))
    await until(lambda: taker.taken, reactor)
    await downloads.stop()
    assert await taking is UpstreamUnavailable


async def test_a_file_that_cannot_be_put_where_it_belongs(
    downloads: Downloads, evil: EvilUpstream, tmp_path: Path
) -> None:
    """Where all of it was downloaded, and only then there is no place for it, the client gets its end all the same."""
    in_the_way = tmp_path / "remote" / KEY
    (in_the_way / "something").mkdir(parents=True)
    assert await take(await downloads.follow(KEY, file_of(evil))) == CONTENT
    assert in_the_way.is_dir()
    assert kept(tmp_path) == []
    assert evil.hits[f"GET {PATH}"] == 2
