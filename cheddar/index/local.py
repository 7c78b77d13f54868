"""The local index: the organisation's own projects."""

from __future__ import annotations

from datetime import datetime, timezone
from math import inf
from secrets import token_hex

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import AlreadyExists, Forbidden, Founded, Invalid, NoRoom, NotFound, TooLarge, Unavailable
from cheddar.formats import attestations, core_metadata, filenames
from cheddar.formats.links import digest_segment
from cheddar.formats.provenance import MAX_SIZE as MAX_PROVENANCE
from cheddar.index import upload_checks
from cheddar.index.remembered import Remembered
from cheddar.index.reservations import Reservations
from cheddar.index.sidecars import advertised, provenance_key, sidecar, write_whole
from cheddar.index.store_memory import StoreMemory
from cheddar.interfaces import IFileStorage, IPermissions, IProjectStore, IPublishable, IStoredFile, IUpload
from cheddar.model import (
    QUARANTINED,
    Action,
    CoreMetadata,
    File,
    Identity,
    Project,
    ProjectList,
    Release,
    Selector,
    is_prerelease,
)

MAX_CORE_METADATA = 4 * 1024 * 1024


def storage_key(project: str, version: str, filename: str) -> str:
    """
    A new storage key for a file: no two publications share one, so that none can ever remove another's bytes.

    Pre-releases and releases lie apart (PEP 440), so that a backup can leave the former out.
    """
    folder = "pre-releases" if is_prerelease(version) else "releases"
    return f"{folder}/{project}/{token_hex(4)}/{filename}"


