"""Upstreams that are asked over TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol

from cheddar.errors import UpstreamBroken, UpstreamUnavailable
from cheddar.model import Fetched, Validators
from cheddar.upstream import Upstream
from tests.support.distributions import make_wheel
from tests.support.upstream import EvilUpstream
from tests.upstream.certificates import certificate_for
from tests.upstream.receivers import Kept
from tests.upstream.test_pages import failure_of

Make = Callable[..., Upstream]

WHEEL, CONTENT = make_wheel("flask", "1.0", size=300_000)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_tls(reactor: Any, client_of: Make, host: str) -> None:
    """A certificate that a trusted authority gave to that host is believed: pages and files come over TLS."""
    server, trust = certificate_for(host)
    evil = EvilUpstream(reactor, host=host, tls=server)
    evil.add_file("flask", WHEEL, CONTENT)
    await evil.start()
    client = client_of(evil.url, trust=trust)
    assert isinstance(await client.fetch_project("flask", Validators()), Fetched)
    await client.fetch_file(evil.files_url + WHEEL, receiver := Kept())
    assert receiver.content == CONTENT
    assert evil.connections == 1
    await client.stop()
    await evil.stop()


@pytest.mark.parametrize("wrong", ["host", "authority", "date"])
async def test_wrong_certificate(reactor: Any, client_of: Make, wrong: str) -> None:
    """A certificate for another host, by another authority, or of another time is not believed, nor tried twice."""
    server, trust = certificate_for(
        "other.example" if wrong == "host" else "localhost", days=-2 if wrong == "date" else 1
    )
    if wrong == "authority":
        _, trust = certificate_for("localhost")
    evil = EvilUpstream(reactor, host="localhost", tls=server)
    await evil.start()
    client = client_of(evil.url, trust=trust)
    error = await failure_of(client.fetch_project("flask", Validators()), UpstreamUnavailable)
    assert "secure connection" in str(error)
    assert evil.requests == []
    assert evil.connections == 1
    await client.stop()
    await evil.stop()


async def test_hang_and_close(reactor: Any, client_of: Make) -> None:
    """A connection is closed at once, even if the other side never says good-bye as TLS asks for."""
    server, trust = certificate_for("localhost")

    class Deaf(Protocol):
        """Begins an answer, and neither writes nor reads any more."""

        def connectionMade(self) -> None:
            made.append(self)

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning")
            self.transport.pauseProducing()

    made: list[Any] = []
    port = reactor.listenSSL(0, Factory.forProtocol(Deaf), server, interface="127.0.0.1")
    url = f"https://localhost:{port.getHost().port}/"
    client = client_of(url, trust=trust, timeout=0.5)
    receiver = Kept()
    await failure_of(client.fetch_file(url + "x.whl", receiver), UpstreamUnavailable)
    assert receiver.content == b"beginning"
    await client.stop()
    for protocol in made:
        protocol.transport.abortConnection()
    await port.stopListening()


async def test_downgrade(reactor: Any, trap: EvilUpstream, client_of: Make) -> None:
    """Nobody leads Cheddar from https to http."""
    server, trust = certificate_for("127.0.0.1")
    evil = EvilUpstream(reactor, tls=server)
    await evil.start()
    evil.misbehave("/simple/flask/", redirect_to=trap.url)
    client = client_of(evil.url, trust=trust)
    await failure_of(client.fetch_project("flask", Validators()), UpstreamBroken)
    await failure_of(client.fetch_file(trap.files_url, Kept()), UpstreamBroken)
    assert trap.connections == 0
    await client.stop()
    await evil.stop()
