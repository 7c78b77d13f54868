"""Results become goals, tables and plots that are true to them."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import pytest
from readme_renderer import rst

from benchmarks import growth, pages, resolving
from benchmarks.goals import outcomes
from benchmarks.plots import plots
from benchmarks.report import BEGIN, END, into, markdown, write
from benchmarks.results import Results, Spread
from benchmarks.tables import Table, figure, grid, number, tables

MACHINE = {
    "processor": "CPU",
    "cores": "2",
    "memory": "8 GiB",
    "system": "Linux 6",
    "python": "CPython 3.13",
    "load": "load 0.1 before",
}


def run(cheddar: float = 8100.0) -> Results:
    """A run in which little was measured."""
    results = Results(MACHINE, {"cheddar": "2.0"}, seconds=600)
    for turn in range(2):
        for name, rate in (("nginx static", 20_000.0), ("cheddar", cheddar), ("proxpi", 400.0)):
            results.add(pages.MEDIAN_JSON, name, turn, rate=rate + turn, cpu=1e6 / rate)
        for size, cpu in zip(growth.SIZES, (100.0, 105.0, 150.0), strict=True):
            results.add(growth.case(growth.PAGE, *size), growth.ALONE, turn, cpu=cpu, rate=1e6 / cpu)
    results.note("case", "devpi-server", "a | b")
    return results


def verdicts(results: Results) -> dict[str, str]:
    return {outcome.goal.text: outcome.verdict for outcome in outcomes(results)}


def test_a_goal_is_reached_or_not_or_was_not_measured() -> None:
    """By the medians of one run; what is missing is not taken for good."""
    median = "median page, c16: answers a second, of {}'s".format
    page = f"growth, {growth.PAGE}: CPU of the largest store's, of the smallest's"
    good, bad = verdicts(run()), verdicts(run(cheddar=6000.0))
    assert good[median("nginx static")] == "reached"
    assert bad[median("nginx static")] == "not reached"
    assert (good[median("proxpi")], bad[median("proxpi")]) == ("reached", "not reached")
    assert good[median("devpi-server")] == "not measured"
    assert good[page] == "not reached", "a store a hundred times as large may not cost half as much again"


def test_every_goal_is_one_of_its_own() -> None:
    """None hides another, and each kind of upstream has one."""
    texts = [outcome.goal.text for outcome in outcomes(Results())]
    assert len(set(texts)) == len(texts)
    for kind in resolving.KINDS:
        assert any(kind.case(resolving.UV) in text for text in texts)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.01234, "0.0123"), (12.345, "12.3"), (99.96, "100"), (22452.17, "22,452")]
)
def test_figures_have_as_many_digits_as_mean_anything(value: float, text: str) -> None:
    """And no exponents."""
    assert number(value) == text


def test_a_figure_tells_of_its_spread_where_it_matters() -> None:
    """A median alone would hide that the rounds do not agree."""
    assert figure(Spread(100, 95, 108)) == "100"
    assert figure(Spread(100, 60, 108)) == "100 ±40%"
    assert figure(None) == "–"


def test_tables_in_both_formats() -> None:
    """The same cells; what would end a cell does not."""
    table = Table("T", ["", "a"], [["x | *y_", "1"], ["z", ""]])
    assert table.markdown() == "### T\n\n|  | a |\n| --- | --- |\n| x \\| *y_ | 1 |\n| z |  |\n"
    said = table.rst()
    assert said.startswith(".. list-table:: T\n   :header-rows: 1\n\n   * -\n     - a\n")
    assert said.endswith("   * - x \\| \\*y\\_\n     - 1\n   * - z\n     -\n")


def test_servers_stand_in_one_order_and_gaps_are_shown() -> None:
    """Whoever was measured first."""
    results = run()
    results.add("other", "direct", 0, rate=1.0)
    table = grid(results, "T", [("other", "rate"), (pages.MEDIAN_JSON, "rate"), ("none", "rate")], named=False)
    assert table is not None
    assert list(table.header) == ["", "direct", "cheddar", "nginx static", "proxpi"]
    assert [list(row) for row in table.rows] == [
        ["other", "1", "–", "–", "–"],
        [pages.MEDIAN_JSON, "–", "8,100", "20,000", "400"],
    ]
    assert grid(results, "T", [("none", "rate")]) is None


def test_the_report_keeps_the_words_around_it(tmp_path: Path) -> None:
    """A new run replaces the last one's tables, and nothing of what people wrote; the page is valid."""
    page = tmp_path / "performance.rst"
    page.write_text(f"Performance\n===========\n\nBefore.\n\n{BEGIN}\nof the last run\n\n{END}\nAfter.\n")
    (tmp_path / "performance").mkdir()
    (tmp_path / "performance" / "files.svg").touch()
    results = run()
    for _ in range(2):
        said = write(results, tmp_path)
    text = page.read_text()
    assert text.startswith("Performance\n===========\n\nBefore.\n\n")
    assert text.endswith(f"{END}\nAfter.\n")
    assert "of the last run" not in text
    assert text.count("8,100") == 1
    assert said == (tmp_path / "performance" / "results.md").read_text() == markdown(results)
    assert Results.load(tmp_path / "performance" / "results.json") == results
    complaints = io.StringIO()
    assert rst.render(text, stream=complaints), complaints.getvalue()
    assert not (tmp_path / "performance" / "files.svg").exists(), "this run has no such plot"
    for image in ("pages.svg", "cpu.svg"):
        assert f".. image:: performance/{image}" in text
        assert (tmp_path / "performance" / image).exists()


def test_a_page_without_a_place_for_tables_is_left_alone() -> None:
    """Rather than to be written over."""
    with pytest.raises(ValueError, match="no place for the tables"):
        into("Performance\n", run(), [])


def test_all_that_was_measured_is_in_some_table() -> None:
    """With why something is missing."""
    titles = [table.title for table in tables(run())]
    assert titles == [
        "What is to be reached",
        "Pages: answers a second",
        "Pages: CPU µs for each answer",
        "As projects grow",
        "Why figures are missing",
    ]


def test_bars_are_as_long_as_what_they_show() -> None:
    """On a logarithmic scale, in SVG that can be parsed."""
    drawn = dict(plots(run(cheddar=2000.0)))
    assert set(drawn) == {"pages.svg", "cpu.svg"}
    tree = ElementTree.fromstring(drawn["pages.svg"])
    widths = [float(bar.attrib["width"]) for bar in tree.findall("{*}rect")[1:]]
    assert len(widths) == 3
    nginx, cheddar, proxpi = widths
    # 20,000 : 2,000 is one power of ten, 2,000 : 400 seven tenths of one.
    assert (nginx - cheddar) / (cheddar - proxpi) == pytest.approx(1 / 0.699, rel=0.01)
