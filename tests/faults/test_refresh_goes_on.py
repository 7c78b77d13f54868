"""A node that dies in the midst of a refresh, with kill -9: another goes on with what is still due."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from tests.index.test_downloads import until
from tests.support.distributions import make_wheel
from tests.support.server import CheddarProcess, ask
from tests.support.upstream import EvilUpstream

NAMES = [f"project{number:02}" for number in range(24)]
CONCURRENCY = 2
ENVIRON = {"CHEDDAR_REFRESH_INTERVAL": "1", "CHEDDAR_REFRESH_CONCURRENCY": str(CONCURRENCY)}


def look_up(store: Path, statement: str) -> Any:
    """Look into the store, or change it. @return: the first value."""
    with closing(sqlite3.connect(store)) as connection, connection:
        row = connection.execute(statement).fetchone()
        return None if row is None else row[0]


@pytest.mark.deadline(180)
async def test_another_node_goes_on(reactor: Any, upstream: EvilUpstream, tmp_path: Path) -> None:
    """Within the time of a lease, and not from the beginning: what the dead one had done is not done again."""
    nodes = [
        CheddarProcess(tmp_path / "data", environ=ENVIRON, options=("--index-url", upstream.url)) for _ in range(2)
    ]
    store = tmp_path / "data" / "cheddar.sqlite"
    for name in NAMES:
        upstream.add_file(name, *make_wheel(name, "1.0"))
    try:
        await deferToThread(nodes[0].start)
        for name in NAMES:
            answer = await deferToThread(ask, nodes[0].port, "GET", f"/simple/{name}/")
            assert answer.status == 200
        await deferToThread(nodes[0].kill)
        upstream.hits.clear()
        for name in NAMES:
            upstream.misbehave(f"/simple/{name}/", delay=0.3)
        look_up(store, "UPDATE pages SET checked_at = checked_at - 10000")
        look_up(store, "DELETE FROM leases")
        await gatherResults([deferToThread(node.start) for node in nodes])
        await until(lambda: len(upstream.hits) >= 6, reactor)
        holder = look_up(store, "SELECT holder FROM leases WHERE name = 'refresh'")
        (working,) = [node for node in nodes if f"-{node.pid}-" in holder]
        await deferToThread(working.kill)
        done = len(upstream.hits)
        assert done <= len(NAMES) - 2 * CONCURRENCY, "the control: it was in the midst of it"
        await until(lambda: len(upstream.hits) == len(NAMES), reactor)
        await until(lambda: not look_up(store, "SELECT 1 FROM pages WHERE checked_at < asked_at - 600"), reactor)
        assert set(upstream.hits) == {f"GET /simple/{name}/" for name in NAMES}
        again = [path for path, count in upstream.hits.items() if count > 1]
        assert len(again) <= CONCURRENCY, "only what was under way is asked for again"
        assert sum(upstream.hits.values()) == len(NAMES) + len(again)
    finally:
        await gatherResults([deferToThread(node.stop) for node in nodes])
