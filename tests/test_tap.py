"""The two ways to run Cheddar under twistd: the plugin, and cheddar.tac."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IService
from twisted.logger import LogEvent, globalLogPublisher

from cheddar.settings import Settings
from cheddar.tap import Options, makeService
from tests.support.server import ask, free_port

ROOT = Path(__file__).parents[1]
TWISTD = Path(sys.executable).parent / "twistd"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start twistd with these arguments and environment; it is killed at the end if it still runs."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **environ: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CHEDDAR_")}
        process = subprocess.Popen(
            [str(TWISTD), "--nodaemon", "--pidfile=", *arguments],
            cwd=tmp_path,
            env={**kept, "CHEDDAR_INDEX_URL": "", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def answers(port: int, process: subprocess.Popen[str]) -> bool:
    """Wait until the server answers; False where the process ended first."""
    end = time.monotonic() + 15
    while time.monotonic() < end and process.poll() is None:
        try:
            return ask(port, "GET", "/health/live", timeout=2).status == 200
        except OSError:
            time.sleep(0.05)
    return False


def stopped(process: subprocess.Popen[str]) -> str:
    """Ask it to stop, insist that it ends in good order, and give what it printed."""
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=15)
    # twistd ends itself by the signal that it was stopped with, once all is in order.
    assert process.returncode == -signal.SIGTERM, printed
    assert "Traceback" not in printed
    return printed


def test_the_command_line_becomes_settings() -> None:
    """Each option sets its setting; --listen may be repeated; what is not given keeps its place."""
    options = Options({"CHEDDAR_HISTORY_SIZE": "7", "CHEDDAR_PORT": "1"})
    options.parseOptions(
        [
            *("-p", "8080", "--data-dir", "/data", "--index-url", "", "--redis", "unix:///run/redis.sock"),
            *("--listen", "tcp:1", "--listen=unix:/run/cheddar sock"),
        ]
    )
    assert options.loaded.settings == Settings(
        port=8080,
        data_dir=Path("/data"),
        index_url="",
        redis_url="unix:///run/redis.sock",
        listen=("tcp:1", "unix:/run/cheddar sock"),
        history_size=7,
    )


def test_a_settings_file_is_named_by_option(tmp_path: Path) -> None:
    """--settings names the file; an option overrides it."""
    file = tmp_path / "cheddar.toml"
    file.write_text("port = 1\nhistory_size = 2\n")
    options = Options({})
    options.parseOptions(["--settings", str(file), "--port", "3"])
    assert (options.loaded.settings.port, options.loaded.settings.history_size) == (3, 2)


def test_a_service_is_made_and_warnings_are_logged(tmp_path: Path) -> None:
    """What was passed over in the environment is said in the log, once, at the start."""
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        options = Options({"CHEDDAR_PROT": "1"})
        options.parseOptions(["--data-dir", str(tmp_path)])
        service: Any = makeService(options)
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert IService.providedBy(service)
    warnings = [str(event["warning"]) for event in events if "warning" in event]
    assert warnings == ["environment: unknown variable CHEDDAR_PROT; did you mean CHEDDAR_PORT?"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.deadline(60)
def test_plugin_and_tac_serve_the_same(start: Start, tmp_path: Path) -> None:
    """`twistd cheddar` by options and `twistd -y cheddar.tac` by the environment: both say how to use them."""
    for name in ("plugin", "tac"):
        port = free_port()
        listen, data, url = f"tcp:{port}:interface=127.0.0.1", f"{name}-data", f"http://localhost:{port}/"
        if name == "plugin":
            process = start("cheddar", "--listen", listen, "--data-dir", data, CHEDDAR_PUBLIC_URL=url)
        else:
            process = start(
                *("--python", str(ROOT / "cheddar.tac")),
                CHEDDAR_LISTEN=listen,
                CHEDDAR_DATA_DIR=data,
                CHEDDAR_PUBLIC_URL=url,
            )
        assert answers(port, process), process.communicate()[0]
        printed = stopped(process)
        assert f"pip install --index-url {url}simple/ NAME" in printed
        assert "user add NAME" in printed
        assert "cheddar.sqlite" in printed
        assert (tmp_path / data / "cheddar.sqlite").exists()


def test_wrong_settings_end_the_tac_with_one_line(start: Start) -> None:
    """A mistake in the environment is said as on the command line, and nothing starts."""
    process = start("--python", str(ROOT / "cheddar.tac"), CHEDDAR_PORT="http")
    printed, _ = process.communicate(timeout=15)
    assert process.returncode == 1
    assert (
        printed.splitlines()[-1] == "twistd cheddar: CHEDDAR_PORT: must be a whole number of 1 or more, and is 'http'"
    )
    assert "Traceback" not in printed
