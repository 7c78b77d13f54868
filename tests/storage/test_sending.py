"""Files leave at the pace of those who take them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater

from cheddar.errors import NotFound, Unavailable
from cheddar.storage import sharing
from tests.storage.test_filesystem import CONTENT, KEY, put, sent
from tests.support.consumers import Taker

pytestmark = pytest.mark.usefixtures("nothing_rests")


def open_files(path: Path) -> int:
    """How many descriptors this process has of C{path}."""
    links = (os.path.join("/proc/self/fd", number) for number in os.listdir("/proc/self/fd"))
    return sum(os.path.lexists(link) and os.readlink(link).startswith(str(path)) for link in links)


async def test_a_pause_is_honoured(storage: Any, reactor: Any, root: Path) -> None:
    """A consumer that wants no more for now gets no more, and the rest when it goes on."""
    stored = await put(storage)
    taker = Taker(pause_after=200_000)
    sending = stored.send(taker, 0, None)
    while len(taker.taken) < 200_000:
        await deferLater(reactor, 0)
    had = len(taker.taken)
    for _ in range(20):
        await deferLater(reactor, 0)
    assert len(taker.taken) == had
    assert open_files(root / KEY) == 1
    taker.resume()
    await sending
    assert taker.taken == CONTENT
    assert open_files(root / KEY) == 0


async def test_others_get_their_turn(storage: Any, reactor: Any) -> None:
    """Sending a big file to somebody who takes everything at once does not keep the server from other work."""
    stored = await put(storage, content=CONTENT * 8)
    turns = 0
    sending = stored.send(Taker(), 0, None)
    while not sending.called:
        turns += 1
        await deferLater(reactor, 0)
    assert turns > 20


async def test_a_client_that_leaves(storage: Any, reactor: Any, root: Path) -> None:
    """When the client leaves, the file is closed, the producer is gone, and the sending ends as cancelled."""
    stored = await put(storage)
    taker = Taker(pause_after=1)
    sending = stored.send(taker, 0, None)
    while not taker.taken:
        await deferLater(reactor, 0)
    assert open_files(root / KEY) == 1
    taker.leave()
    assert taker.producer is None
    with pytest.raises(CancelledError):
        await sending
    assert open_files(root / KEY) == 0
    assert len(taker.taken) < len(CONTENT)


async def test_several_are_sent_one_file(storage: Any, reactor: Any, root: Path) -> None:
    """
    A file is open once for all who are sent it at a time, until the last of them has it; what has come in its place,
    or that it is gone, is seen at once.
    """
    first = Taker(pause_after=1)
    sendings = [(await put(storage)).send(first, 0, None)]
    while not first.taken:
        await deferLater(reactor, 0)
    second = Taker(pause_after=1)
    sendings.append((await storage.open(KEY)).send(second, 0, None))
    assert second.taken, "no thread was asked"
    assert open_files(root / KEY) == 1
    first.resume()
    await sendings[0]
    assert first.taken == CONTENT
    assert open_files(root / KEY) == 1
    other = bytes(reversed(CONTENT))
    (root / "other").write_bytes(other)
    os.replace(root / "other", root / KEY)
    third = Taker()
    await (await storage.open(KEY)).send(third, 0, None)
    assert third.taken == other
    (root / KEY).unlink()
    with pytest.raises(NotFound):
        await storage.open(KEY)
    second.resume()
    await sendings[1]
    assert second.taken == CONTENT
    assert open_files(root / KEY) == 0


async def test_who_comes_soon_after_asks_no_thread(
    monkeypatch: pytest.MonkeyPatch, storage: Any, reactor: Any, root: Path
) -> None:
    """A file that somebody was sent a moment ago is still open; that it was deleted or replaced is seen at once."""
    for name in ("RESTING", "ANEW_AFTER"):
        monkeypatch.setattr(sharing, name, 3600.0)
    await sent(await put(storage))
    for _ in range(2):
        opening = storage.open(KEY)
        assert opening.called
        taker = Taker(pause_after=1)
        sending = (await opening).send(taker, 0, None)
        assert taker.taken
        taker.resume()
        await sending
        assert taker.taken == CONTENT
        assert open_files(root / KEY) == 1
    other = CONTENT[::-1]
    (root / "other").write_bytes(other)
    os.replace(root / "other", root / KEY)
    assert await sent(await storage.open(KEY)) == other
    assert open_files(root / KEY) == 1
    await storage.delete(KEY)
    assert open_files(root / KEY) == 0
    with pytest.raises(NotFound):
        await storage.open(KEY)
    await sent(await put(storage))
    (root / KEY).unlink()
    with pytest.raises(NotFound):
        await storage.open(KEY)
    await storage.stop()
    assert open_files(root) == 0


def test_how_long_files_rest(tmp_path: Path) -> None:
    """A few seconds after the last one had it a file is closed; not many rest; a clock that is put back closes all."""
    clock = Clock()
    files = sharing.OpenFiles(tmp_path, clock)
    many = [f"{number}" for number in range(sharing.MOST_RESTING + 2)]

    def opened(key: str) -> sharing.Opened:
        (tmp_path / key).write_bytes(b"x")
        return files.add(key, os.open(tmp_path / key, os.O_RDONLY))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sharing, "RESTING", 5.0)
        first, second = opened("a"), opened("b")
        first.release()
        clock.advance(3)
        second.release()
        assert open_files(tmp_path) == 2
        clock.advance(2)
        assert (files.find("a"), open_files(tmp_path)) == (None, 1)
        found = files.find("b")
        assert found is not None
        found.share()
        clock.advance(60)
        assert open_files(tmp_path) == 1
        found.release()
        clock.advance(4.9)
        assert open_files(tmp_path) == 1
        clock.advance(0.1)
        assert open_files(tmp_path) == 0
        for key in many:
            opened(key).release()
        assert open_files(tmp_path) == sharing.MOST_RESTING
        assert [files.find(key) is None for key in (many[0], many[-1])] == [True, False]
        clock.rightNow -= 1000
        for call in clock.getDelayedCalls():
            call.reset(0)  # as cheddar.service.clock_steps does
        clock.advance(0)
        assert open_files(tmp_path) == 0
        last = opened("c")
        files.close()
        assert open_files(tmp_path) == 1
        last.release()
        assert open_files(tmp_path) == 0
        assert clock.getDelayedCalls() == []


async def test_a_sending_that_is_cancelled(storage: Any, reactor: Any, root: Path) -> None:
    """A sending can be cancelled at any moment, before the file is open too, and nothing stays open."""
    stored = await put(storage)
    for turns in range(12):
        taker = Taker(pause_after=100_000)
        sending = stored.send(taker, 0, None)
        for _ in range(turns):
            await deferLater(reactor, 0)
        sending.cancel()
        with pytest.raises(CancelledError):
            await sending
        assert taker.producer is None
    await storage.names()
    while open_files(root / KEY):
        await deferLater(reactor, 0.001)


async def test_a_file_that_became_shorter(storage: Any, root: Path) -> None:
    """A file that lost bytes while it was sent fails the sending, rather than ending it as if it were whole."""
    stored = await put(storage)
    taker = Taker(pause_after=1)
    sending = stored.send(taker, 0, None)
    while not taker.taken:
        await storage.names()
    os.truncate(root / KEY, 150_000)
    taker.resume()
    with pytest.raises(Unavailable):
        await sending
    assert taker.producer is None
    assert taker.taken == CONTENT[: len(taker.taken)]


async def test_over_a_real_connection(storage: Any, reactor: Any, root: Path) -> None:
    """Over TCP every byte arrives at a client that stays; one that goes in the middle ends the sending."""
    content = CONTENT * 20
    stored = await put(storage, content=content)
    sendings: list[Deferred[None]] = []

    class Server(Protocol):
        def connectionMade(self) -> None:
            sending = stored.send(self.transport, 0, None)
            sendings.append(sending)
            sending.addCallbacks(lambda _: self.transport.loseConnection(), lambda failure: failure)

    class Client(Protocol):
        def __init__(self, limit: int) -> None:
            self.got = bytearray()
            self.limit = limit
            self.lost: Deferred[None] = Deferred()

        def dataReceived(self, data: bytes) -> None:
            self.got += data
            if len(self.got) > self.limit:
                self.transport.abortConnection()

        def connectionLost(self, reason: Any = None) -> None:
            self.lost.callback(None)

    port = reactor.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1")
    try:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        staying = await connectProtocol(endpoint, Client(len(content)))
        await staying.lost
        assert staying.got == content
        await sendings[0]
        leaving = await connectProtocol(endpoint, Client(1_000_000))
        await leaving.lost
        with pytest.raises(CancelledError):
            await sendings[1]
        assert open_files(root / KEY) == 0
    finally:
        await port.stopListening()
