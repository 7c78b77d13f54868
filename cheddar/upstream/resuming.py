"""
A download that the network broke off goes on where it was, by Range on another connection.

Only where upstream says by an entity tag that these are the very same bytes (RFC 9110, section 13.1.5): what is put
together from two files has no digest that anybody knows. Who receives it does not notice.
"""

from __future__ import annotations

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse
from zope.interface import implementer

from cheddar.errors import FileTooLarge
from cheddar.interfaces import IBodyReceiver
from cheddar.upstream.answers import header
from cheddar.upstream.ranges import part_of, range_header

#: How often one download goes on; each time at least a byte must have come since the last.
RESUMPTIONS = 3


@frozen
class Whole:
    """What upstream said of a file when it began to send it: its entity tag, and its length in bytes."""

    etag: str
    length: int

    @classmethod
    def of(cls, response: IResponse) -> Whole | None:
        """None where a part of it could not be told from a part of another one."""
        etag = header(response.headers, "ETag")
        if etag is None or not etag.startswith('"') or response.length is UNKNOWN_LENGTH:
            return None
        return cls(etag, response.length)

    def headers_from(self, first: int) -> Headers:
        """What to ask with for all from the byte at C{first} on; the whole file where it is another one by now."""
        return Headers({b"Range": [range_header(first, None).encode()], b"If-Range": [self.etag.encode("latin-1")]})

    def goes_on(self, response: IResponse, first: int) -> bool:
        """Whether an answer is that rest."""
        part = part_of(response, first, None)
        return part is not None and part[2] == self.length


@implementer(IBodyReceiver)
@define(eq=False)
class Counting:
    """
    Hands on what comes, as one body however many answers it takes.

    @ivar _most: bytes that it may have: a body of no length may never end, and would fill the disk.
    @ivar received: bytes so far.
    """

    _receiver: IBodyReceiver
    _most: int
    received: int = 0
    _begun: bool = False

    def begin(self, length: int | None) -> None:
        """See L{IBodyReceiver}. [FileTooLarge]"""
        if not self._begun:
            self._begun = True
            self._check(length or 0)
            self._receiver.begin(length)

    def write(self, data: bytes) -> Deferred[None] | None:
        """See L{IBodyReceiver}. [FileTooLarge]"""
        self._check(self.received + len(data))
        self.received += len(data)
        pause: Deferred[None] | None = self._receiver.write(data)
        return pause

    def _check(self, length: int) -> None:
        if length > self._most:
            raise FileTooLarge(
                f"Upstream's file is larger than {self._most} bytes, the most that Cheddar fetches. The server's "
                "administrator can raise MAX_DOWNLOAD."
            )
