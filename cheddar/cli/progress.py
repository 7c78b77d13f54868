"""How far a command is."""

from __future__ import annotations

from cheddar.cli.command import Terminal


class ProgressLine:
    """A line that is written over and over, where somebody looks."""

    def __init__(self, terminal: Terminal, things: str = "files") -> None:
        """@param things: what is counted."""
        self._stream = terminal.stderr
        self._things = things
        self._shown = self._stream.isatty()
        self._said = ""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """@param note: what else there is to say."""
        if not self._shown:
            return
        percent = 100 * done // total if total else 100
        said = f"{percent:3}%{note}" if done < total else f"{percent:3}%{note}\n"
        if said != self._said:
            self._said = said
            bar = "#" * (percent * 40 // 100)
            end = "\n" if done == total else ""
            self._stream.write(f"\r[{bar:40}] {percent:3}%  {done} of {total} {self._things}{note}{end}")
            self._stream.flush()
