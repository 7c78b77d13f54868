"""What a browser is told of every answer, and that what is read stays as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.threads import deferToThread
from twisted.web.http_headers import Headers

from cheddar.settings import Settings
from cheddar.web import responses
from cheddar.web.responses import Response, header_value, headers_of
from tests.support.distributions import make_wheel
from tests.support.page_reader import assert_harmless
from tests.support.server import JSON, Answer, CheddarHere, basic, upload_form
from tests.support.store_dump import published, redis_content, sqlite_content
from tests.support.upstream import EvilUpstream
from tests.web.test_access import ROUTES, addresses
from tests.web.test_connections import request, talk

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

#: Addresses that are answered with something else than what is there.
OTHERWISE = (
    ("GET", "/simple/nothing/", {}, 404),
    ("GET", "/nothing/here", {}, 404),
    ("GET", "/simple/%2f/", {}, 400),
    ("GET", "/simple/demo", {}, 301),
    ("GET", "/simple/Demo/", {}, 301),
    ("GET", "/pypi/demo/", {}, 302),
    ("GET", "/remote/x?base=http://127.0.0.1/", {}, 410),
    ("GET", "/simple/", {"Accept": "image/png"}, 406),
    ("GET", "/local/demo-1.0-py3-none-any.whl", {"Range": "bytes=1-5"}, 206),
    ("GET", "/local/demo-1.0-py3-none-any.whl", {"Range": "bytes=99999999-"}, 416),
    ("GET", "/simple/demo/", {"If-None-Match": "*"}, 304),
    ("DELETE", "/simple/demo/1.0", {}, 401),
    ("DELETE", "/simple/demo/1.0", {"Authorization": basic(), "Origin": "https://evil.example"}, 403),
    ("DELETE", "/simple/nothing/1.0", {"Authorization": basic()}, 404),
    ("PUT", "/simple/nothing/1.0/yanked", {"Authorization": basic()}, 404),
    ("POST", "/simple/", {}, 405),
    ("POST", "/pypi/", {}, 401),
    ("POST", "/pypi/", {"Authorization": basic(), "Content-Type": "text/plain"}, 400),
)


def assert_safe(path: str, answer: Answer) -> None:
    """What every answer has, and what this one has to have."""
    headers = answer.headers
    assert headers["x-content-type-options"] == "nosniff", path
    assert headers["x-frame-options"] == "DENY", path
    assert headers["referrer-policy"] == "no-referrer", path
    policy = {part.split()[0]: part.split()[1:] for part in headers["content-security-policy"].split("; ")}
    assert policy["default-src"] == ["'none'"], path
    assert "script-src" not in policy, path
    assert not re.search("unsafe|https?:", headers["content-security-policy"]), path
    content_type = headers.get("content-type", "").partition(";")[0]
    if content_type == "application/octet-stream":
        assert "sandbox" in policy, path
        assert headers["content-disposition"].startswith("attachment; filename="), path
    else:
        assert policy["frame-ancestors"] == ["'none'"], path
        assert policy["base-uri"] == ["'none'"], path
    if content_type == "text/html" and answer.body:
        assert_harmless(answer.body)


@pytest.mark.deadline(60)
@pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)
async def test_every_answer_is_safe_to_open(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """
    Pages, files, documents and errors of every route, for people and for tools: no script, no frame, no guess at what
    it is, no word to other sites of where it was found.
    """
    where = await addresses(cheddar, upstream)
    seen = set()
    for accept in (HTML, {"Accept": JSON}, {"Accept": "application/json"}, {}):
        for rule, path in where.items():
            for method in ("GET", "HEAD"):
                answer = await cheddar.ask(method, path, headers=accept)
                assert answer.status == 200, (method, path)
                assert_safe(path, answer)
                seen.add((rule, answer.headers["content-type"].partition(";")[0]))
        for method, path, headers, status in OTHERWISE:
            body = b"x" if method in ("POST", "PUT") else None
            answer = await cheddar.ask(method, path, body, {**accept, **headers})
            assert answer.status == status, (method, path, answer.reason)
            assert_safe(path, answer)
    large = await cheddar.ask("POST", "/simple/", b"x" * 70_000, HTML)
    assert large.status == 413
    assert_safe("413", large)
    kinds = {kind for _, kind in seen}
    assert {"text/html", "application/octet-stream", "application/json", JSON.partition(";")[0]} <= kinds, "the control"


def stored(cheddar: CheddarHere) -> dict[str, bytes]:
    """What is in its store, but what is remembered of upstream."""
    address = cheddar.settings.redis_url
    return published(
        redis_content(urlsplit(address).port or 0) if address else sqlite_content(cheddar.settings.data_dir)
    )


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file that was uploaded, and its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".incoming" not in path.parts
    }


@pytest.mark.deadline(60)
async def test_reading_changes_nothing(cheddar: CheddarHere, upstream: EvilUpstream, settings: Settings) -> None:
    """
    Whatever is asked for with GET or HEAD, with a login or without: projects, files, users and grants are the same
    before and after.
    """
    where = await addresses(cheddar, upstream)
    login = {"Authorization": basic()}
    await cheddar.ask("GET", "/simple/flask/")
    before, files = await deferToThread(stored, cheddar), files_below(settings.local_dir)
    assert any(b"demo-1.0-py3-none-any.whl" in value for value in before.values()), "the control: it is in there"
    changing = [
        rule.replace("<project>", "demo").replace("<version>", "1.0").replace("<filename>", "demo-1.0-py3-none-any.whl")
        for rule, methods, *_ in ROUTES
        if "GET" not in methods
    ]
    questions = ["?:action=file_upload&name=demo", "?_method=DELETE", "?reason=x"]
    for path in (*where.values(), *changing, *(f"/simple/demo/1.0{query}" for query in questions), "/remote/x"):
        for method in ("GET", "HEAD"):
            for headers in ({}, login, {**login, "X-HTTP-Method-Override": "DELETE"}):
                assert (await cheddar.ask(method, path, headers=headers)).status in (200, 404, 405, 406), path
    assert await deferToThread(stored, cheddar) == before
    assert files_below(settings.local_dir) == files
    assert (await cheddar.ask("PUT", "/simple/demo/1.0/yanked", b"x", login)).status == 200
    assert await deferToThread(stored, cheddar) != before, "the control: a change shows"


@pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)
async def test_no_address_leads_elsewhere(cheddar: CheddarHere) -> None:
    """
    Whoever is named in Host, X-Forwarded-Host, Forwarded or in the address itself: no page, no document, no redirect
    and no error says their name. Addresses come from PUBLIC_URL.
    """
    await cheddar.upload(*make_wheel("demo", "1.0"))
    evil = b"".join(
        b"%s: evil.example\r\n" % name
        for name in (b"X-Forwarded-Host", b"X-Forwarded-Server", b"X-Original-URL", b"X-Host", b"X-Rewrite-URL")
    )
    evil += (
        b"Forwarded: host=evil.example;proto=https\r\nX-Forwarded-Proto: evil.example\r\nX-Forwarded-Prefix: /evil\r\n"
    )
    accepts = ("text/html", JSON, "application/json")
    for path in (
        "/",
        "/simple/",
        "/simple/demo/",
        "/simple",
        "/simple/Demo/",
        "/simple/demo",
        "/project/Demo/",
        "/none",
    ):
        for accept in accepts:
            asked = request("GET", path, Host="evil.example", Accept=accept, Connection="close")[:-2] + evil + b"\r\n"
            got = await deferToThread(talk, cheddar.port, asked)
            assert b"evil" not in got, path
    for path in (
        "//evil.example/simple/",
        "//evil.example/simple",
        "/simple//evil.example",
        "/%5cevil.example/",
        "/\\evil.example",
        "/simple/;@evil.example",
        "/?next=//evil.example",
        "/simple?next=https://evil.example",
        "/pypi//evil.example/",
        "/project/https:evil.example",
    ):
        got = await deferToThread(talk, cheddar.port, request("GET", path, Connection="close"))
        head = got.partition(b"\r\n\r\n")[0]
        location = re.search(rb"\r\nLocation: ([^\r]*)", head, re.IGNORECASE)
        assert location is None or re.match(rb"[a-z]+/(\?|\Z)", location.group(1)), (path, location)
    document = (await cheddar.ask("GET", "/pypi/demo/json")).body
    assert b"http://cheddar.example/packages/" in document, "the control"


NEW_HEADER = "x\r\nSet-Cookie: a=b\r\n\r\n<script>"


@pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)
async def test_nothing_begins_a_header(cheddar: CheddarHere) -> None:
    """Line ends in addresses, names, file names and reasons: no answer has a header that somebody wrote."""
    wheel = make_wheel("demo", "1.0")[1]
    asked = [
        request("GET", path, Connection="close")
        for path in (
            "/simple/foo%0d%0aSet-Cookie:%20a=b/",
            "/foo%0aSet-Cookie:%20a=b",
            "/simple/foo%0d%0a%0d%0a<script>",
            "/simple/Foo%E5%98%8A%E5%98%8DSet-Cookie:a=b",
            "/simple/Foo?%0d%0aSet-Cookie:%20a=b",
            "/simple?x=%0d%0aSet-Cookie:%20a=b",
            "/local/%0d%0aSet-Cookie:%20a=b",
            "/pypi/Foo%0d%0aSet-Cookie:a/1.0/",
        )
    ]
    for filename, fields in (
        ("demo-1.0-py3-none-any.whl", {"name": NEW_HEADER}),
        ("demo-1.0-py3-none-any.whl", {"version": NEW_HEADER}),
        ("demo-1.0-py3-none-any.whl", {":action": NEW_HEADER}),
        ("demo-1.0-py3-none-any.whl", {"filetype": NEW_HEADER}),
        ("demo-1.0-py3-none-any.whl", {"sha256_digest": NEW_HEADER}),
        (f"{NEW_HEADER}-1.0.tar.gz", {}),
        ("demo%0d%0aSet-Cookie: a=b-1.0.tar.gz", {}),
    ):
        body, content_type = upload_form(filename, wheel, fields)
        asked.append(
            request("POST", "/pypi/", body, Authorization=basic(), Content_Type=content_type, Connection="close")
        )
    for one in asked:
        got = await deferToThread(talk, cheddar.port, one)
        head = got.partition(b"\r\n\r\n")[0]
        assert re.match(rb"HTTP/1\.1 (30[12]|400|404) ", head), head
        for line in head.split(b"\r\n")[1:]:
            assert re.fullmatch(rb"[A-Za-z-]+: [^\x00-\x1f\x7f-\x9f]*", line), line
            assert not line.lower().startswith(b"set-cookie"), head
        assert not re.search(rb"[\r\n\x1b]", head.partition(b"\r\n")[0])


@given(st.text())
def test_the_one_gate(value: str) -> None:
    """Whatever text a header is to have: one line, which no terminal obeys."""
    sent = header_value(value)
    assert not re.search(rb"[\x00-\x1f\x7f-\x9f]", sent)
    assert len(sent) == len(value)
    if value.isascii() and value.isprintable():
        assert sent.decode() == value, "the control"


@given(st.text(), st.text(), st.text())
def test_answers_have_no_other_headers(reason: str, location: str, detail: str) -> None:
    """All headers of an answer go through the gate, its reason phrase too: by raw bytes, as a client gets them."""
    headers: Headers = headers_of(
        Response(status=301, reason=reason, content_type=detail, headers={"Location": location, "Allow": detail})
    )
    names = {name.lower() for name, _ in headers.getAllRawHeaders()}
    assert names >= {b"location", b"content-type", b"x-frame-options"}
    for _, values in headers.getAllRawHeaders():
        assert not re.search(rb"[\r\n]", b"".join(values))


def test_only_the_gate_leads_into_headers() -> None:
    """No module that answers sets a header to anything but a constant, a number, or what has gone through the gate."""
    sets = re.compile(r"(?:setHeader|addRawHeader|setRawHeaders|writeHeaders)\((.*)")
    fine = re.compile(r"header_value|^b\"[^\"]*\", (?:b\"|\[b\"|datetimeToString)|^name, list\(values\)")
    found = 0
    for path in sorted(Path(responses.__file__).parent.glob("*.py")):
        for line in path.read_text().splitlines():
            call = sets.search(line)
            found += call is not None
            assert call is None or fine.search(call.group(1)), f"{path.name}: {line.strip()}"
    assert found > 10, "the control"


async def test_a_page_of_another_site_gets_no_answer_to_a_preflight(cheddar: CheddarHere) -> None:
    """A browser asks before it lets another site's script send a change: nothing allows it to."""
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}
    answer = await cheddar.ask("OPTIONS", "/simple/demo/1.0", headers={**asked, "Authorization": basic()})
    assert answer.status == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_the_check_itself_sees_harm(settings: Settings) -> None:
    """The controls of these checks."""
    safe: dict[str, Any] = {name.lower(): value for name, value in Response().all_headers.items()}
    assert_safe("x", Answer(200, "", {**safe, "content-type": "text/html"}, b"<p>x"))
    for harm in (
        {"content-security-policy": safe["content-security-policy"] + "; script-src 'unsafe-inline'"},
        {"content-security-policy": "default-src *"},
        {"x-frame-options": "SAMEORIGIN"},
    ):
        with pytest.raises(AssertionError):
            assert_safe("x", Answer(200, "", {**safe, **harm}, b""))
    with pytest.raises(AssertionError):
        assert_safe("x", Answer(200, "", {**safe, "content-type": "text/html"}, b"<p onclick=x>"))
