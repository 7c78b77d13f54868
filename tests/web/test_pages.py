"""The pages for people, read the way a browser's parser reads them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.python.threadpool import ThreadPool

from cheddar.formats.links import file_path
from cheddar.model import CoreMetadata, File, Project, Release
from cheddar.web.pages import MOST_FILES, MOST_RELEASES, Pages
from tests.support.page_reader import Read, assert_harmless

NOW = datetime(2026, 11, 20, 14, 3, 30, tzinfo=timezone.utc)
SHA256 = "ab12" * 16

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "'><script>alert(1)</script>",
    "--><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</code></pre><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    '" onmouseover="alert(1)',
)
HOSTILE_ADDRESSES = (
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    " javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "//elsewhere.example/",
    "https://a.example/\njavascript:alert(1)",
    'https://a.example/"onclick="alert(1)',
)


def a_file(version: str = "1.0", filename: str = "", **values: Any) -> File:
    return File(
        filename or f"cellar-{version}-py3-none-any.whl",
        version,
        **{"size": 123456, "digests": {"sha256": SHA256}, "upload_time": NOW, **values},
    )


def metadata(**fields: Any) -> CoreMetadata:
    return CoreMetadata("Cellar", "1.0", None, fields.get("summary", ""), fields, b"")


@pytest.fixture
def pages(reactor: Any) -> Iterator[Pages]:
    pool = ThreadPool(0, 2)
    pool.start()
    yield Pages("http://cheddar.example:5000/below", True, reactor, pool)
    pool.stop()


def every_page(pages: Pages, text: str, root: str = "../../") -> list[bytes]:
    """Each kind of page, with C{text} wherever text can come from somebody else."""
    file = a_file(text, text, yanked=text, requires_python=text, core_metadata={})
    remote = a_file(text, text, yanked=text, url=text, digests={text: text})
    fields = dict.fromkeys(("summary", "author", "author_email", "maintainer", "license", "home_page"), text)
    described = metadata(
        **fields,
        download_url=text,
        requires_python=text,
        description=text,
        keywords=[text],
        provides_extra=[text],
        requires_dist=[text],
        classifiers=[text],
        project_urls={text: text},
    )
    return [
        pages.home((Release(text, text, NOW),), text, (text,), root),
        pages.home((), text, (), root),
        pages.home((), "", None, root),
        pages.project(Project(text, (file,), (text,), text, text, text), True, root),
        pages.project(Project(text, (remote,), (text,), text, text, text, "remote"), False, root),
        pages.project(Project(text), True, root),
        pages.release(text, text, (file, remote), described, None, root),
        pages.release(text, text, (file,), None, None, root),
        pages.problem(404, text, text, root),
    ]


@pytest.mark.parametrize("text", [*HOSTILE, *HOSTILE_ADDRESSES])
def test_hostile_text_stays_text(pages: Pages, text: str) -> None:
    """Whatever an uploader, an upstream or a link puts into a name, a reason or a field is shown, and never runs."""
    for page in every_page(pages, text):
        assert_harmless(page)
    shown = Read(pages.release("cellar", "1.0", (a_file(yanked=text),), metadata(summary=text), None, "")).text
    assert shown.count(text.strip()) >= 2


def test_the_check_itself_sees_harm() -> None:
    """(The control for these tests: what they must not find, they would find.)"""
    for harm in (
        "<script></script>",
        "<img src=x onerror=y>",
        "<a href='javascript:x'>",
        "<img src='https://a.example/b.png'>",
        "<link href='//a.example/b.css'>",
        "<p style='x'>",
    ):
        with pytest.raises(AssertionError):
            assert_harmless(harm.encode())


@given(text=st.text(max_size=30))
def test_any_text_stays_text(text: str) -> None:
    """No text at all breaks a page, surrogates and control characters among them."""
    for page in every_page(Pages("http://localhost/", True, None, None), text):  # type: ignore[arg-type]  # render only
        assert_harmless(page)
        assert page.decode().rstrip().endswith("</html>")


@pytest.mark.parametrize("address", HOSTILE_ADDRESSES)
def test_only_web_and_mail_addresses_become_links(pages: Pages, address: str) -> None:
    """A project's home page is a link if it is http, https or mailto; anything else is shown as text."""
    good = ("https://cellar.example/a?b=c&d", "http://cellar.example/", "mailto:ada@cellar.example")
    urls = {"Evil": address, **{f"Good {number}": url for number, url in enumerate(good)}}
    page = pages.release("cellar", "1.0", (), metadata(home_page=address, project_urls=urls), None, "../../")
    read = Read(page)
    outside = [attrs for tag, attrs in read.elements if tag == "a" and urlsplit(attrs["href"]).scheme]
    assert [attrs["href"] for attrs in outside if "cheddar.example" not in attrs["href"]] == list(good)
    assert {attrs["rel"] for attrs in outside if "cheddar.example" not in attrs["href"]} == {"nofollow noopener"}
    assert "Home page:" in read.text


