"""What kinds of upstream the remote index understands, and that its pages say no more than upstream does."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urljoin

import attrs
import pytest
from twisted.internet.threads import deferToThread

from cheddar.settings import Settings
from tests.conformance.served import FROM_UPSTREAM, Served
from tests.support.distributions import core_metadata_of, make_sdist, make_wheel, sha256
from tests.support.server import JSON, ask, basic
from tests.support.upstream import EvilUpstream

PAGE = "/simple/demo/"
WHEEL, CONTENT = make_wheel("demo", "1.0", requires_python=">=3.8,<4")
METADATA = sha256(core_metadata_of(CONTENT))
HTML_TYPE = "text/html; charset=utf-8"

pytestmark = pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)


@pytest.fixture
def settings(settings: Settings, upstream: EvilUpstream) -> Settings:
    """An upstream that asks for a login."""
    return attrs.evolve(settings, index_url=upstream.url.replace("http://", "http://robot:s3cret@"))


async def upstream_says(served: Served, body: str | bytes, content_type: str = HTML_TYPE, **fault: Any) -> None:
    """This is demo's page upstream from now on."""
    served.upstream.behave(PAGE)
    headers = {"Content-Type": content_type, **fault.pop("headers", {})}
    raw = body.encode() if isinstance(body, str) else body
    served.upstream.misbehave(PAGE, status=200, body=raw, headers=headers, **fault)
    await served.forget("demo")


async def upstreams_json(served: Served) -> Any:
    """Upstream's right page."""
    served.upstream.behave(PAGE)
    return (await deferToThread(ask, served.upstream.port, "GET", PAGE, headers={"Accept": JSON})).json()


async def upstreams_files(served: Served, **changed: Any) -> None:
    """Upstream's right page, with keys of its files (underscores for dashes) set to a value, or left out (...)."""
    page = await upstreams_json(served)
    for file in page["files"]:
        for key, value in changed.items():
            file.pop(key.replace("_", "-"), None)
            if value is not ...:
                file[key.replace("_", "-")] = value
    await upstream_says(served, json.dumps(page), JSON)


async def gives_the_file(served: Served) -> dict[str, Any]:
    """The page has the one file, and the file is what it should be. @return: its entry."""
    (file,) = (await served.project_page_json("demo"))["files"]
    assert file["filename"] == WHEEL
    assert (await served.get(urljoin(served.page_url("demo"), file["url"]))).body == CONTENT
    return dict(file)


@pytest.mark.conforms("PEP 503", "Upstream with HTML alone: all that its page says is passed on, in both formats")
async def test_html_alone(served: Served) -> None:
    """Hash, Requires-Python, yank and core metadata; sizes are not known, and so the page is one of API 1.0."""
    served.upstream.json = False
    await served.publish(WHEEL, CONTENT, yanked="broken > 1")
    page = await served.project_page_json("demo")
    assert page["meta"]["api-version"] == "1.0"
    assert "versions" not in page
    file = await gives_the_file(served)
    url = file.pop("url")
    assert url.endswith(f"{sha256(CONTENT)}/{WHEEL}")
    assert file == {
        "filename": WHEEL,
        "hashes": {"sha256": sha256(CONTENT)},
        "requires-python": ">=3.8,<4",
        "yanked": "broken > 1",
        "core-metadata": {"sha256": METADATA},
        "dist-info-metadata": {"sha256": METADATA},
    }
    text = (await served.page("demo", "text/html")).body.decode()
    assert 'content="1.0"' in text
    assert f'#sha256={sha256(CONTENT)}" data-requires-python="&gt;=3.8,&lt;4"' in text


@pytest.mark.conforms("PEP 503", "Upstream with HTML alone: any page with links to files will do")
async def test_a_plain_listing(served: Served) -> None:
    """A folder that a web server lists; what links to no file of the project is passed over."""
    await served.publish(WHEEL, CONTENT)
    body = f'<html><body><h1>Index of /</h1><a href="../">up</a><A HREF=../../files/{WHEEL}>it</A><a href="#x">x</a>'
    for content_type in (HTML_TYPE, "text/html", "Text/HTML;charset=iso-8859-1", "application/vnd.pypi.simple.v1+html"):
        await upstream_says(served, body, content_type)
        file = await gives_the_file(served)
        assert {"size", "upload-time", "yanked", "requires-python"}.isdisjoint(file)


