"""What a start tells its administrator, and what a process goes on telling systemd."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from cheddar import systemd
from cheddar._version import __version__
from cheddar.settings import Settings
from cheddar.settings.values import hide_userinfo

_log = Logger()


def announce(settings: Settings, store: str) -> None:
    """
    Everything listens: say where, and what to do next.

    @param store: the store's description.
    """
    address = settings.address
    _log.info("Cheddar {version} serves {address}", version=__version__, address=address)
    _log.info("  store:    {store}", store=store)
    _log.info("  files:    {folder}", folder=str(settings.local_dir.resolve()))
    if settings.reserved_names:
        _log.info("  reserved: {names}", names=" ".join(settings.reserved_names))
    _log.info("  install:  pip install --index-url {address}simple/ NAME", address=address)
    _log.info("  add user: {command}", command=" ".join(_add_user_command(settings)))
    systemd.notify(os.environ, f"READY=1\nSTATUS=Serving {address}")


def _add_user_command(settings: Settings) -> list[str]:
    """The line to paste: the command beside the twistd that runs, on the same store."""
    beside = Path(sys.argv[0]).with_name("cheddar")
    program = os.path.relpath(beside) if beside.exists() else "cheddar"
    where = ["--redis", hide_userinfo(settings.redis)] if settings.redis else ["--data-dir", str(settings.data_dir)]
    return [min(program, str(beside), key=len) if beside.exists() else program, *where, "user", "add", "NAME"]


def tell_systemd() -> tuple[float | None, Callable[[], None]]:
    """How often systemd's watchdog wants to hear something, in seconds, or None; and what tells it."""
    interval = systemd.watchdog_interval(os.environ)
    return (None if interval is None else interval / 3), partial(systemd.notify, os.environ, "WATCHDOG=1")


@define(eq=False)
class Watchdog:
    """
    Tells who watches that the reactor and a worker thread answer; nothing else may decide that.

    @ivar _interval: seconds; None: nobody watches.
    """

    _reactor: Any
    _pool: ThreadPool
    _interval: float | None
    _pulse: Callable[[], None]
    _beat: IDelayedCall | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin, where there is a watchdog."""
        if self._interval is not None:
            self._tell(self._interval)

    def stop(self) -> Deferred[None]:
        """End."""
        if self._beat is not None and self._beat.active():
            self._beat.cancel()
        return succeed(None)

    def _tell(self, interval: float) -> None:
        self._pool.callInThread(self._reactor.callFromThread, self._pulse)
        self._beat = self._reactor.callLater(interval, self._tell, interval)