def test_every_page_says_what_it_is(pages: Pages) -> None:
    """Every page has a language, a title, a width for phones, and one main heading; it is UTF-8 and knows it."""
    for page in every_page(pages, "Käse"):
        read = Read(page)
        elements = dict(read.elements)
        assert page.startswith(b"<!doctype html>")
        assert elements["html"]["lang"] == "en"
        assert ("meta", {"charset": "utf-8"}) in read.elements
        viewport = {"name": "viewport", "content": "width=device-width, initial-scale=1"}
        assert ("meta", viewport) in read.elements
        assert [tag for tag, _ in read.elements].count("title") == 1
        assert "Cheddar" in page.decode().partition("<title>")[2].partition("</title>")[0]
        assert [tag for tag, _ in read.elements].count("h1") == 1
        assert [tag for tag, _ in read.elements].count("main") == 1


@pytest.mark.parametrize(
    ("root", "path"), [("", "/"), ("../../", "/project/x/"), ("../../", "/simple/x/1"), ("../../../", "/simple/x/1/")]
)
@pytest.mark.parametrize("prefix", ["", "/below/proxy"])
def test_links_stay_below_the_servers_root(pages: Pages, root: str, path: str, prefix: str) -> None:
    """All links of a page work at any depth, and below any path of a reverse proxy: none starts at the top."""
    for page in every_page(pages, "cellar", root):
        for tag, address in Read(page).attributes("href", "src", "action"):
            if urlsplit(address).scheme:
                # The one absolute address is the one to copy; it is text, not a link.
                pytest.fail(f"{tag} leads out: {address}")
            assert not address.startswith("/")
            assert address, "an empty address would mean the page itself"
            below = urlsplit(urljoin(f"http://a.example{prefix}{path}", address)).path.removeprefix(prefix)
            assert below == "/" or below.startswith(("/static/", "/simple/", "/project/", "/local/", "/remote/"))


def test_static_files_are_the_ones_pages_ask_for(pages: Pages) -> None:
    """Each static file that a page names exists, with its type; a changed file would have another address."""
    for tag, address in Read(pages.home((), "", None, "")).attributes("src", "href"):
        if address.startswith("static/"):
            found = pages.static(address.removeprefix("static/").partition("?")[0])
            assert found is not None
            assert found[1] == ("text/css; charset=utf-8" if ".css" in address else "image/svg+xml"), tag
            assert len(address.partition("?v=")[2]) == 12
    assert pages.static("../pages.py") is None
    assert pages.static("nothing") is None


def test_static_files_ask_for_nothing(pages: Pages) -> None:
    """The style sheet and the picture load nothing either."""
    for name in ("cheddar.css", "cheddar.svg"):
        found = pages.static(name)
        assert found is not None
        content = found[0].replace(b"http://www.w3.org/2000/svg", b"")
        assert not any(word in content for word in (b"url(", b"@import", b"//", b"<script", b"href"))


def test_home_shows_uploads_and_how_to_set_up(pages: Pages) -> None:
    """The front page links recent uploads, and its lines to copy carry the configured address."""
    page = pages.home((Release("cellar", "1!2.0+x", NOW), Release("attic", "1.0", NOW)), "", None, "")
    read = Read(page)
    assert "simple/cellar/1%212.0%2Bx" in read.links()
    assert read.links().index("simple/cellar/1%212.0%2Bx") < read.links().index("simple/attic/1.0")
    for line in (
        "pip install --index-url http://cheddar.example:5000/below/simple/ --trusted-host cheddar.example PROJECT",
        "pip config set global.index-url http://cheddar.example:5000/below/simple/",
        "uv pip install --default-index http://cheddar.example:5000/below/simple/ PROJECT",
        "repository = http://cheddar.example:5000/below/pypi/\nusername = NAME",
        "twine upload -r cheddar dist/*",
        "cheddar user add NAME",
    ):
        assert line in read.text
    assert ("form", "./") in read.attributes("action")
    assert "q" in [value for _, value in read.attributes("name")]
    assert 'datetime="2026-11-20T14:03:30Z"' in page.decode()


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("http://localhost:5000/", False),
        ("http://127.0.0.1:5000/", False),
        ("http://[::1]:5000", False),
        ("https://cheddar.example", False),
        ("http://10.0.0.7/", True),
        ("http://cheddar.example/", True),
    ],
)
def test_pip_line_works_as_it_is(address: str, trusted: bool) -> None:
    """Where pip refuses an index on plain HTTP, the line to copy says that its host is trusted."""
    pages = Pages(address, True, None, None)  # type: ignore[arg-type]  # render only
    assert ("--trusted-host" in Read(pages.home((), "", None, "")).text) is trusted


