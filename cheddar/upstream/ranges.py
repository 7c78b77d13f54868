"""Parts of files (RFC 9110, section 14): what was asked for, what came, and who does not give any."""

from __future__ import annotations

import re

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse

from cheddar.errors import NotFound
from cheddar.upstream.addresses import Origin
from cheddar.upstream.answers import header

#: Answers by which an origin says that it gives no parts of its files, beside 200 with the whole of one. 416 is one:
#: only what a file must have is asked for, and the end of a file, which every file but an empty one has.
REFUSALS = frozenset({416, 501})
PARTIAL = 206
#: Seconds for which such an origin is not asked for a part again.
LEFT_ALONE = 3600.0
MAX_ORIGINS = 64

_CONTENT_RANGE = re.compile(r"bytes[ \t]+(\d{1,18})-(\d{1,18})/(\d{1,18})\Z", re.ASCII | re.IGNORECASE)

_log = Logger()


@define(eq=False)
class WithoutRanges:
    """Remembers the origins that give no parts of their files."""

    _clock: IReactorTime
    _since: dict[Origin, float] = field(factory=dict)

    def check(self, origin: Origin) -> None:
        """@raise NotFound: C{origin} is one of them."""
        since = self._since.get(origin)
        if since is not None and 0 <= self._clock.seconds() - since < LEFT_ALONE:
            raise _no_parts(origin)

    def add(self, origin: Origin) -> NotFound:
        """Leave C{origin} alone from now on. @return: the error that says so."""
        _log.info("{origin} gives no parts of its files: it is not asked for any in the next hour", origin=str(origin))
        self._since.pop(origin, None)
        self._since[origin] = self._clock.seconds()
        if len(self._since) > MAX_ORIGINS:
            # Pages decide how many origins there are; memory must not follow.
            del self._since[next(iter(self._since))]
        return _no_parts(origin)


def range_header(first: int, last: int | None) -> str:
    """The value of C{Range}; C{first} and C{last} as L{cheddar.interfaces.IUpstream.fetch_range} takes them."""
    return f"bytes={first}" if first < 0 else f"bytes={first}-{'' if last is None else last}"


def part_of(response: IResponse, first: int, last: int | None) -> tuple[int, int, int] | None:
    """
    What an answer holds, by its head.

    @param first: as asked for, like C{last}.
    @return: the positions of its first and its last byte, and the length of the whole file; None where it is not the
        part that was asked for.
    """
    match = _CONTENT_RANGE.match(header(response.headers, "Content-Range") or "")
    if response.code != PARTIAL or match is None:
        return None
    begin, end, total = map(int, match.groups())
    right_begin = max(0, total + first) if first < 0 else first
    right_end = total - 1 if last is None or first < 0 else min(last, total - 1)
    if (begin, end) != (right_begin, right_end) or begin > end:
        return None
    if response.length not in (UNKNOWN_LENGTH, end - begin + 1):
        return None
    return begin, end, total


def _no_parts(origin: Origin) -> NotFound:
    return NotFound(f"{origin} gives no parts of its files. Ask for whole files.")
