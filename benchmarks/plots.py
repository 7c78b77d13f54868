"""Results as plots: horizontal bars on a logarithmic scale, in plain SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from attrs import frozen

from benchmarks import files, pages, resolving
from benchmarks.results import Results, Spread
from benchmarks.tables import number

_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _HEAD = 860, 180, 120, 16, 14, 46
_COLOURS = {"cheddar": "#d98200", "nginx": "#2f7d4f", "direct": "#2f7d4f"}
_OTHERS = "#6b7f99"


@frozen
class Group:
    """Bars that belong together. @ivar bars: each with the name of its server."""

    title: str
    bars: Sequence[tuple[str, Spread]]


def bars(title: str, unit: str, groups: Sequence[Group]) -> str:
    """
    The plot. A bar ends at the median, a thin line goes from the least to the most of the rounds.

    @param unit: of all bars.
    """
    values = [value for group in groups for _, spread in group.bars for value in (spread.low, spread.high) if value > 0]
    low = math.floor(math.log10(min(values)) - 0.01)
    high = max(low + 1, math.ceil(math.log10(max(values))))
    room = _WIDTH - _LEFT - _RIGHT

    def across(value: float) -> float:
        return _LEFT + max(0.0, (math.log10(value) - low) / (high - low)) * room if value > 0 else _LEFT

    body: list[str] = []
    y = float(_HEAD)
    for group in groups:
        body.append(f'<text x="8" y="{y + 12:.0f}" font-weight="bold">{escape(group.title)}</text>')
        y += 20
        for name, spread in group.bars:
            colour = next((c for start, c in _COLOURS.items() if name.startswith(start)), _OTHERS)
            end, middle = across(spread.middle), y + _BAR / 2
            body += [
                f'<text x="{_LEFT - 8}" y="{y + 12:.0f}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{_LEFT}" y="{y:.0f}" width="{max(1, end - _LEFT):.1f}" height="{_BAR}" fill="{colour}"/>',
                f'<line x1="{across(spread.low):.1f}" x2="{across(spread.high):.1f}" y1="{middle:.0f}" '
                f'y2="{middle:.0f}" stroke="#222"/>',
                f'<text x="{across(spread.high) + 6:.1f}" y="{y + 12:.0f}">{number(spread.middle)}</text>',
            ]
            y += _BAR + 4
        y += _GAP
    lines = [
        f'<line x1="{across(10.0**power):.1f}" x2="{across(10.0**power):.1f}" y1="{_HEAD - 8}" y2="{y:.0f}" '
        f'stroke="#ddd"/><text x="{across(10.0**power):.1f}" y="{_HEAD - 12}" text-anchor="middle" fill="#777">'
        f"{10.0**power:,g}</text>"
        for power in range(low, high + 1)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y:.0f}" viewBox="0 0 {_WIDTH} {y:.0f}" '
        f'font-family="sans-serif" font-size="12">\n<title>{escape(title)}</title>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="8" y="18" font-size="15">{escape(title)} ({escape(unit)}, logarithmic)</text>\n'
        + "\n".join([*lines, *body])
        + "\n</svg>\n"
    )


def _group(results: Results, case: str, metric: str) -> Group | None:
    found = [(server, results.spread(case, server, metric)) for server in results.servers(case)]
    measured = [(server, spread) for server, spread in found if spread is not None]
    return Group(case, measured) if measured else None


def plots(results: Results) -> Iterator[tuple[str, str]]:
    """Each with the name of its file; what was not measured is left out."""
    chosen = [pages.MEDIAN_JSON, pages.NOT_MODIFIED, "median page, JSON, gzip, c16", pages.HUGE_GZIP]
    clients = [kind.case(client) for client in (resolving.UV, resolving.PIP) for kind in resolving.KINDS]
    for name, title, unit, metric, cases in (
        ("pages", "Pages", "answers a second: more is better", "rate", chosen),
        ("cpu", "CPU for a page", "microseconds: less is better", "cpu", chosen),
        ("files", "Files that are there", "MB a second: more is better", "bandwidth", [files.WARM_200, files.WARM_5]),
        ("clients", "A tree of 93 projects", "seconds: less is better", "seconds", clients),
    ):
        groups = [group for case in cases if (group := _group(results, case, metric)) is not None]
        if groups:
            yield f"{name}.svg", bars(title, unit, groups)
