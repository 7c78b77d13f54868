"""What every ITokenStore does."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from attrs import evolve
from zope.interface.verify import verifyObject

from cheddar.errors import AlreadyExists, NotFound
from cheddar.interfaces import IStore, ITokenStore
from cheddar.model import TOKEN_KEPT, TOKEN_USE_STEP, Action, Scope, User
from tests.contracts.conftest import StoreUnderTest
from tests.contracts.test_project_store import ODD_NAMES
from tests.support.tokens import MADE, UPLOADS, token

PUBLISHER = "github:acme/web"


async def test_interface(store: IStore) -> None:
    """The token store is what it says."""
    verifyObject(ITokenStore, store.tokens)


async def test_tokens(store: IStore) -> None:
    """Tokens are added, found by their ids, listed by their age, and revoked; each is what it was."""
    for name in ("ann", "bob"):
        await store.accounts.put_user(User(name, "secret"))
    tokens = store.tokens
    first = token(
        "ann",
        "first",
        label='CI "naïve" \\ 007',
        scope=Scope(frozenset({Action.READ, Action.UPLOAD}), ("acme-*", "tool"), ("local",)),
    )
    second = token("bob", "second", created=MADE + timedelta(hours=2))
    third = token("ann", "another", created=MADE + timedelta(hours=3), scope=Scope(frozenset(Action)))
    assert await tokens.tokens(None) == await tokens.tokens("ann") == ()
    for item in (third, first, second):
        await tokens.add_token(item)
    assert await tokens.token("first") == first
    assert await tokens.token("First") is None
    assert await tokens.token("") is None
    assert await tokens.tokens(None) == (first, second, third)
    assert await tokens.tokens("ann") == (first, third)
    assert await tokens.tokens("carl") == ()
    assert await store.accounts.user_names() == ("ann", "bob"), "a token is no user"

    assert await tokens.revoke_token("first") is True
    assert await tokens.revoke_token("first") is False
    assert await tokens.token("first") is None
    assert await tokens.tokens("ann") == (third,)
    assert await tokens.tokens(None) == (second, third)


async def test_an_id_is_taken_once(store: IStore) -> None:
    """A token never takes another's place."""
    for name in ("ann", "bob"):
        await store.accounts.put_user(User(name, "secret"))
    await store.tokens.add_token(token("ann", "one"))
    with pytest.raises(AlreadyExists, match="one"):
        await store.tokens.add_token(token("bob", "one"))
    assert await store.tokens.token("one") == token("ann", "one")
    assert await store.tokens.tokens("bob") == ()


async def test_tokens_go_with_their_user(store: IStore) -> None:
    """Who was removed and comes back begins without tokens; a new password changes nothing of them."""
    for name in ("ann", "bob"):
        await store.accounts.put_user(User(name, "secret"))
        await store.tokens.add_token(token(name, f"of-{name}"))
    await store.accounts.put_user(User("ann", "other"))
    assert await store.accounts.replace_password("ann", "other", "third")
    assert await store.tokens.token("of-ann") is not None, "the control: only the password changed"
    assert await store.accounts.remove_user("ann")
    for _ in range(2):
        assert await store.tokens.token("of-ann") is None
        assert await store.tokens.tokens("ann") == ()
        assert await store.tokens.tokens(None) == (token("bob", "of-bob"),)
        await store.accounts.put_user(User("ann", "secret"))
    with pytest.raises(NotFound, match="no user carl"):
        await store.tokens.add_token(token("carl", "of-carl"))
    assert await store.tokens.token("of-carl") is None


async def test_a_publishers_token_has_no_user(store: IStore) -> None:
    """It stands for itself, whatever users there are."""
    scope = Scope(frozenset({Action.UPLOAD}), ("acme-web",))
    minted = token(PUBLISHER, "minted", scope=scope)
    await store.tokens.add_token(minted)
    await store.accounts.put_user(User("ann", "secret"))
    assert await store.accounts.remove_user("ann")
    assert await store.tokens.token("minted") == minted
    assert await store.tokens.tokens(PUBLISHER) == (minted,)
    assert await store.tokens.revoke_token("minted") is True
    assert await store.tokens.tokens(PUBLISHER) == ()


