"""The supervisor: as many workers as were asked for, each replaced when it ends, all ended in good order."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from attrs import define, field
from prometheus_client.multiprocess import mark_process_dead
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from cheddar import systemd
from cheddar.clock_steps import ClockSteps
from cheddar.deferreds import returns_deferred
from cheddar.endpoints import open_endpoints
from cheddar.errors import CheddarError, SettingsError
from cheddar.settings import Settings
from cheddar.supervisor.order import SOCKETS, TOLD, Order
from cheddar.supervisor.process import Listening, Worker

#: Seconds between two signs of life, where nobody watches that asks for more.
INTERVAL = 1.0
#: Seconds before a worker is replaced: the first time, and at most, doubled each time. It has proven itself after:
SHORTEST_PAUSE = 0.1
LONGEST_PAUSE = 30.0
STEADY = 20.0
#: Seconds without a sign of life after which a worker is killed.
SILENCE = 30.0
#: Seconds more than the drain timeout that a worker has for its end.
PATIENCE = 15.0

#: Where prometheus_client keeps what several processes count.
_COUNTED = "PROMETHEUS_MULTIPROC_DIR"
#: What the service manager tells the supervisor is not for workers.
_NOT_FOR_WORKERS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


class CheddarWorkers(ServerFactory):
    """Stands where the sockets are opened, and takes no connection: the workers do."""

    noisy = False


@define(eq=False)
class Supervisor(Service):
    """
    Opens the endpoints, and starts the workers on them. It stays out of the way of requests altogether.

    The sockets are one for all: a connection waits in the kernel for whichever worker takes it first, and one that
    waits while a worker ends, or while all are replaced, is not lost.
    """

    _settings: Settings
    _reactor: Any
    # What was given to twistd cheddar: the workers get the same.
    _options: Sequence[str]
    # Whether lines of the log go through this process, since the workers cannot write where they belong.
    _logs_elsewhere: bool = field(kw_only=True)
    name: str = "cheddar"
    _ports: list[Any] = field(factory=list, init=False)
    _places: dict[int, Worker] = field(factory=dict, init=False)
    _alive: set[Worker] = field(factory=set, init=False)
    _counted: str = field(default="", init=False)
    _beginning: Deferred[None] | None = field(default=None, init=False)
    _pauses: dict[int, Deferred[None]] = field(factory=dict, init=False)
    _stopping: bool = field(default=False, init=False)
    _reloading: bool = field(default=False, init=False)
    _watch: LoopingCall | None = field(default=None, init=False)
    _steps: ClockSteps | None = field(default=None, init=False)
    _looked_at: float = field(default=0.0, init=False)

    _log = Logger()

    def startService(self) -> None:
        """Begin; what goes wrong ends the process with one line that says what."""
        super().startService()
        # A process that is started before the reactor runs could end unseen.
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        if not self._stopping:
            self._beginning = self._start()
            self._beginning.addErrback(self._not_started)

    def _not_started(self, failure: Any) -> None:
        if self._stopping:
            return
        if failure.check(CheddarError, OSError) is None:
            self._log.failure("This was not foreseen", failure=failure)
        self._log.error("Cheddar could not start: {reason}", reason=failure.getErrorMessage())
        # twistd ends with 0 whenever the reactor was stopped in good order.
        self._reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
        self._reactor.stop()

    @returns_deferred
    async def _start(self) -> None:
        self._counted = tempfile.mkdtemp(prefix="cheddar-counted-")
        port: Any  # the endpoints' interface has no way to the socket
        async for port in open_endpoints(self._settings, self._reactor, CheddarWorkers()):
            if not (hasattr(port, "fileno") and hasattr(port, "stopReading")):
                raise SettingsError(f"{port} cannot be shared by several processes: serve there with one worker.")
            port.stopReading()
            self._ports.append(port)
            self._log.info("Listening on {address}", address=port.getHost())
        if self._stopping:
            return
        numbers = range(self._settings.workers)
        for number in numbers:
            self._places[number] = self._spawn(announces=number == 0)
        for ready in [self._places[number].ready for number in numbers]:
            served = await ready
            if self._stopping:
                return
            if not served:
                raise SettingsError("a worker has ended before it served; what it wrote above says why.")
        for number in numbers:
            self._keep(number)
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.reload))
        self._log.info(
            "{count} workers serve: {pids}",
            count=len(numbers),
            pids=" ".join(str(worker.pid) for worker in self._places.values()),
        )
        systemd.notify(os.environ, f"READY=1\nSTATUS=Serving {self._settings.address} with {len(numbers)} workers")
        watchdog = systemd.watchdog_interval(os.environ)
        self._looked_at = self._reactor.seconds()
        self._watch = LoopingCall(self._look, watchdog)
        self._watch.clock = self._reactor
        self._watch.start(self._interval(watchdog))
        self._steps = ClockSteps(self._reactor)
        self._steps.start()

    def _spawn(self, announces: bool = False) -> Worker:
        names = {worker.name for worker in self._alive}
        # Used again: what a worker has counted is gone on with by the next of its name.
        name = next(name for name in map(str, range(len(names) + 1)) if name not in names)
        worker = Worker(name, self._reactor)
        interval = self._interval(systemd.watchdog_interval(os.environ))
        sockets = {SOCKETS + place: port.fileno() for place, port in enumerate(self._ports)}
        order = Order(name, tuple(sockets), interval, announces)
        # Its standard input is the line that breaks when this process ends, however it does.
        descriptors: dict[int, int | str] = {0: "w", TOLD: "r", **sockets}
        descriptors |= {1: "r", 2: "r"} if self._relays() else {1: 1, 2: 2}
        environ = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_WORKERS}

        def forget() -> None:
            self._alive.discard(worker)
            mark_process_dead(name, self._counted)

        self._alive.add(worker)
        try:
            worker.process = self._reactor.spawnProcess(
                Listening(worker, forget),
                sys.executable,
                [sys.executable, "-m", "cheddar.worker", order.written(), *self._options],
                env={**environ, _COUNTED: self._counted},
                childFDs=descriptors,
            )
        except OSError as error:  # too many processes, or no memory: maybe not so later
            forget()
            worker.over(f"before it began: {error}")
        return worker

    def _relays(self) -> bool:
        """Whether the standard output leads nowhere (twistd has become a daemon), or not to the log."""
        return self._logs_elsewhere or os.fstat(1).st_rdev == os.stat(os.devnull).st_rdev

    @returns_deferred
    async def _keep(self, number: int) -> None:
        pause = SHORTEST_PAUSE
        while not self._stopping:
            worker = self._places[number]
            pid = worker.pid
            how = await worker.ended()
            if self._stopping:
                return
            if self._places[number] is not worker:
                continue  # another one has taken its place while it lived
            lived = self._reactor.seconds() - worker.began
            pause = SHORTEST_PAUSE if lived > STEADY else min(LONGEST_PAUSE, 2 * pause)
            self._log.error(
                "The worker {pid} has ended {how}; another takes its place in {pause:g} s",
                pid=pid,
                how=how,
                pause=pause,
            )
            self._pauses[number] = deferLater(self._reactor, pause, lambda: None).addErrback(lambda _: None)
            await self._pauses[number]
            del self._pauses[number]
            if not self._stopping and self._places[number] is worker:
                self._places[number] = self._spawn()

    @returns_deferred
    async def reload(self) -> None:
        """Replace all workers, one after the other: each new one serves before the old one ends."""
        if self._reloading or self._stopping:
            return
        self._reloading = True
        systemd.notify(os.environ, "STATUS=Replacing all workers")
        try:
            for number in self._places:
                new = self._spawn()
                if not await new.ready:
                    self._log.error("A new worker has ended before it served: the others go on as they are")
                    return
                old, self._places[number] = self._places[number], new
                if self._stopping:
                    return
                await self._end(old)
            self._log.info("All workers were replaced")
        finally:
            self._reloading = False
            systemd.notify(os.environ, f"STATUS=Serving {self._settings.address}")

    @returns_deferred
    async def _end(self, worker: Worker) -> None:
        if worker not in self._alive:
            return
        worker.leaving = True
        worker.signal("TERM")
        killing: IDelayedCall = self._reactor.callLater(self._settings.drain_timeout + PATIENCE, worker.signal, "KILL")
        await worker.ended()
        if killing.active():
            killing.cancel()

    @staticmethod
    def _interval(watchdog: float | None) -> float:
        return INTERVAL if watchdog is None else min(INTERVAL, watchdog / 3)

    def _look(self, watchdog: float | None) -> None:
        now = self._reactor.seconds()
        if now - self._looked_at > SILENCE / 2:
            # This process did not run either: the machine slept.
            for worker in self._alive:
                worker.heard = now
        self._looked_at = now
        for worker in tuple(self._alive):
            if worker.silent(now, SILENCE):
                self._log.error("The worker {pid} does not answer any more, and is killed", pid=worker.pid)
                worker.leaving = True
                worker.signal("KILL")
        if watchdog is not None and not any(worker.silent(now, watchdog) for worker in self._alive):
            systemd.notify(os.environ, "WATCHDOG=1")

    @returns_deferred
    async def stopService(self) -> None:
        """End all workers, and wait until they are."""
        super().stopService()
        self._stopping = True
        systemd.notify(os.environ, "STOPPING=1")
        if self._watch is not None and self._watch.running:
            self._watch.stop()
        if self._steps is not None:
            self._steps.stop()
        for pause in tuple(self._pauses.values()):
            pause.cancel()
        await gatherResults([self._end(worker) for worker in tuple(self._alive)])
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        shutil.rmtree(self._counted, ignore_errors=True)
