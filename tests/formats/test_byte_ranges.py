"""Ranges as clients ask for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheddar.formats.byte_ranges import UNSATISFIABLE, Span, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", Span(0, 0)),
        ("bytes=0-", Span(0, 99)),
        ("bytes=5-", Span(5, 99)),
        ("bytes=5-9", Span(5, 9)),
        ("bytes=99-99", Span(99, 99)),
        ("bytes=5-1000", Span(5, 99)),
        ("bytes=5-" + "9" * 5000, Span(5, 99)),
        ("bytes=-10", Span(90, 99)),
        ("bytes=-10000", Span(0, 99)),
        ("bytes=000000000000000000000005-9", Span(5, 9)),
        ("Bytes = 5-9 ", Span(5, 9)),
        ("bytes=100-", UNSATISFIABLE),
        ("bytes=" + "9" * 30 + "-", UNSATISFIABLE),
        ("bytes=-0", UNSATISFIABLE),
        ("bytes=5-2", None),
        ("bytes=abc", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("", None),
        ("items=0-1", None),
        ("bytes=0-1,4-5", None),
        ("bytes=0-,0-,0-", None),
        ("bytes=+5-9", None),
        ("bytes=5 - 9", None),
        ("bytes=٥-٩", None),
    ],
)
def test_parse_range(header: str | None, expected: object) -> None:
    """One range is understood; several, or what cannot be read, mean the whole file."""
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-5"])
def test_empty_file(header: str) -> None:
    """An empty file has no byte that could be asked for."""
    assert parse_range(header, 0) is UNSATISFIABLE


def test_span() -> None:
    """A span knows its length, and its header."""
    assert (Span(5, 9).length, Span(5, 9).content_range(100)) == (5, "bytes 5-9/100")


@given(st.text(alphabet="bytes=-0123456789, ", max_size=30), st.integers(0, 200))
def test_spans_lie_within(header: str, size: int) -> None:
    """Whatever is asked for, what is sent exists."""
    span = parse_range(header, size)
    if isinstance(span, Span):
        assert 0 <= span.first <= span.last < size
