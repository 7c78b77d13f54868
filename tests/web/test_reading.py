"""Pages and files over HTTP: local, remote and combined, on both stores."""

from __future__ import annotations

import gzip
import hashlib
import html
import re
import socket
from typing import Any
from urllib.parse import urljoin

import pytest
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from tests.support.distributions import make_sdist, make_wheel
from tests.support.server import JSON, CheddarHere, basic
from tests.support.upstream import EvilUpstream

HTML_V1 = "application/vnd.pypi.simple.v1+html"


async def files(cheddar: CheddarHere, page: str) -> dict[str, str]:
    """The files on a page: paths by file name, resolved as clients do."""
    answer = await cheddar.ask("GET", page, headers={"Accept": JSON})
    assert answer.status == 200, answer
    return {file["filename"]: urljoin(page, file["url"]) for file in answer.json()["files"]}


async def test_the_combined_index_has_both(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """One address for the organisation's own projects and the public ones."""
    upstream.add_file("flask", *make_wheel("flask", "3.0"))
    await cheddar.upload(*make_wheel("ours", "1.0"))
    for page in ("/simple/ours/", "/local/simple/ours/", "/simple/flask/", "/remote/simple/flask/"):
        for path in (await files(cheddar, page)).values():
            assert (await cheddar.ask("GET", path)).status == 200
    assert (await cheddar.ask("GET", "/local/simple/flask/")).status == 404
    assert (await cheddar.ask("GET", "/remote/simple/ours/")).status == 404
    names = (await cheddar.ask("GET", "/simple/", headers={"Accept": JSON})).json()["projects"]
    assert [sorted(project) for project in names] == [["name"], ["_last-serial", "name"]]
    assert [project["name"] for project in names] == ["flask", "ours"]
    assert upstream.hits["GET /simple/"] == 0, "upstream's whole list is never fetched"


async def test_a_local_name_hides_the_public_one(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """For page and file alike, upstream is not asked, until the name is released."""
    upstream.add_file("demo", *make_wheel("demo", "9.0"))
    public = await files(cheddar, "/simple/demo/")
    assert list(public) == ["demo-9.0-py3-none-any.whl"], "the control: before the first upload it is the public one"
    asked = upstream.hits["GET /simple/demo/"]
    await cheddar.upload(*make_wheel("demo", "1.0"))
    assert list(await files(cheddar, "/simple/demo/")) == ["demo-1.0-py3-none-any.whl"]
    (address,) = public.values()
    assert (await cheddar.ask("GET", address)).status == 404
    assert (await cheddar.ask("GET", address + ".metadata")).status == 404
    removed = await cheddar.ask("DELETE", "/simple/demo/1.0", headers={"Authorization": basic()})
    assert removed.status == 200
    assert (await cheddar.ask("GET", "/simple/demo/")).status == 404, "the last release is gone, the name is not free"
    assert (await cheddar.ask("GET", address)).status == 404
    assert upstream.hits["GET /simple/demo/"] == asked
    assert upstream.hits["GET /files/demo-9.0-py3-none-any.whl"] == 0
    await cheddar.service.store.projects.release_name("demo")
    assert list(await files(cheddar, "/simple/demo/")) == ["demo-9.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/html; charset=utf-8"),
        ("*/*", "text/html; charset=utf-8"),
        (JSON, JSON),
        (HTML_V1, HTML_V1),
        ("application/vnd.pypi.simple.latest+json", JSON),
        (f"{JSON}, {HTML_V1}; q=0.1, text/html; q=0.01", JSON),
        (f"{JSON}, */*;q=0.1", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("application/json", "application/json"),
        (";;;q=,", "text/html; charset=utf-8"),
    ],
)
async def test_pages_come_in_the_format_asked_for(cheddar: CheddarHere, accept: str | None, content_type: str) -> None:
    """By Accept (PEP 691), for both kinds of page."""
    await cheddar.upload(*make_wheel("demo", "1.0"))
    for page in ("/simple/", "/simple/demo/", "/local/simple/demo/"):
        answer = await cheddar.ask("GET", page, headers={"Accept": accept} if accept else {})
        assert (answer.status, answer.headers["content-type"]) == (200, content_type)
        assert "Accept" in answer.headers["vary"]


async def test_what_is_not_on_offer_is_406(cheddar: CheddarHere) -> None:
    """An Accept that nothing fits is told what there is."""
    answer = await cheddar.ask("GET", "/simple/", headers={"Accept": "image/png"})
    assert answer.status == 406
    assert JSON in answer.json()["detail"]


async def test_html_and_json_say_the_same(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """The same files with the same digests, whatever the format."""
    upstream.add_file("flask", *make_wheel("flask", "3.0", requires_python=">=3.8,<4"))
    upstream.add_file("flask", *make_sdist("flask", "3.1"), yanked="broken <b>")
    document = (await cheddar.ask("GET", "/simple/flask/", headers={"Accept": JSON})).json()
    text = (await cheddar.ask("GET", "/simple/flask/")).body.decode()
    anchors = re.findall(r'<a href="([^"]*)"([^>]*)>([^<]+)</a>', text)
    assert [name for _, _, name in anchors] == [file["filename"] for file in document["files"]]
    for (href, attributes, _), file in zip(anchors, document["files"], strict=True):
        assert html.unescape(href) == f"{file['url']}#sha256={file['hashes']['sha256']}"
        assert ('data-yanked="broken &lt;b&gt;"' in attributes) == (
            file["yanked"] is not False if "yanked" in file else False
        )
    assert 'data-requires-python="&gt;=3.8,&lt;4"' in text


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("/simple", "simple/"),
        ("/simple/Demo_Pkg", "demo-pkg/"),
        ("/simple/Demo.Pkg/?x=1", "../demo-pkg/?x=1"),
        ("/simple/demo-pkg", "demo-pkg/"),
        ("/local/simple/DEMO-PKG/", "../demo-pkg/"),
        ("/project/Demo_Pkg/", "../demo-pkg/"),
    ],
)
async def test_names_and_slashes_take_one_redirect(cheddar: CheddarHere, asked: str, location: str) -> None:
    """Relative, so that neither Host nor a proxy in front can lead it astray."""
    answer = await cheddar.ask("GET", asked, headers={"Host": "evil.example"})
    assert (answer.status, answer.headers["location"]) == (301, location)


