"""`cheddar rebuild`, in either store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cheddar.service import open_store
from cheddar.settings import Settings
from tests.cli.commands import execute
from tests.support.distributions import make_sdist, make_wheel


async def test_rebuild_lists_the_files_and_says_what_it_did(reactor: Any, settings: Settings) -> None:
    """Every file is listed again, what could not be read is named, and a second run says the same."""
    folder = settings.data_dir / "local" / "releases"
    folder.mkdir(parents=True)
    for name, content in (make_wheel("demo", "1.0"), make_sdist("demo", "1.10"), ("broken-1.0.tar.gz", b"broken")):
        (folder / name).write_bytes(content)
    printed = await execute(reactor, settings, "rebuild")
    assert printed.startswith("releases/broken-1.0.tar.gz: ")
    assert printed.endswith("\n3 files read, 2 listed, 0 duplicates, 1 not readable, 0 vanished.\n")
    assert await execute(reactor, settings, "rebuild") == printed
    store = open_store(settings, reactor)
    await store.start()
    try:
        project = await store.projects.project("demo")
        assert project is not None
        assert project.versions == ("1.0", "1.10")
    finally:
        await store.stop()


def test_a_bar_is_drawn_for_who_looks_and_for_nobody_else(tmp_path: Path) -> None:
    """On a terminal the progress is one line, written over and over; in a log there is none of it."""
    folder = tmp_path / "var" / "local" / "releases"
    folder.mkdir(parents=True)
    for version in ("1.0", "2.0"):
        name, content = make_wheel("demo", version)
        (folder / name).write_bytes(content)
    command = [str(Path(sys.executable).parent / "cheddar"), "--data-dir", "var", "rebuild"]
    terminal, other_end = os.openpty()
    try:
        done = subprocess.run(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=other_end, stdin=subprocess.DEVNULL, timeout=60
        )
        drawn = os.read(terminal, 10_000).decode()
    finally:
        os.close(terminal)
        os.close(other_end)
    assert done.returncode == 0
    assert [part.strip(" [#]") for part in drawn.rstrip().split("\r")] == [
        "",
        "0%  0 of 2 files",
        "50%  1 of 2 files",
        "100%  2 of 2 files",
    ]
    quiet = subprocess.run(command, cwd=tmp_path, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    assert (quiet.stdout, quiet.stderr) == (done.stdout, b"")
