"""How old what is served is: a client, and a cache in front, can tell how long ago upstream confirmed it."""

from __future__ import annotations

import pytest

from cheddar import metrics
from tests.conformance.served import EVERYWHERE, FROM_UPSTREAM, HTML, Served
from tests.support.server import JSON

PAGE = "GET /simple/demo/"


def ages() -> tuple[float, float]:
    """How many pages have been served, and their ages in seconds, summed."""
    count, total = (
        metrics.registry.get_sample_value(f"cheddar_remote_page_age_seconds_{what}") for what in ("count", "sum")
    )
    return count or 0.0, total or 0.0


@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)
@pytest.mark.conforms("RFC 9111", "Age: whole seconds since upstream confirmed the page, where it is not fetched anew")
async def test_age(served: Served) -> None:
    """Not on a page that was just fetched; on one from memory or the store, in every format, and on a 304."""
    await served.publish_wheel("demo")
    first = await served.page("demo")
    assert "age" not in first.headers
    counted, summed = ages()
    served.clock.later(500)
    for accept in (JSON, HTML, "text/html"):
        answer = await served.page("demo", accept)
        assert 500 <= int(answer.headers["age"]) < 510
    again = await served.page("demo", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert int(again.headers["age"]) >= 500
    assert ages()[0] == counted + 4
    assert 2000 <= ages()[1] - summed < 2040
    await served.cheddar.restart()
    restarted = await served.page("demo")
    assert int(restarted.headers["age"]) >= 500
    assert (restarted.body, restarted.headers["etag"]) == (first.body, first.headers["etag"])


@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)
@pytest.mark.conforms(
    "RFC 9111", "Age: grows for as long as upstream is down, and begins anew when it confirms the page"
)
async def test_age_while_upstream_is_down(served: Served) -> None:
    """Three weeks without upstream: served, and the age says so; a 304 of upstream's ends that."""
    await served.publish_wheel("demo")
    await served.page("demo")
    await served.upstream.stop()
    served.clock.later(21 * 86_400)
    assert int((await served.page("demo")).headers["age"]) >= 21 * 86_400
    await served.upstream.start()
    asked = served.upstream.hits[PAGE]
    while int((await served.page("demo")).headers["age"]) > 60:
        served.clock.later(10)
    assert served.upstream.hits[PAGE] == asked + 1


@pytest.mark.parametrize(("index", "origin"), [both for both in EVERYWHERE if both not in FROM_UPSTREAM])
async def test_what_is_published_here_has_no_age(served: Served) -> None:
    """The local project's page is always as it is now."""
    await served.publish_wheel("demo")
    served.clock.later(500)
    for _ in range(2):
        answer = await served.page("demo")
        assert answer.status == 200
        assert "age" not in answer.headers
