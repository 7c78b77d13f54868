"""JSON in steps is JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheddar.formats import json_steps

DECODER = json.JSONDecoder()
ENCODER = json.JSONEncoder()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(VALUES | st.dictionaries(st.text(max_size=3), VALUES, max_size=4), st.sampled_from([None, 1]), st.data())
def test_as_the_standard_library_reads_it(value: object, indent: int | None, data: st.DataObject) -> None:
    """Whatever the value and the space around it; and what was cut, or has another character somewhere, is as wrong."""
    text = json.dumps(value, indent=indent)
    assert json_steps.loads(f" {text}\n", DECODER) == value
    at = data.draw(st.integers(0, len(text) - 1))
    for other in (text[:at], text[:at] + data.draw(st.sampled_from('{}[],:" x1')) + text[at + 1 :]):
        try:
            right = json.loads(other)
        except ValueError:
            with pytest.raises(ValueError, match=None):
                json_steps.loads(other, DECODER)
        else:
            assert json_steps.loads(other, DECODER) == right


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4), st.integers(0, 250))
def test_as_the_standard_library_writes_it(value: dict[str, object], count: int) -> None:
    """Whatever the value, and however long its arrays, in steps or not: the same text."""
    value = {**value, "many": list(range(count)), "deep": {"er": [value] * count}, "none": (), "pair": (1, {})}
    for encoder in (json.JSONEncoder(), json.JSONEncoder(separators=(",", ":"))):
        assert json_steps.dumps(value, encoder) == encoder.encode(value)
    assert json_steps.dumps({}, ENCODER) == "{}"


@pytest.mark.parametrize(
    "text", ["{} {}", '{"a": [1,]}', '{"a": 1,}', '{"a": [1}', "{1: 2}", '{"a" 1}', '{"a": [}', "{"]
)
def test_what_is_wrong(text: str) -> None:
    """It is wrong here as there."""
    for read in (json.loads, lambda text: json_steps.loads(text, DECODER)):
        with pytest.raises(json.JSONDecodeError):
            read(text)


def test_the_last_of_a_name_counts() -> None:
    """As everywhere in Python."""
    assert json_steps.loads('{"a": [1], "a": [2]}', DECODER) == {"a": [2]}
