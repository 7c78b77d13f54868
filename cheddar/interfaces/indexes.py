"""Indexes, and what they take."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from cheddar.interfaces.files import IFileWriter, IStoredFile
from cheddar.model import CoreMetadata, File, Identity, Project, ProjectList, Release, Selector


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

    def asked(name: str) -> None:
        """Plain call. Somebody was given again what L{project} has said of a name: it goes on being wanted."""

    def file(project: str, filename: str, digest: str | None) -> Deferred[IStoredFile]:
        """
        The bytes of a file that the project's page lists.

        @param digest: as the file's URL has it (L{cheddar.formats.links.digest_segment}); None: whichever it has.
        @raise NotFound: the page lists no such file. [UpstreamUnavailable, UpstreamBroken]
        """

    def core_metadata(project: str, filename: str, digest: str | None) -> Deferred[bytes]:
        """The exact core metadata of a file (PEP 658). [NotFound, UpstreamUnavailable, UpstreamBroken]"""

    def provenance(project: str, filename: str, digest: str | None) -> Deferred[bytes]:
        """The provenance object of a file (PEP 740), not verified. [NotFound, UpstreamUnavailable, UpstreamBroken]"""


class IUpload(Interface):
    """An upload that has arrived whole and is not published yet."""

    filename: str = Attribute("As the form names the file.")
    fields: Mapping[str, tuple[str, ...]] = Attribute("The form's other fields; absent values left out.")
    writer: IFileWriter = Attribute("Holds the bytes.")
    digests: Mapping[str, str] = Attribute("Of the bytes, computed as they arrived.")


class IOwningIndex(IIndex):
    """An index that has names of its own."""

    def listed() -> Deferred[ProjectList]:
        """
        What L{project_names} names, with the serials by which a mirror sees what has changed. A quarantined project
        is not among them, its page is there all the same (PEP 792).
        """

    def owned_names() -> Deferred[frozenset[str]]:
        """The names of all its projects, those without files and the quarantined among them."""

    def owns(name: str) -> Deferred[bool]:
        """
        Whether the (normalized) name belongs to this index, so that upstream is never asked for it: since its first
        upload, until it is released; or for good, where it is reserved.
        """

    def history() -> Deferred[tuple[Release, ...]]:
        """Recent uploads, newest first."""

    def release_metadata(project: str, version: str) -> Deferred[tuple[tuple[File, ...], CoreMetadata | None]]:
        """A release's files, and the core metadata of the one that says most (a wheel before an sdist). [NotFound]"""


class IPublishable(IOwningIndex):
    """An index that takes files."""

    def check() -> Deferred[None]:
        """Whether it can tell its own names from others' now. [StoreUnavailable: the store has forgotten]"""

    def check_publisher(name: str, by: Identity) -> Deferred[None]:
        """
        Whether C{by} may publish under this (normalized) name.

        @raise Reserved: the name is reserved, has no project yet, and was not granted to C{by}.
        @raise Forbidden: the project is others', C{by} may not create it, or came by a token that is not for it.
            [StoreUnavailable]
        """

    def publish(upload: IUpload, by: Identity) -> Deferred[File]:
        """
        Check an upload and make it visible; the same bytes under the same name again change nothing. Who creates a
        project by it becomes its owner, unless it has one.

        @raise AlreadyExists: other bytes have that name. [Invalid, Reserved, NoRoom, Forbidden]
        """

    def yank(project: str, selector: Selector, reason: str | None) -> Deferred[int]:
        """Yank (C{reason}, maybe empty) or un-yank (None) files. @return: how many files are meant. [NotFound]"""

    def remove(project: str, selector: Selector) -> Deferred[int]:
        """Remove files. @return: how many. [NotFound]"""

    def release_name(name: str) -> Deferred[None]:
        """Give up a name that has no files any more: upstream may be asked for it again. [NotFound, Invalid]"""


class IRefreshable(Interface):
    """Something that keeps itself fresh."""

    def refresh() -> Deferred[int]:
        """Take one turn; one bad project never fails it. @return: how many listings were brought up to date."""
