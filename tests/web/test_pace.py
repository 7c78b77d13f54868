"""Nobody may keep connections open by sending, or reading, next to nothing: raw sockets against a running Cheddar."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from cheddar import metrics
from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.settings import Settings
from tests.support.distributions import make_wheel
from tests.support.later import LaterReactor
from tests.support.server import PASSWORD, USER, CheddarHere
from tests.web.test_connections import Client, request, site, spooled, until, upload

LIVE = request("GET", "/health/live")


@pytest.fixture
def clock(reactor: Any) -> LaterReactor:
    """Puts the server's time forward."""
    return LaterReactor(reactor)


@pytest_twisted.async_yield_fixture
async def cheddar(clock: LaterReactor, settings: Settings) -> AsyncIterator[CheddarHere]:
    """On one store: what connections do is the same on both."""
    server = await CheddarHere(settings, clock).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    yield server
    await server.stop()


def cut(slow: str) -> float:
    """How many connections were cut so far."""
    return metrics.connections_cut.labels(slow)._value.get()


async def test_headers_have_an_end(cheddar: CheddarHere, clock: LaterReactor, reactor: Any) -> None:
    """However steadily they come; a client between two requests, and one that was answered, are left alone."""
    slow, idle = Client(cheddar.port), Client(cheddar.port)
    idle.send(LIVE)
    assert (await deferToThread(idle.answer))[0] == 200
    slow.send(LIVE)
    assert (await deferToThread(slow.answer))[0] == 200
    slow.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")
    await until(reactor, lambda: any(channel.head_since is not None for channel in site(cheddar).census.channels))
    before = cut("header")
    for _ in range(3):
        clock.later(7)
        slow.send(b"X: y\r\n")
    assert (await deferToThread(slow.rest)).startswith(b"HTTP/1.1 408 ")
    assert cut("header") == before + 1
    idle.send(LIVE)
    assert (await deferToThread(idle.answer))[0] == 200


async def test_bodies_keep_a_pace(cheddar: CheddarHere, clock: LaterReactor, settings: Settings, reactor: Any) -> None:
    """An upload that brings next to nothing is cut, and nothing of it stays; one that is brisk is not, however long."""
    whole = upload(*make_wheel("demo", "1.0", size=300_000))
    slow, brisk = Client(cheddar.port), Client(cheddar.port)
    # More than what is gathered before there is a file.
    slow.send(whole[:85_000])
    brisk.send(whole[:85_000])
    await until(reactor, lambda: len(spooled(settings)) == 2)
    before = cut("body")
    head = whole.index(b"\r\n\r\n") + 4

    def has_come(count: int) -> bool:
        return any(asked.received == count - head for asked in site(cheddar).under_way)

    for start in (85_000, 125_000, 165_000):
        brisk.send(whole[start : start + 40_000])
        slow.send(b"x")
        # It is here before the clock goes on: the server may look at any moment.
        await until(reactor, partial(has_come, start + 40_000))
        clock.later(31)
        await deferToThread(time.sleep, 1.2)  # the server looks once a second
    brisk.send(whole[205_000:])
    assert (await deferToThread(brisk.answer))[0] == 200
    await deferToThread(slow.rest)
    assert cut("body") == before + 1
    await until(reactor, lambda: not spooled(settings))


async def test_readers_keep_a_pace(cheddar: CheddarHere, clock: LaterReactor, reactor: Any) -> None:
    """Who takes nothing of what was asked for is cut; who reads, and who has nothing to read, is not."""
    filename, content = make_wheel("big", "1.0", size=20_000_000)
    assert (await cheddar.upload(filename, content)).status == 200
    stalled, idle = Client(cheddar.port), Client(cheddar.port)
    idle.send(LIVE)
    assert (await deferToThread(idle.answer))[0] == 200
    stalled.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.send(request("GET", f"/local/{filename}"))

    def stands() -> bool:
        # While the buffers of the system fill, it goes on and off.
        since = [
            channel.stalled_since for channel in site(cheddar).census.channels if channel.stalled_since is not None
        ]
        return bool(since) and clock.seconds() - since[0] > 0.5

    await until(reactor, stands)
    before = cut("reading")
    clock.later(50)
    assert (await cheddar.ask("GET", f"/local/{filename}")).body == content
    assert cut("reading") == before
    clock.later(11)
    await until(reactor, lambda: not site(cheddar).under_way)
    assert cut("reading") == before + 1
    idle.send(LIVE)
    assert (await deferToThread(idle.answer))[0] == 200
    stalled.socket.close()


