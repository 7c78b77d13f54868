"""Run subcommands of `cheddar` in this process, on the test's reactor."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from cheddar.cli.command import Terminal
from cheddar.cli.main import Options
from cheddar.errors import CheddarError
from cheddar.settings import Loaded, Settings


async def execute(
    reactor: Any,
    settings: Settings,
    *arguments: str,
    stdin: str = "",
    typed: Iterable[str] = (),
    stderr: io.StringIO | None = None,
) -> str:
    """
    Run one command line.

    @param typed: what is answered to prompts; none left means that there is no terminal.
    @param stderr: takes what it writes there.
    @return: what it printed on standard output.
    """
    printed, error = await attempt(reactor, settings, *arguments, stdin=stdin, typed=typed, stderr=stderr)
    if error is not None:
        raise error
    return printed


async def attempt(
    reactor: Any,
    settings: Settings,
    *arguments: str,
    stdin: str = "",
    typed: Iterable[str] = (),
    stderr: io.StringIO | None = None,
) -> tuple[str, CheddarError | None]:
    """The same of a command line that may fail. @return: what it printed, and how it failed."""
    answers = iter(typed)

    def ask(prompt: str) -> str:
        assert prompt
        try:
            return next(answers)
        except StopIteration:
            raise EOFError from None

    printed = io.StringIO()
    terminal = Terminal(io.StringIO(stdin), printed, stderr or io.StringIO(), ask)
    options = Options()
    options.parseOptions(arguments)
    try:
        options.command.prepare(terminal)
        await options.command.run(Loaded(settings, {}), reactor, terminal)
    except CheddarError as error:
        return printed.getvalue(), error
    return printed.getvalue(), None