@pytest.mark.parametrize(
    "scope",
    [
        UPLOADS,
        Scope(frozenset({Action.UPLOAD}), ("acme-*",)),
        Scope(frozenset({Action.UPLOAD}), ("acme-web", "acme")),
        Scope(frozenset({Action.UPLOAD, Action.READ}), ("acme-web",)),
        Scope(frozenset({Action.DELETE}), ("acme-web",)),
    ],
)
def test_a_publishers_token_is_narrow(scope: Scope) -> None:
    """It has no user whose rights could bound it: nothing but uploads to one project can be put into it."""
    with pytest.raises(ValueError, match="uploads to one project"):
        token(PUBLISHER, scope=scope)
    token("ann", scope=scope)


async def test_use_is_noted_to_the_minute(store: IStore) -> None:
    """A hundred requests are one note; the next minute has its own; what is not there is not made by it."""
    await store.accounts.put_user(User("ann", "secret"))
    await store.tokens.add_token(token("ann", "one"))
    await store.tokens.add_token(token("ann", "two"))
    at = MADE + timedelta(hours=1)
    for noted, expected in (
        (at, at),
        (at + timedelta(seconds=30), at),
        (at - timedelta(days=1), at),
        (at + TOKEN_USE_STEP, at + TOKEN_USE_STEP),
    ):
        await store.tokens.note_token_use("one", noted)
        assert await store.tokens.token("one") == evolve(token("ann", "one"), last_used=expected)
    assert await store.tokens.token("two") == token("ann", "two")
    await store.tokens.revoke_token("one")
    await store.tokens.note_token_use("one", at + timedelta(days=1))
    await store.tokens.note_token_use("three", at)
    assert await store.tokens.tokens(None) == (token("ann", "two"),)


async def test_expired_tokens_are_kept_for_a_while(store: IStore) -> None:
    """So that people see why theirs is refused; then they are forgotten, so that short-lived ones fill no store."""
    await store.accounts.put_user(User("ann", "secret"))
    now = datetime.now(timezone.utc)
    over = now - TOKEN_KEPT
    just = token("ann", "just", expires=over + timedelta(hours=1))
    await store.tokens.add_token(just)
    await store.tokens.add_token(token("ann", "past", expires=over - timedelta(seconds=1)))
    await store.tokens.add_token(token("ann", "now", created=now))
    assert await store.tokens.token("just") == just
    assert await store.tokens.token("past") is None
    assert [item.id for item in await store.tokens.tokens("ann")] == ["just", "now"]
    assert [item.id for item in await store.tokens.tokens(None)] == ["just", "now"]


async def test_names_are_never_patterns(store: IStore) -> None:
    """What is one owner's is no other's, and an id is that id alone, however alike they are."""
    for name in ODD_NAMES:
        await store.accounts.put_user(User(name, name))
        if ":" not in name:
            await store.tokens.add_token(token(name, name))
    names = [name for name in ODD_NAMES if ":" not in name]
    for name in names:
        assert await store.tokens.tokens(name) == (token(name, name),)
        assert await store.tokens.token(name) == token(name, name)
    for left, name in reversed(list(enumerate(names))):
        assert await store.tokens.revoke_token(name)
        assert {item.id for item in await store.tokens.tokens(None)} == set(names[:left])


async def test_nodes_see_each_other(under_test: StoreUnderTest) -> None:
    """A token made on one node opens the other, until it is revoked on either."""
    there = await under_test.another()
    await under_test.store.accounts.put_user(User("ann", "x"))
    await under_test.store.tokens.add_token(token("ann"))
    assert await there.tokens.token(token("ann").id) == token("ann")
    assert await there.tokens.revoke_token(token("ann").id)
    assert await under_test.store.tokens.token(token("ann").id) is None
