"""Asks a server as a client would, and finds what is wrong with an answer: no error page is timed as a fast answer."""

from __future__ import annotations

import gzip
import http.client
import json
import time
import zlib
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

from attrs import frozen

from tests.support.server import JSON

HTML = "text/html"
EITHER = f"{JSON}, {HTML};q=0.1"

#: Some servers give JSON to clients alone that they take for pip.
AGENT = {"User-Agent": "pip/26.3 {}"}


class Wrong(Exception):
    """A server did not answer as it was to: it is not measured."""


@frozen
class Answer:
    """
    What came.

    @ivar body: decoded. @ivar size: bytes of it on the wire. @ivar first: seconds until its first byte.
    @ivar seconds: until its last. @ivar url: the address it came from.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    size: int
    first: float
    seconds: float
    url: str

    @property
    def compressed(self) -> bool:
        """Whether it came in gzip."""
        return self.headers.get("content-encoding") == "gzip"


def ask(url: str, headers: Mapping[str, str] | None = None, timeout: float = 120) -> Answer:
    """One request, on a connection of its own, redirects not followed."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=timeout)
    try:
        connection.connect()
        began = time.perf_counter()
        path = f"{where.path}?{where.query}" if where.query else where.path
        connection.request("GET", path, headers={**AGENT, "Accept-Encoding": "identity", **(headers or {})})
        response = connection.getresponse()
        start = response.read1(65536)
        first = time.perf_counter() - began
        pieces = [start]
        while piece := response.read(1 << 20):
            pieces.append(piece)
        seconds = time.perf_counter() - began
    except (OSError, http.client.HTTPException) as error:
        raise Wrong(f"{url}: {error!r}") from error
    finally:
        connection.close()
    raw = b"".join(pieces)
    received = {name.lower(): value for name, value in response.getheaders()}
    try:
        body = gzip.decompress(raw) if received.get("content-encoding") == "gzip" else raw
    except (OSError, zlib.error) as error:
        raise Wrong(f"{url} is no gzip: {error}") from error
    return Answer(response.status, received, body, len(raw), first, seconds, url)


def expect(answer: Answer, status: int = 200) -> Answer:
    """[Wrong: another status]"""
    if answer.status != status:
        raise Wrong(f"{answer.url} answered {answer.status}, not {status}: {answer.body[:200]!r}")
    return answer


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a link goes."""
        if tag == "a":
            self.found.append(dict(attrs).get("href") or "")


def links(answer: Answer) -> list[str]:
    """Where the links of a page go, whatever its format, without fragments. [Wrong: it is no page]"""
    if "json" in answer.headers.get("content-type", ""):
        try:
            page: Any = json.loads(answer.body)
            targets = [file["url"] for file in page["files"]] if "files" in page else None
            found = targets if targets is not None else [f"{project['name']}/" for project in page["projects"]]
        except (ValueError, KeyError, TypeError) as error:
            raise Wrong(f"{answer.url} is no page: {error!r}") from error
    else:
        anchors = _Anchors()
        anchors.feed(answer.body.decode())
        found = anchors.found
    return [urldefrag(urljoin(answer.url, link)).url for link in found]


def check_page(answer: Answer, number: int, exactly: bool = True) -> Answer:
    """[Wrong: it does not have so many links]"""
    found = len(links(expect(answer)))
    if found < number or (exactly and found != number):
        raise Wrong(f"{answer.url} has {found} links, not {number}")
    return answer


def file_url(page: str, filename: str) -> str:
    """The address of a file, from its project's page. [Wrong]"""
    for link in links(expect(ask(page, {"Accept": EITHER}))):
        if urlsplit(link).path.endswith(f"/{filename}"):
            return link
    raise Wrong(f"{page} does not list {filename}")
