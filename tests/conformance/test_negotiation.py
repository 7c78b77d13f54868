"""Which representation of a page each client gets: project lists and project pages of every index."""

from __future__ import annotations

import gzip
import http.client
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.threads import deferToThread

from cheddar.deferreds import returns_deferred
from tests.conformance.served import HTML, Served
from tests.support.clients import ROOT
from tests.support.server import JSON, Answer

TEXT = "text/html"
LATEST_JSON = "application/vnd.pypi.simple.latest+json"
LATEST_HTML = "application/vnd.pypi.simple.latest+html"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"

#: What each type is announced as.
CONTENT_TYPES = {JSON: JSON, HTML: HTML, TEXT: "text/html; charset=utf-8"}

ANY_LINE = st.binary(max_size=80).map(lambda line: line.translate(None, b"\r\n\0")) | st.text(
    f'{JSON}/*;,q=.019 "\\\t\x80é', max_size=80
).map(lambda text: text.encode("latin-1"))


def recorded(client: str) -> str:
    """The Accept header that a client sends for a page, as it was recorded."""
    head = (ROOT / "tests" / "clients" / "recorded" / f"page_{client}.bin").read_text("ascii")
    (accept,) = re.findall(r"^Accept: (.*)$", head, re.MULTILINE)
    return str(accept)


def send(port: int, method: str, path: str, accept: tuple[bytes, ...]) -> Answer:
    """One request with so many Accept lines, each sent as it is. Blocking."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for line in accept:
            connection.putheader("Accept", line)
        connection.endheaders()
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, response.reason, headers, response.read())
    finally:
        connection.close()


@returns_deferred
async def ask(served: Served, path: str, *accept: str | bytes, method: str = "GET") -> Answer:
    """The same, from a thread."""
    lines = tuple(line if isinstance(line, bytes) else line.encode("ascii") for line in accept)
    return await deferToThread(send, served.cheddar.port, method, path, lines)


async def expect(served: Served, wanted: str, *accept: str) -> None:
    """List and page come in C{wanted} to a client that sends these Accept lines, and may be kept for such alone."""
    for path in (served.list_url, served.page_url("demo")):
        for method in ("GET", "HEAD"):
            answer = await ask(served, path, *accept, method=method)
            assert answer.status == 200, (accept, answer)
            assert answer.headers["content-type"] == CONTENT_TYPES[wanted], (path, accept)
            assert "Accept" in answer.headers["vary"].split(", "), (path, accept)


@pytest.mark.conforms("PEP 691", "Content negotiation: HTML for those who name no type, or send no Accept")
async def test_html_where_nothing_is_named(served: Served) -> None:
    """Old installers, curl and hatch read HTML alone, and say */* or nothing."""
    await served.publish_wheel("demo")
    for accept in ((), ("*/*",), ("",), ("*/*;q=0.1",), ("text/*",)):
        await expect(served, TEXT, *accept)


@pytest.mark.conforms("PEP 691", "Content negotiation: each client gets the format that it reads best")
async def test_what_clients_send(served: Served) -> None:
    """The headers as clients were seen to send them."""
    await served.publish_wheel("demo")
    for client, wanted in (("pip", JSON), ("uv", JSON), ("poetry", JSON), ("hatch", TEXT)):
        await expect(served, wanted, recorded(client))
    for accept, wanted in (
        (BROWSER, TEXT),
        ("text/html", TEXT),  # pip before 22.2
        (JSON, JSON),  # mirrors
        (f"application/vnd.pyx.simple.v1+msgpack, {recorded('uv')}", JSON),
    ):
        await expect(served, wanted, accept)


@pytest.mark.conforms("PEP 691", "Content types: each page says exactly what it is")
async def test_types_that_are_named(served: Served) -> None:
    """JSON parses, both names of HTML give the same bytes, and a type is what was asked for."""
    await served.publish_wheel("demo")
    for path in (served.list_url, served.page_url("demo")):
        as_json, versioned, plain = [await ask(served, path, accept) for accept in (JSON, HTML, TEXT)]
        assert as_json.headers["content-type"] == JSON
        assert as_json.json()["meta"]["api-version"] == "1.4"
        assert versioned.headers["content-type"] == HTML
        assert plain.headers["content-type"] == "text/html; charset=utf-8"
        assert versioned.body == plain.body
        assert plain.body.startswith(b"<!DOCTYPE html>")


@pytest.mark.conforms("PEP 691", "Version selection: latest gets the newest version, and the answer names that")
async def test_latest(served: Served) -> None:
    """Nobody has to guess what the latest version was."""
    await served.publish_wheel("demo")
    await expect(served, JSON, LATEST_JSON)
    await expect(served, HTML, LATEST_HTML)
    await expect(served, JSON, f"{LATEST_HTML};q=0.5, {LATEST_JSON}")


@pytest.mark.conforms("PEP 691", "Content negotiation: quality decides, then the richer format, never the order")
async def test_quality(served: Served) -> None:
    """A client that prefers a type says so, and one that does not gets the best that it names."""
    await served.publish_wheel("demo")
    for accept, wanted in (
        (f"{JSON};q=0.1, text/html;q=0.9", TEXT),
        (f"text/html;q=0.9, {JSON};q=0.901", JSON),
        (f"{HTML};q=0.999, {JSON};q=0.998", HTML),
        (f"{TEXT}, {HTML}, {JSON}", JSON),
        (f"{JSON}, {HTML}, {TEXT}", JSON),
        (f"{TEXT}, {HTML}", HTML),
        ("application/*", JSON),
        (f"{JSON};q=0, */*", TEXT),
        (f"text/html;q=0, */*;q=0.5, {HTML};q=0", JSON),
        (f"*/*;q=0.9, {JSON};q=0.2, {HTML};q=0.2, application/json;q=0", TEXT),
    ):
        await expect(served, wanted, accept)


