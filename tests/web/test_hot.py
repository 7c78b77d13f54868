"""
The short road, by which what was asked for before is answered: the same bytes as over the long one, for as long as
nothing has changed, and by the same rules.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from cheddar import metrics
from cheddar.auth.passwords import hash_password
from cheddar.model import Right, Role, User
from cheddar.settings import Settings
from cheddar.store import changes
from cheddar.web import hot, hot_heads
from cheddar.web.access_log import Answered
from tests.support.distributions import make_wheel
from tests.support.later import LaterReactor
from tests.support.redis import RedisServer, redis_server
from tests.support.server import JSON, PASSWORD, USER, CheddarHere, basic
from tests.support.upstream import EvilUpstream
from tests.web.test_connections import Client, request, site

__all__ = ["redis_server"]

HTML = "text/html"
FORMATS = (JSON, HTML, "application/json")


@attrs.define(eq=False)
class Warm:
    """A Cheddar with a local and a cached project, long after anything has changed."""

    cheddar: CheddarHere
    upstream: EvilUpstream
    clock: LaterReactor
    reactor: Any

    async def settle(self) -> None:
        """Let everything be old news, and be known to be."""
        # A page has no date before it was seen to be some seconds old.
        await self.exchange(*(request("GET", path, Accept=accept) for path in PAGES for accept in FORMATS))
        await self.later(hot.SETTLED + 1)

    async def later(self, seconds: float) -> None:
        """Let time pass, and what has changed be heard."""
        await self._heard()
        self.clock.later(seconds)
        await self._heard()

    async def _heard(self) -> None:
        told, now = self.cheddar.service.store.changes, self.clock.seconds()
        while (told.seen_at() or 0) < now:
            await deferLater(self.reactor, 0.02, lambda: None)

    async def exchange(self, *requests: bytes) -> list[tuple[bytes, bool]]:
        """Ask on one connection, each time after the answer before: the answers, and which came over the short road."""
        return await deferToThread(self._exchange, requests)

    @property
    def hits(self) -> int:
        """How many answers came over the short road."""
        return int(site(self.cheddar).hot.given)

    def _exchange(self, requests: tuple[bytes, ...]) -> list[tuple[bytes, bool]]:
        answers = []
        with Client(self.cheddar.port) as client:
            for data in requests:
                before = self.hits
                client.send(data)
                answers.append((whole(client, data), self.hits > before))
        return answers


def whole(client: Client, data: bytes) -> bytes:
    """The next answer, all of it as it came."""
    head = client._until(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    length = 0 if data.startswith(b"HEAD") or found is None else int(found[1])
    while len(client.got) < length:
        client._more()
    body = bytes(client.got[:length])
    del client.got[:length]
    return head + b"\r\n\r\n" + body


def undated(answer: bytes) -> bytes:
    """An answer without its date, and without the seconds of its age: they go on."""
    return re.sub(rb"\r\n(Date: [^\r]*|Age: \d+)", lambda found: b"\r\n" + found[1].split(b":")[0], answer, count=2)


@pytest_twisted.async_yield_fixture(params=["sqlite", "redis"])
async def warm(
    request: Any, reactor: Any, settings: Settings, upstream: EvilUpstream, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Warm]:
    """See L{Warm}; on each store."""
    # A machine that stands still is no store that says nothing; what is about that second sets it back.
    monkeypatch.setattr(changes, "BELIEF", 30.0)
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.command("FLUSHALL")
        settings = attrs.evolve(settings, redis_url=server.url)
    clock = LaterReactor(reactor)
    cheddar = await CheddarHere(settings, clock).start()
    await cheddar.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    for version in ("1.0", "1.1", "2.0a1"):
        assert (await cheddar.upload(*make_wheel("acme", version))).status == 200
    upstream.add_file("spam", *make_wheel("spam", "1.0"))
    assert (await cheddar.ask("GET", "/simple/spam/")).status == 200
    here = Warm(cheddar, upstream, clock, reactor)
    await here.settle()
    yield here
    await cheddar.stop()


PAGES = ("/simple/", "/local/simple/", "/remote/simple/", "/simple/acme/", "/local/simple/acme/", "/simple/spam/")


async def test_the_same_bytes(warm: Warm) -> None:
    """
    Pages of all indexes in every format and coding, by GET and HEAD, whole and with every condition: what comes over
    the short road is, byte for byte, what came over the long one; the date and the age are those of the moment.
    """
    asked = [
        {"Accept": accept, **coding, **condition}
        for accept in FORMATS
        for coding in ({}, {"Accept_Encoding": "gzip"})
        for condition in ({}, {"If_None_Match": "*"}, {"If_None_Match": '"x"', "User_Agent": "pip/26.0"})
    ]
    asked.append({"Accept": JSON, "If_Modified_Since": "Sat, 01 Jan 2000 00:00:00 GMT"})
    requests = [request(method, path, **headers) for path in PAGES for headers in asked for method in ("GET", "HEAD")]
    files = json.loads((await warm.cheddar.ask("GET", "/simple/acme/", headers={"Accept": JSON})).body)["files"]
    listed = json.loads((await warm.cheddar.ask("GET", "/simple/spam/", headers={"Accept": JSON})).body)["files"]
    beside = [file["url"].replace("../../", "/") + ".metadata" for file in (files[0], listed[0])]
    for path in ("/", "/project/acme/", "/project/spam/", "/simple/acme/1.0", "/pypi/acme/json", *beside):
        for headers in ({}, {"Accept": "application/json", "Accept_Encoding": "gzip"}, {"If_None_Match": "*"}):
            requests += [request("GET", path, **headers), request("HEAD", path, **headers)]
    # What upstream has not been asked for yet is not here.
    await warm.exchange(*(request("GET", path, X_First="1") for path in beside))
    long = await warm.exchange(*requests)
    short = await warm.exchange(*requests)
    statuses = set()
    for data, (before, hit), (after, hit_again) in zip(requests, long, short, strict=True):
        assert (hit, hit_again) == (False, True), data
        assert undated(after) == undated(before), data
        assert re.search(rb"\r\nDate: \w+, \d\d \w+ \d{4} \d\d:\d\d:\d\d GMT\r\n", after), data
        statuses.add(after.split(b" ")[1])
    assert statuses == {b"200", b"304"}
    age = re.compile(rb"\r\nAge: (\d+)\r\n")
    last = [int(found[1]) for after, _ in short if (found := age.search(after))]
    assert last, "a page of upstream's tells its age"
    await warm.later(5)
    (now,) = await warm.exchange(request("GET", "/simple/spam/", **asked[0]))
    found = age.search(now[0])
    assert found is not None
    assert now[1]
    assert int(found[1]) >= last[0] + 5


KEPT_OUT: dict[str, bytes] = {
    "a login": request("GET", "/simple/acme/", Authorization=basic()),
    "a connection that ends": request("GET", "/simple/acme/", Connection="close"),
    "HTTP/1.0": request("GET", "/simple/acme/", version="1.0", Connection="close"),
    "a redirect": request("GET", "/simple/acme"),
    "what is not there": request("GET", "/simple/acme%20/"),
    "another method": request("POST", "/simple/acme/", b""),
    "a body": request("GET", "/simple/acme/", b"x"),
    "a wrong Accept": request("GET", "/simple/acme/", Accept="image/png"),
    "a condition that fails": request("GET", "/simple/acme/", If_Match='"x"'),
    "a date to come": request("GET", "/simple/acme/", If_Modified_Since="Sat, 01 Jan 2050 00:00:00 GMT"),
    "a wrong Host": request("GET", "/simple/acme/", Host="a b"),
    "health": request("GET", "/health/live"),
    "metrics": request("GET", "/metrics"),
    "a query": request("GET", "/simple/acme/?x"),
    "a long head": request("GET", "/simple/acme/", X_Long="x" * hot_heads.LONGEST),
}


async def test_what_is_not_kept(warm: Warm) -> None:
    """What is not a page for everybody takes the long road each time."""
    control = request("GET", "/simple/acme/")
    await warm.exchange(control)
    for what, data in KEPT_OUT.items():
        for _ in range(2):
            ((_, hit),) = await warm.exchange(data)
            assert not hit, what
        ((_, hit),) = await warm.exchange(control)
        assert hit, what


async def test_pieces(warm: Warm) -> None:
    """A head in two pieces, with an empty line before it, or behind half of another, is read as ever."""
    data = request("GET", "/simple/acme/")
    (first, _), (_, hit) = await warm.exchange(data, data)
    assert hit

    def in_pieces() -> list[bytes]:
        with Client(warm.cheddar.port) as client:
            answers = []
            for pieces in (
                (data[:9], data[9:]),
                (data[:-2], data[-2:]),
                (b"\r\n", data),
                (data + data[:20], data[20:]),
            ):
                for piece in pieces:
                    client.send(piece)
                    time.sleep(0.05)  # so that the pieces do not meet on the way
                answers.append(whole(client, data))
            answers.append(whole(client, data))
            return answers

    answers = await deferToThread(in_pieces)
    assert {undated(answer) for answer in answers} == {undated(first)}


async def test_in_order(warm: Warm) -> None:
    """Requests that are sent without waiting are answered in their order, whichever road each takes."""
    hot_one, other_hot = request("GET", "/simple/acme/"), request("GET", "/simple/", Accept=HTML)
    cold = [request("GET", f"/simple/acme/?cold={number}") for number in range(3)]
    await warm.exchange(hot_one, other_hot)
    many = [hot_one, cold[0], hot_one, other_hot, cold[1], cold[2], hot_one, hot_one]

    def at_once() -> list[bytes]:
        with Client(warm.cheddar.port) as client:
            client.send(b"".join(many))
            return [whole(client, data) for data in many]

    before = warm.hits
    answers = await deferToThread(at_once)
    assert warm.hits > before
    expected = [answer for answer, _ in await warm.exchange(*many)]
    assert list(map(undated, answers)) == list(map(undated, expected))


async def test_a_body_in_the_words_of_a_request(warm: Warm) -> None:
    """What is kept for a head is no answer to the same bytes in a body, on a connection that had that answer before."""
    data = request("GET", "/simple/acme/", Accept=JSON)
    await warm.exchange(data)
    with Client(warm.cheddar.port) as client:
        client.send(data)
        await deferToThread(whole, client, data)
        before, form = warm.hits, "multipart/form-data; boundary=x"
        client.send(request("POST", "/pypi/", Authorization=basic(), Content_Length=str(len(data)), Content_Type=form))
        while not any(channel._body for channel in site(warm.cheddar).census.channels):
            await deferLater(warm.reactor, 0.001, lambda: None)
        client.send(data)
        status, _, _ = await deferToThread(client.answer)
        assert (status, warm.hits) == (400, before)


@pytest.mark.deadline(90)
async def test_a_reader_that_does_not_read(warm: Warm) -> None:
    """Who asks on and on and takes nothing is waited for, and costs no memory; later he gets all his answers."""
    for number in range(60):
        assert (await warm.cheddar.upload(*make_wheel("acme", f"3.{number}"))).status == 200
    await warm.settle()
    data = request("GET", "/simple/acme/", Accept=JSON)
    (_, _), (answer, hit) = await warm.exchange(data, data)
    assert hit
    count = 64 * 1024 // len(data) * 20
    assert count * len(answer) > 100_000_000

    def send_and_wait() -> Client:
        client = Client(warm.cheddar.port)
        client.socket.setblocking(False)
        sent = 0
        for _ in range(100):
            try:
                sent += client.socket.send((data * count)[sent:])
            except BlockingIOError:
                time.sleep(0.02)
        client.socket.settimeout(15)
        return client

    client = await deferToThread(send_and_wait)
    (channel,) = site(warm.cheddar).census.channels
    while channel.stalled_since is None:
        await deferLater(warm.reactor, 0.02, lambda: None)
    transport = channel.transport
    waiting = len(transport.dataBuffer) + sum(map(len, transport._tempDataBuffer))
    assert waiting < 2 * 65536 + len(answer)

    def read_on() -> set[bytes]:
        return {undated(whole(client, data)) for _ in range(300)}

    assert await deferToThread(read_on) == {undated(answer)}
    client.socket.close()
    while channel in site(warm.cheddar).census.channels:
        await deferLater(warm.reactor, 0.01, lambda: None)


CHANGES: dict[str, Callable[[Warm, Any], Any]] = {
    "an upload": lambda warm, store: warm.cheddar.upload(*make_wheel("acme", "9.0")),
    "an archived project": lambda warm, store: store.projects.set_status("acme", "archived", "done"),
    "a private project": lambda warm, store: store.rights.put(Right("bob", Role.READER, "acme")),
    "a login for all": lambda warm, store: store.rights.put(Right("bob", Role.READER, "index:local")),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("by", ["this process", "another"])
async def test_a_change_is_seen(warm: Warm, change: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process changes is seen at once; what another one does, with the same store, within a second."""
    monkeypatch.setattr(changes, "BELIEF", 1.0)
    data, list_data = request("GET", "/local/simple/acme/", Accept=JSON), request("GET", "/local/simple/")
    (old, _), _ = await warm.exchange(data, list_data)
    assert all(hit for _, hit in await warm.exchange(data, list_data))
    store, other = warm.cheddar.service.store, None
    if by == "another":
        from cheddar.service.root import open_store

        store = other = open_store(warm.cheddar.settings, warm.reactor)
        await other.start()
    if by == "another" and change == "an upload":
        await store.projects.set_status("acme", "deprecated", None)
    else:
        await CHANGES[change](warm, store)
    if other is not None:
        await deferLater(warm.reactor, 1.0, lambda: None)  # the deadline
    ((new, hit),) = await warm.exchange(data)
    assert not hit
    assert undated(new) != undated(old)
    ((_, hit),) = await warm.exchange(list_data)
    assert not hit
    if other is not None:
        await other.stop()


