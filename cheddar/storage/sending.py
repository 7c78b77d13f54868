"""Bytes on their way from a file to a client, at the client's pace."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IReactorFromThreads, IReactorTime
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cheddar.deferreds import Pace, returns_deferred
from cheddar.errors import Unavailable
from cheddar.interfaces import IDescriptorConsumer, IFileView, IStoredFile
from cheddar.storage.sharing import Opened
from cheddar.storage.work import Work

#: Bytes of one read. Twice the transport's buffer: one write, then a pause until the client took it.
CHUNK = 128 * 1024

#: Bytes that go straight to a client without another look whether they are in memory; how many are read at a time where
#: they are not; and how far apart the bytes are that are looked for: what is missed between two of them is read within
#: some milliseconds.
WINDOW = 2 * 1024 * 1024
COLD_WINDOW = 512 * 1024
LOOK = 512 * 1024

#: Where reads that do not wait put their bytes: on the reactor's thread alone, and for no longer than one read. A fresh
#: buffer for each would be as much memory again, and cost more than the read.
_SCRATCH = memoryview(bytearray(CHUNK))

UNREADABLE = "The server cannot read this file from its storage now. Tell its administrator, and try again later."


@implementer(IFileView)
class FileView:
    """
    A hold on an open file.

    What the page cache of the operating system has is read at once (some 30 us); only what has to come from the
    disk goes through a thread, so a slow disk never stops the reactor.
    """

    def __init__(
        self,
        descriptor: int,
        reactor: IReactorFromThreads,
        pool: ThreadPool,
        release: Callable[[], None] | None = None,
    ) -> None:
        """
        @param descriptor: an open file.
        @param release: lets it go when the view is closed; None: it is closed.
        """
        self._descriptor = descriptor
        self._release = release or partial(os.close, descriptor)
        self._work = Work(reactor, pool)
        self._try_cached = True
        self._closed = False

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """See L{IFileView}."""
        data = self._cached(offset, length)
        return self._work.run(_read, self._descriptor, offset, length) if data is None else succeed(data)

    @returns_deferred
    async def bring(self, offset: int, length: int) -> int:
        """
        See to it that bytes are in memory.

        @return: how many are now, from C{offset} on, for all that can be said: at least one. [Unavailable]
        """
        length = min(length, WINDOW)
        if not self._is_cached(offset, length):
            length = min(length, COLD_WINDOW)
            await self._work.run(_bring, self._descriptor, offset, length)
        return length

    def close(self) -> None:
        """See L{IFileView}."""
        if not self._closed:
            self._closed = True
            # A number of a closed file is soon another file's: no thread may still hold it.
            self._work.idle().addCallback(self._let_go)

    def _let_go(self, _: None) -> None:
        self._release()

    def _cached(self, offset: int, length: int) -> bytes | None:
        buffer = _SCRATCH[:length]
        count = self._read_cached(buffer, offset)
        return None if count is None else bytes(buffer[:count])

    def _is_cached(self, offset: int, length: int) -> bool:
        byte = _SCRATCH[:1]
        looks = (*range(offset, offset + length, LOOK), offset + length - 1)
        return all(self._read_cached(byte, at) is not None for at in looks)

    def _read_cached(self, buffer: memoryview, offset: int) -> int | None:
        if not self._try_cached:
            return None
        try:
            return os.preadv(self._descriptor, [buffer], offset, os.RWF_NOWAIT)
        except OSError as error:
            # EAGAIN: not in memory. Anything else: this file system cannot say, or the disk is bad; a thread will see.
            self._try_cached = error.errno == errno.EAGAIN
            return None


def _read(descriptor: int, offset: int, length: int) -> bytes:
    try:
        return os.pread(descriptor, length, offset)
    except OSError as error:
        raise Unavailable(UNREADABLE) from error


def _bring(descriptor: int, offset: int, length: int) -> None:
    buffer = bytearray(CHUNK)
    try:
        for at in range(offset, offset + length, CHUNK):
            os.preadv(descriptor, [buffer], at)
        # The disk goes on while the client takes these.
        os.posix_fadvise(descriptor, offset + length, length, os.POSIX_FADV_WILLNEED)
    except OSError as error:
        raise Unavailable(UNREADABLE) from error


@implementer(IStoredFile)
@define(eq=False)
class StoredFile:
    """
    The bytes of one file in storage.

    @ivar size: bytes.
    @ivar digests: those computed when the file was written; empty for a file found in storage.
    @ivar published_at: for an index to say.
    @ivar path: where they lie.
    """

    size: int
    digests: Mapping[str, str]
    _open: Callable[[], Deferred[Opened]] = field(repr=False)
    _reactor: IReactorFromThreads = field(repr=False)
    _pool: ThreadPool = field(repr=False)
    published_at: datetime | None = None
    path: Path | None = None

    @returns_deferred
    async def send(self, consumer: IConsumer, first: int, last: int | None) -> None:
        """
        See L{IStoredFile}. The file is opened now: deleting it later does not end the sending.

        Fails with L{CancelledError<twisted.internet.defer.CancelledError>} where the client leaves.

        @raise NotFound: the file was deleted before anything was sent.
        @raise Unavailable: the disk does not give the bytes.
        """
        opened = await self._open()
        view = FileView(opened.descriptor, self._reactor, self._pool, opened.release)
        end = self.size if last is None else min(last + 1, self.size)
        try:
            # Where a file is small, one write takes its headers along.
            if end - first > CHUNK and IDescriptorConsumer.providedBy(consumer) and consumer.takes_descriptors():
                first = await _hand_over(opened.descriptor, view, consumer, first, end)
            if first < end:
                await Pace(consumer, IReactorTime(self._reactor)).run(
                    lambda pace: _send(view, consumer, first, end, pace)
                )
        finally:
            view.close()


async def _hand_over(descriptor: int, view: FileView, consumer: IDescriptorConsumer, offset: int, end: int) -> int:
    """@return: how far the consumer came; what is left, if anything is, has to be read."""
    while offset < end:
        length = await view.bring(offset, end - offset)
        taken = await consumer.take(descriptor, offset, length)
        offset += taken
        if taken < length:
            break
    return offset


async def _send(view: FileView, consumer: IConsumer, offset: int, end: int, pace: Pace) -> None:
    while offset < end:
        data = await view.read(offset, min(CHUNK, end - offset))
        if not data:
            raise Unavailable(UNREADABLE)  # shorter than it was
        offset += len(data)
        consumer.write(data)
        del data  # the transport may have made a copy: held here, each of many clients costs it twice
        if offset < end:
            await pace.turn()
