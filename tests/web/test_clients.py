"""Who a client is: the connection's other end, and a proxy's word only where the operator trusts that proxy."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.threads import deferToThread

from cheddar.settings import Settings
from cheddar.web.clients import TrustedProxies, counted_as
from cheddar.web.request import CheddarRequest
from tests.support.server import CheddarHere
from tests.web.test_connections import request, site, talk

PROXIES = TrustedProxies.named(("10.0.0.0/8", "2001:db8:1::/48", "unix"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["127.0.0.1"], "192.0.2.1"),
        ("192.0.2.1", ["10.0.0.1"], "192.0.2.1"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("2001:DB8::0:1", [], "2001:db8::1"),
        ("fe80::1%eth0", [], "fe80::1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("2001:db8:1::1", ["2001:db8:2::9"], "2001:db8:2::9"),
        ("10.0.0.1", ["203.0.113.5, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.5", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, 10.0.0.2,10.0.0.3"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.5, 198.51.100.7 ,\t10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8:2::9]:4711"], "2001:db8:2::9"),
        ("10.0.0.1", ["[2001:db8:2::9]"], "2001:db8:2::9"),
        ("10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["unix"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, garbage, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.7,"], "10.0.0.1"),
        ("10.0.0.1", ["127.0.0.1\x00"], "10.0.0.1"),
        ("10.0.0.1", ["0x7f.1"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7" + ", 10.0.0.2" * 5000], "10.0.0.2"),
        ("", ["198.51.100.7"], "198.51.100.7"),
        ("", [], "unix"),
    ],
)
def test_the_address_a_request_comes_from(peer: str, forwarded: list[str], client: str) -> None:
    """Read from the right, as far as trust goes; what names nobody is passed over, and so is all that is before it."""
    assert PROXIES.client(peer, forwarded) == client


def test_nobody_is_trusted_unless_named() -> None:
    """Without TRUSTED_PROXIES the header counts for nothing, whoever sends it."""
    for peer in ("127.0.0.1", "10.0.0.1", "::1", ""):
        assert TrustedProxies().client(peer, ["198.51.100.7"]) == (peer or "unix")


@given(st.lists(st.text(st.characters(max_codepoint=255))), st.sampled_from(["192.0.2.1", "10.0.0.1", ""]))
def test_nothing_but_addresses_comes_out(forwarded: list[str], peer: str) -> None:
    """Whatever the header holds, what is counted and logged is an IP address or C{unix}; nothing is raised."""
    client = PROXIES.client(peer, forwarded)
    assert client == "unix" or counted_as(client) is not None
    assert not set(client) & set("\r\n\x1b ,")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that answered requests came from."""
    addresses: list[str] = []
    count = CheddarRequest.count

    def note(self: CheddarRequest, route: str) -> None:
        addresses.append(self.client_address)
        count(self, route)

    monkeypatch.setattr(CheddarRequest, "count", note)
    return addresses


@pytest.mark.parametrize("trusted", [(), ("127.0.0.0/8",)])
async def test_what_a_request_says(reactor: Any, settings: Settings, seen: list[str], trusted: tuple[str, ...]) -> None:
    """
    By one or several headers, in any case; C{X_Forwarded_For}, C{Forwarded}, C{X-Real-IP} and C{Remote-User} are of no
    account, and by them nobody becomes somebody else.
    """
    cheddar = await CheddarHere(attrs.evolve(settings, trusted_proxies=trusted, read_auth=True), reactor).start()
    try:
        for headers, client in (
            (b"X-Forwarded-For: 203.0.113.5, 198.51.100.7\r\n", "198.51.100.7"),
            (b"x-forwarded-FOR: 203.0.113.5\r\nX-Forwarded-For: 198.51.100.7\r\n", "198.51.100.7"),
            (b"X_Forwarded_For: 203.0.113.5\r\n", "127.0.0.1"),
            (b"Forwarded: for=203.0.113.5\r\nX-Real-IP: 203.0.113.5\r\nClient-IP: 203.0.113.5\r\n", "127.0.0.1"),
            (b"Remote-User: alice\r\nX-Remote-User: alice\r\nX-Forwarded-User: alice\r\n", "127.0.0.1"),
        ):
            asked = request("GET", "/simple/", Connection="close")[:-2] + headers + b"\r\n"
            got = await deferToThread(talk, cheddar.port, asked)
            assert got.startswith(b"HTTP/1.1 401 ")
            assert seen.pop() == (client if trusted else "127.0.0.1")
        body = b"x" * 100_000
        asked = request("POST", "/pypi/", body, X_Forwarded_For="198.51.100.7", Connection="close")
        await deferToThread(talk, cheddar.port, asked)
        assert seen.pop() == ("198.51.100.7" if trusted else "127.0.0.1"), "before the body, and after the client left"
    finally:
        await cheddar.stop()


@pytest.mark.parametrize("trusted", [(), ("unix",)])
async def test_a_proxy_on_a_socket_file(
    reactor: Any, settings: Settings, tmp_path: Path, seen: list[str], trusted: tuple[str, ...]
) -> None:
    """Who connects to a socket that is a file has no address, and is trusted where TRUSTED_PROXIES has C{unix}."""
    path = str(tmp_path / "socket")
    cheddar = await CheddarHere(attrs.evolve(settings, trusted_proxies=trusted), reactor).start()
    port = reactor.listenUNIX(path, site(cheddar))

    def ask() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(path)
            for header in (b"", b"X-Forwarded-For: 203.0.113.5, 198.51.100.7\r\n"):
                client.sendall(request("GET", "/health/live")[:-2] + header + b"\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")

    try:
        await deferToThread(ask)
    finally:
        await port.stopListening()
        await cheddar.stop()
    assert seen == ["unix", "198.51.100.7" if trusted else "unix"]


def test_who_counts_as_one() -> None:
    """One IPv4 address, however it is written; one IPv6 network of 64 bits; and who has no address is not counted."""
    assert counted_as("192.0.2.1") == counted_as("::ffff:192.0.2.1")
    assert counted_as("2001:db8::1") == counted_as("2001:db8::ffff:1%eth0") != counted_as("2001:db8:0:1::1")
    assert counted_as("") is None
    assert counted_as("unix") is None
