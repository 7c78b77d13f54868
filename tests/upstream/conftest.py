"""An upstream that misbehaves on command, and the client that asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import DeferredList
from twisted.python.threadpool import ThreadPool

from cheddar.upstream import Upstream
from cheddar.upstream.client import MAX_FILE
from cheddar.upstream.proxies import Choice, no_proxy
from tests.support.upstream import EvilUpstream


@pytest.fixture
def thread_pool() -> Iterator[ThreadPool]:
    """Where pages are parsed."""
    pool = ThreadPool(0, 2)
    pool.start()
    yield pool
    pool.stop()


@pytest.fixture
def tls() -> tuple[Any, Any]:
    """What the upstream serves https with, and what a client needs to trust it; modules have their own."""
    return None, None


@pytest_twisted.async_yield_fixture
async def evil(reactor: Any, tls: tuple[Any, Any]) -> AsyncIterator[EvilUpstream]:
    """An upstream that is up, and empty."""
    upstream = EvilUpstream(reactor, tls=tls[0])
    await upstream.start()
    yield upstream
    await upstream.stop()


@pytest_twisted.async_yield_fixture
async def trap(reactor: Any) -> AsyncIterator[EvilUpstream]:
    """Another server on loopback, which must never hear anything: C{trap.connections}."""
    server = EvilUpstream(reactor)
    server.add_file("secret", "secret-1.0.tar.gz", b"secret")
    await server.start()
    yield server
    await server.stop()


@pytest_twisted.async_yield_fixture
async def client_of(
    reactor: Any, thread_pool: ThreadPool, tls: tuple[Any, Any]
) -> AsyncIterator[Callable[..., Upstream]]:
    """Makes clients, and stops them."""
    made: list[Upstream] = []

    def make(
        url: str,
        *,
        timeout: float = 5.0,
        connections: int = 4,
        trust: Any = None,
        using: Any = None,
        proxy_for: Choice = no_proxy,
        max_file: int = MAX_FILE,
    ) -> Upstream:
        made.append(
            Upstream(
                url,
                reactor=using or reactor,
                pool=thread_pool,
                timeout=timeout,
                connections=connections,
                trust=tls[1] if trust is None else trust,
                proxy_for=proxy_for,
                max_file=max_file,
            )
        )
        return made[-1]

    yield make
    await DeferredList([client.stop() for client in made])
