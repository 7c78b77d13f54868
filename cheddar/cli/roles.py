"""C{cheddar role} and C{cheddar group}: who may do what."""

from __future__ import annotations

from typing import ClassVar

from twisted.python import usage

from cheddar.cli.command import Group, StoreCommand, Terminal
from cheddar.errors import Invalid, NotFound
from cheddar.interfaces import IStore
from cheddar.model import Event, Right, Rights, Role
from cheddar.model.rights import EVERYTHING, GROUP, INDEX, NOBODY, USERS, is_holder, normalize_target
from cheddar.names import is_project_name, is_user_name

_ROLES = ", ".join(role.value for role in Role)


class _Giving(StoreCommand):
    """A command that takes a holder, a role and a target."""

    synopsis = "WHO ROLE [TARGET]"
    longdesc = (
        f"WHO is a user, or @ and a group; {USERS} is everybody who logs in. ROLE is one of {_ROLES}. TARGET is a "
        "project (acme), a pattern of projects (acme-*), an index (index:local), or * for everything; an admin is one "
        "of everything."
    )
    right: Right

    def parseArgs(self, *words: str) -> None:
        """Who, which role, and for what. [UsageError]"""
        if len(words) == 2 and words[1] == Role.ADMIN.value:
            words = (*words, EVERYTHING)
        if len(words) != 3:
            raise usage.UsageError("a user, a role and a project are needed, as in: alice maintainer acme-web")
        self._words = words

    def prepare(self, terminal: Terminal) -> None:
        """Check the words. [Invalid]"""
        holder, role, target = self._words
        if not is_holder(holder):
            raise Invalid(f"{holder!r} cannot have a role: a user's name, or @ and a group's, is needed")
        if role not in {known.value for known in Role}:
            raise Invalid(f"there is no role {role!r}; there are {_ROLES}")
        try:
            target = normalize_target(target)
        except ValueError as error:
            raise Invalid(f"{target!r} cannot be a role's target: it must be {error}") from error
        if role == Role.ADMIN.value and target != EVERYTHING:
            raise Invalid("an admin is one of everything: leave the target out, or make it an owner")
        self.right = Right(holder, Role(role), target)

    def subject(self) -> Event:
        """See L{StoreCommand.subject}."""
        right = self.right
        project = right.target if is_project_name(right.target) else ""
        return Event(action=self.noted, project=project, detail=f"{right.holder} {right.role.value} {right.target}")


class GrantRole(_Giving):
    """C{cheddar role grant WHO ROLE TARGET}"""

    noted = "role.grant"

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        right = self.right
        await store.rights.put(right)
        rights = await store.rights.rights()
        terminal.say(f"{right.holder} is {_called(right)} now.")
        if not right.holder.startswith(GROUP) and await store.accounts.user(right.holder) is None:
            terminal.say(
                f"There is no user {right.holder} in the store: the role is for one who logs in by other means. "
                "`cheddar user add` begins a user without roles."
            )
        if right.holder.startswith(GROUP) and right.holder != USERS and right.holder not in rights.groups:
            terminal.say(f"Nobody is in {right.holder} yet: `cheddar group add {right.holder} NAME`.")
        if right.role is Role.READER and right.target != EVERYTHING:
            terminal.say(f"From now on {_named(right.target)} is for those alone who have a role there.")
        single = not right.target.endswith("*") and not right.target.startswith(INDEX)
        if right.role in (Role.READER, Role.MAINTAINER) and single and not rights.owned(right.target):
            terminal.say(
                f"{right.target} has no owner, so that whoever may read it may upload to it: `cheddar role grant NAME "
                f"owner {right.target}` ends that."
            )


class RevokeRole(_Giving):
    """C{cheddar role revoke WHO ROLE TARGET}"""

    noted = "role.revoke"

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        right = self.right
        if not await store.rights.remove(right):
            held = [other for other in (await store.rights.rights()).held if other.holder == right.holder]
            said = ", ".join(map(_called, held)) or "nothing"
            raise NotFound(f"{right.holder} is not {_called(right)}; it is {said}")
        terminal.say(f"{right.holder} is not {_called(right)} any more.")
        rights = await store.rights.rights()
        if right.role is Role.OWNER and not _owners_of(rights, right.target):
            terminal.say(
                f"Nobody owns {_named(right.target)} now: only administrators change it, until somebody is given "
                f"the role (`cheddar role grant {USERS} owner '{right.target}'` gives it to everybody who logs in)."
            )


