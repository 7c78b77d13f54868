"""C{cheddar rebuild}: the store's rows, made anew from the files."""

from __future__ import annotations

from typing import Any

from twisted.python.threadpool import ThreadPool

from cheddar.cli.command import Command, Terminal
from cheddar.cli.progress import ProgressLine
from cheddar.index.rebuild import Rebuild, RebuildReport
from cheddar.settings import Loaded


class RebuildStore(Command):
    """C{cheddar rebuild}"""

    longdesc = (
        "Reads every file below LOCAL_CACHE_DIR and lists it; takes over the files of the first Cheddar as they lie. "
        "Nothing is deleted but rows whose file has vanished. May be run again, and while the server runs."
    )

    async def run(self, loaded: Loaded, reactor: Any, terminal: Terminal) -> None:
        """See L{Command.run}."""
        # Imported here: see StoreCommand.
        from cheddar.service import open_store
        from cheddar.storage.filesystem import FilesystemStorage

        pool = ThreadPool(0, 2, "rebuild")
        pool.start()
        store = open_store(loaded.settings, reactor)
        storage = FilesystemStorage(loaded.settings.local_dir, reactor, pool)
        try:
            await store.start()
            try:
                await store.check()
                await storage.start()
                try:
                    report = await Rebuild(storage, store.projects, reactor, pool).run(ProgressLine(terminal))
                finally:
                    await storage.stop()
            finally:
                await store.stop()
        finally:
            pool.stop()
        _tell(report, terminal)


def _tell(report: RebuildReport, terminal: Terminal) -> None:
    for key, why in (*report.unreadable, *report.duplicates):
        terminal.say(f"{key}: {why}")
    for key in report.vanished:
        terminal.say(f"{key}: there is no such file any more; its row was removed")
    terminal.say(
        f"{report.files} files read, {report.rows} listed, {len(report.duplicates)} duplicates, "
        f"{len(report.unreadable)} not readable, {len(report.vanished)} vanished."
    )
