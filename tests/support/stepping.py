"""
A Cheddar that measures how long its reactor is kept from its work.

    python -m tests.support.stepping FILE twistd's arguments

At SIGUSR2 it writes to FILE, as JSON, the longest in seconds since the last time, and begins anew: C{cpu}, the
processor time of one turn of the reactor's thread; C{late}, by how much a call came later than planned; and C{held},
how much of that this process spent working. A machine that has too much to do makes calls late, but does not let the
process work: so C{held} tells of a thread that holds the interpreter's lock. At SIGUSR1 it blocks its reactor for
L{BLOCK} seconds, to show that this is seen.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

#: Seconds between two planned calls.
INTERVAL = 0.005
#: Seconds of processor time.
BLOCK = 0.1


class Steps:
    """Looks at each turn of the reactor, and at calls that it plans."""

    def __init__(self, reactor: Any, file: Path) -> None:
        self._reactor = reactor
        self._file = file
        self._begin()
        self._run = reactor.runUntilCurrent
        reactor.runUntilCurrent = self._look
        reactor.callWhenRunning(self._plan)
        signal.signal(signal.SIGUSR2, lambda *_: reactor.callFromThread(self._write))
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(_block))

    def _begin(self) -> None:
        self._longest = {"cpu": 0.0, "late": 0.0, "held": 0.0}
        self._turn_began = time.thread_time()

    def _note(self, name: str, seconds: float) -> None:
        self._longest[name] = max(self._longest[name], seconds)

    def _look(self) -> None:
        now = time.thread_time()
        self._note("cpu", now - self._turn_began)
        self._turn_began = now
        self._run()

    def _plan(self) -> None:
        self._reactor.callLater(INTERVAL, self._see, time.monotonic() + INTERVAL, time.process_time())

    def _see(self, due: float, worked: float) -> None:
        late = time.monotonic() - due
        self._note("late", late)
        self._note("held", min(late, time.process_time() - worked))
        self._plan()

    def _write(self) -> None:
        whole = self._file.with_suffix(".new")
        whole.write_text(json.dumps(self._longest))
        os.rename(whole, self._file)
        self._begin()


def _block() -> None:
    end = time.thread_time() + BLOCK
    while time.thread_time() < end:
        pass


def main(arguments: list[str]) -> None:
    """Run twistd."""
    from twisted.internet import reactor
    from twisted.scripts import twistd

    Steps(reactor, Path(arguments[0]))
    sys.argv = ["twistd", *arguments[1:]]
    twistd.run()


if __name__ == "__main__":
    main(sys.argv[1:])
