"""The Simple API's HTML (PEP 503, 592, 629, 658, 714, 792): pages to write, and upstream's pages to read."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from html import escape
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from attrs import evolve, frozen
from mousebender.simple import from_project_details_html

from cheddar.errors import UpstreamBroken
from cheddar.formats.links import file_path
from cheddar.formats.provenance import provenance_url, told_below
from cheddar.formats.simple_json import API_VERSION, api_version, offered_files
from cheddar.formats.simple_listing import MAX_FILES, read_project
from cheddar.model import File, Project, ProjectList

#: Digests that every installer knows in a URL's fragment; uv refuses a page with another one.
_FRAGMENT_DIGESTS = ("sha256", "sha512", "sha384", "md5")

# Control characters have no place in HTML, not even as references; those that begin a new line would make two
# lines of an anchor.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_ENDS = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}

# Other encodings are not met on such pages, and some of Python's are slow on hostile input.
_ENCODINGS = ("utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9._-]{1,40})", re.ASCII | re.IGNORECASE)

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{meta}
<title>{title}</title>
</head>
<body>
<h1>{title}</h1>
{anchors}</body>
</html>
"""


def render_project(project: Project, root: str, address: str = "") -> bytes:
    """
    A project's page: each file one anchor on a line of its own, a child of the body, for the sake of readers that
    look with regular expressions.

    Source: simple repository API, "Base HTML API".

    @param root: the way from the page to the root of the server, such as C{../../}.
    @param address: the one that users see, for what must not be relative (L{told_below}); empty: that is left out.
    """
    meta = [("pypi:repository-version", api_version(project))]
    if project.status != "active":
        meta.append(("pypi:project-status", project.status))
        if project.status_reason:
            meta.append(("pypi:project-status-reason", project.status_reason))
    below = told_below(address)
    anchors = "".join(_render_file(project, file, root, below) for file in offered_files(project))
    return _page(f"Links for {project.name}", meta, anchors)


def render_names(listing: ProjectList) -> bytes:
    """The list of projects."""
    anchors = "".join(f'<a href="{_attribute(name)}/">{_attribute(name)}</a><br />\n' for name in listing.names)
    return _page("Simple index", [("pypi:repository-version", API_VERSION)], anchors)


def parse_project(body: bytes, content_type: str, name: str, base_url: str) -> Project:
    """
    Read an upstream's page: one of the Simple API, or any that has anchors to the project's files.

    @param content_type: as upstream sent it.
    @param name: the normalized name that was asked for.
    @param base_url: the URL that the page came from, after redirects.
    @raise UpstreamBroken: this is no such page, but say one to log in.
    """
    reader = _PageReader()
    try:
        reader.feed(_decode(body, content_type))
    except (AssertionError, ValueError, RecursionError) as error:
        raise UpstreamBroken(f"Upstream's page for {name} is not HTML that can be read: {error}.") from error
    if reader.is_cut:
        raise UpstreamBroken(f"Upstream's page for {name} is cut: it ends in the middle of a link.")
    version = reader.meta.get("pypi:repository-version")
    page = _to_pep_691(reader, name)
    page["meta"] = {"api-version": version if version and "." in version else f"{version or 1}.0"}
    page["project-status"] = {
        "status": reader.meta.get("pypi:project-status"),
        "reason": reader.meta.get("pypi:project-status-reason"),
    }
    project = read_project(page, name, _base(reader.base, base_url))
    # Links to a parent folder, to documentation, to other projects' files.
    files = tuple(file for file in project.files if file.version)
    if version is None and not files:
        raise UpstreamBroken(f"Upstream's page for {name} is no page of a package index: it links to no file of it.")
    return evolve(project, files=files)


@frozen
class _Anchor:
    href: str
    attributes: Mapping[str, str | None]


