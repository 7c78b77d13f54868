"""The metadata store and its faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from cheddar.model import (
    CachedPage,
    Event,
    EventQuery,
    File,
    Project,
    ProjectList,
    Release,
    Right,
    Rights,
    Selector,
    Token,
    User,
)


class IProjectStore(Interface):
    """Local projects: what was published. Every change is one atomic step and moves the serial on."""

    def listed() -> Deferred[ProjectList]:
        """
        Projects that have files, whatever their status, sorted by name; with the serials, of one moment, by which a
        mirror sees what has changed.
        """

    def owned_names() -> Deferred[tuple[str, ...]]:
        """All names that are taken, those without files among them, sorted."""

    def project(name: str) -> Deferred[Project | None]:
        """
        The project, its files and versions sorted; without files where all were removed; None where nobody has
        the name.
        """

    def add_file(
        project: str, display_name: str, file: File, allow_reuse: bool, founder: str | None = None
    ) -> Deferred[None]:
        """
        Add a file, make the name taken, note it in the history.

        @param allow_reuse: whether a name that was used and removed may come back with other bytes.
        @param founder: given where nobody had the name when it was decided that the file may be added: the user who
            becomes the project's owner by this, or empty for nobody.
        @raise Founded: somebody else has founded the project since.
        @raise AlreadyExists: the project has a file of that name; or had one, with other bytes, and
            reuse is not allowed.
        @raise Forbidden: the project is archived or quarantined: it takes no files (PEP 792).
        """

    def put_file(project: str, display_name: str, file: File) -> Deferred[None]:
        """
        For rebuild: add a file or replace its row, keeping the row's yank mark, uploader and upload time; the
        history is left alone.
        """

    def set_yanked(project: str, selector: Selector, reason: str | None) -> Deferred[int]:
        """Mark (C{reason}, maybe empty) or clear (None). @return: how many files were picked. [NotFound for none]"""

    def remove_files(project: str, selector: Selector) -> Deferred[tuple[File, ...]]:
        """
        Forget files; the name stays taken, a release without files leaves the history, and the file names are
        remembered as used. @return: what was removed. [NotFound for none]
        """

    def set_status(project: str, status: str, reason: str | None) -> Deferred[None]:
        """Set the PEP 792 status marker: C{active}, C{archived}, C{quarantined} or C{deprecated}. [NotFound]"""

    def release_name(name: str) -> Deferred[None]:
        """
        Free a name that has no files; its status goes too, and the roles that were given for just this name.
        [NotFound: nobody has it; Invalid: it has files]
        """

    def serial() -> Deferred[int]:
        """The number of the last change; 0 before the first."""

    def history() -> Deferred[tuple[Release, ...]]:
        """Releases by their latest upload, newest first, as many as the store was told to keep."""


class IPageCache(Interface):
    """Remembered answers of upstream, by the name of the index and the normalized name of the project."""

    def get(index: str, name: str) -> Deferred[CachedPage | None]:
        """The remembered answer."""

    def put(index: str, name: str, page: CachedPage) -> Deferred[None]:
        """Remember an answer in place of the one before."""

    def touch(index: str, name: str, asked_at: float) -> Deferred[None]:
        """Note that a client asked, once more; nothing where no answer is remembered."""

    def mark_checked(index: str, name: str, checked_at: float) -> Deferred[None]:
        """
        Note that upstream confirmed the answer, without writing the listing again; nothing where none is
        remembered.
        """

    def stale(index: str, checked_before: float, asked_after: float, limit: int) -> Deferred[tuple[str, ...]]:
        """
        Names whose answer was checked before, and asked for after, these times; the most wanted first: those that were
        asked for most recently and most often (L{touch}), a request counting for half as much every day.
        """

    def names(index: str) -> Deferred[tuple[str, ...]]:
        """Projects for a list, sorted: not those that upstream lacks, nor those it has quarantined (PEP 792)."""

    def drop(index: str, name: str) -> Deferred[None]:
        """Forget."""


class IAccountStore(Interface):
    """Users, and what they were granted. A password is kept as the caller gives it: hashing is C{cheddar.auth}'s."""

    def user(name: str) -> Deferred[User | None]:
        """The user, or None."""

    def user_names() -> Deferred[tuple[str, ...]]:
        """All users, sorted."""

    def put_user(user: User) -> Deferred[None]:
        """Add a user, or replace it; one who is new begins without roles."""

    def replace_password(name: str, old: str, new: str) -> Deferred[bool]:
        """Set the stored password to C{new} only if it is still C{old}, in one step. @return: whether it was."""

    def remove_user(name: str) -> Deferred[bool]:
        """
        Remove a user, what it was granted, its tokens, its roles, and its place in groups. @return: whether there was
        one.
        """

    def grants(user: str) -> Deferred[tuple[str, ...]]:
        """
        The patterns (L{cheddar.names.normalize_pattern}) of the reserved names under which a user may create projects,
        sorted; none for who is no user.
        """

    def put_grant(user: str, pattern: str) -> Deferred[None]:
        """Let a user create projects of these names; nothing where it may already. [NotFound: no such user]"""

    def remove_grant(user: str, pattern: str) -> Deferred[bool]:
        """Take back what was granted in these very words. @return: whether it was."""


