"""Files: warm, under load; cold, from upstream, for one client and for twenty at once."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve

from benchmarks.asking import AGENT, EITHER, Answer, Wrong, ask, check_page, expect, file_url
from benchmarks.bare import Bare
from benchmarks.content import COLD_ROUNDS, MEDIAN
from benchmarks.nginx import StaticNginx, Upstream
from benchmarks.peers import Devpi, Pypiserver
from benchmarks.servers import Server
from benchmarks.turns import MIB, Turns, under_load
from tests.support.herd import herd

WARM_200 = "200 MB file, warm, c1"
WARM_5 = "5 MB file, warm, c16"
COLD_200 = "200 MB file, cold, one client"
COLD_5 = "5 MB file, cold, one client"
HERD_FILE = "50 MB file, cold, 20 clients at once"
HERD_PAGE = "median page, cold, 20 clients at once"

CLIENTS = 20

#: The upstream's log is written within this many seconds.
_LOGGED = 0.3


def wheel(name: str, version: str = "1.0") -> Answer:
    """The file name of one of L{benchmarks.content}'s."""
    return f"{name.replace('-', '_')}-{version}-py3-none-any.whl"


def offer(server: Pypiserver, root: Path) -> None:
    """Give one that has only what is its own the files too; before it starts, and looks into its folder."""
    server.packages.mkdir()
    for name in ("warm-5", "warm-200"):
        shutil.copy(root / "files" / wheel(name), server.packages)


def right_file(server: Server, name: str, root: Path, version: str = "1.0") -> Answer:
    """A file that is here, and whose bytes are right; they are let go. [Wrong]"""
    filename = wheel(name, version)
    url = file_url(server.page(name), filename)
    answer = expect(ask(url))
    if answer.body != (root / "files" / filename).read_bytes():
        raise Wrong(f"{url} has other bytes")
    return evolve(answer, body=b"")


def run(turns: Turns, servers: Sequence[Server], upstream: Upstream) -> None:
    """Measure all cases."""
    warm(turns, servers, upstream.root)
    cold(turns, servers, upstream)


def warm(turns: Turns, servers: Sequence[Server], root: Path) -> None:
    """Files that are there."""
    for case, name, connections in ((WARM_200, "warm-200", 1), (WARM_5, "warm-5", 16)):
        found: dict[str, Answer] = {}

        def measure(
            server: Server,
            turn: int,
            name: str = name,
            connections: int = connections,
            found: dict[str, Answer] = found,
        ) -> Mapping[str, float]:
            if server.name not in found:
                found[server.name] = right_file(server, name, root)
            answer = found[server.name]
            # The first answer is no measure of how long one of many takes: it may have come from upstream.
            once = answer.seconds if connections == 1 else 0
            return under_load(server, answer.url, AGENT, connections, turns.extent, once)

        turns.take(case, servers, measure, turns.extent.few)


def cold(turns: Turns, servers: Sequence[Server], upstream: Upstream) -> None:
    """Files and pages that nobody has asked for before."""
    proxies = [server for server in servers if server.proxies and not isinstance(server, StaticNginx)]
    bare = Bare(upstream.folder.parent / "bare", upstream.simple)
    bare.start()
    try:
        _one_client(turns, [*proxies, bare], upstream)
    finally:
        bare.stop()
    rounds = min(COLD_ROUNDS, turns.extent.few)
    if turns.extent.quick:
        # It fetches the file for each of the twenty, which takes twenty seconds.
        proxies = [server for server in proxies if not isinstance(server, Devpi)]
    turns.take(HERD_FILE, proxies, lambda server, turn: _herd_for_file(server, turn, upstream), rounds)
    turns.take(HERD_PAGE, proxies, lambda server, turn: _herd_for_page(server, turn, upstream), rounds)


def _one_client(turns: Turns, servers: Sequence[Server], upstream: Upstream) -> None:
    rounds = min(COLD_ROUNDS, turns.extent.few)
    for case, name in ((COLD_5, "cold-5"), (COLD_200, "cold-200")):

        def one(server: Server, turn: int, name: str = name) -> Mapping[str, float]:
            filename = wheel(name, f"{turn + 1}.0")
            # Also so that whoever is the first to ask for it does not wait for the upstream's disk.
            right = expect(ask(f"{upstream.address}files/{filename}")).body
            url = file_url(server.page(name), filename)
            server.forget_peak()
            before, mark = server.cpu(), upstream.mark()
            answer = expect(ask(url))
            cpu = server.cpu() - before
            if answer.body != right:
                raise Wrong(f"{url} has other bytes")
            time.sleep(_LOGGED)
            return {
                "first": answer.first * 1e3,
                "seconds": answer.seconds,
                "bandwidth": len(right) / answer.seconds / 1e6,
                "cpu_per_gb": cpu / (len(right) / 1e9),
                "peak": server.peak() / MIB,
                "upstream": upstream.asked(mark, filename),
            }

        turns.take(case, servers, one, rounds)


def _herd_for_file(server: Server, turn: int, upstream: Upstream) -> Mapping[str, float]:
    filename = wheel("cold-50", f"{turn + 1}.0")
    url = file_url(server.page("cold-50"), filename)
    server.forget_peak()
    before, mark = server.cpu(), upstream.mark()
    became = herd(url, CLIENTS, upstream.root / "files" / filename, seconds=120)
    if became.right != CLIENTS:
        raise Wrong(f"{CLIENTS - became.right} of {CLIENTS} clients do not have the file: {became.wrong[0]}")
    cpu = server.cpu() - before
    time.sleep(_LOGGED)
    return {
        "first": max(became.first) * 1e3,
        "slowest": became.seconds,
        "cpu": cpu / CLIENTS * 1e6,
        "peak": server.peak() / MIB,
        "upstream": upstream.asked(mark, filename),
    }


def _herd_for_page(server: Server, turn: int, upstream: Upstream) -> Mapping[str, float]:
    name = f"cold-page-{turn}"
    url, mark = server.page(name), upstream.mark()
    took: list[float] = []
    wrong: list[Exception] = []
    ready = threading.Barrier(CLIENTS)

    def client() -> None:
        ready.wait()
        began = time.perf_counter()
        try:
            check_page(ask(url, {"Accept": EITHER}), MEDIAN)
        except Wrong as error:
            wrong.append(error)
        took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise Wrong(f"{len(wrong)} of {CLIENTS} clients do not have the page: {wrong[0]}")
    time.sleep(_LOGGED)
    return {"slowest": max(took), "upstream": upstream.asked(mark, f"/{name}/")}
