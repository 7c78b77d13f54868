"""What pages say of a project and its files, key by key, and that readers of every kind understand it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from datetime import datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import html5lib
import mousebender.simple
import pytest
from packaging.utils import canonicalize_name
from pypi_simple import DistributionPackage, IndexPage, ProjectPage

from tests.conformance.served import FROM_UPLOADS, FROM_UPSTREAM, HTML, Served
from tests.support.distributions import core_metadata_of, make_sdist, make_wheel, sha256
from tests.support.server import JSON
from tests.support.upstream_content import UPLOAD_TIME

UPLOAD_TIME_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z\Z", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
REASON = "<b>\"x\" & 'é'</b>"
HATCH = re.compile(r"<a [^>]+>([^<]+)</a>")
UV = re.compile(r"""<a(?:\s*[\w-]+=(?:'[^']+'|"[^"]+"))* *>([^<>]+)</a>""")


def is_hashes(value: object) -> bool:
    """A dictionary of digests, by the name of their algorithm in lower case."""
    return isinstance(value, dict) and all(
        re.match(r"[a-z0-9_]+\Z", name) and re.match(r"[0-9a-f]+\Z", digest) for name, digest in value.items()
    )


def is_yanked(value: object) -> bool:
    """A boolean, or a string that says something."""
    return isinstance(value, bool) or (isinstance(value, str) and bool(value))


#: Each key of a file's entry, what its value is, and whether it must be there.
FILE_KEYS: dict[str, tuple[Callable[[Any], bool], bool]] = {
    "filename": (lambda value: isinstance(value, str), True),
    "url": (lambda value: isinstance(value, str) and not re.search(r"[\s\"<>?#]", value), True),
    "hashes": (is_hashes, True),
    "size": (lambda value: type(value) is int, True),
    "requires-python": (lambda value: isinstance(value, str) and bool(value), False),
    "core-metadata": (lambda value: value is True or (is_hashes(value) and value), False),
    "dist-info-metadata": (lambda value: value is True or (is_hashes(value) and value), False),
    "yanked": (is_yanked, False),
    "upload-time": (lambda value: UPLOAD_TIME_FORM.match(value) is not None, False),
}


def public(document: dict[str, Any]) -> dict[str, Any]:
    """Without the keys that begin with an underscore: those are a server's own affair (PEP 691)."""
    return {key: value for key, value in document.items() if not key.startswith("_")}


class Links(HTMLParser):
    """The anchors of a page, as the standard library reads them: address, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: list[tuple[str, dict[str, str | None], str]] = []
        self.meta: dict[str, str | None] = {}
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a link, or what the head says."""
        found = dict(attrs)
        if tag == "a":
            self.anchors.append((found.pop("href") or "", found, ""))
        elif tag == "meta" and "name" in found:
            self.meta[found["name"] or ""] = found["content"]
        self._inside = tag == "a"

    def handle_data(self, data: str) -> None:
        """Note a link's text."""
        if self._inside:
            href, attributes, text = self.anchors[-1]
            self.anchors[-1] = (href, attributes, text + data)

    def handle_endtag(self, tag: str) -> None:
        """The text is over."""
        self._inside = False


async def links(served: Served, project: str) -> Links:
    """A project's HTML page, read."""
    answer = await served.page(project, "text/html")
    assert answer.status == 200, answer
    return Links(answer.body.decode())


async def publish_all_sorts(served: Served) -> dict[str, bytes]:
    """Files that have something in every key and attribute. @return: contents by file name."""
    there = dict(
        [
            make_wheel("demo", "1.0", requires_python=">=3.8,<4", requires=("click>=2",)),
            make_sdist("demo", "1.0", requires_python=">=3.8"),
            make_wheel("demo", "1!2.0rc1+cpu.1"),
            make_wheel("demo", "0.9.post1.dev2", requires_python="!=3.0.*,>=2.7"),
            make_sdist("demo", "3.0"),
        ]
    )
    for filename, content in there.items():
        answer = await served.publish(filename, content)
        assert answer.status == 200, answer
    await served.yank("demo", "1.0", REASON)
    await served.yank("demo", "3.0", "")
    return there


@pytest.mark.conforms("PEP 691", "Project page: every key has the type of the specification, and none is null")
async def test_every_key(served: Served) -> None:
    """What is not known is left out: installers refuse a whole page for one null."""
    there = await publish_all_sorts(served)
    page = await served.project_page_json("demo")
    assert set(page) == {"meta", "name", "versions", "files"}
    assert public(page["meta"]) == {"api-version": "1.4"}
    assert page["name"] == "demo"
    assert {file["filename"] for file in page["files"]} == set(there)
    for file in page["files"]:
        assert set(file) <= set(FILE_KEYS)
        for key, (is_right, needed) in FILE_KEYS.items():
            assert is_right(file[key]) if key in file else not needed, (key, file)
    for key in FILE_KEYS:
        assert any(key in file for file in page["files"]), f"the control: no file has {key}"


@pytest.mark.conforms("PEP 691", "Project list: meta and names, nothing that the specification does not know")
async def test_the_list(served: Served) -> None:
    """One dictionary for each project, with its name."""
    await served.publish_wheel("demo")
    await served.publish_wheel("other")
    for name in ("demo", "other"):
        assert (await served.page(name)).status == 200
    document = (await served.get(served.list_url, {"Accept": JSON})).json()
    assert public(document) == {"meta": document["meta"], "projects": document["projects"]}
    assert public(document["meta"]) == {"api-version": "1.4"}
    assert [public(project) for project in document["projects"]] == [{"name": "demo"}, {"name": "other"}]


@pytest.mark.conforms("PEP 503", "Files: the address gives the bytes that the hash is of")
@pytest.mark.conforms("PEP 691", "hashes: sha256 of the file's bytes")
@pytest.mark.conforms("PEP 700", "size: of every file, in bytes")
async def test_hashes_and_sizes(served: Served) -> None:
    """Each file is what the page says of it, by either format."""
    there = await publish_all_sorts(served)
    for file in (await served.project_page_json("demo"))["files"]:
        content = there[file["filename"]]
        assert (file["hashes"]["sha256"], file["size"]) == (sha256(content), len(content))
        assert (await served.get(urljoin(served.page_url("demo"), file["url"]))).body == content
    for href, _, text in (await links(served, "demo")).anchors:
        address = urlsplit(urljoin(served.page_url("demo"), href))
        assert address.fragment == f"sha256={sha256(there[text])}"
        assert (await served.get(address.path)).body == there[text]


@pytest.mark.conforms("PEP 700", "versions: those of the files, normalized, each once")
async def test_versions(served: Served) -> None:
    """Every file's version is there, whatever its spelling in the file's name."""
    await publish_all_sorts(served)
    await served.publish(*make_sdist("demo", "4.0.RC1"))
    page = await served.project_page_json("demo")
    assert page["versions"] == ["0.9.post1.dev2", "1.0", "3.0", "4.0rc1", "1!2.0rc1+cpu.1"]


@pytest.mark.conforms("PEP 700", "upload-time: when the file was published here, in UTC")
@pytest.mark.parametrize(("index", "origin"), FROM_UPLOADS)
async def test_upload_time(served: Served) -> None:
    """A file that is uploaded again keeps its time: nothing has changed."""
    filename, content = make_wheel("demo", "1.0")
    times = []
    for _ in range(2):
        await served.publish(filename, content)
        (file,) = (await served.project_page_json("demo"))["files"]
        times.append(file["upload-time"])
        seconds = datetime.fromisoformat(times[-1].replace("Z", "+00:00")).timestamp()
        served.clock.later(7200)
    assert times[0] == times[1]
    assert 7200 < served.clock.seconds() - seconds < 3 * 7200


@pytest.mark.conforms("PEP 700", "upload-time: upstream's word for upstream's files, never the time of caching")
@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)
async def test_upstreams_upload_time(served: Served) -> None:
    """Also once the file is cached; where upstream says nothing, nothing is said."""
    await served.publish_wheel("demo", "1.0")
    await served.publish(*make_wheel("demo", "2.0"), upload_time=None)
    await served.publish(*make_wheel("demo", "3.0"), upload_time="2020-02-29T23:59:59Z")
    for _ in range(2):
        files = (await served.project_page_json("demo"))["files"]
        assert [file.get("upload-time") for file in files] == [UPLOAD_TIME, None, "2020-02-29T23:59:59Z"]
        assert "upload-time" not in files[1]
        for address in (await served.addresses("demo")).values():
            assert (await served.get(address)).status == 200
        await served.forget("demo")


