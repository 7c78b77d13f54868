"""Events of the audit log as text: one JSON object a line, what an event does not say left out."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from cheddar.errors import StoreUnavailable
from cheddar.model import DONE, Event

_TEXTS = ("who", "via", "address", "project", "filename", "digest", "outcome", "detail", "operation")


def dump_event(event: Event) -> str:
    """A line, without its end. It is ASCII: no name or reason can begin a new line, or hide one from a terminal."""
    said = {"at": event.at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z"), "action": event.action}
    for name in _TEXTS:
        value = getattr(event, name)
        if value and (name, value) != ("outcome", DONE):
            said[name] = value
    return json.dumps(said, ensure_ascii=True)


def load_event(line: str) -> Event:
    """@raise StoreUnavailable: the line is damaged."""
    try:
        said = json.loads(line)
        at = datetime.fromisoformat(said["at"].replace("Z", "+00:00"))
        return Event(at=at, action=said["action"], **{name: said[name] for name in _TEXTS if name in said})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreUnavailable(f"An event of the audit log is damaged: {error}.") from error
