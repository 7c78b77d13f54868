"""What upstreams send: all spellings of good pages, and pages that must not be believed."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheddar.errors import UpstreamBroken
from cheddar.formats import simple_html, simple_json, simple_listing
from cheddar.model import File, Project

PAGE_URL = "https://up.example/simple/foo/"
SHA = "ab" * 32
FILE: dict[str, Any] = {
    "filename": "foo-1.0.tar.gz",
    "url": "https://files.example/foo-1.0.tar.gz",
    "hashes": {"sha256": SHA},
    "size": 5,
}


def page(*files: object, **more: object) -> dict[str, Any]:
    """A page as upstream would have it."""
    return {"meta": {"api-version": "1.1"}, "name": "foo", "versions": [], "files": list(files), **more}


def read(content: object) -> Project:
    """What is read of a page."""
    return simple_json.parse_project(json.dumps(content).encode(), "foo", PAGE_URL)


def read_file(**more: object) -> File:
    """What is read of a file with these keys."""
    (file,) = read(page({**FILE, **more})).files
    return file


def read_html(body: str, base_url: str = PAGE_URL, content_type: str = "text/html") -> Project:
    """What is read of an HTML page."""
    return simple_html.parse_project(body.encode(), content_type, "foo", base_url)


def test_unknown_keys_are_passed_over() -> None:
    """A newer upstream, and one with private keys, is read."""
    project = read(
        page({**FILE, "new": [1], "gpg-sig": True}, meta={"api-version": "1.99", "_last-serial": 5}, more={})
    )
    assert [file.filename for file in project.files] == ["foo-1.0.tar.gz"]
    assert (project.index, project.versions, project.status) == ("remote", ("1.0",), "active")


def test_display_name_and_byte_order_mark() -> None:
    """The name may be spelled in another way, and a byte order mark does no harm."""
    content = "\ufeff" + json.dumps(page(name="FOO"))
    assert simple_json.parse_project(content.encode(), "foo", PAGE_URL).display_name == "FOO"


def test_versions_are_united() -> None:
    """Versions are normalized, and cover the files; releases without files stay."""
    assert read(page(FILE, versions=["0.9", "1.0.0rc01", "0.9"])).versions == ("0.9", "1.0.0rc1", "1.0")


def test_a_version_is_listed_once() -> None:
    """However upstream spells it beside its files: 1.0.0 is 1.0, and the file's own spelling counts."""
    assert read(page(FILE, versions=["1.0.0", "1", "2", "2.0"])).versions == ("1.0", "2")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://files.example/a/foo-1.0.tar.gz", "https://files.example/a/foo-1.0.tar.gz"),
        ("../../files/foo-1.0.tar.gz", "https://up.example/files/foo-1.0.tar.gz"),
        ("/files/foo-1.0.tar.gz", "https://up.example/files/foo-1.0.tar.gz"),
        ("//cdn.example:8080/foo-1.0.tar.gz", "https://cdn.example:8080/foo-1.0.tar.gz"),
        ("foo-1.0.tar.gz?token=x#egg=foo", "https://up.example/simple/foo/foo-1.0.tar.gz?token=x"),
        ("https://user:secret@files.example/foo-1.0.tar.gz", "https://files.example/foo-1.0.tar.gz"),
        ("foo 1.0%20é.tar.gz", "https://up.example/simple/foo/foo%201.0%20%C3%A9.tar.gz"),
        ("http://[::1]:80/foo-1.0.tar.gz", "http://[::1]:80/foo-1.0.tar.gz"),
    ],
)
def test_addresses_are_absolute(url: str, expected: str) -> None:
    """A file's address is absolute, without fragment and without credentials."""
    assert read_file(url=url).url == expected


@pytest.mark.parametrize(
    "url",
    [
        "ftp://files.example/foo-1.0.tar.gz",
        "file:///etc/passwd",
        "gopher://x/",
        "javascript:alert(1)",
        "data:text/html,x",
        "http:///foo",
        "http://[::1/foo",
        "http://a b/foo",
        "http://a\\b/foo",
        "http://files.example:99999999/foo",
        "http://é.example/foo",
    ],
)
def test_other_addresses_are_not_offered(url: str) -> None:
    """A file that could not be fetched by HTTP is left out; the page stays."""
    assert [file.filename for file in read(page({**FILE, "url": url}, {**FILE, "filename": "foo-2.zip"})).files] == [
        "foo-2.zip"
    ]


