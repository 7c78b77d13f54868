"""Descriptions of releases as HTML: which markup, how much, and a process apart that does it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import OrderedDict
from email.message import Message
from hashlib import sha256

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from cheddar.deferreds import SingleFlight, returns_deferred
from cheddar.model import CoreMetadata

log = Logger()

#: Bytes of a description that are rendered; a longer one is shown as text.
MAX_DESCRIPTION = 200 * 1024
#: Seconds after which a description that is still not rendered is given up.
MAX_SECONDS = 10
#: How many rendered descriptions are remembered.
REMEMBERED = 16

# What setuptools and distutils wrote for a field that was not given.
_UNKNOWN = "UNKNOWN"
_HEADER_INDENT = 8


def description_text(metadata: CoreMetadata) -> str:
    """
    A release's description as text, empty where it has none.

    Before metadata 2.1 it was a header, its lines indented by eight blanks or by seven and a bar.
    Source: core metadata specification, Description.
    """
    text = metadata.fields.get("description", "")
    if not isinstance(text, str) or text.strip() in ("", _UNKNOWN):
        return ""
    first, *rest = text.splitlines()
    if any(line.strip() for line in rest) and all(
        not line.strip() or line.startswith((" " * _HEADER_INDENT, " " * (_HEADER_INDENT - 1) + "|")) for line in rest
    ):
        return "\n".join((first, *(line[_HEADER_INDENT:] for line in rest)))
    return text


def markup_of(metadata: CoreMetadata) -> str | None:
    """
    Which markup a description is in: C{rst}, C{GFM}, C{CommonMark}, or None for plain text and the unknown.

    Source: core metadata specification, Description-Content-Type: absent means reStructuredText if it is valid,
    a Markdown without a (known) variant means GFM.
    """
    stated = metadata.fields.get("description_content_type", "")
    if not isinstance(stated, str) or stated.strip() in ("", _UNKNOWN):
        return "rst"
    header = Message()
    header["Content-Type"] = stated
    kind = header.get_content_type()
    if kind == "text/markdown":
        return "CommonMark" if str(header.get_param("variant")).lower() == "commonmark" else "GFM"
    return "rst" if kind == "text/x-rst" else None


@define(eq=False)
class Descriptions:
    """Renders descriptions, one at a time and each one once."""

    _reactor: IReactorFromThreads
    _pool: ThreadPool
    _rendered: OrderedDict[bytes, str | None] = field(factory=OrderedDict, init=False)
    _flights: SingleFlight[str | None] = field(factory=SingleFlight, init=False)
    # One at a time: the pool's threads and the machine's processors are there for others too.
    _turn: DeferredLock = field(factory=DeferredLock, init=False)

    @returns_deferred
    async def render(self, metadata: CoreMetadata) -> str | None:
        """
        @return: safe HTML, or None where the description is plain text, too long, not valid, or takes too much time.
        """
        text, markup = description_text(metadata), markup_of(metadata)
        if not text or markup is None or len(text) > MAX_DESCRIPTION:
            return None
        data = text.encode(errors="replace")
        if len(data) > MAX_DESCRIPTION:
            return None
        key = sha256(markup.encode() + b"\n" + data).digest()
        if key not in self._rendered:
            return await self._flights.run(key, lambda: self._render(key, markup, data))
        self._rendered.move_to_end(key)
        return self._rendered[key]

    @returns_deferred
    async def _render(self, key: bytes, markup: str, data: bytes) -> str | None:
        waiting: Deferred[DeferredLock] = self._turn.acquire()
        await waiting
        try:
            html = await deferToThreadPool(self._reactor, self._pool, _render_apart, markup, data)
        finally:
            self._turn.release()
        # A failure is remembered too: it cost the most.
        self._rendered[key] = html
        if len(self._rendered) > REMEMBERED:
            self._rendered.popitem(last=False)
        return html


def _render_apart(markup: str, data: bytes) -> str | None:
    """Render in a process of its own, and wait for it; for use in a thread."""
    # The child finds what this process finds, wherever that was installed, and gets no other part of the environment:
    # settings in it may be secret.
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cheddar.web.readme", markup],
            input=data,
            capture_output=True,
            timeout=MAX_SECONDS,
            cwd="/",
            env=environment,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warn("A description is shown as text, since it could not be rendered: {error}", error=error)
        return None
    return done.stdout.decode() or None
