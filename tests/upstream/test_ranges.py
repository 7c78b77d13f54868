"""Parts of upstream's files: exactly what was asked for, or an origin that is left alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock, deferLater
from zope.interface.verify import verifyObject

from cheddar.errors import NotFound, UpstreamBroken, UpstreamUnavailable
from cheddar.interfaces import IUpstream
from cheddar.model import Ranged
from cheddar.upstream import Upstream
from cheddar.upstream.addresses import Origin
from cheddar.upstream.client import MAX_RANGE
from cheddar.upstream.ranges import LEFT_ALONE, MAX_ORIGINS, WithoutRanges
from tests.support.upstream import EvilUpstream

NAME = "big-1.0-py3-none-any.whl"
PATH = f"/files/{NAME}"
CONTENT = random.Random(3).randbytes(3_000_000)
SIZE = len(CONTENT)


@pytest.fixture
def url(evil: EvilUpstream) -> str:
    """The address of a file of 3 MB."""
    evil.add_file("big", NAME, CONTENT)
    return evil.files_url + NAME


async def test_parts(evil: EvilUpstream, client_of: Callable[..., Upstream], url: str) -> None:
    """The bytes asked for, where they are in the file, how long it is; and no other byte is transferred."""
    client = client_of(evil.url)
    verifyObject(IUpstream, client)
    assert await client.fetch_range(url, -1000) == Ranged(CONTENT[-1000:], SIZE - 1000, SIZE)
    assert await client.fetch_range(url, 5, 8) == Ranged(CONTENT[5:9], 5, SIZE)
    assert await client.fetch_range(url, SIZE - 3, SIZE + 100) == Ranged(CONTENT[-3:], SIZE - 3, SIZE)
    assert await client.fetch_range(url, SIZE - 3) == Ranged(CONTENT[-3:], SIZE - 3, SIZE)
    assert await client.fetch_range(url, -SIZE - 5) == Ranged(CONTENT, 0, SIZE)
    assert [request.headers["range"] for request in evil.requests[:3]] == [
        "bytes=-1000",
        "bytes=5-8",
        f"bytes={SIZE - 3}-{SIZE + 100}",
    ]
    assert {request.headers["accept-encoding"] for request in evil.requests} == {"identity"}
    assert [request.sent for request in evil.requests] == [1000, 4, 3, 3, SIZE]
    assert evil.connections == 1


NO_PARTS: dict[str, dict[str, Any]] = {
    "the whole file": {"status": 200, "body": CONTENT},
    "416": {"status": 416},
    "501": {"status": 501, "body": CONTENT},
    "no Content-Range": {"headers": {"Content-Range": ""}},
    "another unit": {"headers": {"Content-Range": f"lines {SIZE - 1000}-{SIZE - 1}/{SIZE}"}},
    "several parts": {"headers": {"Content-Range": "", "Content-Type": "multipart/byteranges; boundary=x"}},
    "a file of unknown length": {"headers": {"Content-Range": f"bytes {SIZE - 1000}-{SIZE - 1}/*"}},
    "another part": {"headers": {"Content-Range": f"bytes 0-999/{SIZE}"}},
    "more than was asked for": {"headers": {"Content-Range": f"bytes {SIZE - 2000}-{SIZE - 1}/{SIZE}"}},
    "less than was asked for": {"headers": {"Content-Range": f"bytes {SIZE - 10}-{SIZE - 1}/{SIZE}"}},
    "another length": {"content_length": 900},
    "numbers beyond measure": {"headers": {"Content-Range": f"bytes 0-{'9' * 400}/{'9' * 401}"}},
    "compressed": {"gzip": True},
}


@pytest.mark.parametrize("fault", NO_PARTS.values(), ids=NO_PARTS.keys())
async def test_an_origin_without_parts(
    evil: EvilUpstream, client_of: Callable[..., Upstream], url: str, fault: dict[str, Any], reactor: Any
) -> None:
    """Whoever does not give the part is not asked for one again, what it sends instead is not read, pages go on."""
    client = client_of(evil.url)
    evil.misbehave(PATH, times=1, **fault)
    with pytest.raises(NotFound, match="no parts"):
        await client.fetch_range(url, -1000)
    assert (client.state()["ok"], client.state()["failures"]) == (True, 0)
    while evil.requests[0].ended is None:
        await deferLater(reactor, 0.001)
    with pytest.raises(NotFound, match="no parts"):
        await client.fetch_range(evil.files_url + "another.whl", -1000)
    assert len(evil.requests) == 1
    assert await client.fetch_bytes(url, SIZE) == CONTENT


async def test_the_whole_file_is_not_read(
    evil: EvilUpstream, client_of: Callable[..., Upstream], url: str, reactor: Any
) -> None:
    """An answer with the whole of a file is dropped at its head, and its connection closed."""
    evil.ranges = False
    evil.projects["big"][0].content = bytes(100_000_000)
    with pytest.raises(NotFound, match="no parts"):
        await client_of(evil.url).fetch_range(url, -1000)
    (request,) = evil.requests
    while request.ended is None:
        await deferLater(reactor, 0.001)
    assert request.ended == "lost"
    assert request.sent < 20_000_000  # what buffers of the network take


async def test_after_an_hour(evil: EvilUpstream, client_of: Callable[..., Upstream], url: str) -> None:
    """An origin is asked again after an hour; others meanwhile; and memory for them is bounded."""
    clock = Clock()
    known = WithoutRanges(clock)
    one, other = Origin("https", "one", 443), Origin("https", "other", 443)
    assert isinstance(known.add(one), NotFound)
    clock.advance(LEFT_ALONE - 1)
    with pytest.raises(NotFound):
        known.check(one)
    known.check(other)
    clock.advance(1)
    known.check(one)
    known.add(one)
    for number in range(MAX_ORIGINS):
        known.add(Origin("https", f"host{number}", 443))
    known.check(one)
    with pytest.raises(NotFound):
        known.check(Origin("https", "host0", 443))


async def test_not_there(evil: EvilUpstream, client_of: Callable[..., Upstream], url: str) -> None:
    """A file that is not there, or an upstream that fails, says nothing about parts."""
    client = client_of(evil.url)
    with pytest.raises(NotFound, match="gone"):
        await client.fetch_range(evil.files_url + "gone-1.0.whl", -1000)
    evil.misbehave(PATH, status=503, times=1)
    with pytest.raises(UpstreamUnavailable):
        await client.fetch_range(url, -1000)
    evil.misbehave(PATH, close_after=10, times=1)
    with pytest.raises(UpstreamUnavailable):
        await client.fetch_range(url, -1000)
    evil.misbehave(PATH, framing="close", close_after=10, times=1)
    with pytest.raises(UpstreamUnavailable):
        await client.fetch_range(url, -1000)
    assert (await client.fetch_range(url, -1000)).data == CONTENT[-1000:]


async def test_more_than_a_part(evil: EvilUpstream, client_of: Callable[..., Upstream], url: str) -> None:
    """More than 32 MiB are never taken at once, and no byte more than was announced."""
    client = client_of(evil.url)
    evil.misbehave(PATH, framing="chunked", body=bytes(2000), times=1)
    with pytest.raises(UpstreamBroken):
        await client.fetch_range(url, 0, 999)
    evil.projects["big"][0].content = bytes(MAX_RANGE + 1)
    with pytest.raises(UpstreamBroken, match="larger"):
        await client.fetch_range(url, 0)
    assert len((await client.fetch_range(url, 1)).data) == MAX_RANGE


async def test_redirects(evil: EvilUpstream, client_of: Callable[..., Upstream], url: str) -> None:
    """A part is found behind a redirect; addresses are checked like all others."""
    client = client_of(evil.url)
    evil.misbehave("/files/moved.whl", redirect_to=url)
    assert (await client.fetch_range(evil.files_url + "moved.whl", 1, 3)).data == CONTENT[1:4]
    with pytest.raises(UpstreamBroken):
        await client.fetch_range("ftp://127.0.0.1/big.whl", 1, 3)
    with pytest.raises(UpstreamBroken):
        await client.fetch_range(f"http://127.0.0.1:{evil.port + 1}/big.whl", 1, 3)
