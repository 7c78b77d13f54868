"""What a test sends files to: a consumer that takes everything, or takes its time, or leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IConsumer
from zope.interface import implementer


@implementer(IConsumer)
class Taker:
    """
    Keeps what it gets.

    @ivar taken: the bytes so far.
    @ivar producer: who is registered, or None.
    @ivar registrations: how often somebody was.
    """

    def __init__(self, pause_after: int | None = None, on_write: Callable[[Taker], None] | None = None) -> None:
        """
        @param pause_after: ask for a pause after so many bytes, once; L{resume} ends it.
        @param on_write: called after each write.
        """
        self.taken = bytearray()
        self.producer: Any = None
        self.registrations = 0
        self._pause_after = pause_after
        self._on_write = on_write

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See IConsumer."""
        assert self.producer is None
        assert streaming
        self.producer = producer
        self.registrations += 1

    def unregisterProducer(self) -> None:
        """See IConsumer."""
        self.producer = None

    def write(self, data: bytes) -> None:
        """See IConsumer."""
        assert self.producer is not None
        self.taken += data
        if self._pause_after is not None and len(self.taken) >= self._pause_after:
            self._pause_after = None
            self.producer.pauseProducing()
        if self._on_write is not None:
            self._on_write(self)

    def resume(self) -> None:
        """Take more."""
        self.producer.resumeProducing()

    def leave(self) -> None:
        """Go, as a connection does that is lost."""
        self.producer.stopProducing()
