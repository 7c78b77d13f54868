"""What every IPageCache does."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from attrs import evolve
from zope.interface.verify import verifyObject

from cheddar.interfaces import IPageCache, IStore
from cheddar.model import CachedPage, File, Project, Validators
from tests.contracts.conftest import StoreUnderTest
from tests.contracts.test_project_store import ODD_NAMES

#: A time that no rounding to six digits, or to fourteen significant ones, survives.
PRECISE = 1799999999.1234567


def listing(name: str = "spam", files: int = 2, **more: float) -> CachedPage:
    """An answer of upstream."""
    listed = tuple(
        File(
            filename=f"{name}-1.{number}.tar.gz",
            version=f"1.{number}",
            digests={"sha256": "a" * 64},
            upload_time=datetime(2026, 11, 5, 12, 0, 0, number, tzinfo=timezone.utc),
            url=f"https://files.example/{name}-1.{number}.tar.gz",
            core_metadata={},
        )
        for number in range(files)
    )
    project = Project(name, listed, tuple(file.version for file in listed), status="archived", index="remote")
    return CachedPage(project, Validators('W/"x"', "Thu, 05 Nov 2026 12:00:00 GMT"), **more)


async def test_interface(store: IStore) -> None:
    """The page cache is what it says."""
    verifyObject(IPageCache, store.pages)


@pytest.mark.parametrize("files", [0, 2, 2000])
async def test_round_trip(store: IStore, files: int) -> None:
    """An answer comes back as it was, large or small, to the last microsecond."""
    page = listing(files=files, checked_at=PRECISE, asked_at=PRECISE + 1, missing_since=PRECISE - 1)
    await store.pages.put("remote", "spam", page)
    assert await store.pages.get("remote", "spam") == page


async def test_nothing_remembered(store: IStore) -> None:
    """Questions about a page that is not there are answered, and do not make one."""
    assert await store.pages.get("remote", "spam") is None
    await store.pages.touch("remote", "spam", 5.0)
    await store.pages.mark_checked("remote", "spam", 5.0)
    await store.pages.drop("remote", "spam")
    assert await store.pages.get("remote", "spam") is None
    assert await store.pages.names("remote") == ()
    assert await store.pages.stale("remote", 10.0, 0.0, 10) == ()


async def test_times(store: IStore) -> None:
    """Noting a time changes that time alone."""
    page = listing(checked_at=1.0, asked_at=2.0)
    await store.pages.put("remote", "spam", page)
    await store.pages.touch("remote", "spam", PRECISE)
    assert await store.pages.get("remote", "spam") == evolve(page, asked_at=PRECISE)
    await store.pages.mark_checked("remote", "spam", PRECISE + 1)
    assert await store.pages.get("remote", "spam") == evolve(page, asked_at=PRECISE, checked_at=PRECISE + 1)


async def test_put_replaces(store: IStore) -> None:
    """The last answer counts, with its times; "there is none" is remembered too, and is no listing."""
    await store.pages.put("remote", "spam", listing(checked_at=1.0, asked_at=2.0))
    assert await store.pages.names("remote") == ("spam",)
    none = CachedPage(None, checked_at=3.0, asked_at=4.0)
    await store.pages.put("remote", "spam", none)
    assert await store.pages.get("remote", "spam") == none
    assert await store.pages.names("remote") == ()
    await store.pages.put("remote", "spam", listing())
    assert await store.pages.names("remote") == ("spam",)


async def test_quarantined(store: IStore) -> None:
    """What upstream has quarantined is remembered and kept fresh, and leaves the list of projects (PEP 792)."""
    page = listing(checked_at=1.0, asked_at=2.0)
    await store.pages.put("remote", "spam", page)
    assert await store.pages.names("remote") == ("spam",)
    quarantined = evolve(page, project=evolve(page.project, files=(), status="quarantined"))
    await store.pages.put("remote", "spam", quarantined)
    assert await store.pages.names("remote") == ()
    assert await store.pages.get("remote", "spam") == quarantined
    assert await store.pages.stale("remote", 10.0, 0.0, 10) == ("spam",)


async def test_drop(store: IStore) -> None:
    """A dropped page is forgotten everywhere, and its neighbour is not."""
    for name in ("spam", "eggs"):
        await store.pages.put("remote", name, listing(name, asked_at=5.0))
    await store.pages.drop("remote", "spam")
    assert await store.pages.get("remote", "spam") is None
    assert await store.pages.names("remote") == ("eggs",)
    assert await store.pages.stale("remote", 10.0, 0.0, 10) == ("eggs",)


async def test_stale(store: IStore) -> None:
    """Due are the pages checked before, and asked for after, the given times: the most wanted first, some at most."""
    for name, checked_at, asked_at in (
        ("due", 10.0, 100.0),
        ("due-and-wanted", 10.0, 300.0),
        ("due-and-liked", 19.0, 200.0),
        ("fresh", 20.0, 400.0),
        ("forgotten", 10.0, 50.0),
    ):
        await store.pages.put("remote", name, listing(name, checked_at=checked_at, asked_at=asked_at))
    await store.pages.put("other", "elsewhere", listing("elsewhere", asked_at=500.0))
    due = ("due-and-wanted", "due-and-liked", "due")
    assert await store.pages.stale("remote", 20.0, 50.0, 10) == due
    assert await store.pages.stale("remote", 20.0, 50.0, 2) == due[:2]
    assert await store.pages.stale("remote", 20.0, 50.0, 0) == ()
    await store.pages.mark_checked("remote", "due-and-wanted", 25.0)
    await store.pages.touch("remote", "due", 600.0)
    assert await store.pages.stale("remote", 20.0, 50.0, 10) == ("due", "due-and-liked")


DAY = 86_400.0


async def test_wanted(store: IStore) -> None:
    """
    Who is asked for often comes before who was asked for a little later and once; a request is worth half as much a
    day later, whatever happens to the page meanwhile; and the time after which it must be asked for stays what it is.
    """
    for name in ("often", "once", "twice", "lately"):
        await store.pages.put("remote", name, listing(name, asked_at=PRECISE))
    for number in range(7):
        await store.pages.touch("remote", "often", PRECISE + number)
    await store.pages.touch("remote", "twice", PRECISE + DAY / 2)
    await store.pages.touch("remote", "lately", PRECISE + DAY)

    async def due(asked_after: float = 0.0, limit: int = 10) -> tuple[str, ...]:
        names: tuple[str, ...] = await store.pages.stale("remote", PRECISE, asked_after, limit)
        return names

    assert await due() == ("often", "lately", "twice", "once")
    assert await due(limit=1) == ("often",)
    assert await due(PRECISE + 60) == ("lately", "twice")
    await store.pages.put("remote", "often", listing("often", asked_at=PRECISE + 6))
    await store.pages.mark_checked("remote", "often", 1.0)
    assert (await due())[0] == "often"
    # Eight requests of before are worth one of three days later, and a request beside them makes the difference.
    await store.pages.touch("remote", "once", PRECISE + 3 * DAY + 60)
    assert (await due())[:2] == ("once", "often")
    await store.pages.touch("remote", "often", PRECISE + 3 * DAY)
    assert (await due())[:2] == ("often", "once")
    await store.pages.put("remote", "lately", listing("lately", asked_at=PRECISE + 9 * DAY))
    assert (await due())[0] == "lately"
    await store.pages.drop("remote", "lately")
    await store.pages.put("remote", "lately", listing("lately", asked_at=PRECISE - DAY))
    assert (await due())[-1] == "lately", "what is forgotten is not wanted any more"


async def test_wanted_whatever_the_clock_says(store: IStore) -> None:
    """A clock that leaps, back or ahead, puts nothing into disorder."""
    for name in ("spam", "eggs"):
        await store.pages.put("remote", name, listing(name, asked_at=PRECISE))
    await store.pages.touch("remote", "spam", 5.0)
    await store.pages.touch("remote", "eggs", 10 * PRECISE)
    await store.pages.touch("remote", "eggs", PRECISE)
    page = await store.pages.get("remote", "eggs")
    assert page is not None
    assert page.asked_at == PRECISE
    assert await store.pages.stale("remote", PRECISE, 6.0, 10) == ("eggs",)
    await store.pages.touch("remote", "spam", PRECISE + 1)
    await store.pages.touch("remote", "spam", PRECISE + 2)
    assert await store.pages.stale("remote", PRECISE, 6.0, 10) == ("spam", "eggs")


@pytest.mark.deadline(60)
async def test_stale_among_many(store: IStore) -> None:
    """Pages that are due are found behind any number that are not."""
    for number in range(450):
        await store.pages.put("remote", f"p{number:03}", listing(files=0, checked_at=100.0, asked_at=1000.0 - number))
    for name in ("p210", "p449"):
        await store.pages.mark_checked("remote", name, 1.0)
    assert await store.pages.stale("remote", 50.0, 0.0, 10) == ("p210", "p449")


async def test_names_are_never_patterns(store: IStore) -> None:
    """A name, of an index or a project, means itself alone."""
    for name in ODD_NAMES:
        await store.pages.put("remote", name, listing(name))
        await store.pages.put(name, "spam", listing(name))
    assert await store.pages.names("remote") == tuple(sorted(ODD_NAMES))
    for name in ODD_NAMES:
        assert (await store.pages.get("remote", name)).project.name == name
        assert (await store.pages.get(name, "spam")).project.name == name
        await store.pages.drop(name, "spam")
        await store.pages.drop("remote", name)
    assert await store.pages.names("remote") == ()


async def test_nodes_see_each_other(under_test: StoreUnderTest) -> None:
    """What one node fetched, the other need not."""
    there = await under_test.another()
    await under_test.store.pages.put("remote", "spam", listing())
    assert await there.pages.get("remote", "spam") == listing()