class ListRoles(StoreCommand):
    """C{cheddar role list [WHO or TARGET]}"""

    synopsis = "[WHO or TARGET]"
    wanted: str | None = None

    def parseArgs(self, *words: str) -> None:
        """At most one name. [UsageError]"""
        if len(words) > 1:
            raise usage.UsageError("at most one user, group or target can be asked for")
        self.wanted = next(iter(words), None)

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        rights = await store.rights.rights()
        for right in rights.held:
            if self.wanted is None or self.wanted in (right.holder, right.target):
                if right.holder != NOBODY:
                    terminal.say(f"{right.target} {right.role.value} {right.holder}")
                elif not _owners_of(rights, right.target):
                    terminal.say(f"{right.target} (its owner is gone)")


class Roles(Group):
    """C{cheddar role}"""

    commands: ClassVar[list[tuple[str, type[usage.Options], str]]] = [
        ("grant", GrantRole, "Make somebody reader, maintainer or owner of a project, or admin."),
        ("revoke", RevokeRole, "Take a role back."),
        ("list", ListRoles, "List all roles, or those of a user, a group or a project."),
    ]


class _Membership(StoreCommand):
    """A command that takes a group and users."""

    synopsis = "GROUP [NAME ...]"
    group: str
    users: tuple[str, ...]

    def parseArgs(self, *words: str) -> None:
        """The group and the users. [UsageError]"""
        if not words:
            raise usage.UsageError("a group is needed, as in: @web alice bob")
        self.group, self.users = GROUP + words[0].removeprefix(GROUP), words[1:]

    def prepare(self, terminal: Terminal) -> None:
        """Check the names. [Invalid]"""
        for name in (self.group.removeprefix(GROUP), *self.users):
            if not is_user_name(name):
                raise Invalid(f"{name!r} cannot be a name: letters, digits and ._@+- only, at most 64")
        if self.group == USERS:
            raise Invalid(f"{USERS} is everybody who logs in: nobody is added to it or taken out")

    def subject(self) -> Event:
        """See L{StoreCommand.subject}."""
        return Event(action=self.noted, detail=" ".join((self.group, *self.users)))


class AddMembers(_Membership):
    """C{cheddar group add GROUP NAME ...}"""

    noted = "group.add"

    def parseArgs(self, *words: str) -> None:
        """The group and at least one user. [UsageError]"""
        super().parseArgs(*words)
        if not self.users:
            raise usage.UsageError("a group and users are needed, as in: @web alice bob")

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        for user in self.users:
            await store.rights.add_member(self.group, user)
        terminal.say(f"{', '.join(self.users)} {'is' if len(self.users) == 1 else 'are'} in {self.group} now.")


class RemoveMembers(_Membership):
    """C{cheddar group remove GROUP [NAME ...]}"""

    noted = "group.remove"

    longdesc = "Without a user's name the whole group is removed, and its roles with it."

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        if not self.users:
            if not await store.rights.remove_group(self.group):
                raise NotFound(f"there is no group {self.group}")
            terminal.say(f"Removed the group {self.group}, and its roles.")
        for user in self.users:
            if not await store.rights.remove_member(self.group, user):
                raise NotFound(f"{user} is not in {self.group}")
            terminal.say(f"{user} is not in {self.group} any more.")


class ListGroups(StoreCommand):
    """C{cheddar group list}"""

    async def work(self, store: IStore, terminal: Terminal) -> None:
        """See L{StoreCommand.work}."""
        for group, users in (await store.rights.rights()).groups.items():
            terminal.say(f"{group} {' '.join(sorted(users))}")


class Teams(Group):
    """C{cheddar group}"""

    commands: ClassVar[list[tuple[str, type[usage.Options], str]]] = [
        ("add", AddMembers, "Put users into a group."),
        ("remove", RemoveMembers, "Take users out of a group, or remove it with its roles."),
        ("list", ListGroups, "List the groups, and who is in them."),
    ]


def _called(right: Right) -> str:
    return f"{right.role.value} of {_named(right.target)}"


def _named(target: str) -> str:
    return "everything" if target == EVERYTHING else target


def _owners_of(rights: Rights, target: str) -> list[str]:
    found = (right for right in rights.held if right.target == target and right.role is Role.OWNER)
    return [right.holder for right in found if right.holder != NOBODY]
