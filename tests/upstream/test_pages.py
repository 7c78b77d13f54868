"""Project pages as upstream serves them, and as it should not."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, DeferredList

from cheddar import metrics
from cheddar.errors import NotFound, UpstreamBroken, UpstreamUnavailable
from cheddar.model import Fetched, NotModified, Validators
from cheddar.upstream import Upstream
from tests.support.distributions import core_metadata_of, make_wheel, sha256
from tests.support.upstream import EvilUpstream

PAGE = "/simple/flask/"
WHEEL, CONTENT = make_wheel("flask", "1.0", requires_python=">=3.8")
NOTHING = Validators()

Make = Callable[..., Upstream]


@pytest.fixture
def client(evil: EvilUpstream, client_of: Make) -> Upstream:
    """A client of an upstream that has flask 1.0."""
    evil.add_file("flask", WHEEL, CONTENT)
    return client_of(evil.url)


async def failure_of(deferred: Deferred[Any], kind: type[BaseException]) -> Any:
    """The error that a fetch fails with."""
    with pytest.raises(kind) as caught:
        await deferred
    return caught.value


async def test_json(evil: EvilUpstream, client: Upstream) -> None:
    """A page is asked for as JSON, and comes with all that JSON says; addresses are absolute."""
    fetched = await client.fetch_project("flask", NOTHING)
    assert isinstance(fetched, Fetched)
    (file,) = fetched.project.files
    assert (file.filename, file.version, file.size) == (WHEEL, "1.0", len(CONTENT))
    assert file.digests["sha256"] == sha256(CONTENT)
    assert file.url == evil.files_url + WHEEL
    assert file.requires_python == ">=3.8"
    assert file.core_metadata == {"sha256": sha256(core_metadata_of(CONTENT))}
    assert file.upload_time is not None
    accept = evil.requests[0].headers["accept"]
    assert accept.index("v1+json") < accept.index("v1+html") < accept.index("text/html")


async def test_html(evil: EvilUpstream, client: Upstream) -> None:
    """An upstream that has HTML alone serves too."""
    evil.json = False
    fetched = await client.fetch_project("flask", NOTHING)
    assert isinstance(fetched, Fetched)
    (file,) = fetched.project.files
    assert (file.filename, file.url) == (WHEEL, evil.files_url + WHEEL)
    assert file.digests["sha256"] == sha256(CONTENT)


async def test_not_modified(evil: EvilUpstream, client: Upstream) -> None:
    """With the validators of the last answer, upstream need not send the page again."""
    fetched = await client.fetch_project("flask", NOTHING)
    assert isinstance(fetched, Fetched)
    assert fetched.validators.etag
    assert isinstance(await client.fetch_project("flask", fetched.validators), NotModified)
    evil.add_file("flask", *make_wheel("flask", "2.0"))
    again = await client.fetch_project("flask", fetched.validators)
    assert isinstance(again, Fetched)
    assert len(again.project.files) == 2


async def test_not_modified_unasked(evil: EvilUpstream, client: Upstream) -> None:
    """A 304 for a question without validators is no answer."""
    evil.misbehave(PAGE, status=304)
    await failure_of(client.fetch_project("flask", NOTHING), UpstreamBroken)


@pytest.mark.parametrize("status", [404, 410])
async def test_not_found(evil: EvilUpstream, client: Upstream, status: int) -> None:
    """Upstream's word that there is no such project is taken, and does not count against it."""
    for _ in range(6):
        await failure_of(client.fetch_project("unknown", NOTHING), NotFound)
    evil.misbehave(PAGE, status=status)
    await failure_of(client.fetch_project("flask", NOTHING), NotFound)
    assert client.state()["ok"] is True
    assert evil.connections == 1, "a short error text must not cost the connection"


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 502, 503, 504])
async def test_unavailable(evil: EvilUpstream, client: Upstream, status: int) -> None:
    """What upstream cannot or will not serve now is unavailable, never not found."""
    evil.misbehave(PAGE, status=status)
    error = await failure_of(client.fetch_project("flask", NOTHING), UpstreamUnavailable)
    assert error.retry_after == 5
    assert ("credentials" in str(error)) == (status in (401, 403))