async def test_pages_are_compressed_for_those_who_ask(cheddar: CheddarHere) -> None:
    """gzip with a tag of its own; files never."""
    await cheddar.upload(*make_wheel("demo", "1.0"))
    for minor in range(6):
        await cheddar.upload(*make_wheel("demo", f"1.{minor}"))
    plain = await cheddar.ask("GET", "/simple/demo/")
    packed = await cheddar.ask("GET", "/simple/demo/", headers={"Accept-Encoding": "gzip, deflate"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["etag"] != plain.headers["etag"]
    assert "Accept-Encoding" in packed.headers["vary"]
    assert "Accept-Encoding" in plain.headers["vary"]
    again = await cheddar.ask(
        "GET", "/simple/demo/", headers={"Accept-Encoding": "gzip", "If-None-Match": packed.headers["etag"]}
    )
    assert again.status == 304
    refused = await cheddar.ask("GET", "/simple/demo/", headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers
    (address, *_) = (await files(cheddar, "/simple/demo/")).values()
    file = await cheddar.ask("GET", address, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in file.headers


async def test_the_originals_addresses_go_on_working(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """/local/<filename> gives the bytes; ?base= is gone, and no request leaves for it."""
    filename, content = make_sdist("demo", "1.0")
    await cheddar.upload(filename, content)
    answer = await cheddar.ask("GET", f"/local/{filename}")
    assert (answer.status, answer.body) == (200, content)
    assert (await cheddar.ask("GET", "/local/nothing-1.0.tar.gz")).status == 404
    before = len(upstream.requests)
    for path in (
        f"/remote/packages/demo/demo-1.0.tar.gz?base={upstream.origin}",
        f"/remote/files/demo/{'0' * 64}/demo-1.0.tar.gz?base={upstream.origin}",
        "/remote/x/y-1.tar.gz?base=file:///etc/",
    ):
        assert (await cheddar.ask("GET", path)).status == 410
    assert len(upstream.requests) == before
    await files(cheddar, "/simple/demo/")
    assert (await cheddar.ask("GET", "/simple/nothing/")).status == 404
    assert len(upstream.requests) == before + 1, "the control: what leaves is seen"


async def test_the_originals_json(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """Plain application/json gets the shapes that the original answered with."""
    filename, content = make_sdist("demo", "1.0")
    await cheddar.upload(filename, content)
    await cheddar.upload(*make_sdist("demo", "1.1"))
    upstream.add_file("flask", *make_wheel("flask", "3.0"))

    async def ask(path: str) -> Any:
        answer = await cheddar.ask("GET", path, headers={"Accept": "application/json"})
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        return answer.json()

    assert await ask("/") == {"history": ["demo/1.1", "demo/1.0"]}
    assert await ask("/simple/") == {"projects": ["demo"]}
    versions = {"demo-1.1.tar.gz": "/local/demo-1.1.tar.gz", "demo-1.0.tar.gz": "/local/demo-1.0.tar.gz"}
    assert await ask("/simple/demo/") == {"project": "demo", "versions": versions}
    release = await ask("/simple/demo/1.0")
    assert (release["project"], release["version"]) == ("demo", "1.0")
    assert release["metadata"]["name"] == "demo"
    assert release["metadata"]["_filename"] == filename
    remote = (await ask("/simple/flask/"))["versions"]
    assert (await cheddar.ask("GET", remote["flask-3.0-py3-none-any.whl"])).status == 200


async def test_remove_and_yank(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """The REST API for mistakes; each with 404 for what is not there, each with a login."""
    login = {"Authorization": basic()}
    wheel, content = make_wheel("demo", "1.0")
    sdist, _ = make_sdist("demo", "1.0")
    await cheddar.upload(wheel, content)
    await cheddar.upload(*make_sdist("demo", "1.0"))
    await cheddar.upload(*make_wheel("demo", "1.1"))

    async def yanked() -> list[Any]:
        document = (await cheddar.ask("GET", "/simple/demo/", headers={"Accept": JSON})).json()
        return [file.get("yanked", False) for file in document["files"]]

    for method, path in (
        ("DELETE", "/simple/demo/1.0"),
        ("PUT", "/simple/demo/1.0/yanked"),
        ("DELETE", "/simple/demo/1.0/yanked"),
        ("DELETE", f"/simple/demo/1.0/{wheel}"),
    ):
        assert (await cheddar.ask(method, path)).status == 401
    assert (await cheddar.ask("PUT", "/simple/Demo/1.0/yanked", "kaputt é".encode(), login)).status == 200
    assert await yanked() == ["kaputt é", "kaputt é", False]
    assert (await cheddar.ask("PUT", "/simple/demo/1.0/yanked", b"", login)).status == 200
    assert await yanked() == [True, True, False]
    as_json = {**login, "Content-Type": "application/json"}
    assert (await cheddar.ask("PUT", "/simple/demo/1.0/yanked", b'{"reason": "why"}', as_json)).status == 200
    assert await yanked() == ["why", "why", False]
    for bad in (b"[1]", b"{", b'{"reason": 5}'):
        assert (await cheddar.ask("PUT", "/simple/demo/1.0/yanked", bad, as_json)).status == 400
    assert (await cheddar.ask("PUT", "/simple/demo/1.0/yanked", b"\xff", login)).status == 400
    assert (await cheddar.ask("DELETE", "/simple/demo/1.0/yanked", headers=login)).status == 200
    assert await yanked() == [False, False, False]
    for method, path in (
        ("PUT", "/simple/demo/3.0/yanked"),
        ("DELETE", "/simple/demo/3.0/yanked"),
        ("DELETE", "/simple/demo/3.0"),
        ("DELETE", "/simple/demo/1.0/x.whl"),
        ("DELETE", "/simple/nothing/1.0"),
        ("PUT", "/simple/nothing/1.0/yanked"),
    ):
        assert (await cheddar.ask(method, path, b"", login)).status == 404, (method, path)
    assert (await cheddar.ask("DELETE", f"/simple/demo/1.0/{sdist}", headers=login)).status == 200
    assert list(await files(cheddar, "/simple/demo/")) == [wheel, "demo-1.1-py3-none-any.whl"]
    assert (await cheddar.ask("DELETE", "/simple/demo/1.0/", headers=login)).status == 200
    assert list(await files(cheddar, "/simple/demo/")) == ["demo-1.1-py3-none-any.whl"]
    history = (await cheddar.ask("GET", "/", headers={"Accept": "application/json"})).json()
    assert history == {"history": ["demo/1.1"]}
    _, other = make_wheel("demo", "1.0", extra=(("demo/new.py", b"y\n"),))
    assert (await cheddar.upload(wheel, other)).status == 200, "a removed file's name is free again"
    assert (await cheddar.ask("GET", f"/local/{wheel}")).body == other


async def test_people_find_their_way(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """The front page, a search, a project and a release are pages; what they link to is there."""
    await cheddar.upload(*make_wheel("demo", "1.0"))
    upstream.add_file("flask", *make_wheel("flask", "3.0"))
    await files(cheddar, "/simple/flask/")
    for page, says in (
        ("/", "demo"),
        ("/?q=demo", "demo"),
        ("/project/demo/", "1.0"),
        ("/simple/demo/1.0", "1.0"),
        ("/project/flask/", "3.0"),
    ):
        answer = await cheddar.ask("GET", page, headers={"Accept": "text/html", "Host": "evil.example"})
        assert answer.status == 200, (page, answer)
        text = answer.body.decode()
        assert says in text
        assert "evil.example" not in text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        links = [html.unescape(link) for link in re.findall(r'(?:href|src)="([^"#]+)"', text)]
        assert links
        for link in links:
            target = urljoin(page, link)
            if target.startswith("/"):
                assert (await cheddar.ask("GET", target)).status in (200, 301), (page, link)
    assert "http://cheddar.example/simple/" in (await cheddar.ask("GET", "/")).body.decode()


async def test_health_and_metrics(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """Live, ready, and what was counted; an upstream that is down leaves Cheddar ready."""
    assert (await cheddar.ask("GET", "/health/live")).status == 200
    ready = await cheddar.ask("GET", "/health/ready")
    assert (ready.status, ready.json()["ready"]) == (200, True)
    await upstream.stop()
    assert (await cheddar.ask("GET", "/simple/flask/")).status == 503
    ready = await cheddar.ask("GET", "/health/ready")
    assert ready.status == 200
    assert ready.json()["upstreams"][0]["ok"] is False
    counted = (await cheddar.ask("GET", "/metrics")).body.decode()
    assert 'cheddar_http_requests_total{method="GET",route="/simple/<project>/",status="503"}' in counted
    assert "flask" not in counted


async def test_upstream_trouble_is_never_404(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """An unknown project while upstream is down is a 503 that says when to come again; a known one is served."""
    upstream.add_file("flask", *make_wheel("flask", "3.0"))
    known = await files(cheddar, "/simple/flask/")
    (address,) = known.values()
    assert (await cheddar.ask("GET", address)).status == 200
    assert (await cheddar.ask("GET", address + ".metadata")).status == 200
    await upstream.stop()
    unknown = await cheddar.ask("GET", "/simple/django/")
    assert unknown.status == 503
    assert int(unknown.headers["retry-after"]) > 0
    assert await files(cheddar, "/simple/flask/") == known
    assert (await cheddar.ask("GET", address)).status == 200
    assert (await cheddar.ask("GET", address + ".metadata")).status == 200


@pytest.mark.deadline(60)
async def test_many_clients_share_one_download(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """Fifty clients at a cold page and a cold file: upstream sees one request each, and every byte is right."""
    filename, content = make_wheel("big", "1.0", size=5_000_000)
    upstream.add_file("big", filename, content)
    pages = await gatherResults([cheddar.ask("GET", "/simple/big/", headers={"Accept": JSON}) for _ in range(50)])
    assert {page.status for page in pages} == {200}
    assert upstream.hits["GET /simple/big/"] == 1
    (address,) = (await files(cheddar, "/simple/big/")).values()
    answers = await gatherResults([cheddar.ask("GET", address) for _ in range(50)])
    assert {hashlib.sha256(answer.body).hexdigest() for answer in answers} == {hashlib.sha256(content).hexdigest()}
    assert upstream.hits[f"GET /files/{filename}"] == 1


async def test_wrong_bytes_never_arrive_whole(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """A file whose digest is wrong ends in a cut connection or an error, and is not kept."""
    import http.client

    filename, content = make_wheel("big", "1.0", size=500_000)
    upstream.add_file("big", filename, content)
    (address,) = (await files(cheddar, "/simple/big/")).values()
    upstream.misbehave(f"/files/{filename}", flip=1000)
    try:
        answer = await cheddar.ask("GET", address)
        assert answer.status in (502, 503)
    except (http.client.IncompleteRead, ConnectionError):
        pass
    upstream.behave()
    assert (await cheddar.ask("GET", address)).body == content, "the control: good bytes are served"


def raw(port: int, request: bytes) -> bytes:
    """Send bytes as they are, read the first part of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        got = b""
        while b"\r\n\r\n" not in got:
            chunk = connection.recv(65536)
            if not chunk:
                break
            got += chunk
        return got


@pytest.mark.parametrize(
    "path",
    [
        b"/local/..%2f..%2fetc/passwd",
        b"/%2F%2F%2F..%2F..%2F..%2Fetc%2Fpasswd",
        b"/local/../../etc/passwd",
        b"/simple/..;/",
        b"/local/%252e%252e/canary.txt",
        b"/local/..\\canary.txt",
        b"/local/..%5ccanary.txt",
        b"/local/files/demo/" + b"0" * 64 + b"/..%2fcanary.txt",
        b"/local/files/../releases/canary.txt",
        b"/local/canary.txt",
        b"/local/.incoming/canary.txt",
        b"/static/..%2fpages.py",
        b"/static/../pages.py",
        b"/simple/foo%0d%0aSet-Cookie:%20a=b/",
        b"/foo%0aX/",
        b"/simple/a%00b/",
        b"/simple/%C3%A9/",
        b"/simple/" + b"a" * 3000 + b"/",
        b"/simple/-a/",
        b"/simple/a%0A/",
        b"//evil.example/simple/",
        b"http://evil.example/simple/demo/",
        b"/simple/" + b"\xff" + b"/",
    ],
)
async def test_hostile_paths_reach_nothing(
    cheddar: CheddarHere, upstream: EvilUpstream, settings: Any, path: bytes
) -> None:
    """Traversal, header injection and over-long names: an error, no foreign header, nothing outside read."""
    for folder in (settings.data_dir, settings.data_dir.parent, settings.local_dir):
        (folder / "canary.txt").write_text("CANARY")
    before = len(upstream.requests)
    got = await deferToThread(raw, cheddar.port, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert got.split(b" ")[1] in (b"400", b"404", b"410"), got
    assert b"CANARY" not in got
    assert b"root:" not in got
    assert not any(line.lower().startswith((b"set-cookie", b"x/")) for line in got.split(b"\r\n\r\n")[0].split(b"\r\n"))
    assert len(upstream.requests) == before


@pytest.mark.parametrize("headers", [b"", b"Host: a\r\nHost: b\r\n"])
async def test_a_request_has_one_host(cheddar: CheddarHere, headers: bytes) -> None:
    """RFC 9112, section 3.2."""
    got = await deferToThread(raw, cheddar.port, b"GET /simple/ HTTP/1.1\r\n" + headers + b"\r\n")
    assert got.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/pypi/", "POST"), ("POST", "/simple/", "GET"), ("DELETE", "/simple/demo/", "GET"), ("PUT", "/", "GET")],
)
async def test_other_methods_are_405(cheddar: CheddarHere, method: str, path: str, allowed: str) -> None:
    """With the methods that would do."""
    answer = await cheddar.ask(method, path, b"")
    assert answer.status == 405
    assert allowed in answer.headers["allow"]


async def test_scripts_of_other_sites_may_read(cheddar: CheddarHere) -> None:
    """What anybody may read, a page in a browser may: project pages and files (CORS), errors and changes not."""
    await cheddar.upload(*make_wheel("demo", "1.0"))
    (address,) = (await files(cheddar, "/simple/demo/")).values()
    for path in ("/simple/", "/simple/demo/", address, f"{address}.metadata"):
        answer = await cheddar.ask("GET", path, headers={"Origin": "https://elsewhere.example"})
        assert answer.headers["access-control-allow-origin"] == "*"
    login = {"Authorization": basic(), "Origin": "https://elsewhere.example"}
    refused = await cheddar.ask("DELETE", "/simple/demo/1.0", headers=login)
    assert refused.status == 403
    assert "access-control-allow-origin" not in refused.headers


async def test_the_serial_moves_with_the_project(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """The local index's page carries X-PyPI-Last-Serial, for mirrors; pages that it would not be true of do not."""
    upstream.add_file("flask", *make_wheel("flask", "3.0"))
    serials = []
    for version in ("1.0", "1.1"):
        await cheddar.upload(*make_wheel("demo", version))
        page = await cheddar.ask("GET", "/local/simple/demo/", headers={"Accept": JSON})
        serials.append(int(page.headers["x-pypi-last-serial"]))
    assert 0 < serials[0] < serials[1]
    for path in ("/simple/demo/", "/simple/flask/", "/remote/simple/flask/"):
        assert "x-pypi-last-serial" not in (await cheddar.ask("GET", path)).headers
