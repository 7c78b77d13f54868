"""Versions of releases, and their order (PEP 440)."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version

#: Characters of what is read as a version: no file's name has room for more. To read millions of them takes seconds,
#: and a number of more than 4,300 digits is none to Python.
LONGEST = 200


def parse_version(text: str) -> Version | None:
    """The version that C{text} is (PEP 440); None where it is none, or has more than L{LONGEST} characters."""
    try:
        return Version(text) if len(text) <= LONGEST else None
    except InvalidVersion:
        return None


def version_key(version: str) -> tuple[int, Version | None, str]:
    """A sort key for versions, oldest first; what PEP 440 cannot read comes before all else."""
    parsed = parse_version(version)
    return (0, None, version) if parsed is None else (1, parsed, "")


def normalize_version(version: str) -> str:
    """The normalized form of C{version} (PEP 440), or C{version} itself where it does not parse."""
    parsed = parse_version(version)
    return version if parsed is None else str(parsed)


def is_prerelease(version: str) -> bool:
    """Whether C{version} is a pre-release or a development release (PEP 440); what does not parse is not."""
    parsed = parse_version(version)
    return parsed is not None and parsed.is_prerelease


def sort_versions(versions: set[str] | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Versions without repetition, oldest first."""
    return tuple(sorted(set(versions), key=version_key))