class IEventStore(Interface):
    """The newest events of the audit log, to be looked through: so many as the store was told to keep."""

    def add(events: Sequence[Event]) -> Deferred[None]:
        """
        Note events, in this order. One of an operation that is noted already takes its place, with the time of its
        begin.
        """

    def find(query: EventQuery, limit: int) -> Deferred[tuple[Event, ...]]:
        """The newest events that are looked for, newest first."""


class ITokenStore(Interface):
    """
    API tokens, by their id. A user's go with the user, and do not come back with the next of that name; each is
    forgotten L{cheddar.model.TOKEN_KEPT} after it has expired, at the latest when the next one is added.
    """

    def token(token_id: str) -> Deferred[Token | None]:
        """The token, expired or not; None where there is none, or its user is gone."""

    def tokens(owner: str | None) -> Deferred[tuple[Token, ...]]:
        """All of a user or trusted publisher, or all there are (None), by their time of creation."""

    def add_token(token: Token) -> Deferred[None]:
        """Add a token. [NotFound: its owner ought to be a user, and is none; AlreadyExists: the id is taken]"""

    def revoke_token(token_id: str) -> Deferred[bool]:
        """Forget a token: who comes with it next is refused. @return: whether there was one."""

    def note_token_use(token_id: str, at: datetime) -> Deferred[None]:
        """
        Note that somebody logged in with a token; nothing where there is none, or less than
        L{cheddar.model.TOKEN_USE_STEP} after the use noted last. A power failure may undo it.
        """


class IRightsStore(Interface):
    """
    Roles, and groups of users. Holders need not be users of the store: some log in by other means. The place of an
    owner that is taken away is kept (L{cheddar.model.rights.NOBODY}): the project does not become everybody's.
    """

    def serial() -> Deferred[int]:
        """The number of the last change of roles or groups; 0 before the first."""

    def rights() -> Deferred[Rights]:
        """All of them, of one moment, the roles sorted by target, role and holder."""

    def put(right: Right) -> Deferred[None]:
        """Give a role; nothing where it was given already."""

    def remove(right: Right) -> Deferred[bool]:
        """Take back what was given in these very words. @return: whether it was."""

    def add_member(group: str, user: str) -> Deferred[None]:
        """Put a user into a group (C{@} and its name); nothing where it is in it already."""

    def remove_member(group: str, user: str) -> Deferred[bool]:
        """Take a user out of a group. @return: whether it was in it."""

    def remove_group(group: str) -> Deferred[bool]:
        """Remove a group, and its roles. @return: whether it had members or roles."""


class ILeases(Interface):
    """Claims with an end time, shared by all nodes of a store."""

    def claim(name: str, holder: str, seconds: float) -> Deferred[bool]:
        """Take the lease, or prolong it if C{holder} has it. @return: whether C{holder} has it now."""

    def release(name: str, holder: str) -> Deferred[None]:
        """Give it back; nothing where C{holder} does not have it."""


class IChanges(Interface):
    """What changes in a store, for those who keep in memory what it has said. All are plain calls."""

    def watch(told: Callable[[str | None], None]) -> None:
        """
        Call C{told} with the name of a project whenever one was changed, published or cached, by this process at once,
        by others as soon as it is known; with None where anything may have changed: roles, or what was missed.
        """

    def seen_at() -> float | None:
        """
        When the store was last asked, in seconds of the reactor's clock: what others had changed by then has been told.
        None: not yet.
        """

    def heard() -> bool:
        """Whether that is less than a second ago: what was kept goes on being true, as far as has to be known."""


class IStore(Interface):
    """One metadata store: its faces, and its life."""

    description: str = Attribute("For people: which store, and where; never a password.")
    projects: IProjectStore = Attribute("Local projects.")
    pages: IPageCache = Attribute("Cached listings.")
    accounts: IAccountStore = Attribute("Users.")
    tokens: ITokenStore = Attribute("API tokens.")
    rights: IRightsStore = Attribute("Roles and groups.")
    leases: ILeases = Attribute("Leases.")
    events: IEventStore = Attribute("The newest events of the audit log.")
    changes: IChanges = Attribute("What changes of projects, cached listings and roles.")

    def start() -> Deferred[None]:
        """Open, and migrate. A shared store that is down does not fail the start: it heals."""

    def stop() -> Deferred[None]:
        """Close; fires when nothing is open any more."""

    def check() -> Deferred[None]:
        """Whether it answers now. [StoreUnavailable]"""
