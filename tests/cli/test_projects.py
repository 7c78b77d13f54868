"""`cheddar project`, in either store."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from attrs import evolve

from cheddar.errors import Invalid, NotFound
from cheddar.model import File, Selector
from cheddar.service import open_store
from cheddar.settings import Settings
from tests.cli.commands import execute

FILE = File(
    "my_demo-1.10.tar.gz",
    "1.10",
    size=1,
    digests={"sha256": "0" * 64},
    upload_time=datetime(2026, 1, 1, tzinfo=timezone.utc),
    key="releases/my-demo/0/my_demo-1.10.tar.gz",
)


async def test_a_name_is_kept_until_it_is_released(reactor: Any, settings: Settings) -> None:
    """A project's name stays the local index's after its last file went; `release` frees it, and no sooner."""
    store = open_store(settings, reactor)
    await store.start()
    try:
        await store.projects.add_file("my-demo", "My.Demo", FILE, True)
        assert await execute(reactor, settings, "project", "list") == "my-demo\n"
        with pytest.raises(Invalid):
            await execute(reactor, settings, "project", "release", "my-demo")
        await store.projects.remove_files("my-demo", Selector("1.10"))
        assert await execute(reactor, settings, "project", "list") == "my-demo (no files; the name is kept)\n"
        # Any spelling of the name is the name.
        released = await execute(reactor, settings, "project", "release", "My.Demo")
        assert released == (
            "Released the name my-demo: the remote index may offer a project of that name from now on.\n"
        )
        assert await execute(reactor, settings, "project", "list") == ""
        with pytest.raises(NotFound):
            await execute(reactor, settings, "project", "release", "my-demo")
    finally:
        await store.stop()


async def test_a_reserved_name_that_is_released(reactor: Any, settings: Settings) -> None:
    """Where the name is reserved, `release` does not say that upstream comes into its place: it does not."""
    settings = evolve(settings, reserved_names=("my-*",))
    store = open_store(settings, reactor)
    await store.start()
    try:
        await store.projects.add_file("my-demo", "My.Demo", FILE, True)
        await store.projects.remove_files("my-demo", Selector("1.10"))
    finally:
        await store.stop()
    said = await execute(reactor, settings, "project", "release", "my-demo")
    assert said == "Released the name my-demo: it is reserved, so that upstream is not asked for it all the same.\n"


@pytest.mark.parametrize(
    ("command", "status"),
    [("archive", "archived"), ("deprecate", "deprecated"), ("quarantine", "quarantined")],
)
async def test_a_project_has_a_status(reactor: Any, settings: Settings, command: str, status: str) -> None:
    """`archive`, `deprecate` and `quarantine` mark a project, with a reason or without; `activate` takes it back."""
    store = open_store(settings, reactor)
    await store.start()
    try:
        with pytest.raises(NotFound):
            await execute(reactor, settings, "project", command, "my-demo")
        await store.projects.add_file("my-demo", "My.Demo", FILE, True)
        for arguments in (("My.Demo", "--reason", "moved  away"), ("--reason", "moved away", "my-demo")):
            assert status in await execute(reactor, settings, "project", command, *arguments)
            project = await store.projects.project("my-demo")
            assert project is not None
            assert (project.status, project.status_reason) == (status, "moved away")
        assert await execute(reactor, settings, "project", "list") == f"my-demo ({status}: moved away)\n"
        await execute(reactor, settings, "project", command, "my-demo")
        project = await store.projects.project("my-demo")
        assert project is not None
        assert (project.status, project.status_reason) == (status, None)
        await execute(reactor, settings, "project", "activate", "my-demo")
        assert await execute(reactor, settings, "project", "list") == "my-demo\n"
    finally:
        await store.stop()
