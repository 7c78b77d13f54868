"""C{cheddar token}: API tokens, for machines that publish or install in a user's name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import ClassVar

from twisted.python import usage

from cheddar.auth.tokens import new_token
from cheddar.cli.command import Group, StoreCommand, Terminal
from cheddar.errors import Invalid, NotFound
from cheddar.formats.tokens import parse_token
from cheddar.interfaces import IStore
from cheddar.model import Action, Event, Scope, Token
from cheddar.names import is_user_name, normalize_pattern

#: What a token can be for, in the words of the command line.
ACTIONS = {action.value: action for action in (Action.READ, Action.UPLOAD, Action.YANK, Action.DELETE, Action.ADMIN)}
INDEXES = ("local", "remote", "combined")
DEFAULT_DAYS = 90
#: A token that works for ever outlives whoever knew what it was for.
MAX_DAYS = 365
MAX_LABEL = 100


class _ValuedCommand(StoreCommand):
    """A command without arguments, some of whose options take values."""

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """As they stand: an option's value belongs behind it. [UsageError]"""
        usage.Options.parseOptions(self, options)


class CreateToken(_ValuedCommand):
    """C{cheddar token create --user NAME --action ACTION}"""

    synopsis = "--user NAME --action ACTION [--project PATTERN] [--index INDEX] [--expires DAYS] [--label TEXT]"
    longdesc = "--action, --project and --index may be given several times. The token is printed once."
    optParameters: ClassVar[list[list[str | None]]] = [
        ["user", None, None, "Whose token it is: it can do nothing that this user may not do."],
        ["expires", None, str(DEFAULT_DAYS), f"After how many days it is worth nothing, at most {MAX_DAYS}."],
        ["label", None, None, "What it is for, to tell it from others."],
    ]
    noted = "token.create"
    token: Token
    text: str

    def __init__(self) -> None:
        super().__init__()
        self._actions: list[str] = []
        self._projects: list[str] = []
        self._indexes: list[str] = []

    def opt_action(self, action: str) -> None:
        """What it is for: read, upload, yank, delete or admin."""
        self._actions.append(action)

    def opt_project(self, pattern: str) -> None:
        """Which projects it is for: a name, acme-* or acme*. [default: all of the user's]"""
        self._projects.append(pattern)

    def opt_index(self, index: str) -> None:
        """Which index it is for: local, remote or combined (both). [default: all]"""
        self._indexes.append(index)

    def postOptions(self) -> None:
        """Whether all is there. [UsageError]"""
        if not self["user"]:
            raise usage.UsageError("whose token it is must be said: --user NAME")
        if not self._actions:
            raise usage.UsageError(f"what the token is for must be said by --action: {', '.join(ACTIONS)}")

    def prepare(self, terminal: Terminal) -> None:
        """Check the options, and make the token. [Invalid]"""
        for value, known, what in ((self._actions, ACTIONS, "an action"), (self._indexes, INDEXES, "an index")):
            for word in value:
                if word not in known:
                    raise Invalid(f"{word!r} is not {what}; there are {', '.join(known)}")
        try:
            patterns = [normalize_pattern(pattern) for pattern in self._projects]
        except ValueError as error:
            raise Invalid(f"a token's --project must be {error}") from error
        scope = Scope(
            frozenset(ACTIONS[word] for word in self._actions),
            tuple(dict.fromkeys(patterns)),
            tuple(dict.fromkeys(self._indexes)),
        )
        days = self["expires"]
        if not (days.isascii() and days.isdigit() and 1 <= int(days[:9]) <= MAX_DAYS):
            raise Invalid(f"--expires {days} is not a number of days from 1 to {MAX_DAYS}")
        label = (self["label"] or "").strip()
        if len(label) > MAX_LABEL or not label.isprintable():
            raise Invalid(f"a label has at most {MAX_LABEL} characters, all of them printable")
        if not is_user_name(self["user"]):
            raise Invalid(f"{self['user']!r} cannot be a user's name")
        self.token, self.text = new_token(self["user"], scope, label, _now(), timedelta(days=int(days)))

    def subject(self) -> Event:
        """See L{StoreCommand.subject}."""
        token = self.token
        return Event(
            action=self.noted,
            detail=f"{token.id} of {token.owner}, for {token.scope}, until {_day(token.expires)}",
        )

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        token = self.token
        if await store.accounts.user(token.owner) is None:
            raise NotFound(f"there is no user {token.owner} in {store.description}; `cheddar user add` makes one")
        await store.tokens.add_token(token)
        # The token alone goes where a pipe takes it.
        terminal.stderr.write(
            f"Token {token.id} of {token.owner}, for {token.scope}, until {_day(token.expires)}. Keep it now, it "
            "cannot be shown again; give it as the password of the user __token__, or as a Bearer token:\n"
        )
        terminal.say(self.text)


