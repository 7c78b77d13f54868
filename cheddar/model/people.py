"""Who asks, for what, and what is noted of it."""

from __future__ import annotations

from datetime import datetime, timezone

from attrs import field, frozen

from cheddar.model.actions import Action
from cheddar.model.tokens import Scope
from cheddar.names import is_project_name, normalize

#: The user name that goes with an API token, where a client asks for a name and a password; no user can have it.
TOKEN_USER = "__token__"  # noqa: S105  # a name, no secret


@frozen
class User:
    """
    @ivar name: the user's name.
    @ivar password: what the store holds: an argon2 hash, or plain text set by hand.
    """

    name: str
    password: str = field(repr=False)


@frozen
class Credentials:
    """
    A name and a password as the client sent them; an API token is the password of L{TOKEN_USER}.
    """

    username: str
    password: str = field(repr=False)


@frozen
class Identity:
    """
    Who is asking.

    @ivar name: the user's name; empty for somebody who did not log in; with a colon in it, the trusted publisher that
        was given a token (see L{cheddar.model.tokens.Token}), who has no rights but those of C{scope}.
    @ivar token: the id of the token it came by; empty: by none.
    @ivar scope: what that token is for; None: everything that C{name} may.
    """

    name: str = ""
    token: str = ""
    scope: Scope | None = None

    @property
    def anonymous(self) -> bool:
        """Whether nobody logged in."""
        return not self.name

    @property
    def publisher(self) -> bool:
        """Whether it is a trusted publisher, and no user."""
        return ":" in self.name

    def beyond_scope(self, action: Action, index: str, project: str | None) -> str:
        """What to tell whose token is not for this; empty where it is, and for who came by no token."""
        if self.scope is None or self.scope.admits(action, index, project):
            return ""
        what = f" {normalize(project)}" if project and is_project_name(project) else ""
        return (
            f"The token {self.token} of {self.name} may not {action.value}{what} here: it is for {self.scope}. Use "
            "another, or make one with `cheddar token create`."
        )

    def __str__(self) -> str:
        """For logs."""
        return f"{self.name} (token {self.token})" if self.token else self.name


ANONYMOUS = Identity()


_NEVER = datetime.fromtimestamp(0, timezone.utc)

#: How an operation that an audit should find ended, or that it has begun.
DONE, BEGUN, REFUSED, FAILED = "done", "begun", "refused", "failed"


@frozen(kw_only=True)
class Event:
    """
    Something that an audit should find again.

    @ivar action: what happened, in one word or two with a dot, such as C{upstream.removed}.
    @ivar at: when; whoever notes it may fill that in.
    @ivar project: the normalized name of the project.
    @ivar filename: which file, or empty for all of the project.
    @ivar digest: the file's SHA-256, or what else is known, or empty.
    @ivar who: the user, or the upstream, that did it.
    @ivar via: what they showed in place of a password: a token's id, or the subject of an identity token.
    @ivar address: where the request came from, or C{command}.
    @ivar outcome: L{DONE}, L{BEGUN}, L{REFUSED} (nothing was changed) or L{FAILED} (nobody knows whether it was).
    @ivar detail: what else there is to know, for people.
    @ivar operation: the same for the begin and the end of one operation; empty where they are one.
    """

    action: str
    at: datetime = _NEVER
    project: str = ""
    filename: str = ""
    digest: str = ""
    who: str = ""
    via: str = ""
    address: str = ""
    outcome: str = DONE
    detail: str = ""
    operation: str = ""


@frozen(kw_only=True)
class EventQuery:
    """
    Which events are looked for: all that fit each of what is given.

    @ivar action: the whole of it (C{file.upload}), or its first word (C{upstream}).
    @ivar since: not before then.
    """

    project: str = ""
    who: str = ""
    action: str = ""
    outcome: str = ""
    since: datetime | None = None

    def admits(self, event: Event) -> bool:
        """Whether C{event} is looked for."""
        return (
            self.project in ("", event.project)
            and self.who in ("", event.who)
            and self.action in ("", event.action, event.action.partition(".")[0])
            and self.outcome in ("", event.outcome)
            and (self.since is None or event.at >= self.since)
        )