async def test_retry_after(evil: EvilUpstream, client_of: Make) -> None:
    """Upstream's Retry-After is passed on: seconds or a date, ten minutes at most, five seconds if unreadable."""
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=90), usegmt=True)
    for value, low, high in (("7", 7, 7), (soon, 85, 91), ("999999", 600, 600), ("soon", 5, 5)):
        evil.behave()
        evil.misbehave(PAGE, status=503, headers={"Retry-After": value})
        error = await failure_of(client_of(evil.url).fetch_project("flask", NOTHING), UpstreamUnavailable)
        assert low <= error.retry_after <= high, value


@pytest.mark.parametrize(("status", "asked"), [(429, 1), (503, 1), (500, 3)])
async def test_asked_to_wait(evil: EvilUpstream, client: Upstream, status: int, asked: int) -> None:
    """After 429 or 503 with Retry-After upstream is left alone; other statuses do not say that with it."""
    evil.misbehave(PAGE, status=status, headers={"Retry-After": "30"})
    for _ in range(3):
        await failure_of(client.fetch_project("flask", NOTHING), UpstreamUnavailable)
    assert evil.hits["GET " + PAGE] == asked


async def test_closed_port(evil: EvilUpstream, client: Upstream) -> None:
    """An upstream that is down is unavailable; back up, it is asked again."""
    await evil.stop()
    await failure_of(client.fetch_project("flask", NOTHING), UpstreamUnavailable)
    assert client.state()["ok"] is False
    await evil.start()
    assert isinstance(await client.fetch_project("flask", NOTHING), Fetched)
    assert client.state()["ok"] is True


async def test_silence(evil: EvilUpstream, client_of: Make) -> None:
    """An upstream that does not answer is given up after the timeout, once: a silent one is not asked twice."""
    evil.misbehave(PAGE, mute="hang")
    await failure_of(client_of(evil.url, timeout=0.2).fetch_project("flask", NOTHING), UpstreamUnavailable)
    assert evil.hits["GET " + PAGE] == 1


async def test_hang_in_body(evil: EvilUpstream, client: Upstream, client_of: Make) -> None:
    """A page that stops half way is given up after the timeout."""
    evil.misbehave(PAGE, hang_after=10)
    await failure_of(client_of(evil.url, timeout=0.2).fetch_project("flask", NOTHING), UpstreamUnavailable)


async def test_drip(evil: EvilUpstream, client: Upstream, client_of: Make) -> None:
    """A page that comes byte by byte is given up, though it never stops."""
    evil.misbehave(PAGE, rate=20)
    await failure_of(client_of(evil.url, timeout=0.3).fetch_project("flask", NOTHING), UpstreamUnavailable)


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_second_try(evil: EvilUpstream, client: Upstream, how: str) -> None:
    """A connection that ends before a byte came is no failure yet: a fresh one is tried, once."""
    evil.misbehave(PAGE, mute=how, times=1)
    assert isinstance(await client.fetch_project("flask", NOTHING), Fetched)
    evil.misbehave(PAGE, mute=how)
    await failure_of(client.fetch_project("flask", NOTHING), UpstreamUnavailable)
    assert evil.hits["GET " + PAGE] == 4


async def test_second_try_on_a_fresh_connection(evil: EvilUpstream, client: Upstream) -> None:
    """The second try takes no connection that was idle: it may be as dead as the first."""
    await DeferredList([client.fetch_project("flask", NOTHING) for _ in range(2)])
    assert evil.connections == 2
    evil.misbehave(PAGE, mute="reset", times=1)
    assert isinstance(await client.fetch_project("flask", NOTHING), Fetched)
    assert evil.connections == 3


