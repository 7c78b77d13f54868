"""What a run ran on, and with."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from cheddar import __version__
from tests.support.clients import REQUIREMENTS
from tests.support.redis import server_executable
from tests.support.server import ROOT

#: The packages that are the most of a Cheddar's speed.
_PARTS = ("Twisted", "klein")
_PEERS = {"devpi-server": ("devpi-server",), "pypiserver": ("pypiserver", "gunicorn"), "proxpi": ("proxpi", "gunicorn")}


def machine() -> dict[str, str]:
    """Processor, memory, system; nothing that names the machine."""
    processor = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor[1] if processor else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "system": f"Linux {platform.release().partition('-')[0]}",
        "load": f"load {os.getloadavg()[0]:.1f} before",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def versions() -> dict[str, str]:
    """Of all that was run."""
    found = {"cheddar": f"{__version__}{_commit()}", **{part: version(part) for part in _PARTS}}
    for peer, packages in _PEERS.items():
        found[peer] = " with ".join(
            _installed(peer, package) if package == peer else f"{package} {_installed(peer, package)}"
            for package in packages
        )
    found["nginx"] = _said(["nginx", "-v"]).rpartition("/")[2]
    found["wrk"] = _said(["wrk", "-v"]).split("[")[0].removeprefix("wrk").strip()
    redis = re.search(r"v=(\S+)", _said([server_executable(), "--version"]))
    found["redis"] = redis[1] if redis else "?"
    for client in ("uv", "pip"):
        found[client] = REQUIREMENTS[client][0].partition("==")[2]
    return found


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return f" ({done.stdout.strip()})" if done.returncode == 0 else ""


def _installed(peer: str, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return _said([str(ROOT / ".bench" / peer / "bin" / "python"), "-c", code])


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return ((done.stdout or "") + (done.stderr or "")).strip().splitlines()[0] if done.stdout or done.stderr else "?"
