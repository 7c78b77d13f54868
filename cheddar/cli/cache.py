"""C{cheddar cache}: upstream's files that are kept here, whether a server runs on them or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, ClassVar

from twisted.internet.threads import deferToThreadPool
from twisted.python import usage
from twisted.python.threadpool import ThreadPool

from cheddar.cli.command import Command, Group, Terminal
from cheddar.errors import NotFound, Unavailable
from cheddar.settings import Loaded, Settings
from cheddar.storage.cache_folder import CachedFile, CacheFolder, amount
from cheddar.storage.cache_patterns import PATTERNS, Pattern, matches_any, read_patterns
from cheddar.storage.pins import Pins

#: Flags as L{usage.Options} takes them.
Flags = list[list[str | None]]

_JSON = ["json", None, "As JSON."]


class CacheCommand(Command):
    """
    A subcommand that works on the cache's folder.

    @ivar patterns: those given.
    """

    patterns: tuple[Pattern, ...] = ()
    folder: CacheFolder
    pins: Pins

    def parseArgs(self, *texts: str) -> None:
        """Patterns. [UsageError]"""
        self.texts = texts
        self.check(len(texts))

    def check(self, count: int) -> None:
        """@param count: how many patterns are given. [UsageError]"""
        if not count:
            raise usage.UsageError(f"a pattern is missing: {PATTERNS}")

    def prepare(self, terminal: Terminal) -> None:
        """See L{Command.prepare}."""
        self.patterns = read_patterns(self.texts)

    async def run(self, loaded: Loaded, reactor: Any, terminal: Terminal) -> None:
        """See L{Command.run}."""
        self.folder = CacheFolder(loaded.settings.remote_dir)
        self.pins = Pins(self.folder)
        pool = ThreadPool(0, 1, "cache")
        pool.start()

        def work() -> Sequence[str]:
            try:
                return tuple(self.work(loaded.settings))
            except OSError as error:
                raise Unavailable(f"The cache in {self.folder.root} cannot be read: {error}") from error

        try:
            for line in await deferToThreadPool(reactor, pool, work):
                terminal.say(line)
        finally:
            pool.stop()

    def work(self, settings: Settings) -> Iterable[str]:
        """For use in a thread. Do the work. @return: the lines to print. [CheddarError, OSError]"""
        raise NotImplementedError

    def chosen(self) -> list[CachedFile]:
        """The files that the patterns are of; all where there is none. What would be evicted first comes first."""
        files = (file for file in self.folder.files() if not self.patterns or matches_any(self.patterns, file))
        return sorted(files, key=lambda file: (file.used, file.key))

    def pinned(self) -> Callable[[CachedFile], bool]:
        """Tells whether a file is pinned. [Unavailable]"""
        pins = self.pins.read()
        return lambda file: matches_any(pins, file)


class ListCache(CacheCommand):
    """C{cheddar cache list}"""

    synopsis = "[PATTERN ...] [--json]"
    longdesc = f"Lists what is cached, the least recently used first: that goes first. A pattern is {PATTERNS}."
    optFlags: ClassVar[Flags] = [_JSON]

    def check(self, count: int) -> None:
        """See L{CacheCommand.check}. None is needed."""

    def work(self, settings: Settings) -> Iterable[str]:
        """See L{CacheCommand.work}."""
        pinned = self.pinned()
        files = self.chosen()
        if self["json"]:
            return [json.dumps({"files": [_described(file, pinned(file)) for file in files]}, indent=1)]
        return [
            f"{_time(file):%Y-%m-%d %H:%M}  {_size(file.size):>9}  {file.key}{'  (pinned)' if pinned(file) else ''}"
            for file in files
        ]


class CacheStats(CacheCommand):
    """C{cheddar cache stats}"""

    synopsis = "[--json]"
    longdesc = "Tells how much is cached, how much of it is pinned, and how much may be."
    optFlags: ClassVar[Flags] = [_JSON]

    def check(self, count: int) -> None:
        """See L{CacheCommand.check}. None is taken. [UsageError]"""
        if count:
            raise usage.UsageError("no pattern is taken here: `cheddar cache list` takes one")

    def work(self, settings: Settings) -> Iterable[str]:
        """See L{CacheCommand.work}."""
        pinned = self.pinned()
        files = self.chosen()
        whole, kept = amount(files), amount([file for file in files if pinned(file)])
        oldest = _time(files[0]).isoformat() if files else None
        limit = settings.remote_cache_size
        projects = len({file.project for file in files})
        if self["json"]:
            told = {
                "folder": str(self.folder.root),
                "limit": limit or None,
                "files": whole.files,
                "size": whole.size,
                "projects": projects,
                "pinned_files": kept.files,
                "pinned_size": kept.size,
                "least_recently_used": oldest,
            }
            return [json.dumps(told, indent=1)]
        return [
            f"folder:  {self.folder.root}",
            f"cached:  {_count(whole.files)} of {projects} projects, {_size(whole.size)} ({whole.size} bytes)",
            f"pinned:  {_count(kept.files)}, {_size(kept.size)} ({kept.size} bytes)",
            f"limit:   {_limit(settings)}",
            f"oldest:  {'nothing is cached' if oldest is None else f'last used at {oldest}'}",
        ]


class PurgeCache(CacheCommand):
    """C{cheddar cache purge}"""

    synopsis = "PATTERN ...|--all [--dry-run] [--pinned]"
    longdesc = (
        f"Removes cached files. A pattern is {PATTERNS}. Downloads under way and uploaded files are left alone, who is "
        "being sent a file gets all of it, and who asks for it afterwards gets it from upstream again."
    )
    optFlags: ClassVar[Flags] = [
        ["all", None, "All that is cached."],
        ["dry-run", None, "Only say what would be removed."],
        ["pinned", None, "Pinned files too; what is pinned stays so."],
    ]

    def check(self, count: int) -> None:
        """See L{CacheCommand.check}. [UsageError]"""
        if bool(count) == bool(self["all"]):
            raise usage.UsageError(f"either patterns are needed or --all; a pattern is {PATTERNS}")

    def work(self, settings: Settings) -> Iterator[str]:
        """See L{CacheCommand.work}."""
        self.folder.check_apart(settings.local_dir)
        pinned = self.pinned()
        chosen = self.chosen()
        if not chosen:
            yield "Nothing like that is cached."
            return
        free = [file for file in chosen if self["pinned"] or not pinned(file)]
        gone = [file for file in free if self["dry-run"] or self.folder.remove(file)]
        for file in gone:
            yield f"{file.key}  {_size(file.size)}"
        what = amount(gone)
        done = "Would remove" if self["dry-run"] else "Removed"
        yield f"{done} {_count(what.files)}, {_size(what.size)} ({what.size} bytes)."
        if len(free) < len(chosen):
            yield f"{_count(len(chosen) - len(free))} more: pinned, and left. --pinned removes them too."


class PinFiles(CacheCommand):
    """C{cheddar cache pin}"""

    synopsis = "PATTERN ..."
    longdesc = (
        f"Keeps files from being evicted, those that will come too. A pattern is {PATTERNS}. It counts from now on, "
        "for a running server as well."
    )

    def work(self, settings: Settings) -> Iterator[str]:
        """See L{CacheCommand.work}."""
        new = self.pins.add(self.patterns)
        for pattern in self.patterns:
            of = amount([file for file in self.folder.files() if pattern.matches(file)])
            said = "Pinned" if pattern in new else "Already pinned"
            yield f"{said}: {pattern.text}, of which {_count(of.files)} ({_size(of.size)}) are here."


class UnpinFiles(CacheCommand):
    """C{cheddar cache unpin}"""

    synopsis = "PATTERN ..."
    longdesc = "Takes back what `cheddar cache pin` said, in these very words; `cheddar cache pins` lists them."

    def work(self, settings: Settings) -> Iterator[str]:
        """See L{CacheCommand.work}."""
        pins = self.pins.read()
        missing = [pattern.text for pattern in self.patterns if pattern not in pins]
        if missing:
            raise NotFound(f"Not pinned: {' '.join(missing)}. `cheddar cache pins` lists what is.")
        for pattern in self.pins.remove(self.patterns):
            yield f"Unpinned: {pattern.text}."


class ListPins(CacheStats):
    """C{cheddar cache pins}"""

    longdesc = "Lists what is pinned."

    def work(self, settings: Settings) -> Iterable[str]:
        """See L{CacheCommand.work}."""
        texts = [pattern.text for pattern in self.pins.read()]
        return [json.dumps({"pins": texts}, indent=1)] if self["json"] else texts


class Cache(Group):
    """C{cheddar cache}"""

    commands: ClassVar[list[tuple[str, type[usage.Options], str]]] = [
        ("list", ListCache, "List cached files."),
        ("stats", CacheStats, "Tell how much is cached."),
        ("purge", PurgeCache, "Remove cached files."),
        ("pin", PinFiles, "Keep files from being evicted."),
        ("unpin", UnpinFiles, "Let them be evicted again."),
        ("pins", ListPins, "List what is pinned."),
    ]


def _described(file: CachedFile, pinned: bool) -> dict[str, object]:
    return {
        "key": file.key,
        "project": file.project,
        "version": file.version,
        "filename": file.name,
        "size": file.size,
        "last_used": _time(file).isoformat(),
        "pinned": pinned,
    }


def _time(file: CachedFile) -> datetime:
    return datetime.fromtimestamp(file.used / 1e9, timezone.utc)


def _count(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"


def _limit(settings: Settings) -> str:
    limit = settings.remote_cache_size
    if not limit:
        return "none (REMOTE_CACHE_SIZE)"
    told = f"{_size(limit)} ({limit} bytes)"
    return f"{told}, and nothing is evicted while OFFLINE is set" if settings.offline else told


def _size(count: float) -> str:
    """For people: powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
