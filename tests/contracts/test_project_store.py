"""What every IProjectStore does."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.defer import DeferredList
from zope.interface.verify import verifyObject

from cheddar.errors import AlreadyExists, Forbidden, Invalid, NotFound
from cheddar.interfaces import IProjectStore, IStore
from cheddar.model import File, ProjectList, Selector
from tests.contracts.conftest import HISTORY_SIZE, StoreUnderTest

NOON = datetime(2026, 11, 5, 12, 0, 0, 123456, tzinfo=timezone.utc)
ODD_NAMES = ("*", "?", "[a-z]", "{x}", "%", "_", "a'b", 'a"b', "a\\b", "a b", "a.b", "a:b", "ä", "$(x)", "--", "a%b_c*")


def wheel(version: str = "1.0", name: str = "spam", content: str = "a", tag: str = "py3", **more: Any) -> File:
    """A wheel; C{content} stands for its bytes."""
    filename = f"{name}-{version}-{tag}-none-any.whl"
    return File(
        filename=filename,
        version=version,
        size=12345,
        digests={"sha256": content * 64, "blake2b_256": "b" * 64},
        upload_time=more.pop("upload_time", NOON),
        requires_python=">=3.8",
        core_metadata={"sha256": "c" * 64},
        key=f"releases/{filename}",
        uploaded_by="ann",
        **more,
    )


async def test_interfaces(store: IStore) -> None:
    """A store and its faces are what they say."""
    verifyObject(IStore, store)
    verifyObject(IProjectStore, store.projects)


async def test_empty(store: IStore) -> None:
    """A new store has nothing, and says so without errors."""
    assert (await store.projects.listed()).names == ()
    assert await store.projects.owned_names() == ()
    assert await store.projects.project("spam") is None
    assert await store.projects.serial() == 0
    assert await store.projects.history() == ()


async def test_file_survives_exactly(store: IStore) -> None:
    """What was published comes back as it was: microseconds, digests, and a version that looks like a number."""
    file = wheel("1.10")
    await store.projects.add_file("spam", "Spam", file, True)
    project = await store.projects.project("spam")
    assert project.files == (file,)
    assert project.files[0].upload_time.microsecond == 123456
    assert project.versions == ("1.10",)
    assert (project.name, project.display_name, project.index) == ("spam", "Spam", "local")
    assert project.serial == await store.projects.serial() > 0


@pytest.mark.parametrize("version", ["1.10", "007", "1_0", "1e5", "2.0", "1!2.0+local.7"])
async def test_versions_stay_text(store: IStore, version: str) -> None:
    """No version becomes a number on its way."""
    await store.projects.add_file("spam", version, wheel(version), True)
    project = await store.projects.project("spam")
    assert (project.versions, project.display_name) == ((version,), version)
    assert [release.version for release in await store.projects.history()] == [version]


async def test_order(store: IStore) -> None:
    """Files come by version and name, versions oldest first, projects by name."""
    for version in ("1.10", "1.9", "1.10rc1"):
        for tag in ("py3", "cp311"):
            await store.projects.add_file("spam", "spam", wheel(version, tag=tag), True)
    await store.projects.add_file("eggs", "eggs", wheel("1.0", "eggs"), True)
    project = await store.projects.project("spam")
    assert project.versions == ("1.9", "1.10rc1", "1.10")
    assert [(file.version, file.filename.split("-")[2]) for file in project.files] == [
        (version, tag) for version in project.versions for tag in ("cp311", "py3")
    ]
    assert (await store.projects.listed()).names == ("eggs", "spam")


async def test_same_name_twice(store: IStore) -> None:
    """A file is never replaced by an upload: the second one is told, and changes nothing."""
    await store.projects.add_file("spam", "spam", wheel(), True)
    serial = await store.projects.serial()
    with pytest.raises(AlreadyExists, match=r"spam-1\.0-py3-none-any\.whl"):
        await store.projects.add_file("spam", "other", wheel(content="f"), True)
    project = await store.projects.project("spam")
    assert (project.files, project.display_name) == ((wheel(),), "spam")
    assert await store.projects.serial() == serial


async def test_concurrent_uploads(under_test: StoreUnderTest) -> None:
    """Of many who publish one name at the same moment, on two nodes, exactly one wins, and its bytes are listed."""
    nodes = [under_test.store, await under_test.another()]
    files = [wheel(content="0123456789abcdef"[number]) for number in range(16)]
    results = await DeferredList(
        [nodes[i % 2].projects.add_file("spam", "spam", file, True) for i, file in enumerate(files)],
        consumeErrors=True,
    )
    won = [file for file, (succeeded, _) in zip(files, results, strict=True) if succeeded]
    lost = [result for succeeded, result in results if not succeeded]
    assert len(won) == 1
    assert all(failure.check(AlreadyExists) for failure in lost)
    assert (await nodes[0].projects.project("spam")).files == tuple(won)


async def test_serial_moves_with_each_change(store: IStore) -> None:
    """Whoever remembers something by the serial sees every change, and no change where there was none."""
    projects = store.projects
    seen = [await projects.serial()]
    only = Selector("1.0")
    for change in (
        lambda: projects.add_file("spam", "spam", wheel(), True),
        lambda: projects.put_file("spam", "spam", wheel(content="d")),
        lambda: projects.set_yanked("spam", only, ""),
        lambda: projects.set_yanked("spam", only, None),
        lambda: projects.remove_files("spam", only),
        lambda: projects.release_name("spam"),
    ):
        await change()
        seen.append(await projects.serial())
        assert await projects.serial() == seen[-1]
    assert seen == sorted(set(seen))


async def test_project_serial(store: IStore) -> None:
    """A project's serial is that of its own last change."""
    await store.projects.add_file("spam", "spam", wheel(), True)
    first = (await store.projects.project("spam")).serial
    await store.projects.add_file("eggs", "eggs", wheel(name="eggs"), True)
    assert (await store.projects.project("spam")).serial == first
    await store.projects.set_yanked("spam", Selector("1.0"), "bad")
    assert (await store.projects.project("spam")).serial == await store.projects.serial() > first