@pytest.mark.conforms("PEP 503", "data-requires-python: escaped in HTML, as it is in JSON")
async def test_requires_python(served: Served) -> None:
    """Each reader gets the specifier as its author wrote it."""
    specifiers = {"1.0": ">=3.8,<4", "2.0": ">=3.8; \"x\" & 'y' <4", "3.0": None}
    for version, specifier in specifiers.items():
        await served.publish(*make_wheel("demo", version, requires_python=specifier))
    files = (await served.project_page_json("demo"))["files"]
    assert [file.get("requires-python") for file in files] == list(specifiers.values())
    read = (await links(served, "demo")).anchors
    assert [attributes.get("data-requires-python") for _, attributes, _ in read] == list(specifiers.values())
    text = (await served.page("demo", "text/html")).body.decode()
    assert 'data-requires-python="&gt;=3.8,&lt;4"' in text
    assert text.count("data-requires-python") == 2


@pytest.mark.conforms("PEP 658", "Core metadata: what is announced is there, with that hash, as it is in the wheel")
async def test_core_metadata(served: Served) -> None:
    """Installers that read it instead of the file are not misled; where it is not announced, it is not there."""
    there = await publish_all_sorts(served)
    announced = set()
    for file in (await served.project_page_json("demo"))["files"]:
        answer = await served.get(urljoin(served.page_url("demo"), file["url"]) + ".metadata")
        if "core-metadata" not in file:
            assert answer.status == 404
            continue
        announced.add(file["filename"])
        assert file["core-metadata"] == {"sha256": sha256(answer.body)}
        assert answer.status == 200
        if file["filename"].endswith(".whl"):
            assert answer.body == core_metadata_of(there[file["filename"]])
    assert announced >= {filename for filename in there if filename.endswith(".whl")}


