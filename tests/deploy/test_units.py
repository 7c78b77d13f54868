"""The systemd units, judged by systemd's own tools."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
