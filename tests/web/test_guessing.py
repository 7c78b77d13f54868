"""Guessing passwords over HTTP: what a client is told, and who is not held back."""

from __future__ import annotations

import http.client
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.settings import Settings
from tests.support.distributions import make_wheel
from tests.support.later import LaterReactor
from tests.support.server import PASSWORD, USER, CheddarHere, basic

HOME, OFFICE = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def later(reactor: Any) -> LaterReactor:
    """The reactor, whose clock can be put forward."""
    return LaterReactor(reactor)


@pytest_twisted.async_yield_fixture
async def guarded(later: LaterReactor, settings: Settings) -> AsyncIterator[CheddarHere]:
    """A Cheddar with two users, whose proxy is trusted."""
    server = await CheddarHere(attrs.evolve(settings, trusted_proxies=("127.0.0.9",)), later).start()
    for name in (USER, "bob"):
        await server.service.store.accounts.put_user(User(name, hash_password(PASSWORD)))
    yield server
    await server.stop()


async def asked(
    server: CheddarHere, authorization: str, source: str = HOME, forwarded: str = "", path: str = "/simple/"
) -> tuple[int, str, int]:
    """The status, the reason and Retry-After of a request from an address of this machine."""

    def ask() -> tuple[int, str, int]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30, source_address=(source, 0))
        try:
            headers = {"Authorization": authorization, **({"X-Forwarded-For": forwarded} if forwarded else {})}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            response.read()
            return response.status, response.reason, int(response.headers.get("Retry-After", 0))
        finally:
            connection.close()

    return await deferToThread(ask)


@pytest.mark.deadline(60)
async def test_ten_guesses_and_a_wait(guarded: CheddarHere, later: LaterReactor) -> None:
    """
    Ten times 401, then 429 with the seconds to wait, for a right password as for a wrong one; not for another user
    there, nor for the user elsewhere, nor for who does not log in. After those seconds it goes on.
    """
    for _ in range(10):
        assert (await asked(guarded, basic(USER, "wrong")))[0] == 401
    for password in ("wrong", PASSWORD):
        status, reason, wait = await asked(guarded, basic(USER, password))
        assert status == 429
        assert reason == (
            f"Too often: Too many logins of this user from your address have failed: try again in {wait} seconds."
        )
        assert 200 < wait <= 300
    assert (await asked(guarded, basic(USER, "wrong"), path="/health/live"))[0] == 200, "which asks for no login"
    assert (await asked(guarded, basic("bob", PASSWORD)))[0] == 200
    assert (await asked(guarded, basic(USER, PASSWORD), OFFICE))[0] == 200
    assert (await guarded.ask("GET", "/simple/")).status == 200
    counted = (await guarded.ask("GET", "/metrics")).body.decode()
    assert 'cheddar_logins_total{outcome="limited"}' in counted
    later.later(wait)
    assert (await asked(guarded, basic(USER, PASSWORD)))[0] == 200
    for _ in range(12):
        status, *_ = await asked(guarded, basic(USER, "wrong"))
    assert status == 429
    assert (await asked(guarded, basic(USER, PASSWORD)))[0] == 200, "what was right is not held back"


async def test_an_upload_that_guesses(guarded: CheddarHere) -> None:
    """Uploads count as any request does, once each; the refusal reaches the client, whatever it still has to send."""
    statuses = [
        (await guarded.upload(*make_wheel("demo", "1.0", size=300_000), authorization=basic(USER, "wrong"))).status
        for _ in range(12)
    ]
    assert statuses == [401] * 10 + [429] * 2
    other = await guarded.upload(*make_wheel("demo", "1.0"), authorization=basic("bob", PASSWORD))
    assert other.status == 200


async def test_guesses_through_a_proxy(guarded: CheddarHere) -> None:
    """A trusted proxy's clients count each for itself, IPv6 by 64 bits; what others write into the header does not."""
    proxy = "127.0.0.9"
    for number in range(10):
        assert (await asked(guarded, basic("*", "wrong"), proxy, f"2001:db8::{number:x}"))[0] == 401
    assert (await asked(guarded, basic("*", "wrong"), proxy, "2001:db8::ffff"))[0] == 429
    assert (await asked(guarded, basic("*", "wrong"), proxy, "2001:db8:0:1::1"))[0] == 401
    for number in range(10):
        assert (await asked(guarded, basic("*", "wrong"), HOME, f"192.0.2.{number}"))[0] == 401
    assert (await asked(guarded, basic("*", "wrong"), HOME, "192.0.2.99"))[0] == 429