@pytest.mark.conforms("PEP 714", "core-metadata: beside it the same under the older name, in both formats")
async def test_both_names_of_core_metadata(served: Served) -> None:
    """Clients from before the new name find it; a file that has none has neither key nor attribute."""
    await publish_all_sorts(served)
    read = {text: attributes for _, attributes, text in (await links(served, "demo")).anchors}
    for file in (await served.project_page_json("demo"))["files"]:
        attributes = read[file["filename"]]
        if "core-metadata" in file:
            expected = f"sha256={file['core-metadata']['sha256']}"
            assert file["dist-info-metadata"] == file["core-metadata"]
            assert attributes["data-core-metadata"] == attributes["data-dist-info-metadata"] == expected
        else:
            assert "dist-info-metadata" not in file
            assert not {"data-core-metadata", "data-dist-info-metadata"} & set(attributes)


@pytest.mark.conforms("PEP 503", "data-gpg-sig: on no link, as there is no signature beside any file")
async def test_no_signatures(served: Served) -> None:
    """Nobody is sent to a signature that is not there."""
    await publish_all_sorts(served)
    assert all("gpg-sig" not in file for file in (await served.project_page_json("demo"))["files"])
    assert all("data-gpg-sig" not in attributes for _, attributes, _ in (await links(served, "demo")).anchors)
    for address in (await served.addresses("demo")).values():
        assert (await served.get(f"{address}.asc")).status == 404


@pytest.mark.conforms("PEP 629", "API version: 1.4 in the head of every HTML page")
async def test_the_version_in_html(served: Served) -> None:
    """As in JSON; HTML stays at 1.4 for good (PEP 833)."""
    await served.publish_wheel("demo")
    for path in (served.list_url, served.page_url("demo")):
        for accept in (HTML, "text/html"):
            text = (await served.get(path, {"Accept": accept})).body.decode()
            assert Links(text).meta == {"pypi:repository-version": "1.4"}
            head = text[text.index("<head>") : text.index("</head>")]
            assert '<meta name="pypi:repository-version" content="1.4">' in head


