"""C{cheddar audit}: what was changed, by whom, from where, and how it ended."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import ClassVar

from cheddar.cli.command import StoreCommand, Terminal
from cheddar.errors import Invalid
from cheddar.formats.event_lines import dump_event
from cheddar.interfaces import IStore
from cheddar.logs import escaped
from cheddar.model import BEGUN, DONE, Event, EventQuery
from cheddar.names import normalize

_UNITS = {"m": 60, "h": 3600, "d": 86400}


class Audit(StoreCommand):
    """C{cheddar audit}"""

    synopsis = "[options]"
    longdesc = (
        "Shows the newest events, the newest last. The store keeps so many as AUDIT_KEPT says; the file that AUDIT_LOG "
        "names has them all."
    )
    optFlags: ClassVar[list[list[str | None]]] = [["json", None, "Print each event as the file has it."]]
    optParameters: ClassVar[list[list[str | None]]] = [
        ["project", None, None, "Only of this project."],
        ["user", None, None, "Only what this user, or upstream, did."],
        ["action", None, None, "Only this: upload, delete, yank, upstream.removed; or a first word: upstream, user."],
        ["outcome", None, None, "Only what ended so: done, refused, failed, begun."],
        ["since", None, None, "Only since then: 2026-11-25, a time after a T, or 30m, 12h, 7d."],
        ["limit", None, "50", "How many at most."],
    ]
    query: EventQuery
    limit: int

    def prepare(self, terminal: Terminal) -> None:
        """Read what is looked for. [Invalid]"""
        if not self["limit"].isdigit() or not 0 < int(self["limit"]) <= 1_000_000:
            raise Invalid("--limit must be a whole number of 1 or more")
        self.limit = int(self["limit"])
        self.query = EventQuery(
            project=normalize(self["project"] or ""),
            who=self["user"] or "",
            action=self["action"] or "",
            outcome=self["outcome"] or "",
            since=_time(self["since"]) if self["since"] else None,
        )

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        for event in reversed(await store.events.find(self.query, self.limit)):
            terminal.say(dump_event(event) if self["json"] else _line(event))


def _time(text: str) -> datetime:
    number, unit = text[:-1], text[-1:]
    if number.isdigit() and len(number) < 9 and unit in _UNITS:
        return datetime.now(timezone.utc) - timedelta(seconds=int(number) * _UNITS[unit])
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise Invalid(f"--since {text!r} is neither a day or time (2026-11-25T12:00) nor one of 30m, 12h, 7d") from None
    return at if at.tzinfo else at.astimezone()


def _line(event: Event) -> str:
    who = event.who or "somebody"
    by = f"{who} ({event.via})" if event.via else who
    what = " ".join(part for part in (event.project, event.filename) if part)
    outcome = {DONE: "", BEGUN: "begun, and no word of its end"}.get(event.outcome, event.outcome)
    parts = [
        event.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        event.action,
        what,
        f"by {by}",
        f"from {event.address}" if event.address else "",
        f"sha256 {event.digest[:12]}" if len(event.digest) == 64 else "",
        ": ".join(part for part in (outcome, event.detail) if part),
    ]
    return "  ".join(escaped(part) for part in parts if part)
