"""Several upstreams: each project is one's, whole, unless the settings say otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from twisted.python.threadpool import ThreadPool

from cheddar.errors import NotFound, UpstreamUnavailable
from cheddar.index.upstreams import Source, Upstreams
from cheddar.model import CachedPage, Fetched, NotModified, Project
from cheddar.upstream import Upstream
from tests.support.upstream import EvilUpstream


class Two:
    """Two upstreams, C{a} asked before C{b}."""

    def __init__(self, reactor: Any, pool: ThreadPool) -> None:
        self.reactor = reactor
        self.a, self.b = EvilUpstream(reactor), EvilUpstream(reactor)
        self.pool = pool
        self.clients: dict[str, Upstream] = {}

    async def start(self) -> None:
        for name, server in (("a", self.a), ("b", self.b)):
            await server.start()
            self.clients[name] = Upstream(
                server.url, reactor=self.reactor, pool=self.pool, timeout=5.0, connections=2, name=name
            )

    async def stop(self) -> None:
        await gatherResults([client.stop() for client in self.clients.values()])
        await self.a.stop()
        await self.b.stop()

    def together(self, *, merge: bool = False, only: tuple[str, ...] = (), offline: bool = False) -> Upstreams:
        """@param only: the projects that C{a} is asked for; empty: all."""
        return Upstreams(
            [
                Source("a", self.clients["a"], lambda name: not only or name in only),
                Source("b", self.clients["b"], merge=merge),
            ],
            offline,
        )


@pytest_twisted.async_yield_fixture
async def two(reactor: Any) -> AsyncIterator[Two]:
    pool = ThreadPool(0, 2)
    pool.start()
    servers = Two(reactor, pool)
    await servers.start()
    yield servers
    await servers.stop()
    pool.stop()


async def project(upstreams: Upstreams, name: str, known: CachedPage | None = None) -> Project:
    fetched = await upstreams.fetch_project(name, known)
    assert isinstance(fetched, Fetched)
    return fetched.project


def names(project: Project) -> list[str]:
    return [file.filename for file in project.files]


async def test_the_first_that_has_it(two: Two) -> None:
    """A project that both have is the first one's alone; the other's is had where the first has none."""
    two.a.add_file("both", "both-1.0.tar.gz", b"a")
    two.b.add_file("both", "both-2.0.tar.gz", b"b")
    two.b.add_file("one", "one-1.0.tar.gz", b"b")
    upstreams = two.together()
    both = await project(upstreams, "both")
    assert (names(both), both.upstream, both.files[0].upstream) == (["both-1.0.tar.gz"], "a", "a")
    assert two.b.requests == [], "the second was not asked"
    one = await project(upstreams, "one")
    assert (one.upstream, one.files[0].upstream) == ("b", "b")
    assert upstreams.of("b") is two.clients["b"]
    with pytest.raises(NotFound):
        await upstreams.fetch_project("none", None)


async def test_one_that_cannot_answer_is_not_passed_over(two: Two) -> None:
    """Whoever comes after it might have another project of that name: the answer is "not now"."""
    two.b.add_file("p", "p-6.6.6.tar.gz", b"b")
    two.a.misbehave("/simple/p/", status=503)
    with pytest.raises(UpstreamUnavailable):
        await two.together().fetch_project("p", None)
    assert two.b.requests == []


async def test_patterns(two: Two) -> None:
    """An upstream is not asked for what its settings leave out."""
    two.a.add_file("p", "p-1.0.tar.gz", b"a")
    two.b.add_file("p", "p-2.0.tar.gz", b"b")
    assert (await project(two.together(only=("q",)), "p")).upstream == "b"
    assert two.a.requests == []
    assert (await project(two.together(only=("p",)), "p")).upstream == "a"


async def test_merge(two: Two) -> None:
    """Where its settings say so, an upstream adds files of other names; each file is fetched from where it is."""
    two.a.add_file("p", "p-1.0.tar.gz", b"a")
    two.b.add_file("p", "p-1.0.tar.gz", b"other")
    two.b.add_file("p", "p-2.0.tar.gz", b"b")
    two.b.add_file("q", "q-1.0.tar.gz", b"b")
    merged = await project(two.together(merge=True), "p")
    assert [(file.filename, file.upstream, file.url.startswith(server.files_url)) for file, server in zip(
        merged.files, (two.a, two.b), strict=True
    )] == [("p-1.0.tar.gz", "a", True), ("p-2.0.tar.gz", "b", True)]  # fmt: skip
    assert merged.versions == ("1.0", "2.0")
    assert (await project(two.together(merge=True), "q")).upstream == "b"
    two.b.misbehave("/simple/p/", status=503)
    with pytest.raises(UpstreamUnavailable):
        await two.together(merge=True).fetch_project("p", None)


async def test_conditional_requests_go_to_whom_they_concern(two: Two) -> None:
    """What one upstream said of its page is asked of that one alone."""
    two.b.add_file("p", "p-1.0.tar.gz", b"b")
    upstreams = two.together()
    fetched = await upstreams.fetch_project("p", None)
    assert isinstance(fetched, Fetched)
    assert fetched.validators.etag is not None
    known = CachedPage(fetched.project, fetched.validators)
    assert isinstance(await upstreams.fetch_project("p", known), NotModified)
    assert "if-none-match" not in two.a.requests[-1].headers
    two.a.add_file("p", "p-1.5.tar.gz", b"a")
    assert (await project(upstreams, "p", known)).upstream == "a"


async def test_offline(two: Two) -> None:
    """Nobody is asked for anything."""
    two.a.add_file("p", "p-1.0.tar.gz", b"a")
    upstreams = two.together(offline=True)
    with pytest.raises(UpstreamUnavailable, match="OFFLINE"):
        await upstreams.fetch_project("p", None)
    with pytest.raises(UpstreamUnavailable, match="OFFLINE"):
        upstreams.of("a")
    assert two.a.requests == []
    assert [state["offline"] for state in upstreams.states()] == [True, True]


def test_an_upstream_that_is_gone_from_the_settings(two: Two) -> None:
    """Its listings are to be asked for anew; its files are not asked of another."""
    upstreams = two.together()
    assert upstreams.knows(Project("p", upstream="a"))
    assert not upstreams.knows(Project("p", upstream="gone"))
    assert upstreams.knows(Project("p", upstream="a"), two.a.url)
    assert not upstreams.knows(Project("p", upstream="a"), two.b.url), "it has moved"
    with pytest.raises(UpstreamUnavailable):
        upstreams.of("gone")