async def test_yank(store: IStore) -> None:
    """A release is yanked with all its files and no other's, with a reason or without, and un-yanked again."""
    for version in ("1.0", "2.0"):
        for tag in ("py3", "cp311"):
            await store.projects.add_file("spam", "spam", wheel(version, tag=tag), True)

    async def marks() -> list[str | None]:
        return [file.yanked for file in (await store.projects.project("spam")).files]

    assert await store.projects.set_yanked("spam", Selector("1.0"), "broken: ü") == 2
    assert await marks() == ["broken: ü", "broken: ü", None, None]
    assert await store.projects.set_yanked("spam", Selector("1.0"), "broken: ü") == 2
    assert await store.projects.set_yanked("spam", Selector("1.0", wheel("1.0").filename), "") == 1
    assert await marks() == ["broken: ü", "", None, None]
    assert await store.projects.set_yanked("spam", Selector("1.0"), None) == 2
    assert await marks() == [None] * 4


@pytest.mark.parametrize(
    "selector", [Selector("9.9"), Selector("1.0", "no-such.whl"), Selector("2.0", wheel("1.0").filename)]
)
async def test_nothing_selected(store: IStore, selector: Selector) -> None:
    """Yanking or removing what is not there is refused, and changes nothing."""
    await store.projects.add_file("spam", "spam", wheel("1.0"), True)
    await store.projects.add_file("spam", "spam", wheel("2.0"), True)
    serial = await store.projects.serial()
    for project in ("spam", "nobody"):
        with pytest.raises(NotFound):
            await store.projects.set_yanked(project, selector, "x")
        with pytest.raises(NotFound):
            await store.projects.remove_files(project, selector)
    assert await store.projects.serial() == serial
    assert await store.projects.project("nobody") is None


