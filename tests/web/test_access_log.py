"""What is noted of requests: as JSON lines, or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.threadpool import ThreadPool

from cheddar import metrics
from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.settings import Settings
from cheddar.web import access_log
from cheddar.web.access_log import Answered, JSONLines
from cheddar.web.clients import TrustedProxies
from tests.support.distributions import make_wheel
from tests.support.server import JSON, PASSWORD, USER, CheddarHere, basic
from tests.web.test_connections import Client, request, settled, talk, until

NAME, CONTENT = make_wheel("big", "1.0", size=30_000_000)
#: What control characters a request may hold is for others to test: these come through.
HOSTILE = '"}{"at": "2026-11-25T00:00:00Z"}\x9b31m\u202e\u2028'


@asynccontextmanager
async def serving(settings: Settings, reactor: Any, **changes: Any) -> AsyncIterator[CheddarHere]:
    """A Cheddar with these settings, and a user."""
    server = await CheddarHere(attrs.evolve(settings, **changes), reactor).start()
    try:
        await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
        yield server
    finally:
        await server.stop()


@pytest.fixture
def said() -> Any:
    """What the log says meanwhile."""
    texts: list[str] = []

    def observe(event: LogEvent) -> None:
        texts.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield texts
    globalLogPublisher.removeObserver(observe)


def lines(path: Path) -> list[dict[str, Any]]:
    """What is in a log."""
    raw = path.read_bytes() if path.exists() else b""
    assert raw.isascii()
    return [json.loads(line) for line in raw.decode().splitlines()]


async def test_every_request_is_a_line(settings: Settings, reactor: Any, said: list[str]) -> None:
    """Who asked for what, how it ended and how much was sent; nothing that a client writes makes a line of its own."""
    began = datetime.now(timezone.utc)
    async with serving(settings, reactor, access_log="json", trusted_proxies=("127.0.0.1",)) as cheddar:
        path = cheddar.settings.requests_file
        assert (await cheddar.upload(NAME, CONTENT)).status == 200
        await until(reactor, lambda: lines(path))
        (uploaded,) = lines(path)
        for method, address, headers in (
            ("GET", "/simple/big/?token=secret", {"Accept": JSON, "User-Agent": "pip/26.3"}),
            ("GET", f"/local/{NAME}", {"X-Forwarded-For": "192.0.2.7"}),
            ("GET", f"/local/{NAME}", {"Range": "bytes=1-1000000"}),
            ("HEAD", f"/local/{NAME}", {}),
            ("GET", "/simple/none/", {"Authorization": basic()}),
        ):
            await cheddar.ask(method, address, headers=headers)
        raw = request("GET", "/", Connection="close")[:-2] + b"User-Agent: " + HOSTILE.encode()
        await deferToThread(talk, cheddar.port, raw + b"\r\n\r\n")
        await deferToThread(talk, cheddar.port, request("GET", "http://me:secret@x/", Connection="close"))
        moved = path.rename(path.with_suffix(".1"))
        leaving = Client(cheddar.port)
        leaving.send(request("GET", f"/local/{NAME}"))
        await deferToThread(leaving._until, b"\r\n\r\n")
        if not leaving.got:  # the head goes first
            await deferToThread(leaving._more)
        leaving.socket.close()
        await settled(cheddar, reactor)
    assert {name: uploaded.pop(name) for name in ("client", "user", "method", "path", "route", "status")} == {
        "client": "127.0.0.1",
        "user": USER,
        "method": "POST",
        "path": "/pypi/",
        "route": "/pypi/",
        "status": 200,
    }
    assert began <= datetime.fromisoformat(uploaded["at"].replace("Z", "+00:00")) <= datetime.now(timezone.utc)
    assert 0 < uploaded["seconds"] < 20
    noted = [*lines(moved), *lines(path)]
    page, file, part, head, missing, hostile, login, left = noted[1:]
    assert (page["path"], page["agent"]) == ("/simple/big/", "pip/26.3")
    assert (file["client"], file["bytes"], file["route"]) == ("192.0.2.7", len(CONTENT), "/local/<filename>")
    assert (part["status"], part["bytes"]) == (206, 1_000_000)
    assert (head["method"], head["bytes"]) == ("HEAD", 0)
    assert (missing["status"], missing["user"]) == (404, USER)
    assert hostile["agent"].encode("latin-1").decode() == HOSTILE
    assert (login["status"], "path" in login) == (400, False)
    assert left["cut"] is True
    assert 0 < left["bytes"] < len(CONTENT)
    assert not any("cut" in one for one in noted[:-1])
    assert "secret" not in json.dumps(noted)
    assert not [text for text in said if "HTTP/1.1" in text]


@pytest.mark.parametrize("how", ["off", "text"])
async def test_a_log_of_text_or_none(settings: Settings, reactor: Any, said: list[str], how: str) -> None:
    """Requests are noted in the log, or nowhere."""
    async with serving(settings, reactor, access_log=how) as cheddar:
        assert (await cheddar.ask("GET", "/health/live")).status == 200
        assert not cheddar.settings.requests_file.exists()
    assert len([text for text in said if '"GET /health/live HTTP/1.1" 200' in text]) == (how == "text")


def has_lost(count: float) -> bool:
    """Whether so many requests were lost by now."""
    return bool(metrics.access_log_lost._value.get() == count)


async def test_where_it_cannot_be_written(
    settings: Settings, reactor: Any, said: list[str], nothing_left_behind: list[Any]
) -> None:
    """Requests are answered all the same; the log says so once, and once more when lines are written again."""
    path = settings.data_dir / "not" / "here"
    path.mkdir(parents=True)
    before = metrics.access_log_lost._value.get()
    async with serving(settings, reactor, access_log="json", access_log_file=path) as cheddar:
        for count in (1, 2):
            assert (await cheddar.ask("GET", "/health/live")).status == 200
            await until(reactor, partial(has_lost, before + count))
        path.rmdir()
        assert (await cheddar.ask("GET", "/health/ready")).status == 200
        await until(reactor, lambda: path.exists() and any("written again" in text for text in said))
        assert [line["path"] for line in lines(path)] == ["/health/ready"]
    assert [text for text in said if "access log" in text] == [
        f"The access log cannot be written: [Errno 21] Is a directory: '{path}'",
        "The access log is written again; 2 requests are not in it",
    ]
    nothing_left_behind.clear()


async def test_more_than_can_be_written(reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a slow disk has a bound; what is over it is lost and counted, and the rest is written."""
    monkeypatch.setattr(access_log, "MOST_KEPT", 10)
    pool = ThreadPool(0, 1)
    pool.start()
    try:
        go_on = threading.Event()
        pool.callInThread(go_on.wait)
        log = JSONLines(tmp_path / "log", reactor, reactor, pool, TrustedProxies())
        before = metrics.access_log_lost._value.get()
        for _ in range(25):
            log.add("192.0.2.1", 0.0, Answered("", b"GET", b"/", b"HTTP/1.1", 200, 1, b"", (), "/"))
        assert metrics.access_log_lost._value.get() == before + 15
        go_on.set()
        await log.stop()
        assert len(lines(tmp_path / "log")) == 10
    finally:
        pool.stop()
