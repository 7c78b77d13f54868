"""The indexes as one reader sees them: a local project that is not for him is like one that is not there."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import NotFound
from cheddar.index.combined import CombinedIndex
from cheddar.index.reservations import Reservations
from cheddar.interfaces import IIndex, IOwningIndex, IStoredFile
from cheddar.model import CoreMetadata, File, Project, ProjectList, Release, Sight


@implementer(IOwningIndex)
@define(eq=False)
class SeenLocalIndex:
    """
    The local index, without what a reader may not see. The names are taken for him too: what hides from him hides what
    upstream has under the same name.

    @ivar _absent: what it says of a project that is not there.
    """

    _local: IOwningIndex
    _sight: Sight
    _absent: Callable[[str], NotFound]
    name: str = "local"

    @returns_deferred
    async def owns(self, name: str) -> bool:
        """See L{IOwningIndex.owns}."""
        return await self._local.owns(name)

    @returns_deferred
    async def owned_names(self) -> frozenset[str]:
        """See L{IOwningIndex.owned_names}: all of them."""
        return await self._local.owned_names()

    @returns_deferred
    async def project_names(self) -> tuple[str, ...]:
        """See L{IIndex.project_names}."""
        return tuple(name for name in await self._local.project_names() if self._sight.sees(name))

    @returns_deferred
    async def listed(self) -> ProjectList:
        """See L{IOwningIndex.listed}."""
        listed = await self._local.listed()
        return evolve(listed, projects=tuple(item for item in listed.projects if self._sight.sees(item.name)))

    @returns_deferred
    async def history(self) -> tuple[Release, ...]:
        """See L{IOwningIndex.history}."""
        return tuple(release for release in await self._local.history() if self._sight.sees(release.project))

    def _check(self, project: str) -> None:
        if not self._sight.sees(project):
            raise self._absent(project)

    @returns_deferred
    async def project(self, name: str) -> Project:
        """See L{IIndex.project}."""
        self._check(name)
        return await self._local.project(name)

    def asked(self, name: str) -> None:
        """See L{IIndex}: what is here stays, wanted or not."""

    @returns_deferred
    async def file(self, project: str, filename: str, digest: str | None) -> IStoredFile:
        """See L{IIndex.file}."""
        self._check(project)
        return await self._local.file(project, filename, digest)

    @returns_deferred
    async def core_metadata(self, project: str, filename: str, digest: str | None) -> bytes:
        """See L{IIndex.core_metadata}."""
        self._check(project)
        return await self._local.core_metadata(project, filename, digest)

    @returns_deferred
    async def provenance(self, project: str, filename: str, digest: str | None) -> bytes:
        """See L{IIndex.provenance}."""
        self._check(project)
        return await self._local.provenance(project, filename, digest)

    @returns_deferred
    async def release_metadata(self, project: str, version: str) -> tuple[tuple[File, ...], CoreMetadata | None]:
        """See L{IOwningIndex.release_metadata}."""
        self._check(project)
        return await self._local.release_metadata(project, version)


@define(eq=False)
class Views:
    """Gives each reader the indexes that are his."""

    _local: IOwningIndex
    _remote: IIndex
    _reservations: Reservations

    def __call__(self, sight: Sight) -> tuple[IOwningIndex, IIndex]:
        """@return: the local and the combined index, for who sees so much."""
        if sight.everything:
            return self._local, CombinedIndex(self._local, self._remote)
        # Each says of what is hidden what it says of what is nowhere.
        behind = SeenLocalIndex(self._local, sight, self._reservations.no_project)
        return (
            SeenLocalIndex(self._local, sight, self._reservations.no_local_project),
            CombinedIndex(behind, self._remote),
        )