async def test_the_list_says_what_has_changed(store: IStore) -> None:
    """
    A mirror sees by the list alone which projects are new to it: each has the serial of its own last change, the list
    that of the last change of all. Quarantined projects are there and marked: who may see them is not the store's.
    """
    projects = store.projects
    assert await projects.listed() == ProjectList((), 0)
    for name in ("spam", "eggs", "ham"):
        await projects.add_file(name, name, wheel(name=name), True)
    listing = await projects.listed()
    assert listing.names == ("eggs", "ham", "spam")
    serials = {listed.name: listed.serial for listed in listing.projects}
    assert serials == {name: (await projects.project(name)).serial for name in serials}
    assert listing.serial == await projects.serial() == max(serials.values())
    await projects.set_status("eggs", "quarantined", "a\n\nb")
    await projects.set_status("ham", "deprecated", None)
    listing = await projects.listed()
    assert [(listed.name, listed.status) for listed in listing.projects] == [
        ("eggs", "quarantined"),
        ("ham", "deprecated"),
        ("spam", "active"),
    ]
    assert serials["spam"] < (await projects.project("eggs")).serial == listing.projects[0].serial
    before = listing.serial
    await projects.remove_files("spam", Selector("1.0"))
    listing = await projects.listed()
    assert listing.names == ("eggs", "ham"), "without files it is not listed"
    assert listing.serial == (await projects.project("spam")).serial > before


async def test_name_stays_taken(store: IStore) -> None:
    """A project whose last file is gone keeps its name, so that upstream's of the same name stays hidden."""
    file = wheel()
    await store.projects.add_file("spam", "Spam", file, True)
    with pytest.raises(Invalid):
        await store.projects.release_name("spam")
    assert await store.projects.remove_files("spam", Selector("1.0")) == (file,)
    project = await store.projects.project("spam")
    assert (project.files, project.versions, project.display_name) == ((), (), "Spam")
    assert (await store.projects.listed()).names == ()
    assert await store.projects.owned_names() == ("spam",)
    await store.projects.release_name("spam")
    assert await store.projects.project("spam") is None
    assert await store.projects.owned_names() == ()
    with pytest.raises(NotFound):
        await store.projects.release_name("spam")


async def test_put_file_keeps_what_people_decided(store: IStore) -> None:
    """A rebuild takes size and digests from the file, and leaves yank mark, uploader and upload time alone."""
    await store.projects.add_file("spam", "Spam", wheel(), True)
    await store.projects.set_yanked("spam", Selector("1.0"), "bad")
    found = evolve(wheel(content="e"), size=1, upload_time=NOON + timedelta(days=1), uploaded_by="")
    await store.projects.put_file("spam", "SPAM", found)
    (file,) = (await store.projects.project("spam")).files
    assert (file.size, file.digests["sha256"]) == (1, "e" * 64)
    assert (file.yanked, file.uploaded_by, file.upload_time) == ("bad", "ann", NOON)
    assert len(await store.projects.history()) == 1


async def test_put_file_makes_a_row(store: IStore) -> None:
    """A rebuild of an empty store brings files back, takes their names, and does not call them recent uploads."""
    await store.projects.put_file("spam", "Spam", wheel())
    project = await store.projects.project("spam")
    assert (project.files, project.display_name) == ((wheel(),), "Spam")
    assert await store.projects.owned_names() == ("spam",)
    assert (await store.projects.listed()).names == ("spam",)
    assert await store.projects.history() == ()


async def test_reuse(store: IStore) -> None:
    """A removed file's name may come back; where reuse is refused, only with the bytes it had."""
    await store.projects.add_file("spam", "spam", wheel(content="a"), False)
    await store.projects.remove_files("spam", Selector("1.0"))
    with pytest.raises(AlreadyExists):
        await store.projects.add_file("spam", "spam", wheel(content="f"), False)
    with pytest.raises(AlreadyExists):
        await store.projects.add_file("spam", "spam", evolve(wheel(), digests={}), False)
    await store.projects.add_file("spam", "spam", wheel(content="a"), False)
    await store.projects.remove_files("spam", Selector("1.0"))
    await store.projects.add_file("spam", "spam", wheel(content="f"), True)
    assert (await store.projects.project("spam")).files == (wheel(content="f"),)


