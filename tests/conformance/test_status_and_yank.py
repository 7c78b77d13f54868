"""Yanked files (PEP 592) and projects with a status (PEP 792): what pages say of them, and what is still given."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import Any

import html5lib
import pytest
from twisted.internet.threads import deferToThread

from tests.conformance.served import FROM_UPLOADS, FROM_UPSTREAM, HTML, Served
from tests.support.distributions import make_sdist, make_wheel
from tests.support.server import JSON, ask

REASON = "<b>\"x\" & 'é'</b> > 1"
WHEEL, CONTENT = make_wheel("demo", "1.0")


async def upstreams_page(served: Served, change: Callable[[Any], object]) -> None:
    """Let upstream say what it says of demo with a change, as JSON."""
    served.upstream.behave("/simple/demo/")
    answer = await deferToThread(ask, served.upstream.port, "GET", "/simple/demo/", headers={"Accept": JSON})
    page = answer.json()
    change(page)
    served.upstream.misbehave(
        "/simple/demo/", status=200, body=json.dumps(page).encode(), headers={"Content-Type": JSON}
    )
    await served.forget("demo")


async def set_status(served: Served, status: str, reason: str | None = None) -> None:
    """Give demo a status, where it has its origin."""
    if served.origin == "local":
        await served.cheddar.service.store.projects.set_status("demo", status, reason)
        return
    marker = {"status": status, **({"reason": reason} if reason else {})}
    await upstreams_page(served, lambda page: page.update({"project-status": marker}))


async def yanked(served: Served) -> dict[str, tuple[object, str | None]]:
    """What JSON and HTML say of each file: nothing, or the mark."""
    as_json = {
        file["filename"]: file.get("yanked", False) for file in (await served.project_page_json("demo"))["files"]
    }
    tree = html5lib.parse((await served.page("demo", "text/html")).body, namespaceHTMLElements=False)
    as_html = {anchor.text: anchor.get("data-yanked") for anchor in tree.iter("a")}
    assert list(as_html) == list(as_json)
    return {filename: (as_json[filename], as_html[filename]) for filename in as_json}


async def statuses(served: Served) -> tuple[object, dict[str, str]]:
    """What JSON says of the project's status, and what the head of the HTML page says."""
    page = await served.project_page_json("demo")
    assert "project-status" not in page["meta"]
    found = {}
    for accept in (HTML, "text/html"):
        body = (await served.page("demo", accept)).body
        tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(body)
        assert len(tree.findall("head/meta")) == len(list(tree.iter("meta")))
        found = {meta.get("name"): meta.get("content") for meta in tree.findall("head/meta") if meta.get("name")}
    return page.get("project-status"), {
        name.removeprefix("pypi:"): content for name, content in found.items() if name.startswith("pypi:project-status")
    }


@pytest.mark.conforms("PEP 592", "Yanked without a reason: true in JSON, an empty data-yanked in HTML")
async def test_without_a_reason(served: Served) -> None:
    """Never an empty string in JSON, which installers take for different things."""
    await served.publish(WHEEL, CONTENT)
    await served.yank("demo", "1.0", "")
    assert await yanked(served) == {WHEEL: (True, "")}
    assert ' data-yanked=""' in (await served.page("demo", "text/html")).body.decode()


@pytest.mark.conforms("PEP 592", "Yanked with a reason: the reason as it was written, escaped in HTML")
async def test_with_a_reason(served: Served) -> None:
    """Every reader gets the same words, and no reader gets markup."""
    await served.publish(WHEEL, CONTENT)
    await served.yank("demo", "1.0", REASON)
    assert await yanked(served) == {WHEEL: (REASON, REASON)}
    assert "<b>" not in (await served.page("demo", "text/html")).body.decode()


@pytest.mark.conforms("PEP 592", "Not yanked: no mark, and none any more once a yank is taken back")
async def test_taken_back(served: Served) -> None:
    """Each release for itself."""
    other, _ = await served.publish_wheel("demo", "2.0")
    await served.publish(WHEEL, CONTENT)
    before = {WHEEL: (False, None), other: (False, None)}
    assert await yanked(served) == before
    await served.yank("demo", "1.0", REASON)
    assert await yanked(served) == {WHEEL: (REASON, REASON), other: (False, None)}
    await served.yank("demo", "1.0", None)
    assert await yanked(served) == before


@pytest.mark.conforms("PEP 592", "Yanked files: still given to who names them, with their metadata")
async def test_still_given(served: Served) -> None:
    """Who has pinned the version goes on."""
    await served.publish(WHEEL, CONTENT)
    await served.yank("demo", "1.0", REASON)
    (address,) = (await served.addresses("demo")).values()
    assert (await served.get(address)).body == CONTENT
    assert (await served.get(f"{address}.metadata")).status == 200
    assert (await served.project_page_json("demo"))["versions"] == ["1.0"]


@pytest.mark.conforms("PEP 592", "Yanked upstream: the mark is carried on file by file, whatever its form")
@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)
async def test_upstreams_marks(served: Served) -> None:
    """A string that says something, or true; an empty string, null and false are none."""
    marks = {"1.0": "broken", "1.1": True, "1.2": "", "1.3": None, "1.4": False, "1.5": REASON}
    for version in marks:
        await served.publish_wheel("demo", version)
    sdist, _ = make_sdist("demo", "1.0")
    await served.publish(*make_sdist("demo", "1.0"))

    def mark(page: Any) -> None:
        for file in page["files"]:
            version = file["filename"].split("-")[1]
            if version in marks:
                file["yanked"] = marks[version]

    await upstreams_page(served, mark)
    found = await yanked(served)
    assert found.pop(sdist) == (False, None)
    assert list(found.values()) == [
        ("broken", "broken"),
        (True, ""),
        (False, None),
        (False, None),
        (False, None),
        (REASON, REASON),
    ]


