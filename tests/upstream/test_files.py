"""Downloads from upstream: byte for byte, at the receiver's pace, and never silently short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from cheddar.errors import FileTooLarge, NoRoom, NotFound, UpstreamBroken, UpstreamUnavailable
from cheddar.model import Validators
from cheddar.upstream import Upstream
from tests.support.distributions import core_metadata_of, make_wheel
from tests.support.upstream import EvilUpstream
from tests.upstream.certificates import certificate_for
from tests.upstream.receivers import Kept
from tests.upstream.test_pages import arrived, failure_of

Make = Callable[..., Upstream]

WHEEL, CONTENT = make_wheel("flask", "1.0", size=200_000)
FILE = f"/files/{WHEEL}"


@pytest.fixture(params=["http", "https"])
def tls(request: Any) -> tuple[Any, Any]:
    """All of this is so by both."""
    return certificate_for("127.0.0.1") if request.param == "https" else (None, None)


@pytest.fixture
def client(evil: EvilUpstream, client_of: Make) -> Upstream:
    """A client of an upstream that has flask 1.0."""
    evil.add_file("flask", WHEEL, CONTENT)
    return client_of(evil.url)


async def test_whole(evil: EvilUpstream, client: Upstream) -> None:
    """A download brings the exact bytes, and says how many before they come."""
    receiver = Kept()
    await client.fetch_file(evil.files_url + WHEEL, receiver)
    assert receiver.content == CONTENT
    assert receiver.length == len(CONTENT)
    assert evil.requests[0].headers["accept-encoding"] == "identity"


async def test_long_bodies_come_in_large_pieces(evil: EvilUpstream, client: Upstream) -> None:
    """Each piece costs the whole way to the disk; the first ones, which clients wait for, do not wait for more."""
    filename, content = make_wheel("long", "1.0", size=20_000_000)
    evil.add_file("long", filename, content)
    for _ in range(2):
        receiver = Kept()
        await client.fetch_file(evil.files_url + filename, receiver)
        assert receiver.content == content
        sizes = [len(piece) for piece in receiver.pieces]
        assert sizes[0] <= 64 * 1024
        assert max(sizes) > 64 * 1024
    assert evil.connections == 1


async def test_chunks_come_in_small_pieces(evil: EvilUpstream, client: Upstream) -> None:
    """A body in chunks may have one byte in each: what comes at a time is so little that nobody waits for it."""
    evil.misbehave(FILE, framing="chunked", headers={"Transfer-Encoding": "Chunked"})
    receiver = Kept()
    await client.fetch_file(evil.files_url + WHEEL, receiver)
    assert receiver.content == CONTENT
    # Some may have come with the head.
    assert max(len(piece) for piece in receiver.pieces[1:]) <= 16 * 1024


STRAY = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate"


async def test_an_answer_that_nobody_has_asked_for(evil: EvilUpstream, client: Upstream) -> None:
    """What an idle connection brings is not the answer to the next request, which goes over another one."""
    await client.fetch_file(evil.files_url + WHEEL, Kept())
    (connection,) = client._endpoints._open
    connection.dataReceived(STRAY)
    receiver = Kept()
    await client.fetch_file(evil.files_url + WHEEL, receiver)
    assert receiver.content == CONTENT
    assert evil.connections == 2


async def test_more_than_the_body(reactor: Any, evil: EvilUpstream, client: Upstream) -> None:
    """Nor is what comes after the end of a body, however close."""
    evil.misbehave(FILE, hang_after=50_000, times=1)
    receiver = Kept()
    fetching = client.fetch_file(evil.files_url + WHEEL, receiver)
    while len(receiver.content) < 50_000:
        await deferLater(reactor, 0.005)
    (connection,) = client._endpoints._open
    # As TLS does: one after the other, in one turn.
    for at in range(50_000, len(CONTENT), 16_000):
        connection.dataReceived(CONTENT[at : at + 16_000])
    connection.dataReceived(STRAY)
    await fetching
    assert receiver.content == CONTENT
    receiver = Kept()
    await client.fetch_file(evil.files_url + WHEEL, receiver)
    assert receiver.content == CONTENT
    assert evil.connections == 2


async def test_connection_is_used_again(evil: EvilUpstream, client: Upstream) -> None:
    """One connection carries page after file after file."""
    await client.fetch_project("flask", Validators())
    for _ in range(3):
        await client.fetch_file(evil.files_url + WHEEL, Kept())
    assert evil.connections == 1


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_no_length(evil: EvilUpstream, client: Upstream, framing: str) -> None:
    """Where upstream does not say how long a file is, the receiver is told so."""
    evil.misbehave(FILE, framing=framing)
    receiver = Kept()
    await client.fetch_file(evil.files_url + WHEEL, receiver)
    assert (receiver.length, receiver.content) == (None, CONTENT)


async def test_empty(evil: EvilUpstream, client: Upstream) -> None:
    """A file without a byte is a file."""
    evil.add_file("flask", "empty.txt", b"")
    receiver = Kept()
    await client.fetch_file(evil.files_url + "empty.txt", receiver)
    assert (receiver.length, receiver.content) == (0, b"")


async def test_missing(evil: EvilUpstream, client: Upstream) -> None:
    """A file that upstream does not have any more is not found."""
    await failure_of(client.fetch_file(evil.files_url + "other-1.0.tar.gz", Kept()), NotFound)


@pytest.mark.parametrize(
    "fault",
    [
        {"reset_after": 1000},
        {"close_after": 1000},
        {"close_after": 1000, "framing": "chunked"},
        {"reset_after": 0},
        {"content_length": len(CONTENT) + 1},
        {"status": 503},
        {"mute": "reset"},
    ],
)
async def test_broken_off(evil: EvilUpstream, client: Upstream, fault: dict[str, Any]) -> None:
    """A download that ends early fails; what came of it is not taken for the file. The next one is whole."""
    evil.ranges = False
    evil.misbehave(FILE, times=2, **fault)
    receiver = Kept()
    await failure_of(client.fetch_file(evil.files_url + WHEEL, receiver), UpstreamUnavailable)
    assert CONTENT.startswith(receiver.content) and len(receiver.content) <= 1000 or "content_length" in fault
    evil.behave()
    await client.fetch_file(evil.files_url + WHEEL, again := Kept())
    assert again.content == CONTENT


async def test_second_try_only_before_the_first_byte(evil: EvilUpstream, client: Upstream) -> None:
    """A receiver never gets a file's beginning twice."""
    evil.misbehave(FILE, mute="reset", times=1)
    evil.misbehave(FILE, reset_after=5000, times=1, headers={"ETag": 'W/"weak"'})
    receiver = Kept()
    await failure_of(client.fetch_file(evil.files_url + WHEEL, receiver), UpstreamUnavailable)
    assert evil.hits["GET " + FILE] == 2
    assert CONTENT.startswith(receiver.content)