@pytest.mark.conforms("PEP 691", "Version selection: an unknown version beside a known one is passed over")
async def test_versions_to_come(served: Served) -> None:
    """A client that can do more than this server gets what both can do."""
    await served.publish_wheel("demo")
    await expect(served, JSON, f"application/vnd.pypi.simple.v2+json, {JSON};q=0.5")
    await expect(served, TEXT, "application/vnd.pypi.simple.v2+json, */*;q=0.01")


@pytest.mark.conforms("PEP 691", "Content negotiation: 406 with what is on offer, where none of it is acceptable")
async def test_nothing_acceptable(served: Served) -> None:
    """Never a format that the client has refused: it is told what there is."""
    await served.publish_wheel("demo")
    for accept in (
        f"text/html;q=0, {JSON};q=0",
        "application/vnd.pypi.simple.v2+json",
        "application/vnd.pypi.simple.v1+xml",
        "image/png",
        "*/*;q=0",
    ):
        for path in (served.list_url, served.page_url("demo")):
            answer = await ask(served, path, accept)
            assert answer.status == 406, (accept, answer)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["vary"] == "Accept"
            assert answer.headers["cache-control"] == "no-store"
            for offered in (JSON, HTML, TEXT):
                assert offered in answer.json()["detail"]


@pytest.mark.conforms("RFC 9110", "Accept: case, spaces, several lines and parameters mean what they should")
async def test_spellings(served: Served) -> None:
    """However a client or a proxy writes the header."""
    await served.publish_wheel("demo")
    await expect(served, JSON, JSON.upper())
    await expect(served, TEXT, f"{JSON.upper()};Q=0.5", "TEXT/HTML;Q=0.6")
    await expect(served, JSON, f"{TEXT};q=0.1", JSON)
    await expect(served, JSON, f"  {JSON} ;  q=1.000  ,\ttext/html ; q=0.5")
    await expect(served, TEXT, "text/html;charset=utf-8")
    await expect(served, JSON, f"{JSON};v=1;q=0.3, text/html;level=1;q=0.2")
    await expect(served, JSON, f",, {JSON} ,,")


@pytest.mark.conforms("RFC 9110", "Accept: whatever is sent, it is no server error")
async def test_nonsense(served: Served) -> None:
    """What cannot be read is no wish: the client gets what one without wishes gets."""
    await served.publish_wheel("demo")
    for nonsense in (";;;q=,", "nonsense", "/", 'text/html;x="', "q=1", ",", ";", "\xff\xfe", "text/html;q="):
        answer = await ask(served, served.page_url("demo"), nonsense.encode("latin-1"))
        assert (answer.status, answer.headers["content-type"]) == (200, CONTENT_TYPES[TEXT]), nonsense
    answer = await ask(served, served.page_url("demo"), f"nonsense;;, {JSON}, ;q=x")
    assert (answer.status, answer.headers["content-type"]) == (200, JSON), "what can be read still counts"


