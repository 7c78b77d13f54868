"""
C{poetry.lock}, of poetry 1.1 and later.

It names every package of every platform. Since version 2.1 of the format each one says where it is needed; before, a
package says that only of what it depends on itself, and what the project asks for stands in C{pyproject.toml}.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from cheddar.errors import Invalid
from cheddar.formats.filenames import same_version, version_of
from cheddar.formats.wanted.markers import may_hold
from cheddar.model import Elsewhere, Environment, Locked, LockedFile, Wanted
from cheddar.names import normalize

#: Sources that are an index.
_INDEXES = ("legacy", "pypi")


def is_poetry_lock(document: Mapping[str, Any]) -> bool:
    """Whether a TOML document is such a lock."""
    metadata = document.get("metadata", {})
    return "content-hash" in metadata and "python-versions" in metadata


def read_poetry_lock(document: Mapping[str, Any]) -> PoetryLock:
    """@raise Invalid: it is of a version that nobody knows yet, or not any more."""
    metadata = document["metadata"]
    version = str(metadata.get("lock-version", "0"))
    major = version.partition(".")[0]
    # The first versions have the files of all packages in one table; of before that there are digests without names.
    old = metadata.get("files")
    if major not in ("1", "2") or (major == "1" and old is None):
        raise Invalid(f"its lock-version is {version}, and only 1 and 2 are known here: `poetry lock` writes a new one")
    entries = document.get("package", [])
    packages = [_package(entry, entry.get("files", ()) if old is None else _of_old(old, entry)) for entry in entries]
    return PoetryLock(tuple(packages), tuple(edge for entry in entries for edge in _edges(entry)))


@frozen
class _Package:
    """
    An entry of the lock.

    @ivar markers: where it is needed, by any of them; None: the lock does not say.
    """

    wanted: Locked | Elsewhere
    name: str
    markers: tuple[str, ...] | None


@frozen
class PoetryLock:
    """
    A lock, with all extras and groups.

    @ivar _edges: what packages depend on: a name, and where (empty: everywhere).
    """

    _packages: Sequence[_Package]
    _edges: Sequence[tuple[str, str]]

    def wanted(self, environment: Environment | None) -> tuple[Wanted, ...]:
        """See L{WantedList<cheddar.model.WantedList>}."""
        if environment is None:
            return tuple(package.wanted for package in self._packages)
        asked_for = {name for name, marker in self._edges if may_hold(marker, environment)}
        never = {name for name, _ in self._edges} - asked_for
        return tuple(self._wanted(environment, never))

    def _wanted(self, environment: Environment, never: set[str]) -> Iterator[Wanted]:
        for package in self._packages:
            if package.markers is not None:
                if any(may_hold(marker, environment) for marker in package.markers):
                    yield package.wanted
            elif package.name in never and isinstance(package.wanted, Locked):
                # Who depends on it does not there; the project itself may.
                yield evolve(package.wanted, certain=False)
            else:
                yield package.wanted


def _of_old(files: Mapping[str, Sequence[Mapping[str, str]]], entry: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """The files of one version: the table has those of all versions of a name together."""
    name = normalize(entry["name"])
    listed = files.get(entry["name"], ())
    return [file for file in listed if same_version(version_of(name, file["file"]), str(entry["version"]))]


def _package(entry: Mapping[str, Any], files: Sequence[Mapping[str, str]]) -> _Package:
    name, version = normalize(entry["name"]), str(entry["version"])
    source = entry.get("source", {})
    kind = source.get("type", _INDEXES[0])
    wanted: Locked | Elsewhere
    if kind in _INDEXES:
        wanted = Locked(name, version, tuple(map(_file, files)), source.get("url", ""))
    else:
        why = f"from {_KINDS.get(kind, kind)}: {source.get('url', '')}"
        wanted = Elsewhere(f"{name} {version}", why, at_hand=kind in ("directory", "file"))
    return _Package(wanted, name, _markers(entry))


_KINDS = {"directory": "a folder", "file": "a path", "url": "a URL"}


def _markers(entry: Mapping[str, Any]) -> tuple[str, ...] | None:
    markers = entry.get("markers")
    if markers is None:
        # Where a lock says which groups a package is of, it says where it is needed too, and this one is everywhere.
        return ("",) if "groups" in entry else None
    if isinstance(markers, str):
        return (markers,)
    # By group; a group that has none needs it everywhere.
    return tuple(markers.get(group, "") for group in entry.get("groups", markers))


def _edges(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, said in entry.get("dependencies", {}).items():
        several: Iterable[Any] = said if isinstance(said, list) else [said]
        for one in several:
            yield normalize(name), one.get("markers", "") if isinstance(one, Mapping) else ""


def _file(entry: Mapping[str, str]) -> LockedFile:
    algorithm, _, digest = entry.get("hash", "").partition(":")
    return LockedFile(entry["file"], digest if algorithm == "sha256" else "")
