"""C{cheddar settings}: what is in force, and where each value came from."""

from __future__ import annotations

from typing import Any

from cheddar.cli.command import Command, Terminal
from cheddar.settings import Loaded, describe


class ShowSettings(Command):
    """C{cheddar settings}"""

    async def run(self, loaded: Loaded, reactor: Any, terminal: Terminal) -> None:
        """See L{Command.run}."""
        rows = [(name, value or '""', origin) for name, value, origin in describe(loaded.settings, loaded.origins)]
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        for name, value, origin in rows:
            terminal.say(f"{name:{widths[0]}}  {value:{widths[1]}}  {origin}")
