"""Downloads that the network breaks off go on where they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cheddar import metrics
from cheddar.errors import UpstreamUnavailable
from cheddar.upstream import Upstream
from cheddar.upstream.resuming import RESUMPTIONS
from tests.support.upstream import EvilUpstream
from tests.upstream.certificates import certificate_for
from tests.upstream.receivers import Kept
from tests.upstream.test_pages import failure_of

CONTENT = bytes(range(256)) * 2000
NAME = "big-1.0.tar.gz"
FILE = f"/files/{NAME}"


@pytest.fixture(params=["http", "https"])
def tls(request: Any) -> tuple[Any, Any]:
    """All of this is so by both."""
    return certificate_for("127.0.0.1") if request.param == "https" else (None, None)


@pytest.fixture
def client(evil: EvilUpstream, client_of: Callable[..., Upstream]) -> Upstream:
    """A client of an upstream that has one file, and no patience."""
    evil.add_file("big", NAME, CONTENT)
    return client_of(evil.url, timeout=2)


async def fetch(client: Upstream, evil: EvilUpstream) -> bytes:
    """All of the file."""
    receiver = Kept()
    await client.fetch_file(evil.files_url + NAME, receiver)
    assert receiver.length == len(CONTENT)
    return receiver.content


async def fails(client: Upstream, evil: EvilUpstream) -> bytes:
    """What came of a file that does not come whole: its beginning."""
    receiver = Kept()
    await failure_of(client.fetch_file(evil.files_url + NAME, receiver), UpstreamUnavailable)
    assert CONTENT.startswith(receiver.content)
    return receiver.content


def asked(evil: EvilUpstream) -> list[str | None]:
    """The parts that were asked for."""
    return [seen.headers.get("range") for seen in evil.requests]


@pytest.mark.parametrize("fault", ["reset_after", "close_after", "hang_after"])
async def test_it_goes_on(evil: EvilUpstream, client: Upstream, fault: str) -> None:
    """From the next byte, as one body with one length, however it was broken off."""
    before = metrics.downloads_resumed._value.get()
    evil.misbehave(FILE, times=1, **{fault: 100_000})
    evil.misbehave(FILE, times=1, mute="reset")
    evil.misbehave(FILE, times=1, **{fault: 1})
    assert await fetch(client, evil) == CONTENT
    assert asked(evil) == [None, "bytes=100000-", "bytes=100000-", "bytes=100001-"]
    assert metrics.downloads_resumed._value.get() - before == 2


async def test_it_ends(evil: EvilUpstream, client: Upstream) -> None:
    """It goes on so often and no more, and not at all where nothing came since."""
    evil.misbehave(FILE, close_after=100)
    assert len(await fails(client, evil)) == 100 * (RESUMPTIONS + 1)
    assert len(evil.requests) == RESUMPTIONS + 1
    evil.behave()
    evil.requests.clear()
    evil.misbehave(FILE, close_after=100, times=1)
    evil.misbehave(FILE, close_after=0)
    assert len(await fails(client, evil)) == 100
    assert len(evil.requests) == 2


@pytest.mark.parametrize(
    "then",
    [
        {"status": 503},
        {"status": 404},
        {"status": 416},
        {"redirect_to": "http://127.0.0.1:1/"},
        {"headers": {"Content-Range": f"bytes 100-{len(CONTENT)}/{len(CONTENT) + 1}"}},
        {"headers": {"Content-Range": f"bytes 99-{len(CONTENT) - 1}/{len(CONTENT)}"}},
        {"gzip": True},
    ],
)
async def test_what_is_no_rest_of_it(evil: EvilUpstream, client: Upstream, then: dict[str, Any]) -> None:
    """Whatever else comes is not taken for the rest; the download failed because it was broken off."""
    evil.misbehave(FILE, close_after=100, times=1)
    evil.misbehave(FILE, times=1, **then)
    assert len(await fails(client, evil)) == 100
    assert await fetch(client, evil) == CONTENT


async def test_another_file_by_then(evil: EvilUpstream, client: Upstream) -> None:
    """No file is put together from two."""
    evil.misbehave(FILE, close_after=100, times=1, headers={"ETag": '"of-before"'})
    assert len(await fails(client, evil)) == 100
    assert asked(evil) == [None, "bytes=100-"]
    assert evil.requests[1].headers["if-range"] == '"of-before"'


@pytest.mark.parametrize("headers", [{"ETag": 'W/"weak"'}, {"ETag": "odd"}])
async def test_who_cannot_tell(evil: EvilUpstream, client: Upstream, headers: dict[str, str]) -> None:
    """Where no tag says that the bytes are the same, nobody asks for the rest."""
    evil.misbehave(FILE, close_after=100, times=1, headers=headers)
    assert len(await fails(client, evil)) == 100
    assert asked(evil) == [None]
