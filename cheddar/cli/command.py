"""What the subcommands of C{cheddar} have in common."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from getopt import GetoptError, gnu_getopt
from secrets import token_hex
from typing import Any, ClassVar, TextIO

from attrs import evolve, frozen
from twisted.python import usage
from twisted.python.threadpool import ThreadPool

from cheddar import __version__
from cheddar.errors import CheddarError, StoreUnavailable
from cheddar.interfaces import IAuditLog, IStore
from cheddar.logs import escaped
from cheddar.model import BEGUN, DONE, FAILED, REFUSED, Event
from cheddar.settings import Loaded, Settings, nearest


@frozen
class Terminal:
    """
    Where a command reads and writes.

    @ivar ask: shows a prompt and returns what is typed, without showing it.
    """

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    ask: Callable[[str], str]

    def say(self, line: str) -> None:
        """Write a line of the command's result; what came from outside steers no terminal."""
        self.stdout.write(escaped(line, keep="\n\t") + "\n")


class _Versioned(usage.Options):
    def opt_version(self) -> None:
        """Print Cheddar's version and exit."""
        print(f"Cheddar {__version__}")
        sys.exit(0)


class Command(_Versioned):
    """One subcommand: its options, and its work."""

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Options may stand behind the arguments. [UsageError]"""
        given = list(options or ())
        try:
            found, arguments = gnu_getopt(given, self.shortOpt, self.longOpt)
        except GetoptError as error:
            raise usage.UsageError(str(error)) from error
        in_front = [f"{name}={value}" if f"{name[2:]}=" in self.longOpt else name for name, value in found]
        super().parseOptions([*in_front, "--", *arguments])

    def prepare(self, terminal: Terminal) -> None:
        """Plain call, before the reactor runs: ask what has to be asked. [CheddarError]"""

    async def run(self, loaded: Loaded, reactor: Any, terminal: Terminal) -> None:
        """Do the work. [CheddarError]"""
        raise NotImplementedError


class StoreCommand(Command):
    """
    A subcommand that works on the metadata store.

    @cvar noted: what the audit log calls what it does; empty where it changes nothing, or notes that itself.
    @ivar settings: those in force, while it works.
    @ivar audit: the audit log, while it works.
    """

    noted: ClassVar[str] = ""
    settings: Settings
    audit: IAuditLog

    async def run(self, loaded: Loaded, reactor: Any, terminal: Terminal) -> None:
        """See L{Command.run}."""
        # Imported here: it brings in every room of the server, and most mistakes on a command line need none.
        from cheddar.service import open_audit, open_store

        self.settings = loaded.settings
        store = open_store(self.settings, reactor)
        await store.start()
        pool = ThreadPool(0, 1, "audit")
        pool.start()
        self.audit = open_audit(self.settings, store, reactor, pool)
        try:
            await self._work_noted(store, terminal)
        finally:
            pool.stop()
            await store.stop()

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """Do the work on an open store. [CheddarError]"""
        raise NotImplementedError

    def subject(self) -> Event:
        """Plain call. What is changed, for the audit log."""
        return Event(action=self.noted)

    async def _work_noted(self, store: IStore, terminal: Terminal) -> None:
        if not self.noted:
            await self.work(store, terminal)
            return
        begun = evolve(by_operator(self.subject()), outcome=BEGUN, operation=token_hex(8))
        await self.audit.record([begun])
        try:
            await self.work(store, terminal)
        except CheddarError as error:
            outcome = FAILED if isinstance(error, StoreUnavailable) else REFUSED
            await self.audit.record([evolve(by_operator(begun), outcome=outcome, detail=str(error))], durable=False)
            raise
        await self.audit.record([evolve(by_operator(begun), outcome=DONE)], durable=False)


def by_operator(event: Event) -> Event:
    """An event of now, by whoever runs the command, as far as the system can tell."""
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # a container's number without a name
        who = ""
    return evolve(event, at=datetime.now(timezone.utc), who=who, address="command")


class Group(_Versioned):
    """A subcommand that has subcommands itself."""

    commands: ClassVar[list[tuple[str, type[usage.Options], str]]] = []

    def __init__(self) -> None:
        self.subCommands = [(name, None, parser, description) for name, parser, description in self.commands]
        super().__init__()

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse, and say which subcommands there are where none or an unknown one is given. [UsageError]"""
        names = [name for name, _, _ in self.commands]
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            unknown = str(error).partition("Unknown command: ")[2]
            if unknown:
                hint = nearest(unknown, names) or f"; there are {', '.join(names)}"
                raise usage.UsageError(f"unknown command {unknown}{hint}") from error
            raise
        if self.subCommand is None:
            raise usage.UsageError(f"a command is missing: {', '.join(names)}")

    @property
    def command(self) -> Command:
        """The subcommand that was given."""
        chosen = self.subOptions
        while isinstance(chosen, Group):
            chosen = chosen.subOptions
        assert isinstance(chosen, Command)
        return chosen
