"""What every IChanges tells, to the process that changes something and to others."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from cheddar.interfaces import IChanges, IStore
from cheddar.model import Right, Role, Selector, User
from cheddar.store.changes import INTERVAL, KEPT
from tests.contracts.conftest import StoreUnderTest
from tests.contracts.test_page_cache import listing
from tests.contracts.test_project_store import wheel


@define(eq=False)
class Heard:
    """What one process hears."""

    names: list[str | None] = field(factory=list)
    waits_for: str | None = "nothing"
    waiting: Deferred[None] = field(factory=Deferred)

    def __call__(self, name: str | None) -> None:
        self.names.append(name)
        if name == self.waits_for and not self.waiting.called:
            self.waiting.callback(None)


async def another(under_test: StoreUnderTest, reactor: Any) -> IStore:
    """Another process's store, that has looked once."""
    store = await under_test.another()
    while store.changes.seen_at() is None:
        await deferLater(reactor, 0.01, lambda: None)
    return store


async def heard_until(under_test: StoreUnderTest, heard: Heard, last: str | None, reactor: Any) -> list[str | None]:
    """What is heard until C{last} is."""
    heard.waits_for = last
    if last not in heard.names:
        await under_test.pass_time(2 * INTERVAL)
        await heard.waiting.addTimeout(5, reactor)
    return heard.names


CHANGES = {
    "a file is added": ("acme", lambda store: store.projects.add_file("acme", "Acme", wheel("2.0", "acme"), False)),
    "a row is made anew": ("acme", lambda store: store.projects.put_file("acme", "Acme", wheel("1.0", "acme"))),
    "a file is yanked": ("acme", lambda store: store.projects.set_yanked("acme", Selector("1.0"), "broken")),
    "a file is removed": ("acme", lambda store: store.projects.remove_files("acme", Selector("1.0"))),
    "a project is archived": ("acme", lambda store: store.projects.set_status("acme", "archived", None)),
    "a name is freed": ("empty", lambda store: store.projects.release_name("empty")),
    "a listing is kept": ("ham", lambda store: store.pages.put("remote", "ham", listing("ham"))),
    "a listing is kept in place of another": ("spam", lambda store: store.pages.put("remote", "spam", listing())),
    "a listing is confirmed": ("spam", lambda store: store.pages.mark_checked("remote", "spam", 7.0)),
    "a listing is dropped": ("spam", lambda store: store.pages.drop("remote", "spam")),
    "a role is given": (None, lambda store: store.rights.put(Right("bob", Role.READER, "acme"))),
    "a role is taken back": (None, lambda store: store.rights.remove(Right("ann", Role.OWNER, "acme"))),
    "somebody joins a group": (None, lambda store: store.rights.add_member("@team", "bob")),
    "somebody leaves a group": (None, lambda store: store.rights.remove_member("@team", "ann")),
    "a group goes": (None, lambda store: store.rights.remove_group("@team")),
    "a user comes": (None, lambda store: store.accounts.put_user(User("carl", "x"))),
    "a user goes": (None, lambda store: store.accounts.remove_user("ann")),
}


async def fill(store: IStore) -> None:
    """Something to change."""
    await store.projects.add_file("acme", "Acme", wheel("1.0", "acme"), False)
    await store.projects.add_file("empty", "Empty", wheel("1.0", "empty"), False)
    await store.projects.remove_files("empty", Selector("1.0"))
    await store.pages.put("remote", "spam", listing())
    await store.accounts.put_user(User("ann", "x"))
    await store.rights.put(Right("ann", Role.OWNER, "acme"))
    await store.rights.add_member("@team", "ann")


@pytest.mark.parametrize("change", CHANGES)
async def test_every_change_is_told(under_test: StoreUnderTest, reactor: Any, change: str) -> None:
    """The process that makes a change has heard of it when it is made; another hears of it soon."""
    store = under_test.store
    verifyObject(IChanges, store.changes)
    await fill(store)
    other = await another(under_test, reactor)
    own, others = Heard(), Heard()
    store.changes.watch(own)
    other.changes.watch(others)
    name, make = CHANGES[change]
    await make(store)
    # Some take roles with them.
    assert {name} <= set(own.names) <= {name, None}
    assert {name} <= set(await heard_until(under_test, others, name, reactor)) <= {name, None}


async def test_what_changes_nothing_is_not_told(under_test: StoreUnderTest, reactor: Any) -> None:
    """Requests, tokens' uses and events, of which there are many, do not make anybody forget what he keeps."""
    store = under_test.store
    await fill(store)
    other = await another(under_test, reactor)
    own, others = Heard(), Heard()
    store.changes.watch(own)
    other.changes.watch(others)
    await store.pages.touch("remote", "spam", 9.0)
    await store.leases.claim("refresh", "me", 5.0)
    await store.accounts.replace_password("ann", "x", "y")
    assert own.names == []
    await store.pages.mark_checked("remote", "ham", 8.0)
    await store.pages.mark_checked("remote", "spam", 8.0)
    assert {"spam"} <= set(own.names) <= {"spam", "ham"}
    assert set(await heard_until(under_test, others, "spam", reactor)) <= {"spam", "ham"}


async def test_too_much_to_name(under_test: StoreUnderTest, reactor: Any) -> None:
    """Who has missed more changes than are remembered takes everything for changed."""
    store = under_test.store
    await store.pages.put("remote", "spam", listing())
    other = await another(under_test, reactor)
    others = Heard()
    other.changes.watch(others)
    await other.changes.stop()
    for number in range(KEPT + 120):
        await store.pages.mark_checked("remote", "spam", float(number))
    other.changes.start()
    await heard_until(under_test, others, None, reactor)


async def test_when_it_was_asked(under_test: StoreUnderTest, reactor: Any) -> None:
    """What is known is known as of a time, which goes on; and nothing is known of a store that is closed."""
    store = under_test.store
    while store.changes.seen_at() is None:
        await deferLater(reactor, 0.01, lambda: None)
    heard = Heard()
    store.changes.watch(heard)
    other = await another(under_test, reactor)
    await other.pages.put("remote", "spam", listing())
    await heard_until(under_test, heard, "spam", reactor)
    seen_at = store.changes.seen_at()
    assert seen_at is not None
    await store.stop()
    assert store.changes.seen_at() is None


async def test_a_change_that_nobody_waits_for(store: IStore, reactor: Any) -> None:
    """Who gives up waiting for a change does not undo it, and it is told."""
    heard = Heard()
    store.changes.watch(heard)
    while store.changes.seen_at() is None:
        await deferLater(reactor, 0.01, lambda: None)
    heard.names.clear()
    changing = store.pages.put("remote", "spam", listing())
    changing.addErrback(lambda failure: failure.trap(CancelledError))
    changing.cancel()
    await changing
    while await store.pages.get("remote", "spam") is None:
        await deferLater(reactor, 0.01, lambda: None)
    assert "spam" in heard.names
