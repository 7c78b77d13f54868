"""What every test gets: the reactor, a deadline on it, and failure for errors that would otherwise go by unseen."""

from __future__ import annotations

import functools
import gc
import inspect
import time
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest

from tests.support import conformance

# The machine is shared: an example that is slow once is no failure.
hypothesis.settings.register_profile("cheddar", deadline=None)
hypothesis.settings.load_profile("cheddar")

DEADLINE_SECONDS = 20.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """See L{tests.support.conformance} and L{tests.web.test_matrix}."""
    parser.addoption("--conformance-table", metavar="FILE", help="write the table of what Cheddar conforms to")
    parser.addoption(
        "--write-matrix", action="store_true", help="write tests/web/matrix.txt anew: who is answered what"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Without pytest-twisted an async test would be reported, never run: refuse that."""
    if not config.pluginmanager.hasplugin("twisted"):
        raise pytest.UsageError("pytest-twisted is needed: pip install -e .[test]")
    conformance.register(config)


def _with_deadline(test: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    # pytest-timeout would kill pytest-twisted's greenlet; a timeout on the Deferred fails just this test.
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> Any:
        result = test(*args, **kwargs)
        if inspect.iscoroutine(result):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Deferred):
            result.addTimeout(seconds, reactor)  # type: ignore[arg-type]  # the module stands for the reactor
        return result

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its deadline."""
    for item in items:
        if isinstance(item, pytest.Function):
            marker = item.get_closest_marker("deadline")
            item.obj = _with_deadline(item.obj, marker.args[0] if marker else DEADLINE_SECONDS)


@pytest.fixture
def reactor() -> Any:
    """The real reactor."""
    from twisted.internet import reactor

    return reactor


@pytest.fixture
def lags(reactor: Any) -> Iterator[list[float]]:
    """Seconds of work by which the reactor was late to a beat of ten milliseconds."""
    from twisted.internet.task import LoopingCall

    late: list[float] = []
    due = worked = 0.0

    def beat() -> None:
        nonlocal due, worked
        now, works = reactor.seconds(), time.process_time()
        # A machine that stands still makes a beat late, but does not let this process work.
        late.append(min(now - due, works - worked) if due else 0.0)
        due, worked = now + 0.01, works

    beating = LoopingCall(beat)
    beating.start(0.01)
    yield late
    beating.stop()


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[list[Any]]:
    """
    Fail a test that logged an error nobody expected, or left a delayed call.

    A test that expects logged errors clears the list it gets from this fixture.
    """
    from twisted.internet import reactor
    from twisted.logger import LogEvent, LogLevel, globalLogPublisher

    failures: list[Any] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_level") == LogLevel.critical and "log_failure" in event:
            failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    before = set(map(id, reactor.getDelayedCalls()))  # type: ignore[attr-defined]
    yield failures
    gc.collect()
    globalLogPublisher.removeObserver(observe)
    left = [call for call in reactor.getDelayedCalls() if id(call) not in before]  # type: ignore[attr-defined]
    for call in left:
        call.cancel()
    assert not failures, "\n".join(failure.getTraceback() for failure in failures)
    assert not left, f"left on the reactor: {left}"


@pytest.fixture
def nothing_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that nobody is sent any more is closed at once; that it is open for no longer is then seen at once."""
    from cheddar.storage import sharing

    monkeypatch.setattr(sharing, "RESTING", 0)
