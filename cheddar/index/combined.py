"""The combined index: the organisation's own projects, and everybody else's."""

from __future__ import annotations

from attrs import define, field
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.interfaces import IIndex, IOwningIndex, IStoredFile
from cheddar.model import Project


@implementer(IIndex)
@define(eq=False)
class CombinedIndex:
    """
    Each name belongs to one of two indexes, whole: projects are never mixed.

    @ivar name: C{combined}.
    """

    _local: IOwningIndex
    _remote: IIndex
    name: str = field(init=False, default="combined")

    @returns_deferred
    async def project_names(self) -> tuple[str, ...]:
        """See L{IIndex}."""
        # A remembered listing of a name that is taken by now is nobody's: its page is the local project's, or none.
        remote = set(await self._remote.project_names()) - await self._local.owned_names()
        return tuple(sorted({*await self._local.project_names(), *remote}))

    @returns_deferred
    async def project(self, name: str) -> Project:
        """See L{IIndex}."""
        return await (await self._owner(name)).project(name)

    def asked(self, name: str) -> None:
        """See L{IIndex}: what is local has no need to be wanted."""
        self._remote.asked(name)

    @returns_deferred
    async def file(self, project: str, filename: str, digest: str | None) -> IStoredFile:
        """See L{IIndex}."""
        return await (await self._owner(project)).file(project, filename, digest)

    @returns_deferred
    async def core_metadata(self, project: str, filename: str, digest: str | None) -> bytes:
        """See L{IIndex}."""
        return await (await self._owner(project)).core_metadata(project, filename, digest)

    @returns_deferred
    async def provenance(self, project: str, filename: str, digest: str | None) -> bytes:
        """See L{IIndex}."""
        return await (await self._owner(project)).provenance(project, filename, digest)

    async def _owner(self, name: str) -> IIndex:
        """
        The one rule, for pages, files and what belongs to them alike: a name that was ever taken locally, or is
        reserved, is never asked of upstream, even when its last file is gone. Else whoever publishes that name upstream
        would be believed.
        """
        return self._local if await self._local.owns(name) else self._remote
