"""What files of requirements and lock files ask of an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import field, frozen
from packaging.specifiers import SpecifierSet

#: The values of markers (PEP 508) of one Python on one platform, by their names.
Environment = Mapping[str, str]


@frozen
class Named:
    """
    A project, and which releases of it will do: the index has the last word.

    @ivar name: normalized.
    @ivar digests: SHA-256 digests that a file may have; empty: any.
    @ivar prereleases: whether pre-releases will do though the specifier names none.
    @ivar sdist: whether the sdist is wanted even where wheels fit.
    """

    name: str
    specifier: SpecifierSet = field(factory=SpecifierSet)
    digests: frozenset[str] = frozenset()
    prereleases: bool = False
    sdist: bool = False

    def __str__(self) -> str:
        return f"{self.name}{self.specifier}"


@frozen
class LockedFile:
    """
    A file that a lock names.

    @ivar sha256: its digest, or empty where the lock has none or another one.
    """

    filename: str
    sha256: str = ""


@frozen
class Locked:
    """
    A release, and the files of it that a lock allows.

    @ivar name: normalized.
    @ivar version: as the lock has it.
    @ivar registry: the address of the index that the lock names; empty: it names none, or the public one.
    @ivar certain: whether it is needed for sure: a lock need not say for which platforms it is.
    """

    name: str
    version: str
    files: tuple[LockedFile, ...]
    registry: str = ""
    certain: bool = True

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


@frozen
class Elsewhere:
    """
    Something that no index has.

    @ivar what: as its file names it.
    @ivar why: a clause that says where it is from.
    @ivar at_hand: whether it is a file or a folder that lies beside, which no network is needed for.
    """

    what: str
    why: str
    at_hand: bool = False

    def __str__(self) -> str:
        return self.what


Wanted = Named | Locked | Elsewhere


class WantedList(Protocol):
    """A file that names what is wanted."""

    def wanted(self, environment: Environment | None) -> tuple[Wanted, ...]:
        """What is wanted in an environment; None: in any that there may be."""