async def test_compressed(evil: EvilUpstream, client: Upstream) -> None:
    """A file that comes compressed, though that was ruled out, is refused: its bytes are not the file's."""
    evil.misbehave(FILE, gzip=True, hang_after=1000)
    receiver = Kept()
    await failure_of(client.fetch_file(evil.files_url + WHEEL, receiver), UpstreamBroken)
    assert receiver.length == -1, "nothing may have begun"
    await ended(evil, 0)
    assert evil.requests[0].ended == "lost"


async def test_partial_answer(evil: EvilUpstream, client: Upstream) -> None:
    """A part of a file (206) is not taken for the whole."""
    evil.misbehave(FILE, status=206)
    await failure_of(client.fetch_file(evil.files_url + WHEEL, Kept()), UpstreamBroken)


async def test_hang(evil: EvilUpstream, client: Upstream, client_of: Make) -> None:
    """A download that stops is given up after the timeout, and its connection closed."""
    evil.ranges = False
    evil.misbehave(FILE, hang_after=70_000)
    receiver = Kept()
    impatient = client_of(evil.url, timeout=0.2)
    await failure_of(impatient.fetch_file(evil.files_url + WHEEL, receiver), UpstreamUnavailable)
    assert receiver.content == CONTENT[:70_000]
    await ended(evil, 0)
    assert evil.requests[0].ended == "lost"


async def test_too_slow(evil: EvilUpstream, client: Upstream, client_of: Make) -> None:
    """A download of some bytes a second is given up, though it never stops for long."""
    evil.misbehave(FILE, rate=20)
    await failure_of(client_of(evil.url, timeout=0.3).fetch_file(evil.files_url + WHEEL, Kept()), UpstreamUnavailable)


async def test_slow_and_steady(evil: EvilUpstream, client: Upstream, client_of: Make) -> None:
    """A download may take many times the timeout, as long as it goes on."""
    evil.misbehave(FILE, rate=100_000)
    receiver = Kept()
    await client_of(evil.url, timeout=0.3).fetch_file(evil.files_url + WHEEL, receiver)
    assert receiver.content == CONTENT


async def test_pace(reactor: Any, evil: EvilUpstream, client_of: Make) -> None:
    """
    A receiver that asks for a pause gets one: upstream stops sending, for longer than the timeout if need be, and
    nothing is lost afterwards.
    """
    filename, content = make_wheel("big", "1.0", size=40_000_000)
    evil.add_file("big", filename, content)
    client = client_of(evil.url, timeout=0.3)
    receiver = Kept(pausing=True)
    fetching = client.fetch_file(evil.files_url + filename, receiver)
    await deferLater(reactor, 1.5)
    assert len(receiver.pieces) == 1
    assert not fetching.called
    assert evil.requests[0].sent < 20_000_000, "upstream must have been stopped"
    while not fetching.called:
        if receiver.pause is not None and not receiver.pause.called:
            receiver.pause.callback(None)
        await deferLater(reactor, 0)
    await fetching
    assert receiver.content == content


