"""Listings that are read once, for as long as their text stays the same."""

from __future__ import annotations

import pytest

from cheddar.errors import StoreUnavailable
from cheddar.formats.records import dump_page
from cheddar.model import CachedPage, File, Project
from cheddar.store.parsed import MOST_OF_ONE, ParsedListings


def text(name: str, files: int = 1, length: int = 1) -> str:
    listed = tuple(File(f"{name}-{number}.tar.gz", str(number), url="u" * length) for number in range(files))
    return dump_page(CachedPage(Project(name, listed)))


def test_the_same_text_is_the_same_listing() -> None:
    """Another text under the name is another; a text of another name is never taken for it."""
    parsed: ParsedListings[str] = ParsedListings()
    first = parsed.load("remote", "p", text("p"))
    assert parsed.load("remote", "p", text("p")) is first
    assert parsed.load("remote", "q", text("q")) == CachedPage(Project("q", (File("q-0.tar.gz", "0", url="u"),)))
    second = parsed.load("remote", "p", text("p", 2))
    assert second.project is not None
    assert len(second.project.files) == 2
    assert parsed.load("remote", "p", text("p")) == first


def test_a_damaged_text() -> None:
    """It is told, and what was known of the name is no answer to it."""
    parsed: ParsedListings[bytes] = ParsedListings()
    parsed.load("remote", "p", text("p").encode())
    with pytest.raises(StoreUnavailable):
        parsed.load("remote", "p", b"{")


def test_memory_is_bounded() -> None:
    """What was asked for longest ago is forgotten, and what is huge is not remembered."""
    parsed: ParsedListings[str] = ParsedListings()
    third = MOST_OF_ONE * 2 // 3
    a = parsed.load("remote", "a", text("a", length=third))
    parsed.load("remote", "b", text("b", length=third))
    assert parsed.load("remote", "a", text("a", length=third)) is a
    c = parsed.load("remote", "c", text("c", length=third))
    d = parsed.load("remote", "d", text("d", length=third))
    assert parsed.load("remote", "d", text("d", length=third)) is d
    assert parsed.load("remote", "c", text("c", length=third)) is c
    assert parsed.load("remote", "a", text("a", length=third)) is not a
    huge = text("h", length=MOST_OF_ONE)
    assert parsed.load("remote", "h", huge) is not parsed.load("remote", "h", huge)
