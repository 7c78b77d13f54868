"""Turns: in every round each server is measured once, so that what else the machine does falls on all of them."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterable, Mapping

from attrs import define, frozen

from benchmarks import wrk
from benchmarks.asking import Wrong
from benchmarks.results import Results
from benchmarks.servers import Server

#: What is measured of one server in one round: figures by metric. [Wrong]
Measure = Callable[[Server, int], Mapping[str, float]]

#: A request that takes longer than this, in seconds, is asked for on few connections: a run has an end.
_SLOW = 0.1
_FEW = 2

MIB = 1024 * 1024


@frozen
class Extent:
    """
    How much is measured.

    @ivar rounds: turns of each server. @ivar few: of them where a turn takes long.
    @ivar seconds: of load in each turn. @ivar longest: of load where answers are slow.
    @ivar quick: the short run: fewer cases too.
    """

    rounds: int
    few: int
    seconds: float
    longest: float
    quick: bool


FULL = Extent(rounds=3, few=3, seconds=2, longest=10, quick=False)
QUICK = Extent(rounds=2, few=1, seconds=1, longest=3, quick=True)


@define
class Turns:
    """Lets the servers take turns, and notes what comes of it."""

    results: Results
    extent: Extent

    def take(self, case: str, servers: Iterable[Server], measure: Measure, rounds: int | None = None) -> None:
        """
        Measure; a server that does it wrong is left out of the case, and the results say why. Each round has an order
        of its own, the same in every run: some servers go on working after their answer, and who comes next pays.
        """
        waiting = list(servers)
        for turn in range(self.extent.rounds if rounds is None else rounds):
            random.Random(f"{case} {turn}").shuffle(waiting)
            waiting = [server for server in waiting if self.once(case, server, measure, turn)]

    def once(self, case: str, server: Server, measure: Measure, turn: int) -> bool:
        """One turn of one server. @return: whether it did it right."""
        try:
            figures = measure(server, turn)
        except (Wrong, wrk.WrkFailed) as error:
            self.results.note(case, server.name, str(error))
            self.say(f"{case} | {server.name}: {error}")
            return False
        self.results.add(case, server.name, turn, **figures)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.say(f"{case} | {server.name}: {shown}")
        return True

    def say(self, text: str) -> None:
        """Progress, to standard error."""
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def under_load(
    server: Server, url: str, headers: Mapping[str, str], connections: int, extent: Extent, once: float = 0
) -> dict[str, float]:
    """
    What a server does under load, and what that takes.

    @param once: seconds that one request takes: slow ones get more time and fewer connections.
    """
    seconds = extent.seconds
    if once > _SLOW:
        connections = min(connections, _FEW)
        seconds = min(extent.longest, max(seconds, 4 * once))
    server.forget_peak()
    before = server.cpu()
    load = wrk.run(url, connections, seconds, headers)
    if not load.requests:
        # Alone it was fast, among so many it is not.
        connections, seconds = min(connections, _FEW), extent.longest
        before = server.cpu()
        load = wrk.run(url, connections, seconds, headers)
    cpu = server.cpu() - before
    if not load.requests:
        raise Wrong(f"There was no answer of {url} in {seconds:.0f} seconds.")
    return {
        "rate": load.rate,
        "p50": load.p50,
        "p99": load.p99,
        "cpu": cpu / load.requests * 1e6,
        "bandwidth": load.bandwidth,
        "cpu_per_gb": cpu / (load.size / 1e9),
        "peak": server.peak() / MIB,
        "connections": connections,
    }
