"""Provenance of upstream's files: kept, asked for again when it is old, and served for as long as there is no newer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from cheddar.errors import NotFound, UpstreamBroken, UpstreamUnavailable
from cheddar.index.kept_provenance import FRESH, PATIENCE, PAUSE
from cheddar.model import File
from tests.index.conftest import Node
from tests.index.test_downloads import until
from tests.support.distributions import make_wheel, sha256
from tests.support.upstream import EvilUpstream

WHEEL, CONTENT = make_wheel("flask", "1.0")
PATH = f"/integrity/{WHEEL}"
ASKED = f"GET {PATH}"
PAGE_LIVES = 600.0


def document(number: int) -> bytes:
    """A provenance object that is not the others."""
    return b'{"version":1,"attestation_bundles":[{"publisher":{"kind":"A"},"attestations":[%d]}]}' % number


def offer(evil: EvilUpstream, number: int) -> bytes:
    """Have upstream answer with that object from now on."""
    if "flask" not in evil.projects:
        evil.add_file("flask", WHEEL, CONTENT, provenance=evil.origin + PATH)
    evil.behave(PATH)
    evil.misbehave(PATH, status=200, body=document(number))
    return document(number)


async def get(node: Node) -> bytes:
    found: bytes = await node.index.provenance("flask", WHEEL, sha256(CONTENT))
    return found


async def test_it_is_asked_for_once_a_day(node: Node, evil: EvilUpstream, clock: Clock) -> None:
    """Within a day upstream is not asked again; after it, what was added to the object is seen at once."""
    first = offer(evil, 1)
    assert await get(node) == first
    second = offer(evil, 2)
    clock.advance(FRESH - 1)
    assert await get(node) == first
    assert evil.hits[ASKED] == 1
    clock.advance(2)
    assert await get(node) == second
    assert await get(node) == second
    assert evil.hits[ASKED] == 2


async def test_many_at_once(node: Node, evil: EvilUpstream) -> None:
    """However many clients ask, upstream is asked once."""
    first = offer(evil, 1)
    assert await gatherResults([Deferred.fromCoroutine(get(node)) for _ in range(20)]) == [first] * 20
    assert evil.hits[ASKED] == 1


@pytest.mark.parametrize(
    "trouble", [{"status": 500}, {"status": 404}, {"status": 200, "body": b"<html>"}, {"mute": "reset"}]
)
async def test_an_old_one_is_better_than_none(
    node: Node, evil: EvilUpstream, clock: Clock, trouble: dict[str, Any]
) -> None:
    """When upstream has nothing better to say, the old object is served, and upstream gets a rest."""
    first = offer(evil, 1)
    assert await get(node) == first
    clock.advance(FRESH + 1)
    evil.behave(PATH)
    evil.misbehave(PATH, **trouble)
    assert await get(node) == first
    asked = evil.hits[ASKED]
    assert asked > 1
    clock.advance(PAUSE - 1)
    assert await get(node) == first
    assert evil.hits[ASKED] == asked
    second = offer(evil, 2)
    clock.advance(2)
    assert await get(node) == second


async def test_an_old_one_does_not_keep_clients_waiting(
    node: Node, evil: EvilUpstream, clock: Clock, reactor: Any
) -> None:
    """While upstream hangs, the old object is served after a few seconds, then at once; the new one comes behind."""
    first = offer(evil, 1)
    assert await get(node) == first
    clock.advance(FRESH + 1)
    evil.behave(PATH)
    evil.misbehave(PATH, status=200, body=document(2), delay=0.5)
    waiting = Deferred.fromCoroutine(get(node))
    await until(lambda: evil.hits[ASKED] == 2, reactor)
    assert not waiting.called
    clock.advance(PATIENCE)
    assert await waiting == first
    assert await get(node) == first
    await until(lambda: not node.index._provenance._flights.under_way(), reactor)
    assert await get(node) == document(2)
    assert evil.hits[ASKED] == 2


async def test_another_process(make_node: Callable[..., Any], evil: EvilUpstream) -> None:
    """After a restart what was kept is there, upstream or not; upstream is asked once whether there is more."""
    first = offer(evil, 1)
    node = await make_node()
    assert await get(node) == first
    await make_node.stop(node)  # type: ignore[attr-defined]
    node = await make_node()
    await evil.stop()
    assert await get(node) == first
    await make_node.stop(node)  # type: ignore[attr-defined]
    await evil.start()
    second = offer(evil, 2)
    node = await make_node()
    assert await get(node) == second


async def test_nothing_is_kept_of_what_is_wrong(node: Node, evil: EvilUpstream) -> None:
    """Without an old object upstream's trouble is the client's, by its name, and the next client asks again."""
    offer(evil, 1)
    evil.behave(PATH)
    with pytest.raises(NotFound):
        await get(node)
    evil.misbehave(PATH, status=200, body=b"[]")
    with pytest.raises(UpstreamBroken, match="not a JSON object"):
        await get(node)
    evil.behave(PATH)
    evil.misbehave(PATH, endless=True, status=200, body=b"[" * 100_000)
    with pytest.raises(UpstreamBroken):
        await get(node)
    evil.behave(PATH)
    evil.misbehave(PATH, mute="close")
    with pytest.raises(UpstreamUnavailable):
        await get(node)
    first = offer(evil, 1)
    assert await get(node) == first


async def test_a_listing_from_before(node: Node, evil: EvilUpstream, clock: Clock) -> None:
    """A listing that was remembered without provenance has none, until a refresh brings it."""
    evil.add_file("flask", WHEEL, CONTENT)
    with pytest.raises(NotFound, match="no provenance"):
        await get(node)
    evil.projects.clear()
    first = offer(evil, 1)
    clock.advance(PAGE_LIVES + 1)
    await node.index.refresh()
    clock.advance(2)
    assert await get(node) == first
    (file,) = (await node.index.project("flask")).files
    assert isinstance(file, File)
    assert file.provenance == evil.origin + PATH
