"""The indexes, by the names that addresses have, as whoever asks may see them."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from cheddar.errors import NotFound
from cheddar.interfaces import IIndex, IOwningIndex
from cheddar.model import Listed, ProjectList, Sight
from cheddar.web.request import CheddarRequest


@define(eq=False)
class Indexes:
    """The three indexes, as somebody sees them."""

    local: IOwningIndex
    remote: IIndex
    combined: IIndex

    def named(self, name: str) -> IIndex:
        """The index called C{name}. @raise NotFound: there is none."""
        for index in (self.local, self.remote, self.combined):
            if index.name == name:
                return index
        raise NotFound(f"There is no index {name}.")

    async def listed(self, name: str) -> ProjectList:
        """
        The projects of the index called C{name}, local ones with their serials: a mirror goes by these, and takes
        upstream's projects from upstream. Where both are on the list, it has no serial itself.
        """
        counted = await self.local.listed()
        if name == self.local.name:
            return counted
        names = await self.named(name).project_names()
        serials = {project.name: project.serial for project in counted.projects if name == self.combined.name}
        return ProjectList(tuple(Listed(project, serials.get(project)) for project in names))


@define(eq=False)
class Shown:
    """
    Shows to each client the indexes that are his: the only way to them, for whoever reads.

    @ivar _view: the local and the combined index, for who sees so much.
    """

    _view: Callable[[Sight], tuple[IOwningIndex, IIndex]]
    _remote: IIndex

    def to(self, request: CheddarRequest) -> Indexes:
        """The indexes for a request that was let through."""
        assert request.sight is not None  # the route's action is to read
        local, combined = self._view(request.sight)
        return Indexes(local, self._remote, combined)