@pytest.mark.conforms("PEP 691", "Upstream: JSON is asked for before HTML, and read whatever the type's spelling")
async def test_json_alone(served: Served) -> None:
    """An upstream that knows nothing else is as good; keys that nobody knows are passed over."""
    await served.publish(WHEEL, CONTENT)
    page = await upstreams_json(served)
    for content_type in (JSON, f"{JSON}; charset=utf-8", JSON.upper(), "application/vnd.pypi.simple.latest+json"):
        page["meta"] |= {"api-version": "1.9", "_last-serial": 7}
        page["alternate-locations"] = []
        page["files"][0]["new-key"] = {"a": None}
        await upstream_says(served, json.dumps(page), content_type)
        file = await gives_the_file(served)
        assert "new-key" not in file
    asked = [seen.headers["accept"] for seen in served.upstream.requests if seen.path == PAGE]
    assert asked[-1].startswith(f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1")


@pytest.mark.conforms("PEP 691", "Upstream: what is no page of the Simple API is a 502, never a 404")
async def test_what_is_no_page(served: Served) -> None:
    """By its type or by what is in it; a page that was good before is still served."""
    await served.publish(WHEEL, CONTENT)
    page = await upstreams_json(served)
    good = json.dumps(page)
    for body, content_type in (
        (good, "application/json"),
        (good, "text/plain"),
        (good, ""),
        (good, "application/vnd.pypi.simple.v2+json"),
        (good.replace('"1.1"', '"2.0"'), JSON),
        (good[:-1], JSON),
        (json.dumps({**page, "name": "other"}), JSON),
        ("<html><body>Please log in.</body></html>", HTML_TYPE),
    ):
        await upstream_says(served, body, content_type)
        answer = await served.page("demo")
        assert answer.status == 502, (body, content_type, answer)
    await upstream_says(served, good, JSON)
    await gives_the_file(served)
    served.upstream.behave(PAGE)
    served.upstream.misbehave(PAGE, status=200, body=b"{", headers={"Content-Type": JSON})
    served.clock.later(700)
    await gives_the_file(served)


@pytest.mark.conforms("RFC 9110", "Upstream: compressed, chunked and redirected pages are read")
async def test_ways_of_sending(served: Served) -> None:
    """However upstream sends its page; after a redirect addresses are relative to where it led."""
    await served.publish(WHEEL, CONTENT)
    deep = "/a/b/c/d/"
    for fault in (
        {"gzip": True},
        {"framing": "chunked"},
        {"redirect_to": deep, "status": 301},
        {"redirect_to": f"../../{deep[1:]}", "status": 302},
        {"redirect_to": deep, "status": 307},
        {"redirect_to": deep, "status": 308},
    ):
        served.upstream.behave()
        served.upstream.misbehave(PAGE, **fault)
        body = f'<a href="../../../../files/{WHEEL}">{WHEEL}</a>'.encode()
        served.upstream.misbehave(deep, status=200, body=body, headers={"Content-Type": "text/html"})
        await served.forget("demo")
        await gives_the_file(served)


@pytest.mark.conforms("PEP 503", "Upstream: addresses may be absolute or relative, and base counts")
async def test_addresses(served: Served) -> None:
    """As a browser would resolve them; ours always stay on this server."""
    await served.publish(WHEEL, CONTENT)
    upstream = served.upstream
    for head, address in (
        ("", f"{upstream.files_url}{WHEEL}"),
        ("", f"//127.0.0.1:{upstream.port}/files/{WHEEL}"),
        ("", f"/files/{WHEEL}"),
        ("", f"../../files/{WHEEL}"),
        ("", f"../../files/{WHEEL}?token=a%2Fb&amp;x=1"),
        ("", f" ../../files/{WHEEL}\n"),
        ("", f"../../files/{WHEEL}#egg=demo-1.0"),
        ('<base href="/files/">', WHEEL),
        (f'<base href="{upstream.files_url}deeper/">', f"../{WHEEL}"),
        ('<base href="/files/x"><base href="/wrong/">', WHEEL),
    ):
        await upstream_says(served, f'<html><head>{head}</head><body><a href="{address}">{WHEEL}</a></body></html>')
        file = await gives_the_file(served)
        assert file["url"].startswith("../../"), address
        assert "?" not in file["url"]
        text = (await served.page("demo", "text/html")).body.decode()
        assert "<base" not in text
        assert f":{upstream.port}" not in text


@pytest.mark.conforms("PEP 700", "api-version: 1.4 where every size is known, whatever upstream calls its page")
async def test_sizes_are_known(served: Served) -> None:
    """The version is what this page keeps to, with versions and sizes, and upstream's versions without files."""
    await served.publish(WHEEL, CONTENT)
    page = await upstreams_json(served)
    for version in ("1.0", "1.1", "1.4", "1.99"):
        page["meta"]["api-version"] = version
        page["versions"] = ["0.5", "1.0"]
        await upstream_says(served, json.dumps(page), JSON)
        said = await served.project_page_json("demo")
        assert said["meta"]["api-version"] == "1.4"
        assert said["versions"] == ["0.5", "1.0"]
        assert [file["size"] for file in said["files"]] == [len(CONTENT)]


@pytest.mark.conforms("PEP 700", "api-version: 1.0 without sizes and versions, where a size is not known")
async def test_a_size_is_not_known(served: Served) -> None:
    """Sizes are a must from 1.1 on: a page without them does not claim it, in either format."""
    await served.publish(WHEEL, CONTENT)
    await served.publish(*make_sdist("demo", "2.0"), size=None)
    for size in (..., None):
        page = await upstreams_json(served)
        if size is None:
            page["files"][1]["size"] = None
            page["meta"]["api-version"] = "1.4"
            await upstream_says(served, json.dumps(page), JSON)
        said = await served.project_page_json("demo")
        assert said["meta"]["api-version"] == "1.0"
        assert "versions" not in said
        assert all("size" not in file for file in said["files"])
        assert all(value is not None for file in said["files"] for value in file.values())
        text = (await served.page("demo", "text/html")).body.decode()
        assert '<meta name="pypi:repository-version" content="1.0">' in text


@pytest.mark.conforms("PEP 691", "Upstream: what it leaves out or sets to null is left out here")
async def test_what_upstream_leaves_out(served: Served) -> None:
    """No key is made up and none is null; a file without a hash is still the file, and hashes is there."""
    await served.publish(WHEEL, CONTENT)
    for nothing in (..., None):
        keys = ("upload_time", "yanked", "requires_python", "core_metadata", "gpg_sig", "provenance")
        await upstreams_files(served, **dict.fromkeys(keys, nothing))
        (file,) = (await served.project_page_json("demo"))["files"]
        assert set(file) == {"filename", "url", "hashes", "size"}
    await upstreams_files(served, hashes={}, core_metadata=...)
    (file,) = (await served.project_page_json("demo"))["files"]
    assert file["hashes"] == {}
    assert "#" not in file["url"]
    await gives_the_file(served)
    served.clock.later(1.5)
    assert (await gives_the_file(served))["hashes"] == {"sha256": sha256(CONTENT)}, "known once it was downloaded"


@pytest.mark.conforms("PEP 714", "Upstream's core metadata: understood under all its names, and passed on")
async def test_names_of_core_metadata(served: Served) -> None:
    """The name of the standard, the older one, and the one that an index has sent for years by mistake."""
    await served.publish(WHEEL, CONTENT)
    none = {"core_metadata": ..., "dist_info_metadata": ..., "data_dist_info_metadata": ...}
    digests = {"sha256": METADATA}
    for key in none:
        for value, announced in ((digests, digests), (True, True), (False, None), (None, None)):
            await upstreams_files(served, **{**none, key: value})
            (file,) = (await served.project_page_json("demo"))["files"]
            assert file.get("core-metadata") == file.get("dist-info-metadata") == announced, (key, value)
            if announced:
                url = urljoin(served.page_url("demo"), file["url"])
                assert (await served.get(f"{url}.metadata")).body == core_metadata_of(CONTENT)
    await upstreams_files(served, **{**none, "core_metadata": False, "dist_info_metadata": digests})
    (file,) = (await served.project_page_json("demo"))["files"]
    assert "core-metadata" not in file, "the standard's name counts before the others"
    for attribute, announced in (
        (f'data-core-metadata="sha256={METADATA}"', digests),
        (f"data-dist-info-metadata='sha256={METADATA}'", digests),
        ('data-core-metadata="true"', True),
        ("data-core-metadata", True),
        ('data-core-metadata="false"', None),
        ("", None),
    ):
        await upstream_says(served, f'<a href="../../files/{WHEEL}" {attribute}>{WHEEL}</a>')
        (file,) = (await served.project_page_json("demo"))["files"]
        assert file.get("core-metadata") == announced, attribute


async def test_logins_stay_where_they_belong(served: Served) -> None:
    """A client's login and cookies never go upstream; upstream's login is never told to a client."""
    await served.publish(WHEEL, CONTENT)
    served.upstream.misbehave("/simple/broken/", redirect_to=f"http://127.0.0.1:{served.upstream.port}/gone/")
    headers = {"Authorization": basic(), "Cookie": "session=alice", "X-Api-Key": "alice", "Accept": JSON}
    answers = [await served.get(served.page_url("demo"), headers)]
    (file,) = answers[0].json()["files"]
    path = urljoin(served.page_url("demo"), file["url"])
    for asked in (path, f"{path}.metadata", served.page_url("Demo"), served.page_url("broken"), served.list_url, "/"):
        answers.append(await served.get(asked, headers))
    served.upstream.misbehave("/simple/down/", status=401)
    answers.append(await served.get(served.page_url("down"), headers))
    answers.append(await served.get("/health/ready"))
    for answer in answers:
        told = f"{answer.headers} {answer.reason} {answer.body!r}"
        assert "s3cret" not in told
        assert "robot" not in told
    assert {seen.headers.get("authorization") for seen in served.upstream.requests} == {basic("robot", "s3cret")}
    for seen in served.upstream.requests:
        assert "cookie" not in seen.headers
        assert "alice" not in str(seen.headers)
