"""
A real client takes the tree of a real application, its own caches empty: directly, and through each server, where
that is in use already, for upstreams that are near and far, with and without core metadata.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

from attrs import define, frozen

from benchmarks import resolve
from benchmarks.asking import Wrong, ask, expect, file_url
from benchmarks.cheddars import Cheddar
from benchmarks.content import make_tree
from benchmarks.nginx import CachingNginx, StaticNginx
from benchmarks.peers import Devpi, Proxpi
from benchmarks.servers import Server
from benchmarks.turns import Turns
from benchmarks.upstream import tree
from tests.support.clients import output, run

UV, PIP = "uv pip compile", "pip download"
#: Seconds that an upstream is away of which files are asked for that no server has yet: far away is where the first
#: byte matters.
AWAY = (0.01, 0.1)
#: Seconds between what a first client asks for and a second one, of which the servers are warm: Cheddar keeps an answer
#: for those to come once nothing has changed for some seconds.
BETWEEN = 5.0

#: A project of the tree.
_FIRST = "pandas"

Client = Callable[[str, Path], "CompletedProcess[str]"]


@frozen
class Far:
    """
    A kind of upstream.

    @ivar latency: seconds before each of its answers. @ivar metadata: whether it has core metadata.
    """

    latency: float
    metadata: bool

    def case(self, client: str, state: str = "warm") -> str:
        """The name of a case. @param state: C{warm}: somebody has asked before; or C{cold}."""
        beside = "with" if self.metadata else "without"
        return f"{client}, {state}, upstream {beside} core metadata, {self.latency * 1000:.0f} ms"


KINDS = tuple(Far(latency, metadata) for latency in (0.0, 0.1) for metadata in (True, False))
_QUICK_KINDS = (Far(0.0, True), Far(0.1, True))


def far_file(latency: float) -> str:
    """The name of the case of a file that no server has yet. @param latency: one of L{AWAY}."""
    return f"5 MB file, cold, upstream {latency * 1000:.0f} ms away"


def download(index: str, home: Path) -> CompletedProcess[str]:
    """pip, without any cache."""
    return run(
        *("pip", "--isolated", "download", "--no-cache-dir", "--quiet", "--dest", str(home / "files")),
        *("--index-url", index, *tree()["roots"]),
        home=home,
    )


def compiled(index: str) -> float:
    """Seconds of uv. [Wrong: it did not find all]"""
    return _timed(resolve.uv, index, lambda done, _: done.stdout)


def downloaded(index: str) -> float:
    """Seconds of pip. [Wrong: it did not get all]"""
    return _timed(download, index, lambda _, home: "\n".join(path.name for path in (home / "files").iterdir()))


def _timed(client: Client, index: str, found: Callable[[CompletedProcess[str], Path], str]) -> float:
    with TemporaryDirectory() as home:
        began = time.perf_counter()
        done = client(index, Path(home))
        took = time.perf_counter() - began
        if done.returncode != 0:
            raise Wrong(output(done)[-500:])
        text = found(done, Path(home)).lower().replace("_", "-").replace(".", "-")
    missing = [name for name in tree()["projects"] if name not in text]
    if len(missing) > 0.1 * len(tree()["projects"]):
        raise Wrong(f"not found: {', '.join(missing)}")
    return took


@define(eq=False)
class Direct(Server):
    """No server at all: the client goes to the upstream."""

    name = "direct"

    def start(self) -> float:
        """Nothing to do."""
        return 0.0

    @property
    def simple(self) -> str:
        """The upstream's."""
        return self.upstream


@contextmanager
def upstream(kind: Far, root: Path, folder: Path) -> Iterator[str]:
    """The upstream of a tree: nginx, or where it is to be far away L{benchmarks.upstream}. @return: its Simple API."""
    if not kind.latency:
        server = StaticNginx(folder=folder / "upstream", upstream="", root=root, first=_FIRST)
        server.start()
        try:
            yield server.simple
        finally:
            server.stop()
        return
    with resolve.generated(kind.latency, "--folder", str(root)) as address:
        yield address


def run_all(turns: Turns, content: Path, folder: Path) -> None:
    """Measure all kinds of upstream."""
    quick = turns.extent.quick
    through: Sequence[type[Server]] = (Direct, Cheddar, CachingNginx)
    if not quick:
        through = (*through, Devpi, Proxpi)
    for number, kind in enumerate(_QUICK_KINDS if quick else KINDS):
        with _behind(turns, kind, content, folder / f"tree-{number}", through) as servers:
            _run(turns, kind, servers)
    for latency in AWAY[-1:] if quick else AWAY:
        away = folder / f"away-{latency * 1000:.0f}"
        with _behind(turns, Far(latency, True), content, away, through) as servers:
            turns.take(far_file(latency), servers, partial(_far_file, latency))


@contextmanager
def _behind(
    turns: Turns, kind: Far, content: Path, folder: Path, through: Sequence[type[Server]]
) -> Iterator[list[Server]]:
    """Those that serve, with an upstream of that kind."""
    root = content / ("tree-meta" if kind.metadata else "tree-bare")
    make_tree(root, kind.metadata)
    with ExitStack() as running:
        index = running.enter_context(upstream(kind, root, folder))
        servers = []
        for one in through:
            server = one(folder / one.name.replace(" ", "-"), index, first=_FIRST)
            try:
                server.start()
            except Wrong as error:
                turns.results.note(kind.case(UV), server.name, str(error))
                continue
            running.callback(server.stop)
            servers.append(server)
        yield servers


def _run(turns: Turns, kind: Far, servers: Sequence[Server]) -> None:
    def compile_(server: Server, _: int) -> Mapping[str, float]:
        return {"seconds": compiled(server.simple)}

    def download_(server: Server, _: int) -> Mapping[str, float]:
        return {"seconds": downloaded(server.simple)}

    turns.take(kind.case(UV, "cold"), [server for server in servers if server.name != Direct.name], compile_, rounds=1)
    for server in servers:
        if isinstance(server, Cheddar) and not kind.metadata:
            resolve.settle(server.port)
    # A first client after whoever made it come is what "warm" means here: two have asked before.
    time.sleep(BETWEEN)
    for server in servers:
        try:
            compile_(server, 0)
        except Wrong as error:
            turns.results.note(kind.case(UV), server.name, str(error))
    turns.take(kind.case(UV), servers, compile_)
    if not turns.extent.quick:
        # Once to have it warm: it is the files of the second that are there.
        turns.take(kind.case(PIP, "cold"), servers[1:], download_, rounds=1)
        turns.take(kind.case(PIP), servers, download_, rounds=1)


def _far_file(latency: float, server: Server, turn: int) -> Mapping[str, float]:
    """One that nobody has asked for: another one each turn."""
    projects = tree()["projects"]
    name = sorted(projects, key=lambda project: (-projects[project]["size"], project))[turn]
    filename = f"{name.replace('-', '_')}-{projects[name]['version']}-py3-none-any.whl"
    answer = expect(ask(file_url(server.page(name), filename)))
    if answer.first < latency:
        raise Wrong("has fetched the file already")
    return {"first": answer.first * 1e3, "seconds": answer.seconds}
