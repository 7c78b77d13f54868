"""Pages that a client has already: tags, dates, and what a change does to them (RFC 9110, section 13; RFC 9111)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from twisted.web.http import datetimeToString, stringToDatetime

from tests.conformance.served import FROM_UPLOADS, HTML, Served
from tests.support.distributions import make_wheel
from tests.support.server import JSON, Answer

FORMATS = (JSON, HTML, "text/html", "application/json")

Ask = Callable[..., Awaitable[Answer]]


@pytest.fixture(params=["project", "list"])
def ask(request: pytest.FixtureRequest, served: Served) -> Ask:
    """Asks for the page of the project C{demo}, or for the project list; headers with underscores for dashes."""

    async def ask(accept: str = JSON, method: str = "GET", **headers: str) -> Answer:
        path = served.page_url("demo") if request.param == "project" else served.list_url
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await served.ask(method, path, {"Accept": accept, **named})

    return ask


def date(seconds: float) -> str:
    """A date as headers have it."""
    return datetimeToString(seconds).decode()


def seconds(header: str) -> int:
    """The opposite."""
    return int(stringToDatetime(header.encode()))


@pytest.mark.conforms("RFC 9110", "ETag: the same for the same page over restarts, another for each format")
async def test_tags(served: Served, ask: Ask) -> None:
    """A client's cache goes on being good when the server was restarted."""
    await served.publish_wheel("demo")
    await ask()
    before = {accept: (await ask(accept)).headers["etag"] for accept in (JSON, "text/html", "application/json")}
    assert len(set(before.values())) == 3
    await served.cheddar.restart()
    for accept, etag in before.items():
        assert (await ask(accept)).headers["etag"] == etag
        assert (await ask(accept, If_None_Match=etag)).status == 304


@pytest.mark.conforms("RFC 9110", "If-None-Match: 304 for a page that is still the same, with what a cache needs")
@pytest.mark.conforms("RFC 9110", "Vary: on every answer that depends on Accept")
async def test_a_page_is_not_sent_twice(served: Served, ask: Ask) -> None:
    """Tag, Vary, Cache-Control and date go with it, and no body; packed or not is no difference."""
    for minor in range(8):
        await served.publish_wheel("demo", f"1.{minor}")
    for accept in FORMATS:
        await ask(accept)
        served.clock.later(3)
        for encoding in ("identity", "gzip"):
            page = await ask(accept, Accept_Encoding=encoding)
            etag = page.headers["etag"]
            for tags in (etag, f"W/{etag}", f'"x", {etag}', "*"):
                for method in ("GET", "HEAD"):
                    known = await ask(accept, method, Accept_Encoding=encoding, If_None_Match=tags)
                    assert (known.status, known.body) == (304, b"")
                    assert "Accept" in known.headers["vary"].split(", ")
                    for name in ("vary", "cache-control", "last-modified", "access-control-allow-origin"):
                        assert known.headers[name] == page.headers[name]
                    assert "content-length" not in known.headers
                    assert "content-type" not in known.headers
            assert known.headers["etag"].strip('"').startswith(etag.strip('"').removesuffix("-gzip"))
            assert (await ask(accept, If_None_Match=etag)).headers["etag"] == etag
            assert (await ask(accept, Accept_Encoding=encoding, If_None_Match='"x"')).status == 200


@pytest.mark.conforms("RFC 9111", "Pages: kept only to be asked about again, so that an upload is seen at once")
async def test_a_change_shows_at_once(served: Served) -> None:
    """With whatever a client has, knows or asks of caches; tag and body change with the project."""
    await served.publish_wheel("demo", "1.0")
    page = await served.page("demo")
    assert page.headers["cache-control"] == "public, max-age=0, must-revalidate"
    assert "expires" not in page.headers
    await served.publish_wheel("demo", "1.1")
    for headers in (
        {"If_None_Match": page.headers["etag"]},
        {"If_None_Match": page.headers["etag"], "Cache_Control": "max-age=0"},
        {"Cache_Control": "no-cache", "Pragma": "no-cache"},
        {"If_Modified_Since": page.headers["date"]},
    ):
        fresh = await served.page("demo", **headers)
        assert fresh.status == 200, headers
        assert [file["filename"] for file in fresh.json()["files"]] == [
            "demo-1.0-py3-none-any.whl",
            "demo-1.1-py3-none-any.whl",
        ]
        assert fresh.headers["etag"] != page.headers["etag"]
    await served.yank("demo", "1.1", "broken")
    yanked = await served.page("demo", If_None_Match=fresh.headers["etag"])
    assert (yanked.status, yanked.json()["files"][1]["yanked"]) == (200, "broken")
    await served.remove("demo", "1.1")
    removed = await served.page("demo", If_None_Match=yanked.headers["etag"])
    assert (removed.status, len(removed.json()["files"])) == (200, 1)


@pytest.mark.conforms("RFC 9110", "Last-Modified: a page's, in every format, once it is certain that none shares it")
async def test_the_date_of_a_page(served: Served, ask: Ask) -> None:
    """Not in its first two seconds; then it stays, until the page changes or the server forgets it."""
    await served.publish_wheel("demo", "1.0")
    for accept in FORMATS:
        began = served.clock.seconds()
        first = await ask(accept)
        assert "last-modified" not in first.headers
        served.clock.later(2)
        page = await ask(accept)
        assert page.headers["etag"] == first.headers["etag"]
        assert began < seconds(page.headers["last-modified"]) <= served.clock.seconds()
        served.clock.later(1000)
        for method in ("GET", "HEAD"):
            assert (await ask(accept, method)).headers["last-modified"] == page.headers["last-modified"]


