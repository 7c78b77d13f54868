"""Where pages and files are: addresses, names, and the one redirect to the right one."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, unquote, urljoin, urlsplit

import pytest
from packaging.utils import canonicalize_name

from tests.conformance.served import FROM_UPLOADS, HTML, Served
from tests.support.distributions import core_metadata_of, make_sdist, make_wheel
from tests.support.server import JSON

FORMATS = (JSON, HTML, "text/html")

#: Names that the specification does not know, as they stand in an address.
NO_NAMES = (
    *("-demo", "demo-", "_demo", "demo_", ".demo", "demo.", "-", "_", "."),
    *("de%20mo", "de+mo", "de~mo", "de@mo", "de:mo", "de;mo", "de%3Fmo", "de%23mo", "demo%0A", "demo%00", "demo%0D"),
    *(
        "d%C3%A9mo",
        "d%E9mo",
        "%EF%BD%84emo",
        "%D0%B4emo",
        "%2E%2E",
        "..",
        "demo%2F..",
        "..%2Fdemo",
        "%2Fdemo",
        "de%5Cmo",
    ),
    *("d" * 201, "d" * 300, "d" * 4000),
)


class _Opened:
    """What the process opens, lists and makes. An audit hook cannot be taken away again: it is told when to look."""

    watching = False
    seen: list[str] = []

    @classmethod
    def note(cls, event: str, arguments: tuple[object, ...]) -> None:
        if cls.watching and (event == "open" or event.startswith(("os.", "shutil."))):
            cls.seen.append(f"{event} {arguments[:1]}")


sys.addaudithook(_Opened.note)


@contextmanager
def files_touched() -> Iterator[list[str]]:
    """What of the file system the process has touched meanwhile."""
    _Opened.seen, _Opened.watching = [], True
    try:
        yield _Opened.seen
    finally:
        _Opened.watching = False


async def follow(served: Served, path: str, accept: str = JSON) -> tuple[int, str, int]:
    """Ask as a client does. @return: status, the address in the end, and how many redirects led there."""
    for redirects in range(5):
        answer = await served.get(path, {"Accept": accept, "Host": "evil.example"})
        if answer.status != 301:
            return answer.status, path, redirects
        path = urljoin(path, answer.headers["location"])
    raise AssertionError(f"no end of redirects at {path}")


@pytest.mark.conforms("PEP 503", "Base address: ends with a slash, is the project list, and is redirected to")
async def test_the_list(served: Served) -> None:
    """With or without the slash one gets to the list."""
    for accept in FORMATS:
        assert await follow(served, served.list_url, accept) == (200, served.list_url, 0)
        assert await follow(served, served.list_url.rstrip("/"), accept) == (200, served.list_url, 1)


@pytest.mark.conforms("PEP 503", "Names: one redirect leads to the normalized name with a slash at its end")
async def test_one_redirect(served: Served) -> None:
    """
    Name and slash are put right at once, whatever is wrong; where to is relative, so that neither a proxy in front nor
    a wrong Host leads it astray.
    """
    await served.publish_wheel("foo-bar-baz")
    there = served.page_url("foo-bar-baz")
    for spelled in ("Foo_Bar.baz", "FOO--bar-_.baz", "foo.bar.baz", "foo-bar-BAZ", "foo%2Dbar%5Fbaz"):
        for slash in ("/", ""):
            path = f"{served.list_url}{spelled}{slash}"
            for accept in FORMATS:
                expected = 0 if unquote(path) == there else 1
                assert await follow(served, path, accept) == (200, there, expected), path
            answer = await served.get(path, {"Host": "evil.example"})
            if answer.status == 301:
                location = urlsplit(answer.headers["location"])
                assert (location.scheme, location.netloc) == ("", "")
                assert answer.body == b""
    assert await follow(served, there.rstrip("/")) == (200, there, 1)


@pytest.mark.conforms("PEP 503", "Names: the redirect keeps the query")
async def test_the_query_is_kept(served: Served) -> None:
    """A format that was asked for in the address is still asked for after the redirect."""
    await served.publish_wheel("demo")
    for path, query in (
        (f"{served.list_url}Demo", f"format={JSON}"),
        (f"{served.list_url}Demo/", "a=1&b=%2F%3F&a=+"),
        (served.list_url.rstrip("/"), "x"),
        (f"{served.list_url}demo", "format=text%2Fhtml"),
    ):
        answer = await served.get(f"{path}?{query}")
        assert answer.status == 301, path
        assert urlsplit(answer.headers["location"]).query == query
        arrived = await served.get(urljoin(path, answer.headers["location"]))
        assert arrived.status == 200
        if JSON in query:
            assert arrived.headers["content-type"] == JSON


@pytest.mark.conforms("PEP 691", "Unknown projects: 404 in every format")
async def test_unknown_projects(served: Served) -> None:
    """Installers read 404 as "not here", and look into the next index."""
    for accept in (*FORMATS, "*/*", "text/html,application/xhtml+xml,*/*;q=0.8"):
        for name in ("nothing", "index-html", "simple", "demo2"):
            for method in ("GET", "HEAD"):
                answer = await served.ask(method, served.page_url(name), {"Accept": accept})
                assert answer.status == 404, answer
                assert "Accept" in answer.headers["vary"]
    assert (await follow(served, f"{served.list_url}index.html"))[0] == 404
    await served.publish_wheel("demo")
    page = served.page_url("demo")
    for path in (f"{page}index.html", f"{page}/", f"{page}//", f"{served.list_url}/", f"{served.list_url}/demo/"):
        assert (await follow(served, path))[0] == 404, path


@pytest.mark.conforms("PEP 503", "Names: what is no name is not found, and touches neither files nor upstream")
async def test_what_is_no_name(served: Served) -> None:
    """Whatever a client makes of a name, it ends before anything is looked up."""
    await served.publish_wheel("demo")
    with files_touched() as touched:
        await served.publish(*make_wheel("control", "1.0"))
        (address,) = (await served.addresses("control")).values()
        assert (await served.get(address)).status == 200
    assert touched, "the control: files that are touched are seen"
    asked = len(served.upstream.requests)
    with files_touched() as touched:
        for name in NO_NAMES:
            for path in (f"{served.list_url}{name}/", f"{served.list_url}{name}"):
                answer = await served.get(path, {"Accept": JSON})
                assert answer.status in (400, 404), (path, answer)
    assert touched == []
    assert len(served.upstream.requests) == asked


@pytest.mark.conforms("RFC 9110", "HEAD: the headers of GET, the length among them, and no body")
async def test_head(served: Served) -> None:
    """For lists and pages, in every format, compressed or not."""
    for minor in range(4):
        await served.publish_wheel("demo", f"1.{minor}")
    for path in (served.list_url, served.page_url("demo"), served.page_url("nothing"), served.page_url("Demo")):
        for accept in FORMATS:
            await served.get(path, {"Accept": accept})  # what came this very moment has no age, and no date
        served.clock.later(3)
        for accept in FORMATS:
            for coding in ("identity", "gzip"):
                headers = {"Accept": accept, "Accept-Encoding": coding}
                get, head = await served.get(path, headers), await served.ask("HEAD", path, headers)
                assert head.body == b""
                assert head.status == get.status
                for answer in (get, head):
                    answer.headers.pop("date")  # type: ignore[attr-defined]  # a dict, made for this test
                # A second may have begun between the two.
                assert ("age" in head.headers) == ("age" in get.headers)
                assert {**head.headers, "age": ""} == {**get.headers, "age": ""}
                assert get.headers["content-length"] == str(len(get.body))


@pytest.mark.conforms("RFC 9110", "Methods: pages answer others with 405 and the list of those that they know")
async def test_other_methods(served: Served) -> None:
    """An upload to a page's address is told so; a page never changes."""
    await served.publish_wheel("demo")
    for path in (served.list_url, served.page_url("demo")):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = await served.ask(method, path)
            assert answer.status == 405, (method, path)
            assert answer.headers["allow"] == "GET, HEAD"
    assert list(await served.addresses("demo")) == ["demo-1.0-py3-none-any.whl"]


