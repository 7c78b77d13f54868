"""API tokens for tests."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from cheddar.auth.tokens import new_token
from cheddar.model import Action, Scope, Token

#: When they are made, unless a test says otherwise.
MADE = datetime(2026, 1, 1, tzinfo=timezone.utc)
UPLOADS = Scope(frozenset({Action.UPLOAD}))


def token(owner: str, token_id: str = "aaaaaaaaaaaa", **changes: Any) -> Token:
    """The record of a token for uploads, which ends when nobody runs these tests any more."""
    values: dict[str, Any] = {
        "id": token_id,
        "owner": owner,
        "digest": "0" * 64,
        "scope": UPLOADS,
        "created": MADE,
        "expires": MADE + timedelta(days=36500),
    }
    return Token(**{**values, **changes})


async def made(
    store: Any,
    owner: str,
    *actions: Action,
    projects: tuple[str, ...] = (),
    indexes: tuple[str, ...] = (),
    days: float = 90,
) -> str:
    """A token in a store, made just now, as it is handed to people; it ended already where C{days} are below 0."""
    scope = Scope(frozenset(actions), projects, indexes)
    now = datetime.now(timezone.utc)
    record, text = new_token(owner, scope, "", now, timedelta(days=days))
    await store.tokens.add_token(record)
    return text
