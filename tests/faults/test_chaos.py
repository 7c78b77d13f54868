"""Everything goes wrong at once, for a minute: see L{tests.faults.chaos}, which also runs for longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cheddar.storage.sending import FileView
from tests.faults.chaos import Chaos

SECONDS = 60.0
SEED = 7


@pytest.mark.deadline(300)
async def test_a_minute_of_chaos(reactor: Any, tmp_path: Path) -> None:
    """
    Whatever upstream does, no client gets a wrong byte, or an error that is not promised; and when upstream behaves
    again everything works, and nothing is left.
    """
    chaos = Chaos(reactor, tmp_path, SEED, SECONDS)
    await chaos.run()
    assert chaos.wrong == []
    # The control: there was trouble of every kind, and there were answers of every kind.
    assert sum(chaos.report["of them wrong"].values()) > 200, chaos.report
    for answer in ("page 200", "file 200", "part 206", "metadata 200", "head 200", "pip installed", "uv installed"):
        assert chaos.report["answers"].get(answer), (answer, chaos.report)


@pytest.mark.deadline(120)
async def test_it_would_tell(reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a Cheddar that turns a bit in what it reads from its storage does not get through."""
    read = FileView.read

    def turn_a_bit(self: FileView, offset: int, length: int) -> Deferred[bytes]:
        return read(self, offset, length).addCallback(lambda data: data[:-1] + bytes([data[-1] ^ 1]) if data else data)

    monkeypatch.setattr(FileView, "read", turn_a_bit)
    chaos = Chaos(reactor, tmp_path, SEED, 2, installing=False)
    await chaos.run()
    assert any("all of plain_0-1.0" in problem and "the first that differs is" in problem for problem in chaos.wrong)
