"""One of several processes that serve together: what it gets from the one that started it, and what it tells it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define, frozen
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.protocols.tls import TLSMemoryBIOFactory

#: What is told: everything listens; and, again and again, the reactor and a thread answer.
READY = "ready"
ALIVE = "alive"
#: Clients that are accepted in one turn at most, as by Twisted.
MOST_ACCEPTS = 100


@frozen
class Place:
    """
    @ivar sockets: the descriptors of listening sockets, in the order of the endpoints.
    @ivar interval: seconds between two signs of life.
    @ivar announces: whether this process tells the administrator of the start, for all.
    @ivar tell: tells one of the words above.
    """

    sockets: tuple[int, ...]
    interval: float
    announces: bool
    tell: Callable[[str], None]

    def entrance(self, reactor: Any) -> Any:
        """What to listen with."""
        return _Entrance(reactor, list(self.sockets))

    def pulse(self) -> tuple[float, Callable[[], None]]:
        """How often to give a sign of life, and what gives it."""
        return self.interval, partial(self.tell, ALIVE)


@define(eq=False)
class _Entrance:
    """Stands for the reactor where endpoints listen: they get, one by one, the sockets that are open already."""

    _reactor: Any
    _sockets: list[int]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = "") -> IListeningPort:
        return self._adopt(factory)

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        return self._adopt(TLSMemoryBIOFactory(contextFactory, False, factory))

    def listenUNIX(
        self, address: str, factory: IProtocolFactory, backlog: int = 50, mode: int = 0o666, wantPID: bool = False
    ) -> IListeningPort:
        return self._adopt(factory)

    def adopt_systemd(self, factory: IProtocolFactory) -> IListeningPort:
        """In place of an endpoint that takes what systemd hands over: it did so in the other process."""
        return self._adopt(factory)

    def _adopt(self, factory: IProtocolFactory) -> IListeningPort:
        if not self._sockets:
            raise LookupError("it was not there when the process that started this one was: to add it takes a restart")
        descriptor = self._sockets.pop(0)
        with socket.socket(fileno=descriptor) as listening:
            # The port has a copy of its own, and closes that.
            port: IListeningPort = self._reactor.adoptStreamPort(descriptor, listening.family, factory)
        _leave_some_to_others(port)
        return port


def _leave_some_to_others(port: Any) -> None:
    """
    Accept one client in a turn, and then twice as many each time, for as long as there are so many.

    Of clients that come together Twisted would take up to a hundred in one turn, and so the process that wakes first
    all of them, for as long as they stay: the others would have nothing to do. Where all are busy, nobody else takes
    those who wait.
    """
    accept = port.doRead
    most = 1

    def do_read() -> None:
        nonlocal most
        port.numberAccepts = most
        accept()
        # Twisted raises it where there were so many, and lowers it where there were not.
        most = min(2 * most, MOST_ACCEPTS) if port.numberAccepts > most else 1

    port.doRead = do_read
