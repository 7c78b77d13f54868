"""Pages of the Simple API: what is written can be read back, and both formats say the same."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from cheddar.formats import simple_html, simple_json
from cheddar.formats.filenames import version_of
from cheddar.formats.links import digest_segment, file_path
from cheddar.model import File, Listed, Project, ProjectList, sort_files, sort_versions

ROOT = "../../"
ADDRESS = "https://index.example/"
PAGE_URL = "https://index.example/remote/simple/foo-bar/"
HATCH = re.compile(r"<a [^>]+>([^<]+)</a>")
UV = re.compile(r"""<a(?:\s*[\w-]+=(?:'[^']+'|"[^"]+"))* *>([^<>]+)</a>""")

words = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029")
    | st.sampled_from("<>&\"'\n\r\t#;"),
    min_size=1,
    max_size=30,
)
reasons = words.map(str.strip).filter(bool)
hexadecimal = st.text("0123456789abcdef", min_size=64, max_size=64)
versions = st.sampled_from(["1.0", "1.10", "1!2.0", "2.0+cpu.1", "3.0rc1", "1.0.post1.dev2", "2004d"])
endings = st.sampled_from(["-py3-none-any.whl", "-1abc-cp312-cp312-linux_x86_64.whl", ".tar.gz", ".zip", "-py2.7.egg"])
filenames = st.builds("{}-{}{}".format, st.sampled_from(["foo_bar", "Foo.Bar"]), versions, endings)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone.utc))


@st.composite
def files(draw: st.DrawFn) -> File:
    """A file that a page can hold."""
    filename = draw(filenames)
    return File(
        filename=filename,
        version=version_of("foo-bar", filename),
        size=draw(st.integers(0, 2**40)),
        digests={"sha256": draw(hexadecimal)},
        upload_time=draw(st.none() | times),
        requires_python=draw(st.none() | st.sampled_from([">=3.8", ">=3.8,<4", "!=3.0.*,>=2.7"])),
        yanked=draw(st.none() | st.just("") | reasons),
        core_metadata=draw(st.none() | st.just({}) | st.fixed_dictionaries({"sha256": hexadecimal})),
        provenance=draw(st.none() | st.just("https://upstream.example/integrity?a=1&b=2")),
        url="https://upstream.example/" + filename,
    )


@st.composite
def projects(draw: st.DrawFn) -> Project:
    """A project that a page can hold."""
    listed = sort_files(draw(st.lists(files(), max_size=6, unique_by=lambda file: file.filename)))
    status = draw(st.sampled_from(["active", "archived", "deprecated", "something-new"]))
    return Project(
        name="foo-bar",
        files=listed,
        versions=sort_versions([file.version for file in listed] + draw(st.lists(st.sampled_from(["0.1", "9.0"])))),
        display_name="foo-bar",
        status=status,
        status_reason=draw(st.none() | reasons) if status != "active" else None,
        index="remote",
    )


def as_read(project: Project) -> Project:
    """What a reader of the project's page at L{PAGE_URL} knows of it."""
    return evolve(
        project,
        files=tuple(
            evolve(
                file,
                url=ADDRESS + file_path("remote", project.name, file),
                provenance=file.provenance and ADDRESS + file_path("remote", project.name, file) + ".provenance",
            )
            for file in project.files
        ),
    )


def without_json_only(project: Project) -> Project:
    """What HTML can say: neither sizes nor times, nor versions without files."""
    return evolve(
        project,
        files=tuple(evolve(file, size=None, upload_time=None) for file in project.files),
        versions=sort_versions([file.version for file in project.files]),
    )


@given(projects())
@settings(deadline=None)
def test_json_comes_back(project: Project) -> None:
    """Everything that a JSON page carries is read from it again."""
    page = simple_json.render_project(project, "../../../", ADDRESS)
    assert simple_json.parse_project(page, "foo-bar", PAGE_URL) == as_read(project)


@given(projects())
@settings(deadline=None)
def test_html_comes_back(project: Project) -> None:
    """Everything that an HTML page carries is read from it again."""
    page = simple_html.render_project(project, "../../../", ADDRESS)
    read = simple_html.parse_project(page, "text/html; charset=utf-8", "foo-bar", PAGE_URL)
    assert read == without_json_only(as_read(project))


@given(projects())
@settings(deadline=None)
def test_both_formats_say_the_same(project: Project) -> None:
    """A client learns the same from either page."""
    from_json = simple_json.parse_project(simple_json.render_project(project, ROOT, ADDRESS), "foo-bar", PAGE_URL)
    html = simple_html.render_project(project, ROOT, ADDRESS)
    from_html = simple_html.parse_project(html, "text/html", "foo-bar", PAGE_URL)
    assert without_json_only(from_json) == from_html