async def test_reuse_of_unknown_bytes(store: IStore) -> None:
    """Where nobody knows which bytes a removed file had, no bytes are the same."""
    unknown = evolve(wheel(), digests={"md5": "a" * 32})
    await store.projects.add_file("spam", "spam", unknown, False)
    await store.projects.remove_files("spam", Selector("1.0"))
    for file in (unknown, wheel()):
        with pytest.raises(AlreadyExists):
            await store.projects.add_file("spam", "spam", file, False)


async def test_reuse_after_release(store: IStore) -> None:
    """Giving up a project's name does not make its file names new."""
    await store.projects.add_file("spam", "spam", wheel(content="a"), False)
    await store.projects.remove_files("spam", Selector("1.0"))
    await store.projects.release_name("spam")
    with pytest.raises(AlreadyExists):
        await store.projects.add_file("spam", "spam", wheel(content="f"), False)
    assert await store.projects.project("spam") is None


async def test_history(store: IStore) -> None:
    """One entry per release, newest upload first; a later file brings its release to the front."""
    for minute, (version, tag) in enumerate([("1.0", "py3"), ("2.0", "py3"), ("1.0", "cp311")]):
        time = NOON + timedelta(minutes=minute)
        await store.projects.add_file("spam", "spam", wheel(version, tag=tag, upload_time=time), True)
    releases = await store.projects.history()
    assert [(release.project, release.version) for release in releases] == [("spam", "1.0"), ("spam", "2.0")]
    assert releases[0].uploaded_at == NOON + timedelta(minutes=2)


async def test_history_is_bounded(store: IStore) -> None:
    """The history keeps as many releases as it was told to."""
    versions = [f"1.{number}" for number in range(HISTORY_SIZE + 3)]
    for version in versions:
        await store.projects.add_file("spam", "spam", wheel(version), True)
    assert [release.version for release in await store.projects.history()] == versions[: -HISTORY_SIZE - 1 : -1]


async def test_removed_release_leaves_the_history(store: IStore) -> None:
    """A release leaves the history with its last file, not before."""
    for tag in ("py3", "cp311"):
        await store.projects.add_file("spam", "spam", wheel("1.0", tag=tag), True)
    await store.projects.add_file("spam", "spam", wheel("2.0"), True)
    await store.projects.remove_files("spam", Selector("1.0", wheel("1.0").filename))
    assert [release.version for release in await store.projects.history()] == ["2.0", "1.0"]
    await store.projects.remove_files("spam", Selector("1.0"))
    assert [release.version for release in await store.projects.history()] == ["2.0"]


async def test_names_are_never_patterns(store: IStore) -> None:
    """A name means itself: no character in it stands for others, in any question or change."""
    for name in ODD_NAMES:
        await store.projects.add_file(name, name, wheel(name=name), True)
    assert (await store.projects.listed()).names == tuple(sorted(ODD_NAMES))
    for left, name in reversed(list(enumerate(ODD_NAMES))):
        assert [file.filename for file in (await store.projects.project(name)).files] == [wheel(name=name).filename]
        await store.projects.remove_files(name, Selector("1.0", wheel(name=name).filename))
        await store.projects.release_name(name)
        assert await store.projects.owned_names() == tuple(sorted(ODD_NAMES[:left]))


async def test_nodes_see_each_other(under_test: StoreUnderTest) -> None:
    """What one node changes, the other has at once."""
    here, there = under_test.store, await under_test.another()
    await here.projects.add_file("spam", "spam", wheel(), True)
    assert (await there.projects.project("spam")).files == (wheel(),)
    await there.projects.set_yanked("spam", Selector("1.0"), "x")
    assert (await here.projects.project("spam")).files[0].yanked == "x"
    assert await here.projects.serial() == await there.projects.serial()


