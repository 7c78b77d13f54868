"""One of several processes that listen on the same socket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol

from cheddar.service.place import Place

CLIENTS = 12


def adopted(reactor: Any, descriptor: int, factory: Factory) -> Any:
    """The control: what Twisted makes of a socket."""
    with socket.socket(fileno=descriptor):
        return reactor.adoptStreamPort(descriptor, socket.AF_INET, factory)


def shared(reactor: Any, descriptor: int, factory: Factory) -> Any:
    """What a worker makes of it."""
    place = Place((descriptor,), 1.0, False, lambda word: None)
    return place.entrance(reactor).listenTCP(0, factory)


@pytest.mark.parametrize(("listen", "taken_by_turn"), [(adopted, [12, 12, 12, 12, 12]), (shared, [1, 3, 7, 12, 12])])
async def test_clients_that_come_together(reactor: Any, listen: Callable[..., Any], taken_by_turn: list[int]) -> None:
    """
    A worker takes one in a turn and leaves the others to who is free, but not for long: if nobody is, they wait. A port
    that is its own takes all of them.
    """
    taken: list[Any] = []

    class Taken(Protocol):
        def connectionMade(self) -> None:
            taken.append(self.transport)

    with ExitStack() as clients, socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        for _ in range(CLIENTS):
            clients.enter_context(socket.create_connection(listening.getsockname()))
        # Who listens closes what it is given: another number for the same socket.
        port = listen(reactor, listening.dup().detach(), Factory.forProtocol(Taken))
        turns = []
        for _ in taken_by_turn:
            port.doRead()
            turns.append(len(taken))
        assert turns == taken_by_turn
        for number in (1, 2):
            clients.enter_context(socket.create_connection(listening.getsockname()))
            port.doRead()
            assert len(taken) == CLIENTS + number, "one that comes alone is taken at once"
        for transport in taken:
            transport.abortConnection()
        await port.stopListening()
