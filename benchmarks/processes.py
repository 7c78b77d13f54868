"""What a server's processes take, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def family(pids: Iterable[int]) -> Iterator[int]:
    """Processes, and all that come of them."""
    for pid in pids:
        yield pid
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                yield from family(int(child) for child in (task / "children").read_text().split())


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of processes and their living descendants, and of those that were waited for; seconds."""
    ticks = 0
    for pid in family(pids):
        with suppress(OSError):
            ticks += sum(int(field) for field in _stat(pid)[11:15])
    return ticks / _TICKS


def _stat(pid: int) -> list[str]:
    # The name of the program, in brackets, may have anything in it.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def resident(pids: Iterable[int]) -> int:
    """Memory in bytes; what processes share is counted once (PSS)."""
    return sum(_kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in family(pids)) * 1024


def peak(pids: Iterable[int]) -> int:
    """The most resident memory since L{forget_peak}, in bytes; what processes share is counted for each."""
    return sum(_kilobytes(Path(f"/proc/{pid}/status"), "VmHWM:") for pid in family(pids)) * 1024


def forget_peak(pids: Iterable[int]) -> None:
    """Let the peak begin anew."""
    for pid in family(pids):
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def _kilobytes(file: Path, key: str) -> int:
    with suppress(OSError):
        for line in file.read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1])
    return 0
