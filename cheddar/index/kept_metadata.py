"""Core metadata of upstream's files, kept beside where the files are: as upstream has it, or as it was made here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from twisted.logger import Logger

from cheddar.deferreds import SingleFlight, returns_deferred
from cheddar.errors import NoRoom, NotFound, TooLarge, UpstreamBroken
from cheddar.index.listings import metadata_url, storage_key
from cheddar.index.sidecars import sidecar, write_whole
from cheddar.index.upstreams import Upstreams
from cheddar.interfaces import IFileStorage
from cheddar.model import NO_DIGESTS, File

MAX_METADATA = 4 * 1024 * 1024
#: Digests that are looked at.
_COMPARED = ("sha256", "sha384", "sha512")

_log = Logger()


def metadata_key(project: str, file: File) -> str:
    """Where the core metadata of one of upstream's files is kept."""
    return sidecar(storage_key(project, file))


def is_as_told(data: bytes, digests: Mapping[str, str] | None) -> bool:
    """Whether C{data} is what C{digests} promise; where they promise nothing, anything is."""
    return all(
        hashlib.new(algorithm, data).hexdigest() == digest
        for algorithm, digest in (digests or NO_DIGESTS).items()
        if algorithm in _COMPARED
    )


async def read_kept(storage: IFileStorage, key: str, file: File) -> bytes:
    """@raise NotFound: nothing is kept, or not what the listing says now."""
    data: bytes = await storage.read(key, MAX_METADATA)
    if not is_as_told(data, file.core_metadata):
        raise NotFound(f"The core metadata of {file.filename} is not here.")
    return data


async def keep(storage: IFileStorage, key: str, data: bytes) -> bool:
    """@return: whether there was room."""
    try:
        await write_whole(storage, key, data)
    except NoRoom as error:
        _log.warn("{key} could not be kept: {error}", key=key, error=error)
        return False
    return True


class PassedMetadata:
    """Core metadata that upstream has: checked, and kept once it was asked for."""

    def __init__(self, upstreams: Upstreams, storage: IFileStorage) -> None:
        self._upstreams = upstreams
        self._storage = storage
        self._flights: SingleFlight[bytes] = SingleFlight()

    @returns_deferred
    async def get(self, project: str, file: File) -> bytes:
        """@param file: for which upstream offers it. [NotFound, UpstreamUnavailable, UpstreamBroken]"""
        key = metadata_key(project, file)
        try:
            return await read_kept(self._storage, key, file)
        except NotFound:
            return await self._flights.run(key, lambda: self._fetch(key, file))

    @returns_deferred
    async def _fetch(self, key: str, file: File) -> bytes:
        if not self._upstreams:
            raise NotFound(f"There is no upstream to get {file.filename} from.")
        try:
            data = await self._upstreams.of(file.upstream).fetch_bytes(metadata_url(file.url), MAX_METADATA)
        except TooLarge as error:
            raise UpstreamBroken(f"Upstream's core metadata of {file.filename} is absurdly long.") from error
        if not is_as_told(data, file.core_metadata):
            raise UpstreamBroken(f"Upstream sent wrong core metadata for {file.filename}. Try again.")
        await keep(self._storage, key, data)
        return data
