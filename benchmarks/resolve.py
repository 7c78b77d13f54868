"""
How long resolving a real application's tree takes: directly, through a Cheddar that has seen nothing yet, and through
one that is in use::

    python benchmarks/resolve.py --rounds 3 --latency 0 --latency 0.1
    python benchmarks/resolve.py --rounds 3 --public

The upstream has no core metadata beside its files, as many indexes and mirrors have none: a client has to read a part
of each wheel, or all of it. Clients start without any cache. The ways take turns, so that what else the machine does
falls on all of them; what is printed is the median in seconds, and how many times faster the way through Cheddar is.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

from attrs import define, field

from benchmarks.upstream import tree
from cheddar.settings import public_index
from tests.support.clients import environment, output, run
from tests.support.server import JSON, ROOT, CheddarProcess, ask

#: Seconds after which Cheddar is taken for idle when nothing has changed, and the most that is waited for.
QUIET = 4.0
PATIENCE = 180.0

Resolve = Callable[[str, Path], "CompletedProcess[str]"]


def uv(index: str, home: Path) -> CompletedProcess[str]:
    """uv, without any cache."""
    (home / "requirements.in").write_text("\n".join(tree()["roots"]))
    return run(
        "uv", "pip", "compile", "--no-cache", "--python", str(environment("uv") / "python"), "--default-index", index,
        "requirements.in", home=home,
    )  # fmt: skip


def pip(index: str, home: Path) -> CompletedProcess[str]:
    """pip, without any cache."""
    return run(
        "pip", "--isolated", "install", "--dry-run", "--ignore-installed", "--no-cache-dir", "--index-url", index,
        *tree()["roots"], home=home,
    )  # fmt: skip


CLIENTS: dict[str, Resolve] = {"uv pip compile": uv, "pip install --dry-run": pip}


@define
class Times:
    """Seconds by way, one for each round."""

    direct: list[float] = field(factory=list)
    cold: list[float] = field(factory=list)
    warm: list[float] = field(factory=list)


def timed(resolve: Resolve, index: str) -> float:
    """Seconds that a client takes, which is to find all projects."""
    with TemporaryDirectory() as home:
        began = time.monotonic()
        done = resolve(index, Path(home))
        took = time.monotonic() - began
    assert done.returncode == 0, output(done)
    found = [name for name in tree()["projects"] if name in done.stdout.lower().replace("_", "-").replace(".", "-")]
    assert len(found) > 0.9 * len(tree()["projects"]), output(done)
    return took


@contextmanager
def generated(latency: float, *options: str) -> Iterator[str]:
    """The generated upstream, with further options of L{benchmarks.upstream}. @return: its address."""
    command = [sys.executable, "-m", "benchmarks.upstream", "--latency", str(latency), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def cheddar(upstream: str) -> Iterator[CheddarProcess]:
    """A Cheddar that has seen nothing yet."""
    with TemporaryDirectory() as folder:
        server = CheddarProcess(Path(folder) / "data", options=("--index-url", upstream)).start()
        try:
            yield server
        finally:
            server.stop()


def settle(port: int) -> None:
    """Wait until the Cheddar at C{port} has made what core metadata it makes by itself."""
    end = time.monotonic() + PATIENCE
    before, since = -1, 0.0
    while time.monotonic() < end:
        now = sum(
            "core-metadata" in file
            for name in tree()["projects"]
            for file in ask(port, "GET", f"/simple/{name}/", headers={"Accept": JSON}).json()["files"]
        )
        if now != before:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > QUIET:
            return
        time.sleep(1)


def measure(upstream: str, rounds: int, chosen: Sequence[str]) -> dict[str, Times]:
    """Let the ways take turns."""
    times = {name: Times() for name in chosen}
    for number in range(rounds):
        for name in chosen:
            resolve = CLIENTS[name]
            times[name].direct.append(timed(resolve, upstream))
            with cheddar(upstream) as server:
                index = f"{server.url}simple/"
                times[name].cold.append(timed(resolve, index))
                settle(server.port)
                times[name].warm.append(timed(resolve, index))
            last = [f"{kind[-1]:.2f}" for kind in (times[name].direct, times[name].cold, times[name].warm)]
            print(f"round {number + 1}, {name}: {' '.join(last)}", file=sys.stderr)
    return times


def rows(upstream: str, times: dict[str, Times]) -> Iterator[str]:
    """Lines of the table."""
    for name, measured in times.items():
        direct, cold, warm = median(measured.direct), median(measured.cold), median(measured.warm)
        yield (
            f"| {upstream} | `{name}` | {direct:.2f} | {cold:.2f} | {warm:.2f} | {direct / cold:.1f} "
            f"| {direct / warm:.1f} |"
        )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, action="append", help="seconds before each of upstream's answers")
    parser.add_argument("--public", action="store_true", help="the public index is the upstream")
    parser.add_argument("--client", choices=CLIENTS, action="append", help="one of these alone")
    arguments = parser.parse_args()
    chosen = arguments.client or list(CLIENTS)
    lines = []
    for latency in () if arguments.public else arguments.latency or (0.0, 0.1):
        with generated(latency) as upstream:
            lines += rows(f"generated, {latency * 1000:.0f} ms", measure(upstream, arguments.rounds, chosen))
    if arguments.public:
        lines += rows("public", measure(public_index(), arguments.rounds, chosen))
    recorded = tree()
    print(
        f"{' + '.join(recorded['roots'])}: {len(recorded['projects'])} projects, {arguments.rounds} rounds, seconds\n"
    )
    print("| upstream | client | direct | cold Cheddar | warm Cheddar | direct / cold | direct / warm |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
