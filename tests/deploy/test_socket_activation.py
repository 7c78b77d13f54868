"""Under systemd: the socket is handed over, and systemd is told what happens."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.server import ask, free_port

TWISTD = Path(sys.executable).parent / "twistd"


@pytest.mark.deadline(60)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_handed_over_socket_is_served_and_systemd_is_told(tmp_path: Path, workers: int) -> None:
    """
    The first connection is answered, READY and WATCHDOG are sent, and STOPPING before the end: the same by one process
    and by one that watches over several.
    """
    activate = shutil.which("systemd-socket-activate")
    assert activate, "systemd-socket-activate is needed to hand a socket over: install the package systemd"
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        passed_on = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "300000",
            "CHEDDAR_INDEX_URL": "",
            "PATH": os.environ["PATH"],
        }
        command = [str(TWISTD), "--nodaemon", "--pidfile=", "cheddar", "--listen", "systemd:domain=INET:name=http"]
        with (tmp_path / "log").open("w+") as log:
            process = subprocess.Popen(
                [
                    *(activate, "--fdname=http", f"--listen=127.0.0.1:{port}"),
                    *(f"--setenv={name}={value}" for name, value in passed_on.items()),
                    *(*command, "--data-dir", "data", "--workers", str(workers)),
                ],
                cwd=tmp_path,
                stdout=log,
                stderr=log,
            )
            try:
                _wait_for_listener(port, process)
                assert ask(port, "GET", "/health/live").status == 200
                messages = [manager.recv(4096).decode() for _ in range(4)]
                assert sum(message.startswith("READY=1\n") for message in messages) == 1
                assert messages.count("WATCHDOG=1") == 3
                process.send_signal(signal.SIGTERM)
                while messages[-1] != "STOPPING=1":
                    messages.append(manager.recv(4096).decode())
                # twistd ends itself by the signal that it was stopped with, once all is in order.
                assert process.wait(15) == -signal.SIGTERM
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            assert "Traceback" not in (tmp_path / "log").read_text()


def _wait_for_listener(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until the port is open, by the kernel's own list: a connection would already start the service."""
    wanted = f"0100007F:{port:04X} 00000000:0000 0A"
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        if wanted in Path("/proc/net/tcp").read_text():
            return
        time.sleep(0.02)
    raise AssertionError("systemd-socket-activate does not listen")
