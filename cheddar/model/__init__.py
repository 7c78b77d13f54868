"""
The values that rooms hand to each other: frozen, without behaviour that needs I/O.

Times are aware L{datetime.datetime} values in UTC; sizes are bytes; digests are lower-case hexadecimal.
"""

from cheddar.model.actions import Action
from cheddar.model.people import (
    ANONYMOUS,
    BEGUN,
    DONE,
    FAILED,
    REFUSED,
    TOKEN_USER,
    Credentials,
    Event,
    EventQuery,
    Identity,
    User,
)
from cheddar.model.projects import (
    CHANGED,
    CLOSED_STATUSES,
    NO_DIGESTS,
    QUARANTINED,
    REMOVED,
    STATUSES,
    STRONG_DIGESTS,
    CoreMetadata,
    File,
    Listed,
    Project,
    ProjectList,
    Release,
    Selector,
    sort_files,
)
from cheddar.model.rights import Names, Right, Rights, Role, Sight
from cheddar.model.tokens import TOKEN_KEPT, TOKEN_USE_STEP, Minted, Scope, Token
from cheddar.model.upstream import CachedPage, Fetched, NotModified, Ranged, Validators
from cheddar.model.versions import is_prerelease, normalize_version, parse_version, sort_versions, version_key
from cheddar.model.wanted import Elsewhere, Environment, Locked, LockedFile, Named, Wanted, WantedList

__all__ = [
    "Minted",
    "ANONYMOUS",
    "BEGUN",
    "DONE",
    "FAILED",
    "REFUSED",
    "Action",
    "TOKEN_USER",
    "Credentials",
    "Event",
    "EventQuery",
    "Identity",
    "User",
    "CHANGED",
    "CLOSED_STATUSES",
    "NO_DIGESTS",
    "QUARANTINED",
    "REMOVED",
    "STATUSES",
    "STRONG_DIGESTS",
    "CoreMetadata",
    "File",
    "Listed",
    "Project",
    "ProjectList",
    "Release",
    "Selector",
    "sort_files",
    "Names",
    "Right",
    "Rights",
    "Role",
    "Sight",
    "TOKEN_KEPT",
    "TOKEN_USE_STEP",
    "Scope",
    "Token",
    "CachedPage",
    "Fetched",
    "NotModified",
    "Ranged",
    "Validators",
    "is_prerelease",
    "normalize_version",
    "parse_version",
    "sort_versions",
    "version_key",
    "Elsewhere",
    "Environment",
    "Locked",
    "LockedFile",
    "Named",
    "Wanted",
    "WantedList",
]