class ListTokens(_ValuedCommand):
    """C{cheddar token list}"""

    synopsis = "[options]"
    optParameters: ClassVar[list[list[str | None]]] = [["user", None, None, "Only this user's."]]
    optFlags: ClassVar[list[list[str | None]]] = [["json", None, "As a JSON document."]]

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        user, now = self["user"], _now()
        tokens = await store.tokens.tokens(user)
        if not tokens and user is not None and await store.accounts.user(user) is None:
            raise NotFound(f"there is no user {user} in {store.description}")
        if self["json"]:
            terminal.say(json.dumps([_document(token, now) for token in tokens], indent=2))
            return
        for token in tokens:
            used = f"last used {_day(token.last_used)}" if token.last_used else "never used"
            ends = "expired" if token.expired(now) else "expires"
            label = f" ({token.label})" if token.label else ""
            terminal.say(f"{token.id} {token.owner}{label}: {token.scope}; {used}; {ends} {_day(token.expires)}")


class RevokeToken(StoreCommand):
    """C{cheddar token revoke ID}"""

    synopsis = "ID"
    noted = "token.revoke"
    token_id: str

    def parseArgs(self, *words: str) -> None:
        """The token's id, or the token itself, as it was found somewhere. [UsageError]"""
        if len(words) != 1:
            raise usage.UsageError("exactly one token's id is needed; `cheddar token list` shows them")
        self.token_id = words[0]

    def prepare(self, terminal: Terminal) -> None:
        """Take the id out of a whole token."""
        try:
            self.token_id, _ = parse_token(self.token_id)
        except ValueError:
            if self.token_id.startswith("chd_"):
                # Not repeated: it may be a secret but for one character.
                raise Invalid("this is no whole token; give the id, which is what stands behind chd_") from None

    def subject(self) -> Event:
        """See L{StoreCommand.subject}."""
        return Event(action=self.noted, detail=self.token_id)

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        if not await store.tokens.revoke_token(self.token_id):
            raise NotFound(f"there is no token {self.token_id} in {store.description}")
        terminal.say(f"Revoked token {self.token_id}: the next request with it is refused.")


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _day(time: datetime) -> str:
    return time.date().isoformat()


def _moment(time: datetime) -> str:
    return time.isoformat(timespec="seconds")


def _document(token: Token, now: datetime) -> dict[str, object]:
    return {
        "id": token.id,
        "label": token.label,
        "owner": token.owner,
        "actions": [action.value for action in Action if action in token.scope.actions],
        "projects": token.scope.projects,
        "indexes": token.scope.indexes,
        "created": _moment(token.created),
        "expires": _moment(token.expires),
        "expired": token.expired(now),
        "last_used": _moment(token.last_used) if token.last_used else None,
    }


class Tokens(Group):
    """C{cheddar token}"""

    commands: ClassVar[list[tuple[str, type[usage.Options], str]]] = [
        ("create", CreateToken, "Make a token for a user, and print it once."),
        ("list", ListTokens, "List the tokens, and when each was last used."),
        ("revoke", RevokeToken, "Revoke a token: the next request with it is refused."),
    ]