@pytest.mark.parametrize("filename", ["", "../foo-1.0.tar.gz", "a/b.zip", ".hidden", "foo 1.zip", "é.zip", "x" * 300])
def test_impossible_names_are_not_offered(filename: str) -> None:
    """A file whose name could lead astray is left out."""
    assert not read(page({**FILE, "filename": filename})).files


@pytest.mark.parametrize(
    "filename", ["foo-1.0-variants.json", "foo-1.0.whl.sig", "unknown", "foo-1.0-1-2-py3-none-any.whl"]
)
def test_unknown_kinds_of_files_pass(filename: str) -> None:
    """A kind of file that nobody knows yet is listed like any other."""
    assert read_file(filename=filename).filename == filename


def test_digests() -> None:
    """Digests are lower case; one in the address fills a gap; unknown algorithms stay, nonsense goes."""
    assert read_file(hashes={"SHA256": SHA.upper(), "blake2b-256": SHA, "new": "cd" * 20, "odd": "xyz"}).digests == {
        "sha256": SHA,
        "blake2b_256": SHA,
        "new": "cd" * 20,
    }
    assert read_file(hashes={}, url=f"foo-1.0.tar.gz#sha256={SHA}&egg=foo").digests == {"sha256": SHA}
    assert read_file(hashes={"sha256": "cd" * 32}, url=f"x#sha256={SHA}").digests == {"sha256": "cd" * 32}
    assert read_file(hashes={}).digests == {}


def test_file_with_an_impossible_digest_is_not_offered() -> None:
    """A file that could not be verified as its page asks is left out."""
    assert not read(page({**FILE, "hashes": {"sha256": "abc"}})).files
    assert not read(page({**FILE, "hashes": {}, "url": "x#sha256=abc"})).files


@pytest.mark.parametrize("key", ["core-metadata", "dist-info-metadata", "data-dist-info-metadata"])
def test_spellings_of_core_metadata(key: str) -> None:
    """All three names of the key are read; false and null mean none."""
    assert read_file(**{key: {"sha256": SHA}}).core_metadata == {"sha256": SHA}
    assert read_file(**{key: True}).core_metadata == {}
    assert read_file(**{key: False}).core_metadata is None
    assert read_file(**{key: None}).core_metadata is None
    assert read_file(**{key: {"sha256": "xyz"}}).core_metadata is None


def test_the_standards_spelling_wins() -> None:
    """C{core-metadata} decides where there are several."""
    assert read_file(**{"core-metadata": False, "dist-info-metadata": {"sha256": SHA}}).core_metadata is None


@pytest.mark.parametrize(("yanked", "expected"), [(True, ""), ("why", "why"), (False, None), (None, None), ("", None)])
def test_yanked(yanked: object, expected: str | None) -> None:
    """A yank is true, or a reason; an empty string is none."""
    assert read_file(yanked=yanked).yanked == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
        ("2026-01-02T03:04:05.5Z", datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=timezone.utc)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123_456, tzinfo=timezone.utc)),
        ("2026-01-02T03:04:05+01:30", datetime(2026, 1, 2, 1, 34, 5, tzinfo=timezone.utc)),
        ("2026-01-02 03:04:05-0100", datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone.utc)),
        ("2026-13-02T03:04:05Z", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_upload_times(text: str | None, expected: datetime | None) -> None:
    """Upstream's upload times are kept to the microsecond; one that cannot be read is none."""
    assert read_file(**{"upload-time": text}).upload_time == expected


def test_provenance() -> None:
    """Only a secure address is passed on."""
    assert read_file(provenance="https://up.example/p").provenance == "https://up.example/p"
    assert read_file(provenance="http://127.0.0.1:8000/p").provenance == "http://127.0.0.1:8000/p"
    assert read_file(provenance="http://up.example/p").provenance is None
    assert read_file(provenance="javascript:alert(1)").provenance is None
    assert read_file(provenance=None).provenance is None


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"project-status": {"status": "archived", "reason": "old"}}, ("archived", "old")),
        ({"project-status": {"status": "Deprecated"}}, ("deprecated", None)),
        ({"project-status": {}}, ("active", None)),
        ({"project-status": None}, ("active", None)),
        (
            {"meta": {"api-version": "1.4", "project-status": "archived", "project-status-reason": "x"}},
            ("archived", "x"),
        ),
    ],
)
def test_status(more: dict[str, Any], expected: tuple[str, str | None]) -> None:
    """The status marker is read where the standard has it, and where its example has it."""
    project = read(page(FILE, **more))
    assert (project.status, project.status_reason) == expected


