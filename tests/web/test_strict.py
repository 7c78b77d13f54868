"""Requests that two readers could take for two different ones, and heads without end: refused, by raw sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest_twisted
from twisted.internet.threads import deferToThread

from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.settings import Settings
from tests.support.distributions import make_wheel
from tests.support.server import CheddarHere, basic
from tests.web.test_connections import Client, request, settled, talk, upload

GOOD = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SMUGGLED = b"GET /health/live HTTP/1.1\r\nHost: smuggled\r\n\r\n"


@pytest_twisted.async_yield_fixture
async def cheddar(reactor: Any, settings: Settings) -> AsyncIterator[CheddarHere]:
    """On one store: what connections do is the same on both."""
    server = await CheddarHere(settings, reactor).start()
    yield server
    await server.stop()


def with_headers(*headers: bytes, path: bytes = b"/health/live", version: bytes = b"1.1") -> bytes:
    """A request of these headers and no other."""
    return b"\r\n".join((b"GET %s HTTP/%s" % (path, version), *headers, b"Connection: close", b"", b""))


HOST = b"Host: x"

REFUSED = {
    "no Host": with_headers(),
    "two Hosts": with_headers(HOST, b"Host: y"),
    "two Hosts that are one": with_headers(HOST, b"Host: x"),
    "two Hosts of HTTP/1.0": with_headers(HOST, b"Host: y", version=b"1.0"),
    "Hosts in one line": with_headers(b"Host: x, y"),
    "a Host with a path": with_headers(b"Host: x/y"),
    "a Host with a login": with_headers(b"Host: user@x"),
    "a Host with a space": with_headers(b"Host: x y"),
    "a Host that is no ASCII": with_headers(b"Host: \xff\xfe"),
    "half a Host": with_headers(b"Host: [::1"),
    "an absolute address": with_headers(HOST, path=b"http://x/health/live"),
    "an absolute address elsewhere": with_headers(HOST, path=b"http://169.254.169.254/health/live"),
    "an authority": with_headers(HOST, path=b"x:80"),
    "a path without a slash": with_headers(HOST, path=b"health/live"),
    "a star": with_headers(HOST, path=b"*"),
    "a folded header": with_headers(HOST, b"X: a", b" b"),
    "a header folded with a tab": with_headers(HOST, b"X: a", b"\tb"),
    "a folded Host": with_headers(b"Host:", b" x"),
    "a folded length": with_headers(HOST, b"Content-Length:", b" 5"),
    "a fold before all headers": with_headers(b" Host: x"),
    "a fold at the end": with_headers(HOST, b" "),
    "a space before the colon": with_headers(HOST, b"X : a"),
    "a header without a colon": with_headers(HOST, b"X"),
    "a header without a name": with_headers(HOST, b": a"),
    "a name that is no token": with_headers(HOST, b"X\xff: a"),
    "a name with a NUL": with_headers(HOST, b"X\0: a"),
    "NUL in a value": with_headers(HOST, b"X: a\0b"),
    "CR in a value": with_headers(HOST, b"X: a\rb"),
    "LF in a value": with_headers(HOST, b"X: a\nY: b"),
    "ESC in a value": with_headers(HOST, b"X: a\x1b[2Jb"),
    "DEL in a value": with_headers(HOST, b"X: a\x7f"),
    "bare line feeds": GOOD.replace(b"\r\n", b"\n") + b"\r\n\r\n",
    "two spaces": GOOD.replace(b"GET ", b"GET  "),
    "a tab": GOOD.replace(b"GET ", b"GET\t"),
    "no method": GOOD.replace(b"GET ", b" "),
    "no version": GOOD.replace(b" HTTP/1.1", b""),
    "HTTP/0.9": GOOD.replace(b"1.1", b"0.9", 1),
    "HTTP/1.2": GOOD.replace(b"1.1", b"1.2", 1),
    "HTTP/2.0": GOOD.replace(b"1.1", b"2.0", 1),
    "http/1.1": GOOD.replace(b"HTTP", b"http", 1),
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method that is no token": GOOD.replace(b"GET", b"G{}T"),
    "a space in the path": with_headers(HOST, path=b"/health/live x"),
    "8 bits in the path": with_headers(HOST, path=b"/health/l\xe9ve"),
    "NUL in the path": with_headers(HOST, path=b"/health/l\0ve"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


GOOD_ONES = [
    GOOD,
    b"\r\n" + GOOD,
    with_headers(b"host:x"),
    with_headers(b"Host:"),
    with_headers(b"Host: x:80"),
    with_headers(b"Host: [2001:db8::1]:80"),
    with_headers(HOST, b"X:"),
    with_headers(HOST, b"X: a\tb \xe9 \xff"),
    with_headers(version=b"1.0"),
    with_headers(HOST, version=b"1.0"),
]


async def test_what_is_no_good_request(cheddar: CheddarHere, reactor: Any) -> None:
    """
    400, and the end of the connection: what follows in the same packet is not taken for a request. What RFC 9112 allows
    is answered.
    """
    for name, asked in REFUSED.items():
        got = await deferToThread(talk, cheddar.port, asked + SMUGGLED)
        assert got.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")), (name, got)
        assert got.count(b"HTTP/1.") == 1, name
        assert b"200 OK" not in got, name
    for asked in GOOD_ONES:
        assert b" 200 OK\r\n" in await deferToThread(talk, cheddar.port, asked), asked
    await settled(cheddar, reactor)


HEADS = [
    (with_headers(HOST, *[b"X-%d: a" % number for number in range(126)]), 200),
    (with_headers(HOST, *[b"X-%d: a" % number for number in range(127)]), 431),
    (with_headers(HOST, *[b"X: a" for _ in range(10_000)]), 431),
    (with_headers(HOST, b"X: " + b"a" * 3900), 200),
    (with_headers(HOST, b"X: " + b"a" * 4096), 431),
    (with_headers(HOST, *[b"X: " + b"a" * 1000 for _ in range(5)]), 431),
    (with_headers(HOST, b"X: " + b"a" * 10_000_000), 431),
    (with_headers(HOST, path=b"/" + b"a" * 3900), 404),
    (with_headers(HOST, path=b"/" + b"a" * 4096), 414),
    (b"a" * 10_000_000, 414),
]


async def test_heads_have_a_size(reactor: Any, settings: Settings) -> None:
    """Of 128 headers, and of HEADER_SIZE in all: what is longer is told so, and never held in memory."""
    cheddar = await CheddarHere(attrs.evolve(settings, header_size=4096), reactor).start()
    try:
        for head, status in HEADS:
            got = await deferToThread(talk, cheddar.port, head)
            # Where much is on its way still, the end may be a reset, which takes the answer with it.
            assert got.startswith(b"HTTP/1.1 %d " % status) or (got == b"" and len(head) > 20_000)
        await settled(cheddar, reactor)
    finally:
        await cheddar.stop()


async def test_other_methods(cheddar: CheddarHere) -> None:
    """TRACE echoes nothing, CONNECT leads nowhere, OPTIONS and made up ones change nothing."""
    for method in ("TRACE", "OPTIONS", "PATCH", "PROPFIND", "MADEUP"):
        asked = request(method, "/simple/", Authorization=basic(), X_Canary="canary", Connection="close")
        got = await deferToThread(talk, cheddar.port, asked)
        assert got.startswith(b"HTTP/1.1 405 "), method
        assert b"canary" not in got
    for asked in (
        request("get", "/simple/", Connection="close"),
        request("delete", "/simple/demo/1.0", Connection="close", Authorization=basic()),
        upload("demo-1.0.tar.gz", b"x", Connection="close").replace(b"POST", b"Post", 1),
    ):
        got = await deferToThread(talk, cheddar.port, asked)
        assert got.startswith(b"HTTP/1.1 400 "), "methods are case-sensitive (RFC 9110, section 9.1)"
    got = await deferToThread(talk, cheddar.port, request("CONNECT", "evil.example:443", Connection="close"))
    assert got.startswith(b"HTTP/1.1 400 ")


async def test_a_slow_answer_is_not_overtaken(reactor: Any, settings: Settings, upstream: Any) -> None:
    """
    The answer that takes long comes first where it was asked for first, and each goes to its own login: those sent
    behind it on the connection wait (CVE-2023-46137, CVE-2024-41671).
    """
    upstream.add_file("slow", *make_wheel("slow", "1.0"))
    upstream.misbehave("/simple/slow/", delay=0.3)
    cheddar = await CheddarHere(attrs.evolve(settings, read_auth=True), reactor).start()
    for name in ("alice", "bob"):
        await cheddar.service.store.accounts.put_user(User(name, hash_password(name)))
    alice, bob = basic("alice", "alice"), basic("bob", "bob")
    asked = (
        request("GET", "/simple/slow/", Authorization=alice),
        request("GET", "/health/live"),
        request("GET", "/simple/quick-none/", Authorization=bob),
        request("GET", "/simple/slow/"),
        request("GET", "/simple/slow/", Authorization=bob, Accept="application/json"),
        b"BROKEN\r\n\r\n",
        request("GET", "/health/live"),
    )

    def answers() -> list[tuple[int, bytes]]:
        with Client(cheddar.port) as client:
            client.send(b"".join(asked))
            got = [(status, body) for status, _, body in (client.answer() for _ in asked[:-1])]
            assert client.rest() == b"", "the broken one ends the connection"
            return got

    try:
        got = await deferToThread(answers)
    finally:
        await cheddar.stop()
    assert [status for status, _ in got] == [200, 200, 404, 401, 200, 400]
    bodies = [body for _, body in got]
    assert b"<a" in bodies[0]
    assert b"slow-1.0" in bodies[0]
    assert bodies[1] == b"live\n"
    assert b"quick-none" in bodies[2]
    assert b"slow-1.0" not in bodies[3]
    assert b'"versions"' in bodies[4]


async def test_the_chunks_of_an_upload(cheddar: CheddarHere, reactor: Any) -> None:
    """Trailers and extensions of chunks are bounded, and no header among them counts."""
    whole = upload("demo-1.0.tar.gz", b"x" * 1000)
    head, _, body = whole.partition(b"\r\n\r\n")
    head = head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked") + b"\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (len(body), body)
    for tail in (
        b"0\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"0;" + b"a" * 1_000_000 + b"\r\n\r\n",
        b"0\r\n" + b"X: a\r\n" * 100_000 + b"\r\n",
    ):
        got = await deferToThread(talk, cheddar.port, head + chunk + tail)
        assert got == b"" or got.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 401 ")), got[:100]
        await settled(cheddar, reactor)
