"""`cheddar cache`, on a folder that no server runs on; what it does to one that runs: C{tests.web.test_cache_size}."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.python import usage

from cheddar.errors import Invalid, NotFound, SettingsError, Unavailable
from cheddar.settings import Settings
from cheddar.settings.known import Size
from tests.cli.commands import execute
from tests.storage.test_eviction import NOW, lay

FLASK = "releases/flask/0123456789abcdef/flask-3.0-py3-none-any.whl"
OLD = "releases/flask/fedcba9876543210/flask-2.0.tar.gz"
PRE = "pre-releases/acme-web/0123456789abcdef/acme_web-1.0rc1.tar.gz"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A cache of two projects, and an uploaded file that has the name of a cached one."""
    settings = Settings(data_dir=tmp_path, remote_cache_size=Size(5000))
    for key, size, used in ((FLASK, 2000, 3), (f"{FLASK}.metadata", 20, 1), (OLD, 1000, 2), (PRE, 300, 0)):
        lay(settings.remote_dir, key, size, NOW + used)
    lay(settings.local_dir, OLD, 7, NOW)
    return settings


def cached(settings: Settings) -> set[str]:
    """What is there."""
    root = settings.remote_dir
    return {str(path.relative_to(root)) for path in root.rglob("*.*") if path.is_file() and path.parent != root}


async def test_list(reactor: Any, settings: Settings) -> None:
    """What would go first comes first; patterns choose; JSON has all that is known."""
    assert await execute(reactor, settings, "cache", "pin", "acme*")
    assert await execute(reactor, settings, "cache", "list") == (
        f"2023-11-14 22:13      300 B  {PRE}  (pinned)\n"
        f"2023-11-14 22:13       20 B  {FLASK}.metadata\n"
        f"2023-11-14 22:13     1.0 kB  {OLD}\n"
        f"2023-11-14 22:13     2.0 kB  {FLASK}\n"
    )
    told = json.loads(await execute(reactor, settings, "cache", "list", "flask/2.0", "acme-web", "--json"))
    assert told["files"] == [
        {
            "key": PRE,
            "project": "acme-web",
            "version": "1.0rc1",
            "filename": "acme_web-1.0rc1.tar.gz",
            "size": 300,
            "last_used": "2023-11-14T22:13:20+00:00",
            "pinned": True,
        },
        {
            "key": OLD,
            "project": "flask",
            "version": "2.0",
            "filename": "flask-2.0.tar.gz",
            "size": 1000,
            "last_used": "2023-11-14T22:13:22+00:00",
            "pinned": False,
        },
    ]
    assert await execute(reactor, settings, "cache", "list", "nothing") == ""
    with pytest.raises(Invalid, match="no pattern"):
        await execute(reactor, settings, "cache", "list", "a/b/c")


async def test_stats(reactor: Any, settings: Settings, tmp_path: Path) -> None:
    """How much there is, may be, and is pinned; an empty cache is no error."""
    await execute(reactor, settings, "cache", "pin", "flask")
    told = json.loads(await execute(reactor, settings, "cache", "stats", "--json"))
    assert told == {
        "folder": str(settings.remote_dir),
        "limit": 5000,
        "files": 4,
        "size": 3320,
        "projects": 2,
        "pinned_files": 3,
        "pinned_size": 3020,
        "least_recently_used": "2023-11-14T22:13:20+00:00",
    }
    said = await execute(reactor, evolve(settings, offline=True), "cache", "stats")
    assert "cached:  4 files of 2 projects, 3.3 kB (3320 bytes)\n" in said
    assert "limit:   5.0 kB (5000 bytes), and nothing is evicted while OFFLINE is set\n" in said
    empty = await execute(reactor, Settings(data_dir=tmp_path / "empty"), "cache", "stats")
    assert "cached:  0 files" in empty
    assert "limit:   none" in empty
    assert "nothing is cached" in empty
    assert not (tmp_path / "empty").exists()
    with pytest.raises(usage.UsageError, match="no pattern is taken"):
        await execute(reactor, settings, "cache", "stats", "flask")


