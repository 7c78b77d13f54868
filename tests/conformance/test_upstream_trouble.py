"""An upstream that changes its mind, or is in trouble: what clients see of it, and when."""

from __future__ import annotations

import attrs
import pytest

from cheddar.settings import Settings
from tests.conformance.served import FROM_UPSTREAM, Served
from tests.conformance.test_status_and_yank import upstreams_page
from tests.support.distributions import make_wheel
from tests.support.server import JSON

PAGE = "/simple/demo/"
WHEEL, CONTENT = make_wheel("demo", "1.0")

#: Ways in which an upstream does not answer.
TROUBLES: tuple[dict[str, object], ...] = (
    *({"status": status} for status in (401, 403, 408, 429, 500, 502, 503, 504, 520)),
    {"mute": "reset"},
    {"mute": "close"},
    {"mute": "hang"},
    {"hang_after": 10},
    {"reset_after": 100},
    {"close_after": 100},
    {"redirect_to": "http://127.0.0.1:1/"},
    {"redirect_to": "?again"},
    {"status": 418},
)

pytestmark = pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A Cheddar without patience."""
    return attrs.evolve(settings, get_timeout=1, listing_wait=10)


async def eventually(served: Served, expected: list[str]) -> None:
    """Ask for the page until it lists these files: a page that is due is brought up to date behind its answer."""
    while list(await served.addresses("demo")) != expected:
        served.clock.later(1)


@pytest.mark.conforms("PEP 691", "Upstream knows no such project: 404, and so for a while")
async def test_no_such_project(served: Served) -> None:
    """Upstream is not asked again at once; later it is, and a project that is there by then is found."""
    for status in (404, 410):
        served.upstream.misbehave(PAGE, status=status)
        await served.forget("demo")
        before = served.upstream.hits[f"GET {PAGE}"]
        for accept in (JSON, "text/html", "*/*"):
            assert (await served.page("demo", accept)).status == 404
        assert served.upstream.hits[f"GET {PAGE}"] == before + 1
        served.upstream.behave()
    served.upstream.add_file("demo", WHEEL, CONTENT)
    assert (await served.page("demo")).status == 404, "the control: not asked yet"
    served.clock.later(400)
    assert list(await served.addresses("demo")) == [WHEEL]


@pytest.mark.deadline(60)
@pytest.mark.conforms("PEP 691", "Upstream in trouble: never 404, which would send installers to the next index")
async def test_never_not_found(served: Served) -> None:
    """502 or 503 for what is not known, with a time to come again; the same page as before for what is."""
    for number, trouble in enumerate(TROUBLES):
        project = f"demo{number}"
        path = f"/simple/{project}/"
        filename, _ = await served.publish_wheel(project)
        served.upstream.misbehave(path, **trouble)
        for accept in (JSON, "text/html"):
            answer = await served.page(project, accept)
            assert answer.status in (502, 503), (trouble, answer)
            assert answer.headers["cache-control"] == "no-store"
            if answer.status == 503:
                assert int(answer.headers["retry-after"]) > 0
        served.upstream.behave(path)
        served.clock.later(700)
        before = await served.page(project)
        assert before.status == 200, trouble
        served.upstream.misbehave(path, **trouble)
        for _ in range(3):
            served.clock.later(700)
            after = await served.page(project)
            assert (after.status, after.body) == (200, before.body), trouble
        assert list(await served.addresses(project)) == [filename]


@pytest.mark.conforms("PEP 691", "Upstream in trouble: never 404, which would send installers to the next index")
async def test_upstream_is_down(served: Served) -> None:
    """Pages, files and metadata that are here are given; what is not here is not said to be nowhere."""
    await served.publish(WHEEL, CONTENT)
    (address,) = (await served.addresses("demo")).values()
    assert (await served.get(address)).status == 200
    assert (await served.get(f"{address}.metadata")).status == 200
    await served.upstream.stop()
    for _ in range(2):
        assert (await served.page("other")).status == 503
        served.clock.later(700)
        assert await served.addresses("demo") == {WHEEL: address}
        assert (await served.get(address)).body == CONTENT
        assert (await served.get(f"{address}.metadata")).status == 200


@pytest.mark.conforms("PEP 592", "Yanked upstream later: seen once the page is due, and taken back likewise")
async def test_yanked_later(served: Served) -> None:
    """A mirror shows no yanked file without its mark: a page is not believed for longer than the settings say."""
    await served.publish(WHEEL, CONTENT)

    async def mark() -> object:
        (file,) = (await served.project_page_json("demo"))["files"]
        return file.get("yanked", False)

    assert await mark() is False
    for yanked in ("broken", True, False):
        served.upstream.projects["demo"][0].attributes["yanked"] = yanked
        served.clock.later(served.cheddar.settings.versions_short_ttl + 1)
        while await mark() != yanked:
            served.clock.later(1)


@pytest.mark.conforms("PEP 792", "Quarantined upstream later: cached files are not given any more")
async def test_quarantined_later(served: Served) -> None:
    """Once the page is due, files and metadata that are long here are gone with the page's; and come back with it."""
    await served.publish(WHEEL, CONTENT)
    (address,) = (await served.addresses("demo")).values()
    for path in (address, f"{address}.metadata"):
        assert (await served.get(path)).status == 200
    await upstreams_page(served, lambda page: page.update({"project-status": {"status": "quarantined"}}))
    served.clock.later(700)
    await eventually(served, [])
    for path in (address, f"{address}.metadata"):
        assert (await served.get(path)).status == 404
    served.upstream.behave()
    served.clock.later(700)
    await eventually(served, [WHEEL])
    assert (await served.get(address)).body == CONTENT


@pytest.mark.conforms("RFC 9110", "Upstream's pages: asked for again by their ETag; a 304 makes them fresh")
async def test_validators(served: Served) -> None:
    """What has not changed is not sent again, and not asked for again until it is due."""
    await served.publish(WHEEL, CONTENT)
    first = await served.page("demo")
    (address,) = (await served.addresses("demo")).values()
    assert "if-none-match" not in served.upstream.requests[0].headers
    for turn in (1, 2, 3):
        assert served.upstream.hits[f"GET {PAGE}"] == turn
        served.clock.later(served.cheddar.settings.versions_short_ttl + 1)
        # Of a page that is due, a file that is not on it is answered when upstream has been asked, not before.
        assert (await served.get(address.replace("-1.0-", "-9.0-"))).status == 404
        assert "if-none-match" in served.upstream.requests[-1].headers
        for _ in range(3):
            assert (await served.page("demo")).body == first.body
            served.clock.later(2)
    await served.publish_wheel("demo", "2.0")
    served.clock.later(700)
    await eventually(served, [WHEEL, "demo-2.0-py3-none-any.whl"])
