"""A crowd's requests are begun some at a time, in the order in which they came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from cheddar.web import turns
from cheddar.web.turns import MOST, Turns
from tests.support.server import CheddarHere
from tests.web.test_connections import Client, request, site


@define(eq=False)
class Connection:
    """One whose request waits."""

    name: int
    begun: list[int] = field()

    def go_on(self) -> None:
        """See L{cheddar.web.turns.Waiting}."""
        self.begun.append(self.name)


@define(eq=False)
class Reactor:
    """Turns of a reactor: what is called for in one comes in the next."""

    calls: list[Callable[[], None]] = field(factory=list)

    def callLater(self, seconds: float, call: Callable[[], None]) -> None:
        """See L{IReactorTime}."""
        assert seconds == 0
        self.calls.append(call)

    def turn(self) -> None:
        """The next one."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()


def test_so_many_in_a_turn() -> None:
    """So many are begun at once, the others in the turns after that, first come, first served; nobody goes before."""
    reactor: Any = Reactor()
    begun: list[int] = []
    counted = Turns(reactor)
    for name in range(3 * MOST):
        if counted.take():
            begun.append(name)
        else:
            counted.wait(Connection(name, begun))
    assert begun == list(range(MOST))
    reactor.turn()
    assert begun == list(range(2 * MOST))
    assert not counted.take(), "others wait"
    counted.wait(Connection(3 * MOST, begun))
    reactor.turn()
    assert begun == list(range(3 * MOST))
    reactor.turn()
    assert begun == list(range(3 * MOST + 1))
    reactor.turn()
    assert reactor.calls == [], "nothing is to be looked for"
    assert [counted.take() for _ in range(MOST + 1)].count(True) in (MOST - 1, MOST)
    reactor.turn()
    assert counted.take()


async def test_a_crowd(cheddar: CheddarHere, reactor: Any, monkeypatch: Any) -> None:
    """
    However many ask at once, each gets all his answers, in order, some of whose requests came in pieces; who leaves
    meanwhile disturbs nobody; and what a timer does is not put off until all were begun.
    """
    monkeypatch.setattr(turns, "MOST", 4)
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(sum(bool(channel.postponed) for channel in site(cheddar).census.channels))

    def crowd() -> list[bool]:
        clients = [Client(cheddar.port) for _ in range(80)]
        first, second = request("GET", "/health/live"), request("GET", "/nothing")
        for number, client in enumerate(clients):
            client.send(first + second[: number % 30])
        for number, client in enumerate(clients):
            client.send(second[number % 30 :])
        for client in clients[::10]:
            client.socket.close()
        right = []
        for number, client in enumerate(clients):
            if number % 10:
                right.append((client.answer()[0], client.answer()[0]) == (200, 404))
                client.socket.close()
        return right

    asking = deferToThread(crowd)
    while not asking.called:
        tick()
        await deferLater(reactor, 0, lambda: None)
    assert await asking == [True] * 72
    assert max(ticks) > 0, "some had to wait"
    while site(cheddar).census.channels:
        await deferLater(reactor, 0.01, lambda: None)
