"""
Where rooms meet. Every method returns a Deferred unless its docstring says "plain call".

Failures are part of the contract: the errors in square brackets are the ones a caller may count on, and any
method that reaches a store may fail with L{StoreUnavailable<cheddar.errors.StoreUnavailable>}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import BinaryIO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from zope.interface import Attribute, Interface

from cheddar.model import (
    Action,
    CachedPage,
    CoreMetadata,
    Credentials,
    Fetched,
    File,
    Identity,
    NotModified,
    Project,
    Ranged,
    Release,
    Selector,
    User,
    Validators,
)


class IStoredFile(Interface):
    """The bytes of one file, ready to be sent."""

    size: int | None = Attribute("Bytes, or None while a download has not said.")
    digests: Mapping[str, str] = Attribute("By algorithm; C{sha256} among them unless a download is under way.")

    def send(consumer: IConsumer, first: int, last: int | None) -> Deferred[None]:
        """
        Send the bytes C{first} to C{last} (both included; None: to the end) to C{consumer}, at its own pace.

        The producer is registered and unregistered here; the consumer is not finished here.

        @return: fires when the last byte was written; fails if the bytes cannot be had (L{UpstreamUnavailable},
            L{UpstreamBroken}), with the consumer then having had less than it was promised.
        """


class IArriving(IStoredFile):
    """A file that may have to be downloaded before it can be sent."""

    def ready() -> Deferred[None]:
        """
        Begin the download where none is under way, and wait for the first bytes; C{size} is then as exact as
        upstream made it. A file that is here is ready at once. To be called before anything is written to a
        client: what goes wrong until then can still be answered. [NotFound, UpstreamUnavailable,
        UpstreamBroken, NoRoom]
        """


class IFileView(Interface):
    """An own hold on the bytes of one file: deleting the file does not take them away."""

    def read(offset: int, length: int) -> Deferred[bytes]:
        """Up to C{length} bytes from C{offset} on, as many as there are now; empty for none. [Unavailable]"""

    def close() -> None:
        """Plain call. Let go; a read under way ends first."""


class IFileWriter(Interface):
    """One file on its way into storage: invisible until committed."""

    size: int = Attribute("Bytes accepted so far.")

    def write(data: bytes) -> Deferred[None] | None:
        """Plain call. Take the next bytes; a Deferred asks the caller to wait for it before it gives more. [NoRoom]"""

    def finish() -> Deferred[Mapping[str, str]]:
        """All bytes have been written: wait until they are on disk, and give their digests. [NoRoom]"""

    def reader() -> BinaryIO:
        """Plain call. An own, seekable view of the bytes that are on disk by now; for use in a thread."""

    def view() -> IFileView:
        """Plain call, not after C{commit} or C{abort}. A view for readers that follow the file as it grows."""

    def notify(grown: Callable[[int], None]) -> None:
        """Plain call. From now on call C{grown} with how many bytes views can read, each time they are more."""

    def commit(key: str, expected: Mapping[str, str]) -> Deferred[IStoredFile]:
        """
        Make the bytes visible under C{key}, whole and synced to disk, in place of what may be there.

        @param expected: digests the bytes must have; an algorithm that was not computed is passed over.
        @raise DigestMismatch: nothing was stored. [NoRoom]
        """

    def abort() -> Deferred[None]:
        """Drop the bytes. Does no harm after C{commit}, or twice."""


class IFileStorage(Interface):
    """Named bytes. A key is a relative path: C{releases/...} or C{pre-releases/...}."""

    def open(key: str) -> Deferred[IStoredFile]:
        """The bytes under C{key}. [NotFound]"""

    def read(key: str, limit: int) -> Deferred[bytes]:
        """The whole of a small file. [NotFound; TooLarge over C{limit} bytes]"""

    def inspect(key: str) -> Deferred[BinaryIO]:
        """A seekable view of the bytes under C{key}, for use in a thread; the caller closes it. [NotFound]"""

    def create(algorithms: tuple[str, ...] = ("sha256",)) -> Deferred[IFileWriter]:
        """Begin a new file, computing these digests as it is written. [NoRoom]"""

    def delete(key: str) -> Deferred[None]:
        """Remove the bytes under C{key}; readers that have them open go on. No error where there are none."""

    def names() -> Deferred[tuple[tuple[str, int, datetime], ...]]:
        """Every key with its size and the time of its last change: for check, clean-up and rebuild."""

    def check() -> Deferred[None]:
        """Whether files can be written now. [NoRoom]"""


class IIndex(Interface):
    """A named set of projects: local, remote or combined."""

    name: str = Attribute("C{local}, C{remote} or C{combined}.")

    def project_names() -> Deferred[tuple[str, ...]]:
        """The normalized names of the projects that have something to offer, sorted."""

    def project(name: str) -> Deferred[Project]:
        """
        @param name: normalized.
        @raise NotFound: this index has no such project. [UpstreamUnavailable, UpstreamBroken]
        """

    def file(project: str, filename: str, digest: str | None) -> Deferred[IStoredFile]:
        """
        The bytes of a file that the project's page lists.

        @param digest: as the file's URL has it (L{cheddar.formats.links.digest_segment}); None: whichever it has.
        @raise NotFound: the page lists no such file. [UpstreamUnavailable, UpstreamBroken]
        """

    def core_metadata(project: str, filename: str, digest: str | None) -> Deferred[bytes]:
        """The exact core metadata of a file (PEP 658). [NotFound, UpstreamUnavailable, UpstreamBroken]"""


class IUpload(Interface):
    """An upload that has arrived whole and is not published yet."""

    filename: str = Attribute("As the form names the file.")
    fields: Mapping[str, tuple[str, ...]] = Attribute("The form's other fields; absent values left out.")
    writer: IFileWriter = Attribute("Holds the bytes.")
    digests: Mapping[str, str] = Attribute("Of the bytes, computed as they arrived.")


class IPublishable(IIndex):
    """An index that takes files."""

    def check() -> Deferred[None]:
        """Whether it can tell its own names from others' now. [StoreUnavailable: the store has forgotten]"""

    def owns(name: str) -> Deferred[bool]:
        """Whether the (normalized) name belongs to this index: since its first upload, until it is released."""

    def publish(upload: IUpload, by: Identity) -> Deferred[File]:
        """
        Check an upload and make it visible; the same bytes under the same name again change nothing.

        @raise AlreadyExists: other bytes have that name. [Invalid, NoRoom, Forbidden]
        """

    def yank(project: str, selector: Selector, reason: str | None) -> Deferred[int]:
        """Yank (C{reason}, maybe empty) or un-yank (None) files. @return: how many files are meant. [NotFound]"""

    def remove(project: str, selector: Selector) -> Deferred[int]:
        """Remove files. @return: how many. [NotFound]"""

    def release_name(name: str) -> Deferred[None]:
        """Give up a name that has no files any more: upstream may be asked for it again. [NotFound, Invalid]"""

    def history() -> Deferred[tuple[Release, ...]]:
        """Recent uploads, newest first."""

    def release_metadata(project: str, version: str) -> Deferred[tuple[tuple[File, ...], CoreMetadata | None]]:
        """A release's files, and the core metadata of the one that says most (a wheel before an sdist). [NotFound]"""


