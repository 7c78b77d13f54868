"""Files of upstream on their way: one download however many wait, and nothing wrong ever whole."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, DeferredList, gatherResults, succeed
from twisted.internet.task import Clock, deferLater
from zope.interface.verify import verifyObject

from cheddar.errors import NotFound, Unavailable, UpstreamBroken, UpstreamUnavailable
from cheddar.index.arriving import CROWD, TAIL
from cheddar.index.downloads import Downloads
from cheddar.index.upstreams import Upstreams
from cheddar.interfaces import IArriving, IStoredFile
from cheddar.model import File
from cheddar.storage.filesystem import FilesystemStorage
from tests.support.consumers import Taker
from tests.support.upstream import EvilUpstream

NAME = "big-1.0.tar.gz"
PATH = f"/files/{NAME}"
KEY = f"releases/big/0123456789abcdef/{NAME}"
CONTENT = random.Random(7).randbytes(5_000_003)


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


@pytest_twisted.async_yield_fixture
async def downloads(node: Any, evil: EvilUpstream) -> AsyncIterator[Downloads]:
    """Downloads from an upstream that has the file."""
    evil.add_file("big", NAME, CONTENT)
    yield node.downloads


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


async def test_fifty_at_once(downloads: Downloads, evil: EvilUpstream, tmp_path: Path) -> None:
    """However many clients ask for a cold file at once, upstream is asked once, and each gets every byte."""
    file = file_of(evil)
    arriving = [await downloads.follow(KEY, file) for _ in range(50)]
    assert evil.hits[f"GET {PATH}"] == 0
    results = await gatherResults([take(one) for one in arriving])
    assert {hashlib.sha256(result).hexdigest() for result in results} == {file.digests["sha256"]}
    assert evil.hits[f"GET {PATH}"] == 1
    assert [path.read_bytes() == CONTENT for path in kept(tmp_path)] == [True]
    stored = await downloads.follow(KEY, file)
    assert await take(stored) == CONTENT
    assert evil.hits[f"GET {PATH}"] == 1
    assert downloads.under_way() == 0


async def test_late_comers_join(downloads: Downloads, evil: EvilUpstream, reactor: Any) -> None:
    """Who comes while a download runs gets the file from its first byte, from the same download."""
    evil.misbehave(PATH, rate=8_000_000)
    file = file_of(evil)
    first = Taker()
    taking = take(await downloads.follow(KEY, file), first)
    await until(lambda: len(first.taken) > 1_000_000, reactor)
    assert await take(await downloads.follow(KEY, file)) == CONTENT
    assert await taking == CONTENT
    assert evil.hits[f"GET {PATH}"] == 1


async def test_bytes_flow_before_the_end(downloads: Downloads, evil: EvilUpstream, reactor: Any) -> None:
    """A client gets the beginning while upstream is still sending; size and digests are known before."""
    evil.misbehave(PATH, hang_after=1_000_000, times=1)
    arriving = await downloads.follow(KEY, file_of(evil))
    verifyObject(IArriving, arriving)
    assert (arriving.size, set(arriving.digests)) == (len(CONTENT), {"sha256"})
    taker = Taker()
    taking = take(arriving, taker)
    await until(lambda: len(taker.taken) > 900_000, reactor)
    assert len(taker.taken) < 1_000_000
    taking.cancel()
    with pytest.raises(CancelledError):
        await taking


async def test_it_is_looked_for_once(
    downloads: Downloads, node: Any, evil: EvilUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Who asks for a file that is not here has it looked for once; what came between that look and the question for its
    bytes is found all the same.
    """
    looks: list[str] = []
    opening = node.storage.open

    def count(key: str) -> Any:
        looks.append(key)
        return opening(key)

    monkeypatch.setattr(node.storage, "open", count)
    first, second = [await downloads.follow(KEY, file_of(evil)) for _ in range(2)]
    assert looks == [KEY, KEY]
    assert await take(first) == CONTENT
    assert looks == [KEY, KEY]
    assert await take(second) == CONTENT
    assert looks == [KEY, KEY, KEY]
    assert evil.hits[f"GET {PATH}"] == 1