@pytest.mark.conforms("PEP 503", "Project list: every project once, with the address of its page")
async def test_every_project_once(served: Served) -> None:
    """However a project's name was written by whom."""
    for filename, content in (
        make_wheel("Foo.Bar", "1.0"),
        make_sdist("foo_bar", "1.0"),
        make_wheel("foo-bar", "2.0"),
        make_wheel("a", "1.0"),
        make_wheel("zlib-2", "1.0"),
    ):
        await served.publish(filename, content)
    names = ["a", "foo-bar", "zlib-2"]
    for name in names:
        assert (await served.page(name)).status == 200
    assert await served.listed() == names
    for name in names:
        assert (await served.get(urljoin(served.list_url, f"{quote(name)}/"))).status == 200
    text = (await served.get(served.list_url, {"Accept": "text/html"})).body.decode()
    found = re.findall('<a href="([^"]*)">([^<]*)</a>', text)
    assert [href for href, _ in found] == [f"{name}/" for name in names]
    assert [canonicalize_name(shown) for _, shown in found] == names


@pytest.mark.conforms("PEP 503", "Project list: every project once, with the address of its page")
@pytest.mark.parametrize(("index", "origin"), [("combined", "local")])
async def test_a_project_that_both_indexes_know(served: Served) -> None:
    """A project that was upstream's before it became the organisation's own is not in the combined list twice."""
    served.upstream.add_file("demo", *make_wheel("demo", "9.0"))
    served.upstream.add_file("flask", *make_wheel("flask", "3.0"))
    for name in ("demo", "flask"):
        assert (await served.page(name)).status == 200
    await served.publish_wheel("demo")
    assert await served.listed() == ["demo", "flask"]


