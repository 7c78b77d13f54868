"""Patterns of project names: what they may look like, and which names they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheddar.names import (
    is_of_pattern,
    is_project_name,
    names_and_beginnings,
    normalize,
    normalize_pattern,
    patterns_meet,
)

NAMES = st.from_regex(r"\A[a-b]([-_.]*[a-b]){0,4}\Z").map(normalize)
PATTERNS = st.tuples(NAMES, st.sampled_from(["", "*", "-*"])).map("".join)


@pytest.mark.conforms("PEP 752", "Naming: a namespace is compared in its normalized form")
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("acme", "acme"),
        ("Acme.Tool", "acme-tool"),
        ("acme*", "acme*"),
        ("ACME-*", "acme-*"),
        ("Acme_*", "acme-*"),
        ("acme.*", "acme-*"),
        ("acme-._*", "acme-*"),
        ("Acme__Web.*", "acme-web-*"),
        ("a*", "a*"),
    ],
)
def test_a_pattern_is_normalized_as_names_are(written: str, meant: str) -> None:
    """However a namespace is spelled, it stands for the same names; and what is normalized stays as it is."""
    assert normalize_pattern(written) == meant
    assert normalize_pattern(meant) == meant


@pytest.mark.parametrize(
    "text",
    ["", "*", "-*", "_*", "-acme*", "acme**", "*acme", "ac*me", "acme-", "acme *", "acmé*", "acme\n", "a?", "[ab]*"],
)
def test_what_is_no_pattern(text: str) -> None:
    """Anything else is refused, in words that say what would do."""
    with pytest.raises(ValueError, match=r"acme, acme-\* \(acme too\) or acme\*"):
        normalize_pattern(text)


@pytest.mark.conforms("PEP 752", "Semantics: a namespace is its own name and all that begins with it and a dash")
def test_which_names_a_pattern_stands_for() -> None:
    """acme-* is acme and acme-anything, not acmeology; acme* is all three; acme is itself alone."""
    names = ["acme", "acme-tool", "acme-web-ui", "acmeology", "acm", "the-acme"]
    stands_for = {
        pattern: [name for name in names if is_of_pattern(name, pattern)]
        for pattern in ("acme", "acme-*", "acme*", "acme-web-*", "acme-w*")
    }
    assert stands_for == {
        "acme": ["acme"],
        "acme-*": ["acme", "acme-tool", "acme-web-ui"],
        "acme*": ["acme", "acme-tool", "acme-web-ui", "acmeology"],
        "acme-web-*": ["acme-web-ui"],
        "acme-w*": ["acme-web-ui"],
    }
    assert is_of_pattern("acme-web", "acme-web-*")


@given(st.lists(PATTERNS, max_size=4), NAMES)
def test_many_names_are_compared_as_one_is(patterns: list[str], name: str) -> None:
    """What is fast for a whole list of projects says the same as what is asked for one name."""
    names, beginnings = names_and_beginnings(patterns)
    found = name in names or name.startswith(beginnings)
    assert found == any(is_of_pattern(name, pattern) for pattern in patterns)


@given(PATTERNS, PATTERNS, NAMES)
def test_patterns_that_have_a_name_in_common_meet(one: str, other: str, name: str) -> None:
    """Two patterns meet exactly where a name can be found that both stand for."""
    if is_of_pattern(name, one) and is_of_pattern(name, other):
        assert patterns_meet(one, other)
    assert patterns_meet(one, other) == patterns_meet(other, one)
    if patterns_meet(one, other):
        # The longer beginning of the two is such a name.
        longer = max(one.rstrip("-*"), other.rstrip("-*"), key=len)
        assert is_project_name(longer)
        assert is_of_pattern(longer, one)
        assert is_of_pattern(longer, other)
