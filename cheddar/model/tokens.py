"""API tokens: whose they are, and what they are for."""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import field, frozen

from cheddar.model.actions import Action
from cheddar.names import is_of_pattern, normalize

#: How long an expired token is kept, for whoever wonders why it is refused.
TOKEN_KEPT = timedelta(days=7)
#: To what precision the last use of a token is kept: a client that asks a hundred times costs one change.
TOKEN_USE_STEP = timedelta(minutes=1)

#: Admits what either of its parts does.
_ALL_INDEXES = "combined"


@frozen
class Scope:
    """
    What a token is for: it never gives a right that its owner lacks, and takes away all that is not named here.

    @ivar actions: what it is for.
    @ivar projects: normalized patterns (L{cheddar.names.normalize_pattern}) of the projects it is for; none: all.
    @ivar indexes: the names of the indexes it is for, C{combined} for both of its parts too; none: all.
    """

    actions: frozenset[Action]
    projects: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()

    def admits(self, action: Action, index: str, project: str | None) -> bool:
        """
        Whether this is for an action.

        @param project: in any spelling; None: all projects are meant, or, with an upload, it is not known yet. A scope
            for some projects does not admit what is for all; an upload's form will name its project, so that its turn
            comes then.
        """
        if action not in self.actions:
            return False
        if self.indexes and index not in self.indexes and _ALL_INDEXES not in self.indexes:
            return False
        if not self.projects:
            return True
        if project is None:
            return action is Action.UPLOAD
        name = normalize(project)
        return any(is_of_pattern(name, pattern) for pattern in self.projects)

    def __str__(self) -> str:
        """For people."""
        actions = ", ".join(action.value for action in Action if action in self.actions)
        projects = f" of {', '.join(self.projects)}" if self.projects else ""
        indexes = f" at {', '.join(self.indexes)}" if self.indexes else ""
        return f"{actions}{projects}{indexes}"


@frozen(kw_only=True)
class Token:
    """
    An API token, as a store keeps it: not the secret itself.

    A token without a user is for trusted publishing. Its owner is the publisher's identity, such as
    C{github:acme/web}, in whose colon no user's name can match it (L{cheddar.names.is_user_name}). It has no user whose
    rights could bound it, so that its scope has to: uploads to exactly one project.

    @ivar id: names it for people, and finds it in the store; no secret.
    @ivar owner: the user, or the trusted publisher, whose it is.
    @ivar digest: the SHA-256 of the secret.
    @ivar scope: what it is for.
    @ivar label: what its owner wrote, to tell it from others.
    @ivar expires: from then on it is worth nothing.
    @ivar last_used: when somebody last logged in with it, to the minute; None: nobody has, as far as this is known.
    """

    id: str
    owner: str
    digest: str = field(repr=False)
    scope: Scope
    created: datetime
    expires: datetime
    label: str = ""
    last_used: datetime | None = None

    def __attrs_post_init__(self) -> None:
        projects = self.scope.projects
        if not self.of_user and (
            self.scope.actions != {Action.UPLOAD} or len(projects) != 1 or projects[0].endswith("*")
        ):
            raise ValueError("a publisher's token is for uploads to one project, and for nothing else")

    @property
    def of_user(self) -> bool:
        """Whether its owner is a user, and not a trusted publisher."""
        return ":" not in self.owner

    def expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return now >= self.expires


@frozen
class Minted:
    """
    What a trusted publisher was given.

    @ivar text: what to log in with.
    @ivar token: what the store has of it.
    """

    text: str = field(repr=False)
    token: Token