@given(projects())
@settings(deadline=None)
def test_html_for_readers_with_regular_expressions(project: Project) -> None:
    """One anchor a line, in the body, with double quotes: hatch's and uv's expressions find every file."""
    page = simple_html.render_project(project, ROOT, ADDRESS).decode()
    names = [file.filename for file in project.files]
    assert HATCH.findall(page) == names
    # uv's needs values that are not empty; a yank without a reason has none, by the standard's own example.
    assert UV.findall(page.replace('data-yanked=""', "")) == names
    lines = [line for line in page.split("\n") if "<a " in line]
    assert len(lines) == len(names)
    assert all(line.startswith("<a ") and line.endswith("</a><br />") for line in lines)


class Outline(HTMLParser):
    """Which elements lie in which, and what texts and addresses anchors have."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.paths: list[tuple[str, ...]] = []
        self.anchors: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.paths.append((*self.open, tag))
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "a":
            self.anchors.append((dict(attrs)["href"] or "", ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "a":
            self.anchors[-1] = (self.anchors[-1][0], self.anchors[-1][1] + data)


@given(projects())
@settings(deadline=None)
def test_html_is_well_formed(project: Project) -> None:
    """Meta tags lie in the head, anchors in the body, every element is closed, and text and address agree."""
    outline = Outline()
    outline.feed(simple_html.render_project(project, ROOT).decode())
    assert not outline.open
    assert {path for path in outline.paths if path[-1] == "meta"} == {("html", "head", "meta")}
    assert {path for path in outline.paths if path[-1] == "a"} <= {("html", "body", "a")}
    for href, text in outline.anchors:
        assert unquote(urlsplit(href).path.rpartition("/")[2]) == text
        assert not urlsplit(href).query


def local_file(**more: object) -> File:
    """A file of the local index."""
    values: dict[str, object] = {
        "filename": "foo_bar-1.0+cpu.1-py3-none-any.whl",
        "version": "1.0+cpu.1",
        "size": 7,
        "digests": {"sha256": "ab" * 32},
        **more,
    }
    return File(**values)  # type: ignore[arg-type]  # the test names the attributes


def test_json_page_in_full() -> None:
    """The keys of a page are the standard's, and no key is null."""
    file = local_file(
        upload_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        requires_python=">=3.8,<4",
        yanked="",
        core_metadata={"sha256": "cd" * 32},
    )
    page = json.loads(
        simple_json.render_project(Project("foo-bar", (file, local_file(filename="b")), ("1.0+cpu.1",)), ROOT)
    )
    assert page == {
        "meta": {"api-version": "1.4"},
        "name": "foo-bar",
        "versions": ["1.0+cpu.1"],
        "files": [
            {
                "filename": "foo_bar-1.0+cpu.1-py3-none-any.whl",
                "url": f"../../local/files/foo-bar/{'ab' * 32}/foo_bar-1.0%2Bcpu.1-py3-none-any.whl",
                "hashes": {"sha256": "ab" * 32},
                "requires-python": ">=3.8,<4",
                "core-metadata": {"sha256": "cd" * 32},
                "dist-info-metadata": {"sha256": "cd" * 32},
                "yanked": True,
                "size": 7,
                "upload-time": "2026-01-02T03:04:05Z",
            },
            {
                "filename": "b",
                "url": f"../../local/files/foo-bar/{'ab' * 32}/b",
                "hashes": {"sha256": "ab" * 32},
                "size": 7,
            },
        ],
    }


def test_html_page_in_full() -> None:
    """An HTML page, to the letter."""
    file = local_file(requires_python=">=3.8,<4", yanked="", core_metadata={"sha256": "cd" * 32})
    project = Project("foo-bar", (file,), ("1.0",), status="archived", status_reason='no "more"')
    assert simple_html.render_project(project, ROOT).decode() == (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n'
        "<head>\n"
        '<meta charset="utf-8">\n'
        '<meta name="pypi:repository-version" content="1.4">\n'
        '<meta name="pypi:project-status" content="archived">\n'
        '<meta name="pypi:project-status-reason" content="no &quot;more&quot;">\n'
        "<title>Links for foo-bar</title>\n"
        "</head>\n"
        "<body>\n"
        "<h1>Links for foo-bar</h1>\n"
        f'<a href="../../local/files/foo-bar/{"ab" * 32}/foo_bar-1.0%2Bcpu.1-py3-none-any.whl#sha256={"ab" * 32}"'
        ' data-requires-python="&gt;=3.8,&lt;4"'
        f' data-core-metadata="sha256={"cd" * 32}" data-dist-info-metadata="sha256={"cd" * 32}" data-yanked="">'
        "foo_bar-1.0+cpu.1-py3-none-any.whl</a><br />\n"
        "</body>\n"
        "</html>\n"
    )


