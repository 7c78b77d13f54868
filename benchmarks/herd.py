"""
How soon many clients who want the same wheel at once have its first byte: directly, and through a Cheddar that has not
got it yet::

    python -m benchmarks.herd --rounds 7 --latency 0.05 --latency 0.1
    python -m benchmarks.herd --whole

The ways take turns; what is printed is the median over all clients and rounds, in milliseconds, and how many times as
long it takes through Cheddar. With C{--whole} every client takes all of the wheel through a cold Cheddar, once, and
compares every byte: how long it takes and how much memory it costs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from attrs import frozen

from benchmarks.resolve import cheddar
from tests.support.distributions import make_wheel
from tests.support.herd import herd
from tests.support.server import JSON, ROOT, CheddarProcess, ask

MIB = 1024 * 1024


@frozen
class Big:
    """
    An upstream with one wheel.

    @ivar wheel: the wheel's file.
    """

    index: str
    wheel: Path


@contextmanager
def upstream(size: int, latency: float) -> Iterator[Big]:
    """One in a process of its own, which answers a request for the wheel after C{latency} seconds."""
    with TemporaryDirectory() as folder:
        filename, content = make_wheel("big", "1.0", size=size)
        wheel = Path(folder) / filename
        wheel.write_bytes(content)
        command = [sys.executable, "-m", "tests.support.upstream", "--dir", folder, "--delay", str(latency)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            try:
                yield Big(process.stdout.readline().strip(), wheel)
            finally:
                process.terminate()


def address(server: CheddarProcess) -> str:
    """Where the wheel is; its page is known now."""
    (file,) = ask(server.port, "GET", "/simple/big/", headers={"Accept": JSON}).json()["files"]
    return f"http://127.0.0.1:{server.port}/{file['url'].removeprefix('../../')}"


def first_bytes(big: Big, rounds: int, clients: int) -> tuple[float, float]:
    """Seconds until a client has its first byte, directly and through a cold Cheddar."""
    direct, cold = [], []
    for _ in range(rounds):
        with cheddar(big.index) as server:
            through = address(server)
            # Upstream's own work for so many would fall on whoever comes next.
            time.sleep(1)
            cold += herd(through, clients, big.wheel, leaving=True).first
        time.sleep(1)
        direct += herd(
            big.index.replace("/simple/", f"/files/{big.wheel.name}"), clients, big.wheel, leaving=True
        ).first
    return median(direct), median(cold)


def whole(big: Big, clients: int) -> str:
    """A row of the table: everybody takes everything."""
    with cheddar(big.index) as server:
        idle = server.memory()
        became = herd(address(server), clients, big.wheel)
        assert became.right == clients, became.wrong
        more = (server.memory() - idle) / MIB
    size = big.wheel.stat().st_size / 1e6
    return f"| {clients} | {size:.0f} MB | {became.seconds:.1f} | {clients * size / became.seconds:.0f} | {more:.0f} |"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clients", type=int, action="append")
    parser.add_argument("--size", type=int, default=200_000_000, help="bytes of the wheel")
    parser.add_argument("--latency", type=float, action="append", help="seconds before upstream's answer")
    parser.add_argument("--whole", action="store_true", help="all of it, through Cheddar alone")
    arguments = parser.parse_args()
    clients = arguments.clients or [1, 200]
    if arguments.whole:
        print("| clients | wheel | seconds | MB/s | MiB more than when idle |\n|---|---|---|---|---|")
        with upstream(arguments.size, 0) as big:
            print(whole(big, max(clients)))
        return
    print("| upstream's latency | clients | direct | cold Cheddar | cold / direct |\n|---|---|---|---|---|")
    for latency in arguments.latency or (0.05, 0.1):
        with upstream(arguments.size, latency) as big:
            for number in clients:
                direct, cold = first_bytes(big, arguments.rounds, number)
                times = f"{direct * 1e3:.0f} | {cold * 1e3:.0f} | {cold / direct:.2f}"
                print(f"| {latency * 1e3:.0f} ms | {number} | {times} |", flush=True)


if __name__ == "__main__":
    main()
