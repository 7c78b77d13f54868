"""Reserved names: what is remembered of them, and who may create them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock, deferLater

from cheddar.errors import NotFound, Reserved, StoreUnavailable
from cheddar.index.made_metadata import DELAY
from cheddar.index.reservations import Reservations
from cheddar.model import Identity
from tests.index.conftest import Node
from tests.support.distributions import make_wheel
from tests.support.upstream import EvilUpstream

Make = Callable[..., Any]


def reserve(*patterns: str) -> dict[str, Any]:
    """What a remote index is given by a local one that is empty."""
    reservations = Reservations(patterns)
    return {
        "owns": lambda name: succeed(reservations.pattern(name) is not None),
        "reservations": reservations,
    }


async def test_listings_from_before_are_forgotten(make_node: Make, evil: EvilUpstream, clock: Clock) -> None:
    """A turn of the refresh drops listings whose names are reserved by now, due or not, and asks for the others."""
    for name in ("acme", "acme-tool", "acmeology"):
        evil.add_file(name, *make_wheel(name, "9.9"))
    before = await make_node()
    for name in ("acme", "acme-tool", "acmeology"):
        await before.index.project(name)
    node: Node = await make_node(**reserve("acme-*"))
    assert await before.index.project_names() == ("acme", "acme-tool", "acmeology"), "the control"
    assert await node.index.project_names() == ("acmeology",)
    asked = evil.hits.copy()
    clock.advance(601)
    assert await node.index.refresh() == 1
    assert evil.hits - asked == {"GET /simple/acmeology/": 1}
    assert await node.store.pages.names("remote") == ("acmeology",)


async def test_no_core_metadata_is_made(make_node: Make, evil: EvilUpstream, clock: Clock, reactor: Any) -> None:
    """Nor are parts of wheels fetched for a reserved name, behind requests or for one."""
    wheels = {}
    for name in ("acme-tool", "flask"):
        wheels[name], content = make_wheel(name, "9.9", size=400_000)
        evil.add_file(name, wheels[name], content, core_metadata=None)
    before = await make_node()
    for name in wheels:
        await before.index.project(name)
    await make_node.stop(before)  # type: ignore[attr-defined]
    asked = len(evil.requests)
    node: Node = await make_node(**reserve("acme-tool"))
    for ask in (
        node.index.core_metadata("acme-tool", wheels["acme-tool"], None),
        node.index.file("acme-tool", wheels["acme-tool"], None),
        node.index.project("acme-tool"),
    ):
        with pytest.raises(NotFound, match=r"reserved here \(acme-tool\)"):
            await ask
    await node.index.project("flask")
    clock.advance(DELAY)
    while node.made.left():
        await deferLater(reactor, 0.01)
    # The control: of what is not reserved it is made behind.
    assert {request.path for request in evil.requests[asked:]} == {f"/files/{wheels['flask']}"}


def granted(*patterns: str) -> Reservations:
    """acme-* and widget are reserved; alice was granted these patterns."""

    def grants(user: str) -> Deferred[tuple[str, ...]]:
        return succeed(patterns if user == "alice" else ())

    return Reservations(("acme-*", "widget"), grants)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("acme-*", ["acme", "acme-web", "acme-web-ui"]),
        ("acme-web-*", ["acme-web", "acme-web-ui"]),
        ("acme-web", ["acme-web"]),
        ("acme*", ["acme", "acme-web", "acme-web-ui"]),
        ("widget", ["widget"]),
        ("other-*", []),
    ],
)
async def test_what_a_grant_covers(pattern: str, names: list[str]) -> None:
    """A grant lets its user create the names that its own pattern stands for; what is not reserved is free to all."""
    reservations = granted(pattern)
    created = []
    for name in ("acme", "acme-web", "acme-web-ui", "widget"):
        try:
            await reservations.check_founder(name, Identity("alice"))
        except Reserved:
            continue
        created.append(name)
    assert created == names
    for somebody in (Identity("bob"), Identity()):
        with pytest.raises(Reserved, match=r"widget is reserved \(widget\)"):
            await reservations.check_founder("widget", somebody)
        await reservations.check_founder("acmeology", somebody)


async def test_a_store_that_is_down_grants_nothing() -> None:
    """Where nobody can say what was granted, a reserved name is not created; what is not reserved needs no answer."""
    reservations = Reservations(("acme-*",), lambda user: fail(StoreUnavailable("down")))
    with pytest.raises(StoreUnavailable):
        await reservations.check_founder("acme-tool", Identity("alice"))
    await reservations.check_founder("flask", Identity("alice"))