def is_refused(port: int) -> bool:
    """Whether a new connection is closed without a word."""
    with Client(port) as client:
        client.send(LIVE)
        return client.rest() == b""


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"max_connections_per_address": 3}, True),
        ({"max_connections": 3}, True),
        ({"max_connections_per_address": 3, "trusted_proxies": ("127.0.0.0/8",)}, False),
        ({"max_connections_per_address": 4}, False),
    ],
)
async def test_connections_are_counted(
    reactor: Any, settings: Settings, changes: dict[str, Any], refused: bool
) -> None:
    """There are so many of one address, and in all; a proxy stands for many; who leaves makes room."""
    cheddar = await CheddarHere(attrs.evolve(settings, **changes), reactor).start()
    held = [Client(cheddar.port) for _ in range(3)]
    await until(reactor, lambda: len(site(cheddar).census.channels) == 3)
    if refused:
        assert await deferToThread(is_refused, cheddar.port)
    held.pop().socket.close()
    await until(reactor, lambda: len(site(cheddar).census.channels) == 2)
    held.append(Client(cheddar.port))
    held[-1].send(LIVE)
    assert (await deferToThread(held[-1].answer))[0] == 200
    if not refused:
        held.append(Client(cheddar.port))
        held[-1].send(LIVE)
        assert (await deferToThread(held[-1].answer))[0] == 200
    for client in held:
        client.socket.close()
    await until(reactor, lambda: not site(cheddar).census.channels)
    await cheddar.stop()


async def test_slow_connections_slow_nobody(cheddar: CheddarHere, reactor: Any) -> None:
    """With 500 of them that each send a part of a head, another client is answered as if they were not there."""

    def gather() -> list[Client]:
        crowd = [Client(cheddar.port) for _ in range(500)]
        for client in crowd:
            client.send(b"GET / HT")
        return crowd

    crowd = await deferToThread(gather)
    await until(reactor, lambda: len(site(cheddar).census.channels) == len(crowd))
    begun = time.monotonic()
    for _ in range(20):
        assert (await cheddar.ask("GET", "/health/live")).status == 200
    assert (time.monotonic() - begun) / 20 < 0.3, "the deadline of 100 ms, with room for a busy machine"
    for client in crowd:
        client.socket.close()


async def test_who_sends_ahead_fills_no_memory(cheddar: CheddarHere, reactor: Any) -> None:
    """
    A client that takes nothing of a large answer is not read from meanwhile, however much it sends; and what it has
    sent is answered in order when it reads.
    """
    filename, content = make_wheel("big", "1.0", size=30_000_000)
    assert (await cheddar.upload(filename, content)).status == 200
    ahead = request("GET", "/health/live", X_Long="x" * 1000)

    def send_and_read() -> tuple[int, int, list[int]]:
        with Client(cheddar.port) as client:
            client.send(request("GET", f"/local/{filename}"))
            client.socket.setblocking(False)
            sent, waiting = 0, b""
            for _ in range(200):
                waiting = waiting or ahead * 100
                try:
                    count = client.socket.send(waiting)
                except BlockingIOError:
                    time.sleep(0.005)
                    continue
                sent += count
                waiting = waiting[count:]
            most = max(
                len(channel.postponed) + len(channel._buffer) + sum(map(len, channel._dataBuffer))
                for channel in site(cheddar).census.channels
            )
            client.socket.settimeout(20)
            assert len(client.answer()[2]) == len(content)
            whole = sent // len(ahead)
            return sent, most, [client.answer()[0] for _ in range(whole)]

    sent, most, statuses = await deferToThread(send_and_read)
    assert sent > 300_000, "the kernel has taken this much"
    assert most <= 3 * 65536
    assert set(statuses) == {200}
    await until(reactor, lambda: not site(cheddar).census.channels)
