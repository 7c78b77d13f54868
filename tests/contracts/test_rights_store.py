"""What every IRightsStore does, and what becomes of roles when users, groups and projects go."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import DeferredList
from zope.interface.verify import verifyObject

from cheddar.errors import Founded
from cheddar.interfaces import IRightsStore, IStore
from cheddar.model import Right, Role, Selector, User
from cheddar.model.rights import NOBODY
from tests.contracts.conftest import StoreUnderTest
from tests.contracts.test_project_store import wheel

OWNER, MAINTAINER, READER = Role.OWNER, Role.MAINTAINER, Role.READER


async def held(store: IStore) -> set[tuple[str, str, str]]:
    """What is given, as a person would say it."""
    return {(right.holder, right.role.value, right.target) for right in (await store.rights.rights()).held}


async def test_interface(store: IStore) -> None:
    """The store of roles is what it says, and begins without any."""
    verifyObject(IRightsStore, store.rights)
    rights = await store.rights.rights()
    assert (rights.serial, rights.held, rights.groups) == (0, (), {})
    assert await store.rights.serial() == 0


async def test_roles(store: IStore) -> None:
    """Roles are given once each, in one order, and taken back in the words that they were given in."""
    given = [
        Right("bob", READER, "acme"),
        Right("ann", MAINTAINER, "acme"),
        Right("ann", READER, "acme"),
        Right("ann", READER, "acme-*"),
        Right("@team", Role.ADMIN, "*"),
        Right("an", READER, "acme"),
        Right("ann", READER, "index:local"),
    ]
    for right in (*given, given[0]):
        await store.rights.put(right)
    rights = await store.rights.rights()
    assert set(rights.held) == set(given)
    assert len(rights.held) == len(given)
    assert list(rights.held) == sorted(given, key=lambda right: (right.target, right.role.value, right.holder))
    assert await store.rights.remove(Right("bob", READER, "acme")) is True
    assert await store.rights.remove(Right("bob", READER, "acme")) is False
    assert await store.rights.remove(Right("ann", OWNER, "acme")) is False
    assert await store.rights.remove(Right("ann", READER, "nothing")) is False
    assert set((await store.rights.rights()).held) == set(given[1:])


async def test_groups(store: IStore) -> None:
    """Users are put into groups and taken out; a group is there as long as somebody is in it."""
    rights = store.rights
    for group, user in (("@a", "ann"), ("@a", "bob"), ("@a", "ann"), ("@b", "ann"), ("@b", "annie")):
        await rights.add_member(group, user)
    assert (await rights.rights()).groups == {"@a": {"ann", "bob"}, "@b": {"ann", "annie"}}
    assert await rights.remove_member("@b", "ann") is True
    assert await rights.remove_member("@b", "ann") is False
    assert await rights.remove_member("@c", "ann") is False
    assert (await rights.rights()).groups == {"@a": {"ann", "bob"}, "@b": {"annie"}}
    assert await rights.remove_member("@b", "annie") is True
    assert (await rights.rights()).groups == {"@a": {"ann", "bob"}}


async def test_every_change_has_a_serial_of_its_own(store: IStore) -> None:
    """Who knows a serial knows whether anything is other than it was."""
    rights = store.rights
    right = Right("ann", OWNER, "acme")
    seen = [await rights.serial()]
    for change in (
        lambda: rights.put(right),
        lambda: rights.add_member("@a", "ann"),
        lambda: rights.remove_member("@a", "ann"),
        lambda: rights.remove(right),
        lambda: rights.add_member("@a", "ann"),
        lambda: rights.remove_group("@a"),
        lambda: store.accounts.put_user(User("ann", "x")),
        lambda: rights.put(right),
        lambda: store.accounts.remove_user("ann"),
        lambda: store.projects.add_file("acme", "acme", wheel("1.0", "acme"), True, "bob"),
        lambda: store.projects.remove_files("acme", Selector("1.0")),
        lambda: store.projects.release_name("acme"),
    ):
        await change()
        seen.append(await rights.serial())
        assert (await rights.rights()).serial == seen[-1]
    seen.remove(seen[-2])  # a removed file takes no role away
    assert seen == sorted(set(seen))


async def test_roles_go_with_their_user(store: IStore) -> None:
    """Who was removed and comes back begins without roles and groups; what it owned is nobody's, not everybody's."""
    for name in ("ann", "bob"):
        await store.accounts.put_user(User(name, "secret"))
        for target in ("acme", "acme-*"):
            await store.rights.put(Right(name, MAINTAINER, target))
        await store.rights.add_member("@team", name)
    await store.rights.put(Right("ann", OWNER, "acme"))
    await store.rights.put(Right("ann", OWNER, "tool"))
    await store.rights.put(Right("bob", OWNER, "tool"))
    await store.accounts.put_user(User("ann", "another password"))
    assert ("ann", "owner", "acme") in await held(store), "the control: a new password takes nothing away"
    assert await store.accounts.remove_user("ann")
    left = {
        ("bob", "maintainer", "acme"),
        ("bob", "maintainer", "acme-*"),
        (NOBODY, "owner", "acme"),
        (NOBODY, "owner", "tool"),
        ("bob", "owner", "tool"),
    }
    assert await held(store) == left
    await store.accounts.put_user(User("ann", "secret"))
    assert await held(store) == left
    rights = await store.rights.rights()
    assert rights.groups == {"@team": {"bob"}}
    assert rights.owned("acme")
    assert rights.owners("acme") == ()
    assert rights.owners("tool") == ("bob",)


async def test_roles_from_before_a_user_are_not_its_own(store: IStore) -> None:
    """A name that was given roles, for whom some other login knows, is no user's who is added to the store later."""
    await store.rights.put(Right("ann", MAINTAINER, "acme"))
    await store.rights.add_member("@team", "ann")
    await store.accounts.put_user(User("ann", "secret"))
    rights = await store.rights.rights()
    assert (rights.held, rights.groups) == ((), {})