def test_home_without_upstream_says_so(pages: Pages) -> None:
    """Nobody waits for a public project from a server that has no upstream."""
    alone = Pages("http://localhost/", False, None, None)  # type: ignore[arg-type]  # render only
    assert "No upstream is configured" in Read(alone.home((), "flask", (), "")).text
    assert "project/flask/" not in Read(alone.home((), "flask", (), "")).links()
    assert "No upstream is configured" not in Read(pages.home((), "flask", (), "")).text


def test_search_lists_what_was_found(pages: Pages) -> None:
    """A search shows the projects found, keeps the question, and offers to ask upstream for a name not kept here."""
    found = pages.home((), "Cell", ("cellar", "cellophane"), "")
    read = Read(found)
    assert {"project/cellar/", "project/cellophane/", "project/cell/"} <= set(read.links())
    assert ("input", "Cell") in read.attributes("value")
    exact = Read(pages.home((), "Cellar", ("cellar",), ""))
    assert exact.links().count("project/cellar/") == 1
    nothing = Read(pages.home((), "no such/name", (), ""))
    assert "No project here" in nothing.text
    assert not [link for link in nothing.links() if link.startswith("project/")]


def test_local_project_lists_releases_newest_first(pages: Pages) -> None:
    """A local project's releases come newest first, with date, number of files, and what to know about them."""
    files = (
        a_file("1.9", upload_time=NOW - timedelta(days=9)),
        a_file("1.9", "cellar-1.9.tar.gz", upload_time=NOW - timedelta(days=8), yanked=""),
        a_file("1.10", yanked="loses <cheese>"),
        a_file("2.0rc1"),
    )
    read = Read(pages.project(Project("cellar", files, ("0.1", "1.9", "1.10", "2.0rc1"), "Cellar"), True, "../../"))
    releases = [link for link in read.links() if "simple/cellar/" in link and not link.endswith("/")]
    assert releases == [f"../../simple/cellar/{version}" for version in ("2.0rc1", "1.10", "1.9")]
    words = " ".join(read.text.partition("Releases")[2].split())
    assert words.startswith(
        "2.0rc1 pre-release 1 file 2026-11-20 1.10 yanked 1 file 2026-11-20 Yanked: loses <cheese> "
        "1.9 partly yanked 2 files 2026-11-11 0.1 no files"
    )
    assert (
        "pip install --index-url http://cheddar.example:5000/below/simple/ --trusted-host cheddar.example cellar"
        in (read.text)
    )


def test_remote_project_links_its_files(pages: Pages) -> None:
    """A remote project's files are linked where this server serves them, never upstream's own addresses."""
    files = (
        a_file("1.0", url="https://files.example/a.whl"),
        a_file("", "cellar.exe", url="https://files.example/x", digests={}),
    )
    page = pages.project(Project("cellar", files, ("1.0",), index="remote"), False, "../../")
    links = Read(page).links()
    assert {f"../../{file_path('remote', 'cellar', file)}" for file in files} <= set(links)
    assert b"files.example" not in page
    assert "../../simple/cellar/1.0" not in links


def test_project_states_its_status(pages: Pages) -> None:
    """A status other than active is shown with its reason (PEP 792)."""
    files = (a_file(),)
    read = Read(pages.project(Project("cellar", files, ("1.0",), status="archived", status_reason="Moved."), True, ""))
    assert "Archived. Moved." in " ".join(read.text.split())
    assert "Active" not in Read(pages.project(Project("cellar", files, ("1.0",)), True, "")).text


def test_project_without_releases_says_how_to_free_the_name(pages: Pages) -> None:
    """A name that is taken and has nothing to offer says so, and how it is given up."""
    assert "cheddar project release cellar" in Read(pages.project(Project("cellar"), True, "")).text


def test_long_project_is_cut(pages: Pages) -> None:
    """A page of a project with thousands of releases shows the newest ones and says how many it leaves out."""
    versions = tuple(f"{major}.{minor}" for major in range(20) for minor in range(100))
    local = Project("cellar", tuple(a_file(version) for version in versions), versions)
    read = Read(pages.project(local, True, ""))
    assert len([link for link in read.links() if link.startswith("simple/cellar/1")]) == MOST_RELEASES
    assert f"{2000 - MOST_RELEASES} older releases" in read.text
    files = tuple(
        a_file(version, f"cellar-{version}-{build}.whl", url="x") for version in versions for build in range(10)
    )
    remote = Read(pages.project(Project("cellar", files, versions, index="remote"), False, ""))
    assert len([link for link in remote.links() if link.startswith("remote/")]) == MOST_FILES
    one = tuple(a_file("1.0", f"cellar-1.0-{build}.whl", url="x") for build in range(MOST_FILES + 1))
    alone = Read(pages.project(Project("cellar", one, ("1.0",), index="remote"), False, ""))
    assert len([link for link in alone.links() if link.startswith("remote/")]) == MOST_FILES + 1


