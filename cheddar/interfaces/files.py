"""The bytes of distribution files, and where they are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from zope.interface import Attribute, Interface


class IStoredFile(Interface):
    """The bytes of one file, ready to be sent."""

    size: int | None = Attribute("Bytes, or None while a download has not said.")
    digests: Mapping[str, str] = Attribute("By algorithm; C{sha256} among them unless a download is under way.")

    path: Path | None = Attribute("Where all of it lies on a disk of this machine, from the root; None: nowhere.")
    published_at: datetime | None = Attribute("When it was published; None where an index has not said, or can't.")

    def send(consumer: IConsumer, first: int, last: int | None) -> Deferred[None]:
        """
        Send the bytes C{first} to C{last} (both included; None: to the end) to C{consumer}, at its own pace.

        The producer is registered and unregistered here; the consumer is not finished here.

        @return: fires when the last byte was written; fails if the bytes cannot be had (L{UpstreamUnavailable},
            L{UpstreamBroken}), with the consumer then having had less than it was promised.
        """


class IDescriptorConsumer(IConsumer):
    """A consumer that may be able to take bytes straight from an open file, past the memory of this process."""

    def takes_descriptors() -> bool:
        """Plain call. Whether it can do so now: not where bytes are changed on their way, as TLS does."""

    def take(descriptor: int, offset: int, length: int) -> Deferred[int]:
        """
        Take C{length} bytes from C{offset} on, after all that was written before, and at the client's pace. No producer
        may be registered meanwhile, and C{descriptor} has to stay open until this fires or is cancelled.

        The bytes should be in memory: the reactor waits for those that are not.

        @return: how many were taken; fewer than C{length} where the file ends, or does not give them this way: reading
            the rest shows which. Fails with L{CancelledError<twisted.internet.defer.CancelledError>} where the
            client left.
        """


class IArriving(IStoredFile):
    """A file that may have to be downloaded before it can be sent."""

    def ready() -> Deferred[None]:
        """
        Begin the download where none is under way, and wait for the first bytes; C{size} is then as exact as
        upstream made it. A file that is here is ready at once. To be called before anything is written to a
        client: what goes wrong until then can still be answered. [NotFound, UpstreamUnavailable,
        UpstreamBroken, NoRoom]
        """


class IFileView(Interface):
    """An own hold on the bytes of one file: deleting the file does not take them away."""

    def read(offset: int, length: int) -> Deferred[bytes]:
        """Up to C{length} bytes from C{offset} on, as many as there are now; empty for none. [Unavailable]"""

    def close() -> None:
        """Plain call. Let go; a read under way ends first."""


class IFileWriter(Interface):
    """One file on its way into storage: invisible until committed."""

    size: int = Attribute("Bytes accepted so far.")

    def write(data: bytes) -> Deferred[None] | None:
        """Plain call. Take the next bytes; a Deferred asks the caller to wait for it before it gives more. [NoRoom]"""

    def finish() -> Deferred[Mapping[str, str]]:
        """All bytes have been written: wait until they are on disk, and give their digests. [NoRoom]"""

    def reader() -> BinaryIO:
        """Plain call, after C{finish} and not after C{commit}. An own, seekable view of the bytes, for a thread."""

    def view() -> IFileView:
        """Plain call, not after C{commit} or C{abort}. A view for readers that follow the file as it grows."""

    def notify(grown: Callable[[int], None]) -> None:
        """Plain call. From now on call C{grown} with how many bytes views can read, each time they are more."""

    def commit(key: str, expected: Mapping[str, str]) -> Deferred[IStoredFile]:
        """
        Make the bytes visible under C{key}, whole and synced to disk, in place of what may be there.

        @param expected: digests the bytes must have; an algorithm that was not computed is passed over.
        @raise DigestMismatch: nothing was stored. [NoRoom]
        """

    def abort() -> Deferred[None]:
        """Drop the bytes. Does no harm after C{commit}, or twice."""


class IFileStorage(Interface):
    """Named bytes. A key is a relative path: C{releases/...} or C{pre-releases/...}."""

    def open(key: str) -> Deferred[IStoredFile]:
        """The bytes under C{key}. [NotFound]"""

    def read(key: str, limit: int) -> Deferred[bytes]:
        """The whole of a small file. [NotFound; TooLarge over C{limit} bytes]"""

    def inspect(key: str) -> Deferred[BinaryIO]:
        """A seekable view of the bytes under C{key}, for use in a thread; the caller closes it. [NotFound]"""

    def create(algorithms: tuple[str, ...] = ("sha256",)) -> Deferred[IFileWriter]:
        """Begin a new file, computing these digests as it is written. [NoRoom: at once, or when it is written]"""

    def delete(key: str) -> Deferred[None]:
        """Remove the bytes under C{key}; readers that have them open go on. No error where there are none."""

    def names() -> Deferred[tuple[tuple[str, int, datetime], ...]]:
        """Every key with its size and the time of its last change: for check, clean-up and rebuild."""

    def check() -> Deferred[None]:
        """Whether files can be written now. [NoRoom]"""
