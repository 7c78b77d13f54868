"""The METADATA of one wheel: out of the wheel in storage, or out of a few small parts of upstream's."""

from __future__ import annotations

import hashlib
from typing import Any, BinaryIO

from attrs import define, frozen
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from cheddar.errors import Invalid, NotFound, Unavailable, UpstreamBroken
from cheddar.formats import zip_directory
from cheddar.formats.byte_ranges import Span
from cheddar.index.upstreams import Upstreams
from cheddar.interfaces import IFileStorage
from cheddar.model import File, Ranged

#: Parts asked for after the first: the rest of a long directory, and METADATA.
MORE_PARTS = 2


@frozen
class WheelMetadata:
    """
    What was read of a wheel.

    @ivar raw: the exact bytes of METADATA.
    @ivar size: of the wheel, in bytes.
    @ivar verified: whether the wheel has the digests that its listing gives.
    """

    raw: bytes
    size: int
    verified: bool


@define(eq=False)
class WheelReader:
    """
    Reads the METADATA of upstream's wheels.

    @ivar _reactor: IReactorFromThreads.
    @ivar _pool: where archives are read.
    """

    _upstreams: Upstreams
    _storage: IFileStorage
    _reactor: Any
    _pool: ThreadPool

    async def from_storage(self, key: str, file: File) -> WheelMetadata | None:
        """
        @param key: of the wheel. What is there was verified when it came.
        @return: None where the wheel is not there. [Invalid, Unavailable]
        """
        try:
            wheel = await self._storage.inspect(key)
        except NotFound:
            return None
        read: WheelMetadata = await deferToThreadPool(self._reactor, self._pool, _read_stored, wheel, file.filename)
        # Of another size it is damaged, and dropped by whoever wants to send it.
        return read if file.size in (None, read.size) else None

    async def from_upstream(self, file: File) -> WheelMetadata:
        """
        Ask for the end of the wheel, and for what is missing then: mostly nothing, or METADATA.

        @raise Invalid: this wheel's METADATA cannot be read in this way. [NotFound, UpstreamUnavailable,
            UpstreamBroken]
        """
        upstream = self._upstreams.of(file.upstream)
        if file.size == 0:
            raise Invalid(f"{file.filename} is empty.")
        if file.size is None:
            end = await upstream.fetch_range(file.url, -zip_directory.TAIL)
        else:
            # There are servers that know positions, and nothing of the end.
            first = max(0, file.size - zip_directory.TAIL)
            end = await upstream.fetch_range(file.url, first, file.size - 1)
        length = end.total if file.size is None else file.size
        parts = zip_directory.Parts(length)
        _add(parts, end, file)
        verified = _verify_whole(parts, file)
        for _ in range(MORE_PARTS):
            step = await deferToThreadPool(self._reactor, self._pool, zip_directory.next_step, parts, file.filename)
            if not isinstance(step, Span):
                return WheelMetadata(step.raw, length, verified)
            _add(parts, await upstream.fetch_range(file.url, step.first, step.last), file)
        step = await deferToThreadPool(self._reactor, self._pool, zip_directory.next_step, parts, file.filename)
        if isinstance(step, Span):
            raise Invalid(f"{file.filename} would have to be fetched in too many parts.")
        return WheelMetadata(step.raw, length, verified)


def _add(parts: zip_directory.Parts, part: Ranged, file: File) -> None:
    if part.total != parts.length:
        raise UpstreamBroken(f"Upstream says that {file.filename} has {part.total} bytes, and {parts.length} before.")
    parts.add(part.first, part.data)


def _verify_whole(parts: zip_directory.Parts, file: File) -> bool:
    """Whether the wheel is so small that all of it came, and its digest is known. [UpstreamBroken: it is wrong]"""
    whole = parts.whole()
    if whole is None or "sha256" not in file.digests:
        return False
    if hashlib.sha256(whole).hexdigest() != file.digests["sha256"]:
        raise UpstreamBroken(f"Upstream sent wrong bytes for {file.filename}. Try again.")
    return True


def _read_stored(wheel: BinaryIO, filename: str) -> WheelMetadata:
    """For use in a thread."""
    with wheel:
        try:
            length = wheel.seek(0, 2)
            found = zip_directory.read_wheel_metadata(wheel, length, filename)
        except OSError as error:
            raise Unavailable("The server cannot read this file from its storage now. Try again later.") from error
    return WheelMetadata(found.raw, length, True)