async def test_upstream_changes(warm: Warm) -> None:
    """A listing that is due is asked for, though it was answered over the short road until then."""
    data = request("GET", "/simple/spam/", Accept=JSON)
    (old, _), (_, hit) = await warm.exchange(data, data)
    assert hit
    warm.upstream.add_file("spam", *make_wheel("spam", "2.0"))
    await warm.later(warm.cheddar.settings.versions_short_ttl)
    ((due, hit),) = await warm.exchange(data)
    assert not hit
    assert undated(due) == undated(old)
    while b"spam-2.0" not in (await warm.exchange(data))[0][0]:
        await deferLater(warm.reactor, 0.05, lambda: None)


async def test_it_goes_on_being_wanted(warm: Warm) -> None:
    """A listing is kept fresh as long as it is asked for, be it over the short road alone."""
    data = request("GET", "/simple/spam/", Accept=JSON)
    await warm.exchange(data, data)
    await warm.later(hot.ASKED + 5)
    asked_at = warm.clock.seconds()
    ((_, hit),) = await warm.exchange(data)
    assert hit
    pages = warm.cheddar.service.store.pages
    while (await pages.get("remote", "spam")).asked_at < asked_at:  # type: ignore[union-attr]  # it is there
        await deferLater(warm.reactor, 0.02, lambda: None)


