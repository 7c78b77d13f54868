"""Heads of requests and of answers, as L{cheddar.web.hot} keeps them: what counts in them, and what is only noted."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from cheddar.web.access_log import Answered
from cheddar.web.conditions import http_date
from cheddar.web.responses import request_header

#: A head of more bytes is not kept.
LONGEST = 2048
#: Lines of a head that no answer depends on: they are noted in the log, and may be others each time. Only such values
#: as Twisted and L{cheddar.web.strict} let pass.
_ASIDE = re.compile(
    rb"\r\n(?:user-agent|x-(?:forwarded-(?:for|proto|host|port)|real-ip|request-id)|forwarded|via|accept-language|"
    rb"cache-control|pragma):[\t\x20-\x7e\x80-\xff]*(?=\r\n)",
    re.IGNORECASE,
)
_AGENT = re.compile(rb"\r\nuser-agent:([^\r]*)", re.IGNORECASE)
_FORWARDED = re.compile(rb"\r\nx-forwarded-for:([^\r]*)", re.IGNORECASE)
#: Headers whose presence sends a request over the long road, whatever else it has.
_LONG = (b"authorization", b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"if-unmodified-since")


def without_asides(head: bytes) -> tuple[bytes, int]:
    """C{head} without what is only noted, and how many lines that were."""
    return _ASIDE.subn(b"", head)


@lru_cache(maxsize=1024)
def noted(answered: Answered, agent: bytes, forwarded: tuple[bytes, ...]) -> Answered:
    """How an answer is noted that is given to another client."""
    return answered.to(agent, tuple(value.decode("latin-1") for value in forwarded))


def client_of(head: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """What a client calls itself, and what proxies say of where it is."""
    agent = _AGENT.search(head)
    forwarded = tuple(value.strip(b" \t") for value in _FORWARDED.findall(head))
    return agent[1].strip(b" \t") if agent else b"", forwarded


def may_be_kept(request: Any, now: float) -> bool:
    """Whether a request, answered by now, is one that others may come like, and nothing but a change makes wrong."""
    headers = request.requestHeaders
    if b"?" in request.uri:
        return False  # clients could make up more and more
    if not request.head or len(request.head) > LONGEST or not request.route:
        return False
    if request.method not in (b"GET", b"HEAD") or request.code not in (200, 304) or request.clientproto != b"HTTP/1.1":
        return False
    if request.gone or not request.channel.persistent or any(headers.hasHeader(name) for name in _LONG):
        return False
    if request.identity is None or not request.identity.anonymous or not request.responseHeaders.hasHeader(b"date"):
        return False
    # A date to come will once be past.
    since = None if headers.hasHeader(b"if-none-match") else request_header(request, "if-modified-since")
    asked = http_date(since) if since else None
    return asked is None or asked.timestamp() <= now


def parts_of(request: Any) -> tuple[bytes, bytes, bytes]:
    """The head that was written, without its date, and without its age if it tells one."""
    parts: list[list[bytes]] = [[b"HTTP/1.1 %d %s\r\n" % (request.code, request.code_message)], [], []]
    part = 0
    for name, values in request.responseHeaders.getAllRawHeaders():
        for value in values:
            if name in (b"Date", b"Age"):
                # Twisted sets the date before anything else.
                part += 1
                parts[part - 1].append(name + b": ")
                parts[part].append(b"\r\n")
            else:
                parts[part].append(b"%s: %s\r\n" % (name, value))
    parts[part].append(b"\r\n")
    start, middle, rest = map(b"".join, parts)
    return start, middle, rest