class _PageReader(HTMLParser):
    """Takes out of a page what C{mousebender} leaves: the base address, the status, the anchors as they are."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base = ""
        self.meta: dict[str, str] = {}
        self.anchors: list[_Anchor] = []
        self._ends = 0
        self._in_link = False

    @property
    def is_cut(self) -> bool:
        """
        Whether the page ends within a tag, or within a link where others are closed. A server that tells too short a
        length sends the beginning of a page, and what is missing of it would be taken for removed.
        """
        return "<" in self.rawdata or (self._in_link and self._ends > 0)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._ends += 1
            self._in_link = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # The first of two equal attributes counts (HTML, 13.2.5.33).
        attributes = dict(reversed(attrs))
        self._in_link = self._in_link or tag == "a"
        if tag == "a" and attributes.get("href"):
            if len(self.anchors) == MAX_FILES:
                raise ValueError(f"it has more than {MAX_FILES} anchors")
            self.anchors.append(_Anchor((attributes["href"] or "").strip(), attributes))
        elif tag == "base" and not self.base:
            self.base = attributes.get("href") or ""
        elif tag == "meta" and attributes.get("name"):
            self.meta.setdefault((attributes["name"] or "").lower(), attributes.get("content") or "")


def _to_pep_691(reader: _PageReader, name: str) -> dict[str, object]:
    # mousebender raises on what is no link to a file (#top, a broken address), does not know provenance, and stops
    # at unknown versions: it gets just the anchors that it can read, one each.
    anchors = [anchor for anchor in reader.anchors if _is_readable(anchor.href)]
    details = from_project_details_html("\n".join(map(_anchor_again, anchors)), name)
    files = []
    for anchor, entry in zip(anchors, details["files"], strict=True):
        provenance = anchor.attributes.get("data-provenance")
        # The address once more, whole: its fragment may have digests in a way that mousebender does not read.
        files.append({**entry, "url": anchor.href, "hashes": {}, "provenance": provenance or None})
    return {"name": name, "files": files}


def _is_readable(href: str) -> bool:
    try:
        return bool(urlsplit(href).path)
    except ValueError:
        return False


def _anchor_again(anchor: _Anchor) -> str:
    written = [("href", anchor.href.partition("#")[0])]
    for key in ("data-requires-python", "data-yanked", "data-core-metadata", "data-dist-info-metadata"):
        value = anchor.attributes.get(key) or ""
        # "false" is not in the standard for these two, and means what it says.
        if key in anchor.attributes and not (key.endswith("metadata") and value.lower() == "false"):
            written.append((key, value))
    return "<a {}></a>".format(" ".join(f'{key}="{escape(value)}"' for key, value in written))


def _base(base: str, base_url: str) -> str:
    try:
        return urljoin(base_url, base.strip())
    except ValueError:
        return base_url


def _decode(body: bytes, content_type: str) -> str:
    match = _CHARSET.search(content_type)
    try:
        encoding = codecs.lookup(match.group(1)).name if match else "utf-8"
    except LookupError:
        encoding = "utf-8"
    return body.decode(encoding if encoding in _ENCODINGS else "utf-8", "replace").removeprefix("\ufeff")


def _render_file(project: Project, file: File, root: str, below: str) -> str:
    href = root + file_path(project.index, project.name, file)
    algorithm = next((algorithm for algorithm in _FRAGMENT_DIGESTS if algorithm in file.digests), None)
    if algorithm is not None:
        href += f"#{algorithm}={file.digests[algorithm]}"
    attributes = [("href", href)]
    if file.requires_python:
        attributes.append(("data-requires-python", file.requires_python))
    if file.core_metadata is not None:
        known = next((algorithm for algorithm in _FRAGMENT_DIGESTS if algorithm in file.core_metadata), None)
        value = "true" if known is None else f"{known}={file.core_metadata[known]}"
        # The second name is the one of PEP 658: clients from before PEP 714 know no other.
        attributes += [("data-core-metadata", value), ("data-dist-info-metadata", value)]
    if file.yanked is not None:
        attributes.append(("data-yanked", file.yanked))
    provenance = provenance_url(below, project, file)
    if provenance is not None:
        attributes.append(("data-provenance", provenance))
    written = " ".join(f'{key}="{_attribute(value)}"' for key, value in attributes)
    return f"<a {written}>{_attribute(file.filename)}</a><br />\n"


def _attribute(value: str) -> str:
    value = escape(value)
    if not value.isprintable():
        value = _CONTROL.sub("\ufffd", value)
        for character, reference in _LINE_ENDS.items():
            value = value.replace(character, reference)
    return value


def _page(title: str, meta: Sequence[tuple[str, str]], anchors: str) -> bytes:
    tags = "\n".join(f'<meta name="{key}" content="{_attribute(value)}">' for key, value in meta)
    return _PAGE.format(title=_attribute(title), meta=tags, anchors=anchors).encode("utf-8")