async def test_roles_go_with_their_group(store: IStore) -> None:
    """A group that is removed and made again begins without roles."""
    await store.rights.add_member("@team", "ann")
    await store.rights.put(Right("@team", OWNER, "acme"))
    await store.rights.put(Right("@team", READER, "tool"))
    await store.rights.put(Right("team", READER, "tool"))
    assert await store.rights.remove_group("@team") is True
    assert await store.rights.remove_group("@team") is False
    await store.rights.add_member("@team", "ann")
    assert await held(store) == {("team", "reader", "tool"), (NOBODY, "owner", "acme")}
    await store.rights.put(Right("@other", READER, "tool"))
    assert await store.rights.remove_group("@other") is True, "without members"


async def test_an_owner_that_is_taken_back_leaves_its_place(store: IStore) -> None:
    """Taking the last owner's role away does not make a project everybody's."""
    for target in ("acme", "acme-*", "index:local"):
        await store.rights.put(Right("ann", OWNER, target))
        assert await store.rights.remove(Right("ann", OWNER, target)) is True
        assert (NOBODY, "owner", target) in await held(store)


async def test_who_founds_a_project_owns_it(store: IStore) -> None:
    """The role comes with the first file, in one step; with no other file, and to no second founder."""
    projects = store.projects
    await projects.add_file("acme", "acme", wheel("1.0", "acme"), True, "ann")
    assert await held(store) == {("ann", "owner", "acme")}
    with pytest.raises(Founded, match="acme"):
        await projects.add_file("acme", "acme", wheel("1.1", "acme"), True, "bob")
    with pytest.raises(Founded):
        await projects.add_file("acme", "acme", wheel("1.1", "acme"), True, "")
    found = await projects.project("acme")
    assert found is not None
    assert [file.version for file in found.files] == ["1.0"]
    await projects.add_file("acme", "acme", wheel("1.1", "acme"), True)
    await projects.add_file("open", "open", wheel("1.0", "open"), True, "")
    await projects.add_file("old", "old", wheel("1.0", "old"), True)
    assert await held(store) == {("ann", "owner", "acme")}
    # Emptied, it is still taken, and still hers.
    await projects.remove_files("acme", Selector("1.0"))
    await projects.remove_files("acme", Selector("1.1"))
    with pytest.raises(Founded):
        await projects.add_file("acme", "acme", wheel("2.0", "acme"), True, "bob")
    assert await held(store) == {("ann", "owner", "acme")}


async def test_of_two_founders_one_owns(store: IStore) -> None:
    """Two who found a project at the same moment: one owns it, the other has put nothing into it."""
    names = [f"user{number}" for number in range(8)]
    results: Any = await DeferredList(
        [
            store.projects.add_file("acme", "acme", wheel(f"1.{number}", "acme"), True, name)
            for number, name in enumerate(names)
        ],
        consumeErrors=True,
    )
    (winner,) = [number for number, (done, _) in enumerate(results) if done]
    assert await held(store) == {(names[winner], "owner", "acme")}
    found = await store.projects.project("acme")
    assert found is not None
    assert [file.version for file in found.files] == [f"1.{winner}"]


async def test_roles_go_with_the_name(store: IStore) -> None:
    """Who makes a project of a name that was given up has nothing to do with who had it; roles of patterns stay."""
    await store.projects.add_file("acme", "acme", wheel("1.0", "acme"), True, "ann")
    for target in ("acme", "acme-*", "acme-tool", "index:local"):
        await store.rights.put(Right("bob", READER, target))
    await store.projects.remove_files("acme", Selector("1.0"))
    await store.projects.release_name("acme")
    stay = {("bob", "reader", target) for target in ("acme-*", "acme-tool", "index:local")}
    assert await held(store) == stay
    await store.projects.add_file("acme", "acme", wheel("1.0", "acme"), True, "carl")
    assert await held(store) == {*stay, ("carl", "owner", "acme")}


async def test_nodes_see_each_other(under_test: StoreUnderTest) -> None:
    """A role that was given on one node is there on the other, and the serial says so."""
    there = await under_test.another()
    before = await there.rights.serial()
    await under_test.store.rights.put(Right("ann", READER, "acme"))
    await under_test.store.rights.add_member("@team", "ann")
    assert await there.rights.serial() > before
    assert (await there.rights.rights()) == (await under_test.store.rights.rights())
