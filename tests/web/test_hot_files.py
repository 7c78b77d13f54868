"""Files over the short road: the same bytes as over the long one, and the same rules."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from cheddar import metrics
from cheddar.errors import Unavailable
from cheddar.model import Right, Role
from cheddar.storage.sending import CHUNK, FileView
from cheddar.web import channel, hot
from cheddar.web.access_log import Answered
from cheddar.web.channel import PacedChannel
from cheddar.web.sendfile import Sending
from tests.support.distributions import make_wheel
from tests.support.redis import redis_server
from tests.support.server import JSON, basic
from tests.web.test_connections import Client, request, site, until
from tests.web.test_hot import Warm, undated, warm, whole

__all__ = ["redis_server", "warm"]

LARGE, HUGE = 700_000, 30_000_000


@attrs.frozen
class Files:
    """
    Requests for files, each of which was answered over both roads.

    @ivar small: one of a local file, C{large} and C{huge} too; C{cached} and C{cached_large} of upstream's.
    """

    small: bytes
    large: bytes
    huge: bytes
    cached: bytes
    cached_large: bytes

    def __iter__(self) -> Iterator[bytes]:
        return iter(attrs.astuple(self))


async def addresses(warm: Warm, project: str) -> list[str]:
    page = await warm.cheddar.ask("GET", f"/simple/{project}/", headers={"Accept": JSON})
    return [file["url"].replace("../../", "/") for file in page.json()["files"]]


@pytest_twisted.async_yield_fixture
async def files(warm: Warm) -> Any:
    """See L{Files}."""
    for name, size in (("large", LARGE), ("huge", HUGE)):
        assert (await warm.cheddar.upload(*make_wheel(name, "1.0", size=size))).status == 200
    warm.upstream.add_file("spam-large", *make_wheel("spam-large", "1.0", size=LARGE))
    found = [(await addresses(warm, name))[0] for name in ("acme", "large", "huge", "spam", "spam-large")]
    made = Files(*(request("GET", path) for path in found))
    # What upstream has not been asked for yet is not here.
    await warm.exchange(*made)
    await warm.settle()
    await warm.exchange(*made)
    await warm.exchange(*made)
    yield made


async def test_the_same_bytes(warm: Warm, files: Files) -> None:
    """
    Files of both indexes, read and by sendfile, by GET and HEAD and with conditions: what comes over the short road is,
    byte for byte, what came over the long one.
    """
    paths = [data.split(b" ")[1].decode() for data in files if data != files.huge]
    asked: list[dict[str, str]] = [{"Accept": "*/*"}, {"If_None_Match": "*"}, {"If_None_Match": '"x"', "X_More": "1"}]
    asked += [{"If_Modified_Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, {"Accept_Encoding": "gzip", "User_Agent": "pip"}]
    requests = [request(method, path, **headers) for path in paths for headers in asked for method in ("GET", "HEAD")]
    long = await warm.exchange(*requests)
    second = await warm.exchange(*requests)
    short = await warm.exchange(*requests)
    statuses = set()
    for data, (before, hit), (again, _), (after, hit_again) in zip(requests, long, second, short, strict=True):
        assert (hit, hit_again) == (False, True), data
        assert undated(before) == undated(again) == undated(after), data
        assert re.search(rb"\r\nDate: \w+, \d\d \w+ \d{4} \d\d:\d\d:\d\d GMT\r\n", after), data
        statuses.add((after.split(b" ")[1], len(after) > LARGE))
    assert statuses == {(b"200", False), (b"200", True), (b"304", False)}


async def test_what_is_not_kept(warm: Warm, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts, logins, and what was asked for once among many others, take the long road."""
    path = files.large.split(b" ")[1].decode()
    for data in (request("GET", path, Range="bytes=1-9"), request("GET", path, Authorization=basic())):
        assert [hit for _, hit in await warm.exchange(data, data, data)] == [False] * 3
    monkeypatch.setattr(hot, "_MOST_ASKED_ONCE", 2)
    many = [request("GET", path, X_Other=str(number)) for number in range(3)]
    assert not any(hit for _, hit in await warm.exchange(*many, *many, *many))
    assert [hit for _, hit in await warm.exchange(many[0], many[0], many[0])] == [False, False, True], "the control"


