"""Upstreams behind an HTTP proxy."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted

from cheddar.errors import SettingsError, UpstreamBroken, UpstreamUnavailable
from cheddar.model import Fetched, Validators
from cheddar.upstream import Upstream
from cheddar.upstream.addresses import Origin
from cheddar.upstream.proxies import Proxy, proxies
from tests.support.distributions import make_wheel
from tests.support.proxy import ForwardingProxy
from tests.support.upstream import EvilUpstream
from tests.upstream.certificates import certificate_for
from tests.upstream.receivers import Kept
from tests.upstream.test_pages import failure_of

Make = Callable[..., Upstream]
WHEEL, CONTENT = make_wheel("flask", "1.0", size=300_000)


@pytest_twisted.async_yield_fixture
async def proxy(reactor: Any) -> AsyncIterator[ForwardingProxy]:
    """A proxy that serves everybody."""
    server = ForwardingProxy(reactor)
    await server.start()
    yield server
    await server.stop()


async def test_plain_http(evil: EvilUpstream, client_of: Make, proxy: ForwardingProxy) -> None:
    """Pages and files of an upstream without TLS are asked of the proxy by their whole address, over one connection."""
    evil.add_file("flask", WHEEL, CONTENT)
    client = client_of(evil.url, proxy_for=proxies(f"http://{proxy.address}", {}))
    assert isinstance(await client.fetch_project("flask", Validators()), Fetched)
    await client.fetch_file(evil.files_url + WHEEL, receiver := Kept())
    assert receiver.content == CONTENT
    assert proxy.requests == [
        f"GET {evil.url}flask/ HTTP/1.1".encode(),
        f"GET {evil.files_url}{WHEEL} HTTP/1.1".encode(),
    ]
    assert evil.connections == 1, "the connection to the proxy is used again"


async def test_tunnel(reactor: Any, client_of: Make, proxy: ForwardingProxy) -> None:
    """An upstream with TLS is spoken to through a tunnel: the proxy sees its host and no more; it resolves the name."""
    server, trust = certificate_for("files.example")
    evil = EvilUpstream(reactor, tls=server)
    evil.add_file("flask", WHEEL, CONTENT)
    await evil.start()
    proxy.leads_to = evil.port
    client = client_of(
        "https://files.example:8443/simple/", trust=trust, proxy_for=proxies("", {"https_proxy": proxy.address})
    )
    assert isinstance(await client.fetch_project("flask", Validators()), Fetched)
    await client.fetch_file(f"https://files.example:8443/files/{WHEEL}", receiver := Kept())
    assert receiver.content == CONTENT
    assert proxy.requests == [b"CONNECT files.example:8443 HTTP/1.1"]
    assert b"flask" not in b"".join(proxy.heads)
    await client.stop()
    await evil.stop()


async def test_a_tunnel_checks_the_certificate(reactor: Any, client_of: Make, proxy: ForwardingProxy) -> None:
    """Nobody on the way can stand in for upstream."""
    server, trust = certificate_for("other.example")
    evil = EvilUpstream(reactor, tls=server)
    await evil.start()
    proxy.leads_to = evil.port
    client = client_of("https://files.example/simple/", trust=trust, proxy_for=proxies(f"http://{proxy.address}", {}))
    error = await failure_of(client.fetch_project("flask", Validators()), UpstreamUnavailable)
    assert "secure connection" in str(error)
    assert evil.requests == []
    await client.stop()
    await evil.stop()


async def test_login(evil: EvilUpstream, client_of: Make, proxy: ForwardingProxy) -> None:
    """The proxy's login is shown to the proxy alone; a proxy that wants another is named, its password is not."""
    evil.add_file("flask", WHEEL, CONTENT)
    proxy.login = b"Basic " + b64encode(b"me:s3cret@")
    good = client_of(evil.url, proxy_for=proxies(f"http://me:s3cret%40@{proxy.address}", {}))
    assert isinstance(await good.fetch_project("flask", Validators()), Fetched)
    wrong = client_of(evil.url, proxy_for=proxies(f"http://me:wr0ng@{proxy.address}", {}))
    error = await failure_of(wrong.fetch_project("flask", Validators()), UpstreamUnavailable)
    assert "407" in str(error)
    assert "wr0ng" not in str(error)


