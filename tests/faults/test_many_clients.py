"""A fleet that wants the same thing at the same moment."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.faults.test_memory import digest_of
from tests.support.distributions import make_wheel
from tests.support.server import JSON, CheddarProcess, ask
from tests.support.upstream import EvilUpstream

CLIENTS = 50


@pytest_twisted.async_yield_fixture
async def upstream(reactor: Any) -> AsyncIterator[EvilUpstream]:
    """An upstream that counts."""
    server = EvilUpstream(reactor)
    await server.start()
    yield server
    await server.stop()


@pytest.mark.deadline(120)
async def test_fifty_clients_share_one_fetch(upstream: EvilUpstream, tmp_path: Path) -> None:
    """A cold page and a cold 50 MB wheel: upstream sees one GET each, and every client gets every byte."""
    filename, content = make_wheel("big", "1.0", size=50_000_000)
    upstream.add_file("big", filename, content)
    server = CheddarProcess(tmp_path / "data", options=("--index-url", upstream.url))
    await deferToThread(server.start)
    try:
        with ThreadPoolExecutor(CLIENTS) as clients:

            def all_at_once(work: Any) -> list[Any]:
                return list(clients.map(lambda _: work(), range(CLIENTS)))

            pages = await deferToThread(
                all_at_once, lambda: ask(server.port, "GET", "/simple/big/", headers={"Accept": JSON})
            )
            assert [page.status for page in pages] == [200] * CLIENTS
            (file,) = pages[0].json()["files"]
            path = "/" + file["url"].removeprefix("../../")
            digests = await deferToThread(all_at_once, lambda: digest_of(server.port, path))
        assert set(digests) == {hashlib.sha256(content).hexdigest()}
        assert upstream.hits["GET /simple/big/"] == 1
        assert upstream.hits[f"GET /files/{filename}"] == 1
    finally:
        await deferToThread(server.stop)