def test_quarantined_upstream() -> None:
    """A quarantined project's files are not even kept."""
    assert read(page(FILE, **{"project-status": {"status": "quarantined"}})).files == ()


def test_repeated_file() -> None:
    """A file listed twice is one; with another digest, nobody can tell which, and the page is refused."""
    assert len(read(page(FILE, {**FILE, "hashes": {"md5": "ab" * 16}})).files) == 1
    with pytest.raises(UpstreamBroken, match="twice"):
        read(page(FILE, {**FILE, "hashes": {"sha256": "cd" * 32}}))


BAD_PAGES: dict[str, object] = {
    "a list": [],
    "a string": "x",
    "null": None,
    "no meta": {"name": "foo", "files": []},
    "meta is a list": page(meta=[]),
    "no version": page(meta={}),
    "version is a number": page(meta={"api-version": 1.1}),
    "next major version": page(meta={"api-version": "2.0"}),
    "version 10": page(meta={"api-version": "10.0"}),
    "version without minor": page(meta={"api-version": "1"}),
    "no name": {"meta": {"api-version": "1.0"}, "files": []},
    "wrong name": page(name="bar"),
    "name is a number": page(name=5),
    "no files": {"meta": {"api-version": "1.0"}, "name": "foo"},
    "files is an object": page() | {"files": {}},
    "files is null": page() | {"files": None},
    "a file is a string": page("foo-1.0.tar.gz"),
    "a file is null": page(None),
    "no filename": page({"url": "x", "hashes": {}}),
    "filename is null": page({**FILE, "filename": None}),
    "no url": page({"filename": "foo-1.0.zip", "hashes": {}}),
    "url is a number": page({**FILE, "url": 5}),
    "hashes is a list": page({**FILE, "hashes": []}),
    "hashes is null": page({**FILE, "hashes": None}),
    "digest is a number": page({**FILE, "hashes": {"sha256": 5}}),
    "size is a string": page({**FILE, "size": "5"}),
    "size is true": page({**FILE, "size": True}),
    "size is a fraction": page({**FILE, "size": 5.5}),
    "size is negative": page({**FILE, "size": -5}),
    "size is huge": page({**FILE, "size": 2**63}),
    "requires-python is a list": page({**FILE, "requires-python": []}),
    "yanked is a number": page({**FILE, "yanked": 1}),
    "core-metadata is a string": page({**FILE, "core-metadata": "sha256=x"}),
    "upload-time is a number": page({**FILE, "upload-time": 5}),
    "provenance is an object": page({**FILE, "provenance": {}}),
    "project-status is a list": page(**{"project-status": []}),
    "project-status.status is a number": page(**{"project-status": {"status": 5}}),
    "versions is an object": page(versions={"1.0": []}),
    "a version is a number": page(versions=[1.0]),
    "long string": page({**FILE, "yanked": "x" * 20_000}),
    "half a surrogate pair in a reason": page({**FILE, "yanked": "\ud800"}),
    "half a surrogate pair in a name": page({**FILE, "filename": "\udfff"}),
    "the original's own shape": {"project": "foo", "versions": {"foo-1.0.tar.gz": "/local/foo-1.0.tar.gz"}},
}


@pytest.mark.parametrize("name", BAD_PAGES)
def test_bad_pages(name: str) -> None:
    """A page of the wrong shape is refused as upstream's mistake, and never half read."""
    with pytest.raises(UpstreamBroken) as caught:
        read(BAD_PAGES[name])
    assert str(caught.value).startswith("Upstream's page for foo ")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{",
        b'{"meta": {"api-version": "1.0"}, "name": "foo", "files": [], "x": NaN}',
        b'{"x": Infinity}',
        b'{"x": ' + b"9" * 10_000 + b"}",
        b"[" * 1_000_000,
        b'{"a":' * 500_000,
        b"\xff\xfe\x00",
        json.dumps(page()).encode("utf-16"),
    ],
)
def test_bad_json(body: bytes) -> None:
    """What is not JSON, or JSON made to hurt, is refused."""
    with pytest.raises(UpstreamBroken):
        simple_json.parse_project(body, "foo", PAGE_URL)