class IRefreshable(Interface):
    """Something that keeps itself fresh."""

    def refresh() -> Deferred[int]:
        """Take one turn; one bad project never fails it. @return: how many listings were brought up to date."""


class IBodyReceiver(Interface):
    """Takes the bytes of a download as they come. Both are plain calls."""

    def begin(length: int | None) -> None:
        """Upstream answered: C{length} bytes will follow, None where it does not say."""

    def write(data: bytes) -> Deferred[None] | None:
        """The next bytes; a Deferred asks for a pause until it fires."""


class IUpstream(Interface):
    """The other server behind a remote index."""

    def fetch_project(name: str, validators: Validators) -> Deferred[Fetched | NotModified]:
        """
        @param name: normalized.
        @raise NotFound: upstream says that there is no such project. [UpstreamUnavailable, UpstreamBroken]
        """

    def fetch_file(url: str, receiver: IBodyReceiver) -> Deferred[None]:
        """
        Download, byte for byte.

        @return: fires at the end of the body. [NotFound, UpstreamUnavailable, UpstreamBroken]
        """

    def fetch_bytes(url: str, limit: int) -> Deferred[bytes]:
        """A small body, at most C{limit} bytes. [NotFound, UpstreamUnavailable, UpstreamBroken]"""

    def fetch_range(url: str, first: int, last: int | None = None) -> Deferred[Ranged]:
        """
        A part of a file, at most 32 MiB, and how long the whole of it is; nothing else of the file is transferred.

        @param first: the position of the first byte wanted; or, below 0, how many bytes at the end are.
        @param last: the position of the last byte wanted; None: the file's last.
        @return: all of these bytes that the file has.
        @raise NotFound: upstream has no such file, or gives no parts of its files. [UpstreamUnavailable,
            UpstreamBroken]
        """

    def state() -> Mapping[str, object]:
        """Plain call. What readiness and metrics show of it: whether the last answer was good, and since when."""


