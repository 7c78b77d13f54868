"""A process that serves together with others: L{cheddar.supervisor} starts it, and ends it."""

from __future__ import annotations

import signal
import sys
from typing import Any

from prometheus_client import values
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python.failure import Failure

from cheddar import logs
from cheddar.errors import SettingsError
from cheddar.supervisor.order import LEAVING, TOLD, Order
from cheddar.tap import Options


class _Line(Protocol):
    """To the supervisor: it says nothing, and its end is this process's end too."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def tell(self, word: str) -> None:
        if self.transport is not None:
            self.transport.write(f"{word}\n".encode())

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.transport = None
        if self._reactor.running:
            self._reactor.stop()


def _serve(reactor: Any, order: Order, options: Options) -> Deferred[None]:
    # Here, since what is counted has to know first where it is counted.
    from cheddar.service import Place, make_lasting_service

    line = _Line(reactor)
    StandardIO(line, stdin=0, stdout=TOLD, reactor=reactor)  # type: ignore[call-arg]  # mypy takes the class that Twisted has for Windows
    place = Place(order.sockets, order.interval, order.announces, line.tell)
    try:
        service = make_lasting_service(options.loaded.settings, reactor, place)
    except SettingsError as error:
        sys.exit(f"twistd cheddar: {error}")
    reactor.addSystemEventTrigger("before", "shutdown", line.tell, LEAVING)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    service.startService()
    return Deferred()  # the end of the reactor is the end of all


def main(arguments: list[str]) -> None:
    """Serve until told to end. @param arguments: the order, and what was given to C{twistd cheddar}."""
    order = Order.read(arguments[0])
    # It is for the supervisor, which replaces this process, or ends it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.begin()
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
    values.ValueClass = values.MultiProcessValue(lambda: order.name)
    options = Options()
    options.parseOptions(arguments[1:])
    react(_serve, (order, options))


if __name__ == "__main__":
    main(sys.argv[1:])