@pytest.mark.conforms("PEP 691", "name: the normalized one, whatever the project calls itself")
async def test_the_name_on_the_page(served: Served) -> None:
    """A client can compare it with what it asked for."""
    await served.publish(*make_wheel("Foo.Bar", "1.0"), project="Foo.Bar")
    assert (await served.project_page_json("foo-bar"))["name"] == "foo-bar"


@pytest.mark.conforms("PEP 503", "Files: the address ends with the file's name, and has no query")
async def test_file_addresses(served: Served) -> None:
    """Resolved as browsers do, it leads to the bytes, and with .metadata at its end to the metadata."""
    filename, content = await served.publish_wheel("demo", "1!1.0+cpu.1")
    for spelled in (served.page_url("demo"), served.page_url("Demo"), served.page_url("demo").rstrip("/")):
        status, page, _ = await follow(served, spelled)
        assert status == 200
        (file,) = (await served.get(page, {"Accept": JSON})).json()["files"]
        address = urlsplit(urljoin(page, file["url"]))
        assert (address.scheme, address.netloc, address.query, address.fragment) == ("", "", "", "")
        assert unquote(address.path.rpartition("/")[2]) == filename == file["filename"]
        assert (await served.get(address.path)).body == content
        assert (await served.get(f"{address.path}.metadata")).body == core_metadata_of(content)


@pytest.mark.parametrize(("index", "origin"), FROM_UPLOADS[:1])
async def test_the_page_below_the_upload_address(served: Served) -> None:
    """hatch looks at /pypi/+simple/<project>/ before it uploads; names and slashes are put right there as well."""
    filename, content = await served.publish_wheel("foo-bar")
    for base in ("/pypi", "/legacy"):
        for plus in ("+", "%2B"):
            for spelled in ("foo-bar/", "foo-bar", "Foo_Bar/"):
                status, page, redirects = await follow(served, f"{base}/{plus}simple/{spelled}")
                assert (status, redirects) == (200, int(spelled != "foo-bar/"))
                (file,) = (await served.get(page, {"Accept": JSON})).json()["files"]
                assert file["filename"] == filename
                assert (await served.get(urljoin(page, file["url"]))).body == content
