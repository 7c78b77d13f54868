"""What is remembered of a store, and for how long."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from cheddar.index.remembered import Remembered
from cheddar.interfaces import IChanges


@implementer(IChanges)
@define(eq=False)
class Told:
    """Changes as a test tells them."""

    live: bool = True
    watching: list[Callable[[str | None], None]] = field(factory=list)

    def watch(self, told: Callable[[str | None], None]) -> None:
        """See L{IChanges}."""
        self.watching.append(told)

    def seen_at(self) -> float | None:
        """See L{IChanges}."""
        return None

    def heard(self) -> bool:
        """See L{IChanges}."""
        return self.live

    def tell(self, name: str | None) -> None:
        """Something has changed."""
        for told in self.watching:
            told(name)


@define(eq=False)
class Store:
    """What is asked, and how often."""

    value: str = "a"
    asked: int = 0

    def read(self) -> Deferred[str]:
        """The value."""
        self.asked += 1
        return succeed(self.value)


def remembered(clock: Clock, changes: Told, most: int = 100, belief: float = 0.0) -> Remembered[str]:
    """Of strings, whose length is their weight."""
    return Remembered(clock, changes, len, most, belief)


async def test_asked_once() -> None:
    """The store is asked once for each name, for as long as it is known that nothing has changed."""
    clock, changes, store = Clock(), Told(), Store()
    values = remembered(clock, changes)
    assert [await values.find("x", store.read) for _ in range(3)] == ["a"] * 3
    assert store.asked == 1
    assert await values.find("y", store.read) == "a"
    assert store.asked == 2
    changes.live = False
    await values.find("x", store.read)
    assert store.asked == 3, "nobody knows whether something has changed"
    changes.live = True
    await values.find("x", store.read)
    await values.find("y", store.read)
    assert store.asked == 3, "it turns out that nothing has"


async def test_changes() -> None:
    """What has changed is asked for again, and nothing else; a change of everything is one of each."""
    clock, changes, store = Clock(), Told(), Store()
    values = remembered(clock, changes)
    for name in ("x", "y"):
        await values.find(name, store.read)
    store.value = "b"
    changes.tell("x")
    assert (await values.find("x", store.read), await values.find("y", store.read)) == ("b", "a")
    changes.tell(None)
    assert await values.find("y", store.read) == "b"


def reads(answer: Deferred[str]) -> Callable[[], Deferred[str]]:
    """A question that C{answer} is the answer to."""
    return lambda: answer


async def test_a_change_while_it_is_read() -> None:
    """What was read before a change is not taken for what is there after it, whoever waits for it."""
    clock, changes = Clock(), Told()
    values = remembered(clock, changes)
    for name in ("x", None):
        first: Deferred[str] = Deferred()
        second: Deferred[str] = Deferred()
        before = Deferred.fromCoroutine(values.find("x", reads(first)))
        changes.tell(name)
        after = Deferred.fromCoroutine(values.find("x", reads(second)))
        first.callback("old")
        assert await before == "old"
        second.callback("new")
        assert await after == "new"
        assert await values.find("x", Store("other").read) == "new"
        changes.tell("x")


def test_what_was_read_before_a_change_is_let_be() -> None:
    """Whoever keeps what he has read himself says since when; what he has written is as it is."""
    changes = Told()
    values = remembered(Clock(), changes)
    for told in ("x", None):
        moment = values.moment("x")
        changes.tell("y")
        values.keep("x", "read", moment)
        assert values.last("x") == "read"
        changes.tell(told)
        values.keep("x", "read before", moment)
        assert values.last("x") is None
        values.keep("x", "written")
        assert values.last("x") == "written"
        values.keep("x", "read after", values.moment("x"))
        assert values.last("x") == "read after"


async def test_a_failure_is_not_remembered() -> None:
    """After the store did not answer it is asked again."""
    values = remembered(Clock(), Told())
    failing: Deferred[str] = Deferred()
    waiting = Deferred.fromCoroutine(values.find("x", lambda: failing))
    failing.errback(KeyError("no"))
    waiting.addErrback(lambda failure: failure.trap(KeyError))
    await waiting
    assert await values.find("x", Store().read) == "a"


async def test_belief() -> None:
    """Where the store tells nothing, a value is believed for as long as was said, and not at all by default."""
    clock, store = Clock(), Store()
    believing, doubting = remembered(clock, Told(False), belief=2.0), remembered(clock, Told(False))
    for _ in range(2):
        await believing.find("x", store.read)
    assert store.asked == 1
    for _ in range(2):
        await doubting.find("x", store.read)
    assert store.asked == 3
    clock.advance(2)
    await believing.find("x", store.read)
    assert store.asked == 4
    clock.rightNow -= 50
    await believing.find("x", store.read)
    assert store.asked == 5, "a clock that was set back"


async def test_bounds() -> None:
    """What was asked for longest ago goes first; amending makes nothing younger."""
    clock = Clock()
    values, store = remembered(clock, Told(), most=10), Store("12345")
    for name in ("x", "y", "x", "z"):
        await values.find(name, store.read)
    assert (values.last("x"), values.last("y"), values.last("z")) == ("12345", None, "12345")
    known = values.last("x")
    values.amend("x", "".join(["1", "2345"]), "1")
    assert values.last("x") is known, "it was another value, though it looks the same"
    values.amend("x", known or "", "123")
    values.amend("y", "12345", "123")
    assert (values.last("x"), values.last("y")) == ("123", None)
    values.keep("y", "12")
    assert values.last("z") == "12345"
