"""Core metadata where upstream has none: made of small parts of the wheel, kept for good, never believed for ever."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from cheddar.errors import NotFound, UpstreamBroken, UpstreamUnavailable
from cheddar.formats.byte_ranges import Span
from cheddar.formats.simple_json import api_version
from cheddar.formats.zip_directory import TAIL, Parts, next_step
from cheddar.index.made_metadata import CONCURRENCY, DELAY, NEWEST, PAUSE
from cheddar.index.remote import RemoteIndex
from cheddar.model import File
from tests.index.conftest import Node
from tests.index.test_downloads import take, until
from tests.support.distributions import core_metadata_of, make_sdist, make_wheel, sha256
from tests.support.upstream import EvilUpstream

Make = Callable[..., Any]


def add(
    evil: EvilUpstream, version: str = "1.0", name: str = "flask", size: int = 300_000, **attributes: Any
) -> tuple[str, bytes]:
    """A wheel as an upstream lists it that knows nothing of PEP 658 and PEP 700."""
    filename, content = make_wheel(name, version, size=size)
    evil.add_file(name, filename, content, **{"core_metadata": None, "size": None, **attributes})
    return filename, content


def far_metadata(version: str = "1.0", word: str = "for") -> tuple[str, bytes]:
    """A wheel whose METADATA is at its start, far from its directory; of one length for words of one length."""
    filename, content = make_wheel(
        "flask",
        version,
        extra=[("flask/padding.bin", bytes(range(256)) * 8192)],
        requires=[f"click-{word}-this"],
    )
    again = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(again, "w") as new:
        for name in sorted(old.namelist(), key=lambda name: "padding" in name):
            member = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            new.writestr(member, old.read(name), zipfile.ZIP_STORED)
    return filename, again.getvalue()


def parts(evil: EvilUpstream) -> list[tuple[str, int]]:
    """The parts of files that upstream was asked for, and how many bytes of each it sent."""
    return [(request.path, request.sent) for request in evil.requests if "range" in request.headers]


async def listed(node: Node, filename: str, name: str = "flask") -> File:
    """What the listing says now, as a client sees it."""
    return next(file for file in (await node.index.project(name)).files if file.filename == filename)


async def settled(node: Node, clock: Clock, reactor: Any) -> None:
    """Wait until all that is to be done behind clients' requests is done."""
    await until(lambda: not node.index._fetches.under_way(), reactor)
    for _ in range(100):
        clock.advance(DELAY)
        await until(lambda: not (node.made._under_way or node.made._behind._running), reactor)
        if not node.made.left():
            return
    raise AssertionError("it goes on and on")


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What was warned of."""
    found: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_level") == LogLevel.warn:
            found.append(str(event.get("log_format", "")))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


async def test_on_demand(node: Node, evil: EvilUpstream) -> None:
    """A request for metadata that upstream does not have is answered from one small part of the wheel."""
    filename, content = add(evil)
    before = await listed(node, filename)
    assert (before.core_metadata, before.size, api_version(await node.index.project("flask"))) == (None, None, "1.0")
    found = await gatherResults([node.index.core_metadata("flask", filename, None) for _ in range(20)])
    raw = core_metadata_of(content)
    assert set(found) == {raw}
    assert parts(evil) == [(f"/files/{filename}", TAIL)]
    assert evil.requests[-1].headers["range"] == f"bytes=-{TAIL}"
    after = await listed(node, filename)
    assert (after.core_metadata, after.size) == ({"sha256": sha256(raw)}, len(content))
    assert api_version(await node.index.project("flask")) == "1.4"
    ((key, size, _),) = await node.storage.names()
    assert key == f"releases/flask/{sha256(content)[:16]}/{filename}.metadata"
    assert size == len(raw)
    assert await node.index.core_metadata("flask", filename, sha256(content)) == raw
    assert len(evil.requests) == 2


@pytest.mark.parametrize("size", [None, 1])
async def test_two_parts(node: Node, evil: EvilUpstream, size: int | None) -> None:
    """METADATA that is not at the end is one more part of its own size; with a size known, positions are asked for."""
    filename, content = far_metadata()
    evil.add_file("flask", filename, content, core_metadata=None, size=size and len(content))
    raw = core_metadata_of(content)
    assert await node.index.core_metadata("flask", filename, None) == raw
    (end, member) = (request for request in evil.requests if "range" in request.headers)
    assert (end.sent, member.sent < len(raw) + 200) == (TAIL, True)
    positions = f"bytes={len(content) - TAIL}-{len(content) - 1}"
    assert end.headers["range"] == (f"bytes=-{TAIL}" if size is None else positions)


async def test_the_newest_behind(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """Of a listing in use the newest releases get theirs before anybody asks; yanked ones and sdists do not count."""
    names = [add(evil, f"1.{number}")[0] for number in range(NEWEST + 3)]
    yanked, _ = add(evil, "2.0", yanked="broken")
    evil.add_file("flask", *make_sdist("flask", "1.5"), size=None)
    await node.index.project("flask")
    clock.advance(DELAY / 2)
    assert parts(evil) == []  # clients go first
    await settled(node, clock, reactor)
    wanted = names[-NEWEST:]
    assert sorted(path for path, _ in parts(evil)) == [f"/files/{name}" for name in wanted]
    files = (await node.index.project("flask")).files
    assert sorted(file.filename for file in files if file.core_metadata is not None) == wanted
    assert yanked not in wanted
    clock.advance(10)
    await node.index.project("flask")
    await settled(node, clock, reactor)
    assert len(parts(evil)) == NEWEST


async def test_refreshed_behind(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """A release that a refresh finds gets its metadata too, and the older ones' is not made again."""
    first, _ = add(evil)
    await node.index.project("flask")
    await settled(node, clock, reactor)
    second, _ = add(evil, "1.1")
    clock.advance(601)
    assert await node.index.refresh() == 1
    await settled(node, clock, reactor)
    assert [path for path, _ in parts(evil)] == [f"/files/{first}", f"/files/{second}"]
    for filename in (first, second):
        assert (await listed(node, filename)).core_metadata is not None