async def test_bytes_flow_to_a_crowd(downloads: Downloads, evil: EvilUpstream, reactor: Any) -> None:
    """So many that they are told of several pieces at once are told of the last of them too, though no more comes."""
    evil.misbehave(PATH, hang_after=1_000_000, times=1)
    takers = [Taker() for _ in range(2 * CROWD)]
    taking = [take(await downloads.follow(KEY, file_of(evil)), taker) for taker in takers]
    await until(lambda: all(len(taker.taken) == 1_000_000 - TAIL for taker in takers), reactor)
    for one in taking:
        one.cancel()
        with pytest.raises(CancelledError):
            await one


async def test_a_crowd_waits_for_the_first_bytes(downloads: Downloads, evil: EvilUpstream, reactor: Any) -> None:
    """What cannot be given yet is not taken for the first bytes, of which all are told at once."""
    evil.misbehave(PATH, hang_after=1000, times=1)
    taking = [take(await downloads.follow(KEY, file_of(evil))) for _ in range(CROWD)]
    (download,) = downloads._under_way.values()
    await until(lambda: download.attempt is not None and download.attempt.received == 1000, reactor)
    assert not download._begun
    evil.drop_connections()
    assert await gatherResults(taking) == [CONTENT] * CROWD
    assert download._begun


async def test_the_slow_do_not_hold_up_the_fast(downloads: Downloads, evil: EvilUpstream, reactor: Any) -> None:
    """A client that takes nothing for a while delays nobody; it gets the rest when it goes on."""
    file = file_of(evil)
    slow = Taker(pause_after=1)
    slow_taking = take(await downloads.follow(KEY, file), slow)
    await until(lambda: slow.taken, reactor)
    assert await take(await downloads.follow(KEY, file)) == CONTENT
    assert len(slow.taken) < 1_000_000
    slow.resume()
    assert await slow_taking == CONTENT


@pytest.mark.parametrize(
    ("first", "last"), [(0, 0), (10, 99), (1_000, None), (4_999_990, 5_000_002), (5_000_002, None), (2_000_000, 10**9)]
)
async def test_a_range_of_a_cold_file(downloads: Downloads, evil: EvilUpstream, first: int, last: int | None) -> None:
    """Any part of a file that is not here yet is sent rightly; the whole file is fetched and kept."""
    arriving = await downloads.follow(KEY, file_of(evil))
    assert await take(arriving, None, first, last) == CONTENT[first : None if last is None else last + 1]
    assert await take(await downloads.follow(KEY, file_of(evil))) == CONTENT
    assert evil.hits[f"GET {PATH}"] == 1


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 999), (1_000_000, 2_999_999)])
async def test_a_part_of_wrong_bytes_is_never_whole(
    downloads: Downloads, evil: EvilUpstream, first: int, last: int
) -> None:
    """Nobody could tell that a part is wrong: its last byte waits for the digest of the whole file."""
    evil.misbehave(PATH, flip=first, times=1)
    taker = Taker()
    taking = take(await downloads.follow(KEY, file_of(evil)), taker, first, last)
    with pytest.raises(UpstreamBroken):
        await taking
    assert len(taker.taken) < last + 1 - first
    assert await take(await downloads.follow(KEY, file_of(evil)), None, first, last) == CONTENT[first : last + 1]


async def test_wrong_bytes_are_never_whole(
    downloads: Downloads, evil: EvilUpstream, tmp_path: Path, reactor: Any
) -> None:
    """One wrong byte: nobody gets the end of the file, nothing is kept, and the next client gets the right one."""
    evil.misbehave(PATH, flip=100_000, times=1)
    file = file_of(evil)
    takers = [Taker() for _ in range(5)]
    results = await DeferredList(
        [take(await downloads.follow(KEY, file), taker) for taker in takers], consumeErrors=True
    )
    for (good, failure), taker in zip(results, takers, strict=True):
        assert not good
        assert isinstance(failure.value, UpstreamBroken)
        assert 0 < len(taker.taken) <= len(CONTENT) - 16 * 1024
        assert taker.producer is None
    await until(lambda: kept(tmp_path) == [], reactor)
    assert await take(await downloads.follow(KEY, file)) == CONTENT
    assert evil.hits[f"GET {PATH}"] == 2


