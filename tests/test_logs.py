"""What is logged: each event is one line, and shows as it is."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogPublisher, textFileLogObserver
from twisted.python.failure import Failure

from cheddar import logs
from cheddar.logs import escape, escaped


def written(format: str, failure: Failure | None = None, **values: Any) -> str:
    """What a log file has of one event."""
    file = io.StringIO()
    publisher = LogPublisher()
    publisher.addObserver(escape)
    publisher.addObserver(textFileLogObserver(file, timeFormat=None))
    log = Logger(namespace="test", observer=publisher)
    if failure is None:
        log.info(format, **values)
    else:
        log.failure(format, failure=failure, **values)
    return file.getvalue()


def test_an_event_is_one_line() -> None:
    """Line ends of all kinds, escape sequences and what turns the direction of writing are seen, not obeyed."""
    hostile = "a\n2026-01-01 [x#info] admin logged in\r\x1b[2J\x9b1m\x00\x85\u2028\u202e\u2066\u200b\ud800\x7fz"
    line = written("{who} says {error}", who="bob", error=ValueError(hostile))
    assert line.count("\n") == 1
    assert line.endswith(
        r"[test#info] bob says a\n2026-01-01 [x#info] admin logged in\r\x1b[2J\x9b1m\x00\x85\u2028\u202e\u2066\u200b"
        r"\ud800\x7fz" + "\n"
    )
    assert written("{who} is there", who="Zoë").endswith("] Zoë is there\n"), "the control"


def test_a_traceback_keeps_its_lines() -> None:
    """They are indented, so that none of them begins an event; and they steer no terminal."""
    try:
        raise RuntimeError("x\n2026-01-01 [x#info] admin logged in\x1b[2J")
    except RuntimeError:
        lines = written("A request failed", Failure()).splitlines()
    assert len(lines) > 3
    assert [line for line in lines if not line.startswith("\t")] == lines[:1]
    assert "\x1b" not in "".join(lines)
    assert "RuntimeError" in "".join(lines)


@given(st.text(), st.sampled_from(["", "\n", "\n\t"]))
def test_what_is_kept(text: str, keep: str) -> None:
    """Some characters may stay; all others are escaped one by one."""
    assert escaped(text, keep) == "".join(char if char in keep else escaped(char) for char in text)


@given(st.text(min_size=1))
def test_any_text_is_one_line(text: str) -> None:
    """Whatever is logged: one line, of characters that print, and what prints as it is."""
    line = written("{text}", text=text)
    assert line.endswith(f"] {escaped(text)}\n")
    assert line[:-1].isprintable()
    assert (escaped(text) == text) == text.isprintable()


def test_twice_is_once(monkeypatch: Any) -> None:
    """However often it begins: one observer."""
    publisher = LogPublisher()
    monkeypatch.setattr(logs, "globalLogPublisher", publisher)
    logs.begin()
    logs.begin()
    assert list(publisher._observers) == [escape]
