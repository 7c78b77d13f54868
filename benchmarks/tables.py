"""Results as tables, in Markdown and in reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import frozen

from benchmarks import files, growth, pages, resolving, uploads
from benchmarks.goals import BARE, CACHE, DEVPI, PROXPI, PYPISERVER, STATIC, Outcome, outcomes
from benchmarks.results import Results, Spread

#: What is measured, in words.
METRICS: Mapping[str, str] = {
    "rate": "answers/s",
    "p50": "p50, ms",
    "p99": "p99, ms",
    "cpu": "CPU µs for each",
    "bandwidth": "MB/s",
    "cpu_per_gb": "CPU s for each GB",
    "peak": "peak memory, MiB",
    "first": "first byte, ms",
    "slowest": "slowest client, s",
    "seconds": "seconds",
    "upstream": "upstream requests",
    "each": "ms for each",
    "memory": "idle memory, MiB",
    "size": "bytes",
    "connections": "connections",
}

#: Servers from left to right.
ORDER = (
    "direct",
    "cheddar",
    "cheddar redis",
    "cheddar, 2 workers",
    "cheddar alone",
    *(STATIC, CACHE, DEVPI, PYPISERVER, PROXPI, BARE),
)

#: What a server has said may have anything in it.
_MARKUP = re.compile(r"[*`|_\\]")

#: Spreads below this, as a part of the median, are not worth a word.
_STEADY = 0.1


@frozen
class Table:
    """@ivar title: above it. @ivar header: of its columns. @ivar rows: its cells."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As Markdown."""
        lines = [f"### {self.title}", "", _line(self.header), _line(["---"] * len(self.header))]
        return "\n".join([*lines, *map(_line, self.rows)]) + "\n"

    def rst(self) -> str:
        """As a list-table."""
        lines = [f".. list-table:: {self.title}", "   :header-rows: 1", ""]
        for row in (self.header, *self.rows):
            cells = [_MARKUP.sub(r"\\\g<0>", cell) for cell in row]
            lines += [f"   {'* -' if index == 0 else '  -'} {cell}".rstrip() for index, cell in enumerate(cells)]
        return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"


def number(value: float) -> str:
    """With as many digits as mean anything."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def figure(spread: Spread | None) -> str:
    """The median, and how far the rounds are from it where that is far."""
    if spread is None:
        return "–"
    return number(spread.middle) + (f" ±{spread.width * 100:.0f}%" if spread.width > _STEADY else "")


def grid(results: Results, title: str, rows: Sequence[tuple[str, str]], named: bool = True) -> Table | None:
    """
    Servers beside each other; None: nothing of it was measured.

    @param rows: each a case and a metric. @param named: whether the rows say the metric.
    """
    there = [(case, metric) for case, metric in rows if metric in results.metrics(case)]
    found = {server for case, metric in there for server in results.servers(case)}
    servers = sorted(found, key=ORDER.index)
    cells = [
        [
            f"{case}: {METRICS[metric]}" if named else case,
            *(figure(results.spread(case, server, metric)) for server in servers),
        ]
        for case, metric in there
    ]
    return Table(title, ["", *servers], cells) if cells else None


def tables(results: Results) -> list[Table]:
    """All of them; what was not measured is left out."""
    return [
        _goals(outcomes(results)),
        *_grids(results),
        *(table for table in (_growth(results), _notes(results)) if table is not None),
    ]


def _goals(reached: Iterable[Outcome]) -> Table:
    rows = []
    for outcome in reached:
        goal, found = outcome.goal, outcome.found
        bound = f"{'at most' if goal.most else 'at least'} {number(goal.bound)} {goal.unit}"
        between = "–" if found is None else f"{number(found.middle)} {goal.unit}"
        apart = "–" if found is None else f"{number(found.low)} – {number(found.high)}"
        rows.append([goal.text, bound, between, apart, outcome.verdict])
    return Table("What is to be reached", ["", "bound", "median", "rounds", ""], rows)


def _grids(results: Results) -> Iterator[Table]:
    names = [case.name for case in pages.CASES]
    for metric, title in (
        *(("rate", "Pages: answers a second"), ("p50", "Pages: median latency, ms")),
        *(("p99", "Pages: latency of the slowest hundredth, ms"), ("cpu", "Pages: CPU µs for each answer")),
        *(("peak", "Pages: peak memory, MiB"), ("size", "Pages: bytes of an answer")),
    ):
        table = grid(results, title, [(name, metric) for name in names], named=False)
        if table is not None:
            yield table
    warm = [(case, m) for case in (files.WARM_200, files.WARM_5) for m in ("bandwidth", "cpu_per_gb", "peak")]
    cold = [(case, m) for case in (files.COLD_5, files.COLD_200) for m in ("first", "seconds", "peak", "upstream")]
    cold += [(resolving.far_file(latency), m) for latency in resolving.AWAY for m in ("first", "seconds")]
    herds = [(files.HERD_FILE, m) for m in ("first", "slowest", "peak", "upstream")]
    herds += [(files.HERD_PAGE, m) for m in ("slowest", "upstream")]
    sent = [(uploads.SMALL, m) for m in ("each", "cpu", "peak")]
    sent += [(uploads.LARGE, m) for m in ("seconds", "bandwidth", "cpu_per_gb", "peak")]
    started = [(case, m) for case in (growth.START, growth.START_FULL) for m in ("seconds", "memory")]
    clients = [
        (kind.case(client, state), "seconds")
        for kind in resolving.KINDS
        for client in (resolving.UV, resolving.PIP)
        for state in ("cold", "warm")
    ]
    for title, rows in (
        *(("Files that are there", warm), ("Files and pages that are not there yet", cold + herds)),
        *(("Uploads", sent), ("Start, and memory when idle", started)),
    ):
        table = grid(results, title, rows)
        if table is not None:
            yield table
    table = grid(results, "A real client takes the tree of an application, seconds", clients, named=False)
    if table is not None:
        yield table


def _growth(results: Results) -> Table | None:
    sizes = [size for size in growth.SIZES if growth.case(growth.PAGE, *size) in results.cases]
    if not sizes:
        return None
    parts = [(part, m) for part in (growth.PAGE, growth.UNCHANGED, growth.FILE) for m in ("rate", "p99", "cpu")]
    parts += [(growth.LIST, "seconds"), (growth.UPLOAD, "each"), ("start", "seconds"), ("start", "memory")]
    rows = []
    for part, metric in parts:
        cells = []
        for size in sizes:
            full = part == "start" and growth.case(part, *size) not in results.cases
            case = growth.START_FULL if full else growth.case(part, *size)
            cells.append(figure(results.spread(case, growth.ALONE, metric)))
        rows.append([f"{part}: {METRICS[metric]}", *cells])
    header = ["Cheddar, one process, SQLite", *(f"{p:,} projects, {f:,} files" for p, f in sizes)]
    return Table("As projects grow", header, rows)


def _notes(results: Results) -> Table | None:
    rows = [[note.case, note.server, note.text[:200]] for note in results.notes]
    return Table("Why figures are missing", ["case", "server", ""], rows) if rows else None
