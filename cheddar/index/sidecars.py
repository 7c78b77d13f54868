"""
What lies beside the file that it is of, under the file's own storage key with something behind: its core metadata with
C{.metadata}, its provenance with C{.provenance}.
"""

from __future__ import annotations

import hashlib

from cheddar.formats import provenance
from cheddar.formats.core_metadata import is_static
from cheddar.formats.filenames import is_wheel
from cheddar.interfaces import IFileStorage
from cheddar.model import CoreMetadata

SUFFIX = ".metadata"


def sidecar(key: str) -> str:
    """The storage key of the core metadata of the file under C{key}."""
    return key + SUFFIX


def provenance_key(key: str) -> str:
    """The storage key of the provenance of the file under C{key}."""
    return key + provenance.SUFFIX


def is_sidecar(key: str) -> bool:
    """Whether C{key} is of something beside a file, and of no file."""
    return key.endswith((SUFFIX, provenance.SUFFIX))


def advertised(filename: str, metadata: CoreMetadata) -> dict[str, str] | None:
    """
    The digests of a local file's core metadata as its page advertises them (PEP 658); None where it does not: for an
    sdist that must be built before it is known what it needs.
    """
    if not (is_wheel(filename) or is_static(metadata)):
        return None
    return {"sha256": hashlib.sha256(metadata.raw).hexdigest()}


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
