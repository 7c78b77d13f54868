"""The machine's clock is set while Cheddar runs."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock, LoopingCall
from twisted.internet.threads import deferToThread

from cheddar.clock_steps import ClockSteps
from cheddar.settings import Settings
from tests.support.server import CheddarHere

#: A reactor whose clock is put back by an hour after a moment, with something that ticks; it says how often it did so
#: within the next seconds.
PROGRAM = """
import sys, time
from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from cheddar.clock_steps import ClockSteps

ticks = []
LoopingCall(lambda: ticks.append(1)).start(0.1)
if sys.argv[1] == "watched":
    ClockSteps(reactor).start()

def put_back():
    reactor.seconds = lambda: time.time() - 3600
    ticks.clear()

reactor.callLater(0.5, put_back)
# By no timer of the reactor's.
reactor.callInThread(lambda: (time.sleep(4), reactor.callFromThread(lambda: (print(len(ticks)), reactor.stop()))))
reactor.run()
"""


def ticks(*how: str) -> list[int]:
    """How often each ticked although the clock was put back; all run at once."""
    programs = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, one], stdout=subprocess.PIPE, text=True) for one in how
    ]
    return [int(program.communicate(timeout=60)[0]) for program in programs]


@pytest.mark.deadline(60)
def test_an_hour_back() -> None:
    """Timers of a real reactor go on within some seconds; without what looks after them they would not."""
    alone, watched = ticks("alone", "watched")
    assert alone <= 1, "the control"
    assert watched > 5


def test_what_was_set_before_comes_when_it_should() -> None:
    """To the second; what was set after the step is not touched, unless it would wait for longer than the step."""
    clock, passed = Clock(), 0.0
    clock.advance(100_000)
    steps = ClockSteps(clock, lambda: passed)
    came: list[str] = []
    clock.callLater(10, came.append, "before")
    loop = LoopingCall(came.append, "loop")
    loop.clock = clock
    loop.start(60, now=False)
    assert steps.step() == 0
    clock.rightNow -= 3600
    clock.callLater(5, came.append, "after")
    step = steps.step()
    assert step == -3600
    steps.stepped(step)
    clock.advance(5)
    assert came == ["after"]
    clock.advance(5)
    assert came == ["after", "before"]
    clock.advance(50)
    clock.advance(60)
    assert came == ["after", "before", "loop", "loop"]
    loop.stop()


def test_a_clock_that_is_trimmed_or_set_forward() -> None:
    """Less than some seconds, and a step forward: no timer is touched."""
    clock, passed = Clock(), 0.0
    steps = ClockSteps(clock, lambda: passed)
    call = clock.callLater(100, lambda: None)
    for by, step in ((-4, 0), (4, 0), (0, 0), (3600, 3600)):
        clock.rightNow += by
        assert steps.step() == step
    steps.stepped(3600)
    assert call.getTime() == 100
    call.cancel()


async def test_a_service_looks_after_its_timers(reactor: Any, tmp_path: Path) -> None:
    """From its start to its end."""

    def looking() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "cheddar-clock" and thread not in before]

    before = threading.enumerate()
    settings = Settings(data_dir=tmp_path / "data", index_url="", public_url="http://cheddar.example/")
    server = await CheddarHere(settings, reactor).start()
    (thread,) = looking()
    await server.stop()
    await deferToThread(thread.join, 10)
    assert looking() == []
