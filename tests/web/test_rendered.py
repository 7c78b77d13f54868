"""Pages are rendered and compressed once, and never shown when there is something newer to show."""

from __future__ import annotations

import gzip

from attrs import evolve

from cheddar.formats.negotiation import Choice
from cheddar.model import File, Project
from cheddar.web.rendered import Rendered, RenderedPages

FILES = tuple(File(f"p-{number}.tar.gz", str(number), size=1, digests={"sha256": "0" * 64}) for number in range(3))
MANY = tuple(File(f"p-{number}.tar.gz", str(number), size=1) for number in range(1000))
PROJECT = Project("p", FILES, ("0", "1", "2"), index="remote")


def kept(project: Project, size: int = 10, most: int = 1000) -> tuple[RenderedPages, Rendered]:
    pages = RenderedPages(most)
    page = Rendered(project, b"x" * size, "etag")
    pages.keep("../", Choice.JSON, page)
    return pages, page


def test_found_while_nothing_changed() -> None:
    """An equal project, read anew from the store, has the page that was rendered; other roots and formats do not."""
    pages, page = kept(PROJECT)
    again = evolve(PROJECT, files=tuple(evolve(file) for file in FILES), serial=7)
    assert pages.find("../", Choice.JSON, again) is page
    assert pages.find("../../", Choice.JSON, PROJECT) is None
    assert pages.find("../", Choice.HTML, PROJECT) is None


def test_gone_when_anything_changed() -> None:
    """Whatever a page shows."""
    for changed in (
        evolve(PROJECT, files=FILES[:2]),
        evolve(PROJECT, files=(evolve(FILES[0], yanked=""), *FILES[1:])),
        evolve(PROJECT, versions=("0",)),
        evolve(PROJECT, status="deprecated"),
        evolve(PROJECT, status_reason="x"),
        evolve(PROJECT, index="local"),
    ):
        pages, _ = kept(PROJECT)
        assert pages.find("../", Choice.JSON, changed) is None
        assert pages.find("../", Choice.JSON, PROJECT) is None, "it is forgotten"


def test_long_listings_are_known_by_being_the_same_object() -> None:
    """To compare thousands of files would hold up everybody else."""
    pages, page = kept(evolve(PROJECT, files=MANY))
    assert pages.find("../", Choice.JSON, evolve(PROJECT, files=MANY, serial=3)) is page
    assert pages.find("../", Choice.JSON, evolve(PROJECT, files=(*MANY[:-1], evolve(MANY[-1])))) is None


def test_memory_is_bounded() -> None:
    """What was asked for longest ago goes first; what is larger than all room is not kept."""
    pages, first = kept(PROJECT, 400)
    others = [Rendered(evolve(PROJECT, name=name), b"x" * 400, "") for name in "abc"]
    pages.keep("../", Choice.JSON, others[0])
    assert pages.find("../", Choice.JSON, PROJECT) is first
    pages.keep("../", Choice.JSON, others[1])
    assert pages.find("../", Choice.JSON, PROJECT) is first
    assert pages.find("../", Choice.JSON, others[0].project) is None
    compressed = pages.compressed("../", Choice.JSON, first)
    assert compressed.get() is None
    compressed.put(gzip.compress(b"x"))
    assert gzip.decompress(compressed.get() or b"") == b"x"
    pages.compressed("../", Choice.JSON, first).put(b"y" * 300)
    assert compressed.get() == first.compressed != b"y" * 300, "once is enough"
    pages.keep("../", Choice.JSON, Rendered(evolve(PROJECT, name="huge"), b"x" * 2000, ""))
    assert pages.find("../", Choice.JSON, evolve(PROJECT, name="huge")) is None
