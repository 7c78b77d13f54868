"""Files leave by sendfile where the connection lets them: nobody gets another byte than by reading and writing."""

from __future__ import annotations

import os
import random
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.settings import Settings
from cheddar.storage.sending import CHUNK, COLD_WINDOW, WINDOW, FileView
from cheddar.web.sendfile import STEP
from tests.storage.test_sending import open_files
from tests.support.distributions import make_wheel
from tests.support.server import PASSWORD, USER, CheddarHere
from tests.upstream.certificates import pem_for
from tests.web.test_connections import Client, request, settled, site, until

pytestmark = pytest.mark.usefixtures("nothing_rests")

NAME, CONTENT = make_wheel("big", "1.0", size=5_000_000)
SMALL_NAME, SMALL = make_wheel("small", "1.0")
#: More than the buffers of a connection hold.
HUGE_NAME, HUGE = make_wheel("huge", "1.0", size=30_000_000)
PATH, SMALL_PATH, HUGE_PATH = f"/local/{NAME}", f"/local/{SMALL_NAME}", f"/local/{HUGE_NAME}"


@pytest_twisted.async_yield_fixture
async def cheddar(reactor: Any, settings: Settings, tmp_path: Path) -> AsyncIterator[CheddarHere]:
    """With a door of each kind, and files."""
    pem, key = pem_for("localhost")
    (tmp_path / "pem").write_bytes(pem + key)
    doors = (f"unix:{tmp_path}/door", f"ssl:0:interface=127.0.0.1:privateKey={tmp_path}/pem")
    server = await CheddarHere(attrs.evolve(settings, listen=doors), reactor).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    for filename, content in ((NAME, CONTENT), (SMALL_NAME, SMALL), (HUGE_NAME, HUGE)):
        assert (await server.upload(filename, content)).status == 200
    yield server
    await server.stop()


def stored(cheddar: CheddarHere, filename: str) -> Path:
    """Where a file lies."""
    (path,) = cheddar.settings.local_dir.rglob(filename)
    return path


def connected(cheddar: CheddarHere, door: str, tmp_path: Path) -> Client:
    """A connection through one of the doors."""
    client = Client(cheddar.port)
    if door == "unix":
        client.socket.close()
        client.socket = socket.socket(socket.AF_UNIX)
        client.socket.settimeout(15)
        client.socket.connect(f"{tmp_path}/door")
    elif door == "tls":
        client.socket.close()
        port = cheddar.service.ports[2].getHost().port
        context = ssl.create_default_context(cafile=f"{tmp_path}/pem")
        plain = socket.create_connection(("127.0.0.1", port), timeout=15)
        client.socket = context.wrap_socket(plain, server_hostname="localhost")
    return client


def spans() -> list[tuple[int, int]]:
    """First and last byte of parts: around every size that the sending knows, and some others."""
    edges = (CHUNK, COLD_WINDOW, STEP, WINDOW)
    of_note = [(0, edge + more) for edge in edges for more in (-1, 0)] + [(edge - 1, 2 * edge) for edge in edges]
    dice = random.Random(6)
    others = [tuple(sorted(dice.sample(range(len(CONTENT)), 2))) for _ in range(12)]
    return [(0, 0), (len(CONTENT) - 1, len(CONTENT) - 1), *of_note, *((a, b) for a, b in others)]


@pytest.mark.parametrize("door", ["tcp", "unix", "tls"])
async def test_every_byte_through_every_door(cheddar: CheddarHere, door: str, tmp_path: Path, sent: list[int]) -> None:
    """Whole files, and parts of any size, over one connection that is kept; what is asked for the head of gets it."""

    def take() -> None:
        with connected(cheddar, door, tmp_path) as client:
            client.send(request("GET", PATH))
            status, headers, body = client.answer()
            assert (status, headers["content-length"]) == (200, str(len(CONTENT)))
            assert "transfer-encoding" not in headers
            assert body == CONTENT
            client.send(request("HEAD", PATH))
            assert client.answer("HEAD")[1]["content-length"] == str(len(CONTENT))
            for first, last in spans():
                client.send(request("GET", PATH, Range=f"bytes={first}-{last}"))
                status, headers, body = client.answer()
                assert (status, headers["content-range"]) == (206, f"bytes {first}-{last}/{len(CONTENT)}")
                assert body == CONTENT[first : last + 1]

    await deferToThread(take)
    if door == "tls":
        assert not sent
    else:
        straight = sum(last - first + 1 for first, last in spans() if last - first >= CHUNK)
        assert sum(sent) == len(CONTENT) + straight
        assert max(sent) <= STEP


