"""The audit log: nothing that was noted is lost, and nobody can write between the lines."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import gatherResults
from twisted.python.threadpool import ThreadPool
from zope.interface.verify import verifyObject

from cheddar.errors import NoRoom
from cheddar.interfaces import IAuditLog
from cheddar.model import Event, EventQuery
from cheddar.storage.audit import AuditFile, AuditTrail
from cheddar.store.sqlite import SQLiteStore

AT = datetime(2026, 11, 22, 13, 30, tzinfo=timezone(timedelta(hours=1)))


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


@pytest.fixture
def pool() -> Any:
    pool = ThreadPool(0, 2)
    pool.start()
    yield pool
    pool.stop()


async def test_lines(reactor: Any, pool: ThreadPool, tmp_path: Path) -> None:
    """An event is one line of JSON, what it does not say left out, times in UTC; the folder is made with the file."""
    log = AuditFile(tmp_path / "new" / "audit.jsonl", reactor, pool)
    verifyObject(IAuditLog, log)
    await log.record([Event(action="upstream.deleted", at=AT, project="p")])
    await log.record(
        [Event(action="b", at=AT, project="q", filename="f", digest="d", who="w", detail="x\n\u2028\x1b[m")]
    )
    assert lines(tmp_path / "new" / "audit.jsonl") == [
        {"at": "2026-11-22T12:30:00Z", "action": "upstream.deleted", "project": "p"},
        {
            "at": "2026-11-22T12:30:00Z", "action": "b", "who": "w", "project": "q", "filename": "f", "digest": "d",
            "detail": "x\n\u2028\x1b[m",
        },
    ]  # fmt: skip
    assert b"\x1b" not in (tmp_path / "new" / "audit.jsonl").read_bytes()


async def test_many_at_once(reactor: Any, pool: ThreadPool, tmp_path: Path) -> None:
    """Writers do not mix their lines, and a file that is moved away is followed by a new one."""
    path = tmp_path / "audit.jsonl"
    log = AuditFile(path, reactor, pool)
    event = Event(action="a", at=AT, project="p", detail="x" * 5000)
    await gatherResults([log.record([event, event]) for _ in range(50)])
    assert len(lines(path)) == 100
    path.rename(tmp_path / "audit.1")
    await log.record([event])
    assert len(lines(path)) == 1


async def test_no_room(reactor: Any, pool: ThreadPool, tmp_path: Path) -> None:
    """Where nothing can be written, whoever wanted to is told."""
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(NoRoom):
        await AuditFile(tmp_path / "audit.jsonl", reactor, pool).record([Event(action="a", at=AT, project="p")])


async def test_file_and_store(reactor: Any, pool: ThreadPool, tmp_path: Path) -> None:
    """What is noted stands in both; where the file cannot be written, the store has no event that never was."""
    store = SQLiteStore(tmp_path / "cheddar.sqlite", 5, reactor, reactor)
    await store.start()
    trail = AuditTrail(AuditFile(tmp_path / "audit.jsonl", reactor, pool), store.events)
    verifyObject(IAuditLog, trail)
    await trail.record([Event(action="upstream.removed", at=AT, project="p")])
    assert [event.action for event in await store.events.find(EventQuery(), 10)] == ["upstream.removed"]
    assert [line["action"] for line in lines(tmp_path / "audit.jsonl")] == ["upstream.removed"]
    (tmp_path / "audit.jsonl").unlink()
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(NoRoom):
        await trail.record([Event(action="a", at=AT)])
    assert len(await store.events.find(EventQuery(), 10)) == 1
    await store.stop()
