"""The line of a request in the log."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.web.iweb import IAccessLogFormatter
from zope.interface import provider

from cheddar.logs import escaped


@frozen
class Answered:
    """
    A request and how it ended, in the words of the log.

    @ivar user: who asked, or a hyphen. @ivar forwarded: what proxies say of where the request comes from.
    """

    user: str
    ended: str
    forwarded: tuple[str, ...]

    @classmethod
    def of(cls, request: Any) -> Answered:
        """@param request: a L{CheddarRequest<cheddar.web.request.CheddarRequest>}."""
        # An address that is no path may hold a login.
        path = request.uri.partition(b"?")[0] if request.uri.startswith(b"/") else b"-"
        agent = request.requestHeaders.getRawHeaders(b"user-agent", [b"-"])[0]
        what = " ".join(map(_text, (request.method, path, request.clientproto)))
        who = _text((request.identity.name if request.identity else "").encode()) or "-"
        size = request.sentLength or "-"
        return cls(who, f'"{what}" {request.code} {size} "-" "{_text(agent)}"', request.forwarded)

    def line(self, timestamp: str, address: str) -> str:
        """@param timestamp: in brackets."""
        return f'"{address}" - {self.user} {timestamp} {self.ended}'


@provider(IAccessLogFormatter)
def access_line(timestamp: str, request: Any) -> str:
    """
    Who asked for what, and how it ended, in the "combined" format of other servers. The query is left out, and where a
    link was followed: addresses of other sites, and what is asked with, may hold secrets.

    @param timestamp: in brackets.
    @param request: a L{CheddarRequest<cheddar.web.request.CheddarRequest>}.
    """
    return Answered.of(request).line(timestamp, request.client_address)


def _text(value: bytes) -> str:
    """One word or several, without an end to the quotes around them."""
    return escaped(value.decode("latin-1")).replace("\\", "\\\\").replace('"', '\\"')