async def test_a_store_that_says_nothing(warm: Warm) -> None:
    """Where it is not known whether something has changed, nothing is answered over the short road."""
    data = request("GET", "/simple/acme/")
    _, (_, hit) = await warm.exchange(data, data)
    assert hit
    await warm.cheddar.service.store.changes.stop()  # type: ignore[attr-defined]  # of both stores' own
    ((_, hit),) = await warm.exchange(data)
    assert not hit


async def test_log_and_metrics(warm: Warm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log has a line for each request, and the metrics count them, whichever road they take."""
    data = request("GET", "/simple/acme/", User_Agent='pip/26 "x"', X_Forwarded_For="10.1.2.3")
    noted: list[tuple[str, Answered]] = []

    class Log:
        def add(self, peer: str, began: float, answered: Answered, whole: bool = True) -> None:
            noted.append((peer, answered))

    monkeypatch.setattr(site(warm.cheddar), "_access_log", Log())
    labels = ("GET", "/simple/<project>/", "200")
    before = metrics.requests.labels(*labels)._value.get()
    seconds = {"route": labels[1]}
    observed = metrics.registry.get_sample_value("cheddar_http_request_seconds_count", seconds)
    answers = await warm.exchange(data, data, data)
    assert [hit for _, hit in answers] == [False, True, True]
    text = (await warm.cheddar.ask("GET", "/metrics")).body.decode()
    assert metrics.requests.labels(*labels)._value.get() == before + 3
    assert metrics.registry.get_sample_value("cheddar_http_request_seconds_count", seconds) == (observed or 0) + 3
    assert f'cheddar_http_requests_total{{method="GET",route="{labels[1]}",status="200"}} {before + 3}' in text
    other = data.replace(b"pip/26", b"uv/1").replace(b"10.1.2.3", b"10.9.9.9")
    ((_, hit),) = await warm.exchange(other)
    assert hit, "who asks is noted, and changes nothing"
    assert noted[0] == noted[1] == noted[2]
    (peer, first), (_, last) = noted[0], noted[-1]
    assert (peer, first.path, first.status) == ("127.0.0.1", b"/simple/acme/", 200)
    assert [(answered.agent, answered.forwarded) for answered in (first, last)] == [
        (b'pip/26 "x"', ("10.1.2.3",)),
        (b'uv/1 "x"', ("10.9.9.9",)),
    ]
    bare = request("GET", "/simple/acme/")
    ((_, hit),) = await warm.exchange(bare)
    assert hit
    assert (noted[-1][1].agent, noted[-1][1].forwarded) == (b"", ()), "nobody is taken for another"
    assert last.line("[now]", "10.9.9.9") == first.line("[now]", "10.9.9.9").replace("pip/26", "uv/1")


async def test_heads_that_are_known(warm: Warm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client's own words are remembered, some of them, and only while there is an answer to them."""
    monkeypatch.setattr(hot, "_MOST_KNOWN", 3)
    known = site(warm.cheddar).hot._known
    known.clear()
    asked = [request("GET", "/simple/acme/", User_Agent=f"pip/{number}") for number in range(5)]
    list_data = request("GET", "/simple/spam/", User_Agent="pip/0")
    await warm.exchange(asked[0], list_data)
    assert all(hit for _, hit in await warm.exchange(*asked, *asked, list_data))
    assert list(known) == [asked[3], asked[4], list_data]
    assert (await warm.cheddar.upload(*make_wheel("acme", "7.0"))).status == 200
    assert list(known) == [list_data]
    assert all(kept.heads <= known.keys() for kept in site(warm.cheddar).hot._kept.values())
    ((answer, hit),) = await warm.exchange(asked[4])
    assert not hit
    assert b"acme-7.0" in answer


async def test_heads_that_are_too_large(warm: Warm) -> None:
    """What is only noted counts for the bounds of a head all the same."""
    data = request("GET", "/simple/acme/")
    await warm.exchange(data, data)
    for more, status in ((b"Via: x\r\n" * 140, b"431"), (b"User-Agent: " + b"x" * 60_000 + b"\r\n", b"431")):
        ((answer, hit),) = await warm.exchange(data[:-2] + more + b"\r\n")
        assert not hit
        assert answer.startswith(b"HTTP/1.1 " + status)
    ((_, hit),) = await warm.exchange(data[:-2] + b"Via: x\r\n" * 20 + b"\r\n")
    assert hit, "the control"


async def test_a_bound(warm: Warm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads that clients make up without end push out the oldest, and no more is counted than is kept."""
    kept = site(warm.cheddar).hot
    monkeypatch.setattr(hot, "MOST_HEADS", 38_500)
    requests = [request("GET", "/simple/acme/", X_Made_Up=str(number)) for number in range(100)]
    await warm.exchange(*requests)
    assert len(kept._kept) == 30
    assert 0 < kept._head_bytes <= hot.MOST_HEADS
    assert kept._body_bytes == sum({id(answer.body): len(answer.body) for answer in kept._kept.values()}.values())
    (_, first), (_, last) = await warm.exchange(requests[0], requests[99])
    assert (first, last) == (False, True)
    kept.changed("acme")
    assert not kept._kept
    assert not kept._of
    assert not kept._bodies
    assert (kept._head_bytes, kept._body_bytes) == (0, 0)
