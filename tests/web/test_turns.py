"""A crowd's requests are begun some at a time, in the order in which they came."""

from __future__ import annotations

from collections.abc import Callable
from select import select
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from cheddar.web import turns
from cheddar.web.channel import PacedChannel
from cheddar.web.request import CheddarRequest
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


@pytest.mark.parametrize("flushed", [True, False])
async def test_the_first_bytes_leave_when_they_are_written(
    cheddar: CheddarHere, reactor: Any, monkeypatch: pytest.MonkeyPatch, flushed: bool
) -> None:
    """Not when the reactor comes to it: by then all others of a crowd were given theirs. Without it, they wait."""
    there: list[bool] = []
    write = CheddarRequest.write

    def looking(self: CheddarRequest, data: bytes) -> None:
        write(self, data)
        # What was sent may reach the other end a moment later; what was not does not come while this waits.
        there.append(bool(select([client.socket], [], [], 5 if flushed else 0)[0]))

    monkeypatch.setattr(CheddarRequest, "write", looking)
    if not flushed:
        monkeypatch.setattr(PacedChannel, "flush", lambda self: None)
    with Client(cheddar.port) as client:
        client.send(request("GET", "/health/live"))
        while not there:
            await deferLater(reactor, 0, lambda: None)
        status, _, body = await deferToThread(client.answer)
        assert (status, there) == (200, [flushed])
        assert body


async def test_one_that_fails(cheddar: CheddarHere, reactor: Any, nothing_left_behind: list[Any]) -> None:
    """A connection that fails when its turn has come is closed; the others, before it and behind it, are answered."""
    waiting = site(cheddar).turns

    class Failing:
        def go_on(self) -> None:
            raise RuntimeError("CANARY")

    def burst() -> list[int]:
        clients = [Client(cheddar.port) for _ in range(6)]
        reactor.callFromThread(waiting.wait, Failing())
        for client in clients:
            client.send(request("GET", "/health/live"))
        statuses = [client.answer()[0] for client in clients]
        for client in clients:
            client.socket.close()
        return statuses

    assert await deferToThread(burst) == [200] * 6
    while site(cheddar).census.channels:
        await deferLater(reactor, 0.01, lambda: None)
    nothing_left_behind.clear()


async def test_much_on_one_connection(cheddar: CheddarHere, reactor: Any) -> None:
    """
    A connection with hundreds of requests in one piece has one of them answered in a turn: others do not wait for all
    of them. What it sends ahead is read when it is its turn, and no more than some pieces of it are kept.
    """
    count = 900
    data = request("GET", "/nothing") * count

    def many() -> list[int]:
        with Client(cheddar.port) as client:
            client.send(data)
            return [client.answer()[0] for _ in range(count)]

    asking = deferToThread(many)
    most = 0
    while not asking.called:
        for channel in site(cheddar).census.channels:
            most = max(most, len(channel.postponed) + len(channel._buffer) + sum(map(len, channel._dataBuffer)))
        await deferLater(reactor, 0, lambda: None)
    assert await asking == [404] * count
    assert 1000 < most <= 2 * 65536
    while site(cheddar).census.channels:
        await deferLater(reactor, 0.01, lambda: None)


async def test_a_length_that_is_no_number(cheddar: CheddarHere, reactor: Any) -> None:
    """Python reads no number of thousands of digits: such a Content-Length is refused like any other wrong one."""

    def long() -> tuple[int, int]:
        with Client(cheddar.port) as client, Client(cheddar.port) as other:
            client.send(request("GET", "/health/live", Content_Length="1" * 5000))
            status = client.answer()[0]
            other.send(request("GET", "/health/live"))
            return status, other.answer()[0]

    assert await deferToThread(long) == (400, 200)
    while site(cheddar).census.channels:
        await deferLater(reactor, 0.01, lambda: None)