def test_too_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of files, and of versions, is bounded."""
    monkeypatch.setattr(simple_listing, "MAX_FILES", 10)
    monkeypatch.setattr(simple_html, "MAX_FILES", 10)
    entries = [{**FILE, "filename": f"foo-{number}.zip"} for number in range(11)]
    assert len(read(page(*entries[:10])).files) == 10
    with pytest.raises(UpstreamBroken, match="more than 10"):
        read(page(*entries))
    with pytest.raises(UpstreamBroken, match="more than 10"):
        read(page(versions=["1"] * 11))
    with pytest.raises(UpstreamBroken, match="more than 10"):
        read_html("".join(f'<a href="foo-{number}.zip">x</a>' for number in range(11)))


shapes = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FILE, "yanked", "status"]), inner),
    max_leaves=10,
)


@given(st.sampled_from(["meta", "name", "files", "versions", "project-status"]), shapes, shapes)
@settings(deadline=None, max_examples=300)
def test_any_shape(key: str, value: object, file: object) -> None:
    """Whatever stands where, the answer is a project or the one error."""
    for content in (page(FILE) | {key: value}, page(file), page({**FILE, **file} if isinstance(file, dict) else FILE)):
        try:
            assert read(content).name == "foo"
        except UpstreamBroken:
            continue


FIND_LINKS = """
<html><head><title>Index of /foo</title></head><body><h1>Index of /foo</h1><pre>
<a href="?C=N;O=D">Name</a> <a href="#top">top</a> <a name="x">no address</a> <a href="/">Parent Directory</a>
<a href="http://[broken">broken</a> <a href="index.html">index.html</a> <a href="other-1.0.tar.gz">other</a>
<a href="foo-bar-1.0.tar.gz">foo-bar</a> <a href='foo-1.0.tar.gz'>foo-1.0.ta..&gt;</a>  2020-01-01 5K
<A HREF=foo-2.0-py3-none-any.whl#md5=abababababababababababababababab>foo</A>
<a href="mailto:x@y.example">mail</a> <a href="foo-3.0.tar.gz#md5">odd fragment</a></pre></body></html>
"""


def test_any_page_with_links() -> None:
    """A plain listing of a folder serves as an index: links to this project's files count, others do not."""
    project = read_html(FIND_LINKS)
    assert [file.filename for file in project.files] == ["foo-1.0.tar.gz", "foo-2.0-py3-none-any.whl", "foo-3.0.tar.gz"]
    assert project.files[0].url == PAGE_URL + "foo-1.0.tar.gz"
    assert project.files[1].digests == {"md5": "ab" * 16}
    assert project.versions == ("1.0", "2.0", "3.0")


LINKS = '<html><body><a href="foo-1.0.zip">foo-1.0.zip</a><br>\n<a href="foo-2.0.zip">foo-2.0.zip</a><br>\n'


def test_a_page_that_is_cut() -> None:
    """What a server sends that tells too short a length is no page: the rest of its files would pass for removed."""
    assert len(read_html(LINKS).files) == 2, "nobody has to write the end of the page"
    one = LINKS[: LINKS.index("</a>")]
    assert len(read_html(one).files) == 1, "nor the end of links, where none has one"
    second = LINKS.rindex("<a ")
    # Between two links nothing tells.
    for end in (*range(len(one) + 1, len(one) + 4), *range(second + 1, LINKS.rindex("</a>") + 4)):
        with pytest.raises(UpstreamBroken, match="is cut"):
            read_html(LINKS[:end])


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("", "https://up.example/simple/foo/f/foo-1.0.zip"),
        ('<base href="/other/">', "https://up.example/other/f/foo-1.0.zip"),
        ('<base href="https://cdn.example/x/"><base href="/second/">', "https://cdn.example/x/f/foo-1.0.zip"),
        ('<base target="_top"><base href="../">', "https://up.example/simple/f/foo-1.0.zip"),
        ('<base href="http://[broken">', "https://up.example/simple/foo/f/foo-1.0.zip"),
    ],
)
def test_base_address(base: str, expected: str) -> None:
    """C{<base href>} is honoured, the first one."""
    assert read_html(f'{base}<a href="f/foo-1.0.zip">foo-1.0.zip</a>').files[0].url == expected