def test_unknown_size_makes_it_version_1_0() -> None:
    """Where one size is not known, a page promises none: sizes are a must from version 1.1 on."""
    project = Project("foo-bar", (local_file(), local_file(filename="b-1.0.zip", size=None)), ("1.0",))
    page = json.loads(simple_json.render_project(project, ROOT))
    assert page["meta"] == {"api-version": "1.0"}
    assert "versions" not in page
    assert all("size" not in file for file in page["files"])
    assert b'content="1.0"' in simple_html.render_project(project, ROOT)


def test_core_metadata_without_a_digest() -> None:
    """Where only its existence is known, core metadata is true: an empty object could mean none."""
    page = json.loads(simple_json.render_project(Project("foo-bar", (local_file(core_metadata={}),)), ROOT))
    assert page["files"][0]["core-metadata"] is page["files"][0]["dist-info-metadata"] is True


def test_quarantined_project_offers_nothing() -> None:
    """A quarantined project has a page without files, in both formats."""
    project = Project("foo-bar", (local_file(),), ("1.0",), status="quarantined", status_reason="malware")
    page = json.loads(simple_json.render_project(project, ROOT))
    assert page["files"] == []
    assert page["project-status"] == {"status": "quarantined", "reason": "malware"}
    assert b"<a " not in simple_html.render_project(project, ROOT)


def test_versions_hold_every_files_version() -> None:
    """A page's versions cover its files, whatever the project says."""
    project = Project("foo-bar", (local_file(),), ("0.9",))
    assert json.loads(simple_json.render_project(project, ROOT))["versions"] == ["0.9", "1.0+cpu.1"]


def test_other_digests() -> None:
    """A digest that installers know goes into the fragment; others only into JSON."""
    for digests, fragment in (
        ({"sha512": "ab" * 64, "md5": "cd" * 16}, "#sha512=" + "ab" * 64),
        ({"md5": "cd" * 16}, "#md5=" + "cd" * 16),
        ({"blake2b_256": "ab" * 32}, ""),
        ({}, ""),
    ):
        file = local_file(digests=digests, core_metadata={"blake2b_256": "ab" * 32}, url="https://u.example/x")
        page = simple_html.render_project(Project("foo-bar", (file,), index="remote"), ROOT).decode()
        href = (
            f'href="../../remote/files/foo-bar/{digest_segment(file)}/foo_bar-1.0%2Bcpu.1-py3-none-any.whl{fragment}"'
        )
        assert href in page
        assert 'data-core-metadata="true"' in page


def test_control_characters_do_not_reach_html() -> None:
    """What HTML cannot hold is replaced; line ends stay what they are, and on one line."""
    page = simple_html.render_project(Project("foo-bar", (local_file(yanked="a\x00\x1b\x85\ud800\r\nb"),)), ROOT)
    assert 'data-yanked="a\ufffd\ufffd\ufffd\ufffd&#13;&#10;b"' in page.decode()


def test_names() -> None:
    """The list of projects names each once, with the address of its page."""
    listing = ProjectList((Listed("a"), Listed("foo-bar")))
    assert json.loads(simple_json.render_names(listing)) == {
        "meta": {"api-version": "1.4"},
        "projects": [{"name": "a"}, {"name": "foo-bar"}],
    }
    counted = ProjectList((Listed("a", 7), Listed("foo-bar", 5)), 9)
    assert json.loads(simple_json.render_names(counted)) == {
        "meta": {"api-version": "1.4", "_last-serial": 9},
        "projects": [{"name": "a", "_last-serial": 7}, {"name": "foo-bar", "_last-serial": 5}],
    }
    page = simple_html.render_names(listing).decode()
    assert '<meta name="pypi:repository-version" content="1.4">' in page
    outline = Outline()
    outline.feed(page)
    assert outline.anchors == [("a/", "a"), ("foo-bar/", "foo-bar")]
    assert HATCH.findall(page) == UV.findall(page) == ["a", "foo-bar"]
    assert urljoin("https://index.example/simple/", outline.anchors[1][0]) == "https://index.example/simple/foo-bar/"
