"""Raw results of a run: what was measured, of whom, in which round; as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from attrs import asdict, define, field, frozen


@frozen
class Measured:
    """
    One measurement.

    @ivar case: what was asked of the server. @ivar server: its name. @ivar round: the number of the turn.
    @ivar figures: by metric: see L{benchmarks.tables.METRICS}.
    """

    case: str
    server: str
    round: int
    figures: Mapping[str, float]


@frozen
class Note:
    """Why there is no figure, or what is to be known of it."""

    case: str
    server: str
    text: str


@frozen
class Spread:
    """The figures of all rounds: the median, and how far they are apart."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """[ValueError: there are none]"""
        if not figures:
            raise ValueError("There are no figures.")
        return cls(median(figures), min(figures), max(figures))

    @property
    def width(self) -> float:
        """How far the outermost are from the median, as a part of it."""
        return max(self.high - self.middle, self.middle - self.low) / self.middle if self.middle else 0.0


@define
class Results:
    """
    A run.

    @ivar machine: what it ran on. @ivar versions: of each server. @ivar quick: whether it was the short run.
    """

    machine: dict[str, str] = field(factory=dict)
    versions: dict[str, str] = field(factory=dict)
    quick: bool = False
    began: str = field(factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    seconds: float = 0.0
    measured: list[Measured] = field(factory=list)
    notes: list[Note] = field(factory=list)

    def add(self, case: str, server: str, turn: int, **figures: float) -> None:
        """Note a measurement."""
        self.measured.append(Measured(case, server, turn, figures))

    def note(self, case: str, server: str, text: str) -> None:
        """Note why there is none; once is enough."""
        note = Note(case, server, " ".join(text.split()))
        if note not in self.notes:
            self.notes.append(note)

    @property
    def cases(self) -> list[str]:
        """In the order of the run."""
        return list(dict.fromkeys(one.case for one in self.measured))

    def servers(self, case: str) -> list[str]:
        """Those that were measured, in the order of the run."""
        return list(dict.fromkeys(one.server for one in self.measured if one.case == case))

    def metrics(self, case: str) -> list[str]:
        """What was measured there."""
        return list(dict.fromkeys(name for one in self.measured if one.case == case for name in one.figures))

    def rounds(self, case: str, server: str, metric: str) -> dict[int, float]:
        """A figure by round."""
        return {
            one.round: one.figures[metric]
            for one in self.measured
            if (one.case, one.server) == (case, server) and metric in one.figures
        }

    def spread(self, case: str, server: str, metric: str) -> Spread | None:
        """The figures of all rounds; None: there are none."""
        figures = list(self.rounds(case, server, metric).values())
        return Spread.of(figures) if figures else None

    def ratio(self, metric: str, one: tuple[str, str], other: tuple[str, str]) -> Spread | None:
        """
        How many times as much one (case, server) has as another: compared within each round, since what else the
        machine did then fell on both. None: there is no round that has both.
        """
        above, below = self.rounds(*one, metric), self.rounds(*other, metric)
        ratios = [above[turn] / below[turn] for turn in above if below.get(turn)]
        return Spread.of(ratios) if ratios else None

    def save(self, path: Path) -> None:
        """Write the JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = asdict(self)
        # A line for each: a new run can be compared with the last one's.
        long = [
            f' "{part}": [\n' + ",\n".join(f"  {json.dumps(one)}" for one in raw.pop(part)) + "\n ]"
            for part in ("measured", "notes")
        ]
        short = [f' "{name}": {json.dumps(value)}' for name, value in raw.items()]
        path.write_text("{\n" + ",\n".join([*short, *long]) + "\n}\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read it."""
        raw: dict[str, Any] = json.loads(path.read_text())
        raw["measured"] = [Measured(**one) for one in raw["measured"]]
        raw["notes"] = [Note(**one) for one in raw["notes"]]
        return cls(**raw)
