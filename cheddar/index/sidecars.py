"""Core metadata beside the file that it is of: under the file's own storage key, with C{.metadata} behind."""

from __future__ import annotations

import hashlib

from cheddar.formats.filenames import is_wheel
from cheddar.interfaces import IFileStorage
from cheddar.model import CoreMetadata

SUFFIX = ".metadata"


def sidecar(key: str) -> str:
    """The storage key of the core metadata of the file under C{key}."""
    return key + SUFFIX


def advertised(filename: str, metadata: CoreMetadata) -> dict[str, str] | None:
    """The digests of a local file's core metadata as its page advertises them (PEP 658); None where it does not."""
    return {"sha256": hashlib.sha256(metadata.raw).hexdigest()} if is_wheel(filename) else None


async def write_whole(storage: IFileStorage, key: str, data: bytes) -> None:
    """Store a small file in one go. [NoRoom]"""
    writer = await storage.create(())
    try:
        pause = writer.write(data)
        if pause is not None:
            await pause
        await writer.finish()
        await writer.commit(key, {})
    finally:
        await writer.abort()
