"""Versions of releases, and their order (PEP 440)."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version


def version_key(version: str) -> tuple[int, Version | None, str]:
    """A sort key for versions, oldest first; what PEP 440 cannot read comes before all else."""
    try:
        return (1, Version(version), "")
    except InvalidVersion:
        return (0, None, version)


def normalize_version(version: str) -> str:
    """The normalized form of C{version} (PEP 440), or C{version} itself where it does not parse."""
    try:
        return str(Version(version))
    except InvalidVersion:
        return version


def is_prerelease(version: str) -> bool:
    """Whether C{version} is a pre-release or a development release (PEP 440); what does not parse is not."""
    try:
        return Version(version).is_prerelease
    except InvalidVersion:
        return False


def sort_versions(versions: set[str] | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Versions without repetition, oldest first."""
    return tuple(sorted(set(versions), key=version_key))
