"""What is large keeps nobody waiting who asks for something small."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

import pytest

from cheddar.formats.records import dump_file
from cheddar.model import File
from tests.support.distributions import make_wheel
from tests.support.server import JSON, ROOT, CheddarProcess, ask, basic, free_port, upload_form
from tests.support.stepping import BLOCK

FILES = 10_000
#: Seconds: three times what one step may take.
LONGEST = 3 * 0.02
HTML = "application/vnd.pypi.simple.v1+html"
PATIENCE = 60.0


def add_rows(data: Path) -> None:
    """Give the store a project of many files, as many uploads would have: all in one transaction."""

    def row(number: int) -> tuple[str, str, str, str]:
        version = f"{number // 20}.{number % 20}"
        digest = sha256(version.encode()).hexdigest()
        file = File(
            filename=f"huge-{version}-py3-none-any.whl",
            version=version,
            size=number,
            digests={"sha256": digest},
            upload_time=datetime(2026, 1, 1, tzinfo=timezone.utc),
            requires_python=">=3.8",
            core_metadata={"sha256": digest},
            key=f"releases/huge/huge-{version}-py3-none-any.whl",
        )
        return "huge", file.filename, version, dump_file(file)

    with sqlite3.connect(data / "cheddar.sqlite") as connection:
        connection.execute("UPDATE serial SET value = 1")
        connection.execute("INSERT INTO projects (name, display_name, serial) VALUES ('huge', 'huge', 1)")
        connection.executemany("INSERT INTO files VALUES (?, ?, ?, ?)", map(row, range(FILES)))
    connection.close()


class Watched:
    """A Cheddar whose reactor is watched, with a user and a huge project."""

    def __init__(self, folder: Path) -> None:
        made = CheddarProcess(folder / "data", port=free_port())
        made.add_user()
        add_rows(made.data_dir)
        self.port = made.port
        self._file = folder / "longest"
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.support.stepping", str(self._file), "--nodaemon", "--pidfile="),
                    *("cheddar", "--index-url", "", "--data-dir", str(made.data_dir)),
                    *("--listen", f"tcp:{self.port}:interface=127.0.0.1"),
                ],
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
        self._until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return ask(self.port, "GET", "/health/live").status == 200
        except OSError:
            return False

    def _until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.02)

    def block(self) -> None:
        """The control: keep the reactor from its work."""
        self._process.send_signal(signal.SIGUSR1)

    def longest(self) -> dict[str, float]:
        """What was longest since the last time, in seconds."""
        self._file.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR2)
        self._until(self._file.exists)
        found: dict[str, float] = json.loads(self._file.read_text())
        return found

    def publish(self, name: str, version: str, size: int = 0) -> None:
        """Upload a wheel."""
        body, content_type = upload_form(*make_wheel(name, version, size=size))
        headers = {"Content-Type": content_type, "Authorization": basic()}
        answer = ask(self.port, "POST", "/pypi/", body, headers, PATIENCE)
        assert answer.status == 200, answer.body

    def read(self, path: str, accept: str, *, compressed: bool = False) -> int:
        """Ask for a page. @return: its length as it came."""
        headers = {"Accept": accept, "Accept-Encoding": "gzip" if compressed else "identity"}
        answer = ask(self.port, "GET", path, headers=headers, timeout=PATIENCE)
        assert answer.status == 200
        assert ("content-encoding" in answer.headers) == compressed
        return len(answer.body)

    def end(self) -> None:
        """Stop it, and wait."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()


@pytest.mark.deadline(180)
def test_no_step_keeps_others_waiting(tmp_path: Path) -> None:
    """
    While the page of 10,000 files is rendered anew in every format, plain and compressed, and a large upload goes
    through, no step on the reactor takes longer than 20 ms (three times that here), and no thread holds it up for so
    long.
    """
    watched = Watched(tmp_path)
    try:
        watched.longest()
        watched.block()
        seen, end = {"cpu": 0.0, "held": 0.0}, time.monotonic() + PATIENCE
        while min(seen.values()) <= 0.8 * BLOCK and time.monotonic() < end:
            time.sleep(2 * BLOCK)
            found = watched.longest()
            seen = {name: max(seen[name], found[name]) for name in seen}
        assert min(seen["cpu"], seen["held"]) > 0.8 * BLOCK
        rounds = []
        for number in range(3):
            # The project has changed: nothing that was rendered is good any more.
            watched.publish("huge", f"{FILES + number}.0")
            for accept in (JSON, HTML):
                assert watched.read("/simple/huge/", accept) > FILES * 100
                assert watched.read("/simple/huge/", accept, compressed=True) > FILES * 10
            for path in ("/pypi/huge/json", "/project/huge/"):
                assert watched.read(path, "*/*", compressed=True) > 1000
            watched.publish("large", f"{number}.0", size=70_000_000)
            rounds.append(watched.longest())
        print(*rounds, sep="\n")
        assert sorted(each["cpu"] for each in rounds)[1] < LONGEST, rounds
        # A busy machine can hold up one round in ways that look like this; a step that is too long does so in each.
        assert min(each["held"] for each in rounds) < LONGEST, rounds
    finally:
        watched.end()
