"""Fetching ahead, when upstream is in trouble, and when listings are old."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock, deferLater

from cheddar.formats.targets import make_targets
from cheddar.formats.wanted import read_wanted
from cheddar.index.downloads import NO_ROOM_PAUSE
from cheddar.index.warming import CONCURRENCY, TRIES, Warming, WarmReport
from cheddar.model import WantedList
from tests.index.conftest import Node, owns_nothing
from tests.support.disks import largest_file
from tests.support.distributions import make_wheel
from tests.support.upstream import EvilUpstream

T = TypeVar("T")


class WaitedFor(Clock):
    """
    A clock of those who wait to ask again.

    @ivar waits: how often somebody did.
    """

    waits = 0

    def callLater(self, when: float, what: Callable[..., object], *args: object, **kwargs: object) -> DelayedCall:
        """Somebody waits."""
        self.waits += 1
        return super().callLater(when, what, *args, **kwargs)


async def warm(reactor: Any, clock: Clock, node: Node, *names: str) -> WarmReport:
    """Warm these names; the clock is put forward all the time."""
    return await passing(reactor, clock, make_warming(clock, node).run([requirements(*names)]))


def make_warming(clock: IReactorTime, node: Node) -> Warming:
    """For the running interpreter."""

    def tell(done: int, total: int, received: int) -> None:
        assert 0 <= done <= total
        assert received >= 0

    return Warming(
        node.index,
        owns_nothing,
        clock,
        make_targets([], []),
        sdist="fallback",
        registries=(),
        told_projects=tell,
        told_files=tell,
    )


def requirements(*names: str) -> WantedList:
    """A requirements file with these lines."""
    return read_wanted("requirements.txt", lambda path: "\n".join(names).encode())


async def passing(reactor: Any, clock: Clock, work: Deferred[T]) -> T:
    """Wait, while time passes fast."""
    while not work.called:
        await deferLater(reactor, 0.01)
        clock.advance(0.5)
    return await work


async def test_upstream_that_is_busy_is_asked_again(reactor: Any, clock: Clock, evil: EvilUpstream, node: Node) -> None:
    """For listings and files, until it was in vain too often."""
    for name in ("busy", "hopeless"):
        evil.add_file(name, *make_wheel(name, "1.0"))
    busy = "/files/busy-1.0-py3-none-any.whl"
    evil.misbehave("/simple/busy/", status=503, times=TRIES - 1)
    evil.misbehave(busy, status=503, times=TRIES - 1)
    evil.misbehave("/files/hopeless-1.0-py3-none-any.whl", status=503)
    report = await warm(reactor, clock, node, "busy")
    assert [file.filename for file in report.fetched] == ["busy-1.0-py3-none-any.whl"]
    assert report.missing == []
    assert (evil.hits["GET /simple/busy/"], evil.hits[f"GET {busy}"]) == (TRIES, TRIES)
    report = await warm(reactor, clock, node, "hopeless")
    assert (report.fetched, [missing.what for missing in report.missing]) == ([], ["hopeless-1.0-py3-none-any.whl"])


async def test_upstream_is_asked_again_when_it_said(reactor: Any, clock: Clock, evil: EvilUpstream, node: Node) -> None:
    """What it says in Retry-After keeps everybody away from it for as long, and nobody for much longer."""
    evil.add_file("busy", *make_wheel("busy", "1.0"))
    evil.misbehave("/files/busy-1.0-py3-none-any.whl", status=503, headers={"Retry-After": "1"}, times=1)
    warming = make_warming(reactor, node)
    report = await warming.run([requirements("busy")])
    assert [file.filename for file in report.fetched] == ["busy-1.0-py3-none-any.whl"]


async def test_upstream_that_is_gone_keeps_nobody_waiting(
    reactor: Any, clock: Clock, evil: EvilUpstream, node: Node
) -> None:
    """Once it was in vain to wait for it, the rest of a long list is over soon; all of it is told."""
    await evil.stop()
    names = [f"demo{number}" for number in range(3 * CONCURRENCY)]
    waited_for = WaitedFor()
    report = await passing(reactor, waited_for, make_warming(waited_for, node).run([requirements(*names)]))
    assert [missing.what for missing in report.missing] == sorted(names)
    assert 0 < waited_for.waits <= CONCURRENCY * (TRIES - 1)


async def test_a_listing_that_is_due_is_asked_for_first(
    reactor: Any, clock: Clock, evil: EvilUpstream, node: Node
) -> None:
    """
    What is fetched is the newest release there is now; where upstream does not answer, the newest that is remembered is
    what clients get, and what is here counts as had.
    """
    evil.add_file("demo", *make_wheel("demo", "1.0"))
    first = await warm(reactor, clock, node, "demo")
    assert [file.filename for file in first.fetched] == ["demo-1.0-py3-none-any.whl"]
    evil.add_file("demo", *make_wheel("demo", "2.0"))
    # The control: not due yet.
    assert [file.filename for file in (await warm(reactor, clock, node, "demo")).present] == [
        "demo-1.0-py3-none-any.whl"
    ]
    clock.advance(601)
    second = await warm(reactor, clock, node, "demo")
    assert [file.filename for file in second.fetched] == ["demo-2.0-py3-none-any.whl"]
    await evil.stop()
    clock.advance(601)
    third = await warm(reactor, clock, node, "demo")
    assert (third.fetched, third.missing) == ([], [])
    assert [(file.project, file.filename) for file in third.present] == [("demo", "demo-2.0-py3-none-any.whl")]


async def test_what_cannot_be_kept_is_not_had(reactor: Any, clock: Clock, evil: EvilUpstream, node: Node) -> None:
    """On a disk that takes no more: what passed through is not here, and what comes after is not asked for in vain."""
    names = [f"demo{number}" for number in range(CONCURRENCY + 4)]
    for name in names:
        evil.add_file(name, *make_wheel(name, "1.0", size=3 << 20))
    evil.add_file("small", *make_wheel("small", "1.0"))
    with largest_file(2 << 20):
        report = await warm(reactor, clock, node, "small", *names)
    assert [file.filename for file in report.fetched] == ["small-1.0-py3-none-any.whl"]
    assert [missing.what for missing in report.missing] == sorted(f"{name}-1.0-py3-none-any.whl" for name in names)
    assert {missing.why for missing in report.missing} == {"There is no room to keep it."}
    asked = {seen.path for seen in evil.requests if seen.path.startswith("/files/demo")}
    assert 0 < len(asked) < len(names)
    # The control: with room, once what filled the disk is tried again, they are had.
    clock.advance(NO_ROOM_PAUSE)
    assert len((await warm(reactor, clock, node, *names)).fetched) == len(names)
