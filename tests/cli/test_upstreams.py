"""`cheddar upstream`, in either store."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve

from cheddar.errors import CheddarError, Invalid, NotFound
from cheddar.model import CHANGED, REMOVED, CachedPage, File, Project
from cheddar.service import open_store
from cheddar.settings import Settings
from tests.cli.commands import execute

ONE = File("my_demo-1.0.tar.gz", "1.0", digests={"sha256": "1" * 64}, url="http://u.example/1")
TWO = File("my_demo-2.0.tar.gz", "2.0", digests={"sha256": "2" * 64}, url="http://u.example/2", withdrawal=CHANGED)
THREE = File("my_demo-3.0.tar.gz", "3.0", digests={"md5": "3" * 32}, url="http://u.example/3", withdrawal=REMOVED)
PAGE = CachedPage(Project("my-demo", (ONE, TWO), ("1.0", "2.0"), index="remote"), withdrawn=(THREE,))


def events(settings: Settings) -> list[dict[str, str]]:
    """The audit log."""
    if not settings.audit_file.exists():
        return []
    return [json.loads(line) for line in settings.audit_file.read_text().splitlines()]


async def test_a_project_is_forgotten(reactor: Any, settings: Settings) -> None:
    """
    All that is remembered of one project goes, its pinned digests too, and of no other; the audit log says who did it,
    and what the digests were.
    """
    store = open_store(settings, reactor)
    await store.start()
    try:
        await store.pages.put("remote", "my-demo", PAGE)
        await store.pages.put("remote", "other", evolve(PAGE, project=Project("other", index="remote")))
        # Any spelling of the name is the name.
        assert await execute(reactor, settings, "upstream", "forget", "My.Demo") == (
            "Forgot upstream's project my-demo: 2 files offered, 1 of them pinned, and 1 withheld. The next request "
            "takes what upstream lists as first seen.\n"
        )
        assert await store.pages.get("remote", "my-demo") is None
        assert await store.pages.get("remote", "other") is not None
    finally:
        await store.stop()
    noted = events(settings)
    assert {(event["action"], event["project"]) for event in noted} == {("upstream.forgotten", "my-demo")}
    assert all(event["who"] and event["at"].endswith("Z") for event in noted)
    assert [(event.get("filename"), event.get("digest"), event["detail"]) for event in noted] == [
        (None, None, "by hand"),
        (TWO.filename, "2" * 64, "it was pinned"),
        (THREE.filename, "md5-" + "3" * 32, "it was withheld"),
    ]


async def test_a_deleted_project_is_forgotten(reactor: Any, settings: Settings) -> None:
    """Of one that upstream has deleted, its withheld files are all that is remembered."""
    store = open_store(settings, reactor)
    await store.start()
    try:
        await store.pages.put("remote", "my-demo", CachedPage(None, withdrawn=(ONE, THREE)))
        said = await execute(reactor, settings, "upstream", "forget", "my-demo")
        assert "0 files offered, 0 of them pinned, and 2 withheld" in said
        assert await store.pages.get("remote", "my-demo") is None
    finally:
        await store.stop()


async def test_what_is_not_remembered_cannot_be_forgotten(reactor: Any, settings: Settings) -> None:
    """A slip in the name changes nothing, and is no event."""
    with pytest.raises(NotFound, match="Nothing is remembered of upstream's project my-demo"):
        await execute(reactor, settings, "upstream", "forget", "my-demo")
    assert events(settings) == []


async def test_nothing_is_forgotten_that_nobody_could_ask_for(reactor: Any, settings: Settings) -> None:
    """Where OFFLINE is set, what is remembered is all there is."""
    store = open_store(settings, reactor)
    await store.start()
    try:
        await store.pages.put("remote", "my-demo", PAGE)
        with pytest.raises(Invalid, match="OFFLINE"):
            await execute(reactor, evolve(settings, offline=True), "upstream", "forget", "my-demo")
        assert await store.pages.get("remote", "my-demo") is not None
    finally:
        await store.stop()
    assert events(settings) == []


async def test_nothing_is_forgotten_that_is_not_noted(reactor: Any, settings: Settings) -> None:
    """An audit log that cannot be written stops it: the digests would be lost for good."""
    settings = evolve(settings, audit_log=settings.data_dir / "file" / "audit.jsonl")
    (settings.data_dir / "file").write_text("no folder")
    store = open_store(settings, reactor)
    await store.start()
    try:
        await store.pages.put("remote", "my-demo", PAGE)
        with pytest.raises(CheddarError):
            await execute(reactor, settings, "upstream", "forget", "my-demo")
        assert await store.pages.get("remote", "my-demo") is not None
    finally:
        await store.stop()


async def test_a_name_of_the_local_index(reactor: Any, settings: Settings) -> None:
    """Upstream is not asked for it, so the command says that nothing comes of it."""
    store = open_store(settings, reactor)
    await store.start()
    try:
        local = File("my_demo-9.tar.gz", "9", size=1, digests={"sha256": "9" * 64}, key="releases/my-demo/9/x")
        await store.projects.add_file("my-demo", "my-demo", local, True)
        await store.pages.put("remote", "my-demo", PAGE)
        said = await execute(reactor, settings, "upstream", "forget", "my-demo")
        assert said.endswith("The name my-demo belongs to the local index: upstream is not asked for it.\n")
        assert await store.projects.project("my-demo") is not None
    finally:
        await store.stop()
