"""Figures of rounds become medians, spreads and ratios, and are kept as they were measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.results import Results, Spread


def measured() -> Results:
    """Two servers, three rounds, of which the last is the other's only."""
    results = Results({"processor": "x"}, {"one": "1.0"}, quick=True)
    for turn, (one, other) in enumerate(((10.0, 5.0), (30.0, 10.0))):
        results.add("case", "one", turn, rate=one)
        results.add("case", "other", turn, rate=other)
    results.add("case", "other", 2, rate=1000.0, cpu=3.0)
    return results


def test_the_median_and_how_far_the_rounds_are_apart() -> None:
    """One odd round moves the spread, not the figure."""
    spread = Spread.of([100.0, 90.0, 300.0])
    assert (spread.middle, spread.low, spread.high) == (100.0, 90.0, 300.0)
    assert spread.width == 2.0
    assert Spread.of([0.0]).width == 0.0
    with pytest.raises(ValueError, match="no figures"):
        Spread.of([])


def test_ratios_are_of_the_same_round() -> None:
    """What else the machine did in a round fell on both; a round that one of them lacks does not count."""
    ratio = measured().ratio("rate", ("case", "one"), ("case", "other"))
    assert ratio == Spread(2.5, 2.0, 3.0)


def test_there_is_no_ratio_without_both() -> None:
    """Neither to a server that was not measured, nor of a metric, nor to nothing."""
    results = measured()
    assert results.ratio("rate", ("case", "one"), ("case", "third")) is None
    assert results.ratio("cpu", ("case", "one"), ("case", "other")) is None
    results.add("zero", "other", 0, rate=0.0)
    results.add("zero", "one", 0, rate=1.0)
    assert results.ratio("rate", ("zero", "one"), ("zero", "other")) is None


def test_what_was_measured_in_the_order_of_the_run() -> None:
    """Cases, servers and metrics, each once."""
    results = measured()
    assert (results.cases, results.servers("case"), results.metrics("case")) == (
        ["case"],
        ["one", "other"],
        ["rate", "cpu"],
    )
    assert results.spread("case", "one", "cpu") is None


def test_results_are_kept_whole(tmp_path: Path) -> None:
    """A report can be made anew from the file, and a reason is noted once, on one line."""
    results = measured()
    for _ in range(2):
        results.note("case", "third", "said\n  no")
    results.save(tmp_path / "below" / "results.json")
    again = Results.load(tmp_path / "below" / "results.json")
    assert again == results
    assert [note.text for note in again.notes] == ["said no"]