def test_release_shows_metadata_and_files(pages: Pages) -> None:
    """A release shows what it says of itself, its files with size and digest, and the line that installs it."""
    described = metadata(
        summary="Keeps cheese cool.",
        author="Ada",
        author_email="ada@cellar.example",
        license_expression="Apache-2.0",
        license="UNKNOWN",
        requires_python=">=3.10",
        requires_dist=["attrs>=24; python_version < '3.12'"],
        provides_extra=["ice"],
        classifiers=["Framework :: Twisted"],
        keywords=["cheese", "cold"],
        home_page="UNKNOWN",
        project_urls={"Source": "https://cellar.example/source"},
    )
    files = (a_file(), a_file(filename="cellar-1.0.tar.gz", size=999, yanked="broken sdist", upload_time=None))
    page = pages.release("cellar", "1.0", files, described, None, "../../")
    read = Read(page)
    words = " ".join(read.text.split())
    for shown in (
        "Cellar 1.0",
        "Keeps cheese cool.",
        "Ada, ada@cellar.example",
        "Apache-2.0",
        ">=3.10",
        "attrs>=24; python_version < '3.12'",
        "Extras ice",
        "cheese, cold",
        "Framework :: Twisted",
        f"123.5 kB uploaded 2026-11-20 sha256 {SHA256}",
        "999 bytes yanked broken sdist",
        "pip install --index-url http://cheddar.example:5000/below/simple/ --trusted-host cheddar.example cellar==1.0",
    ):
        assert shown in words, words
    assert "UNKNOWN" not in words
    assert "This release was yanked" not in words
    assert {f"../../{file_path('local', 'cellar', file)}" for file in files} <= set(read.links())
    assert {"https://cellar.example/source", "../../project/cellar/"} <= set(read.links())


def test_release_whose_files_are_all_yanked_says_so(pages: Pages) -> None:
    """A yanked release says what that means, and why, once."""
    files = (a_file(yanked="bad"), a_file(filename="cellar-1.0.tar.gz", yanked="bad"))
    text = Read(pages.release("cellar", "1.0rc1", files, None, None, "")).text
    assert "This release was yanked." in text
    assert text.partition("Files")[0].count("bad") == 1
    assert "pre-release" in text


def test_command_to_copy_is_quoted(pages: Pages) -> None:
    """A line to copy does in a shell what it says, whatever the version is called."""
    text = Read(pages.release("cellar", "1; reboot", (), None, None, "")).text
    assert "'cellar==1; reboot'" in text
    assert "'cellar==1!2'" in Read(pages.release("cellar", "1!2", (), None, None, "")).text


def test_long_license_is_its_first_line(pages: Pages) -> None:
    """A whole licence in the field does not fill the page."""
    text = Read(pages.release("cellar", "1.0", (), metadata(license="MIT License\n\nPermission\n" * 50), None, "")).text
    assert "MIT License …" in text
    assert "Permission" not in text


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (5 * 10**12, "5000.0 GB")],
)
def test_sizes_are_readable(pages: Pages, size: int, shown: str) -> None:
    """Sizes come in decimal units, with one digit."""
    assert shown in Read(pages.release("cellar", "1.0", (a_file(size=size),), None, None, "")).text


def test_upload_time_is_utc(pages: Pages) -> None:
    """Times are UTC, whatever zone they came in."""
    zone = timezone(timedelta(hours=-11))
    page = pages.release("cellar", "1.0", (a_file(upload_time=NOW.astimezone(zone)),), None, None, "")
    assert b'datetime="2026-11-20T14:03:30Z" title="2026-11-20 14:03 UTC">2026-11-20<' in page


def test_description_without_html_is_text(pages: Pages) -> None:
    """A description that cannot be rendered is shown as it was written; a very long one from its beginning."""
    text = "# Not <b>rendered</b>\n\n  as is"
    page = pages.release("cellar", "1.0", (), metadata(description=text), None, "")
    assert text in Read(page).text
    long = pages.release("cellar", "1.0", (), metadata(description="word " * 100_000), None, "")
    assert len(long) < 300_000
    assert "this is its beginning" in Read(long).text
    assert "this is its beginning" not in Read(page).text
