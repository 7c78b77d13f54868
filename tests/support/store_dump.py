"""What a metadata store holds, read apart from the code under test."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.support.redis import tell

#: What is remembered of upstream, and who is at work: a reader may bring that up to date.
CACHE = ("pages", "page_records", "leases", "checked", "asked", "with-listing", "lease")

_READING = {
    b"string": ("GET", "{}"),
    b"hash": ("HGETALL", "{}"),
    b"set": ("SMEMBERS", "{}"),
    b"list": ("LRANGE", "{}", "0", "-1"),
    b"zset": ("ZRANGE", "{}", "0", "-1", "WITHSCORES"),
}


def sqlite_content(data_dir: Path) -> dict[str, bytes]:
    """The rows of each table of the embedded store."""
    connection = sqlite3.connect(f"file:{data_dir / 'cheddar.sqlite'}?mode=ro", uri=True)
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: repr(sorted(map(repr, connection.execute(f'SELECT * FROM "{name}"')))).encode() for name in tables
        }
    finally:
        connection.close()


def redis_content(port: int, password: str = "") -> dict[str, bytes]:
    """Each key's value, as the Redis on C{port} says it."""
    words = tell(port, "KEYS", "*", password=password).split(b"\r\n")
    found = {}
    for key in sorted(word.decode() for word in words if word and not word.startswith((b"*", b"$"))):
        reading = _READING[tell(port, "TYPE", key, password=password).strip()[1:]]
        found[key] = tell(port, *(word.format(key) for word in reading), password=password)
    return found


def published(content: dict[str, bytes]) -> dict[str, bytes]:
    """What of it only a writer may change."""
    return {name: value for name, value in content.items() if name not in CACHE and _kind(name) not in CACHE}


def _kind(key: str) -> str:
    """C{pages} of C{cheddar.2.pages.remote}."""
    return (key.split(".") + ["", ""])[2]