async def test_login_through_a_tunnel(client_of: Make, proxy: ForwardingProxy) -> None:
    """The same before a tunnel stands."""
    proxy.login = b"Basic " + b64encode(b"me:right")
    client = client_of("https://files.example/simple/", proxy_for=proxies(f"http://me:wr0ng@{proxy.address}", {}))
    error = await failure_of(client.fetch_project("flask", Validators()), UpstreamUnavailable)
    assert "407" in str(error)
    assert "wr0ng" not in str(error)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "503"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "other than HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "without an end"),
    ],
)
async def test_a_proxy_that_refuses(client_of: Make, proxy: ForwardingProxy, answer: bytes, word: str) -> None:
    """What the proxy does wrong is told, in words that name it."""
    proxy.answer = answer
    client = client_of("https://files.example/simple/", proxy_for=proxies(f"http://{proxy.address}", {}))
    error = await failure_of(client.fetch_project("flask", Validators()), UpstreamUnavailable)
    assert word in str(error)
    assert proxy.address in str(error)


async def test_a_proxy_that_hangs(client_of: Make, proxy: ForwardingProxy) -> None:
    """It is given up after the time that an upstream gets, and nothing stays open."""
    proxy.answer = b"HTTP/1.1 "
    client = client_of("https://files.example/simple/", timeout=0.3, proxy_for=proxies(f"http://{proxy.address}", {}))
    await failure_of(client.fetch_project("flask", Validators()), UpstreamUnavailable)
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_private_addresses_are_refused(client_of: Make, proxy: ForwardingProxy, scheme: str) -> None:
    """A page that names a private address gets nothing out of the proxy either."""
    client = client_of("http://index.example/simple/", proxy_for=proxies(f"http://{proxy.address}", {}))
    await failure_of(client.fetch_file(f"{scheme}://10.1.2.3/x-1.0.tar.gz", Kept()), UpstreamBroken)
    assert proxy.requests == []
    proxy.answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    await failure_of(client.fetch_file(f"{scheme}://192.0.2.7/x-1.0.tar.gz", Kept()), UpstreamUnavailable)
    assert len(proxy.requests) == 1, "the control: another address is asked of it"


def test_a_proxy_is_found_in_the_environment() -> None:
    """As other tools read it: by scheme, in either case, with exceptions."""
    environ = {
        "HTTPS_PROXY": "http://up.example:3128",
        "http_proxy": "low.example",
        "HTTP_PROXY": "http://shadowed.example",
        "NO_PROXY": "internal.example, .corp.example,10.0.0.0/8,port.example:8443",
    }
    choose = proxies("", environ)
    assert choose(Origin("https", "index.example", 443)) == Proxy(Origin("http", "up.example", 3128))
    assert choose(Origin("http", "index.example", 80)) == Proxy(Origin("http", "low.example", 80))
    for host, port in (
        ("internal.example", 443), ("a.internal.example", 443), ("x.corp.example", 443), ("10.9.8.7", 443),
        ("port.example", 8443),
    ):  # fmt: skip
        assert choose(Origin("https", host, port)) is None, host
    for host, port in (("notinternal.example", 443), ("11.9.8.7", 443), ("port.example", 443)):
        assert choose(Origin("https", host, port)) is not None, host
    assert proxies("none", environ)(Origin("https", "index.example", 443)) is None
    assert proxies("", {**environ, "NO_PROXY": "*"})(Origin("https", "index.example", 443)) is None
    cgi = {"REQUEST_METHOD": "GET", "HTTP_PROXY": "http://evil.example"}
    assert proxies("", cgi)(Origin("http", "index.example", 80)) is None


@pytest.mark.parametrize("url", ["socks5://proxy.example", "http://", "http://proxy.example:port", "http://ü.example"])
def test_a_setting_that_is_no_proxy(url: str) -> None:
    """It is told at the start."""
    with pytest.raises(SettingsError):
        proxies(url, {})
