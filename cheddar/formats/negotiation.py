"""Which representation a client gets: content negotiation for the Simple API and for the pages beside it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TypeVar

from attrs import frozen
from werkzeug.http import parse_accept_header

T = TypeVar("T")

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_V1_TYPE = "application/vnd.pypi.simple.v1+html"
HTML_TYPE = "text/html"
LEGACY_JSON_TYPE = "application/json"


class Choice(enum.Enum):
    """A representation of a page of the Simple API; the value is its media type."""

    JSON = JSON_TYPE
    HTML_V1 = HTML_V1_TYPE
    HTML = HTML_TYPE
    #: The original's own shapes.
    LEGACY_JSON = LEGACY_JSON_TYPE

    @property
    def content_type(self) -> str:
        """The C{Content-Type} to send with it."""
        return f"{self.value}; charset=utf-8" if self is Choice.HTML else self.value


#: What a client that wants the newest version asks for, and what it then gets.
LATEST = {
    "application/vnd.pypi.simple.latest+json": Choice.JSON,
    "application/vnd.pypi.simple.latest+html": Choice.HTML_V1,
}
_BY_TYPE = {choice.value: choice for choice in Choice} | LATEST

# Equal wishes: the richest first among the types that a client names itself...
_NAMED_FIRST = (Choice.JSON, Choice.HTML_V1, Choice.HTML, Choice.LEGACY_JSON)
# ... but HTML where it takes anything: old installers, curl and browsers send */* and read nothing else.
# The original's JSON is for those who name it.
_ANY_FIRST = (Choice.HTML, Choice.JSON, Choice.HTML_V1)


@frozen
class _Wish:
    """A media range of an C{Accept} header, without parameters, and how much it is wanted."""

    media: str
    quality: float


def choose_simple(accept_headers: Sequence[str], format_parameter: str | None = None) -> Choice | None:
    """
    Choose the representation of a page of the Simple API.

    Source: simple repository API, "Version + format selection"; RFC 9110, section 12.5.1.

    @param accept_headers: the values of all C{Accept} header lines.
    @param format_parameter: the value of C{?format=}, which wins where it names a type that there is.
    @return: the choice; None: nothing that there is would be accepted.
    """
    if format_parameter is not None:
        # A plus sign that was not percent-encoded arrives as a space.
        asked = _BY_TYPE.get(format_parameter.strip().replace(" ", "+").lower())
        if asked is not None:
            return asked
    wishes = _wishes(accept_headers)
    named: dict[Choice, float] = {}
    for media, choice in _BY_TYPE.items():
        quality = _named(media, wishes)
        if quality is not None:
            named[choice] = max(quality, named.get(choice, 0.0))
    ranked = [(named[choice], choice) for choice in _NAMED_FIRST if choice in named]
    ranked += [(_wildcard(choice.value, wishes), choice) for choice in _ANY_FIRST if choice not in named]
    return _best(ranked)


def choose(accept_headers: Sequence[str] | None, offers: Sequence[str]) -> str | None:
    """
    Choose among media types: the one wanted most; among equals the one that is named before the one that a
    wildcard meets, then the one offered first.

    @param accept_headers: the values of all C{Accept} header lines; None or empty: anything is welcome.
    @param offers: media types in lower case, without parameters.
    @return: one of C{offers}; None: none of them would be accepted.
    """
    wishes = _wishes(accept_headers or ())
    named = [(quality, offer) for offer in offers if (quality := _named(offer, wishes)) is not None]
    wild = [(_wildcard(offer, wishes), offer) for offer in offers if _named(offer, wishes) is None]
    return _best(named + wild)


def wants_html(accept_headers: Sequence[str]) -> bool:
    """
    Whether this is a browser, that is: HTML is named, and no other type is wanted more.

    Installers that name HTML last, C{*/*} and a missing header all mean a tool.
    """
    html = other = 0.0
    for wish in _wishes(accept_headers):
        if wish.media in (HTML_TYPE, "application/xhtml+xml"):
            html = max(html, wish.quality)
        elif "*" not in wish.media:
            other = max(other, wish.quality)
    return html > 0 and html >= other


def wants_legacy_json(accept_headers: Sequence[str]) -> bool:
    """
    Whether the original would answer with its JSON: the most wanted of HTML and C{application/json} is the latter,
    by the order of the header among equals. Neither: HTML.
    """
    for wish in sorted(_wishes(accept_headers), key=lambda wish: -wish.quality):
        if wish.quality > 0:
            if wish.media.startswith((HTML_TYPE, "application/xhtml")):
                return False
            if wish.media.startswith(LEGACY_JSON_TYPE):
                return True
    return False


def _wishes(accept_headers: Sequence[str]) -> list[_Wish]:
    wishes = []
    for value, quality in parse_accept_header(", ".join(accept_headers)):
        media = value.partition(";")[0].strip().lower()
        kind, slash, detail = media.partition("/")
        if kind and slash and detail:
            wishes.append(_Wish(media, quality))
    # Nothing said, or nothing that can be read: anything is welcome.
    return wishes or [_Wish("*/*", 1.0)]


def _named(offer: str, wishes: list[_Wish]) -> float | None:
    return max((wish.quality for wish in wishes if wish.media == offer), default=None)


def _wildcard(offer: str, wishes: list[_Wish]) -> float:
    kind = offer.partition("/")[0] + "/*"
    for media in (kind, "*/*"):
        quality = _named(media, wishes)
        if quality is not None:
            return quality
    return 0.0


def _best(ranked: list[tuple[float, T]]) -> T | None:
    quality, best = max(ranked, key=lambda pair: pair[0], default=(0.0, None))
    return best if quality > 0 else None