def test_attributes() -> None:
    """Everything that the standard puts into attributes is read, escaped or not."""
    (file,) = read_html(
        f'<a href="foo-1.0%2Bcpu.1-py3-none-any.whl#sha256={SHA.upper()}" data-requires-python="&gt;=3.8,<4"'
        f' data-yanked="a &quot;b&quot; &amp; c" data-dist-info-metadata="sha256={SHA}" data-gpg-sig="false"'
        ' data-provenance="https://up.example/p?a=1&amp;b=2">foo-1.0+cpu.1-py3-none-any.whl</a>'
    ).files
    assert file == File(
        filename="foo-1.0+cpu.1-py3-none-any.whl",
        version="1.0+cpu.1",
        digests={"sha256": SHA},
        requires_python=">=3.8,<4",
        yanked='a "b" & c',
        core_metadata={"sha256": SHA},
        provenance="https://up.example/p?a=1&b=2",
        url=PAGE_URL + "foo-1.0%2Bcpu.1-py3-none-any.whl",
    )


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("data-core-metadata", {}),
        ('data-core-metadata="true"', {}),
        (f'data-core-metadata="sha256={SHA}" data-dist-info-metadata="true"', {"sha256": SHA}),
        ('data-core-metadata="false"', None),
        ('data-core-metadata="sha256=xyz"', None),
        ("", None),
    ],
)
def test_core_metadata_attribute(attribute: str, expected: object) -> None:
    """The attribute says true, a digest, or (against the standard) false."""
    assert read_html(f'<a href="foo-1.0-py3-none-any.whl" {attribute}>foo</a>').files[0].core_metadata == expected


@pytest.mark.parametrize(("attribute", "expected"), [("data-yanked", ""), ('data-yanked=""', ""), ("", None)])
def test_yanked_attribute(attribute: str, expected: str | None) -> None:
    """A yank needs no reason."""
    assert read_html(f'<a href="foo-1.0.zip" {attribute}>foo</a>').files[0].yanked == expected


VERSION_1_4 = '<meta name="pypi:repository-version" content="1.4">'


def test_meta_tags() -> None:
    """The status marker is read; an index page without files is an answer."""
    project = read_html(
        VERSION_1_4 + '<meta name="pypi:project-status" content="archived">'
        '<meta name="pypi:project-status-reason" content="a &lt;b&gt;">'
    )
    assert (project.files, project.status, project.status_reason) == ((), "archived", "a <b>")
    assert read_html(VERSION_1_4.replace("1.4", "1.99")).files == ()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "plain text",
        "<html><body>Please log in. <form><input></form></body></html>",
        '<html><body>Please log in. <a href="/forgotten">Password forgotten?</a></body></html>',
        VERSION_1_4.replace("1.4", "2.0") + '<a href="foo-1.0.zip">foo</a>',
        VERSION_1_4.replace("1.4", "next") + '<a href="foo-1.0.zip">foo</a>',
        '<a href="foo-1.0.zip#sha256=' + SHA + '">x</a><a href="b/foo-1.0.zip#sha256=' + "cd" * 32 + '">x</a>',
        "<![weird[ x ]]>" + '<a href="foo-1.0.zip">foo</a>',
    ],
)
def test_bad_html(body: str) -> None:
    """A page to log in, an empty answer, another major version: upstream's mistake, not an empty project."""
    with pytest.raises(UpstreamBroken):
        read_html(body)


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("text/html; charset=utf-8", "utf-8"),
        ("text/html", "utf-8"),
        ('text/html; charset="ISO-8859-1"', "latin-1"),
        ("text/html; charset=windows-1252", "cp1252"),
    ],
)
def test_charsets(content_type: str, encoding: str) -> None:
    """The page's charset is the one of its Content-Type."""
    body = '<a href="foo-1.0.zip" data-yanked="é">foo</a>'.encode(encoding)
    assert simple_html.parse_project(body, content_type, "foo", PAGE_URL).files[0].yanked == "é"


@pytest.mark.parametrize("charset", ["utf-7", "punycode", "zip", "rot13", "nonsense", "idna", "undefined"])
def test_odd_charsets(charset: str) -> None:
    """A charset that no page has is taken for UTF-8, not tried out."""
    body = b'<a href="foo-1.0.zip" data-yanked="\xc3\xa9">foo</a>'
    assert simple_html.parse_project(body, f"text/html; charset={charset}", "foo", PAGE_URL).files[0].yanked == "é"


@pytest.mark.parametrize(
    "unit",
    [
        "<",
        "<a ",
        "<a href=",
        "<!--",
        "<!",
        "</",
        "&",
        "&#",
        "<![CDATA[",
        "<?",
        "<script>",
        "<a b='",
        '<a x="y" ',
        "<a/",
    ],
)
def test_hostile_html_costs_little(unit: str) -> None:
    """Repetition of what is not finished does not keep the reader busy."""
    started = time.process_time()
    with pytest.raises(UpstreamBroken):
        read_html(unit * (1_000_000 // len(unit)))
    # 3 s with nobody beside it; a reader that is quadratic takes at least 24.
    assert time.process_time() - started < 10