@pytest.mark.conforms("RFC 9110", "Accept: whatever is sent, it is no server error")
async def test_any_bytes(served: Served) -> None:
    """Any bytes that a header can hold, on any number of lines."""

    @settings(max_examples=40, deadline=None)
    @given(st.lists(ANY_LINE, max_size=3))
    def is_answered(lines: list[bytes]) -> None:
        answer = send(served.cheddar.port, "GET", served.list_url, tuple(lines))
        # Control characters have no place in a header (RFC 9110, section 5.5).
        strange = any((byte < 32 and byte != 9) or byte == 127 for line in lines for byte in line)
        assert answer.status in ((400,) if strange else (200, 406)), (lines, answer)

    await deferToThread(is_answered)


@pytest.mark.conforms("PEP 691", "URL parameter: format goes before Accept, with + or %2B")
async def test_the_format_parameter(served: Served) -> None:
    """People with a browser can look at any format; the plus sign may come as what it means in a query, a space."""
    await served.publish_wheel("demo")
    for path in (served.list_url, served.page_url("demo")):
        for asked, wanted in (
            (JSON, JSON),
            (JSON.replace("+", "%2B"), JSON),
            (JSON.replace("+", "%20"), JSON),
            (JSON.upper(), JSON),
            (HTML, HTML),
            (TEXT, TEXT),
            ("text%2Fhtml", TEXT),
            (LATEST_JSON, JSON),
        ):
            for accept in (TEXT, JSON, "image/png"):
                answer = await ask(served, f"{path}?format={asked}", accept)
                assert (answer.status, answer.headers["content-type"]) == (200, CONTENT_TYPES[wanted]), (asked, accept)


@pytest.mark.conforms("PEP 691", "URL parameter: an unknown format leaves the choice to Accept")
async def test_an_unknown_format(served: Served) -> None:
    """The parameter is optional, and so is what it says."""
    await served.publish_wheel("demo")
    for asked in ("foo", "", "application/vnd.pypi.simple.v2%2Bjson", "%ff", "text/*", "*/*"):
        for accept, wanted in ((TEXT, TEXT), (JSON, JSON)):
            answer = await ask(served, f"{served.page_url('demo')}?format={asked}", accept)
            assert (answer.status, answer.headers["content-type"]) == (200, CONTENT_TYPES[wanted]), (asked, accept)
        refused = await ask(served, f"{served.page_url('demo')}?format={asked}", "image/png")
        assert refused.status == 406


@pytest.mark.conforms("RFC 9110", "Vary: on every answer that depends on Accept")
async def test_vary(served: Served) -> None:
    """A cache in front never gives one client the format of another: pages, redirects, errors and 304s alike."""
    await served.publish_wheel("demo")
    page = served.page_url("demo")
    tag = (await ask(served, page, JSON)).headers["etag"]
    for status, path, headers in (
        (200, page, {}),
        (304, page, {"If-None-Match": tag}),
        (301, served.page_url("Demo"), {}),
        (301, page.rstrip("/"), {}),
        (404, served.page_url("nothing"), {}),
        (406, page, {"Accept": "image/png"}),
    ):
        for method in ("GET", "HEAD"):
            answer = await served.ask(method, path, {"Accept": JSON, **headers})
            assert answer.status == status, (path, answer)
            assert "Accept" in answer.headers["vary"].split(", "), (status, path)


@pytest.mark.conforms("RFC 9110", "Content-Encoding: gzip for pages where asked for, with an ETag of its own")
async def test_gzip(served: Served) -> None:
    """A large page travels compressed to those who ask, and caches keep the two apart."""
    for minor in range(6):
        await served.publish_wheel("demo", f"1.{minor}")
    for accept in (JSON, TEXT):
        plain = await served.page("demo", accept)
        assert "content-encoding" not in plain.headers
        for coding in ("gzip", "deflate, gzip", "gzip, deflate, zstd", "GZIP;q=0.5"):
            packed = await served.page("demo", accept, Accept_Encoding=coding)
            assert packed.headers["content-encoding"] == "gzip"
            assert gzip.decompress(packed.body) == plain.body
            assert packed.headers["content-length"] == str(len(packed.body))
            assert packed.headers["etag"] != plain.headers["etag"]
        for answer in (plain, packed):
            assert {"Accept", "Accept-Encoding"} <= set(answer.headers["vary"].split(", "))
        for coding in ("identity", "gzip;q=0", "br", "deflate"):
            assert "content-encoding" not in (await served.page("demo", accept, Accept_Encoding=coding)).headers
