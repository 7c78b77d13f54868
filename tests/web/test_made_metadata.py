"""Core metadata where upstream has none, over the whole server."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urljoin

from twisted.internet.task import deferLater

from cheddar.formats.zip_directory import TAIL
from tests.support.distributions import core_metadata_of, make_wheel, sha256
from tests.support.server import JSON, CheddarHere
from tests.support.upstream import EvilUpstream

PAGE = "/simple/flask/"


async def page(cheddar: CheddarHere) -> dict[str, Any]:
    """The project's page, as JSON."""
    answer = await cheddar.ask("GET", PAGE, headers={"Accept": JSON})
    assert answer.status == http.client.OK
    found: dict[str, Any] = answer.json()
    return found


async def test_from_no_metadata_to_all(cheddar: CheddarHere, upstream: EvilUpstream, reactor: Any) -> None:
    """
    A listing of PEP 503's days is soon one of API 1.4 (PEP 658, PEP 700), for a small part of each wheel; and what it
    then promises is given, with the hash it says, without asking upstream again.
    """
    upstream.json = False
    wheels = {}
    for version in ("1.0", "1.1"):
        filename, content = make_wheel("flask", version, size=400_000)
        upstream.add_file("flask", filename, content, core_metadata=None)
        wheels[filename] = content
    first = await page(cheddar)
    assert first["meta"]["api-version"] == "1.0"
    assert all("size" not in file and "core-metadata" not in file for file in first["files"])

    while "core-metadata" not in (now := await page(cheddar))["files"][-1] or now["meta"]["api-version"] == "1.0":
        await deferLater(reactor, 0.05)
    assert now["meta"]["api-version"] == "1.4"
    for file in now["files"]:
        content = wheels[file["filename"]]
        raw = core_metadata_of(content)
        assert (file["size"], file["core-metadata"]) == (len(content), {"sha256": sha256(raw)})
        answer = await cheddar.ask("GET", urljoin(PAGE, file["url"]) + ".metadata")
        assert (answer.status, answer.body) == (http.client.OK, raw)
    assert [request.sent for request in upstream.requests if "range" in request.headers] == [TAIL, TAIL]
    html = await cheddar.ask("GET", PAGE, headers={"Accept": "text/html"})
    assert html.body.count(b"data-core-metadata=") == 2
    assert len(upstream.requests) == 3


async def test_asked_for_before(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """Who asks for metadata before it is offered gets it."""
    filename, content = make_wheel("flask", "1.0", size=400_000)
    upstream.add_file("flask", filename, content, core_metadata=None)
    (file,) = (await page(cheddar))["files"]
    assert "core-metadata" not in file
    answer = await cheddar.ask("GET", urljoin(PAGE, file["url"]) + ".metadata")
    assert (answer.status, answer.body) == (http.client.OK, core_metadata_of(content))
    (file,) = (await page(cheddar))["files"]
    assert file["core-metadata"] == {"sha256": sha256(core_metadata_of(content))}


async def test_an_upstream_without_parts(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """Where upstream gives no parts of its files, pages and files are served as ever, and no metadata is promised."""
    upstream.ranges = False
    filename, content = make_wheel("flask", "1.0", size=400_000)
    upstream.add_file("flask", filename, content, core_metadata=None)
    (file,) = (await page(cheddar))["files"]
    answer = await cheddar.ask("GET", urljoin(PAGE, file["url"]) + ".metadata")
    assert answer.status == http.client.NOT_FOUND
    assert b"no parts" in answer.body
    assert (await cheddar.ask("GET", urljoin(PAGE, file["url"]))).body == content
    (file,) = (await page(cheddar))["files"]
    assert "core-metadata" not in file


async def test_a_stop_with_work_left(cheddar: CheddarHere, upstream: EvilUpstream, reactor: Any) -> None:
    """Cheddar stops at once, though upstream hangs in the middle of a part."""
    filename, content = make_wheel("flask", "1.0", size=400_000)
    upstream.add_file("flask", filename, content, core_metadata=None)
    upstream.misbehave(f"/files/{filename}", hang_after=10)
    await page(cheddar)
    while not upstream.hits[f"GET /files/{filename}"]:
        await deferLater(reactor, 0.05)
    # The fixture stops it: what was left on the reactor, or logged as an error, would fail this test.