@pytest.mark.conforms("PEP 792", "active: the status of a project of which nothing else is said")
async def test_active(served: Served) -> None:
    """The marker is left out, and gone when a project becomes active again."""
    await served.publish(WHEEL, CONTENT)
    assert await statuses(served) == (None, {})
    await set_status(served, "archived", REASON)
    assert (await statuses(served))[0] == {"status": "archived", "reason": REASON}
    await set_status(served, "active")
    assert await statuses(served) == (None, {})


@pytest.mark.conforms("PEP 792", "archived and deprecated: said in both formats with the reason; files stay")
@pytest.mark.parametrize("status", ["archived", "deprecated"])
async def test_archived_and_deprecated(served: Served, status: str) -> None:
    """JSON has the marker beside the files, HTML in its head; who uses the project goes on."""
    await served.publish(WHEEL, CONTENT)
    for reason in (REASON, None):
        await set_status(served, status, reason)
        said = {"status": status, **({"reason": reason} if reason else {})}
        marked = {"project-status": status, **({"project-status-reason": reason} if reason else {})}
        assert await statuses(served) == (said, marked)
        ((filename, address),) = (await served.addresses("demo")).items()
        assert (filename, (await served.get(address)).body) == (WHEEL, CONTENT)
        assert (await served.get(f"{address}.metadata")).status == 200


@pytest.mark.conforms("PEP 792", "quarantined: the page is there and says so, with no file, and none is given")
async def test_quarantined(served: Served) -> None:
    """Also to those who kept a file's address, and though the file was given before; until the quarantine ends."""
    await served.publish(WHEEL, CONTENT)
    (address,) = (await served.addresses("demo")).values()
    assert (await served.get(address)).body == CONTENT
    assert (await served.get(f"{address}.metadata")).status == 200
    await set_status(served, "quarantined", "malware")
    page = await served.project_page_json("demo")
    assert page["files"] == []
    assert page["meta"]["api-version"] == "1.4"
    assert await statuses(served) == (
        {"status": "quarantined", "reason": "malware"},
        {"project-status": "quarantined", "project-status-reason": "malware"},
    )
    assert b"<a " not in (await served.page("demo", "text/html")).body
    for path in (address, f"{address}.metadata"):
        assert (await served.get(path)).status == 404
    await set_status(served, "active")
    assert (await served.get(address)).body == CONTENT
    assert list(await served.addresses("demo")) == [WHEEL]


@pytest.mark.conforms("PEP 792", "archived and quarantined: take no uploads")
@pytest.mark.parametrize(("index", "origin"), FROM_UPLOADS[:1])
async def test_uploads(served: Served) -> None:
    """The reason phrase says why, for clients that print nothing else; nothing of the file is kept."""
    await served.publish(WHEEL, CONTENT)
    for number, status in enumerate(("archived", "quarantined", "deprecated", "active")):
        await set_status(served, status, 'moved to "new" & co')
        filename, content = make_wheel("demo", f"2.{number}")
        answer = await served.publish(filename, content)
        if status in ("archived", "quarantined"):
            assert answer.status == 403
            assert status in answer.reason
        else:
            assert answer.status == 200
        assert (filename in await served.addresses("demo")) == (answer.status == 200)
        assert (await served.get(f"/local/{filename}")).status == (200 if answer.status == 200 else 404)
        # The short address of old goes with the page.
        assert (await served.get(f"/local/{WHEEL}")).status == (404 if status == "quarantined" else 200)


@pytest.mark.conforms("PEP 792", "Upstream's status: carried on, also one that is not known here")
@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)
async def test_upstreams_status(served: Served) -> None:
    """Clients decide for themselves what they make of a status to come; upstream may have written it as HTML."""
    await served.publish(WHEEL, CONTENT)
    await set_status(served, "mothballed", REASON)
    expected = (
        {"status": "mothballed", "reason": REASON},
        {"project-status": "mothballed", "project-status-reason": REASON},
    )
    assert await statuses(served) == expected
    assert list(await served.addresses("demo")) == [WHEEL]
    for status, offered in (("mothballed", [WHEEL]), ("quarantined", [])):
        body = (
            '<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.4">'
            f'<meta name="pypi:project-status" content="{status}">'
            f'<meta name="pypi:project-status-reason" content="{html.escape(REASON)}">'
            f'</head><body><a href="../../files/{WHEEL}">{WHEEL}</a></body></html>'
        )
        served.upstream.behave("/simple/demo/")
        served.upstream.misbehave(
            "/simple/demo/", status=200, body=body.encode(), headers={"Content-Type": "text/html; charset=utf-8"}
        )
        await served.forget("demo")
        assert (await statuses(served))[0] == {"status": status, "reason": REASON}
        assert list(await served.addresses("demo")) == offered


@pytest.mark.conforms("PEP 691", "Removed projects: 404 once the last file is gone")
@pytest.mark.parametrize(("index", "origin"), FROM_UPLOADS)
async def test_the_last_file_is_removed(served: Served) -> None:
    """There is no page without files, but that of a quarantined project; the list does not name what is gone."""
    await served.publish(WHEEL, CONTENT)
    await served.publish_wheel("demo", "2.0")
    await served.remove("demo", "1.0")
    assert (await served.project_page_json("demo"))["versions"] == ["2.0"]
    assert await served.listed() == ["demo"]
    await served.remove("demo", "2.0")
    for accept in (JSON, "text/html"):
        assert (await served.page("demo", accept)).status == 404
    assert await served.listed() == []
