"""C{cheddar project}: which names belong to the local index, and what state their projects are in."""

from __future__ import annotations

from typing import ClassVar

from twisted.python import usage

from cheddar.cli.command import Group, StoreCommand, Terminal
from cheddar.interfaces import IStore
from cheddar.model import Event
from cheddar.names import is_of_pattern, normalize


class ListProjects(StoreCommand):
    """C{cheddar project list}"""

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        with_files = set((await store.projects.listed()).names)
        for name in await store.projects.owned_names():
            project = await store.projects.project(name)
            notes = [] if name in with_files else ["no files; the name is kept"]
            if project is not None and project.status != "active":
                notes.append(": ".join(filter(None, (project.status, project.status_reason))))
            terminal.say(f"{name} ({'; '.join(notes)})" if notes else name)


class NamedProject(StoreCommand):
    """A subcommand for one project."""

    synopsis = "NAME"
    name: str

    def parseArgs(self, *names: str) -> None:
        """The project's name. [UsageError]"""
        if len(names) != 1:
            raise usage.UsageError("exactly one project name is needed")
        self.name = normalize(names[0])

    def subject(self) -> Event:
        """See L{StoreCommand.subject}."""
        return Event(action=self.noted, project=self.name)


class ReleaseName(NamedProject):
    """C{cheddar project release NAME}"""

    noted = "project.release"

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        await store.projects.release_name(self.name)
        reserved = any(is_of_pattern(self.name, pattern) for pattern in self.settings.reserved_names)
        then = (
            "it is reserved, so that upstream is not asked for it all the same."
            if reserved
            else "the remote index may offer a project of that name from now on."
        )
        terminal.say(f"Released the name {self.name}: {then}")


class SetStatus(NamedProject):
    """C{cheddar project archive NAME --reason TEXT} and its like (PEP 792)"""

    status: ClassVar[str]
    synopsis = "NAME [--reason TEXT]"
    optParameters: ClassVar[list[list[str | None]]] = [
        ["reason", None, None, "Why; shown on the project's page and to installers."]
    ]

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        reason = " ".join((self["reason"] or "").split()) or None
        await store.projects.set_status(self.name, self.status, reason)
        terminal.say(f"{self.name} is {self.status} now{f': {reason}' if reason else ''}.")


class Archive(SetStatus):
    """C{cheddar project archive}"""

    noted = "project.archive"
    status = "archived"


class Deprecate(SetStatus):
    """C{cheddar project deprecate}"""

    noted = "project.deprecate"
    status = "deprecated"


class Quarantine(SetStatus):
    """C{cheddar project quarantine}"""

    noted = "project.quarantine"
    status = "quarantined"


class Activate(SetStatus):
    """C{cheddar project activate}"""

    noted = "project.activate"
    status = "active"


class Projects(Group):
    """C{cheddar project}"""

    commands: ClassVar[list[tuple[str, type[usage.Options], str]]] = [
        ("list", ListProjects, "List the local projects."),
        ("release", ReleaseName, "Give up the name of a project without files, so that upstream is asked for it."),
        ("archive", Archive, "Mark a project as finished: its files stay, it takes no more."),
        ("deprecate", Deprecate, "Mark a project as one not to begin with; all goes on as before."),
        ("quarantine", Quarantine, "Offer none of a project's files, and take none, until it is activated again."),
        ("activate", Activate, "Take back what archive, deprecate or quarantine said."),
    ]
