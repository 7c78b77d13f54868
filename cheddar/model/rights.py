"""Who may do what: the roles that were given, all of one moment, and what follows from them."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from attrs import evolve, field, frozen

from cheddar.model.actions import Action
from cheddar.model.tokens import Scope
from cheddar.names import INDEXES, is_of_pattern, is_user_name, names_and_beginnings, normalize_pattern

#: The target that is everything there is.
EVERYTHING = "*"
#: What a target begins with that is a whole index.
INDEX = "index:"
LOCAL = INDEX + "local"
#: What the name of a group begins with: no user's name does.
GROUP = "@"
#: The group that everybody is in who has logged in.
USERS = "@users"
#: Holds the place of an owner that is gone, so that what was somebody's does not become everybody's.
NOBODY = ""


class Role(enum.Enum):
    """What somebody is to a project, to an index or to everything; each may do what the ones before it may."""

    READER = "reader"
    MAINTAINER = "maintainer"
    OWNER = "owner"
    ADMIN = "admin"

    def allows(self, action: Action) -> bool:
        """Whether who has this role may do that."""
        return self is Role.ADMIN or action in _ALLOWED[self]


_ALLOWED: Mapping[Role, frozenset[Action]] = {
    Role.READER: frozenset({Action.READ}),
    Role.MAINTAINER: frozenset({Action.READ, Action.UPLOAD, Action.YANK}),
    Role.OWNER: frozenset({Action.READ, Action.UPLOAD, Action.YANK, Action.DELETE}),
}
_KEEPERS = frozenset({Role.MAINTAINER, Role.OWNER})


@frozen
class Right:
    """
    A role that was given.

    @ivar holder: a user's name, or C{@} and a group's; L{NOBODY} where an owner is gone.
    @ivar role: the role.
    @ivar target: a pattern of local projects (L{cheddar.names.normalize_pattern}), C{index:} and an index's name, or
        L{EVERYTHING}.
    """

    holder: str
    role: Role
    target: str


def is_holder(text: str) -> bool:
    """Whether C{text} may hold a role: a user's name, or C{@} and a group's."""
    return is_user_name(text.removeprefix(GROUP))


def normalize_target(text: str) -> str:
    """
    The normalized form of a target.

    @raise ValueError: it is none; the message says what would be one.
    """
    if text == EVERYTHING or text in (INDEX + index for index in INDEXES):
        return text
    if text.startswith(INDEX):
        raise ValueError(f"one of {', '.join(INDEX + index for index in INDEXES)}")
    try:
        return normalize_pattern(text)
    except ValueError as error:
        raise ValueError(f"{error}; or index:local and the like, or * for everything") from None


@frozen
class Names:
    """A set of project names, told by (normalized) patterns, C{*} for all among them."""

    _patterns: tuple[str, ...] = ()
    _whole: frozenset[str] = field(init=False)
    _beginnings: tuple[str, ...] = field(init=False)

    @_whole.default
    def _find_whole(self) -> frozenset[str]:
        return names_and_beginnings(self._patterns)[0]

    @_beginnings.default
    def _find_beginnings(self) -> tuple[str, ...]:
        return names_and_beginnings(self._patterns)[1]

    def __contains__(self, name: str) -> bool:
        return name in self._whole or name.startswith(self._beginnings)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    @property
    def all(self) -> bool:
        """Whether every name is one of them."""
        return "" in self._beginnings


@frozen
class Sight:
    """
    What somebody may read, at one moment. Every local project is either for everybody, or private; it is named like
    any other that is not there to who may not read it.

    @ivar closed: the indexes that are not for everybody.
    @ivar private: the local projects that are not.
    @ivar seen: those of them that are for this one.
    @ivar scope: what the token is for that this one came by; None: it came by none.
    """

    closed: frozenset[str] = frozenset()
    private: Names = Names()
    seen: Names = Names()
    scope: Scope | None = None

    def within(self, scope: Scope) -> Sight:
        """What of this is seen by a token: what everybody sees, and of the rest what the token is for."""
        return evolve(self, scope=scope)

    def sees(self, project: str) -> bool:
        """Whether the local project of this (normalized) name, if there is one, may be read."""
        if project not in self.private:
            return True
        return project in self.seen and (self.scope is None or self.scope.admits(Action.READ, "local", project))

    @property
    def everything(self) -> bool:
        """Whether all local projects may be read."""
        return not self.private or (self.seen.all and self.scope is None)

    def depends(self, index: str, project: str | None = None) -> bool:
        """
        Whether it takes a login to get what an index says, or others get something else.

        @param project: what it says of this project, which comes from that very index; None: of all that it has.
        """
        if index in self.closed:
            return True
        if project is None:
            return index != "remote" and ("local" in self.closed or bool(self.private))
        return index == "local" and project in self.private


@frozen
class Rights:
    """
    All roles that were given, of one moment.

    @ivar serial: the number of the last change; whatever was changed has another.
    @ivar held: the roles.
    @ivar groups: the users in each group, by C{@} and its name.
    """

    serial: int = 0
    held: tuple[Right, ...] = ()
    groups: Mapping[str, frozenset[str]] = {}
    _of_names: Mapping[str, tuple[Right, ...]] = field(init=False, repr=False, eq=False)
    _of_many: tuple[Right, ...] = field(init=False, repr=False, eq=False)

    @_of_names.default
    def _find_of_names(self) -> Mapping[str, tuple[Right, ...]]:
        found = defaultdict(list)
        for right in self.held:
            found[right.target].append(right)
        return {target: tuple(rights) for target, rights in found.items() if not _is_many(target)}

    @_of_many.default
    def _find_of_many(self) -> tuple[Right, ...]:
        return tuple(right for right in self.held if _is_many(right.target))

    @classmethod
    def of(cls, serial: int, held: Iterable[Right], groups: Mapping[str, Iterable[str]]) -> Rights:
        """Those of a store, sorted; groups without anybody left out."""
        ordered = tuple(sorted(held, key=lambda right: (right.target, right.role.value, right.holder)))
        return cls(serial, ordered, {group: frozenset(users) for group, users in sorted(groups.items()) if users})

    def _covering(self, project: str) -> Iterable[Right]:
        """What was given for a local project, whichever way its target is told."""
        yield from self._of_names.get(project, ())
        for right in self._of_many:
            target = right.target
            if target in (EVERYTHING, LOCAL) or (not target.startswith(INDEX) and is_of_pattern(project, target)):
                yield right

    def _names_of(self, user: str) -> Collection[str]:
        """The user, and the groups it is in; none for who has not logged in."""
        if not user:
            return ()
        return {user, USERS, *(group for group, users in self.groups.items() if user in users)}

    def roles(self, user: str, project: str) -> frozenset[Role]:
        """What a user is to a local project."""
        names = self._names_of(user)
        return frozenset(right.role for right in self._covering(project) if right.holder in names)

    def is_admin(self, user: str) -> bool:
        """Whether a user may do everything."""
        names = self._names_of(user)
        return any(
            right.role is Role.ADMIN and right.target == EVERYTHING and right.holder in names for right in self._of_many
        )

    def owned(self, project: str) -> bool:
        """Whether a local project is somebody's, or was: else it is everybody's who may log in."""
        return any(right.role is Role.OWNER for right in self._covering(project))

    def owners(self, project: str) -> tuple[str, ...]:
        """The users and groups that own a local project, sorted."""
        return tuple(sorted({right.holder for right in self._covering(project) if right.role is Role.OWNER} - {NOBODY}))

    def targets(self, user: str, roles: Collection[Role] = tuple(Role)) -> tuple[str, ...]:
        """Patterns of the local projects to which a user has one of these roles; C{*} for all."""
        names = self._names_of(user)
        found = {right.target for right in self.held if right.holder in names and right.role in roles}
        return tuple(
            sorted({EVERYTHING if target == LOCAL else target for target in found if not _is_other_index(target)})
        )

    def kept(self, user: str) -> tuple[str, ...]:
        """Patterns of the local projects that a user may upload to; C{*} for all."""
        return (EVERYTHING,) if self.is_admin(user) else self.targets(user, _KEEPERS)

    def with_readers(self) -> tuple[str, ...]:
        """Patterns of the local projects that have readers: they are for those alone who have a role there."""
        found = {right.target for right in self.held if right.role is Role.READER}
        return tuple(
            sorted(
                EVERYTHING if target == LOCAL else target
                for target in found
                if target != EVERYTHING and not _is_other_index(target)
            )
        )

    def readers(self, index: str) -> frozenset[str]:
        """The users and groups that are readers of a whole index."""
        return frozenset(
            right.holder for right in self._of_many if right.target == INDEX + index and right.role is Role.READER
        )

    def enters(self, user: str, index: str) -> bool:
        """Whether a user has a role for a whole index."""
        names = self._names_of(user)
        return any(right.holder in names and right.target in (EVERYTHING, INDEX + index) for right in self._of_many)


def _is_many(target: str) -> bool:
    return target.endswith("*") or target.startswith(INDEX)


def _is_other_index(target: str) -> bool:
    return target.startswith(INDEX) and target != LOCAL