async def test_concurrent_changes_of_one_project(under_test: StoreUnderTest) -> None:
    """Changes of one project by two nodes at once all happen: none overwrites another's."""
    nodes = [under_test.store, await under_test.another()]
    versions = [f"1.{number}" for number in range(8)]
    for version in versions:
        await nodes[0].projects.add_file("spam", "spam", wheel(version), True)
    changes = [
        nodes[i % 2].projects.set_yanked("spam", Selector(version), version) for i, version in enumerate(versions)
    ]
    for number in range(4):
        changes.append(nodes[number % 2].projects.add_file("spam", "spam", wheel(f"2.{number}"), True))
    results = await DeferredList(changes, consumeErrors=True)
    assert [result for succeeded, result in results if not succeeded] == []
    files = {file.version: file.yanked for file in (await nodes[1].projects.project("spam")).files}
    assert files == {version: version for version in versions} | {f"2.{number}": None for number in range(4)}


@pytest.mark.parametrize("yank_first", [True, False])
async def test_removed_stays_removed(under_test: StoreUnderTest, yank_first: bool) -> None:
    """A file that is removed while somebody else yanks it is gone: the mark does not bring it back."""
    nodes = [under_test.store, await under_test.another()]
    for number in range(5):
        chosen = Selector(f"1.{number}")
        await nodes[0].projects.add_file("spam", "spam", wheel(chosen.version), True)
        changes = [
            lambda chosen=chosen: nodes[0].projects.set_yanked("spam", chosen, "x"),
            lambda chosen=chosen: nodes[1].projects.remove_files("spam", chosen),
        ]
        results = await DeferredList(
            [change() for change in (changes if yank_first else changes[::-1])], consumeErrors=True
        )
        yanked, removed = results if yank_first else results[::-1]
        assert removed[0], removed[1]
        assert yanked[0] or yanked[1].check(NotFound)
        assert (await nodes[0].projects.project("spam")).files == ()


async def test_survives_a_restart(under_test: StoreUnderTest) -> None:
    """What a store has taken is there after it was closed and opened again."""
    await under_test.store.projects.add_file("spam", "spam", wheel(), True)
    await under_test.store.stop()
    again = await under_test.another()
    assert (await again.projects.project("spam")).files == (wheel(),)


@pytest.mark.deadline(60)
async def test_large_project(store: IStore) -> None:
    """A project of many files is read whole, and a small one beside it is not slowed down by errors."""
    files = [wheel(f"1.{number}") for number in range(400)]
    for file in files:
        await store.projects.put_file("spam", "spam", file)
    project = await store.projects.project("spam")
    assert project.files == tuple(files)
    assert await store.projects.set_yanked("spam", Selector("1.399"), "") == 1


@pytest.mark.parametrize("status", ["archived", "quarantined", "deprecated"])
async def test_status(store: IStore, status: str) -> None:
    """A status and its reason are kept (PEP 792); two of them let the project take no files, until it is active."""
    with pytest.raises(NotFound):
        await store.projects.set_status("spam", status, None)
    await store.projects.add_file("spam", "Spam", wheel("1.0"), True)
    before = await store.projects.serial()
    await store.projects.set_status("spam", status, 'it has "quotes" & é')
    project = await store.projects.project("spam")
    assert project is not None
    assert (project.status, project.status_reason) == (status, 'it has "quotes" & é')
    assert await store.projects.serial() > before
    if status == "deprecated":
        await store.projects.add_file("spam", "Spam", wheel("2.0"), True)
    else:
        with pytest.raises(Forbidden, match=status):
            await store.projects.add_file("spam", "Spam", wheel("2.0"), True)
    await store.projects.set_status("spam", "active", None)
    await store.projects.add_file("spam", "Spam", wheel("3.0"), True)
    project = await store.projects.project("spam")
    assert project is not None
    assert (project.status, project.status_reason) == ("active", None)
    assert len(project.files) == (3 if status == "deprecated" else 2)


async def test_status_goes_with_the_name(store: IStore) -> None:
    """A name that is given up takes no status along."""
    await store.projects.add_file("spam", "Spam", wheel("1.0"), True)
    await store.projects.set_status("spam", "archived", None)
    await store.projects.remove_files("spam", Selector("1.0"))
    await store.projects.release_name("spam")
    await store.projects.add_file("spam", "Spam", wheel("1.0"), True)
    project = await store.projects.project("spam")
    assert project is not None
    assert project.status == "active"
