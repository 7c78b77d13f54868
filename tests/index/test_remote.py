"""The remote index: what was seen once is served, whatever upstream does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogEvent, globalLogPublisher
from zope.interface.verify import verifyObject

from cheddar.errors import NotFound, UpstreamBroken, UpstreamUnavailable
from cheddar.formats.links import digest_segment
from cheddar.index.remote import RemoteIndex
from cheddar.index.upstreams import Upstreams
from cheddar.interfaces import IIndex, IRefreshable
from tests.index.conftest import Node
from tests.index.test_downloads import take, until
from tests.support.distributions import core_metadata_of, make_sdist, make_wheel
from tests.support.upstream import EvilUpstream

PAGE = "GET /simple/flask/"


def add(evil: EvilUpstream, version: str = "1.0", name: str = "flask", **attributes: Any) -> tuple[str, bytes]:
    filename, content = make_wheel(name, version, size=50_000)
    evil.add_file(name, filename, content, **attributes)
    return filename, content


async def versions(node: Node, name: str = "flask") -> list[str]:
    return [file.version for file in (await node.index.project(name)).files]


async def settled(node: Node, reactor: Any) -> None:
    """Wait until no fetch of a listing is under way."""
    await until(lambda: not node.index._fetches.under_way(), reactor)
    # What was learned is in the store by then; the page kept in memory is as new.


async def test_a_fresh_listing_is_not_asked_for_again(node: Node, evil: EvilUpstream, clock: Clock) -> None:
    """Within the short time-to-live upstream is asked once, however often clients ask."""
    add(evil)
    verifyObject(IIndex, node.index)
    verifyObject(IRefreshable, node.index)
    project = await node.index.project("flask")
    assert (project.name, project.index, [file.version for file in project.files]) == ("flask", "remote", ["1.0"])
    for _ in range(3):
        clock.advance(199)
        assert await versions(node) == ["1.0"]
    assert evil.hits[PAGE] == 1
    assert await node.index.project_names() == ("flask",)


async def test_fifty_at_once(node: Node, evil: EvilUpstream) -> None:
    """However many clients ask for a cold page at once, upstream is asked once."""
    add(evil)
    assert await gatherResults([Deferred.fromCoroutine(versions(node)) for _ in range(50)]) == [["1.0"]] * 50
    assert evil.hits[PAGE] == 1


async def test_a_due_listing_is_served_at_once(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """A due listing is served while upstream hangs, one refresh goes on behind, and what it brings is served next."""
    add(evil)
    assert await versions(node) == ["1.0"]
    add(evil, "1.1")
    evil.misbehave("/simple/flask/", delay=0.3, times=1)
    clock.advance(601)
    for _ in range(5):
        assert await versions(node) == ["1.0"]
    await until(lambda: evil.hits[PAGE] == 2, reactor)
    assert await versions(node) == ["1.0"]
    await settled(node, reactor)
    assert await versions(node) == ["1.0", "1.1"]
    assert evil.hits[PAGE] == 2


async def test_a_change_while_it_is_found_to_be_fresh(
    node: Node, evil: EvilUpstream, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where others have brought a listing up to date, and change it again in this moment, the last is served."""
    for version in ("1.0", "1.1", "1.2"):
        add(evil, version)
    assert await versions(node) == ["1.0", "1.1", "1.2"]
    clock.advance(601)
    pages = node.store.pages
    due = await pages.get("remote", "flask")
    assert due is not None
    assert due.project is not None
    project = due.project
    get, asked = pages.get, 0

    async def changing(index: str, name: str) -> Any:
        nonlocal asked
        asked += 1
        if asked != 2:
            return await get(index, name)
        for last in (2, 1):
            page = await get(index, name)
            listed = evolve(due, checked_at=clock.seconds(), project=evolve(project, files=project.files[:last]))
            await pages.put(index, name, listed)
        return page

    with monkeypatch.context() as patched:
        patched.setattr(type(pages), "get", lambda _, *names: Deferred.fromCoroutine(changing(*names)))
        assert await node.index.refresh() == 1
        assert asked == 2
    assert await versions(node) == ["1.0"]
    assert evil.hits[PAGE] == 1