async def test_requests_one_after_another_without_waiting(cheddar: CheddarHere, sent: list[int]) -> None:
    """Answers to requests that were sent all at once come in their order, each whole, whatever way its bytes go."""
    paths = [PATH, "/health/live", SMALL_PATH, PATH, "/simple/", PATH, PATH]

    def take() -> list[tuple[int, bytes]]:
        with Client(cheddar.port) as client:
            client.send(b"".join(request("GET", path) for path in paths) + request("HEAD", PATH))
            bodies = [(status, body) for status, _, body in (client.answer() for _ in paths)]
            client.answer("HEAD")
            client.send(request("GET", PATH, Connection="close"))
            assert client.answer()[2] == CONTENT
            assert client.rest() == b""
            return bodies

    answers = await deferToThread(take)
    assert [status for status, _ in answers] == [200] * len(paths)
    for path, (_, body) in zip(paths, answers, strict=True):
        assert {PATH: CONTENT, SMALL_PATH: SMALL}.get(path, body) == body
    assert b"big" in answers[4][1]
    assert sum(sent) == 5 * len(CONTENT)


async def test_what_is_not_in_memory(cheddar: CheddarHere, monkeypatch: pytest.MonkeyPatch, sent: list[int]) -> None:
    """Bytes that have to come from the disk are read in a thread first, and are the same."""
    looks: list[int] = []

    def never(self: FileView, offset: int, length: int) -> bool:
        looks.append(offset)
        return False

    monkeypatch.setattr(FileView, "_is_cached", never)
    assert (await cheddar.ask("GET", PATH)).body == CONTENT
    assert looks == list(range(0, len(CONTENT), COLD_WINDOW))
    assert sum(sent) == len(CONTENT)


async def test_where_the_kernel_cannot(cheddar: CheddarHere, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that knows no sendfile, files are read and written."""
    asked: list[int] = []

    def cannot(out: int, source: int, offset: int, count: int) -> int:
        asked.append(offset)
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", cannot)
    assert (await cheddar.ask("GET", PATH)).body == CONTENT
    assert asked == [0]


async def begun(cheddar: CheddarHere, reactor: Any, sent: list[int]) -> Client:
    """Who asks for more than the connection's buffers hold, and takes nothing of it: some was sent."""
    del sent[:]
    client = Client(cheddar.port)
    client.send(request("GET", HUGE_PATH))
    await until(reactor, lambda: sent)
    assert open_files(stored(cheddar, HUGE_NAME)) == 1
    return client


async def test_a_slow_client_and_others(cheddar: CheddarHere, reactor: Any, sent: list[int]) -> None:
    """Who takes a little now and then gets every byte in the end; others are served meanwhile."""
    client = await begun(cheddar, reactor, sent)
    for _ in range(3):
        client.got += await deferToThread(client.socket.recv, 100_000)
        assert (await cheddar.ask("GET", PATH)).body == CONTENT
    with client:
        assert (await deferToThread(client.answer))[2] == HUGE
    await settled(cheddar, reactor)
    assert open_files(stored(cheddar, HUGE_NAME)) == 0


async def test_a_client_that_leaves(cheddar: CheddarHere, reactor: Any, sent: list[int]) -> None:
    """In the middle, in any way: its file is closed, and nothing goes on."""
    before = len(os.listdir("/proc/self/fd"))
    for linger in (b"\0\0\0\0\0\0\0\0", b"\1\0\0\0\0\0\0\0"):
        client = await begun(cheddar, reactor, sent)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.socket.close()
        await settled(cheddar, reactor)
        await until(reactor, lambda: not open_files(stored(cheddar, HUGE_NAME)))
        assert sum(sent) < len(HUGE)
    await until(reactor, lambda: len(os.listdir("/proc/self/fd")) <= before)


async def test_a_file_that_changes_meanwhile(cheddar: CheddarHere, reactor: Any, sent: list[int]) -> None:
    """A file that is deleted while it is sent is sent whole; one that became shorter ends with a cut connection."""
    path = stored(cheddar, HUGE_NAME)
    client = await begun(cheddar, reactor, sent)
    os.truncate(path, 20_000_000)
    body = (await deferToThread(client.rest)).partition(b"\r\n\r\n")[2]
    assert body == HUGE[: len(body)]
    assert len(body) <= 20_000_000
    path.write_bytes(HUGE)
    client = await begun(cheddar, reactor, sent)
    path.unlink()
    assert (await deferToThread(client.answer))[2] == HUGE
    client.send(request("GET", "/health/live"))
    assert (await deferToThread(client.answer))[0] == 200
    client.socket.close()


async def test_a_server_that_stops(cheddar: CheddarHere, reactor: Any, sent: list[int]) -> None:
    """It waits for who takes what it asked for, and in the end cuts who does not; no file stays open."""
    taking, stalled = await begun(cheddar, reactor, sent), Client(cheddar.port)
    stalled.send(request("GET", HUGE_PATH))
    await until(reactor, lambda: len(site(cheddar).under_way) == 2)
    path = stored(cheddar, HUGE_NAME)
    stopping = cheddar.service.stopService()
    assert (await deferToThread(taking.answer))[2] == HUGE
    assert await deferToThread(taking.rest) == b""
    assert not stopping.called
    await stopping
    assert len(await deferToThread(stalled.rest)) < len(HUGE)
    assert open_files(path) == 0
