"""Which of upstream's files a requirement or a lock means, for a Python on a platform: as installers choose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from cheddar.errors import Invalid, NotFound
from cheddar.formats.filenames import is_sdist, is_wheel
from cheddar.formats.targets import Target
from cheddar.model import Environment, File, Locked, LockedFile, Named, Project, parse_version


@frozen
class Choice:
    """
    What of a release is wanted.

    @ivar target: None: every Python and platform there may be.
    @ivar sdist: whether the sdist is wanted: C{always}, where no wheel fits (C{fallback}), or C{never}.
    """

    target: Target | None
    sdist: str = "fallback"

    def of(self, filenames: Iterable[str], always: bool = False) -> set[str]:
        """
        The wheels that fit, and the sdist as it is wanted.

        @param always: whether the sdist is wanted in any case, where sdists are wanted at all.
        """
        names = list(filenames)
        wheels = {name for name in names if is_wheel(name) and self._fits(name)}
        sdists = {name for name in names if is_sdist(name)}
        if self.sdist == "never":
            return wheels
        return wheels | sdists if always or self.sdist == "always" or not wheels else wheels

    def why_nothing(self) -> str:
        """A clause for what has no such file."""
        no_sdist = ", and sdists are not wanted" if self.sdist == "never" else ", and there is no sdist"
        return f"no wheel fits {self.target}{no_sdist}" if self.target is not None else f"there is no wheel{no_sdist}"

    def _fits(self, filename: str) -> bool:
        if self.target is None:
            return True
        return not _tags(filename).isdisjoint(self.target.tags)


def choose(project: Project, wanted: Named, choice: Choice, environment: Environment | None) -> tuple[File, ...]:
    """
    The files of the best release that will do: the newest, a final one before a pre-release unless the specifier
    admits it, a yanked one only if it is named exactly, one for this Python, and with a file that fits.

    @raise NotFound: there is none, and why.
    """
    by_version: dict[Version, list[File]] = {}
    for file in project.files:
        version = parse_version(file.version)
        if version is not None and (is_wheel(file.filename) or is_sdist(file.filename)):
            by_version.setdefault(version, []).append(file)
    matching = set(wanted.specifier.filter(by_version, prereleases=True))
    if not matching:
        raise NotFound("upstream lists no such version" if project.files else "upstream lists no files")
    ways: Sequence[tuple[Callable[[File], bool], str]] = (
        (lambda file: _is_offered(file, wanted.specifier), "all that match are yanked"),
        (lambda file: _takes(file, environment), f"no version that matches is for {choice.target}"),
        (lambda file: _has_digest(file, wanted.digests), "no file has one of the digests that are asked for"),
    )
    left = {version: by_version[version] for version in matching}
    for keeps, why in ways:
        left = {version: kept for version, files in left.items() if (kept := [*filter(keeps, files)])}
        if not left:
            raise NotFound(why)
    fitting = {
        version: chosen
        for version, files in left.items()
        if (chosen := choice.of((file.filename for file in files), always=wanted.sdist))
    }
    if not fitting:
        raise NotFound(choice.why_nothing())
    # None: by the specifier, and a final release first.
    best = max(wanted.specifier.filter(fitting, prereleases=True if wanted.prereleases else None))
    return tuple(file for file in left[best] if file.filename in fitting[best])


def choose_locked(wanted: Locked, choice: Choice) -> tuple[LockedFile, ...]:
    """The files of a lock that fit. [NotFound]"""
    chosen = choice.of(file.filename for file in wanted.files)
    if not chosen:
        raise NotFound(choice.why_nothing() if wanted.files else "the lock names no files of it")
    return tuple(file for file in wanted.files if file.filename in chosen)


def find_locked(project: Project, wanted: LockedFile) -> File:
    """
    The entry of a lock's file in a listing.

    @raise NotFound: it is not listed. [Invalid: it has another digest there]
    """
    for file in project.files:
        if file.filename == wanted.filename:
            if not _has_digest(file, frozenset(filter(None, [wanted.sha256]))):
                raise Invalid(f"its SHA-256 is {wanted.sha256} in the lock, and {file.digests['sha256']} here")
            return file
    raise NotFound("upstream does not list it, or what it lists is withheld")


def _tags(filename: str) -> frozenset[Tag]:
    try:
        return parse_wheel_filename(filename)[3]
    except (InvalidWheelFilename, InvalidVersion):
        return frozenset()


def _is_offered(file: File, specifier: SpecifierSet) -> bool:
    return file.yanked is None or any(
        item.operator == "===" or (item.operator == "==" and not item.version.endswith(".*")) for item in specifier
    )


def _takes(file: File, environment: Environment | None) -> bool:
    if environment is None or file.requires_python is None:
        return True
    try:
        return SpecifierSet(file.requires_python).contains(environment["python_full_version"], prereleases=True)
    except ValueError:  # of packaging: InvalidSpecifier, or a number that is none to Python
        return True  # as installers do


def _has_digest(file: File, digests: frozenset[str]) -> bool:
    """Whether a file may be one with these digests: what a listing does not say is found out by the client."""
    return not digests or file.digests.get("sha256") in (None, *digests)
