"""
A Cheddar that kills itself with SIGKILL at the Nth step of an upload.

    python -m tests.support.crashing N twistd's arguments

Steps are what the storage reports (spooled, synced, renamed, ...) and the moments before and after a row is written;
each is printed, so that a run that is not killed tells how many there are.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from cheddar.deferreds import returns_deferred
from cheddar.index.local import LocalIndex
from cheddar.interfaces import IProjectStore
from cheddar.service import indexes
from cheddar.storage.filesystem import FilesystemStorage


class Steps:
    """Counts steps, and dies at one of them."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._count = 0

    def __call__(self, step: str) -> None:
        """Take a step."""
        self._count += 1
        print(f"STEP {self._count} {step}", flush=True)
        if self._count == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> None:
    """Run twistd with the steps built in."""
    steps = Steps(int(arguments[0]))

    class CrashingProjects:
        """Tells when a row is about to be written, and when it is."""

        def __init__(self, projects: IProjectStore) -> None:
            self._projects = projects

        def __getattr__(self, name: str) -> Any:
            return getattr(self._projects, name)

        @returns_deferred
        async def add_file(self, *args: Any) -> None:
            steps("before the row")
            await self._projects.add_file(*args)
            steps("after the row")

    def local_index(projects: IProjectStore, *args: Any, **keywords: Any) -> LocalIndex:
        return LocalIndex(CrashingProjects(projects), *args, **keywords)  # type: ignore[arg-type]  # it has what is used

    def storage(root: Path, *args: Any, **keywords: Any) -> FilesystemStorage:
        # The cache of upstream's files takes no part in an upload.
        return FilesystemStorage(root, *args, **({"checkpoint": steps} if root.name == "local" else keywords))

    indexes.FilesystemStorage = storage  # type: ignore[misc,assignment]
    indexes.LocalIndex = local_index  # type: ignore[misc,assignment]
    from twisted.scripts.twistd import run

    sys.argv = ["twistd", *arguments[1:]]
    run()


if __name__ == "__main__":
    main(sys.argv[1:])
