"""C{cheddar warm}: the cache filled with what files of requirements and lock files name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import asdict
from twisted.internet.defer import Deferred
from twisted.python import usage

from cheddar.cli.command import Command, Terminal
from cheddar.cli.progress import ProgressLine
from cheddar.errors import Invalid, NotFound
from cheddar.formats.targets import Target, make_targets
from cheddar.formats.wanted import read_wanted
from cheddar.model import WantedList
from cheddar.settings import Loaded, Settings, public_index

if TYPE_CHECKING:
    from cheddar.index.warming import Missing, WarmReport


class WarmCache(Command):
    """C{cheddar warm FILE...}"""

    synopsis = "FILE... [options]"
    longdesc = (
        "Each FILE is a requirements file, a pylock.toml, a uv.lock or a poetry.lock. Listings, files and core "
        "metadata are fetched from upstream as if clients had asked for them, whether the server runs or not: the "
        "wheels that fit, and the sdist where none does. What could not be had is told, and the exit status is 1 then."
    )
    optFlags: ClassVar[list[list[str | None]]] = [
        ["all-platforms", None, "Every wheel, for whichever Python and platform."],
        ["sdist", None, "The sdist too where a wheel fits."],
        ["no-sdist", None, "No sdist even where no wheel fits."],
        ["dry-run", None, "Fetch listings alone, and say what would be fetched."],
        ["json", None, "Print the report as JSON."],
    ]
    optParameters: ClassVar[list[list[str | None]]] = [
        ["implementation", None, "cp", "cp (CPython) or pp (PyPy)."],
    ]
    targets: tuple[Target, ...]
    lists: tuple[WantedList, ...]

    def __init__(self) -> None:
        super().__init__()
        self.pythons: list[str] = []
        self.platforms: list[str] = []
        self.registries: list[str] = []
        self.paths: tuple[str, ...] = ()

    def opt_python(self, version: str) -> None:
        """A Python to fetch for: 3.12, 3.12.4 or 3.13t; may be repeated. [default: the one that runs this]"""
        self.pythons.append(version)

    def opt_platform(self, tag: str) -> None:
        """A platform to fetch for: manylinux_2_28_x86_64 or the like; may be repeated. [default: this one]"""
        self.platforms.append(tag)

    def opt_registry(self, url: str) -> None:
        """The address of an index that lock files name and this Cheddar stands for; may be repeated."""
        self.registries.append(url)

    def parseArgs(self, *paths: str) -> None:
        """The files. [UsageError]"""
        if not paths:
            raise usage.UsageError("a file is missing: a requirements file, pylock.toml, uv.lock or poetry.lock")
        self.paths = paths

    def postOptions(self) -> None:
        """Refuse what contradicts itself. [UsageError]"""
        if self["all-platforms"] and (self.platforms or self.pythons):
            raise usage.UsageError(
                "--all-platforms is for every platform and Python: leave --platform and --python out"
            )
        if self["sdist"] and self["no-sdist"]:
            raise usage.UsageError("--sdist and --no-sdist contradict each other")

    def prepare(self, terminal: Terminal) -> None:
        """Read the files. [Invalid]"""
        every = bool(self["all-platforms"])
        self.targets = () if every else make_targets(self.pythons, self.platforms, self["implementation"])
        self.lists = tuple(read_wanted(path, _read) for path in self.paths)

    async def run(self, loaded: Loaded, reactor: Any, terminal: Terminal) -> None:
        """See L{Command.run}."""
        # Imported here: see StoreCommand.
        from cheddar.index.warming import Warming
        from cheddar.service import open_audit, open_indexes, open_store, start_pool

        settings = loaded.settings
        _check(settings)
        stops: list[Callable[[], Deferred[Any]]] = []
        try:
            work, disk = start_pool("work", 4, stops), start_pool("files", 4, stops)
            store = open_store(settings, reactor)
            await store.start()
            stops.append(store.stop)
            # No core metadata is made but what is asked for: the rest is the server's to do.
            audit = open_audit(settings, store, reactor, disk)
            indexes = await open_indexes(settings, store, audit, reactor, work=work, files=disk, stops=stops, newest=0)
            await indexes.local.check()
            if not self["dry-run"]:
                await indexes.remote_storage.check()
            files, projects = ProgressLine(terminal), ProgressLine(terminal, "projects")
            warming = Warming(
                indexes.remote,
                indexes.local.owns,
                reactor,
                self.targets,
                sdist="always" if self["sdist"] else "never" if self["no-sdist"] else "fallback",
                registries=self._registries(settings),
                told_projects=lambda done, total, received: projects(done, total),
                told_files=lambda done, total, received: files(done, total, f", {received // 10**6} MB"),
                dry=bool(self["dry-run"]),
            )
            report = await warming.run(self.lists)
            report.missing += _too_many(report, settings.remote_cache_size)
        finally:
            while stops:
                await stops.pop()()
        if self["json"]:
            terminal.say(json.dumps({**asdict(report), "dry_run": bool(self["dry-run"])}, indent=2))
        else:
            _tell(report, terminal, dry=bool(self["dry-run"]))
        if report.missing:
            raise NotFound(f"{_count(report.missing, 'thing')} could not be had.")

    def _registries(self, settings: Settings) -> tuple[str, ...]:
        """What this Cheddar stands for: itself, its upstreams, the public index by whichever mirror, and as told."""
        upstreams = (upstream.url for upstream in settings.upstreams)
        return (settings.address, public_index(), *upstreams, *self.registries)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}") from error


def _check(settings: Settings) -> None:
    if settings.offline:
        raise Invalid(
            "OFFLINE is set, so nothing can be fetched. Unset it, and try again while upstream can be reached."
        )
    if not settings.upstreams:
        raise Invalid("There is no upstream to fetch from: INDEX_URL is empty.")


def _too_many(report: WarmReport, limit: int) -> list[Missing]:
    """What is to be told where the cache has no room for what was fetched and what was here, all together."""
    from cheddar.index.warming import Missing

    size = sum(file.size or 0 for file in (*report.fetched, *report.present))
    if not 0 < limit < size:
        return []
    return [Missing("REMOTE_CACHE_SIZE", f"it is {limit} bytes, and these files have {size}: not all of them stay")]


def _tell(report: WarmReport, terminal: Terminal, *, dry: bool) -> None:
    for missing in report.missing:
        terminal.say(f"{missing.what}: {missing.why}")
    if dry:
        for file in report.fetched:
            terminal.say(f"{file.filename}: would be fetched")
    known = report.received if not dry else sum(file.size or 0 for file in report.fetched)
    parts = [
        f"{_count(report.fetched, 'file')} {'to be fetched' if dry else 'fetched'} ({known / 10**6:.1f} MB)",
        f"{len(report.present)} here already",
    ]
    if report.local:
        parts.append(f"{_count(report.local, 'name')} of the local index, nothing to do ({', '.join(report.local)})")
    if report.at_hand:
        parts.append(f"{len(report.at_hand)} not from an index but at hand ({', '.join(report.at_hand)})")
    terminal.say(f"{', '.join(parts)}, {len(report.missing)} could not be had.")


def _count(things: Iterable[object], name: str) -> str:
    number = len(list(things))
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
