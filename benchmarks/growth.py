"""How long a start takes, what an idle server has of memory, and what both and each request cost as projects grow."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.asking import AGENT, EITHER, ask, check_page, expect, file_url
from benchmarks.cheddars import OwnCheddar
from benchmarks.content import MB, MEDIAN, large_wheel
from benchmarks.filling import DEEP
from benchmarks.servers import Server
from benchmarks.turns import MIB, Extent, Turns, under_load
from benchmarks.uploads import Poster, upload_of
from tests.support.distributions import make_wheel
from tests.support.server import JSON

#: The name of the Cheddar that is measured.
ALONE = OwnCheddar.name

START = "start to the first answer"
START_FULL = "start to the first answer, 100,000 files in the store"

#: Projects and files.
SIZES: Sequence[tuple[int, int]] = ((2_000, 10_000), (20_000, 100_000), (200_000, 1_000_000))
_QUICK_SIZES = SIZES[:2]

_UPLOADS = 20

#: Seconds after the first answer when a server is taken for idle.
_IDLE = 2.0
#: Seconds after which a start is no news any more.
_SETTLED = 4.0


def case(part: str, projects: int, files: int) -> str:
    """The name of a part of the growth at one size."""
    return f"growth: {part}, {projects:,} projects, {files:,} files"


PAGE, UNCHANGED, FILE, LIST, UPLOAD = (
    *("page of 40 files, c16", "not modified (304), c16", "5 MB file, c16"),
    *("list of projects, one request", "uploads of small files"),
)


def restarted(server: Server) -> dict[str, float]:
    """Stop and start a server, and look at it when it is idle."""
    server.stop()
    seconds = server.start()
    time.sleep(_IDLE)
    return {"seconds": seconds, "memory": server.memory() / MIB}


def starts(turns: Turns, servers: Sequence[Server]) -> None:
    """Of all servers, with what they had."""
    turns.take(START, servers, lambda server, turn: restarted(server), turns.extent.few)


def run(turns: Turns, folder: Path) -> None:
    """Cheddar on SQLite with more and more of its own: the sizes take turns."""
    sizes = _QUICK_SIZES if turns.extent.quick else SIZES
    servers = {
        size: OwnCheddar(folder=folder / f"cheddar-{size[0]}", upstream="", projects=size[0], files=size[1])
        for size in sizes
    }
    files: dict[int, str] = {}
    try:
        for (projects, _), server in servers.items():
            turns.say(f"filling a store with {projects:,} projects")
            server.start()
            filename, content, _ = large_wheel("stored", "1.0", 5 * MB)
            poster = Poster(server)
            poster.post(upload_of("stored", "1.0", filename, content))
            poster.close()
            files[projects] = file_url(server.page("stored"), filename)
        # One turn of each size at a time, not all turns of one.
        for turn in range(turns.extent.few):
            for size, server in servers.items():
                name = START_FULL if size == SIZES[1] else case("start", *size)
                turns.once(name, server, lambda server, _: restarted(server), turn)
        time.sleep(_SETTLED)
        for part in (PAGE, UNCHANGED, FILE, LIST, UPLOAD):
            for turn in range(turns.extent.rounds):
                for size, server in servers.items():
                    _one(turns, part, size, server, files, turn)
    finally:
        for server in servers.values():
            server.stop()


def _one(
    turns: Turns, part: str, size: tuple[int, int], server: OwnCheddar, files: Mapping[int, str], turn: int
) -> None:
    def measure(_: Server, turn: int) -> Mapping[str, float]:
        return _cost(part, server, size[0], files[size[0]], turns.extent, turn)

    turns.once(case(part, *size), server, measure, turn)


def _cost(part: str, server: OwnCheddar, projects: int, file: str, extent: Extent, turn: int) -> Mapping[str, float]:
    if part == FILE:
        expect(ask(file))
        return under_load(server, file, AGENT, 16, extent)
    if part == LIST:
        answer = check_page(ask(server.simple, {"Accept": EITHER}), projects, exactly=False)
        return {"seconds": answer.seconds, "size": answer.size}
    if part == UPLOAD:
        names = [f"grown-{turn}-{number}" for number in range(_UPLOADS + 1)]
        first, *others = [upload_of(name, "1.0", *make_wheel(name, "1.0")) for name in names]
        poster = Poster(server)
        # Who uploads is known now: passwords are slow by design, and are not what is measured.
        poster.post(first)
        began = time.perf_counter()
        for upload in others:
            poster.post(upload)
        took = time.perf_counter() - began
        poster.close()
        return {"each": took / _UPLOADS * 1e3}
    headers = {**AGENT, "Accept": JSON, "Accept-Encoding": "identity"}
    page = check_page(ask(server.page(DEEP), headers), MEDIAN)
    if part == UNCHANGED:
        headers["If-None-Match"] = page.headers["etag"]
        expect(ask(server.page(DEEP), headers), 304)
    return under_load(server, server.page(DEEP), headers, 16, extent, page.seconds)
