"""Projects and what they consist of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from attrs import field, frozen

from cheddar.model.versions import version_key

NO_DIGESTS: Mapping[str, str] = MappingProxyType({})

#: Digests by which a file can be addressed and verified, best first.
STRONG_DIGESTS = ("sha256", "sha512", "sha384", "blake2b_256")


@frozen
class File:
    """
    One distribution file: a wheel, an sdist, or what else an upstream lists.

    @ivar filename: the file's own name, the last segment of its URL.
    @ivar version: the release it belongs to, normalized (PEP 440) where it parses, else as the name has it;
        empty where no version can be read from the name.
    @ivar size: bytes, or None where upstream does not say.
    @ivar digests: by algorithm (C{sha256}, C{md5}, ...): as the listing gives them.
    @ivar upload_time: when it was published, by upstream's word for upstream's files.
    @ivar requires_python: the C{Requires-Python} specifier.
    @ivar yanked: None: not yanked; else the reason, maybe empty (PEP 592).
    @ivar core_metadata: None: there is no C{.metadata} beside it (PEP 658); else its digests, maybe none known.
    @ivar provenance: where the provenance is (PEP 740): upstream's address of it, or the storage key of a local
        file's; None: there is none.
    @ivar url: upstream's address of the bytes; empty for a local file.
    @ivar key: the storage key of the bytes; empty for upstream's file.
    @ivar uploaded_by: the user who published it; empty for upstream's file, and where a rebuild found it.
    @ivar made_metadata: whether C{core_metadata} was made here, of a file for which upstream has none; where that is
        None all the same, it cannot be made.
    @ivar upstream: the name of the upstream that lists it, where there are several; it alone is asked for the bytes.
    @ivar withdrawal: empty, L{REMOVED} or L{CHANGED}.
    @ivar other_metadata: the digest of the core metadata that upstream lists now in place of C{core_metadata}, which
        was first seen with these bytes; empty where it lists the same.
    """

    filename: str
    version: str
    size: int | None = None
    digests: Mapping[str, str] = NO_DIGESTS
    upload_time: datetime | None = None
    requires_python: str | None = None
    yanked: str | None = None
    core_metadata: Mapping[str, str] | None = None
    provenance: str | None = None
    url: str = ""
    key: str = ""
    uploaded_by: str = ""
    made_metadata: bool = False
    upstream: str = ""
    withdrawal: str = ""
    other_metadata: str = ""


#: What upstream did with a file since it was first seen: it no longer lists it, or lists other bytes under its name.
REMOVED = "removed"
CHANGED = "changed"

#: The status markers of PEP 792, and those whose projects take no files.
QUARANTINED = "quarantined"
STATUSES = ("active", "archived", QUARANTINED, "deprecated")
CLOSED_STATUSES = frozenset({"archived", QUARANTINED})


@frozen
class Project:
    """
    What an index has of one project: a page of the Simple API, before it has a format.

    @ivar name: the normalized name.
    @ivar files: as an index lists them, by version and name.
    @ivar versions: all releases, those without files among them (PEP 700), oldest first.
    @ivar display_name: the name as its owner writes it.
    @ivar status: the PEP 792 status marker, C{active} unless said.
    @ivar status_reason: why, or None.
    @ivar index: C{local} or C{remote}: where the files are served from.
    @ivar serial: of the last change (local projects), or 0.
    @ivar upstream: the name of the upstream whose project it is, where there are several.
    @ivar checked_at: where this is remembered: when upstream last confirmed it, in seconds since the epoch; else None.
        It is of this copy, not of the project: neither stored nor compared.
    @ivar good_until: until when, in seconds since the epoch, this need not be asked for again, unless the store tells
        of a change; None: it is to be asked for each time. Of this copy too.
    """

    name: str
    files: tuple[File, ...] = ()
    versions: tuple[str, ...] = ()
    display_name: str = ""
    status: str = "active"
    status_reason: str | None = None
    index: str = "local"
    serial: int = 0
    upstream: str = ""
    checked_at: float | None = field(default=None, eq=False)
    good_until: float | None = field(default=None, eq=False)


@frozen
class Listed:
    """
    A line of a project list.

    @ivar name: the normalized name.
    @ivar serial: of the project's last change, or None where nobody counts.
    @ivar status: the PEP 792 status marker.
    """

    name: str
    serial: int | None = None
    status: str = "active"


@frozen
class ProjectList:
    """
    The projects of an index.

    @ivar projects: by name.
    @ivar serial: the number of the last change that this list knows of, or None where nobody counts.
    """

    projects: tuple[Listed, ...] = ()
    serial: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names alone."""
        return tuple(project.name for project in self.projects)


@frozen
class Selector:
    """
    Which files of a project are meant.

    @ivar version: the release, normalized.
    @ivar filename: one file of it, or None for all of them.
    """

    version: str
    filename: str | None = None

    def picks(self, file: File) -> bool:
        """Whether C{file} is meant."""
        return file.version == self.version and self.filename in (None, file.filename)


@frozen
class Release:
    """A recent upload, as the history has it: a release, and when a file was last added to it."""

    project: str
    version: str
    uploaded_at: datetime


@frozen
class CoreMetadata:
    """
    Core metadata as read from a file.

    @ivar name: the C{Name} field, as written.
    @ivar version: the C{Version} field, as written.
    @ivar requires_python: the C{Requires-Python} field, or None.
    @ivar summary: the C{Summary} field, or the empty string.
    @ivar fields: every field that C{packaging.metadata.parse_email} knows, by its key there.
    @ivar raw: the exact bytes.
    """

    name: str
    version: str
    requires_python: str | None
    summary: str
    fields: Mapping[str, str | list[str] | dict[str, str]] = field(repr=False)
    raw: bytes = field(repr=False)


def sort_files(files: tuple[File, ...] | list[File]) -> tuple[File, ...]:
    """Files in the order in which an index lists them: by version, then by name."""
    keys = {version: version_key(version) for version in {file.version for file in files}}
    return tuple(sorted(files, key=lambda file: (keys[file.version], file.filename)))
