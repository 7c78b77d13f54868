"""
HTTP/1.1 read as RFC 9112 has it, where Twisted is lenient.

A request that a proxy in front and the server could take for two different ones is refused, and so is a head that has
no end. Both end the connection: what follows could be anything.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.web.http import HTTPChannel

#: All that a header may not have in its value, but NUL, CR and LF, which Twisted refuses (RFC 9110, section 5.5).
_CONTROL = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")

#: What a Host may be: C{uri-host [ ":" port ]} (RFC 9110, section 7.2; RFC 3986, section 3.2.2).
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")

_UNWELCOME_IN_PATH = (b"%2f", b"%5c", b"%00", b"\\", b"\0", b"/%2e", b"/.")
#: The one name with a dot before it (RFC 8615).
_WELL_KNOWN = b"/.well-known"

#: Digits of a Content-Length. Python refuses to read numbers of some thousands.
_LONGEST_LENGTH = 19

_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
}


def is_host(value: bytes) -> bool:
    """Whether a C{Host} header may have this value."""
    return _HOST.fullmatch(value) is not None


def is_clean_path(path: bytes) -> bool:
    """
    Whether an address may have this path: one that everybody reads in the same way.

    @param path: in lower case.
    """
    if not path.startswith(b"/") or any(part in path.removeprefix(_WELL_KNOWN) for part in _UNWELCOME_IN_PATH):
        return False
    try:
        text = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return (text.isascii() and text.isprintable()) or all(ord(char) >= 32 and ord(char) != 127 for char in text)


class StrictChannel(HTTPChannel):
    """
    @cvar maxHeaders: how many headers a request may have.
    @cvar totalHeadersSize: bytes that its request line and headers may have together.
    """

    transport: Any  # ITCPTransport, or TLS over it

    def limit_head(self, size: int, headers: int) -> None:
        """
        Let a head have C{size} bytes, and no line of it more.

        @param size: in bytes.
        @param headers: how many there may be.
        """
        self.totalHeadersSize = self.MAX_LENGTH = size
        self.maxHeaders = headers

    def lineReceived(self, line: bytes) -> None:
        """See L{HTTPChannel}."""
        if self._in_head() and line[:1] in (b" ", b"\t"):
            # Twisted joins it to the line before, also to none: others take it for a header, or for nothing.
            self.answer_and_end(400, b"a header is folded over several lines")
        elif self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self._too_long()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """See L{HTTPChannel}."""
        self._too_long()

    def headerReceived(self, line: bytes) -> bool:
        """See L{HTTPChannel}."""
        if _CONTROL.search(line):
            self.answer_and_end(400, b"a header has a control character in it")
            return False
        if self._receivedHeaderCount >= self.maxHeaders:
            self.answer_and_end(431)
            return False
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and len(value.strip(b" \t")) > _LONGEST_LENGTH:
            self.answer_and_end(400, b"no body is that long")
            return False
        return bool(super().headerReceived(line))

    def answer_and_end(self, status: int, why: bytes = b"") -> None:
        """
        Say what is wrong in one line, and end the connection: there is no request that could be answered.

        @param why: put behind the reason phrase.
        """
        reason = _REASONS[status] + (b": " + why if why else b"")
        self.transport.write(b"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % (status, reason))
        self.loseConnection()

    def _in_head(self) -> bool:
        """Whether the request line is here, and its headers have not ended."""
        return hasattr(self, "_command")

    def _too_long(self) -> None:
        self.answer_and_end(431 if self._in_head() else 414)
