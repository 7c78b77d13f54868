"""What L{tests.support.upstream.EvilUpstream} has, and its right answers: the Simple API and files."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import define
from packaging.utils import parse_sdist_filename, parse_wheel_filename
from twisted.web.server import Request

from tests.support.distributions import core_metadata_of

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPE = "application/vnd.pypi.simple.v1+html"
UPLOAD_TIME = "2024-01-02T03:04:05.678901Z"
CHUNK = 64 * 1024

Answer = tuple[int, dict[str, str], Iterator[bytes], int]


@define(eq=False)
class Served:
    """
    A file that upstream has. C{content} may be a path: it is then read as it is sent. To change a file, put another
    one in its place: its digest is computed once.
    """

    filename: str
    content: bytes | Path
    attributes: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    @cached_property
    def sha256(self) -> str:
        """The digest of the content, in hexadecimal."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    @cached_property
    def core_metadata(self) -> bytes | None:
        """The METADATA of a wheel."""
        if not self.filename.endswith(".whl"):
            return None
        return core_metadata_of(self.content.read_bytes() if isinstance(self.content, Path) else self.content)

    def pieces(self) -> Iterator[bytes]:
        """The content in pieces."""
        if isinstance(self.content, Path):
            with self.content.open("rb") as stream:
                while piece := stream.read(CHUNK):
                    yield piece
        else:
            for offset in range(0, len(self.content), CHUNK):
                yield self.content[offset : offset + CHUNK]

    def part(self, start: int, end: int) -> bytes:
        """The bytes from C{start} up to C{end}."""
        if not isinstance(self.content, Path):
            return self.content[start:end]
        with self.content.open("rb") as stream:
            stream.seek(start)
            return stream.read(end - start)


def right_answer(
    projects: Mapping[str, list[Served]], with_json: bool, request: Request, ranges: bool = True
) -> Answer | None:
    """Status, headers, body and its length, as they should be; None: nothing is there."""
    path = request.path.decode("latin-1")
    parts = path.strip("/").split("/")
    if parts == ["simple"]:
        return _page(with_json, request, [{"name": name} for name in sorted(projects)], "projects", None)
    if len(parts) == 2 and parts[0] == "simple" and parts[1] in projects:
        if not path.endswith("/"):
            return 301, {"Location": f"/simple/{parts[1]}/"}, iter(()), 0
        entries = [_entry(file) for file in projects[parts[1]]]
        return _page(with_json, request, entries, "files", parts[1])
    if len(parts) == 2 and parts[0] == "files":
        for file in (file for files in projects.values() for file in files):
            if parts[1] == file.filename:
                return _file_answer(request, file, ranges)
            if parts[1] == f"{file.filename}.metadata" and (metadata := file.core_metadata) is not None:
                return 200, {"Content-Type": "application/octet-stream"}, iter((metadata,)), len(metadata)
    return None


def _entry(file: Served) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "filename": file.filename,
        "url": f"../../files/{file.filename}",
        "hashes": {"sha256": file.sha256},
        "size": file.size,
        "upload-time": UPLOAD_TIME,
        "yanked": False,
    }
    metadata = file.core_metadata
    if metadata is not None:
        entry["core-metadata"] = {"sha256": hashlib.sha256(metadata).hexdigest()}
        for line in metadata.decode().split("\n\n")[0].splitlines():
            if line.startswith("Requires-Python: "):
                entry["requires-python"] = line.partition(": ")[2]
    for key, value in file.attributes.items():
        key = key.replace("_", "-")
        if value is None:
            entry.pop(key, None)
        elif isinstance(value, datetime):
            entry[key] = value.isoformat().replace("+00:00", "Z")
        else:
            entry[key] = value
    return entry


def _page(with_json: bool, request: Request, entries: list[dict[str, Any]], kind: str, name: str | None) -> Answer:
    accept = request.getHeader("accept") or ""
    if with_json and JSON_TYPE in accept:
        versions = sorted({_version(entry["filename"]) for entry in entries} - {""}) if kind == "files" else None
        page: dict[str, Any] = {"meta": {"api-version": "1.1"}, kind: entries}
        if name is not None:
            page |= {"name": name, "versions": versions}
        body, content_type = json.dumps(page).encode(), JSON_TYPE
    else:
        body = _html(entries, name).encode()
        content_type = HTML_TYPE if HTML_TYPE in accept else "text/html; charset=utf-8"
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"Content-Type": content_type, "ETag": etag, "Vary": "Accept"}
    if request.getHeader("if-none-match") == etag:
        return 304, headers, iter(()), 0
    return 200, headers, iter((body,)), len(body)


def _version(filename: str) -> str:
    try:
        if filename.endswith(".whl"):
            return str(parse_wheel_filename(filename)[1])
        return str(parse_sdist_filename(filename)[1])
    except ValueError:
        return ""


def _html(entries: list[dict[str, Any]], name: str | None) -> str:
    lines = ["<!DOCTYPE html>", '<html><head><meta name="pypi:repository-version" content="1.0"></head><body>']
    for entry in entries:
        if name is None:
            lines.append(f'<a href="{entry["name"]}/">{entry["name"]}</a><br>')
            continue
        url = entry["url"]
        for algorithm, digest in list(entry.get("hashes", {}).items())[:1]:
            url += f"#{algorithm}={digest}"
        attributes = {"href": url}
        if "requires-python" in entry:
            attributes["data-requires-python"] = entry["requires-python"]
        if entry.get("yanked") not in (None, False):
            attributes["data-yanked"] = "" if entry["yanked"] is True else entry["yanked"]
        if entry.get("core-metadata"):
            attributes["data-core-metadata"] = f"sha256={entry['core-metadata']['sha256']}"
        text = " ".join(f'{key}="{html.escape(value)}"' for key, value in attributes.items())
        lines.append(f"<a {text}>{html.escape(entry['filename'])}</a><br>")
    return "\n".join([*lines, "</body></html>"])


def _file_answer(request: Request, file: Served, ranges: bool) -> Answer:
    etag = f'"{file.filename}-{file.size}"'
    headers = {"Content-Type": "application/octet-stream", "ETag": etag}
    if request.getHeader("if-none-match") == etag:
        return 304, headers, iter(()), 0
    if not ranges:
        return 200, headers, file.pieces(), file.size
    headers["Accept-Ranges"] = "bytes"
    wanted = request.getHeader("range") or ""
    if request.getHeader("if-range") not in (None, etag):
        wanted = ""
    if wanted.startswith("bytes=") and "," not in wanted:
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, file.size - int(last))
        end = min(file.size, int(last) + 1) if first and last else file.size
        if start >= end:
            return 416, {"Content-Range": f"bytes */{file.size}"}, iter(()), 0
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        return 206, headers, iter((file.part(start, end),)), end - start
    return 200, headers, file.pieces(), file.size
