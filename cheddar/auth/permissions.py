"""What somebody may do, by the roles that were given, and by the settings."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from zope.interface import implementer

from cheddar.auth.known_rights import KnownRights
from cheddar.deferreds import returns_deferred
from cheddar.errors import Forbidden, NoCredentials, NotFound
from cheddar.interfaces import IPermissions
from cheddar.model import ANONYMOUS, Action, Identity, Names, Rights, Role, Sight
from cheddar.model.rights import EVERYTHING
from cheddar.names import INDEXES, is_of_pattern

#: What somebody may see is remembered for so many, as long as no role changes.
_SIGHTS_MOST = 1024

#: What somebody may not do to a project, in words.
_DOES = {Action.UPLOAD: "upload to", Action.YANK: "yank files of", Action.DELETE: "remove files of"}


@frozen(kw_only=True)
class Rules:
    """
    What the settings say.

    @ivar login_to_read: the indexes that take a login to read.
    @ivar private_projects: patterns of the local projects that only who has a role there may read.
    @ivar creators: who may create projects: every user, who was granted the name, or administrators.
    """

    login_to_read: Collection[str] = ()
    private_projects: tuple[str, ...] = ()
    creators: Literal["users", "granted", "admins"] = "users"


@implementer(IPermissions)
@define(eq=False)
class Permissions:
    """
    @ivar _grants: the patterns that a user was granted, as L{IAccountStore.grants<cheddar.interfaces.IAccountStore>}.
    @ivar _taken: all names that are taken, as L{IProjectStore.owned_names<cheddar.interfaces.IProjectStore>}.
    """

    _known: KnownRights
    _grants: Callable[[str], Deferred[tuple[str, ...]]]
    _taken: Callable[[], Deferred[tuple[str, ...]]]
    _rules: Rules = Rules()
    _sights: dict[Identity, Sight] = field(factory=dict, init=False)
    _sights_of: Rights | None = field(default=None, init=False)

    @returns_deferred
    async def check(self, identity: Identity, action: Action, index: str, project: str | None) -> None:
        """See L{IPermissions.check}."""
        if action in (Action.OBSERVE, Action.IDENTIFY):
            return
        # A token that is for uploads is for a project's first one too.
        refusal = identity.beyond_scope(Action.UPLOAD if action is Action.CREATE else action, index, project)
        if action is Action.READ:
            await self._check_reading(identity, index, refusal)
            return
        if identity.anonymous:
            raise NoCredentials("This needs a login: give a user name and a password, or an API token.")
        if refusal:
            raise Forbidden(refusal)
        if identity.publisher:
            return  # no user, whose rights could bound it: its scope is all that it may
        rights = await self._known.now()
        if rights.is_admin(identity.name):
            return
        if action is Action.ADMIN:
            raise Forbidden(f"{identity.name} is no administrator here (`cheddar role grant {identity.name} admin`).")
        if action is Action.CREATE:
            await self._check_creator(identity.name, project)
        elif project is not None:
            self._check_role(rights, identity, action, project)
        elif action is Action.UPLOAD:
            await self._check_uploader(rights, identity)

    @returns_deferred
    async def sight(self, identity: Identity) -> Sight:
        """See L{IPermissions.sight}."""
        sight = self._sight(await self._known.lately(), evolve(identity, token="", scope=None))
        return sight if identity.scope is None else sight.within(identity.scope)

    async def _check_reading(self, identity: Identity, index: str, refusal: str) -> None:
        rights = await self._known.lately()
        if not refusal:
            self._check_reader(rights, identity, index)
            return
        try:
            # What everybody may, a token takes from nobody.
            self._check_reader(rights, ANONYMOUS, index)
        except NoCredentials:
            raise Forbidden(refusal) from None

    @returns_deferred
    async def creatable(self, user: str) -> tuple[str, ...]:
        """The patterns of project names that were granted to a user, one by one or with a role; C{*}: all."""
        if not user:
            return ()
        rights = await self._known.now()
        return tuple(sorted({*await self._grants(user), *rights.kept(user)}))

    @returns_deferred
    async def founder(self, identity: Identity, project: str) -> str:
        """See L{IPermissions.founder}."""
        return "" if (await self._known.now()).owned(project) else identity.name

    def _sight(self, rights: Rights, identity: Identity) -> Sight:
        if rights is not self._sights_of or len(self._sights) >= _SIGHTS_MOST:
            self._sights, self._sights_of = {}, rights
        sight = self._sights.get(identity)
        if sight is None:
            sight = self._sights[identity] = self._find_sight(rights, identity)
        return sight

    def _find_sight(self, rights: Rights, identity: Identity) -> Sight:
        closed = self._closed(rights)
        private = tuple({*self._rules.private_projects, *rights.with_readers()})
        if identity.anonymous and "local" in closed:
            private = (EVERYTHING,)
        seen = rights.targets(identity.name) if private else ()
        return Sight(closed, Names(private), Names(seen))

    def _closed(self, rights: Rights) -> frozenset[str]:
        closed = {index for index in INDEXES if index in self._rules.login_to_read or rights.readers(index)}
        # What is combined of others' projects and one's own is closed where the others' are; of one's own it then
        # shows to each what he may read.
        return frozenset({*closed, "combined"} if "remote" in closed else closed)

    def _check_reader(self, rights: Rights, identity: Identity, index: str) -> None:
        if index not in self._sight(rights, identity).closed:
            return
        if identity.anonymous:
            raise NoCredentials("Reading needs a login here: give a user name and a password.")
        for part in ("remote", "combined") if index == "combined" else (index,):
            # Of the local index everybody gets to see the projects that he may read.
            if part != "local" and rights.readers(part) and not rights.enters(identity.name, part):
                raise Forbidden(
                    f"{identity.name} may not read the {part} index. Ask an administrator for `cheddar role grant "
                    f"{identity.name} reader index:{part}`."
                )

    def _check_role(self, rights: Rights, identity: Identity, action: Action, project: str) -> None:
        user = identity.name
        if any(role.allows(action) for role in rights.roles(user, project)):
            return
        seen = self._sight(rights, identity).sees(project)
        if not seen and action is not Action.UPLOAD:
            raise NotFound(f"There is no local project {project}.")
        if seen and not rights.owned(project):
            return
        role = Role.OWNER if action is Action.DELETE else Role.MAINTAINER
        whose = ""
        if seen:
            owners = " and ".join(owner for owner in rights.owners(project))
            whose = f"; it belongs to {owners}" if owners else "; its owner is gone"
        # Not a word of something that is there already: clients that skip what exists would take this for that.
        raise Forbidden(
            f"{user} may not {_DOES[action]} {project}{whose}. Ask an administrator for `cheddar role grant {user} "
            f"{role.value} {project}`."
        )

    async def _check_creator(self, user: str, project: str | None) -> None:
        if self._rules.creators == "users":
            return
        if self._rules.creators == "granted":
            patterns = await self.creatable(user)
            if any(project is None or is_of_pattern(project, pattern) for pattern in patterns):
                return
            how = f"for `cheddar user grant {user} {project or 'NAME'}`"
        else:
            how = "to upload its first file"
        raise Forbidden(f"{user} may not create {project or 'projects'} here. Ask an administrator {how}.")

    async def _check_uploader(self, rights: Rights, identity: Identity) -> None:
        """Whether there is any project that somebody may upload to."""
        if rights.kept(identity.name):
            return
        try:
            await self._check_creator(identity.name, None)
        except Forbidden:
            sight = self._sight(rights, identity)
            if not any(sight.sees(name) and not rights.owned(name) for name in await self._taken()):
                raise
