"""
C{uv.lock}: what uv has resolved for every platform at once.

The file has no specification but uv's own source. Its version is 1 since it was declared stable; revisions add keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import define, field, frozen

from cheddar.errors import Invalid
from cheddar.formats.wanted.markers import may_hold
from cheddar.model import Elsewhere, Environment, Locked, LockedFile, Wanted
from cheddar.names import normalize

#: Sources that are folders: of the workspace itself, or beside it.
_OWN = ("virtual", "editable", "directory")
_KINDS = {"url": "a URL", "path": "a path", "editable": "a folder", "directory": "a folder"}


def is_uv_lock(document: Mapping[str, Any]) -> bool:
    """Whether a TOML document is such a lock."""
    packages = document.get("package", [])
    return isinstance(document.get("version"), int) and (
        "requires-python" in document or any("source" in package for package in packages)
    )


def read_uv_lock(document: Mapping[str, Any]) -> UvLock:
    """@raise Invalid: it is of a version that nobody knows yet."""
    if document["version"] != 1:
        raise Invalid(f"its version is {document['version']}, and version 1 alone is known here")
    roots = _root_names(document)
    packages = tuple(_package(entry, entry["name"] in roots) for entry in document.get("package", []))
    # Of a script, or of a workspace that is no project itself.
    manifest = document.get("manifest", {})
    groups = manifest.get("dependency-groups", {}).values()
    asked_for = _edges([*manifest.get("requirements", ()), *(entry for group in groups for entry in group)])
    return UvLock(packages, roots, asked_for)


@frozen
class _Edge:
    """
    What a package depends on.

    @ivar version: empty where the lock has one version of that name only.
    """

    name: str
    version: str
    extras: tuple[str, ...]
    marker: str

    def holds_in(self, environment: Environment) -> bool:
        """Whether it is needed there."""
        return may_hold(self.marker, environment)


@frozen
class _Package:
    """An entry of the lock."""

    name: str
    version: str
    wanted: Wanted | None
    markers: tuple[str, ...]
    edges: tuple[_Edge, ...]
    of_extras: Mapping[str, tuple[_Edge, ...]] = field(eq=False)
    of_groups: tuple[_Edge, ...]

    def counts_in(self, environment: Environment) -> bool:
        """Whether it is that version of its project which is used there."""
        return not self.markers or any(may_hold(marker, environment) for marker in self.markers)


@define
class _Walk:
    """What can be reached from the project in an environment, with all its extras and groups."""

    packages: Sequence[_Package]
    environment: Environment
    reached: dict[int, set[str]] = field(factory=dict)

    def visit(self, index: int, extras: Iterable[str]) -> None:
        """Reach a package, with some of its extras, and what these depend on."""
        waiting = [(index, set(extras))]
        while waiting:
            index, wanted = waiting.pop()
            package = self.packages[index]
            edges: list[_Edge] = []
            if index not in self.reached:
                self.reached[index] = set()
                edges += package.edges
            for extra in wanted - self.reached[index]:
                self.reached[index].add(extra)
                edges += package.of_extras.get(extra, ())
            for edge in edges:
                if edge.holds_in(self.environment):
                    waiting += [(found, set(edge.extras)) for found in self.find(edge)]

    def follow(self, edges: Iterable[_Edge]) -> None:
        """Reach what these lead to."""
        for edge in edges:
            if edge.holds_in(self.environment):
                for found in self.find(edge):
                    self.visit(found, edge.extras)

    def find(self, edge: _Edge) -> Iterator[int]:
        """What an edge leads to: of several versions the one that is used there."""
        for index, package in enumerate(self.packages):
            meant = package.name == edge.name and edge.version in ("", package.version)
            if meant and package.counts_in(self.environment):
                yield index


@frozen
class UvLock:
    """
    A lock, with all extras and groups of the project.

    @ivar _roots: the names of what is locked.
    @ivar _asked_for: what is locked beside these.
    """

    _packages: Sequence[_Package]
    _roots: frozenset[str]
    _asked_for: Sequence[_Edge]

    def wanted(self, environment: Environment | None) -> tuple[Wanted, ...]:
        """See L{WantedList<cheddar.model.WantedList>}."""
        if environment is None:
            return tuple(package.wanted for package in self._packages if package.wanted is not None)
        walk = _Walk(self._packages, environment)
        walk.follow(self._asked_for)
        for index, package in enumerate(self._packages):
            if package.name in self._roots:
                walk.visit(index, package.of_extras)
                walk.follow(package.of_groups)
        reached = [self._packages[index] for index in sorted(walk.reached)]
        return tuple(package.wanted for package in reached if package.wanted is not None)


def _root_names(document: Mapping[str, Any]) -> frozenset[str]:
    """The members of the workspace; where it has but one it is the one that is no file."""
    members = document.get("manifest", {}).get("members", [])
    own = [
        package["name"]
        for package in document.get("package", [])
        if _kind(package) in _OWN and package["source"][_kind(package)] == "."
    ]
    return frozenset(members or own)


def _kind(entry: Mapping[str, Any]) -> str:
    return str(next(iter(entry["source"])))


def _package(entry: Mapping[str, Any], is_root: bool) -> _Package:
    source: Mapping[str, str] = entry["source"]
    kind = _kind(entry)
    name, version = normalize(entry["name"]), str(entry.get("version", ""))
    what = f"{name} {version}".rstrip()
    wanted: Wanted | None = None
    if kind == "registry":
        if "://" in source[kind]:
            wanted = Locked(name, version, tuple(_files(entry)), source[kind])
        else:
            wanted = Elsewhere(what, f"from a folder of files: {source[kind]}", at_hand=True)
    elif not is_root and kind != "virtual":
        wanted = Elsewhere(what, f"from {_KINDS.get(kind, kind)}: {source[kind]}", at_hand=kind in (*_OWN, "path"))
    groups = entry.get("dev-dependencies", {})
    return _Package(
        name,
        version,
        wanted,
        tuple(entry.get("resolution-markers", ())),
        _edges(entry.get("dependencies", ())),
        {extra: _edges(edges) for extra, edges in entry.get("optional-dependencies", {}).items()},
        tuple(edge for edges in groups.values() for edge in _edges(edges)),
    )


def _edges(entries: Iterable[Mapping[str, Any]]) -> tuple[_Edge, ...]:
    return tuple(
        _Edge(
            normalize(entry["name"]),
            entry.get("version", ""),
            tuple(entry.get("extra", entry.get("extras", ()))),
            entry.get("marker", ""),
        )
        for entry in entries
    )


def _files(entry: Mapping[str, Any]) -> Iterator[LockedFile]:
    for file in (*entry.get("wheels", ()), *([entry["sdist"]] if "sdist" in entry else [])):
        where = file.get("filename") or file.get("url") or file.get("path", "")
        algorithm, _, digest = file.get("hash", "").partition(":")
        yield LockedFile(unquote(urlsplit(where).path.rpartition("/")[2]), digest if algorithm == "sha256" else "")
