"""What a metadata store keeps of an API token, as a line of JSON; when it was last used is kept beside it."""

from __future__ import annotations

import json
from datetime import datetime

from cheddar.errors import StoreUnavailable
from cheddar.model import Action, Scope, Token


def dump_token(token: Token) -> str:
    """A line that L{load_token} reads. Its C{owner} is for the store's scripts too."""
    return json.dumps(
        {
            "id": token.id,
            "owner": token.owner,
            "digest": token.digest,
            "label": token.label,
            "actions": sorted(action.value for action in token.scope.actions),
            "projects": token.scope.projects,
            "indexes": token.scope.indexes,
            "created": token.created.isoformat(),
            "expires": token.expires.isoformat(),
        },
        separators=(",", ":"),
    )


def load_token(line: str, last_used: datetime | None) -> Token:
    """@raise StoreUnavailable: the line is damaged."""
    try:
        record = json.loads(line)
        return Token(
            id=record["id"],
            owner=record["owner"],
            digest=record["digest"],
            label=record["label"],
            scope=Scope(frozenset(map(Action, record["actions"])), tuple(record["projects"]), tuple(record["indexes"])),
            created=datetime.fromisoformat(record["created"]),
            expires=datetime.fromisoformat(record["expires"]),
            last_used=last_used,
        )
    except (ValueError, TypeError, KeyError) as error:
        # Without a word of the line: it holds a digest.
        raise StoreUnavailable(
            f"The record of an API token in the metadata store is damaged ({type(error).__name__}): restore a backup "
            "of the store, or revoke the token and make another."
        ) from None
