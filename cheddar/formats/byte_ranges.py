"""One byte range of a file, as a request asks for it."""

from __future__ import annotations

import enum
import re
from typing import Final, Literal

from attrs import frozen

_BYTES = re.compile(r"[ \t]*bytes[ \t]*=[ \t]*(\d*)-(\d*)[ \t]*\Z", re.ASCII | re.IGNORECASE)

# More digits than the size of any file has; int() refuses endless ones.
_MAX_DIGITS = 18


@frozen
class Span:
    """
    Bytes of a file.

    @ivar first: the first byte's position, from 0.
    @ivar last: the last byte's position, included.
    """

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.last - self.first + 1

    def content_range(self, size: int) -> str:
        """The value of C{Content-Range} for these bytes of C{size}."""
        return f"bytes {self.first}-{self.last}/{size}"


class Unsatisfiable(enum.Enum):
    """The type of L{UNSATISFIABLE}."""

    UNSATISFIABLE = "unsatisfiable"


#: The range asked for begins behind the end of the file.
UNSATISFIABLE: Final = Unsatisfiable.UNSATISFIABLE


def parse_range(header: str | None, size: int) -> Span | None | Literal[Unsatisfiable.UNSATISFIABLE]:
    """
    Read a C{Range} header that asks for one range.

    Source: RFC 9110, section 14.1.2 and 14.2. Several ranges, other units and what cannot be read are answered
    with the whole file, as the RFC allows: many small ranges would cost more than the file.

    @param header: as the request has it, or None.
    @param size: of the file, in bytes.
    @return: the bytes to send; None: all of them; or L{UNSATISFIABLE}.
    """
    match = _BYTES.match(header) if header is not None else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = (_number(digits) for digits in match.groups())
    if first is None:
        if not last or not size:
            return UNSATISFIABLE
        return Span(max(0, size - last), size - 1)
    if last is not None and last < first:
        return None
    if first >= size:
        return UNSATISFIABLE
    return Span(first, size - 1 if last is None else min(last, size - 1))


def _number(digits: str) -> int | None:
    if not digits:
        return None
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS
