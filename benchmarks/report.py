"""
Writes what a run has found: a table in Markdown, plots in SVG, and, between its marks, the tables of
C{performance.rst}, whose words stay as they are::

    python -m benchmarks.report .bench/results.json --docs docs
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.plots import plots
from benchmarks.results import Results
from benchmarks.tables import tables

BEGIN = ".. The tables up to the next comment are written by benchmarks.report.\n"
END = ".. The end of what is written by benchmarks.report.\n"

_NEW = f"Performance\n===========\n\n{BEGIN}\n{END}"


def about(results: Results) -> list[str]:
    """What the run was, a line each."""
    machine = results.machine
    where = ", ".join(
        (
            machine["processor"],
            f"{machine['cores']} cores",
            *(machine[key] for key in ("memory", "system", "python", "load")),
        )
    )
    return [
        f"Measured {results.began.partition('T')[0]} in {results.seconds / 60:.0f} minutes"
        + (", the short run: a look, no more" if results.quick else "")
        + f". {where}. Client and servers share the machine, on loopback.",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in results.versions.items()) + ".",
        "Each figure is the median of the rounds, in which the servers take turns; ± says how far the outermost round "
        "is from it, where that is more than a tenth. Ratios are of the same round.",
    ]


def markdown(results: Results) -> str:
    """All of it in Markdown."""
    parts = ["## Cheddar beside the others", *about(results), *(table.markdown() for table in tables(results))]
    return "\n\n".join(parts)


def into(text: str, results: Results, names: list[str]) -> str:
    """
    Put tables and plots between the marks of C{performance.rst}.

    @raise ValueError: the marks are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"There is no place for the tables: the text needs the lines {BEGIN!r} and {END!r}.")
    images = [f".. image:: performance/{name}\n   :alt: {name.removesuffix('.svg')}\n" for name in names]
    parts = [*(f"{line}\n" for line in about(results)), *images, *(table.rst() for table in tables(results))]
    return before + begin + "\n" + "\n".join(parts) + "\n" + end + after


def write(results: Results, docs: Path) -> str:
    """Write everything below C{docs}. @return: the Markdown."""
    folder = docs / "performance"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    drawn = dict(plots(results))
    for name, drawing in drawn.items():
        (folder / name).write_text(drawing)
    text = markdown(results)
    (folder / "results.md").write_text(text)
    results.save(folder / "results.json")
    page = docs / "performance.rst"
    page.write_text(into(page.read_text() if page.exists() else _NEW, results, list(drawn)))
    return text


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--docs", type=Path, required=True)
    arguments = parser.parse_args()
    print(write(Results.load(arguments.results), arguments.docs))


if __name__ == "__main__":
    main()