async def test_it_leaves_as_ever(warm: Warm, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is small is read, and leaves in one call with its head; what is large goes by sendfile."""
    ways: list[str] = []
    read, start = FileView.read, Sending.start
    monkeypatch.setattr(FileView, "read", lambda *args: (ways.append("read"), read(*args))[1])
    monkeypatch.setattr(Sending, "start", lambda *args: (ways.append("sendfile"), start(*args))[1])
    for data, way in ((files.small, "read"), (files.large, "sendfile"), (files.cached, "read")):
        ways.clear()
        ((answer, hit),) = await warm.exchange(data)
        assert hit
        assert set(ways) == {way}
        assert (len(answer) > CHUNK) is (way == "sendfile")


async def test_in_order(warm: Warm, files: Files) -> None:
    """Requests that are sent without waiting are answered in their order, whichever road each takes."""
    page, cold = request("GET", "/simple/acme/"), request("GET", "/simple/acme/?cold")
    await warm.exchange(page, page)
    many = [files.small, page, files.large, files.small, cold, files.cached_large, files.huge, page, files.large, cold]
    for pieces in (1, 40, 900):

        def at_once(count: int = pieces) -> list[bytes]:
            data = b"".join(many)
            step = -(-len(data) // count)
            with Client(warm.cheddar.port) as client:
                for offset in range(0, len(data), step):
                    client.send(data[offset : offset + step])
                return [whole(client, one) for one in many]

        before = warm.hits
        answers = await deferToThread(at_once)
        assert pieces == 900 or warm.hits > before
        expected = [answer for answer, _ in await warm.exchange(*many)]
        assert list(map(undated, answers)) == list(map(undated, expected))


@pytest.mark.parametrize("change", ["removed", "another upload", "a private project"])
async def test_a_change_is_seen(warm: Warm, files: Files, change: str) -> None:
    """What a change makes of a file's address is seen at once."""
    ((old, hit),) = await warm.exchange(files.large)
    assert hit
    if change == "removed":
        login = {"Authorization": basic()}
        path = "/simple/large/1.0"
        assert (await warm.cheddar.ask("DELETE", path, headers=login)).status in (200, 204)
    elif change == "another upload":
        assert (await warm.cheddar.upload(*make_wheel("large", "2.0"))).status == 200
    else:
        await warm.cheddar.service.store.rights.put(Right("bob", Role.READER, "large"))
    ((new, hit),) = await warm.exchange(files.large)
    assert not hit
    assert new.startswith(b"HTTP/1.1 200 OK") is (change == "another upload")
    ((_, hit),) = await warm.exchange(files.small)
    assert hit is (change != "a private project"), "others are as they were, but for who may do what"


@pytest.mark.parametrize("missing", ["gone", "shorter"])
async def test_bytes_that_are_gone(warm: Warm, files: Files, missing: str) -> None:
    """A file that has gone from the disk is explained by the long road; upstream's is fetched again."""
    settings = warm.cheddar.settings
    for root, name in ((settings.local_dir, "large-1.0"), (settings.remote_dir, "spam_large-1.0")):
        (path,) = [path for path in root.rglob(f"{name}*") if path.suffix == ".whl"]
        if missing == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-1])
    large, cached = await warm.exchange(files.large, files.cached_large)
    assert not large[1]
    assert large[0].startswith(b"HTTP/1.1 503 ")
    assert cached[0].startswith(b"HTTP/1.1 200 ")
    assert len(cached[0]) > LARGE
    (again,) = await warm.exchange(files.small)
    assert again[1]


async def test_an_order_that_is_kept_when_bytes_are_gone(warm: Warm, files: Files) -> None:
    """Where the short road leads nowhere, those that wait behind are answered behind."""
    (path,) = warm.cheddar.settings.local_dir.rglob("large-1.0*.whl")
    path.unlink()
    many = [files.small, files.large, files.small, files.cached_large, files.large, files.small]

    def at_once() -> list[bytes]:
        with Client(warm.cheddar.port) as client:
            client.send(b"".join(many))
            return [whole(client, data)[:12] for data in many]

    good, gone = b"HTTP/1.1 200", b"HTTP/1.1 503"
    assert await deferToThread(at_once) == [good, gone, good, good, gone, good]


@attrs.define
class Log:
    """An access log. @ivar lines: what was noted, and whether it was whole."""

    lines: list[tuple[Answered, bool]] = attrs.field(factory=list)

    def add(self, peer: str, began: float, answered: Answered, whole: bool = True) -> None:
        """See L{AccessLog<cheddar.web.access_log.AccessLog>}."""
        self.lines.append((answered, whole))


