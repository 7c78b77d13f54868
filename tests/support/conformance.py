"""
The table of what Cheddar conforms to, made of the tests that ran.

A test names the lines that it proves with C{@pytest.mark.conforms(specification, line)}; where it has a parameter
C{index}, the line is proven for that index. A test of a client says C{@pytest.mark.client(what, name)}; without a name
it is the parameter C{client}. C{pytest --conformance-table=FILE} writes the table; a run of everything checks the one
in the documentation against what has passed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.support.clients import REQUIREMENTS, ROOT, title

TABLE = ROOT / "docs" / "conformance.rst"
INDEXES = ("local", "remote", "combined")
_MADE_WITH = (3, 11)

_HEAD = """\
What Cheddar conforms to
========================

The tests made this table: a line is here because the tests named beside it have passed. ``make conformance`` makes it
anew, and the test suite fails when it says anything else than the tests do. The specifications are named by the PEP
that they began as; what counts is their present text in the PyPA specifications.

"""


@attrs.define
class _Line:
    """A line of a table: where it was proven, and by what."""

    proven: set[str] = attrs.field(factory=set)
    failed: set[str] = attrs.field(factory=set)
    tests: set[str] = attrs.field(factory=set)


@attrs.define(eq=False)
class ConformanceTable:
    """Collects while the tests run."""

    _write_to: str | None
    _everything: bool
    _specifications: dict[tuple[str, str], _Line] = attrs.field(factory=dict)
    _clients: dict[tuple[str, str], _Line] = attrs.field(factory=dict)
    _wrong: str = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        """Note what a test has proven."""
        report = yield
        if report.when == "call" or not report.passed:
            self._note(item, report.passed)
        return report

    def _note(self, item: pytest.Item, passed: bool) -> None:
        parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        test = f"{item.path.relative_to(ROOT)}::{getattr(item, 'originalname', item.name)}"

        def note(table: dict[tuple[str, str], _Line], key: tuple[str, str], where: str) -> None:
            line = table.setdefault(key, _Line())
            (line.proven if passed else line.failed).add(where)
            line.tests.add(test)

        for marker in item.iter_markers("conforms"):
            specification, text = marker.args
            index = parameters.get("index")
            note(self._specifications, (specification, text), index if index in INDEXES else "server")
        for marker in item.iter_markers("client"):
            what, name = marker.args if len(marker.args) > 1 else (*marker.args, parameters["client"])
            store = next((value for value in parameters.values() if value in ("sqlite", "redis")), "sqlite")
            note(self._clients, (name, what), store)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the table, or compare it."""
        if self._write_to is not None:
            Path(self._write_to).write_text(self.render())
            return
        checked = self._everything and exitstatus == 0 and sys.version_info[:2] == _MADE_WITH
        if checked and not (TABLE.exists() and TABLE.read_text() == self.render()):
            self._wrong = f"{TABLE.relative_to(ROOT)} does not say what the tests have shown: run make conformance"
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say why."""
        if self._wrong:
            terminalreporter.write_line(f"ERROR: {self._wrong}", red=True)

    def render(self) -> str:
        """The table as reStructuredText."""
        out = [_HEAD, _heading("Specifications")]
        names = list(dict.fromkeys(name for name, _ in sorted(self._specifications, key=_natural)))
        for name in names:
            out.append(_heading(name, "~"))
            rows = [["What", *INDEXES, "server", "Test"]]
            for (specification, text), line in sorted(self._specifications.items()):
                if specification == name:
                    cells = ["yes" if place in line.proven - line.failed else "" for place in (*INDEXES, "server")]
                    rows.append([text, *cells, _tests(line)])
            out.append(_table(rows))
        out.append(_heading("Clients"))
        for client in [name for name in REQUIREMENTS if any(name == known for known, _ in self._clients)]:
            out.append(_heading(title(client), "~"))
            rows = [["What", "sqlite", "redis", "Test"]]
            for (known, what), line in sorted(self._clients.items()):
                if known == client:
                    cells = ["yes" if store in line.proven - line.failed else "" for store in ("sqlite", "redis")]
                    rows.append([what, *cells, _tests(line)])
            out.append(_table(rows))
        return "\n".join(out).rstrip() + "\n"


def _natural(key: tuple[str, str]) -> tuple[str, int]:
    word, _, number = key[0].partition(" ")
    return (word, int(number)) if number.isdigit() else (key[0], 0)


def _tests(line: _Line) -> str:
    return " ".join(f"``{test}``" for test in sorted(line.tests))


def _heading(text: str, underline: str = "-") -> str:
    return f"{text}\n{underline * len(text)}\n"


def _table(rows: list[list[str]]) -> str:
    out = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        out.extend(f"   {'* -' if place == 0 else '  -'} {cell}".rstrip() for place, cell in enumerate(row))
    return "\n".join([*out, ""])


def register(config: pytest.Config) -> None:
    """Take part in a test run."""
    chosen = config.getoption("keyword") or config.getoption("markexpr") or config.getoption("deselect")
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    everything = not (chosen or named or config.option.collectonly)
    config.pluginmanager.register(ConformanceTable(config.getoption("conformance_table"), everything))