async def test_a_little_at_a_time(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """However many listings come into use, upstream is asked for two parts at a time, and clients do not wait."""
    for number in range(6):
        filename, _ = add(evil, name=f"project-{number}")
        evil.misbehave(f"/files/{filename}", delay=0.05)
        await node.index.project(f"project-{number}")
    most = 0

    def under_way() -> bool:
        nonlocal most
        clock.advance(DELAY)
        most = max(most, sum(request.ended is None for request in evil.requests))
        return bool(node.made.left())

    await until(lambda: not under_way(), reactor)
    assert most == CONCURRENCY
    assert len(parts(evil)) == 6


async def test_survives(make_node: Make, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """What was made stays through refreshes, with and without news, and a restart, with upstream gone."""
    filename, content = add(evil)
    raw = core_metadata_of(content)
    node = await make_node()
    await node.index.core_metadata("flask", filename, None)
    made = await listed(node, filename)
    for number in range(3):
        clock.advance(601)
        if number == 1:
            add(evil, "1.1")
        await node.index.refresh()
        assert await listed(node, filename) == made
    assert len((await node.index.project("flask")).files) == 2
    await settled(node, clock, reactor)
    await make_node.stop(node)  # type: ignore[attr-defined]
    await evil.stop()
    again = await make_node()
    assert await listed(again, filename) == made
    assert await again.index.core_metadata("flask", filename, sha256(content)) == raw


async def test_other_bytes_are_another_file(node: Node, evil: EvilUpstream, clock: Clock) -> None:
    """What was made of a file is not said of one with other digests, should upstream's listing have no common one."""
    filename, content = add(evil, hashes={"md5": hashlib.md5(b"a").hexdigest()})
    await node.index.core_metadata("flask", filename, None)
    assert (await listed(node, filename)).core_metadata is not None
    evil.projects["flask"][0].attributes["hashes"] = {"sha256": sha256(content)}
    clock.advance(601)
    await node.index.refresh()
    assert (await listed(node, filename)).core_metadata is None


async def test_upstream_learns(node: Node, evil: EvilUpstream, clock: Clock) -> None:
    """
    Metadata of upstream's own is passed through from when there is some, if it is what was made; else upstream is wrong
    about its wheel, and what was given first stays.
    """
    filename, content = add(evil)
    await node.index.core_metadata("flask", filename, None)
    right = core_metadata_of(content)
    for own in (right + b"Upstream's own.\n", right):
        evil.projects["flask"][0].attributes["core_metadata"] = {"sha256": sha256(own)}
        evil.misbehave(f"/files/{filename}.metadata", body=own)
        clock.advance(601)
        await node.index.refresh()
        file = await listed(node, filename)
        assert file.core_metadata == {"sha256": sha256(right)}
        assert (file.made_metadata, bool(file.other_metadata)) == (own != right, own != right)
        assert await node.index.core_metadata("flask", filename, None) == right


async def test_the_wheel_is_here(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """Of a wheel that was downloaded, METADATA is read here: upstream is asked for nothing."""
    filename, content = add(evil)
    assert await take(await node.index.file("flask", filename, None)) == content
    asked = len(evil.requests)
    assert await node.index.core_metadata("flask", filename, None) == core_metadata_of(content)
    behind, _ = add(evil, name="click")
    await take(await node.index.file("click", behind, None))
    await settled(node, clock, reactor)
    file = await listed(node, behind, "click")
    assert file.core_metadata is not None
    assert file.size == len(evil.projects["click"][0].content)
    assert parts(evil) == []
    assert len(evil.requests) == asked + 2


async def test_right_metadata_stays(
    node: Node, evil: EvilUpstream, clock: Clock, reactor: Any, warnings: list[str]
) -> None:
    """When the wheel comes later, and is as was said, nothing changes."""
    filename, content = add(evil)
    await node.index.core_metadata("flask", filename, None)
    made = await listed(node, filename)
    assert await take(await node.index.file("flask", filename, None)) == content
    await settled(node, clock, reactor)
    assert await listed(node, filename) == made
    assert warnings == []


async def test_wrong_metadata_is_dropped(
    make_node: Make, evil: EvilUpstream, clock: Clock, reactor: Any, warnings: list[str]
) -> None:
    """When the verified wheel says something else than what was made, that is withdrawn, for good, with a warning."""
    filename, content = far_metadata()
    _, other = far_metadata(word="not")
    assert len(content) == len(other)
    assert core_metadata_of(content) != core_metadata_of(other)
    evil.add_file("flask", filename, content, core_metadata=None)
    node = await make_node()
    await node.index.project("flask")
    evil.projects["flask"][0].content = other
    assert await node.index.core_metadata("flask", filename, None) == core_metadata_of(other)
    evil.projects["flask"][0].content = content
    assert (await listed(node, filename)).core_metadata is not None
    assert await take(await node.index.file("flask", filename, None)) == content
    await settled(node, clock, reactor)
    assert (await listed(node, filename)).core_metadata is None
    assert len(warnings) == 1
    assert [key for key, _, _ in await node.storage.names() if key.endswith(".metadata")] == []
    # Clients may keep the wrong one for ever: under this address there is never another.
    asked = len(evil.requests)
    await make_node.stop(node)  # type: ignore[attr-defined]
    again = await make_node()
    with pytest.raises(NotFound):
        await again.index.core_metadata("flask", filename, None)
    clock.advance(PAUSE + 601)
    await again.index.refresh()
    await settled(again, clock, reactor)
    assert (await listed(again, filename)).core_metadata is None
    assert parts(evil) == parts(evil)[:2]
    assert len(evil.requests) == asked + 1


async def test_the_wheel_comes_meanwhile(
    node: Node, evil: EvilUpstream, clock: Clock, reactor: Any, warnings: list[str]
) -> None:
    """A wheel that comes while its metadata is made is compared all the same."""
    filename, content = far_metadata()
    _, other = far_metadata(word="not")
    evil.add_file("flask", filename, content, core_metadata=None)
    path = f"/files/{filename}"
    (first, last) = _metadata_position(content)
    evil.misbehave(path, body=other[-TAIL:], times=1)
    evil.misbehave(path, delay=0.3, body=other[first : last + 1], times=1)
    making = node.index.core_metadata("flask", filename, None)
    await until(lambda: len(parts(evil)) == 2, reactor)
    assert await take(await node.index.file("flask", filename, None)) == content
    await making
    await settled(node, clock, reactor)
    assert (await listed(node, filename)).core_metadata is None
    assert len(warnings) == 1


def _metadata_position(content: bytes) -> tuple[int, int]:
    """The part of a wheel that is asked for after its end."""
    held = Parts(len(content))
    held.add(len(content) - TAIL, content[-TAIL:])
    step = next_step(held, "flask-1.0-py3-none-any.whl")
    assert isinstance(step, Span)
    return step.first, step.last


async def test_an_upstream_without_parts(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """An upstream that answers with whole files is asked for a part once, and none of its listings suffer."""
    evil.ranges = False
    names = [add(evil, name=f"project-{number}", size=3_000_000)[0] for number in range(3)]
    for number in range(3):
        await node.index.project(f"project-{number}")
    await settled(node, clock, reactor)
    with pytest.raises(NotFound):
        await node.index.core_metadata("project-1", names[1], None)
    assert len(parts(evil)) <= CONCURRENCY  # as many as were asked for before the first answer
    assert (await listed(node, names[1], "project-1")).core_metadata is None
    assert await node.storage.names() == ()


async def test_a_wheel_that_cannot_be_read(make_node: Make, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """A hostile wheel is given up, and not looked at again, not even after a restart; its page and file are served."""
    content = b"no wheel " * 10_000
    filename = "flask-1.0-py3-none-any.whl"
    evil.add_file("flask", filename, content, core_metadata=None, size=None)
    evil.projects["flask"][0].core_metadata = None  # type: ignore[misc]  # upstream could not read it itself
    node = await make_node()
    with pytest.raises(NotFound, match="no separate core metadata"):
        await node.index.core_metadata("flask", filename, None)
    await make_node.stop(node)  # type: ignore[attr-defined]
    again = await make_node()
    for _ in range(3):
        clock.advance(PAUSE)
        await again.index.project("flask")
        await settled(again, clock, reactor)
        with pytest.raises(NotFound):
            await again.index.core_metadata("flask", filename, None)
    assert len(parts(evil)) == 1
    assert (await listed(again, filename)).core_metadata is None
    assert await take(await again.index.file("flask", filename, None)) == content


async def test_failures_behind_are_not_repeated(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """What failed behind clients' requests is tried again after an hour, or at once when a client asks for it."""
    filename, content = add(evil)
    evil.misbehave(f"/files/{filename}", status=503, times=2)
    for _ in range(5):
        await node.index.project("flask")
        await settled(node, clock, reactor)
        clock.advance(100)
    assert len(parts(evil)) == 1
    with pytest.raises(UpstreamUnavailable):
        await node.index.core_metadata("flask", filename, None)
    clock.advance(PAUSE)
    await node.index.project("flask")
    await settled(node, clock, reactor)
    assert len(parts(evil)) == 3
    assert (await listed(node, filename)).core_metadata == {"sha256": sha256(core_metadata_of(content))}


async def test_storage_was_emptied(make_node: Make, evil: EvilUpstream, reactor: Any, warnings: list[str]) -> None:
    """Metadata that is offered and not here is made again; if it cannot be the same, it is not offered any more."""
    filename, content = far_metadata()
    _, other = far_metadata(word="not")
    evil.add_file("flask", filename, content, core_metadata=None)
    node = await make_node()
    raw = await node.index.core_metadata("flask", filename, None)
    ((key, _, _),) = await node.storage.names()
    await node.storage.delete(key)
    assert await node.index.core_metadata("flask", filename, None) == raw == core_metadata_of(content)
    await node.storage.delete(key)
    evil.projects["flask"][0].content = other
    with pytest.raises(NotFound):
        await node.index.core_metadata("flask", filename, None)
    assert (await listed(node, filename)).core_metadata is None
    assert len(warnings) == 1


async def test_small_wheels_are_verified(node: Node, evil: EvilUpstream) -> None:
    """A wheel so small that all of it comes must have its digest."""
    filename, content = add(evil, size=100)
    await node.index.project("flask")
    evil.misbehave(f"/files/{filename}", flip=40, times=1)
    with pytest.raises(UpstreamBroken):
        await node.index.core_metadata("flask", filename, None)
    assert await node.storage.names() == ()
    assert await node.index.core_metadata("flask", filename, None) == core_metadata_of(content)


async def test_a_listing_that_is_wrong_about_the_size(node: Node, evil: EvilUpstream) -> None:
    """A wheel that is not as long as its listing says is not read."""
    filename, content = add(evil, size=300_000)
    evil.projects["flask"][0].attributes["size"] = len(content) - 1
    with pytest.raises(UpstreamBroken, match=str(len(content))):
        await node.index.core_metadata("flask", filename, None)
    assert (await listed(node, filename)).core_metadata is None


async def test_what_is_not_made(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """Nothing is made of sdists, of files without a digest, and where nobody is there to make it."""
    evil.add_file("flask", *make_sdist("flask", "1.0"), size=None)
    filename, _ = add(evil, "1.1", hashes={})
    await node.index.project("flask")
    await settled(node, clock, reactor)
    with pytest.raises(NotFound):
        await node.index.core_metadata("flask", filename, None)
    node.index._made = None
    other, _ = add(evil, "1.2", name="click")
    with pytest.raises(NotFound):
        await node.index.core_metadata("click", other, None)
    await settled(node, clock, reactor)
    assert parts(evil) == []


async def test_a_name_that_became_local(make_node: Make, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """Upstream is not asked for anything of a name that was taken here meanwhile."""
    owned: set[str] = set()

    def owns(name: str) -> Deferred[bool]:
        return succeed(name in owned)

    node = await make_node(owns)
    for name in ("flask", "click"):
        add(evil, name=name)
        await node.index.project(name)
    owned.add("flask")
    await settled(node, clock, reactor)
    assert [path for path, _ in parts(evil)] == ["/files/click-1.0-py3-none-any.whl"]


async def test_the_end(make_node: Make, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """To stop does not wait for an upstream that hangs; who waits is told; and the next start goes on."""
    filename, content = add(evil)
    behind, _ = add(evil, name="click")
    for name in (filename, behind):
        evil.misbehave(f"/files/{name}", hang_after=100, times=1)
    node: Node = await make_node()
    await node.index.project("click")
    clock.advance(DELAY)
    waiting = node.index.core_metadata("flask", filename, None)
    await until(lambda: len(parts(evil)) == 2, reactor)
    told = reactor.seconds()
    await make_node.stop(node)  # type: ignore[attr-defined]
    assert reactor.seconds() - told < 3
    with pytest.raises(UpstreamUnavailable):
        await waiting
    again = await make_node()
    assert await again.index.core_metadata("flask", filename, None) == core_metadata_of(content)


async def test_pinned_meanwhile(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """A file that had no SHA-256 when its metadata was made keeps it when the download brings one."""
    filename, content = far_metadata()
    evil.add_file("flask", filename, content, core_metadata=None, hashes={"md5": hashlib.md5(content).hexdigest()})
    raw = await node.index.core_metadata("flask", filename, None)
    assert await take(await node.index.file("flask", filename, None)) == content
    await settled(node, clock, reactor)
    file = await listed(node, filename)
    assert (file.digests["sha256"], file.core_metadata) == (sha256(content), {"sha256": sha256(raw)})
    asked = len(evil.requests)
    assert await node.index.core_metadata("flask", filename, None) == raw
    assert len(evil.requests) == asked
    clock.advance(601)
    await node.index.refresh()
    assert await listed(node, filename) == file


async def test_without_the_maker_the_signature_holds(node: Node, evil: EvilUpstream, clock: Clock) -> None:
    """An index that nobody gave the maker works as before."""
    index = RemoteIndex(
        node.upstreams,
        node.store.pages,
        node.downloads,
        node.storage,
        clock,
        node.store.changes,
        short_ttl=600,
        long_ttl=86_400,
        negative_ttl=300,
        wait=12,
        owns=lambda name: succeed(False),
    )
    filename, content = add(evil)
    assert await take(await index.file("flask", filename, None)) == content
    with pytest.raises(NotFound):
        await index.core_metadata("flask", filename, None)
