"""The systemd units, judged by systemd's own tools."""

from __future__ import annotations

import http.client
import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.server import free_port
from tests.upstream.certificates import pem_for

DEPLOY = Path(__file__).parents[2] / "deploy"
COMMAND = "/opt/cheddar/bin/twistd"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Copies of the units, whose command is one that is installed here."""
    service = (DEPLOY / "cheddar.service").read_text()
    assert f"ExecStart={COMMAND} " in service
    (tmp_path / "cheddar.service").write_text(service.replace(COMMAND, str(Path(sys.executable).parent / "twistd")))
    shutil.copy(DEPLOY / "cheddar.socket", tmp_path)
    return tmp_path


def analyze(units: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is needed to judge the units: install the package systemd"
    return subprocess.run(
        [program, *arguments], cwd=units, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL
    )


def test_systemd_finds_no_mistake_in_the_units(units: Path) -> None:
    """Both units load without a complaint."""
    result = analyze(units, "verify", "--man=no", "./cheddar.service", "./cheddar.socket")
    assert (result.returncode, result.stdout + result.stderr) == (0, "")
    # The control: a mistake is found.
    service = units / "cheddar.service"
    service.write_text(service.read_text().replace("KillMode=mixed", "KillMode=fondue"))
    result = analyze(units, "verify", "--man=no", "./cheddar.service")
    assert "kill mode" in result.stdout + result.stderr


def test_the_service_is_confined(units: Path) -> None:
    """systemd's own measure of exposure is at most 1.5 of 10."""
    result = analyze(units, "security", "--offline=true", "--threshold=15", "--no-pager", "./cheddar.service")
    assert result.returncode == 0, result.stdout + result.stderr
    service = units / "cheddar.service"
    service.write_text(service.read_text().replace("ProtectSystem=strict\n", "").replace("DynamicUser=yes\n", ""))
    result = analyze(units, "security", "--offline=true", "--threshold=15", "--no-pager", "./cheddar.service")
    assert result.returncode != 0


def test_socket_and_service_agree() -> None:
    """The service listens on the socket by the name that the socket unit gives it, and drains before it is killed."""
    service = (DEPLOY / "cheddar.service").read_text().splitlines()
    socket = (DEPLOY / "cheddar.socket").read_text().splitlines()
    (start,) = [line for line in service if line.startswith("ExecStart=")]
    (name,) = [line.partition("=")[2] for line in socket if line.startswith("FileDescriptorName=")]
    assert f"--listen systemd:domain=INET6:name={name} " in start
    assert "Type=notify" in service
    assert "TimeoutStopSec=90" in service
    assert not [line for line in service if line.startswith("MemoryDenyWriteExecute")]


#: Puts on what the unit puts on a process and any process can put on itself, and becomes the command behind it.
CONFINED = """
import ctypes, os, resource, sys
prctl = ctypes.CDLL(None, use_errno=True).prctl
NO_NEW_PRIVILEGES, MEMORY_DENY_WRITE_EXECUTE = 38, 65
assert prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
os.umask(0o077)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
if sys.argv[1] == "mdwe":
    # Kernels before 6.3 do not know it.
    print("denied" if prctl(MEMORY_DENY_WRITE_EXECUTE, 1, 0, 0, 0) == 0 else "unknown", flush=True)
os.execv(sys.argv[2], sys.argv[2:])
"""


def serves_tls(tmp_path: Path, mode: str) -> tuple[bool, str]:
    """Start Cheddar in confinement, with an ssl: endpoint. @return: whether it answers there, and what it wrote."""
    pem, secret = pem_for("localhost")
    (tmp_path / "cert.pem").write_bytes(pem)
    (tmp_path / "key.pem").write_bytes(secret)
    port = free_port()
    endpoint = f"ssl:{port}:interface=127.0.0.1:privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    log = tmp_path / f"{mode}.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", CONFINED, mode, str(Path(sys.executable).parent / "twistd"), "--nodaemon"),
                *("--pidfile=", "cheddar", "--index-url", "", "--data-dir", str(tmp_path / mode), "--listen", endpoint),
            ],
            stdout=written,
            stderr=written,
            cwd=tmp_path,
        )
    trusting = ssl.create_default_context(cadata=pem.decode())
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end and process.poll() is None:
            try:
                connection = http.client.HTTPSConnection("localhost", port, context=trusting, timeout=5)
                connection.request("GET", "/health/live")
                return connection.getresponse().status == 200, log.read_text()
            except ConnectionRefusedError:
                time.sleep(0.1)
            except (OSError, http.client.HTTPException):
                return False, log.read_text()
        return False, log.read_text()
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.deadline(90)
def test_the_confined_service_speaks_tls(tmp_path: Path) -> None:
    """
    TLS works under what the unit asks for. With MemoryDenyWriteExecute, which it leaves out and says why, it would not:
    the TLS library makes its callbacks in memory that is written and then executed.
    """
    service = (DEPLOY / "cheddar.service").read_text()
    assert {"NoNewPrivileges=yes", "UMask=0077", "LimitCORE=0"} <= set(service.splitlines())
    assert "# MemoryDenyWriteExecute is absent on purpose" in service
    answers, log = serves_tls(tmp_path, "as-it-is")
    assert answers, log
    answers, log = serves_tls(tmp_path, "mdwe")
    assert answers is log.startswith("unknown"), log