async def test_stale_connections(reactor: Any, evil: EvilUpstream, client: Upstream) -> None:
    """An upstream that restarted is asked over new connections."""
    await DeferredList([client.fetch_project("flask", NOTHING) for _ in range(4)])
    await evil.stop()
    await evil.start()
    results = await DeferredList([client.fetch_project("flask", NOTHING) for _ in range(4)], fireOnOneErrback=True)
    assert all(isinstance(fetched, Fetched) for _, fetched in results)


@pytest.mark.parametrize("fault", [{"reset_after": 50}, {"close_after": 50}, {"content_length": 100_000}])
async def test_cut_short(evil: EvilUpstream, client: Upstream, fault: dict[str, Any]) -> None:
    """A page that is shorter than promised is no page."""
    evil.misbehave(PAGE, **fault)
    await failure_of(client.fetch_project("flask", NOTHING), UpstreamUnavailable)


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_no_length(evil: EvilUpstream, client: Upstream, framing: str) -> None:
    """A page without a length is read to its end; cut short, it is refused, JSON and HTML alike."""
    evil.misbehave(PAGE, framing=framing, times=1)
    evil.misbehave(PAGE, framing=framing, close_after=150, times=1)
    assert isinstance(await client.fetch_project("flask", NOTHING), Fetched)
    await failure_of(client.fetch_project("flask", NOTHING), (UpstreamUnavailable, UpstreamBroken))
    evil.json = False
    evil.misbehave(PAGE, framing=framing, times=1)
    evil.misbehave(PAGE, framing=framing, close_after=350, times=1)
    assert isinstance(await client.fetch_project("flask", NOTHING), Fetched)
    await failure_of(client.fetch_project("flask", NOTHING), UpstreamUnavailable)


@pytest.mark.parametrize(
    "fault",
    [
        {"body": b"{", "headers": {}},
        {"body": b""},
        {"body": b"<html>Please log in</html>", "headers": {"Content-Type": "text/plain"}},
        {"body": b"[" * 100_000},
        {"body": json.dumps({"meta": {"api-version": "2.0"}, "name": "flask", "files": []}).encode()},
        {"body": json.dumps({"meta": {"api-version": "1.0"}, "name": "other", "files": []}).encode()},
        {"body": b"x", "headers": {"Content-Encoding": "gzip"}},
        {"body": gzip.compress(b'{"meta": {}}')[:-4], "headers": {"Content-Encoding": "gzip"}},
        {"headers": {"Content-Encoding": "br"}},
        {"status": 206},
        {"status": 418},
    ],
)
async def test_unreadable(evil: EvilUpstream, client: Upstream, fault: dict[str, Any]) -> None:
    """What is no page of that project is refused, and the next good answer is taken."""
    evil.misbehave(PAGE, times=1, **fault)
    await failure_of(client.fetch_project("flask", NOTHING), UpstreamBroken)
    assert isinstance(await client.fetch_project("flask", NOTHING), Fetched)


async def test_gzip(evil: EvilUpstream, client: Upstream) -> None:
    """A page may come compressed."""
    evil.misbehave(PAGE, gzip=True, times=1)
    fetched = await client.fetch_project("flask", NOTHING)
    assert isinstance(fetched, Fetched)
    assert fetched.project.files[0].filename == WHEEL
    assert "gzip" in evil.requests[0].headers["accept-encoding"]


async def test_gzip_bomb(evil: EvilUpstream, client: Upstream) -> None:
    """A page that inflates to more than a page can be is refused without being inflated to its end."""
    evil.misbehave(PAGE, gzip_bomb=300 << 20)
    error = await failure_of(client.fetch_project("flask", NOTHING), UpstreamBroken)
    assert str(256 << 20) in str(error)


