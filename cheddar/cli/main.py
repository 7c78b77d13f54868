"""The C{cheddar} command: what an administrator does on the machine that Cheddar runs on."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.task import react
from twisted.python import usage

from cheddar.cli.audit import Audit
from cheddar.cli.cache import Cache
from cheddar.cli.command import Command, Group, Terminal
from cheddar.cli.projects import Projects
from cheddar.cli.rebuild import RebuildStore
from cheddar.cli.roles import Roles, Teams
from cheddar.cli.show_settings import ShowSettings
from cheddar.cli.tokens import Tokens
from cheddar.cli.upstreams import UpstreamProjects
from cheddar.cli.users import Users
from cheddar.cli.warm import WarmCache
from cheddar.errors import CheddarError
from cheddar.settings import Loaded, load


class Options(Group):
    """The command line of C{cheddar}."""

    longdesc = (
        "It works on the store that the settings name, whether a server runs on it or not: give it the settings that "
        "the server has."
    )
    optParameters = [
        ["settings", None, None, "The settings file. [default: what CHEDDAR_SETTINGS names, if set]"],
        ["data-dir", None, None, "The directory that everything is kept below. [default: var]"],
        ["redis", None, None, "The Redis that keeps the metadata, if it is not the embedded store."],
    ]
    commands: ClassVar[list[tuple[str, type[usage.Options], str]]] = [
        ("user", Users, "Add, list and remove users, set their passwords, and grant them reserved names."),
        ("token", Tokens, "Make, list and revoke API tokens."),
        ("role", Roles, "Say who may do what: owners, maintainers and readers of projects, administrators."),
        ("group", Teams, "Put users into groups, which have roles as users have."),
        ("project", Projects, "List local projects, and give up names."),
        ("upstream", UpstreamProjects, "Forget what is remembered of upstream's projects."),
        ("audit", Audit, "Show what was changed, by whom and from where."),
        ("cache", Cache, "List, purge and pin cached files of upstream."),
        ("warm", WarmCache, "Fetch what requirements files and lock files name, before anybody asks for it."),
        ("rebuild", RebuildStore, "Make the store's rows anew from the files; takes over the first Cheddar's files."),
        ("settings", ShowSettings, "Print the settings in force, and where each came from."),
    ]

    def load(self) -> Loaded:
        """The settings in force. [SettingsError]"""
        given = {"data_dir": self["data-dir"], "redis_url": self["redis"]}
        return load(
            file=Path(self["settings"]) if self["settings"] else None,
            environ=os.environ,
            options={name: value for name, value in given.items() if value is not None},
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run the command and exit: 0 when it is done, 1 when it cannot be done, 2 when the command line is wrong.

    @param arguments: the command line without the program's name; None: the process's own.
    """
    terminal = Terminal(sys.stdin, sys.stdout, sys.stderr, getpass.getpass)
    options = Options()
    try:
        options.parseOptions(arguments)
    except usage.UsageError as error:
        _exit(2, f"{error}{_placement(str(error))} (`cheddar --help` explains)")
    try:
        loaded = options.load()
        for warning in loaded.warnings:
            print(f"cheddar: {warning}", file=sys.stderr)
        options.command.prepare(terminal)
    except CheddarError as error:
        _exit(1, str(error))
    react(_run, (options.command, loaded, terminal))


async def _run(reactor: Any, command: Command, loaded: Loaded, terminal: Terminal) -> None:
    try:
        await command.run(loaded, reactor, terminal)
    except CheddarError as error:
        _exit(1, str(error))


def _placement(message: str) -> str:
    """A hint for who gives one of the options for all commands behind a command."""
    known = [f"--{option[0]}" for option in Options.optParameters]
    words = message.split()
    return "; it goes before the command" if message.endswith("not recognized") and words[1] in known else ""


def _exit(code: int, message: str) -> None:
    print(f"cheddar: {message}", file=sys.stderr)
    raise SystemExit(code)