async def test_a_small_file_is_asked_for_again(
    downloads: Downloads, evil: EvilUpstream, tmp_path: Path, reactor: Any
) -> None:
    """A short file that comes wrong once is right at the client: no byte had gone out. Wrong twice, it fails clean."""
    content = CONTENT[:9_000]
    evil.projects["big"][0].content = content
    file = file_of(evil, content)
    evil.misbehave(PATH, flip=5, times=3)
    with pytest.raises(UpstreamBroken, match="sha256"):
        await (await downloads.follow(KEY, file)).ready()
    assert evil.hits[f"GET {PATH}"] == 2
    await until(lambda: kept(tmp_path) == [], reactor)
    taker = Taker()
    assert await take(await downloads.follow(KEY, file), taker) == content
    assert taker.registrations == 1
    assert evil.hits[f"GET {PATH}"] == 4


async def test_who_had_nothing_yet_gets_the_second_try(downloads: Downloads, evil: EvilUpstream) -> None:
    """When a file comes wrong, those with bytes of it fail, and those without get it from a second try."""
    evil.misbehave(PATH, flip=5, times=1)
    file = file_of(evil)
    begun, waiting = Taker(), Taker()
    results = await DeferredList(
        [
            take(await downloads.follow(KEY, file), begun),
            take(await downloads.follow(KEY, file), waiting, len(CONTENT) - 3),
        ],
        consumeErrors=True,
    )
    assert [good for good, _ in results] == [False, True]
    assert waiting.taken == CONTENT[-3:]
    assert evil.hits[f"GET {PATH}"] == 2


@pytest.mark.parametrize("wrong", [-1, 1])
async def test_a_length_that_is_not_the_listings(
    downloads: Downloads, evil: EvilUpstream, tmp_path: Path, wrong: int, reactor: Any
) -> None:
    """A file of another length than the listing says fails before the first byte, and is not kept."""
    taker = Taker()
    with pytest.raises(UpstreamBroken, match="bytes"):
        await take(await downloads.follow(KEY, file_of(evil, size=len(CONTENT) + wrong)), taker)
    assert (taker.taken, taker.registrations) == (b"", 0)
    await until(lambda: kept(tmp_path) == [], reactor)


async def test_upstream_that_fails_at_once(downloads: Downloads, evil: EvilUpstream) -> None:
    """What goes wrong before the first byte is known before the client was sent anything."""
    await evil.stop()
    arriving = await downloads.follow(KEY, file_of(evil))
    taker = Taker()
    with pytest.raises(UpstreamUnavailable):
        await arriving.ready()
    with pytest.raises(UpstreamUnavailable):
        await arriving.send(taker, 0, None)
    assert taker.registrations == 0
    await evil.start()
    evil.misbehave(PATH, status=404)
    with pytest.raises((NotFound, UpstreamUnavailable)):
        await (await downloads.follow(KEY, file_of(evil))).ready()


@pytest.mark.parametrize("fault", ["reset_after", "close_after"])
async def test_upstream_that_dies_in_the_middle(
    downloads: Downloads, evil: EvilUpstream, tmp_path: Path, fault: str, reactor: Any
) -> None:
    """When upstream dies in the middle, so does the sending; nothing is kept, and the next client gets the file."""
    evil.ranges = False
    evil.misbehave(PATH, times=1, **{fault: 3_000_000})
    taker = Taker()
    with pytest.raises((UpstreamUnavailable, UpstreamBroken)):
        await take(await downloads.follow(KEY, file_of(evil)), taker)
    assert taker.producer is None
    assert len(taker.taken) < 3_000_000
    await until(lambda: kept(tmp_path) == [], reactor)
    assert await take(await downloads.follow(KEY, file_of(evil))) == CONTENT


async def test_a_body_without_length(downloads: Downloads, evil: EvilUpstream, tmp_path: Path, reactor: Any) -> None:
    """Where upstream does not say how long a file is, its digest tells; where it gives neither, it is not believed."""
    evil.misbehave(PATH, framing="chunked")
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert await take(await downloads.follow(KEY, file_of(evil, size=None, digests={"sha256": sha256}))) == CONTENT
    with pytest.raises(UpstreamBroken, match="neither"):
        await (await downloads.follow("releases/big/other", file_of(evil, size=None, digests={}))).ready()
    await until(lambda: [path.name for path in kept(tmp_path)] == [NAME], reactor)


async def test_ready_tells_the_size(downloads: Downloads, evil: EvilUpstream) -> None:
    """A size that the listing did not give is known when the file is ready."""
    arriving = await downloads.follow(KEY, file_of(evil, size=None))
    assert arriving.size is None
    await arriving.ready()
    assert arriving.size == len(CONTENT)
    assert await take(arriving) == CONTENT
    assert evil.hits[f"GET {PATH}"] == 1