async def test_not_modified(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """A listing that upstream confirms is fresh again, without being fetched."""
    add(evil)
    await versions(node)
    clock.advance(601)
    await versions(node)
    await settled(node, reactor)
    assert "if-none-match" in evil.requests[-1].headers
    clock.advance(500)
    assert await versions(node) == ["1.0"]
    assert evil.hits[PAGE] == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 403},
        {"mute": "reset"},
        {"status": 200, "body": b"<h1>Log in</h1>", "headers": {"Content-Type": "text/html"}},
        {"status": 200, "body": b"{", "headers": {"Content-Type": "application/vnd.pypi.simple.v1+json"}},
    ],
)
async def test_upstream_that_fails(
    node: Node, evil: EvilUpstream, clock: Clock, reactor: Any, fault: dict[str, Any]
) -> None:
    """When upstream fails, a listing however old goes on being served; what was never seen is no "not found"."""
    add(evil)
    await versions(node)
    evil.misbehave("/simple/flask/", **fault)
    evil.misbehave("/simple/other/", **fault)
    for _ in range(3):
        clock.advance(100_000)
        assert await versions(node) == ["1.0"]
        await settled(node, reactor)
    assert evil.hits[PAGE] > 1
    with pytest.raises((UpstreamUnavailable, UpstreamBroken)):
        await node.index.project("other")


async def test_a_failed_refresh_is_not_repeated_at_once(
    node: Node, evil: EvilUpstream, clock: Clock, reactor: Any
) -> None:
    """While upstream fails, clients do not make Cheddar ask with every request of theirs; soon it asks again."""
    add(evil)
    await versions(node)
    evil.misbehave("/simple/flask/", status=200, body=b"garbage")
    clock.advance(601)
    for _ in range(5):
        await versions(node)
        await settled(node, reactor)
    assert evil.hits[PAGE] == 2
    evil.behave()
    clock.advance(5)
    await versions(node)
    await settled(node, reactor)
    assert evil.hits[PAGE] == 3


