"""C{pylock.toml} (PEP 751), read by packaging's own reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from packaging.markers import Marker
from packaging.pylock import Package, PackageSdist, PackageWheel, Pylock, PylockValidationError

from cheddar.errors import Invalid
from cheddar.model import Elsewhere, Environment, Locked, LockedFile, Wanted


def is_pylock(document: Mapping[str, Any]) -> bool:
    """Whether a TOML document is such a lock."""
    return "lock-version" in document and "created-by" in document


def read_pylock(document: Mapping[str, Any]) -> PylockFile:
    """@raise Invalid: it is not as the specification has it."""
    try:
        return PylockFile(Pylock.from_dict(document))
    except PylockValidationError as error:
        raise Invalid(str(error)) from error


@frozen
class PylockFile:
    """A lock, with all its extras and dependency groups."""

    _lock: Pylock

    def wanted(self, environment: Environment | None) -> tuple[Wanted, ...]:
        """See L{WantedList<cheddar.model.WantedList>}."""
        return tuple(_wanted(package) for package in self._lock.packages if self._counts(package, environment))

    def _counts(self, package: Package, environment: Environment | None) -> bool:
        if environment is None:
            return True
        python = environment["python_full_version"]
        if package.requires_python is not None and not package.requires_python.contains(python, prereleases=True):
            return False
        return package.marker is None or self._holds(package.marker, environment)

    def _holds(self, marker: Marker, environment: Environment) -> bool:
        groups = {*(self._lock.dependency_groups or ()), *(self._lock.default_groups or ())}
        values: dict[str, Any] = {
            **environment,
            "extras": frozenset(self._lock.extras or ()),
            "dependency_groups": frozenset(groups),
        }
        return marker.evaluate(values, context="lock_file")


def _wanted(package: Package) -> Wanted:
    what = f"{package.name} {package.version or ''}".rstrip()
    if package.vcs is not None:
        return Elsewhere(what, f"from {package.vcs.type}: {package.vcs.url or package.vcs.path}")
    if package.directory is not None:
        return Elsewhere(what, f"from a folder: {package.directory.path}", at_hand=True)
    if package.archive is not None:
        archive = package.archive
        return Elsewhere(what, f"from an archive: {archive.url or archive.path}", at_hand=archive.url is None)
    files: list[PackageSdist | PackageWheel] = [*(package.wheels or ())]
    if package.sdist is not None:
        files.append(package.sdist)
    if all(file.url is None for file in files) and any(file.path is not None for file in files):
        return Elsewhere(what, f"from a path: {files[0].path}", at_hand=True)
    return Locked(
        str(package.name),
        str(package.version or ""),
        tuple(LockedFile(file.filename, file.hashes.get("sha256", "").lower()) for file in files),
        package.index or "",
    )