async def test_endless(evil: EvilUpstream, client: Upstream) -> None:
    """A page without end is dropped at the limit, and upstream's connection with it."""
    evil.misbehave(PAGE, endless=True, body=b" " * 65536)
    error = await failure_of(client.fetch_project("flask", NOTHING), UpstreamBroken)
    assert str(32 << 20) in str(error)
    await evil.stop()
    assert evil.requests[0].sent < 64 << 20


async def test_too_long_by_its_length(evil: EvilUpstream, client: Upstream) -> None:
    """A page that says that it is too long is not read."""
    evil.misbehave(PAGE, content_length=33 << 20, hang_after=10)
    await failure_of(client.fetch_project("flask", NOTHING), UpstreamBroken)


async def test_endless_head(reactor: Any, client_of: Make) -> None:
    """An answer whose head never ends is cut before it fills the memory."""
    from twisted.internet.protocol import Factory, Protocol
    from twisted.internet.task import LoopingCall

    sent = 0

    class Babbler(Protocol):
        def connectionMade(self) -> None:
            self.transport.write(b"HTTP/1.1 200 OK\r\n")
            self.loop = LoopingCall(self.babble)
            self.loop.start(0)

        def babble(self) -> None:
            nonlocal sent
            line = b"X-More: " + b"x" * 1000 + b"\r\n"
            sent += 100 * len(line)
            self.transport.write(100 * line)

        def connectionLost(self, reason: Any = None) -> None:
            self.loop.stop()

    port = reactor.listenTCP(0, Factory.forProtocol(Babbler), interface="127.0.0.1")
    client = client_of(f"http://127.0.0.1:{port.getHost().port}/simple/")
    await failure_of(client.fetch_project("flask", NOTHING), UpstreamUnavailable)
    await client.stop()
    await port.stopListening()
    assert sent < 32 << 20


async def test_not_http(reactor: Any, client_of: Make) -> None:
    """An answer that is not HTTP is refused."""
    from twisted.internet.protocol import Factory, Protocol

    class Stranger(Protocol):
        def connectionMade(self) -> None:
            self.transport.write(b"220 mail.example ESMTP ready\r\n\r\n")

    port = reactor.listenTCP(0, Factory.forProtocol(Stranger), interface="127.0.0.1")
    client = client_of(f"http://127.0.0.1:{port.getHost().port}/simple/")
    await failure_of(client.fetch_project("flask", NOTHING), UpstreamBroken)
    await client.stop()
    await port.stopListening()


async def test_redirect(evil: EvilUpstream, client: Upstream) -> None:
    """A redirect is followed, and the page's relative addresses are meant from where it ended."""
    page = json.dumps(
        {"meta": {"api-version": "1.0"}, "name": "flask", "files": [{"filename": WHEEL, "url": WHEEL, "hashes": {}}]}
    ).encode()
    evil.misbehave(PAGE, redirect_to="/a/b/")
    # The second hop is relative to the first one's target, not to the address that was asked first.
    evil.misbehave("/a/b/", redirect_to="../c/", status=307)
    evil.misbehave("/a/c/", status=200, body=page, headers={"Content-Type": "application/vnd.pypi.simple.v1+json"})
    fetched = await client.fetch_project("flask", NOTHING)
    assert isinstance(fetched, Fetched)
    assert fetched.project.files[0].url == f"{evil.origin}/a/c/{WHEEL}"


async def test_redirect_loop(evil: EvilUpstream, client: Upstream) -> None:
    """Five redirects are followed, no more."""
    evil.misbehave(PAGE, redirect_to=PAGE)
    await failure_of(client.fetch_project("flask", NOTHING), UpstreamBroken)
    assert evil.hits["GET " + PAGE] == 6


async def test_redirect_to_nowhere(evil: EvilUpstream, client: Upstream) -> None:
    """A redirect without an address is no answer."""
    evil.misbehave(PAGE, status=302)
    await failure_of(client.fetch_project("flask", NOTHING), UpstreamBroken)


