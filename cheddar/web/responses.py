"""An answer, before it leaves, and what goes into headers."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from math import inf
from types import MappingProxyType
from typing import Protocol

from attrs import frozen
from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.iweb import IRequest

from cheddar.interfaces import IStoredFile

#: What a browser may do with an answer, whatever it is, where the answer does not say more itself: look at it. No
#: script, no frame around it, and no word to other sites of where a link was followed.
SAFE: Mapping[str, str] = MappingProxyType(
    {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }
)


class Compressed(Protocol):
    """Keeps a body in gzip, so that it is compressed once."""

    def get(self) -> bytes | None:
        """The body in gzip, if it is here."""

    def put(self, body: bytes) -> None:
        """Here it is."""


#: What an age is at most in a header (RFC 9111, section 1.2.2).
_OLDEST = 2**31


def age_of(checked_at: float, now: float) -> int:
    """The C{Age} (RFC 9111, section 5.1) of what upstream confirmed at a time."""
    return min(max(0, int(now - checked_at)), _OLDEST)


@frozen
class Lasting:
    """
    An answer that stays what it is until the store tells of a change.

    @ivar name: of the project that it tells of; None: all of them.
    @ivar until: or until this time, in seconds of the reactor's clock, if that is earlier.
    @ivar checked_at: what its C{Age} counts from; None where it has none.
    @ivar asked: to be called now and then while it is given again; None: nobody wants to know.
    """

    name: str | None
    until: float = inf
    checked_at: float | None = None
    asked: Callable[[], None] | None = None


@frozen(kw_only=True)
class Response:
    """
    An answer, before it leaves.

    @ivar status: the HTTP status code.
    @ivar reason: the reason phrase; empty for the code's usual one.
    @ivar body: what is sent, unless C{file} is.
    @ivar file: stored bytes to send as the body.
    @ivar content_type: the C{Content-Type}.
    @ivar etag: the entity tag without quotes, or empty.
    @ivar last_modified: since when it has been what it is; of a C{file} only where its bytes can never change.
    @ivar headers: further headers.
    @ivar compressed: where the body is kept in gzip; None: nowhere.
    @ivar lasting: how long it may be given again to whoever asks in the same words; None: not at all.
    """

    status: int = 200
    reason: str = ""
    body: bytes = b""
    file: IStoredFile | None = None
    content_type: str = "text/plain; charset=utf-8"
    etag: str = ""
    last_modified: datetime | None = None
    headers: Mapping[str, str] = {}
    compressed: Compressed | None = None
    lasting: Lasting | None = None

    @property
    def all_headers(self) -> Mapping[str, str]:
        """Its headers, and what holds for every answer."""
        return {**SAFE, **self.headers}


def page_etag(body: bytes) -> str:
    """The entity tag of a rendered page: the same bytes have the same tag, over restarts and nodes."""
    return sha256(body).hexdigest()[:32]


@lru_cache(maxsize=1024)
def header_value(value: str) -> bytes:
    """
    The one gate for values on their way into a header: Latin-1, and no control character, so that nothing a user
    wrote can begin a new header (RFC 9110, section 5.5), or steer the terminal that shows it.
    """
    if value.isascii() and value.isprintable():
        return value.encode("ascii")
    return "".join(" " if unicodedata.category(char) == "Cc" else char for char in value).encode("latin-1", "replace")


def headers_of(response: Response) -> Headers:
    """All that a response with a body says before it."""
    headers = Headers()
    for name, value in (
        *response.all_headers.items(),
        ("Content-Type", response.content_type),
        ("Content-Length", str(len(response.body))),
    ):
        headers.addRawHeader(name.encode(), header_value(value))
    headers.addRawHeader(b"date", datetimeToString())
    return headers


def request_header(request: IRequest, name: str) -> str | None:
    """The values of a request header, joined as RFC 9110, section 5.3, has it; None without one."""
    values = request.requestHeaders.getRawHeaders(name.encode())
    return ", ".join(value.decode("latin-1") for value in values) if values else None
