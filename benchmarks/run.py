"""
The whole comparison: Cheddar, nginx, devpi-server, pypiserver and proxpi, on loopback, in one run::

    python -m benchmarks.run --quick
    python -m benchmarks.run --part pages --part files --docs docs

C{make bench} installs what it needs, and runs it. Raw results go to C{.bench/results.json}, a table and plots to
C{.bench/report}; with C{--docs} to that folder.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from attrs import evolve

from benchmarks import files, growth, machine, pages, report, resolving, uploads
from benchmarks.asking import Wrong
from benchmarks.cheddars import Cheddar, CheddarOnRedis, TwoCheddars, takes_workers
from benchmarks.content import make_index
from benchmarks.nginx import CachingNginx, StaticNginx, Upstream
from benchmarks.peers import BENCH, Devpi, Proxpi, Pypiserver
from benchmarks.results import Results
from benchmarks.servers import Server
from benchmarks.turns import FULL, QUICK, Turns

#: Seconds between what was set up and what is measured first.
_SETTLING = 5.0

PARTS = ("pages", "files", "uploads", "starts", "growth", "resolving")


def compared(folder: Path, index: str, root: Path) -> list[Server]:
    """All that are measured beside each other."""
    servers: list[Server] = [Cheddar(folder / "cheddar", index), CheddarOnRedis(folder / "cheddar-redis", index)]
    if takes_workers():
        servers.append(TwoCheddars(folder / "cheddar-workers", index))
    return [
        *servers,
        StaticNginx(folder / "nginx-static", index, root),
        CachingNginx(folder / "nginx-cache", index),
        Devpi(folder / "devpi", index),
        Pypiserver(folder / "pypiserver", index),
        Proxpi(folder / "proxpi", index),
    ]


def started(servers: list[Server], turns: Turns, running: ExitStack, root: Path) -> list[Server]:
    """Start them. @return: those that serve."""
    serving = []
    for server in servers:
        if isinstance(server, Pypiserver):
            server.folder.mkdir(parents=True)
            files.offer(server, root)
        try:
            seconds = server.start()
        except Wrong as error:
            turns.results.note("all", server.name, str(error))
            turns.say(str(error))
        else:
            running.callback(server.close)
            turns.say(f"{server.name} serves after {seconds:.1f} s")
            serving.append(server)
    return serving


def beside(parts: list[str], turns: Turns, folder: Path, root: Path) -> None:
    """The parts in which all servers stand side by side."""
    with ExitStack() as running:
        upstream = Upstream(folder / "upstream", "", root)
        upstream.start()
        running.callback(upstream.stop)
        servers = started(compared(folder, upstream.simple, root), turns, running, root)
        uploads.release_with_description([server for server in servers if isinstance(server, Cheddar)])
        # Where the metadata is makes little difference to files, and so does how many processes there are.
        others = (CheddarOnRedis, TwoCheddars) if turns.extent.quick else ()
        fewer = [server for server in servers if not isinstance(server, others)]
        # As long after the last change as servers mostly are.
        time.sleep(_SETTLING)
        run: Mapping[str, Callable[[], None]] = {
            "pages": lambda: pages.run(turns, servers),
            "files": lambda: files.run(turns, fewer, upstream),
            "uploads": lambda: uploads.run(turns, fewer),
            "starts": lambda: growth.starts(turns, fewer),
        }
        for part in parts:
            if part in run:
                run[part]()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look at it, in less than five minutes")
    parser.add_argument("--part", action="append", choices=PARTS, help="this part alone; may be repeated")
    parser.add_argument("--rounds", type=int, help="turns of each server")
    parser.add_argument("--docs", type=Path, default=BENCH / "report", help="where the table and the plots go")
    arguments = parser.parse_args()
    parts = arguments.part or list(PARTS)
    extent = QUICK if arguments.quick else FULL
    if arguments.rounds:
        extent = evolve(extent, rounds=arguments.rounds)
    # What it has started is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    began = time.monotonic()
    results = Results(machine.machine(), machine.versions(), arguments.quick)
    turns = Turns(results, extent)
    content = BENCH / "content"
    make_index(content / "index")
    folder = BENCH / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        if {"pages", "files", "uploads", "starts"} & set(parts):
            beside(parts, turns, folder, content / "index")
        if "growth" in parts:
            growth.run(turns, folder)
        if "resolving" in parts:
            resolving.run_all(turns, content, folder)
    finally:
        results.seconds = round(time.monotonic() - began, 1)
        results.save(BENCH / "results.json")
        shutil.rmtree(folder, ignore_errors=True)
    print(report.write(results, arguments.docs), file=sys.stdout)


if __name__ == "__main__":
    main()