async def test_cancel(evil: EvilUpstream, client: Upstream) -> None:
    """Whoever gives up is told so, and upstream is not asked again on their behalf."""
    evil.misbehave(PAGE, mute="hang")
    asked = client.fetch_project("flask", NOTHING)
    await arrived(evil, 1)
    asked.cancel()
    await failure_of(asked, CancelledError)
    await evil.stop()
    assert evil.requests[0].ended == "lost"
    assert evil.hits["GET " + PAGE] == 1


async def test_places(evil: EvilUpstream, client_of: Make) -> None:
    """No more pages are asked for at a time than said; who gives up while waiting leaves the queue."""
    client = client_of(evil.url, connections=2)
    evil.add_file("flask", WHEEL, CONTENT)
    evil.misbehave(PAGE, mute="hang", times=2)
    hanging = [client.fetch_project("flask", NOTHING) for _ in range(2)]
    impatient = client.fetch_project("flask", NOTHING)
    waiting = client.fetch_project("flask", NOTHING)
    await arrived(evil, 2)
    assert evil.hits["GET " + PAGE] == 2
    for deferred in (impatient, *hanging):
        deferred.cancel()
        await failure_of(deferred, CancelledError)
    assert isinstance(await waiting, Fetched)
    assert evil.hits["GET " + PAGE] == 3


async def test_stop(evil: EvilUpstream, client: Upstream) -> None:
    """To stop breaks off what is under way and closes every connection; nothing is asked afterwards."""
    await client.fetch_project("flask", NOTHING)
    evil.misbehave(PAGE, mute="hang")
    asked = client.fetch_project("flask", NOTHING)
    await arrived(evil, 2)
    stopping = client.stop()
    await failure_of(asked, UpstreamUnavailable)
    await stopping
    await failure_of(client.fetch_project("flask", NOTHING), UpstreamUnavailable)
    assert len(evil.requests) == 2


async def test_breaker(evil: EvilUpstream, client: Upstream) -> None:
    """After five failures in a row upstream is not asked for a second; then one request shows that it is back."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    evil.misbehave(PAGE, status=500)
    for _ in range(8):
        error = await failure_of(client.fetch_project("flask", NOTHING), UpstreamUnavailable)
    assert evil.hits["GET " + PAGE] == 5
    assert "waits" in str(error)
    state = client.state()
    assert (state["ok"], state["failures"]) == (False, 5)
    evil.behave()
    await deferLater(reactor, 1.05)  # type: ignore[arg-type]  # the module stands for the reactor
    assert isinstance(await client.fetch_project("flask", NOTHING), Fetched)
    assert client.state()["ok"] is True


async def test_metrics(evil: EvilUpstream, client: Upstream) -> None:
    """Requests are counted by what became of them."""

    def count(outcome: str) -> float:
        return float(metrics.upstream_requests.labels("page", outcome)._value.get())

    before = [count(outcome) for outcome in ("ok", "not_modified", "not_found", "unavailable", "broken")]
    fetched = await client.fetch_project("flask", NOTHING)
    assert isinstance(fetched, Fetched)
    await client.fetch_project("flask", fetched.validators)
    await failure_of(client.fetch_project("unknown", NOTHING), NotFound)
    for fault in ({"status": 500}, {"body": b"{"}):
        evil.misbehave(PAGE, times=1, **fault)
        await failure_of(client.fetch_project("flask", NOTHING), (UpstreamUnavailable, UpstreamBroken))
    after = [count(outcome) for outcome in ("ok", "not_modified", "not_found", "unavailable", "broken")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1, 1, 1]


async def arrived(evil: EvilUpstream, count: int) -> None:
    """Wait until upstream has so many requests."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    while len(evil.requests) < count:
        await deferLater(reactor, 0.005)  # type: ignore[arg-type]  # the module stands for the reactor