async def test_waiting_has_an_end(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """A client waits for an unseen listing so many seconds, then is told to come again; by then it may be here."""
    add(evil)
    evil.misbehave("/simple/flask/", delay=0.2, times=1)
    asking = node.index.project("flask")
    await until(lambda: evil.hits[PAGE] == 1, reactor)
    clock.advance(11.9)
    assert not asking.called
    clock.advance(0.2)
    with pytest.raises(UpstreamUnavailable, match="12 s"):
        await asking
    await settled(node, reactor)
    assert await versions(node) == ["1.0"]
    assert evil.hits[PAGE] == 1


async def test_no_such_project(node: Node, evil: EvilUpstream, clock: Clock) -> None:
    """That upstream does not have a project is remembered for a while, and never longer."""
    for _ in range(3):
        with pytest.raises(NotFound):
            await node.index.project("flask")
        clock.advance(99)
    assert evil.hits[PAGE] == 1
    assert await node.index.project_names() == ()
    add(evil)
    clock.advance(10)
    assert await versions(node) == ["1.0"]
    assert evil.hits[PAGE] == 2


async def test_an_old_no_is_worth_nothing(node: Node, evil: EvilUpstream, clock: Clock) -> None:
    """An expired "no such project" is not served when upstream fails."""
    with pytest.raises(NotFound):
        await node.index.project("flask")
    await evil.stop()
    with pytest.raises(NotFound):
        await node.index.project("flask")
    clock.advance(301)
    with pytest.raises(UpstreamUnavailable):
        await node.index.project("flask")


async def test_a_project_that_vanishes(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """A known project is hidden only when upstream says twice, ten minutes apart, that it is gone."""
    add(evil)
    await versions(node)
    node.index._learning._short_ttl = 100
    evil.misbehave("/simple/flask/", status=404)
    for _ in range(7):
        clock.advance(101)
        assert await versions(node) == ["1.0"]
        await settled(node, reactor)
    assert evil.hits[PAGE] == 8
    with pytest.raises(NotFound):
        await node.index.project("flask")


async def test_a_project_that_comes_back(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """One wrong "gone", and later another, never hide a project that was there in between."""
    add(evil)
    await versions(node)
    for status in (404, None, 404, None, 404):
        evil.behave()
        if status is not None:
            evil.misbehave("/simple/flask/", status=status)
        clock.advance(601)
        assert await versions(node) == ["1.0"]
        await settled(node, reactor)
    assert await versions(node) == ["1.0"]
    assert evil.hits[PAGE] == 6


async def test_names_of_others(make_node: Callable[..., Any], evil: EvilUpstream, clock: Clock) -> None:
    """Upstream is never asked for a name that is the local index's: no page, file, metadata or refresh."""
    owned: set[str] = set()
    node = await make_node(lambda name: succeed(name in owned))
    filename, content = add(evil)
    await node.index.project("flask")
    assert evil.hits[PAGE] == 1  # the control: unowned, it is asked
    evil.hits.clear()
    evil.connections = 0
    owned.add("flask")
    clock.advance(100_000)
    for ask in (
        lambda: node.index.project("flask"),
        lambda: node.index.file("flask", filename, None),
        lambda: node.index.file("flask", filename, hashlib.sha256(content).hexdigest()),
        lambda: node.index.core_metadata("flask", filename, None),
    ):
        with pytest.raises(NotFound):
            await ask()
    clock.rightNow -= 50_000
    assert await node.index.refresh() == 0
    assert evil.hits.total() == 0
    assert await node.index.project_names() == ()


async def test_without_upstream(node: Node, evil: EvilUpstream, clock: Clock) -> None:
    """Without an upstream there is nothing."""
    add(evil)
    await node.index.project("flask")
    index = RemoteIndex(
        Upstreams(),
        node.store.pages,
        node.downloads,
        node.storage,
        clock,
        node.store.changes,
        short_ttl=1,
        long_ttl=1,
        negative_ttl=1,
        wait=1,
        owns=lambda _: succeed(False),
    )
    for ask in (index.project("flask"), index.file("flask", "f", None), index.core_metadata("flask", "f", None)):
        with pytest.raises(NotFound):
            await ask
    assert (await index.project_names(), await index.refresh()) == ((), 0)


async def test_a_file(node: Node, evil: EvilUpstream) -> None:
    """A file is found by its page's entry: project, name and digest; nothing else leads anywhere."""
    filename, content = add(evil)
    sha256 = hashlib.sha256(content).hexdigest()
    assert await take(await node.index.file("flask", filename, sha256)) == content
    assert await take(await node.index.file("flask", filename, None)) == content
    key = f"releases/flask/{sha256[:16]}/{filename}"
    assert [name for name, _, _ in await node.storage.names()] == [key]
    for project, name, digest in (
        ("flask", filename, "0" * 64),
        ("flask", "other.whl", sha256),
        ("other", filename, sha256),
        ("flask", "../flask", None),
    ):
        with pytest.raises(NotFound):
            await node.index.file(project, name, digest)
    assert evil.hits[f"GET /files/{filename}"] == 1


async def test_prereleases_lie_apart(node: Node, evil: EvilUpstream) -> None:
    """Pre-releases are cached apart from releases."""
    filename, content = add(evil, "2.0rc1")
    assert await take(await node.index.file("flask", filename, None)) == content
    ((name, _, _),) = await node.storage.names()
    assert name.startswith("pre-releases/flask/")


async def test_a_file_newer_than_the_listing(node: Node, evil: EvilUpstream, clock: Clock) -> None:
    """A file that a due listing does not have yet is looked for in a new one before it is "not found"."""
    add(evil)
    await versions(node)
    filename, content = add(evil, "1.1")
    with pytest.raises(NotFound):
        await node.index.file("flask", filename, None)
    clock.advance(601)
    assert await take(await node.index.file("flask", filename, None)) == content


async def test_core_metadata(node: Node, evil: EvilUpstream) -> None:
    """Core metadata is passed through exactly, checked, fetched once, and kept beside the file."""
    filename, content = add(evil)
    path = f"/files/{filename}.metadata"
    evil.ranges = False  # else it could be had from the wheel
    evil.misbehave(path, flip=3, times=1)
    with pytest.raises(UpstreamBroken):
        await node.index.core_metadata("flask", filename, None)
    assert await node.storage.names() == ()
    found = await gatherResults([node.index.core_metadata("flask", filename, None) for _ in range(20)])
    assert set(found) == {core_metadata_of(content)}
    assert evil.hits[f"GET {path}"] == 2
    assert await node.index.core_metadata("flask", filename, None) == core_metadata_of(content)
    assert evil.hits[f"GET {path}"] == 2
    assert all("range" in seen.headers for seen in evil.requests if seen.path == f"/files/{filename}")
    ((name, _, _),) = await node.storage.names()
    assert name.endswith(f"{filename}.metadata")


async def test_no_core_metadata(node: Node, evil: EvilUpstream) -> None:
    """Where the listing offers no core metadata, upstream is not asked for it."""
    filename, content = make_sdist("flask", "1.0")
    evil.add_file("flask", filename, content)
    with pytest.raises(NotFound):
        await node.index.core_metadata("flask", filename, None)
    assert [request.path for request in evil.requests] == ["/simple/flask/"]


async def test_after_a_restart_without_upstream(
    make_node: Callable[..., Any], evil: EvilUpstream, clock: Clock
) -> None:
    """What was cached outlives a restart, and is served with upstream gone: page, file and core metadata."""
    filename, content = add(evil)
    node = await make_node()
    await take(await node.index.file("flask", filename, None))
    await node.index.core_metadata("flask", filename, None)
    await make_node.stop(node)  # type: ignore[attr-defined]
    await evil.stop()
    clock.advance(10 * 365 * 86_400)
    again = await make_node()
    assert await versions(again) == ["1.0"]
    sha256 = hashlib.sha256(content).hexdigest()
    assert await take(await again.index.file("flask", filename, sha256)) == content
    assert await again.index.core_metadata("flask", filename, sha256) == core_metadata_of(content)
    with pytest.raises(UpstreamUnavailable):
        await again.index.project("unseen")


async def test_two_nodes(make_node: Callable[..., Any], evil: EvilUpstream, clock: Clock) -> None:
    """Nodes on one store see each other's news within a second, and do not ask upstream twice."""
    add(evil)
    one, two = await make_node(), await make_node()
    assert await versions(one) == await versions(two) == ["1.0"]
    assert evil.hits[PAGE] == 1
    add(evil, "1.1")
    clock.advance(601)
    await one.index._fetch("flask")
    assert await versions(one) == ["1.0", "1.1"]
    clock.advance(1)
    assert await versions(two) == ["1.0", "1.1"]
    assert evil.hits[PAGE] == 2


async def test_another_node_was_faster(make_node: Callable[..., Any], evil: EvilUpstream) -> None:
    """A node that had no listing a moment ago takes the one that another node got meanwhile."""
    add(evil)
    one, two = await make_node(), await make_node()
    evil.misbehave("/simple/flask/", status=500, times=1)
    with pytest.raises(UpstreamUnavailable):
        await two.index.project("flask")
    assert await versions(one) == ["1.0"]
    hits = evil.hits[PAGE]
    assert await versions(two) == ["1.0"]
    assert evil.hits[PAGE] == hits


async def test_first_seen_bytes_stay(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """What a file name stands for does not change once it was seen: the change is logged, the rest is taken over."""
    filename, content = add(evil)
    before = await node.index.project("flask")
    other = content + b"evil"
    evil.projects["flask"][0] = type(evil.projects["flask"][0])(filename, other, {})
    add(evil, "1.1")
    clock.advance(601)
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        await versions(node)
        await settled(node, reactor)
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert [event["filename"] for event in events if event.get("action") == "upstream.changed"] == [filename]
    after = await node.index.project("flask")
    assert [file.version for file in after.files] == ["1.0", "1.1"]
    assert after.files[0] == evolve(before.files[0], withdrawal="changed")
    with pytest.raises(UpstreamBroken):
        await (await node.index.file("flask", filename, None)).ready()
    with pytest.raises(NotFound):
        await node.index.file("flask", filename, hashlib.sha256(other).hexdigest())


async def test_a_file_without_sha256_is_pinned(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """A file without SHA-256 gets one from its bytes, which stays when the listing is refreshed; old URLs stay good."""
    filename, content = make_wheel("flask", "1.0")
    evil.add_file("flask", filename, content, hashes={"md5": hashlib.md5(content).hexdigest()})
    sha256 = hashlib.sha256(content).hexdigest()
    (listed,) = (await node.index.project("flask")).files
    old = digest_segment(listed)
    assert old.startswith("md5-")
    assert await take(await node.index.file("flask", filename, old)) == content
    add(evil, "1.1")
    for _ in range(2):
        (pinned, *_) = (await node.index.project("flask")).files
        assert pinned.digests["sha256"] == sha256
        for digest in (old, sha256, None):
            assert await take(await node.index.file("flask", filename, digest)) == content
        clock.advance(601)
        await versions(node)
        await settled(node, reactor)
    assert await versions(node) == ["1.0", "1.1"]
    assert evil.hits[f"GET /files/{filename}"] == 1


async def test_requests_are_noted_once_a_minute(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """The store knows, to a minute, when a listing was last asked for; a busy page does not write all the time."""
    add(evil)
    notes: list[float] = []
    writing: list[Deferred[None]] = []
    touch = node.store.pages.touch

    def watched(index: str, name: str, asked_at: float) -> Deferred[None]:
        notes.append(asked_at)
        writing.append(touch(index, name, asked_at))
        return writing[-1]

    node.index._pages = evolve_pages(node.store.pages, watched)
    start = clock.seconds()
    for _ in range(125):
        await versions(node)
        await gatherResults(writing)
        clock.advance(1)
    assert [note - start for note in notes] == [60, 120]
    page = await node.store.pages.get("remote", "flask")
    assert page is not None
    assert page.asked_at == start + 120


def evolve_pages(pages: Any, touch: Any) -> Any:
    """The page cache, watched as it is asked to note requests."""

    class Watched(type(pages)):  # type: ignore[misc]
        def touch(self, index: str, name: str, asked_at: float) -> Any:
            return touch(index, name, asked_at)

    return Watched(pages._database)


async def test_refresh(node: Node, evil: EvilUpstream, clock: Clock) -> None:
    """A turn brings due listings up to date that were asked for lately; one bad project ends it for nobody."""
    names = ["one", "two", "three", "bad", "old", "fresh"]
    for name in names:
        add(evil, name=name)
    with pytest.raises(NotFound):
        await node.index.project("missing")
    await versions(node, "old")
    clock.advance(3600 * 24)
    for name in ("one", "two", "three", "bad"):
        await versions(node, name)
    clock.advance(601)
    await versions(node, "fresh")
    evil.misbehave("/simple/bad/", status=200, body=b"garbage")
    for name in names:
        add(evil, "2.0", name=name)
    evil.hits.clear()
    assert await node.index.refresh() == 3
    assert evil.hits == {f"GET /simple/{name}/": 1 for name in ("one", "two", "three", "bad")}
    assert await versions(node, "one") == ["1.0", "2.0"]
    assert await versions(node, "bad") == ["1.0"]
    assert evil.hits["GET /simple/one/"] == 1
    assert await node.index.refresh() == 0
    kept = await node.store.pages.get("remote", "old")
    assert kept is not None
    assert kept.project is not None, "not refreshed any more is not forgotten"


async def test_refresh_spreads_out(node: Node, evil: EvilUpstream, clock: Clock) -> None:
    """Listings that were fetched together are refreshed at different times, each once, before clients find them due."""
    names = [f"project-{number}" for number in range(40)]
    for name in names:
        add(evil, name=name)
        await node.index.project(name)
    evil.hits.clear()
    clock.advance(539)
    assert await node.index.refresh() == 0
    counts = []
    for _ in range(4):
        clock.advance(15)
        counts.append(await node.index.refresh())
    clock.advance(1)
    for name in names:
        await node.index.project(name)
    counts.append(await node.index.refresh())
    assert sum(counts) == len(names)
    assert all(0 < count < 25 for count in counts[:4]), counts
    assert evil.hits == {f"GET /simple/{name}/": 1 for name in names}


async def test_refresh_takes_the_latest_first(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """The listings asked for most recently come first, and only some at a time."""
    names = [f"project-{number}" for number in range(12)]
    for name in names:
        add(evil, name=name)
        await versions(node, name)
        evil.misbehave(f"/simple/{name}/", delay=0.5)
        clock.advance(1)
    clock.advance(601)
    evil.requests.clear()
    refreshing = node.index.refresh()
    await until(lambda: len(evil.requests) == 4, reactor)
    for _ in range(10):
        await deferLater(reactor, 0.002)
    assert len(evil.requests) == 4
    assert sorted(seen.path for seen in evil.requests) == sorted(f"/simple/{name}/" for name in names[-4:])
    assert await refreshing == 12


async def test_a_clock_that_is_set_back(node: Node, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """A clock that is set back makes listings due, never fresh for longer."""
    add(evil)
    await versions(node)
    add(evil, "1.1")
    clock.rightNow -= 86_400
    await versions(node)
    await settled(node, reactor)
    assert await versions(node) == ["1.0", "1.1"]


async def test_an_unasked_confirmation(node: Node, evil: EvilUpstream) -> None:
    """A "not modified" for what was never fetched is upstream's fault, not an empty project."""
    add(evil)
    evil.misbehave("/simple/flask/", status=304, times=1)
    with pytest.raises((UpstreamBroken, UpstreamUnavailable)):
        await node.index.project("flask")
    assert await versions(node) == ["1.0"]


async def test_memory_is_bounded(node: Node, evil: EvilUpstream, clock: Clock) -> None:
    """No more pages are kept in memory than there is room for."""
    node.index._known._most = 6
    for number in range(30):
        add(evil, name=f"project-{number}")
        await versions(node, f"project-{number}")
        clock.advance(0.5)
    assert 1 < len(node.index._known._known) <= 3
    assert evolve(await node.index.project("project-29"), files=()).name == "project-29"
