"""C{cheddar project}: which names belong to the local index."""

from __future__ import annotations

from typing import ClassVar

from twisted.python import usage

from cheddar.cli.command import Group, StoreCommand, Terminal
from cheddar.interfaces import IStore
from cheddar.names import normalize


class ListProjects(StoreCommand):
    """C{cheddar project list}"""

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        with_files = set(await store.projects.project_names())
        for name in await store.projects.owned_names():
            terminal.say(name if name in with_files else f"{name} (no files; the name is kept)")


class ReleaseName(StoreCommand):
    """C{cheddar project release NAME}"""

    synopsis = "NAME"
    name: str

    def parseArgs(self, *names: str) -> None:
        """The project's name. [UsageError]"""
        if len(names) != 1:
            raise usage.UsageError("exactly one project name is needed")
        self.name = normalize(names[0])

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        await store.projects.release_name(self.name)
        terminal.say(f"Released the name {self.name}: the remote index may offer a project of that name from now on.")


class Projects(Group):
    """C{cheddar project}"""

    commands: ClassVar[list[tuple[str, type[usage.Options], str]]] = [
        ("list", ListProjects, "List the local projects."),
        ("release", ReleaseName, "Give up the name of a project without files, so that upstream is asked for it."),
    ]