async def test_log_and_metrics(warm: Warm, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is noted and counted as over the long road."""
    log = Log()
    monkeypatch.setattr(site(warm.cheddar), "_access_log", log)
    data = files.large[:-2] + b"User-Agent: uv/1\r\n\r\n"
    route = "/local/files/<project>/<digest>/<filename>"
    count = metrics.requests.labels("GET", route, "200")._value
    site(warm.cheddar).hot.count()
    before, observed = count.get(), _observed(route)
    path = data.split(b" ")[1]
    asked = [data, data, data[:-2] + b"X-Long: 1\r\n\r\n"]
    assert [hit for _, hit in await warm.exchange(*asked)] == [True, True, False]
    await until(warm.reactor, lambda: len(log.lines) == 3)
    site(warm.cheddar).hot.count()
    assert (count.get(), _observed(route)) == (before + 3, observed + 3)
    assert log.lines[0] == log.lines[1] == log.lines[2]
    answered, was_whole = log.lines[0]
    assert was_whole
    assert (answered.path, answered.status, answered.agent) == (path, 200, b"uv/1")
    assert answered.size > LARGE


def _observed(route: str) -> float:
    return metrics.registry.get_sample_value("cheddar_http_request_seconds_count", {"route": route}) or 0


@pytest.mark.parametrize("reset", [True, False])
async def test_who_leaves(warm: Warm, files: Files, monkeypatch: pytest.MonkeyPatch, reset: bool) -> None:
    """Who leaves in the middle is noted as such, and nothing is left of him; what he had asked for next is not sent."""
    log = Log()
    monkeypatch.setattr(site(warm.cheddar), "_access_log", log)
    before = warm.hits

    def leave() -> None:
        with Client(warm.cheddar.port) as client:
            if reset:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.send(files.huge + files.small)
            client._until(b"\r\n\r\n")

    await deferToThread(leave)
    await until(warm.reactor, lambda: log.lines and not site(warm.cheddar).census.channels)
    ((answered, was_whole),) = log.lines
    assert not was_whole
    assert answered.size < HUGE
    assert warm.hits == before + 1
    assert not site(warm.cheddar).under_way


async def test_who_does_not_read(warm: Warm, files: Files) -> None:
    """Who takes nothing for too long is cut off; who takes a little now and then is not, however long it lasts."""
    census = site(warm.cheddar).census
    client = Client(warm.cheddar.port)
    # Else the kernel takes all of it for a client who has read fast before.
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
    await deferToThread(client.send, files.huge + files.small)
    await until(warm.reactor, lambda: [one for one in census.channels if one.stalled_since is not None])
    (reader,) = [one for one in census.channels if one.sending is not None]
    limit = census.limits.stall_seconds
    assert not reader._TimeoutMixin__timeoutCall, "the time between two requests is not counted meanwhile"
    await warm.later(0.7 * limit)
    census._look()
    await deferToThread(client._more)
    while reader.stalled_since is not None and reader.stalled_since < warm.clock.seconds() - 1:
        await deferToThread(client._more)
    await warm.later(0.7 * limit)
    census._look()
    await deferLater(warm.reactor, 0)
    assert reader in census.channels, "he has taken something"
    answer = await deferToThread(whole, client, files.huge)
    assert len(answer) > HUGE
    await deferToThread(whole, client, files.small)
    assert reader._TimeoutMixin__timeoutCall
    before = warm.hits
    await deferToThread(client.send, files.huge)
    await until(warm.reactor, lambda: warm.hits > before and reader.stalled_since is not None)

    def cut() -> bool:
        # The kernel may have taken something in between.
        warm.clock.later(limit + 1)
        census._look()
        return not census.channels

    await until(warm.reactor, cut)
    assert not site(warm.cheddar).under_way
    client.socket.close()


async def restarted(warm: Warm, files: Files, drain_timeout: int) -> None:
    """Begin anew, with so many seconds to stop in."""
    # CheddarHere has an idea of its own about these.
    warm.cheddar.settings = attrs.evolve(warm.cheddar.settings, drain_timeout=drain_timeout)
    await warm.cheddar.restart()
    await warm.later(hot.SETTLED + 1)
    assert [hit for _, hit in await warm.exchange(files.huge, files.huge, files.huge)] == [False, False, True]


async def test_a_server_that_stops(warm: Warm, files: Files) -> None:
    """Whoever is being sent a file when the server stops gets all of it; the connection ends after that."""
    await restarted(warm, files, 15)
    with Client(warm.cheddar.port) as client:
        await deferToThread(client.send, files.huge)
        await until(warm.reactor, lambda: [one for one in site(warm.cheddar).census.channels if one.sending])
        assert site(warm.cheddar).idle() == []
        stopping = warm.cheddar.service.stopService()
        answer = await deferToThread(whole, client, files.huge)
        assert len(answer) > HUGE
        await stopping
        assert await deferToThread(client.rest) == b""
    await warm.cheddar.restart()


async def test_a_server_that_stops_at_last(warm: Warm, files: Files) -> None:
    """Who does not read is cut off when the time is over that a server gives itself to stop."""
    await restarted(warm, files, 1)
    client = Client(warm.cheddar.port)
    before = warm.hits
    await deferToThread(client.send, files.huge)
    await until(warm.reactor, lambda: site(warm.cheddar).under_way)
    assert warm.hits == before + 1
    await warm.cheddar.service.stopService()
    with pytest.raises(ConnectionError):
        await deferToThread(whole, client, files.huge)
    client.socket.close()
    await warm.cheddar.restart()


@pytest.mark.parametrize("how", ["hangs", "fails"])
async def test_a_server_that_stops_before_the_first_byte(
    warm: Warm, files: Files, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Whoever has nothing of a file yet when that time is over is cut off too, whatever becomes of the file then."""
    await restarted(warm, files, 1)
    error = CancelledError() if how == "hangs" else Unavailable("The disk is bad.")
    waiting: list[Deferred[int]] = []

    def wait(self: FileView, offset: int, length: int) -> Deferred[int]:
        waiting.append(Deferred(lambda deferred: deferred.errback(error)))
        return waiting[-1]

    monkeypatch.setattr(FileView, "bring", wait)
    with Client(warm.cheddar.port) as client:
        await deferToThread(client.send, files.huge)
        await until(warm.reactor, lambda: waiting)
        await warm.cheddar.service.stopService()
        assert await deferToThread(client.rest) == b""
    assert not site(warm.cheddar).under_way
    await warm.cheddar.restart()


async def test_what_is_sent_ahead(warm: Warm, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks on and on while he is sent a file in pieces is read no further than a little: no memory is filled."""
    monkeypatch.setattr(channel, "can_sendfile", lambda transport: False)
    most, postpone = [0], PacedChannel._postpone

    def measure(self: PacedChannel, data: bytes) -> None:
        postpone(self, data)
        most.append(len(self.postponed))

    monkeypatch.setattr(PacedChannel, "_postpone", measure)
    behind = files.small * 4000
    with Client(warm.cheddar.port) as client:
        sending = deferToThread(client.send, files.huge + behind)
        assert len(await deferToThread(whole, client, files.huge)) > HUGE
        assert len(behind) > 8 * max(most)
        assert 0 < max(most) < 256 * 1024
        client.socket.close()
        await sending
    await until(warm.reactor, lambda: not site(warm.cheddar).census.channels)


async def test_a_server_in_front_sends_them(warm: Warm, files: Files) -> None:
    """Where another server sends the files, it is told so each time: nothing of them is kept."""
    warm.cheddar.settings = attrs.evolve(warm.cheddar.settings, x_sendfile=True)
    await warm.cheddar.restart()
    await warm.settle()
    page, head = request("GET", "/simple/acme/"), files.large.replace(b"GET", b"HEAD")
    assert not any(hit for _, hit in await warm.exchange(*[files.large] * 3, *[head] * 3))
    assert [hit for _, hit in await warm.exchange(page, page)] == [False, True], "the control"


@pytest.mark.parametrize("begun", [True, False])
async def test_a_disk_that_fails(warm: Warm, files: Files, monkeypatch: pytest.MonkeyPatch, begun: bool) -> None:
    """What cannot be read on cuts the connection, for the client has a part of it; before that it is explained."""
    bring, brought = FileView.bring, []

    async def fail(self: FileView, offset: int, length: int) -> int:
        brought.append(offset)
        if len(brought) > (1 if begun else 0):
            raise Unavailable("The disk is bad.")
        return int(await bring(self, offset, length))

    monkeypatch.setattr(FileView, "bring", fail)
    with Client(warm.cheddar.port) as client:
        await deferToThread(client.send, files.huge + files.small)
        if begun:
            with pytest.raises(ConnectionError):
                await deferToThread(whole, client, files.huge)
        else:
            assert (await deferToThread(whole, client, files.huge)).startswith(b"HTTP/1.1 503 ")
            assert (await deferToThread(whole, client, files.small)).startswith(b"HTTP/1.1 200 ")
    assert brought
    await until(warm.reactor, lambda: not site(warm.cheddar).under_way)
