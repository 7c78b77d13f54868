"""The Pythons and platforms that files are wanted for: their tags, and the values of their markers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from attrs import field, frozen
from packaging import tags
from packaging.markers import default_environment
from packaging.tags import Tag

from cheddar.errors import Invalid
from cheddar.model import Environment

_PYTHON = re.compile(r"(?P<release>[23]\.\d{1,3})(?P<patch>\.\d{1,3})?(?P<threads>t?)\Z", re.ASCII)
_GLIBC = re.compile(r"manylinux_2_(?P<minor>\d{1,3})_(?P<machine>\w+)\Z", re.ASCII)
_MUSL = re.compile(r"musllinux_1_(?P<minor>\d{1,3})_(?P<machine>\w+)\Z", re.ASCII)
_MAC = re.compile(r"macosx_(?P<major>\d{1,3})_(?P<minor>\d{1,3})_(?P<machine>arm64|x86_64)\Z", re.ASCII)
#: Names of before PEP 600, by the minor version of glibc 2.
_OLD_NAMES = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
#: What goes by the name of C{platform.machine()} there.
_WINDOWS = {"win_amd64": "AMD64", "win32": "x86", "win_arm64": "ARM64"}
#: The patch release that stands for all later ones of a Python that is given without.
_LATE = 99
_IMPLEMENTATIONS = {"cp": ("cpython", "CPython"), "pp": ("pypy", "PyPy")}


@frozen
class Target:
    """
    One Python on one platform.

    @ivar label: as it was given, for reports.
    @ivar tags: what it can install.
    @ivar environments: the values of its markers: of the first and of a late patch release, where none is given.
    """

    label: str
    tags: frozenset[Tag] = field(repr=False, eq=False)
    environments: tuple[Environment, ...] = field(repr=False, eq=False)

    def __str__(self) -> str:
        return self.label


def this_target() -> Target:
    """What the running interpreter is."""
    environment: dict[str, str] = {key: str(value) for key, value in default_environment().items()}
    label = f"Python {environment['python_full_version']} on {next(iter(tags.platform_tags()))}"
    return Target(label, frozenset(tags.sys_tags()), (environment,))


def make_targets(pythons: Iterable[str], platforms: Iterable[str], implementation: str = "cp") -> tuple[Target, ...]:
    """
    Each Python on each platform; where there are none of one kind, the running interpreter's stands in.

    @param pythons: C{3.12}, C{3.12.4}, or C{3.13t} for the one without a global lock.
    @param platforms: tags such as C{manylinux_2_28_x86_64}: the newest that the machine takes.
    @raise Invalid: one of them is unknown.
    """
    if implementation not in _IMPLEMENTATIONS:
        raise Invalid(f"the implementation {implementation!r} is not known: cp or pp")
    pythons, platforms = tuple(dict.fromkeys(pythons)), tuple(dict.fromkeys(platforms))
    if not pythons and not platforms and implementation == "cp":
        return (this_target(),)
    here = default_environment()
    return tuple(
        _target(python, platform, implementation)
        for python in pythons or (here["python_full_version"],)
        for platform in platforms or ("",)
    )


def _target(python: str, platform: str, implementation: str) -> Target:
    found = _PYTHON.match(python)
    if found is None:
        raise Invalid(f"the Python version {python!r} is not understood: give it as 3.12, 3.12.4 or 3.13t")
    major, minor = map(int, found["release"].split("."))
    taken = tuple(_platforms(platform)) if platform else tuple(tags.platform_tags())
    nodot = f"{major}{minor}"
    interpreter = f"{implementation}{nodot}"
    if implementation == "cp":
        native = tags.cpython_tags((major, minor), [f"cp{nodot}{found['threads']}"], taken)
    else:
        # The ABI of PyPy has not changed for years, and no Python says what another one's is.
        native = tags.generic_tags(interpreter, [f"pypy{nodot}_pp73"], taken)
    everything = frozenset([*native, *tags.compatible_tags((major, minor), interpreter, taken)])
    patches = (int(found["patch"][1:]),) if found["patch"] else (0, _LATE)
    name, title = _IMPLEMENTATIONS[implementation]
    system = _system(platform) if platform else {}
    environments = tuple(
        {
            **{key: str(value) for key, value in default_environment().items()},
            **system,
            "python_version": f"{major}.{minor}",
            "python_full_version": f"{major}.{minor}.{patch}",
            "implementation_name": name,
            "implementation_version": f"{major}.{minor}.{patch}",
            "platform_python_implementation": title,
        }
        for patch in patches
    )
    label = f"{title if implementation != 'cp' else 'Python'} {python} on {platform or taken[0]}"
    return Target(label, everything, environments)


def _platforms(platform: str) -> Iterator[str]:
    """A platform's tag, and those of the older platforms whose files it takes too, best first."""
    for old, name in _OLD_NAMES.items():
        if platform.startswith(f"{name}_"):
            platform = f"manylinux_2_{old}_{platform.removeprefix(f'{name}_')}"
    glibc, musl, mac = _GLIBC.match(platform), _MUSL.match(platform), _MAC.match(platform)
    if glibc is not None:
        for minor in range(int(glibc["minor"]), 4, -1):
            yield f"manylinux_2_{minor}_{glibc['machine']}"
            if minor in _OLD_NAMES:
                yield f"{_OLD_NAMES[minor]}_{glibc['machine']}"
        yield f"linux_{glibc['machine']}"
    elif musl is not None:
        for minor in range(int(musl["minor"]), -1, -1):
            yield f"musllinux_1_{minor}_{musl['machine']}"
        yield f"linux_{musl['machine']}"
    elif mac is not None:
        yield from tags.mac_platforms((int(mac["major"]), int(mac["minor"])), mac["machine"])
    else:
        yield platform


def _system(platform: str) -> Mapping[str, str]:
    """The markers that a platform decides. What only the machine itself knows is empty."""
    unknown = {"platform_release": "", "platform_version": ""}
    if platform in _WINDOWS:
        names = {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows"}
        return {**unknown, **names, "platform_machine": _WINDOWS[platform]}
    mac = _MAC.match(platform)
    if mac is not None:
        names = {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin"}
        return {**unknown, **names, "platform_machine": mac["machine"]}
    linux = re.match(r"(?:manylinux(?:1|2010|2014|_2_\d{1,3})|musllinux_1_\d{1,3}|linux)_(?P<machine>\w+)\Z", platform)
    if linux is not None:
        names = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}
        return {**unknown, **names, "platform_machine": linux["machine"]}
    raise Invalid(
        f"the platform {platform!r} is not known: give it as manylinux_2_28_x86_64, musllinux_1_2_aarch64, "
        "macosx_14_0_arm64, win_amd64 or the like"
    )