async def test_purge(reactor: Any, settings: Settings) -> None:
    """What a pattern is of goes, with what lies beside it, and is told with its bytes; a dry run removes nothing."""
    before = cached(settings)
    said = await execute(reactor, settings, "cache", "purge", "flask/3", "--dry-run")
    assert said == f"{FLASK}.metadata  20 B\n{FLASK}  2.0 kB\nWould remove 2 files, 2.0 kB (2020 bytes).\n"
    assert cached(settings) == before
    said = await execute(reactor, settings, "cache", "purge", "flask/3")
    assert said == f"{FLASK}.metadata  20 B\n{FLASK}  2.0 kB\nRemoved 2 files, 2.0 kB (2020 bytes).\n"
    assert cached(settings) == {OLD, PRE}
    assert await execute(reactor, settings, "cache", "purge", "flask/3") == "Nothing like that is cached.\n"
    for wrong in ((), ("flask", "--all")):
        with pytest.raises(usage.UsageError, match="either patterns are needed or --all"):
            await execute(reactor, settings, "cache", "purge", *wrong)
    assert cached(settings) == {OLD, PRE}


async def test_purge_leaves_what_is_pinned(reactor: Any, settings: Settings) -> None:
    """Pinned files go only when that is said; uploaded ones never."""
    await execute(reactor, settings, "cache", "pin", "flask-2.0.tar.gz")
    said = await execute(reactor, settings, "cache", "purge", "--all")
    assert said.endswith(
        "Removed 3 files, 2.3 kB (2320 bytes).\n1 file more: pinned, and left. --pinned removes them too.\n"
    )
    assert cached(settings) == {OLD}
    said = await execute(reactor, settings, "cache", "purge", "--all", "--pinned")
    assert said.endswith("Removed 1 file, 1.0 kB (1000 bytes).\n")
    assert cached(settings) == set()
    assert (settings.local_dir / OLD).exists()
    assert await execute(reactor, settings, "cache", "pins") == "flask-2.0.tar.gz\n"


async def test_nothing_is_purged_where_uploaded_files_lie(reactor: Any, settings: Settings) -> None:
    """One folder for both: the command refuses, whatever it is told."""
    one = evolve(settings, local_cache_dir=settings.remote_dir)
    with pytest.raises(SettingsError, match="LOCAL_CACHE_DIR"):
        await execute(reactor, one, "cache", "purge", "--all", "--pinned")
    assert len(cached(settings)) == 4


async def test_pins(reactor: Any, settings: Settings) -> None:
    """Pins are told, listed, and taken back in their own words, however those are spelled."""
    assert await execute(reactor, settings, "cache", "pin", "Flask", "later") == (
        "Pinned: flask, of which 3 files (3.0 kB) are here.\nPinned: later, of which 0 files (0 B) are here.\n"
    )
    assert (await execute(reactor, settings, "cache", "pin", "FLASK")).startswith("Already pinned: flask,")
    assert await execute(reactor, settings, "cache", "pins") == "flask\nlater\n"
    assert json.loads(await execute(reactor, settings, "cache", "pins", "--json")) == {"pins": ["flask", "later"]}
    with pytest.raises(NotFound, match="Not pinned: other"):
        await execute(reactor, settings, "cache", "unpin", "flask", "other")
    assert await execute(reactor, settings, "cache", "pins") == "flask\nlater\n"
    assert await execute(reactor, settings, "cache", "unpin", "fLask") == "Unpinned: flask.\n"
    assert await execute(reactor, settings, "cache", "pins") == "later\n"
    for command in ("pin", "unpin"):
        with pytest.raises(usage.UsageError, match="a pattern is missing"):
            await execute(reactor, settings, "cache", command)


async def test_a_cache_that_cannot_be_read(reactor: Any, settings: Settings, tmp_path: Path) -> None:
    """It is said in a sentence."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(Unavailable, match="The cache in .*loop cannot be read|What is pinned cannot be read"):
        await execute(reactor, evolve(settings, remote_cache_dir=tmp_path / "loop"), "cache", "list")
