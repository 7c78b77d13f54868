"""
The keys in Redis. Each ends in one free name at most, so no two names can meet in one key.

An older Cheddar's keys don't begin with C{cheddar.2.}; it and this one share the users alone.
"""

from __future__ import annotations

USER = "cheddar.user."
TOKEN = "cheddar.2.token."  # noqa: S105  # a name, no secret

#: The number of the last change.
SERIAL = "cheddar.2.serial"
#: Hash: name -> display name, as JSON text.
OWNED = "cheddar.2.owned"
#: Hash: name -> serial of the project's last change.
SERIALS = "cheddar.2.serials"
#: Hash: name -> status marker and reason, as C{cheddar.formats.records} writes them; nothing for an active project.
STATUSES = "cheddar.2.statuses"
#: Set: names that have files.
LISTED = "cheddar.2.listed"
#: Sorted set: JSON text of [name, version], by the serial of the latest upload.
HISTORY = "cheddar.2.history"
#: Hash: the same text -> time of the latest upload.
HISTORY_TIMES = "cheddar.2.history-times"

#: Hash: number of an event of the audit log -> its operation, and in the next line the event.
EVENTS = "cheddar.2.events"
#: Sorted set: the numbers of these events. String: the last one. Hash: operation -> number.
EVENT_ORDER = "cheddar.2.event-order"
EVENT_NUMBER = "cheddar.2.event-number"
EVENT_OPERATIONS = "cheddar.2.event-operations"
#: List: the names of the projects that were changed last, the newest first; an empty one for everything.
CHANGES = "cheddar.2.changes"
#: How many changes there were.
CHANGE_NUMBER = "cheddar.2.change-number"
#: The number of the last change of roles and groups.
RIGHTS_SERIAL = "cheddar.2.rights-serial"
#: Hash: target -> lines of a role, a space, and its holder.
RIGHTS = "cheddar.2.rights"
#: Hash: group -> lines of its users.
GROUPS = "cheddar.2.groups"


def files(project: str) -> str:
    """Hash: file name -> record."""
    return f"cheddar.2.files.{project}"


def used(project: str) -> str:
    """Hash: name of a removed file -> its SHA-256."""
    return f"cheddar.2.used.{project}"


def pages(index: str) -> str:
    """Hash: name -> record."""
    return f"cheddar.2.pages.{index}"


def checked(index: str) -> str:
    """Sorted set: names by the time their page was checked."""
    return f"cheddar.2.checked.{index}"


def asked(index: str) -> str:
    """Sorted set: names by the time their page was asked for."""
    return f"cheddar.2.asked.{index}"


def wanted(index: str) -> str:
    """Sorted set: names by how much their page is wanted (L{cheddar.store.wanted})."""
    return f"cheddar.2.wanted.{index}"


def with_listing(index: str) -> str:
    """Set: names whose page lists something, but for the quarantined."""
    return f"cheddar.2.with-listing.{index}"


def lease(name: str) -> str:
    """String: the holder; expires with the lease."""
    return f"cheddar.2.lease.{name}"


def grants(user: str) -> str:
    """Set: the patterns that a user was granted."""
    return f"cheddar.2.grants.{user}"


def token(token_id: str) -> str:
    """Hash: C{record}, and C{used}, the time of the last use; expires some days after the token."""
    return TOKEN + token_id


def tokens_of(owner: str) -> str:
    """Set: the ids of the tokens of a user or trusted publisher; some may have expired."""
    return f"cheddar.2.tokens-of.{owner}"


def user(name: str) -> str:
    """String: the password or its hash, shared with the original Cheddar."""
    return USER + name
