"""A file of upstream that was in the storage when it was looked for, and may have been evicted when it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from attrs import define
from twisted.internet.interfaces import IConsumer
from twisted.logger import Logger
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import NotFound
from cheddar.interfaces import IStoredFile


@implementer(IStoredFile)
@define(eq=False)
class Found:
    """
    Sends the stored file; where that is gone by then, upstream's.

    @ivar published_at: as upstream says.
    @ivar _again: the same file, fetched anew.
    """

    _stored: IStoredFile
    published_at: datetime | None
    _again: Callable[[], IStoredFile]

    log = Logger()

    @property
    def size(self) -> int | None:
        """Bytes."""
        return self._stored.size

    @property
    def digests(self) -> Mapping[str, str]:
        """By algorithm."""
        return self._stored.digests

    @property
    def path(self) -> Path | None:
        """Where it lies."""
        return self._stored.path

    @returns_deferred
    async def send(self, consumer: IConsumer, first: int, last: int | None) -> None:
        """See L{IStoredFile}."""
        try:
            await self._stored.send(consumer, first, last)
        except NotFound as error:
            # Nothing has been sent: the storage says so before it begins.
            self.log.info("A file went from the cache when it was wanted, and is fetched again: {error}", error=error)
        else:
            return
        await self._again().send(consumer, first, last)
