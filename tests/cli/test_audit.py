"""The `cheddar audit` command, on each store; and that commands are noted themselves."""

from __future__ import annotations

import getpass
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from cheddar.errors import Invalid, NoRoom, NotFound
from cheddar.model import Event
from cheddar.service import open_store
from cheddar.settings import Settings
from tests.cli.commands import execute

NOW = datetime.now(timezone.utc)


async def test_what_is_shown(settings: Settings, reactor: Any) -> None:
    """The newest last, each in one line that cannot move the cursor; as the file has them with --json."""
    store = open_store(settings, reactor)
    await store.start()
    await store.events.add(
        [
            Event(action="upload", at=NOW - timedelta(days=3), project="old", who="ann"),
            Event(action="upload", at=NOW, project="demo", filename="demo-1.0.tar.gz", digest="ab" * 32, who="ann",
                  via="t1", address="10.0.0.7", outcome="refused", detail="no\x1b[2J\nfake line"),
            Event(action="upstream.removed", at=NOW, project="demo", who="public"),
        ]
    )  # fmt: skip
    await store.stop()
    shown = (await execute(reactor, settings, "audit")).splitlines()
    assert [line.split("  ")[1] for line in shown] == ["upload", "upload", "upstream.removed"]
    assert shown[1].split("  ")[2:] == [
        "demo demo-1.0.tar.gz", "by ann (t1)", "from 10.0.0.7", "sha256 abababababab", r"refused: no\x1b[2J\nfake line",
    ]  # fmt: skip
    for arguments, count in (
        (("--project", "Demo"), 2),
        (("--user", "ann"), 2),
        (("--user", "ann", "--since", "1d"), 1),
        (("--since", "2000-01-01"), 3),
        (("--action", "upstream"), 1),
        (("--outcome", "refused"), 1),
        (("--limit", "2"), 2),
    ):
        assert len((await execute(reactor, settings, "audit", *arguments)).splitlines()) == count, arguments
    (line,) = (await execute(reactor, settings, "audit", "--json", "--outcome", "refused")).splitlines()
    assert json.loads(line)["detail"] == "no\x1b[2J\nfake line"


@pytest.mark.parametrize("arguments", [("--since", "yesterday"), ("--limit", "0"), ("--limit", "x")])
async def test_what_cannot_be_read(settings: Settings, reactor: Any, arguments: tuple[str, ...]) -> None:
    """A mistake is named."""
    with pytest.raises(Invalid, match=arguments[0]):
        await execute(reactor, settings, "audit", *arguments)


async def test_commands_are_noted(settings: Settings, reactor: Any) -> None:
    """Who changes something by command is found again, and a command that was refused too."""
    await execute(reactor, settings, "user", "add", "ann", "--stdin", stdin="secret\n")
    with pytest.raises(NotFound):
        await execute(reactor, settings, "user", "remove", "bob")
    await execute(reactor, settings, "user", "list")
    lines = [json.loads(line) for line in settings.audit_file.read_text().splitlines()]
    assert [(line["action"], line.get("outcome", "done"), line["detail"][:3]) for line in lines] == [
        ("user.add", "begun", "ann"),
        ("user.add", "done", "ann"),
        ("user.remove", "begun", "bob"),
        ("user.remove", "refused", "the"),
    ]
    assert {(line["who"], line["address"]) for line in lines} == {(getpass.getuser(), "command")}
    assert "secret" not in settings.audit_file.read_text()


async def test_no_command_without_its_note(settings: Settings, reactor: Any) -> None:
    """Where nothing can be noted nothing is changed."""
    settings.audit_file.mkdir(parents=True)
    add = ("user", "add", "ann", "--stdin")
    with pytest.raises(NoRoom):
        await execute(reactor, settings, *add, stdin="secret\n")
    assert await execute(reactor, settings, "user", "list") == ""
    settings.audit_file.rmdir()
    await execute(reactor, settings, *add, stdin="secret\n")
    assert await execute(reactor, settings, "user", "list") == "ann\n"
