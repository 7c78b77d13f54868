"""Errors of the domain as HTTP: the one table of status codes, and the page or problem document that explains one."""

from __future__ import annotations

import json
from collections.abc import Callable

from attrs import define
from twisted.web.http import RESPONSES

from cheddar.errors import (
    AlreadyExists,
    BadCredentials,
    CheddarError,
    Forbidden,
    Gone,
    Invalid,
    NoRoom,
    NotFound,
    Reserved,
    TooLarge,
    TooOften,
    Unavailable,
    UpstreamBroken,
)
from cheddar.formats.negotiation import wants_html
from cheddar.web.pages import CONTENT_SECURITY_POLICY
from cheddar.web.request import CheddarRequest
from cheddar.web.responses import Response


class MethodNotAllowed(CheddarError):
    """
    The path knows other methods.

    @ivar allowed: those.
    """

    def __init__(self, allowed: list[str]) -> None:
        super().__init__(f"This address answers {', '.join(allowed)} only.")
        self.allowed = allowed


class NotAcceptable(CheddarError):
    """None of the formats that the client accepts is on offer."""


class PreconditionFailed(CheddarError):
    """The client asked only for what is not here."""


#: The first class that an error is an instance of decides.
STATUS: tuple[tuple[type[CheddarError], int], ...] = (
    (NotFound, 404),
    (Gone, 410),
    (AlreadyExists, 409),
    (Reserved, 409),
    (TooLarge, 413),
    (Invalid, 400),
    (BadCredentials, 401),
    (Forbidden, 403),
    (TooOften, 429),
    (NoRoom, 507),
    (UpstreamBroken, 502),
    (Unavailable, 503),
    (MethodNotAllowed, 405),
    (NotAcceptable, 406),
    (PreconditionFailed, 412),
)

#: Characters of what is said of an error: some repeat what somebody sent.
MOST_SAID = 2000

_TITLES = {400: "Bad request", 401: "Login needed", 404: "Not found", 409: "Conflict", 429: "Too often", 507: "No room"}


def status_of(error: CheddarError) -> int:
    """The HTTP status that an error becomes."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


@define(eq=False)
class Problems:
    """
    Explains errors: a page for browsers, RFC 9457's C{application/problem+json} for tools, and in the reason phrase
    for the clients that print nothing else (distutils, pip, twine).

    @ivar _page: renders the page from status, title, detail and the way to the root.
    """

    _page: Callable[[int, str, str, str], bytes]

    def response(self, request: CheddarRequest, error: CheddarError) -> Response:
        """The answer for C{error}."""
        status = status_of(error)
        title = _TITLES.get(status) or RESPONSES.get(status, b"Error").decode()
        detail = str(error)[:MOST_SAID] or title
        headers = {"Cache-Control": "no-store", "Vary": "Accept"}
        if isinstance(error, Unavailable | TooOften) and error.retry_after:
            headers["Retry-After"] = str(error.retry_after)
        if isinstance(error, BadCredentials):
            # The realm is what distutils' `register` looks its password up by: it must be exactly this.
            headers["WWW-Authenticate"] = 'Basic realm="pypi"'
        if isinstance(error, MethodNotAllowed):
            headers["Allow"] = ", ".join(error.allowed)
        accept = [value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(b"accept", [])]
        if wants_html(accept):
            uri = request.uri if isinstance(request.uri, bytes) else b"/"
            root = "../" * max(0, uri.partition(b"?")[0].count(b"/") - 1)
            body = self._page(status, title, detail, root)
            content_type = "text/html; charset=utf-8"
            headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        else:
            body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
            content_type = "application/problem+json"
        return Response(
            status=status, reason=f"{title}: {detail}", body=body, content_type=content_type, headers=headers
        )
