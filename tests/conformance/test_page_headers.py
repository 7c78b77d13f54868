"""What pages carry beside their bodies: for caches, mirrors, and scripts of other sites."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import pytest_twisted

from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.settings import Settings
from tests.conformance.served import HTML, Served
from tests.support.later import LaterReactor
from tests.support.server import JSON, PASSWORD, USER, CheddarHere, basic
from tests.support.upstream import EvilUpstream

ORIGIN = {"Origin": "https://elsewhere.example"}


@pytest_twisted.async_yield_fixture
async def private(
    index: str, origin: str, clock: LaterReactor, upstream: EvilUpstream, settings: Settings, tmp_path: Path
) -> AsyncIterator[Served]:
    """The same where readers log in."""
    server = await CheddarHere(attrs.evolve(settings, read_auth=True, data_dir=tmp_path / "private"), clock).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    yield Served(index, origin, server, upstream, clock)
    await server.stop()


async def readable(served: Served) -> list[str]:
    """Addresses of every kind that readers use: list, page, file, metadata, and the JSON API's document."""
    await served.publish_wheel("demo")
    page = (await served.get(served.page_url("demo"), {"Accept": JSON, "Authorization": basic()})).json()
    file = "/" + page["files"][0]["url"].lstrip("./")
    return [served.list_url, served.page_url("demo"), file, f"{file}.metadata", "/pypi/demo/json"]


@pytest.mark.conforms("Fetch", "CORS: scripts of other sites may read what anybody may read")
async def test_scripts_of_other_sites(served: Served) -> None:
    """Pages and files say so to every reader, so that a cache in front may give the answer to anybody."""
    for path in await readable(served):
        for headers in (ORIGIN, {}):
            for method in ("GET", "HEAD"):
                answer = await served.ask(method, path, headers)
                assert answer.status == 200
                assert answer.headers["access-control-allow-origin"] == "*", path
                assert "access-control-allow-credentials" not in answer.headers
    for path in (served.page_url("Demo"), served.list_url.rstrip("/"), served.page_url("demo").rstrip("/")):
        answer = await served.get(path, ORIGIN)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (301, "*"), path
    exposed = (await served.page("demo")).headers["access-control-expose-headers"].split(", ")
    assert {"ETag", "X-PyPI-Last-Serial"} <= set(exposed)


@pytest.mark.conforms("Fetch", "CORS: nothing is allowed to scripts of other sites where readers log in")
async def test_scripts_where_readers_log_in(private: Served) -> None:
    """Neither with a login nor without; the control is that the login itself works."""
    for path in await readable(private):
        for login in ({}, {"Authorization": basic()}):
            answer = await private.get(path, {**ORIGIN, **login})
            assert answer.status == (200 if login else 401), path
            assert not [name for name in answer.headers if name.startswith("access-control-")], path
    answer = await private.get(private.page_url("Demo"), {**ORIGIN, "Authorization": basic()})
    assert answer.status == 301
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.conforms("RFC 9111", "Pages: kept only to be asked about again, so that an upload is seen at once")
async def test_pages_in_caches(served: Served) -> None:
    """pip believes Cache-Control: what it may keep for ten minutes hides an upload for ten minutes."""
    await served.publish_wheel("demo")
    for path in (served.list_url, served.page_url("demo")):
        tags = set()
        for accept in (JSON, HTML, "text/html"):
            answer = await served.get(path, {"Accept": accept})
            assert answer.headers["cache-control"] == "public, max-age=0, must-revalidate"
            assert answer.headers["etag"].startswith('"')
            assert (await served.get(path, {"Accept": accept})).headers["etag"] == answer.headers["etag"]
            tags.add(answer.headers["etag"])
            seen = await served.get(path, {"Accept": accept, "If-None-Match": answer.headers["etag"]})
            assert (seen.status, seen.body) == (304, b"")
        assert len(tags) == 2, "JSON has a tag of its own, HTML under both its names the same"
    tag = (await served.page("demo")).headers["etag"]
    await served.publish_wheel("demo", "2.0")
    changed = await served.page("demo", If_None_Match=tag, Cache_Control="max-age=0")
    assert changed.status == 200
    assert changed.json()["versions"] == ["1.0", "2.0"]


@pytest.mark.conforms("RFC 9111", "Private pages: for the reader alone, never for a shared cache")
async def test_private_pages_in_caches(private: Served) -> None:
    """A proxy keeps nothing for somebody else."""
    for path in await readable(private):
        answer = await private.get(path, {"Authorization": basic()})
        assert answer.headers["cache-control"].startswith("private, "), path
    page = await private.get(private.page_url("demo"), {"Authorization": basic()})
    assert {"Accept", "Authorization"} <= set(page.headers["vary"].split(", "))


@pytest.mark.conforms("RFC 9111", "Redirects: kept for names and slashes, which stay right; errors are not kept")
async def test_redirects_in_caches(served: Served) -> None:
    """A project that is not there yet is seen as soon as it is."""
    assert "max-age" in (await served.get(served.page_url("Demo"))).headers["cache-control"]
    for path, accept in ((served.page_url("nothing"), JSON), (served.list_url, "image/png")):
        answer = await served.get(path, {"Accept": accept})
        assert (answer.status, answer.headers["cache-control"]) in ((404, "no-store"), (406, "no-store"))


async def test_the_serial(served: Served) -> None:
    """Mirrors take X-PyPI-Last-Serial for a promise: it is on local pages alone, and grows with every change."""
    await served.publish_wheel("demo")
    serials = []
    for version in ("2.0", "3.0"):
        await served.publish_wheel("demo", version)
        for accept in (JSON, "text/html"):
            page = await served.page("demo", accept)
            if served.index != "local":
                assert "x-pypi-last-serial" not in page.headers
                assert "_last-serial" not in page.body.decode()
            else:
                serials.append(int(page.headers["x-pypi-last-serial"]))
    if served.index == "local":
        assert 0 < serials[0] == serials[1] < serials[2] == serials[3]


@pytest.mark.conforms("Fetch", "nosniff: every answer is what its Content-Type says")
async def test_no_guessing(served: Served) -> None:
    """Pages, files, redirects and errors: no browser takes one for another thing."""
    for path in (*await readable(served), served.page_url("Demo"), served.page_url("nothing"), "/nothing"):
        for accept in (JSON, "text/html", "image/png"):
            answer = await served.get(path, {"Accept": accept})
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert answer.headers["content-type"], path