@pytest.mark.conforms("PEP 503", "HTML: valid HTML5 with one anchor a file, its text the last part of the address")
async def test_html_to_the_letter(served: Served) -> None:
    """A strict parser finds nothing to complain of; anchors lie in the body, and hold nothing but text."""
    there = await publish_all_sorts(served)
    for path, texts in ((served.page_url("demo"), set(there)), (served.list_url, {"demo"})):
        body = (await served.get(path, {"Accept": "text/html"})).body
        assert body.startswith(b"<!DOCTYPE html>")
        tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(body)
        anchors = tree.findall("body/a")
        assert len(anchors) == len(list(tree.iter("a"))) == len(texts)
        assert {anchor.text for anchor in anchors} == texts
        assert not tree.findall(".//base")
        for anchor in anchors:
            assert len(anchor) == 0
            assert unquote(urlsplit(anchor.get("href")).path.rstrip("/").rpartition("/")[2]) == anchor.text


@pytest.mark.conforms("PEP 503", "HTML: readers with regular expressions find every file")
async def test_regular_expressions(served: Served) -> None:
    """hatch, and what uv tests uploads with: one link a line, double quotes, no bare angle bracket."""
    there = await publish_all_sorts(served)
    text = (await served.page("demo", "text/html")).body.decode()
    assert set(HATCH.findall(text)) == set(there)
    # A yank without a reason has no value; this reader knows no empty values.
    assert set(UV.findall(text.replace(' data-yanked=""', ""))) == set(there)
    assert text.count("<a ") == len([line for line in text.splitlines() if "<a " in line]) == len(there)


def told(package: DistributionPackage) -> tuple[object, ...]:
    """What both formats say of a file."""
    return (
        *(package.filename, package.project, package.version, package.package_type, package.url.partition("#")[0]),
        *(package.digests, package.requires_python, package.is_yanked, package.yanked_reason or None),
        *(package.has_metadata, package.metadata_digests),
    )


@pytest.mark.conforms("PEP 691", "Formats: HTML and JSON say the same")
async def test_as_pypi_simple_reads_it(served: Served) -> None:
    """Another's reader of the Simple API takes both formats without a warning, and to it they are one page."""
    there = await publish_all_sorts(served)
    base = f"http://cheddar.example{served.page_url('demo')}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_json = ProjectPage.from_json_data(await served.project_page_json("demo"), base)
        from_html = ProjectPage.from_html("demo", (await served.page("demo", "text/html")).body, base, "utf-8")
        listed = IndexPage.from_html((await served.get(served.list_url, {"Accept": HTML})).body)
        assert listed.projects == ["demo"]
        listed = IndexPage.from_json_data((await served.get(served.list_url, {"Accept": JSON})).json())
        assert listed.projects == ["demo"]
    assert from_json.repository_version == from_html.repository_version == "1.4"
    assert [told(package) for package in from_json.packages] == [told(package) for package in from_html.packages]
    assert {package.filename for package in from_html.packages} == set(there)
    by_name = {package.filename: package for package in from_json.packages}
    assert by_name["demo-1.0.tar.gz"].yanked_reason == REASON
    assert by_name["demo-3.0.tar.gz"].is_yanked
    assert {canonicalize_name(package.project or "") for package in from_html.packages} == {"demo"}


@pytest.mark.conforms("PEP 691", "Formats: HTML and JSON say the same")
async def test_as_mousebender_reads_it(served: Served) -> None:
    """One more reader of both formats."""
    await publish_all_sorts(served)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # It knows more than it says: its reader of HTML warns of all that is newer than 1.1.
        warnings.simplefilter("ignore", mousebender.simple.APIVersionWarning)
        read = []
        for accept in (JSON, HTML):
            answer = await served.page("demo", accept)
            details = mousebender.simple.parse_project_details(
                answer.body.decode(), answer.headers["content-type"], "demo"
            )
            read.append(details)
            listed = await served.get(served.list_url, {"Accept": accept})
            names = mousebender.simple.parse_project_index(listed.body.decode(), listed.headers["content-type"])
            assert [project["name"] for project in names["projects"]] == ["demo"]
    for file in read[0]["files"]:
        for key in ("size", "upload-time"):
            del file[key]  # type: ignore[misc]  # what HTML has no place for
    assert read[0]["files"] == read[1]["files"]
    assert read[0]["name"] == read[1]["name"] == "demo"
