"""
A process that puts a file into storage, and kills itself at a step.

Usage: C{python -m tests.storage.crash_child ROOT KEY SIZE STEP}; the step C{wait} writes without an end, says so, and
lives on.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python.threadpool import ThreadPool

from cheddar.storage.filesystem import FilesystemStorage


async def store(root: str, key: str, size: str, fatal: str) -> None:
    """Store a file of C{size} zeros."""
    pool = ThreadPool(0, 2)
    pool.start()
    reactor.addSystemEventTrigger("during", "shutdown", pool.stop)  # type: ignore[attr-defined]

    def checkpoint(step: str) -> None:
        if step == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    storage = FilesystemStorage(Path(root), reactor, pool, checkpoint)  # type: ignore[arg-type]
    await storage.start()
    writer = await storage.create()
    writer.write(b"\0" * int(size))
    if fatal == "wait":
        print("waiting", flush=True)
        await Deferred()
    await writer.commit(key, {})
    await storage.stop()


if __name__ == "__main__":
    react(lambda _: Deferred.fromCoroutine(store(*sys.argv[1:])))
