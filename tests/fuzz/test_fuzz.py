"""A bounded round of each target, the same each time; C{python -m tests.fuzz} goes on for as long as it is told."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheddar.errors import Invalid
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS, Target


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_what_is_good(name: str) -> None:
    """The control: a target's seeds are read, so that what is mutated is near to what is good."""
    read = 0
    for seed in TARGETS[name].seeds:
        try:
            TARGETS[name].read(seed)
        except Invalid:
            continue
        read += 1
    assert read, f"none of the seeds of {name} is good"


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_nothing_else_than_read_or_refused(name: str) -> None:
    """Nothing that a stranger can send makes a reader fail in a way that nobody foresaw."""
    target = TARGETS[name]

    @settings(max_examples=120, derandomize=True, database=None)
    @given(st.one_of(st.binary(max_size=300), st.builds(_mutated, st.sampled_from(list(target.seeds)), st.integers())))
    def fuzz(data: bytes) -> None:
        target(data)

    fuzz()


def _mutated(seed: bytes, number: int) -> bytes:
    return mutated(seed, Random(number))


def test_it_can_fail() -> None:
    """A reader that does anything else is found."""
    with pytest.raises(ZeroDivisionError):
        Target(lambda data: 1 // 0, [b""])(b"x")
    with pytest.raises(AssertionError, match="says why"):
        Target(_refuses_without_a_word, [b""])(b"x")


def _refuses_without_a_word(data: bytes) -> None:
    raise Invalid("")