@pytest.mark.parametrize(("size", "goes_on"), [(25_000_000, False), (6_000_000, True), (31_000_000, None)])
async def test_when_everybody_left(
    downloads: Downloads,
    evil: EvilUpstream,
    clock: Clock,
    reactor: Any,
    tmp_path: Path,
    size: int,
    goes_on: bool | None,
) -> None:
    """A download nobody waits for is given up after five seconds, unless it is small or more than half done."""
    content = CONTENT * (size // len(CONTENT))
    done = len(content) * 3 // 4 if goes_on is None else len(content) // 4
    evil.projects["big"][0].content = content
    # The end comes only when the first connection has been answered: the test says when.
    evil.misbehave(PATH, hang_after=done, times=1)
    taker = Taker(pause_after=1)
    taking = take(await downloads.follow(KEY, file_of(evil, content)), taker)
    await until(lambda: taker.taken and evil.requests[-1].sent >= done, reactor)
    await until(lambda: kept(tmp_path)[0].stat().st_size >= done, reactor)
    taker.leave()
    with pytest.raises(CancelledError):
        await taking
    clock.advance(4.9)
    assert downloads.under_way() == 1
    clock.advance(0.2)
    assert downloads.under_way() == (0 if goes_on is False else 1)
    if goes_on is False:
        await until(lambda: kept(tmp_path) == [], reactor)
        assert await take(await downloads.follow(KEY, file_of(evil, content))) == content


async def test_one_that_comes_back_in_time(
    downloads: Downloads, evil: EvilUpstream, clock: Clock, reactor: Any
) -> None:
    """A download that somebody else joins within the five seconds goes on for them."""
    content = CONTENT * 5
    evil.projects["big"][0].content = content
    evil.misbehave(PATH, rate=20_000_000)
    file = file_of(evil, content)
    taker = Taker(pause_after=1)
    taking = take(await downloads.follow(KEY, file), taker)
    await until(lambda: taker.taken, reactor)
    taking.cancel()
    clock.advance(4)
    second = take(await downloads.follow(KEY, file))
    clock.advance(4)
    assert await second == content
    assert evil.hits[f"GET {PATH}"] == 1
    with pytest.raises(CancelledError):
        await taking


async def test_one_that_leaves_takes_nobody_along(downloads: Downloads, evil: EvilUpstream, reactor: Any) -> None:
    """A client that goes away, at whatever moment, does not disturb the others."""
    file = file_of(evil)
    staying = take(await downloads.follow(KEY, file))
    leaving = take(await downloads.follow(KEY, file))
    leaving.cancel()
    taker = Taker(pause_after=1)
    later = take(await downloads.follow(KEY, file), taker)
    await until(lambda: taker.taken, reactor)
    taker.leave()
    assert await staying == CONTENT
    for gone in (leaving, later):
        with pytest.raises(CancelledError):
            await gone
    assert evil.hits[f"GET {PATH}"] == 1


async def test_without_a_sha256(downloads: Downloads, evil: EvilUpstream, node: Any, reactor: Any) -> None:
    """A file whose listing has no SHA-256 is fetched whole first; its SHA-256 is then known, and kept."""
    md5 = hashlib.md5(CONTENT).hexdigest()
    evil.misbehave(PATH, hang_after=4_000_000, times=1)
    pinned: list[File] = []

    def pin(file: File) -> Deferred[str]:
        pinned.append(file)
        return succeed("releases/big/pinned")

    file = file_of(evil, digests={"md5": md5}, size=None)
    taker = Taker()
    taking = take(await downloads.follow(KEY, file, pin), taker)
    await until(lambda: evil.requests and evil.requests[-1].sent >= 4_000_000, node.upstream._reactor)
    assert taker.registrations == 0
    taking.cancel()
    await downloads.stop()
    with pytest.raises(CancelledError):
        await taking
    assert await take(await downloads.follow(KEY, file, pin)) == CONTENT
    assert [(one.digests, one.size) for one in pinned] == [
        ({"md5": md5, "sha256": hashlib.sha256(CONTENT).hexdigest()}, len(CONTENT))
    ]
    assert [name for name, _, _ in await node.storage.names()] == ["releases/big/pinned"]
    with pytest.raises(UpstreamBroken, match="md5"):
        await (await downloads.follow("releases/big/other", file_of(evil, digests={"md5": "0" * 32}), pin)).ready()
    assert len(pinned) == 1


async def test_a_cached_file_of_wrong_length(downloads: Downloads, evil: EvilUpstream, tmp_path: Path) -> None:
    """A cached file that lost its end is fetched anew."""
    file = file_of(evil)
    await take(await downloads.follow(KEY, file))
    (tmp_path / "remote" / KEY).write_bytes(CONTENT[:100])
    assert await take(await downloads.follow(KEY, file)) == CONTENT
    assert evil.hits[f"GET {PATH}"] == 2


async def test_stop_gives_up(downloads: Downloads, evil: EvilUpstream, reactor: Any, tmp_path: Path) -> None:
    """When the service stops, who waits is told, and nothing half is left."""
    evil.misbehave(PATH, hang_after=1_000_000)
    taker = Taker()
    taking = take(await downloads.follow(KEY, file_of(evil)), taker)
    await until(lambda: taker.taken, reactor)
    taking.addErrback(lambda failure: failure.trap(UpstreamUnavailable))
    await downloads.stop()
    assert await taking is UpstreamUnavailable
    await until(lambda: kept(tmp_path) == [], reactor)


async def test_without_an_upstream(node: Any, evil: EvilUpstream, reactor: Any) -> None:
    """Without an upstream what is stored is served, and the rest is not found."""
    evil.add_file("big", NAME, CONTENT)
    await take(await node.downloads.follow(KEY, file_of(evil)))
    alone = Downloads(node.storage, Upstreams(), reactor)
    assert isinstance(node.storage, FilesystemStorage)
    assert await take(await alone.follow(KEY, file_of(evil))) == CONTENT
    with pytest.raises(NotFound):
        await (await alone.follow("releases/big/other", file_of(evil))).ready()


async def test_a_file_that_goes_after_it_was_found(downloads: Downloads, node: Any, evil: EvilUpstream) -> None:
    """
    A cached file that is evicted between the look for it and its sending is fetched again: the client gets what it was
    told, a part too.
    """
    file = file_of(evil)
    assert await take(await downloads.follow(KEY, file)) == CONTENT
    for hits, (first, last) in enumerate(((0, None), (5, 1_000_000), (4_000_000, None)), 2):
        found = await downloads.follow(KEY, file)
        assert not IArriving.providedBy(found)
        verifyObject(IStoredFile, found)
        assert (found.size, found.published_at) == (len(CONTENT), file.upload_time)
        # The control: as long as it is there, nothing is asked of upstream.
        assert await take(found, None, 0, 99) == CONTENT[:100]
        assert evil.hits[f"GET {PATH}"] == hits - 1
        await node.storage.delete(KEY)
        assert await take(found, None, first, last) == CONTENT[first : None if last is None else last + 1]
        assert evil.hits[f"GET {PATH}"] == hits
        await until(lambda: not downloads.under_way(), node.upstream._reactor)


async def test_a_file_that_goes_as_soon_as_it_is_there(
    downloads: Downloads, node: Any, evil: EvilUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file that was downloaded and evicted before the client wants its end is fetched once more; one that never stays is
    a 503, and not fetched for ever.
    """
    file = file_of(evil)
    arriving = await downloads.follow(KEY, file)
    await arriving.ready()
    await until(lambda: not downloads.under_way(), node.upstream._reactor)
    await node.storage.delete(KEY)
    assert await take(arriving, None, 4_999_999) == CONTENT[4_999_999:]
    assert evil.hits[f"GET {PATH}"] == 2

    place = node.storage._place

    def evict_at_once(path: Path, key: str) -> Any:
        opener = place(path, key)
        (node.storage._root / key).unlink()
        return opener

    monkeypatch.setattr(node.storage, "_place", evict_at_once)
    await node.storage.delete(KEY)
    with pytest.raises(Unavailable, match="as soon as it is there"):
        await take(await downloads.follow(KEY, file), None, 4_999_999)
    assert evil.hits[f"GET {PATH}"] == 5
    # The control: who reads from the start follows the download, and has all of it.
    assert await take(await downloads.follow(KEY, file)) == CONTENT
