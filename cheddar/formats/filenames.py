"""
What the name of a distribution file says: its project and its version.

Work is bounded by L{cheddar.names.MAX_FILENAME}: every split of a name is tried at most once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from cheddar.errors import Invalid
from cheddar.model import parse_version
from cheddar.names import MAX_FILENAME, is_filename, is_project_name, normalize

SDIST_EXTENSIONS = (".tar.gz", ".zip")

#: Endings of old or foreign distribution files, which an upstream may list.
_OTHER_EXTENSIONS = (
    ".tar.bz2",
    ".tar.xz",
    ".tar.lzma",
    ".tar.Z",
    ".tgz",
    ".tbz2",
    ".tbz",
    ".tar",
    ".egg",
    ".exe",
    ".msi",
    ".rpm",
    ".deb",
    ".dmg",
)
_SIDE_FILE_EXTENSIONS = (".asc", ".sig", ".metadata", ".provenance")
_VARIANTS = "-variants.json"

# What old formats append to the version: an egg's Python, an installer's platform, an RPM's release.
_EGG_TAIL = re.compile(r"-py\d.*\Z", re.ASCII | re.DOTALL)
_PLATFORM_TAIL = re.compile(r"\.(?:win32|win-[a-z0-9]+|linux|macosx|noarch|src|cygwin).*\Z", re.ASCII | re.DOTALL)
_RPM_TAIL = re.compile(r"-\d+[A-Za-z0-9_]*\.[a-z0-9_]+\Z", re.ASCII)
_STARTS_LIKE_A_VERSION = re.compile(r"v?\d", re.ASCII | re.IGNORECASE)


def is_wheel(filename: str) -> bool:
    """Whether the name is that of a wheel."""
    return filename.endswith(".whl")


def is_sdist(filename: str) -> bool:
    """Whether the name is that of a source distribution that installers take."""
    return filename.endswith(SDIST_EXTENSIONS)


def is_distribution(filename: str) -> bool:
    """Whether the name ends as that of a distribution file of any kind does, or of what lies beside one."""
    return filename.endswith((".whl", *SDIST_EXTENSIONS, *_OTHER_EXTENSIONS, *_SIDE_FILE_EXTENSIONS, _VARIANTS))


def parse(filename: str, project: str = "") -> tuple[str, str]:
    """
    Read the name of a wheel or an sdist, old spellings of sdists among them (C{Demo.Pkg-1.0.tar.gz}).

    Source: binary distribution format, "File name convention"; source distribution format, "Source distribution
    file name" (PEP 625).

    @param project: the normalized name, where it is known: it decides between the readings of a name such as
        C{foo-2-1.tar.gz} (version 2.post1 of foo, or version 1 of foo-2).
    @return: the normalized project name, and the normalized version.
    @raise Invalid: the name is not that of a wheel or an sdist, or says no project or no version (PEP 440).
    """
    if not is_filename(filename):
        raise Invalid(
            f"The file name {filename[:MAX_FILENAME]!r} is not allowed: use ASCII letters, digits and ._+!-, no dot or "
            f"dash at the start, at most {MAX_FILENAME} characters."
        )
    if is_wheel(filename):
        return _parse_wheel(filename)
    for extension in SDIST_EXTENSIONS:
        if filename.endswith(extension):
            return _parse_sdist(filename, filename[: -len(extension)], project)
    raise Invalid(f"{filename} is neither a wheel (.whl) nor a source distribution (.tar.gz, .zip).")


def normalized(filename: str, project: str, version: str) -> str:
    """
    What a wheel or an sdist should be called.

    Tools of today name files so; older ones left capitals, dots and dashes in the project's name, or made sdists of
    other kinds. Build and platform tags stay as they are.

    Source: binary distribution format, "Escaping and Unicode" (PEP 427); source distribution format, "Source
    distribution file name" (PEP 625).

    @param filename: one that L{parse} reads.
    @param project: the normalized name, as its own metadata has it too: the file name alone can mean more than one.
    @param version: the normalized version.
    @return: C{filename} itself where it is right.
    """
    start = f"{project.replace('-', '_')}-{version}"
    if is_wheel(filename):
        return f"{start}-{filename.split('-', 2)[2]}"
    return f"{start}.tar.gz"


def same_version(one: str, other: str) -> bool:
    """Whether two versions are the same release, however they are written: C{1.0} and C{1.0.0} are (PEP 440)."""
    parsed = parse_version(one)
    return one == other if parsed is None else parsed == parse_version(other)


def possible_projects(filename: str) -> tuple[str, ...]:
    """
    The normalized names of the projects that a wheel or an sdist of this name may belong to, the likeliest first.

    Never fails: a name that says no project has none.
    """
    if not is_filename(filename):
        return ()
    for extension in SDIST_EXTENSIONS:
        if filename.endswith(extension):
            return tuple(name for name, _ in _readings(filename[: -len(extension)]))
    try:
        return (parse(filename)[0],)
    except Invalid:
        return ()


def version_of(project: str, filename: str) -> str:
    """
    The version of a file that is known to belong to a project, as far as its name says.

    Never fails: upstreams list eggs, installers, and names that only a person can read.

    @param project: the normalized name.
    @return: normalized (PEP 440) where it parses, else as the name has it, else the empty string.
    """
    if len(filename) > MAX_FILENAME:
        return ""
    for extension in _SIDE_FILE_EXTENSIONS:
        filename = filename.removesuffix(extension)
    if is_wheel(filename):
        name, _, rest = filename.partition("-")
        if normalize(name) != project:
            return ""
        return _normalized(rest.partition("-")[0].replace("_", "-")) if rest.count("-") >= 3 else ""
    if filename.endswith(_VARIANTS):
        return _normalized(_rest(project, filename[: -len(_VARIANTS)]))
    for extension in (*SDIST_EXTENSIONS, *_OTHER_EXTENSIONS):
        if filename.endswith(extension):
            return _read(_rest(project, filename[: -len(extension)]), extension)
    return ""


def _parse_wheel(filename: str) -> tuple[str, str]:
    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise Invalid(f"{error}; a wheel is named name-version-python-abi-platform.whl.") from error
    if not is_project_name(name):
        raise Invalid(f"{filename} does not begin with a valid project name.")
    return str(name), str(version)


def _parse_sdist(filename: str, stem: str, project: str) -> tuple[str, str]:
    readings = _readings(stem)
    if not readings:
        raise Invalid(
            f"{filename} does not say which version it is: a source distribution is named name-version.tar.gz, with a "
            "version as PEP 440 has it."
        )
    for reading in readings:
        if reading[0] == project:
            return reading
    # The longest version: foo-1.0-1 is a post release of foo, and a-b-1.0 has one reading only.
    return readings[0]


def _readings(stem: str) -> list[tuple[str, str]]:
    return [
        (normalize(name), str(version))
        for name, rest in _splits(stem)
        if is_project_name(name) and (version := parse_version(rest)) is not None
    ]


def _splits(stem: str) -> Iterator[tuple[str, str]]:
    position = stem.find("-")
    while position != -1:
        yield stem[:position], stem[position + 1 :]
        position = stem.find("-", position + 1)


def _rest(project: str, stem: str) -> str:
    for name, rest in _splits(stem):
        if normalize(name) == project:
            return rest
    return ""


def _read(rest: str, extension: str) -> str:
    if extension == ".egg":
        rest = _EGG_TAIL.sub("", rest).replace("_", "-")
    elif extension == ".rpm":
        rest = _RPM_TAIL.sub("", rest)
    version = parse_version(rest)
    if version is None:
        rest = _PLATFORM_TAIL.sub("", rest)
        version = parse_version(rest)
    if version is not None:
        return str(version)
    # With a dash and no digit in front it is rather the name of another project: bar-1.0 of foo-bar-1.0.
    return rest if _STARTS_LIKE_A_VERSION.match(rest) or "-" not in rest else ""


def _normalized(rest: str) -> str:
    version = parse_version(rest)
    return rest if version is None else str(version)
