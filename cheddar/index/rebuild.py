"""
The local index's rows made anew from its files.

For a store that was lost, and for the files of the first Cheddar, which kept them flat below C{releases/} and
C{pre-releases/}.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import BinaryIO

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from cheddar.deferreds import returns_deferred
from cheddar.errors import CheddarError, Invalid, NotFound
from cheddar.formats import archives, filenames, provenance
from cheddar.index.sidecars import advertised, is_sidecar, provenance_key, sidecar, write_whole
from cheddar.interfaces import IFileStorage, IProjectStore
from cheddar.model import CoreMetadata, File, Selector

_FOLDERS = ("releases", "pre-releases")
_CHUNK = 1 << 20


@frozen
class RebuildReport:
    """
    What a rebuild found and did.

    @ivar files: how many files there are.
    @ivar rows: how many files are listed now.
    @ivar unreadable: storage keys of files that could not be taken in, and of provenance that cannot be served, and
        why; they were left where they are.
    @ivar duplicates: storage keys of files whose name another file has, and what that means; left likewise.
    @ivar vanished: storage keys that a row named and no file has; the rows were removed.
    """

    files: int
    rows: int
    unreadable: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[str, str], ...]
    vanished: tuple[str, ...]


@frozen
class _Found:
    """A file that was read."""

    key: str
    size: int
    changed_at: datetime
    project: str
    version: str
    sha256: str
    metadata: CoreMetadata = field(repr=False)


@define(eq=False)
class Rebuild:
    """
    Reads every file and puts its row. What a row knows and a file does not (yanked, by whom, when) stays.

    It may be run again at any time, and while the server runs; a file that is removed in the very moment may come
    back as a row, which the next run removes.
    """

    _storage: IFileStorage
    _projects: IProjectStore
    _reactor: IReactorFromThreads
    _pool: ThreadPool

    @returns_deferred
    async def run(self, progress: Callable[[int, int], None]) -> RebuildReport:
        """
        Do it.

        @param progress: called with the number of files read so far, and of all.
        @raise StoreUnavailable: the store does not answer; what was done until then stays. [NoRoom]
        """
        # The rows first: what is published after this has a row that is none of this run's business.
        rows = await self._rows()
        names = await self._storage.names()
        keys = {key for key, _, _ in names}
        candidates = [row for row in names if row[0].split("/")[0] in _FOLDERS and not is_sidecar(row[0])]
        unreadable: list[tuple[str, str]] = []
        by_filename: dict[str, list[_Found]] = defaultdict(list)
        for done, (key, _, changed_at) in enumerate(sorted(candidates)):
            progress(done, len(candidates))
            try:
                found = await self._read(key, changed_at)
            except CheddarError as error:
                unreadable.append((key, str(error)))
            except OSError as error:
                unreadable.append((key, f"it cannot be read: {error.strerror}"))
            else:
                by_filename[_filename(key)].append(found)
        progress(len(candidates), len(candidates))

        duplicates: list[tuple[str, str]] = []
        listed = {file.key for _, file in rows}
        for same_name in by_filename.values():
            chosen = _choose(same_name, listed, duplicates)
            await self._put(chosen, keys, await self._provenance(chosen.key, keys, unreadable))
        vanished = [await self._forget(project, file) for project, file in rows if file.key not in keys]
        return RebuildReport(
            files=len(candidates),
            rows=len(by_filename),
            unreadable=tuple(unreadable),
            duplicates=tuple(duplicates),
            vanished=tuple(key for key in vanished if key),
        )

    async def _rows(self) -> list[tuple[str, File]]:
        rows: list[tuple[str, File]] = []
        for name in (await self._projects.listed()).names:
            project = await self._projects.project(name)
            rows.extend((name, file) for file in (project.files if project else ()))
        return rows

    async def _read(self, key: str, changed_at: datetime) -> _Found:
        filename = _filename(key)
        if not (filenames.is_wheel(filename) or filenames.is_sdist(filename)):
            raise Invalid("it is neither a wheel (.whl) nor an sdist (.tar.gz, .zip)")
        file = await self._storage.inspect(key)
        # What was still being copied here when the folder was looked through has another size now.
        sha256, size, metadata = await deferToThreadPool(self._reactor, self._pool, _inspect, file, filename)
        project, version = archives.agreed_names(filename, metadata)
        return _Found(key, size, changed_at, project, version, sha256, metadata)

    async def _provenance(self, key: str, keys: set[str], unreadable: list[tuple[str, str]]) -> str | None:
        """The storage key of the provenance of the file under C{key}, or None where it has none that can be served."""
        beside = provenance_key(key)
        if beside not in keys:
            return None
        try:
            provenance.check(await self._storage.read(beside, provenance.MAX_SIZE))
        except Invalid as error:
            unreadable.append((beside, f"it {error}"))
        except CheddarError as error:
            unreadable.append((beside, str(error)))
        else:
            return beside
        return None

    async def _put(self, found: _Found, keys: set[str], beside: str | None) -> None:
        raw = found.metadata.raw
        if sidecar(found.key) not in keys:
            await write_whole(self._storage, sidecar(found.key), raw)
        filename = _filename(found.key)
        file = File(
            filename=filename,
            version=found.version,
            size=found.size,
            digests={"sha256": found.sha256},
            upload_time=found.changed_at,
            requires_python=found.metadata.requires_python,
            core_metadata=advertised(filename, found.metadata),
            provenance=beside,
            key=found.key,
        )
        await self._projects.put_file(found.project, found.metadata.name, file)

    async def _forget(self, name: str, file: File) -> str:
        """Remove a row whose file has vanished. @return: the key it named; empty if another file has the row now."""
        project = await self._projects.project(name)
        if project is None or not any(row.key == file.key for row in project.files):
            return ""
        try:
            await self._projects.remove_files(name, Selector(file.version, file.filename))
        except NotFound:
            return ""
        return file.key


def _filename(key: str) -> str:
    return key.rpartition("/")[2]


def _choose(found: list[_Found], listed: set[str], duplicates: list[tuple[str, str]]) -> _Found:
    """
    The file that counts among those of one name: the newest; of the same bytes the one a row names already, or else
    the first. A second run chooses the same.
    """
    newest = max(found, key=lambda file: file.changed_at)
    same = [file for file in found if file.sha256 == newest.sha256]
    chosen = next((file for file in same if file.key in listed), same[0])
    for file in found:
        if file is not chosen:
            what = "has the same bytes as" if file in same else "is older than, and differs from,"
            duplicates.append((file.key, f"{what} {chosen.key}, which is listed"))
    return chosen


def _inspect(file: BinaryIO, filename: str) -> tuple[str, int, CoreMetadata]:
    """In a thread: the SHA-256, the size in bytes and the core metadata. [Invalid, OSError]"""
    with file:
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        size = file.tell()
        file.seek(0)
        return digest.hexdigest(), size, archives.read_core_metadata(file, filename)
