"""Conditional requests: what a client has already, or insists on (RFC 9110, section 13)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from twisted.web.http import stringToDatetime
from twisted.web.iweb import IRequest
from werkzeug.http import parse_etags

from cheddar.web.errors import PreconditionFailed
from cheddar.web.responses import request_header


def http_date(value: str | None) -> datetime | None:
    """A date as headers have it, in any of the three forms of RFC 9110, section 5.6.7; None for what is none."""
    try:
        return datetime.fromtimestamp(stringToDatetime((value or "").encode("latin-1")), timezone.utc)
    except (ValueError, IndexError, OverflowError, OSError):
        return None


def known_tag(request: IRequest, tags: Sequence[str], modified: datetime | None, now: float) -> str | None:
    """
    Evaluate the conditions of a GET or HEAD request, in the order of RFC 9110, section 13.2.2.

    @param tags: those of what would be sent, the one of what this client would be sent first.
    @param modified: its C{Last-Modified}, in whole seconds, or None.
    @param now: seconds since the epoch.
    @return: the tag of what the client has, if that is still good: it need not be sent. None: it is to be sent.
    @raise PreconditionFailed: the client wants it only as it is not.
    """
    # Twisted's own setETag splits lists at white space and knows no weak tags.
    wanted = request_header(request, "if-match")
    if wanted is not None:
        if not any(parse_etags(wanted).contains(tag) for tag in tags):
            raise PreconditionFailed("What is here is not what If-Match names: ask without it.")
    else:
        unmodified = http_date(request_header(request, "if-unmodified-since"))
        if unmodified is not None and modified is not None and modified > unmodified:
            raise PreconditionFailed("What is here has changed since If-Unmodified-Since: ask without it.")
    known = request_header(request, "if-none-match")
    if known is not None:
        had = parse_etags(known)
        return next((tag for tag in tags if had.contains_weak(tag)), None)
    since = http_date(request_header(request, "if-modified-since"))
    # A date to come is no answer's from here; by it a client whose clock is fast would never see a change.
    if since is None or modified is None or not modified <= since or since.timestamp() > now:
        return None
    return tags[0]


def wanted_range(request: IRequest, tag: str, modified: datetime | None) -> str | None:
    """
    The C{Range} that a request asks for, if it still applies (RFC 9110, section 13.1.5).

    @param modified: the C{Last-Modified} of bytes that never change: only then is a date a strong validator.
    """
    condition = request_header(request, "if-range")
    if condition is None or condition == f'"{tag}"' or (modified is not None and http_date(condition) == modified):
        return request_header(request, "range")
    return None
