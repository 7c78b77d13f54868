"""What takes a download in these tests."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from cheddar.interfaces import IBodyReceiver


@implementer(IBodyReceiver)
@define(eq=False)
class Kept:
    """A receiver that keeps what it gets; told to, it asks for a pause at every write."""

    pausing: bool = False
    length: int | None = -1
    pieces: list[bytes] = field(factory=list)
    pause: Deferred[None] | None = None

    @property
    def content(self) -> bytes:
        """What came."""
        return b"".join(self.pieces)

    def begin(self, length: int | None) -> None:
        """See L{cheddar.interfaces.IBodyReceiver}."""
        self.length = length

    def write(self, data: bytes) -> Deferred[None] | None:
        """See L{cheddar.interfaces.IBodyReceiver}."""
        assert self.pause is None or self.pause.called, "written to while paused"
        self.pieces.append(data)
        if not self.pausing:
            return None
        self.pause = Deferred()
        return self.pause
