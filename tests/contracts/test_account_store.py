"""What every IAccountStore does."""

from __future__ import annotations

import pytest
from zope.interface.verify import verifyObject

from cheddar.errors import NotFound
from cheddar.interfaces import IAccountStore, IStore
from cheddar.model import User
from tests.contracts.conftest import StoreUnderTest
from tests.contracts.test_project_store import ODD_NAMES


async def test_interface(store: IStore) -> None:
    """The account store is what it says."""
    verifyObject(IAccountStore, store.accounts)


@pytest.mark.parametrize(
    "password", ["007", "1.10", "1_0", "1e5", "", " x ", "pässwörd", "$argon2id$v=19$m=65536", "a\nb"]
)
async def test_password_stays_text(store: IStore, password: str) -> None:
    """A password comes back as it was given, digits and all."""
    await store.accounts.put_user(User("ann", password))
    assert await store.accounts.user("ann") == User("ann", password)


async def test_users(store: IStore) -> None:
    """Users are added, replaced, listed by name and removed."""
    assert await store.accounts.user("ann") is None
    assert await store.accounts.user_names() == ()
    for name in ("bob", "ann", "ann@example.org"):
        await store.accounts.put_user(User(name, "secret"))
    await store.accounts.put_user(User("ann", "other"))
    assert await store.accounts.user("ann") == User("ann", "other")
    assert await store.accounts.user_names() == ("ann", "ann@example.org", "bob")
    assert await store.accounts.remove_user("ann") is True
    assert await store.accounts.remove_user("ann") is False
    assert await store.accounts.user("ann") is None
    assert await store.accounts.user_names() == ("ann@example.org", "bob")


async def test_replace_password(store: IStore) -> None:
    """A hash takes a plain password's place only while the plain password still stands there."""
    await store.accounts.put_user(User("ann", "plain"))
    assert await store.accounts.replace_password("ann", "wrong", "hash") is False
    assert await store.accounts.user("ann") == User("ann", "plain")
    assert await store.accounts.replace_password("ann", "plain", "hash") is True
    assert await store.accounts.user("ann") == User("ann", "hash")
    assert await store.accounts.replace_password("bob", "plain", "hash") is False
    assert await store.accounts.user("bob") is None


async def test_names_are_never_patterns(store: IStore) -> None:
    """A user's name means that user alone."""
    for name in ODD_NAMES:
        await store.accounts.put_user(User(name, name))
    assert await store.accounts.user_names() == tuple(sorted(ODD_NAMES))
    for left, name in reversed(list(enumerate(ODD_NAMES))):
        assert await store.accounts.user(name) == User(name, name)
        assert await store.accounts.remove_user(name)
        assert await store.accounts.user_names() == tuple(sorted(ODD_NAMES[:left]))


async def test_grants(store: IStore) -> None:
    """Each user has what it was granted, once and in order; a new password changes nothing of it."""
    accounts = store.accounts
    for name in ("ann", "bob"):
        await accounts.put_user(User(name, "secret"))
    assert await accounts.grants("ann") == ()
    for pattern in ("acme-*", "Acme-*", "acme", "acme-*"):
        await accounts.put_grant("ann", pattern)
    assert await accounts.grants("ann") == ("Acme-*", "acme", "acme-*")
    assert await accounts.grants("bob") == ()
    await accounts.put_user(User("ann", "other"))
    assert await accounts.replace_password("ann", "other", "third")
    assert await accounts.grants("ann") == ("Acme-*", "acme", "acme-*")
    assert await accounts.user_names() == ("ann", "bob"), "a grant is no user"

    assert await accounts.remove_grant("ann", "acme") is True
    assert await accounts.remove_grant("ann", "acme") is False
    assert await accounts.remove_grant("bob", "acme-*") is False
    assert await accounts.grants("ann") == ("Acme-*", "acme-*")


async def test_grants_go_with_their_user(store: IStore) -> None:
    """Who was removed and comes back begins without grants, and nobody has any who is no user."""
    accounts = store.accounts
    for name in ("ann", "bob"):
        await accounts.put_user(User(name, "secret"))
        await accounts.put_grant(name, "acme-*")
    assert await accounts.remove_user("ann")
    assert await accounts.grants("ann") == ()
    await accounts.put_user(User("ann", "secret"))
    assert await accounts.grants("ann") == ()
    assert await accounts.grants("bob") == ("acme-*",), "the control: another user's stay"
    with pytest.raises(NotFound, match="no user carl"):
        await accounts.put_grant("carl", "acme-*")
    assert await accounts.grants("carl") == ()
    assert await accounts.user("carl") is None


async def test_grants_of_odd_names(store: IStore) -> None:
    """What one user was granted is no other's, however alike their names are."""
    for name in ODD_NAMES:
        await store.accounts.put_user(User(name, name))
        await store.accounts.put_grant(name, name)
    for name in ODD_NAMES:
        assert await store.accounts.grants(name) == (name,)


async def test_nodes_see_each_other(under_test: StoreUnderTest) -> None:
    """A user added on one node can log in at the other, and has there what it was granted here."""
    there = await under_test.another()
    await under_test.store.accounts.put_user(User("ann", "x"))
    assert await there.accounts.user("ann") == User("ann", "x")
    await under_test.store.accounts.put_grant("ann", "acme-*")
    assert await there.accounts.grants("ann") == ("acme-*",)
