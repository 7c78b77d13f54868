"""wrk: many requests on kept connections, and what it says of them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping

from attrs import frozen

_TIMES = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}
_SIZES = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}

#: Seconds after which wrk gives a request up.
TIMEOUT = 60


class WrkFailed(Exception):
    """Answers were errors, or there were none: what was measured is not what was meant."""


@frozen
class Load:
    """
    What came of a run.

    @ivar requests: answers. @ivar seconds: it took. @ivar size: bytes that came.
    @ivar p50: the median latency. @ivar p99: that of the slowest hundredth; both in milliseconds.
    @ivar failures: answers that were errors, and connections that broke.
    """

    requests: int
    seconds: float
    size: int
    p50: float
    p99: float
    failures: int = 0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds

    @property
    def bandwidth(self) -> float:
        """Megabytes a second."""
        return self.size / self.seconds / 1e6


def parse(text: str) -> Load:
    """Read what wrk printed. [WrkFailed]"""
    done = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m), ([\d.]+)([KMGT]?B) read", text)
    if done is None:
        raise WrkFailed(f"wrk did not say what it has done:\n{text}")
    failures = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    if errors is not None:
        failures += sum(map(int, errors.groups()))
    return Load(
        requests=int(done[1]),
        seconds=float(done[2]) * _TIMES[done[3]] / 1e3,
        size=int(float(done[4]) * _SIZES[done[5]]),
        p50=_percentile(text, 50),
        p99=_percentile(text, 99),
        failures=failures,
    )


def _percentile(text: str, percent: int) -> float:
    found = re.search(rf"^\s*{percent}(?:\.0+)?%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    return 0.0 if found is None else float(found[1]) * _TIMES[found[2]]


def run(url: str, connections: int, seconds: float, headers: Mapping[str, str]) -> Load:
    """Ask for C{url} as fast as answers come, on so many connections. [WrkFailed: an error among the answers]"""
    asked = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    command = [
        *("wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{max(1, round(seconds))}s"),
        *("--timeout", f"{TIMEOUT}s", "--latency", *asked, url),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 2 * TIMEOUT)
    if done.returncode != 0:
        raise WrkFailed(f"wrk {url}: {done.stderr or done.stdout}")
    load = parse(done.stdout)
    if load.failures:
        raise WrkFailed(f"{load.failures} of {load.requests} answers of {url} were errors, or broke off.")
    return load
