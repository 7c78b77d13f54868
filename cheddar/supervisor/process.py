"""One worker, as its supervisor sees it."""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from cheddar.supervisor.order import LEAVING, TOLD

#: When the worker wrote a line: the log says so itself.
_TIME = re.compile(r"\A\d{4}-\d\d-\d\dT\S+ ")
#: Bytes of a line of the log that are kept together.
_LONGEST_LINE = 64 * 1024


@define(eq=False)
class Worker:
    """
    @ivar name: see L{cheddar.supervisor.order.Order}.
    @ivar began: when it was started.
    @ivar heard: when it last gave a sign of life.
    @ivar leaving: whether it was told to end, or has said that it will: it gives no more signs of life.
    @ivar ready: fires when it serves: True; or when it has ended before: False.
    """

    name: str
    _clock: IReactorTime
    began: float = field(init=False)
    heard: float = field(init=False)
    serves: bool = field(default=False, init=False)
    leaving: bool = field(default=False, init=False)
    ready: Deferred[bool] = field(factory=Deferred, init=False)
    _waiting: list[Deferred[str]] = field(factory=list, init=False)
    _how: str | None = field(default=None, init=False)
    process: IProcessTransport | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.began = self.heard = self._clock.seconds()

    @property
    def pid(self) -> int:
        """Its process id; 0 where it has ended."""
        return (self.process.pid or 0) if self.process is not None else 0

    def signal(self, name: str) -> None:
        """Send it a signal, if it is there: C{TERM}, C{KILL}."""
        if self.process is not None:
            try:
                self.process.signalProcess(name)
            except ProcessExitedAlready:
                return

    def told(self, word: bytes) -> None:
        """It has said something: each word is a sign of life."""
        self.heard = self._clock.seconds()
        if word == b"ready" and not self.serves:
            self.serves = True
            self.ready.callback(True)
        elif word == LEAVING.encode():
            self.leaving = True

    def silent(self, now: float, seconds: float) -> bool:
        """Whether it should have given a sign of life for so long, and has not."""
        return self.serves and not self.leaving and now - self.heard > seconds

    def ended(self) -> Deferred[str]:
        """Fires when it has ended, with how."""
        if self._how is not None:
            return succeed(self._how)
        self._waiting.append(Deferred())
        return self._waiting[-1]

    def over(self, how: str) -> None:
        """It has ended."""
        self.process = None
        if not self.serves:
            self.ready.callback(False)
        self.serves = False
        self._how = how
        for waiting in self._waiting:
            waiting.callback(how)


class Listening(ProcessProtocol):
    """Takes what a worker says: signs of life, and lines for the log where it cannot write there itself."""

    _log = Logger(namespace="cheddar.worker")

    def __init__(self, worker: Worker, forget: Callable[[], None]) -> None:
        """@param forget: called before the worker's end is told."""
        self._worker = worker
        self._forget = forget
        self._begun: dict[int, bytes] = {}

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """See L{ProcessProtocol}."""
        *lines, rest = (self._begun.get(childFD, b"") + data).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        self._begun[childFD] = rest
        for line in lines:
            if childFD == TOLD:
                self._worker.told(line)
            else:
                self._log.info("{line}", line=_TIME.sub("", line.decode(errors="replace")))

    def processEnded(self, reason: Failure) -> None:
        """See L{ProcessProtocol}."""
        self._forget()
        value = reason.value
        signal, status = getattr(value, "signal", None), getattr(value, "exitCode", None)
        self._worker.over(f"by signal {signal}" if signal is not None else f"with status {status or 0}")