@pytest.mark.conforms("RFC 9110", "Last-Modified: a page's moves on with each change, also with one that is undone")
async def test_the_date_moves_on(served: Served) -> None:
    """So that whoever has a date of before is told."""
    await served.publish_wheel("demo", "1.0")
    dates = []
    for reason in (None, "broken", None):
        await served.yank("demo", "1.0", reason)
        asked = served.clock.seconds()
        fresh = await served.page("demo", **({"If_Modified_Since": dates[-1]} if dates else {}))
        assert fresh.status == 200
        assert "last-modified" not in fresh.headers
        served.clock.later(5)
        dates.append((await served.page("demo")).headers["last-modified"])
        assert seconds(dates[-1]) > asked
        assert (await served.page("demo", If_Modified_Since=dates[-1])).status == 304, "the control"
    assert len({*dates}) == 3


@pytest.mark.parametrize(("index", "origin"), FROM_UPLOADS)
@pytest.mark.conforms("RFC 9110", "Last-Modified: a page's moves on with each change, also with one that is undone")
async def test_a_change_that_nobody_saw(served: Served) -> None:
    """Nor does it matter whether anybody asked this server for the page meanwhile."""
    await served.publish_wheel("demo", "1.0")
    await served.page("demo")
    served.clock.later(5)
    page = await served.page("demo")
    await served.yank("demo", "1.0", "broken")
    await served.yank("demo", "1.0", None)
    again = await served.page("demo", If_Modified_Since=page.headers["last-modified"])
    assert (again.status, again.body) == (200, page.body)


@pytest.mark.conforms("RFC 9110", "If-Modified-Since: 304 for a date at or after Last-Modified, in any form of a date")
async def test_a_page_by_its_date(served: Served, ask: Ask) -> None:
    """For clients that keep dates and no tags; what is no date, or still to come, is passed over."""
    await served.publish_wheel("demo", "1.0")
    for accept in FORMATS:
        early = await ask(accept)
        assert (await ask(accept, If_Modified_Since=date(served.clock.seconds()))).status == 200, "too soon to say"
        served.clock.later(5)
        page = await ask(accept)
        modified = seconds(page.headers["last-modified"])
        for since in (modified, modified + 1, served.clock.seconds()):
            known = await ask(accept, If_Modified_Since=date(since))
            assert (known.status, known.body) == (304, b"")
            assert known.headers["last-modified"] == page.headers["last-modified"]
            assert known.headers["etag"] == page.headers["etag"]
        for wrong in (
            date(modified - 1),
            early.headers["date"],
            date(served.clock.seconds() + 3600),
            "yesterday",
            "",
            f"{date(modified)}, {date(modified)}",
        ):
            assert (await ask(accept, If_Modified_Since=wrong)).status == 200, wrong


@pytest.mark.conforms("RFC 9110", "If-Modified-Since: of no account beside If-None-Match")
async def test_tags_go_before_dates(served: Served, ask: Ask) -> None:
    """Whatever the date says, the tag decides."""
    await served.publish_wheel("demo", "1.0")
    await ask()
    served.clock.later(5)
    page = await ask()
    etag, modified = page.headers["etag"], page.headers["last-modified"]
    assert (await ask(If_None_Match='"x"', If_Modified_Since=modified)).status == 200
    assert (await ask(If_None_Match=etag, If_Modified_Since=date(0))).status == 304
    assert (await ask(If_Modified_Since=modified)).status == 304, "the control"


@pytest.mark.conforms("RFC 9110", "If-Match and If-Unmodified-Since: 412 where the page is another")
async def test_only_this_very_page(served: Served, ask: Ask) -> None:
    """Nobody is known to ask so; who does is told the truth."""
    await served.publish_wheel("demo", "1.0")
    await ask()
    served.clock.later(5)
    page = await ask()
    modified = seconds(page.headers["last-modified"])
    for conditions, status in (
        ({"If_Match": page.headers["etag"]}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": '"x"'}, 412),
        ({"If_Unmodified_Since": date(modified)}, 200),
        ({"If_Unmodified_Since": date(modified - 1)}, 412),
    ):
        assert (await ask(**conditions)).status == status, conditions


@pytest.mark.conforms("RFC 9110", "Precedence: what is not there, or not on offer, is said whatever the conditions")
async def test_errors_have_no_conditions(served: Served) -> None:
    """A project that is gone, a format that there is not, a redirect: none of them is a 304."""
    await served.publish_wheel("demo", "1.0")
    any_way = {"If-None-Match": "*", "If-Modified-Since": date(served.clock.seconds())}
    assert (await served.get(served.page_url("demo"), any_way)).status == 304, "the control"
    assert (await served.get(served.page_url("nothing"), any_way)).status == 404
    assert (await served.get(served.page_url("demo").replace("demo", "Demo"), any_way)).status == 301
    assert (await served.get(served.page_url("demo"), {**any_way, "Accept": "image/png"})).status == 406
    wheel, _ = make_wheel("demo", "1.0")
    assert (await served.get(f"{served.page_url('demo')}{wheel}", any_way)).status in (404, 405)
