"""C{cheddar upstream}: what is remembered of upstream's projects."""

from __future__ import annotations

from typing import ClassVar

from attrs import evolve
from twisted.python import usage

from cheddar.cli.command import Group, Terminal, by_operator
from cheddar.cli.projects import NamedProject
from cheddar.errors import Invalid, NotFound
from cheddar.formats.links import digest_segment
from cheddar.interfaces import IStore
from cheddar.model import CHANGED, CachedPage, Event, File
from cheddar.settings import Settings


class ForgetProject(NamedProject):
    """C{cheddar upstream forget NAME}"""

    longdesc = (
        "Drops what is remembered of one of upstream's projects, its withheld files and the digests that files were "
        "first seen with among it: the next request takes upstream's listing for the first one. A file whose bytes "
        "upstream has changed is then offered with the new ones, to clients that may have the old ones in their lock "
        "files. Look at the audit log before: it says what upstream had changed, and when. A running server follows "
        "within a second or two."
    )

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        from cheddar.index.remote import RemoteIndex

        _check_upstreams(self.settings, self.name)
        page = await store.pages.get(RemoteIndex.name, self.name)
        if page is None:
            raise NotFound(f"Nothing is remembered of upstream's project {self.name}. Check the spelling.")
        # Before it takes effect: what was pinned can be found again.
        await self.audit.record(_events(self.name, page))
        await store.pages.drop(RemoteIndex.name, self.name)
        files = 0 if page.project is None else len(page.project.files)
        terminal.say(
            f"Forgot upstream's project {self.name}: {files} files offered, {len(_pinned(page))} of them pinned, and "
            f"{len(page.withdrawn)} withheld. The next request takes what upstream lists as first seen."
        )
        if await store.projects.project(self.name) is not None:
            terminal.say(f"The name {self.name} belongs to the local index: upstream is not asked for it.")


def _check_upstreams(settings: Settings, name: str) -> None:
    if settings.offline:
        raise Invalid(
            f"OFFLINE is set, so {name} would be gone: nobody would ask upstream for it. Unset it first, and try again."
        )


def _pinned(page: CachedPage) -> tuple[File, ...]:
    files = () if page.project is None else page.project.files
    return tuple(file for file in files if file.withdrawal == CHANGED)


def _pinned_metadata(page: CachedPage) -> tuple[File, ...]:
    files = () if page.project is None else page.project.files
    return tuple(file for file in files if file.other_metadata)


def _events(name: str, page: CachedPage) -> list[Event]:
    """One of the project, and one of each file that upstream had taken back or changed."""
    forgotten = by_operator(Event(action="upstream.forgotten", project=name, detail="by hand"))
    of_files = [
        evolve(
            forgotten,
            filename=file.filename,
            digest=digest_segment(file) if file.digests else "",
            detail=state,
        )
        for state, files in (
            ("it was pinned", _pinned(page)),
            ("its core metadata was pinned", _pinned_metadata(page)),
            ("it was withheld", page.withdrawn),
        )
        for file in files
    ]
    return [forgotten, *of_files]


class UpstreamProjects(Group):
    """C{cheddar upstream}"""

    commands: ClassVar[list[tuple[str, type[usage.Options], str]]] = [
        (
            "forget",
            ForgetProject,
            "Forget what is remembered of a project, so that what upstream has now is believed to be right.",
        ),
    ]