class IProjectStore(Interface):
    """Local projects: what was published. Every change is one atomic step and moves the serial on."""

    def project_names() -> Deferred[tuple[str, ...]]:
        """Projects that have files, sorted."""

    def owned_names() -> Deferred[tuple[str, ...]]:
        """All names that are taken, those without files among them, sorted."""

    def project(name: str) -> Deferred[Project | None]:
        """
        The project, its files and versions sorted; without files where all were removed; None where nobody has
        the name.
        """

    def add_file(project: str, display_name: str, file: File, allow_reuse: bool) -> Deferred[None]:
        """
        Add a file, make the name taken, note it in the history.

        @param allow_reuse: whether a name that was used and removed may come back with other bytes.
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
        """Free a name that has no files; its status goes too. [NotFound: nobody has it; Invalid: it has files]"""

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
        """Note that a client asked; nothing where no answer is remembered."""

    def mark_checked(index: str, name: str, checked_at: float) -> Deferred[None]:
        """
        Note that upstream confirmed the answer, without writing the listing again; nothing where none is
        remembered.
        """

    def stale(index: str, checked_before: float, asked_after: float, limit: int) -> Deferred[tuple[str, ...]]:
        """Names whose answer was checked before, and asked for after, these times; most recently asked first."""

    def names(index: str) -> Deferred[tuple[str, ...]]:
        """Projects with a listing (not those that upstream does not have), sorted."""

    def drop(index: str, name: str) -> Deferred[None]:
        """Forget."""


class IAccountStore(Interface):
    """Users. A password is kept as the caller gives it: hashing is C{cheddar.auth}'s."""

    def user(name: str) -> Deferred[User | None]:
        """The user, or None."""

    def user_names() -> Deferred[tuple[str, ...]]:
        """All users, sorted."""

    def put_user(user: User) -> Deferred[None]:
        """Add a user, or replace it."""

    def replace_password(name: str, old: str, new: str) -> Deferred[bool]:
        """Set the stored password to C{new} only if it is still C{old}, in one step. @return: whether it was."""

    def remove_user(name: str) -> Deferred[bool]:
        """Remove a user. @return: whether there was one."""


class ILeases(Interface):
    """Claims with an end time, shared by all nodes of a store."""

    def claim(name: str, holder: str, seconds: float) -> Deferred[bool]:
        """Take the lease, or prolong it if C{holder} has it. @return: whether C{holder} has it now."""

    def release(name: str, holder: str) -> Deferred[None]:
        """Give it back; nothing where C{holder} does not have it."""


class IStore(Interface):
    """One metadata store: its four faces, and its life."""

    description: str = Attribute("For people: which store, and where; never a password.")
    projects: IProjectStore = Attribute("Local projects.")
    pages: IPageCache = Attribute("Cached listings.")
    accounts: IAccountStore = Attribute("Users.")
    leases: ILeases = Attribute("Leases.")

    def start() -> Deferred[None]:
        """Open, and migrate. A shared store that is down does not fail the start: it heals."""

    def stop() -> Deferred[None]:
        """Close; fires when nothing is open any more."""

    def check() -> Deferred[None]:
        """Whether it answers now. [StoreUnavailable]"""


class IAuthenticator(Interface):
    """Knows who somebody is."""

    def identify(credentials: Credentials | None) -> Deferred[Identity]:
        """@return: who it is; L{cheddar.model.ANONYMOUS} for no credentials. [BadCredentials, Unavailable]"""


class IPermissions(Interface):
    """Knows what somebody may do."""

    def allows(identity: Identity, action: Action, index: str, project: str | None) -> bool:
        """
        Plain call. Whether C{identity} may do this; C{project} is None where it is not known yet, or all are meant.
        """