@implementer(IPublishable)
@define(eq=False)
class LocalIndex:
    """
    @ivar _projects: the rows: the commit point of every change.
    @ivar _memory: asked before a name is called free: an emptied store must not give private names away.
    @ivar _storage: the bytes: written before their row, removed after it.
    @ivar _permissions: know whose a project is.
    @ivar _pool: reads archives and computes digests.
    @ivar _allow_reuse: whether a removed file's name may come back with other bytes.
    @ivar _strict_names: whether a file that is not named as today's tools do is refused.
    @ivar _remembered: what the rows say, for those who read; None: they are asked each time.
    @ivar _reservations: names that are this index's before anything is published under them.
    """

    _projects: IProjectStore
    _memory: StoreMemory
    _storage: IFileStorage
    _reactor: IReactorFromThreads
    _clock: IReactorTime
    _pool: ThreadPool
    _permissions: IPermissions
    _allow_reuse: bool = True
    _reservations: Reservations = field(factory=Reservations)
    _strict_names: bool = False
    _remembered: Remembered[Project | None] | None = None
    name: str = "local"

    _log = Logger()

    @returns_deferred
    async def project_names(self) -> tuple[str, ...]:
        """See L{IIndex.project_names}."""
        return (await self.listed()).names

    @returns_deferred
    async def listed(self) -> ProjectList:
        """See L{IPublishable.listed}."""
        known = await self._projects.listed()
        if not known.projects:
            await self._memory.check()
        return evolve(known, projects=tuple(item for item in known.projects if item.status != QUARANTINED))

    @returns_deferred
    async def owned_names(self) -> frozenset[str]:
        """See L{IPublishable.owned_names}."""
        return frozenset(await self._projects.owned_names())

    @returns_deferred
    async def owns(self, name: str) -> bool:
        """See L{IPublishable.owns}."""
        # Pages, files, core metadata and refreshes all go by this, so that none of them can ask upstream alone.
        return self._reservations.pattern(name) is not None or await self._seen(name) is not None

    @returns_deferred
    async def check_publisher(self, name: str, by: Identity) -> None:
        """See L{IPublishable.check_publisher}."""
        await self._founder(name, by)

    async def _founder(self, name: str, by: Identity) -> str | None:
        """
        @return: who would own the project if C{by} created it; None where it is there already.
        @raise Forbidden: C{by} may not publish there. [Reserved, StoreUnavailable]
        """
        if await self._known(name) is not None:
            await self._permissions.check(by, Action.UPLOAD, self.name, name)
            return None
        await self._permissions.check(by, Action.CREATE, self.name, name)
        if not by.publisher:  # whom the settings name for this very project
            await self._reservations.check_founder(name, by)
        return await self._permissions.founder(by, name)

    @returns_deferred
    async def check(self) -> None:
        """See L{IPublishable.check}."""
        await self._memory.check()

    async def _known(self, name: str) -> Project | None:
        """As the store says at this moment: what is changed is decided by that."""
        return await self._there(await self._projects.project(name))

    async def _seen(self, name: str) -> Project | None:
        """For reading: what another process has changed is seen within a second."""
        if self._remembered is None:
            return await self._known(name)
        return await self._there(await self._remembered.find(name, lambda: self._projects.project(name)))

    async def _there(self, project: Project | None) -> Project | None:
        if project is None:
            await self._memory.check()
        return project

    @returns_deferred
    async def project(self, name: str) -> Project:
        """See L{IIndex.project}."""
        return self._offered(name, await self._seen(name))

    def _offered(self, name: str, project: Project | None) -> Project:
        if project is None or not project.files:
            raise self._reservations.no_local_project(name)
        return evolve(project, good_until=inf)

    def _file(self, found: Project, filename: str, digest: str | None) -> File:
        project = found.name
        if found.status == QUARANTINED:
            # Not offered, whoever kept the address (PEP 792).
            raise NotFound(f"{project} is quarantined{f': {found.status_reason}' if found.status_reason else ''}.")
        for file in found.files:
            if file.filename == filename and digest in (None, digest_segment(file)):
                return file
        raise NotFound(f"The local project {project} has no such file.")

    def asked(self, name: str) -> None:
        """See L{IIndex}: what is here stays, wanted or not."""

    @returns_deferred
    async def file(self, project: str, filename: str, digest: str | None) -> IStoredFile:
        """See L{IIndex.file}."""
        file = self._file(await self.project(project), filename, digest)
        try:
            return await self._open(file)
        except NotFound:
            pass
        # It may have been removed, or replaced, since its row was read.
        file = self._file(self._offered(project, await self._known(project)), filename, digest)
        try:
            return await self._open(file)
        except NotFound as error:
            self._log.error("The bytes of {filename} are missing: {error}", filename=filename, error=error)
            raise Unavailable(
                f"{filename} is listed, but its bytes are missing; an operator must put them back or run "
                "`cheddar rebuild`.",
                retry_after=600,
            ) from None

    async def _open(self, file: File) -> IStoredFile:
        stored = await self._storage.open(file.key)
        if file.size not in (None, stored.size):
            raise NotFound(f"{file.key} has {stored.size} bytes, not {file.size}.")
        stored.published_at = file.upload_time
        return stored

    @returns_deferred
    async def core_metadata(self, project: str, filename: str, digest: str | None) -> bytes:
        """See L{IIndex.core_metadata}."""
        file = self._file(await self.project(project), filename, digest)
        if file.core_metadata is None:
            raise NotFound(f"{filename} has no separate core metadata.")
        return await self._storage.read(sidecar(file.key), MAX_CORE_METADATA)

    @returns_deferred
    async def provenance(self, project: str, filename: str, digest: str | None) -> bytes:
        """See L{IIndex.provenance}."""
        file = self._file(await self.project(project), filename, digest)
        if file.provenance is None:
            raise NotFound(f"{filename} has no provenance: it was published without attestations.")
        return await self._storage.read(file.provenance, MAX_PROVENANCE)

    @returns_deferred
    async def history(self) -> tuple[Release, ...]:
        """See L{IPublishable.history}."""
        return await self._projects.history()

    @returns_deferred
    async def release_metadata(self, project: str, version: str) -> tuple[tuple[File, ...], CoreMetadata | None]:
        """See L{IPublishable.release_metadata}."""
        found = await self.project(project)
        files = tuple(file for file in found.files if file.version == version)
        if not files:
            raise NotFound(f"The local project {project} has no release {version}.")
        for file in sorted(files, key=lambda file: not filenames.is_wheel(file.filename)):
            try:
                raw = await self._storage.read(sidecar(file.key), MAX_CORE_METADATA)
                return files, await deferToThreadPool(self._reactor, self._pool, core_metadata.parse, raw)
            except NotFound:
                continue
            except (Invalid, TooLarge) as error:
                # It was read when the file was published: the fault is not the reader's.
                self._log.error("The core metadata of {name} is damaged: {error}", name=file.filename, error=error)
        return files, None

    @returns_deferred
    async def publish(self, upload: IUpload, by: Identity) -> File:
        """See L{IPublishable.publish}."""
        upload_checks.check_filename(upload.filename)
        upload_checks.check_kind(upload)
        writer = upload.writer
        digests = await writer.finish()
        metadata = await deferToThreadPool(
            self._reactor,
            self._pool,
            upload_checks.inspect,
            writer,
            upload.filename,
            digests,
            upload_checks.claimed_digests(upload),
        )
        # In a thread too: a form may say much of what the file requires.
        project, version = await deferToThreadPool(
            self._reactor, self._pool, upload_checks.agreed_with_form, upload, metadata
        )
        founder = await self._founder(project, by)
        file = File(
            filename=upload.filename,
            version=version,
            size=writer.size,
            digests={"sha256": digests["sha256"]},
            upload_time=datetime.fromtimestamp(self._clock.seconds(), timezone.utc),
            uploaded_by=by.name,
        )
        provenance = await self._provenance(upload, file)
        same = await self._published(project, file)
        if same is not None:
            # Whatever came with it: who may publish once may not change later what others have relied on.
            return same
        wanted = upload_checks.normalized_name(file.filename, project, version, self._strict_names)
        file = evolve(
            file,
            key=storage_key(project, version, file.filename),
            requires_python=metadata.requires_python,
            core_metadata=advertised(file.filename, metadata),
        )
        if provenance is not None:
            file = evolve(file, provenance=provenance_key(file.key))
        # The row comes last: what is listed is whole. A crash before it leaves files that no row names.
        try:
            await write_whole(self._storage, sidecar(file.key), metadata.raw)
            if provenance is not None:
                await write_whole(self._storage, provenance_key(file.key), provenance)
            await writer.commit(file.key, file.digests)
            try:
                await self._projects.add_file(project, metadata.name, file, self._allow_reuse, founder)
            except Founded:
                founder = await self._founder(project, by)
                await self._projects.add_file(project, metadata.name, file, self._allow_reuse, founder)
        except (Forbidden, Invalid, NoRoom):
            # A store that did not answer may have the row all the same; these say that there is none.
            await self._forget_bytes(file)
            raise
        except AlreadyExists:
            await self._forget_bytes(file)
            same = await self._published(project, file)
            if same is None:
                raise
            return same
        await self._memory.note_change()
        self._log.info(
            "{by} published {filename} ({sha256})", by=str(by), filename=file.filename, sha256=file.digests["sha256"]
        )
        if wanted != file.filename:
            self._log.warn(
                "{filename}, which {by} published, should be called {wanted}: an old tool named it, and STRICT_NAMES "
                "would refuse it",
                by=by.name,
                filename=file.filename,
                wanted=wanted,
            )
        return file

    async def _provenance(self, upload: IUpload, file: File) -> bytes | None:
        """The provenance object of a file, or None where it came without attestations. [Invalid, TooLarge]"""
        sent = upload.fields.get("attestations", ())
        if not sent:
            return None
        return await deferToThreadPool(
            self._reactor, self._pool, attestations.provenance_of, sent[0], file.filename, file.digests["sha256"]
        )

    async def _published(self, project: str, file: File) -> File | None:
        """The same file, if it is published already; None if the name is free. [AlreadyExists: other bytes]"""
        existing = await self._known(project)
        for other in existing.files if existing else ():
            if other.filename == file.filename:
                if other.digests.get("sha256") == file.digests["sha256"]:
                    return other
                raise AlreadyExists(
                    f"File already exists: {file.filename} was published with other bytes. Publish a new version, or "
                    "remove the file first."
                )
        return None

    async def _forget_bytes(self, file: File) -> None:
        """Remove the bytes of a file that no row names any more; a failure leaves an orphan, which harms nobody."""
        for key in (file.key, sidecar(file.key), provenance_key(file.key)):
            try:
                await self._storage.delete(key)
            except NoRoom as error:
                self._log.warn("Could not remove {key}: {error}", key=key, error=str(error))

    @returns_deferred
    async def yank(self, project: str, selector: Selector, reason: str | None) -> int:
        """See L{IPublishable.yank}."""
        await self._check_there(project)
        return await self._projects.set_yanked(project, selector, reason)

    @returns_deferred
    async def remove(self, project: str, selector: Selector) -> int:
        """See L{IPublishable.remove}."""
        await self._check_there(project)
        files = await self._projects.remove_files(project, selector)
        for file in files:
            await self._forget_bytes(file)
        return len(files)

    async def _check_there(self, project: str) -> None:
        # In the very words that somebody gets for a project that he may not know of.
        if await self._known(project) is None:
            raise NotFound(f"There is no local project {project}.")

    @returns_deferred
    async def release_name(self, name: str) -> None:
        """See L{IPublishable.release_name}."""
        await self._projects.release_name(name)
