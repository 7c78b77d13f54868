"""One of several processes that listen on the same socket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol

from cheddar.service.place import Place

CLIENTS = 5


def adopted(reactor: Any, descriptor: int, factory: Factory) -> Any:
    """The control: what Twisted makes of a socket."""
    with socket.socket(fileno=descriptor):
        return reactor.adoptStreamPort(descriptor, socket.AF_INET, factory)


def shared(reactor: Any, descriptor: int, factory: Factory) -> Any:
    """What a worker makes of it."""
    place = Place((descriptor,), 1.0, False, lambda word: None)
    return place.entrance(reactor).listenTCP(0, factory)


@pytest.mark.parametrize(("listen", "first"), [(adopted, CLIENTS), (shared, 1)])
async def test_clients_that_come_together(reactor: Any, listen: Callable[..., Any], first: int) -> None:
    """A worker takes one in a turn and leaves the others to who is free; a port that is its own takes all of them."""
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
        for _ in range(CLIENTS):
            port.doRead()
            turns.append(len(taken))
        assert turns == [first + turn if first == 1 else CLIENTS for turn in range(CLIENTS)]
        for transport in taken:
            transport.abortConnection()
        await port.stopListening()