async def test_pace_at_the_end(reactor: Any, evil: EvilUpstream, client: Upstream) -> None:
    """A download has not ended before the receiver has taken its last byte."""
    evil.add_file("small", "small.txt", b"small")
    receiver = Kept(pausing=True)
    fetching = client.fetch_file(evil.files_url + "small.txt", receiver)
    await deferLater(reactor, 0.3)
    assert receiver.content == b"small"
    assert not fetching.called
    assert receiver.pause is not None
    receiver.pause.callback(None)
    await fetching


async def test_receiver_fails(evil: EvilUpstream, client: Upstream) -> None:
    """A receiver that cannot take the bytes, at once or later, ends the download; its error is the download's."""

    class Full(Kept):
        def write(self, data: bytes) -> Deferred[None] | None:
            raise NoRoom("The disk is full.")

    class FullLater(Kept):
        def write(self, data: bytes) -> Deferred[None] | None:
            self.pieces.append(data)
            pause: Deferred[None] = Deferred()
            from twisted.internet import reactor

            reactor.callLater(0.05, pause.errback, NoRoom("The disk is full."))  # type: ignore[attr-defined]  # a module
            return pause

    class Unwilling(Kept):
        def begin(self, length: int | None) -> None:
            raise NoRoom("The file is too large.")

    evil.misbehave(FILE, hang_after=70_000)
    for number, receiver in enumerate((Full(), FullLater(), Unwilling())):
        await failure_of(client.fetch_file(evil.files_url + WHEEL, receiver), NoRoom)
        await ended(evil, number)
        assert evil.requests[number].ended == "lost"


@pytest.mark.parametrize("pausing", [False, True])
async def test_cancel(reactor: Any, evil: EvilUpstream, client: Upstream, pausing: bool) -> None:
    """To cancel a download closes its connection, even one that is paused."""
    evil.misbehave(FILE, hang_after=100_000)
    receiver = Kept(pausing=pausing)
    fetching = client.fetch_file(evil.files_url + WHEEL, receiver)
    while not receiver.pieces:
        await deferLater(reactor, 0.005)
    fetching.cancel()
    await failure_of(fetching, CancelledError)
    await ended(evil, 0)
    assert evil.requests[0].ended == "lost"


@pytest.mark.parametrize("fault", [{"framing": "chunked"}, {"endless": True}, {}])
async def test_too_large(evil: EvilUpstream, client_of: Make, fault: dict[str, Any], reactor: Any) -> None:
    """A file may be so large and no larger: of one without a length not a byte more is handed on, of others none."""
    evil.add_file("flask", WHEEL, CONTENT)
    url, receiver = evil.files_url + WHEEL, Kept()
    await client_of(evil.url, max_file=len(CONTENT)).fetch_file(url, receiver)
    assert receiver.content == CONTENT
    most = len(CONTENT) - (0 if fault.get("endless") else 1)
    evil.misbehave(FILE, **fault)
    receiver = Kept()
    await failure_of(client_of(evil.url, max_file=most).fetch_file(url, receiver), FileTooLarge)
    assert len(receiver.content) <= most
    assert bool(receiver.pieces) is bool(fault)
    await ended(evil, -1)
    await deferLater(reactor, 0)  # the connection may be in the middle of the same piece
    assert evil.requests[-1].ended == "lost" or not fault.get("endless")


async def test_bytes(evil: EvilUpstream, client: Upstream) -> None:
    """A small body is fetched whole; one over the limit is refused, whether it says its length or not."""
    url, metadata = evil.files_url + WHEEL + ".metadata", core_metadata_of(CONTENT)
    assert await client.fetch_bytes(url, len(metadata)) == metadata
    await failure_of(client.fetch_bytes(url, len(metadata) - 1), UpstreamBroken)
    evil.misbehave(FILE + ".metadata", framing="chunked", times=1)
    await failure_of(client.fetch_bytes(url, len(metadata) - 1), UpstreamBroken)
    evil.misbehave(FILE + ".metadata", endless=True)
    await failure_of(client.fetch_bytes(url, 1 << 20), UpstreamBroken)
    await failure_of(client.fetch_bytes(evil.files_url + "other.metadata", 10), NotFound)


async def test_files_and_pages_apart(evil: EvilUpstream, client_of: Make) -> None:
    """Pages that hang do not keep files waiting, nor files pages."""
    evil.add_file("flask", WHEEL, CONTENT)
    client = client_of(evil.url, connections=1)
    evil.misbehave("/simple/slow/", mute="hang")
    slow_page = client.fetch_project("slow", Validators())
    await arrived(evil, 1)
    await client.fetch_file(evil.files_url + WHEEL, Kept())
    slow_page.cancel()
    await failure_of(slow_page, CancelledError)
    evil.misbehave(FILE, hang_after=10)
    downloads = [client.fetch_file(evil.files_url + WHEEL, Kept()) for _ in range(5)]
    await arrived(evil, 6)
    await client.fetch_project("flask", Validators())
    for download in downloads:
        download.cancel()
        await failure_of(download, CancelledError)


async def ended(evil: EvilUpstream, number: int) -> None:
    """Wait until upstream sees that a request is over."""
    from twisted.internet import reactor

    while evil.requests[number].ended is None:
        await deferLater(reactor, 0.005)  # type: ignore[arg-type]  # the module stands for the reactor
