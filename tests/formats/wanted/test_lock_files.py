"""Lock files as uv, poetry and pip write them: what is read out of each for a Python on a platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from cheddar.errors import Invalid
from cheddar.formats.targets import make_targets
from cheddar.formats.wanted import read_wanted
from cheddar.formats.wanted.poetry_lock import PoetryLock
from cheddar.formats.wanted.pylock import PylockFile
from cheddar.formats.wanted.requirements import Requirements
from cheddar.formats.wanted.uv_lock import UvLock
from cheddar.model import Elsewhere, Locked, LockedFile, Wanted, WantedList

#: Written by uv 0.13, poetry 2.5 and pip 26.3 for one and the same project; C{poetry-1.1.lock} is the second one in the
#: format of before.
SAMPLES = Path(__file__).parent / "samples"
WHOLE = ("uv.lock", "poetry.lock", "poetry-1.1.lock", "pylock.uv.toml", "requirements.txt")
LEAF = {
    "1.0": "8b722f7a68074252b3a97accf7c5e79b3dbfbba8e2cbef0e912bc36ade31d8ff",
    "2.0": "b6325b7dbe156e5e4c722de5bd7a721448da9c53fd56cf462967d235ee944068",
}


def sample(name: str) -> WantedList:
    """One of the samples, read."""
    return read_wanted(str(SAMPLES / name), lambda path: Path(path).read_bytes())


def read(name: str, text: str) -> WantedList:
    """A file of that name with that text."""
    return read_wanted(name, lambda path: {name: text.encode()}[path])


def wanted(one: WantedList, python: str = "3.11", platform: str = "manylinux_2_28_x86_64") -> tuple[Wanted, ...]:
    """What is wanted there."""
    (target,) = make_targets([python], [platform])
    return one.wanted(target.environments[0])


def locked(items: tuple[Wanted, ...]) -> dict[str, Locked]:
    """The releases of a lock that are needed for sure, by what they are called."""
    return {str(item): item for item in items if isinstance(item, Locked) and item.certain}


def test_each_kind_is_told_by_what_it_says() -> None:
    """The name does not matter, so that several may lie in one folder."""
    kinds = {name: type(sample(name)) for name in (*WHOLE, "pylock.pip.toml")}
    assert kinds == {
        "uv.lock": UvLock,
        "poetry.lock": PoetryLock,
        "poetry-1.1.lock": PoetryLock,
        "pylock.uv.toml": PylockFile,
        "pylock.pip.toml": PylockFile,
        "requirements.txt": Requirements,
    }


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize(
    ("python", "platform", "leaf", "windows"),
    [
        ("3.11", "manylinux_2_28_x86_64", "1.0", False),
        ("3.12", "macosx_14_0_arm64", "2.0", False),
        ("3.11", "win_amd64", "1.0", True),
    ],
)
def test_what_is_for_another_python_or_platform_is_left_out(
    name: str, python: str, platform: str, leaf: str, windows: bool
) -> None:
    """Each kind of file says it in another way; a dependency of an extra that is asked for is wanted too."""
    items = wanted(sample(name), python, platform)
    certain = {str(item).replace("==", " ") for item in items if getattr(item, "certain", True)}
    expected = {"branch 1.10", "more 1.0", "native 1.0", "source-only 0.9", "trunk 3.0", f"leaf {leaf}"}
    if name == "poetry-1.1.lock":
        expected |= {"leaf 1.0", "leaf 2.0"}  # it does not say which one is for which Python
    assert certain == expected | ({"onlywin 1.0"} if windows else set())


@pytest.mark.parametrize("name", WHOLE)
def test_everything_is_wanted_for_every_platform(name: str) -> None:
    """Where no Python and no platform is named, nothing is left out."""
    assert {str(item).replace("==", " ") for item in sample(name).wanted(None)} == {
        *("branch 1.10", "more 1.0", "native 1.0", "source-only 0.9", "trunk 3.0"),
        *("leaf 1.0", "leaf 2.0", "onlywin 1.0"),
    }


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "requirements.txt"])
def test_files_have_their_digests(name: str) -> None:
    """The files of one release alone, though the old format of poetry has those of all releases together."""
    found = locked(sample(name).wanted(None))
    for version, digest in LEAF.items():
        assert found[f"leaf {version}"].files == (LockedFile(f"leaf-{version}-py3-none-any.whl", digest),)
    assert {file.filename for file in found["native 1.0"].files} == {
        "native-1.0-cp311-cp311-macosx_11_0_arm64.whl",
        "native-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "native-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
        "native-1.0.tar.gz",
    }
    assert found["leaf 1.0"].registry.rstrip("/") == "http://packages.example/simple"


def test_the_lock_of_pip_names_no_index() -> None:
    """It says where each file is, and that is all."""
    assert {str(item): item.registry for item in locked(wanted(sample("pylock.pip.toml"))).values()} == {
        "branch 1.10": "",
        "leaf 1.0": "",
        "native 1.0": "",
        "trunk 3.0": "",
    }


UV_SOURCES = """
version = 1
requires-python = ">=3.9"
[[package]]
name = "app"
version = "1"
source = { editable = "." }
dependencies = [
    { name = "beside" }, { name = "forked" }, { name = "flat" }, { name = "away", marker = "sys_platform == 'aix'" },
]
[package.dev-dependencies]
dev = [{ name = "tool", extra = ["fast"] }]
[package.optional-dependencies]
web = [{ name = "server" }]
[[package]]
name = "beside"
version = "1"
source = { directory = "../beside" }
[[package]]
name = "forked"
version = "1"
source = { git = "https://forge.example/forked?rev=1#abc" }
[[package]]
name = "flat"
version = "1"
source = { registry = "../wheels" }
[[package]]
name = "away"
version = "1"
source = { registry = "http://packages.example/simple/" }
[[package]]
name = "server"
version = "1"
source = { registry = "http://packages.example/simple/" }
sdist = { url = "http://packages.example/f/server-1.tar.gz", hash = "sha256:00" }
[[package]]
name = "tool"
version = "1"
source = { registry = "http://packages.example/simple/" }
[package.optional-dependencies]
fast = [{ name = "speedups" }]
slow = [{ name = "nobody-asks" }]
[[package]]
name = "speedups"
version = "1"
source = { registry = "http://packages.example/simple/" }
wheels = [{ url = "http://packages.example/f/speedups-1%2Blocal-py3-none-any.whl", hash = "sha256:11" }]
[[package]]
name = "nobody-asks"
version = "1"
source = { registry = "http://packages.example/simple/" }
"""


def test_extras_groups_and_other_sources_of_uv() -> None:
    """All extras and groups of the project are wanted, of others those asked for; what no index has is told."""
    items = wanted(read("uv.lock", UV_SOURCES))
    assert {item.what: item.at_hand for item in items if isinstance(item, Elsewhere)} == {
        "beside 1": True,
        "forked 1": False,
        "flat 1": True,
    }
    found = locked(items)
    assert set(found) == {"server 1", "tool 1", "speedups 1"}
    assert found["speedups 1"].files == (LockedFile("speedups-1+local-py3-none-any.whl", "11"),)


UV_SCRIPT = """
version = 1
requires-python = ">=3.9"
[manifest]
requirements = [{ name = "tool", extras = ["fast"], specifier = ">=1" }]
[manifest.dependency-groups]
dev = [
    { name = "checks", marker = "sys_platform == 'linux'" },
    { name = "elsewhere", marker = "sys_platform == 'aix'" },
]
[[package]]
name = "tool"
version = "1"
source = { registry = "http://packages.example/simple/" }
[package.optional-dependencies]
fast = [{ name = "torch", marker = "extra == 'extra-3-app-cpu'" }]
[[package]]
name = "torch"
version = "1"
source = { registry = "http://packages.example/simple/" }
resolution-markers = ["extra == 'extra-3-app-cpu'"]
[[package]]
name = "checks"
version = "1"
source = { registry = "http://packages.example/simple/" }
[[package]]
name = "elsewhere"
version = "1"
source = { registry = "http://packages.example/simple/" }
"""


def test_scripts_and_conflicting_extras_of_uv() -> None:
    """A lock that has no project says what it is of; of extras that exclude each other, each is wanted."""
    assert set(locked(wanted(read("script.py.lock", UV_SCRIPT)))) == {"tool 1", "torch 1", "checks 1"}


POETRY = """
[[package]]
name = "everywhere"
version = "1"
groups = ["main", "dev"]
files = [{file = "everywhere-1-py3-none-any.whl", hash = "sha256:00"}]
[package.dependencies]
[package.markers]
main = "sys_platform == \\"win32\\""
dev = "python_version >= \\"3.9\\""
[[package]]
name = "forked"
version = "1"
groups = ["main"]
files = []
[package.source]
type = "git"
url = "https://forge.example/forked"
[[package]]
name = "beside"
version = "1"
groups = ["main"]
files = []
[package.source]
type = "directory"
url = "../beside"
[metadata]
lock-version = "2.1"
python-versions = ">=3.9"
content-hash = "00"
"""


def test_groups_and_other_sources_of_poetry() -> None:
    """What one group needs is wanted, whatever the others say."""
    items = wanted(read("poetry.lock", POETRY))
    assert [(str(item), getattr(item, "at_hand", None)) for item in items] == [
        ("everywhere 1", None),
        ("forked 1", False),
        ("beside 1", True),
    ]
    assert locked(items)["everywhere 1"].registry == ""


def test_where_an_old_lock_of_poetry_is_not_sure() -> None:
    """What all others depend on elsewhere only, the project may depend on itself: wanted, as far as it can be had."""
    (item,) = (item for item in wanted(sample("poetry-1.1.lock")) if str(item) == "onlywin 1.0")
    assert isinstance(item, Locked)
    assert not item.certain
    assert "onlywin 1.0" in locked(wanted(sample("poetry-1.1.lock"), "3.11", "win_amd64"))


PYLOCK = """
lock-version = "1.0"
created-by = "hand"
extras = ["web"]
dependency-groups = ["test"]
default-groups = ["test"]
[[packages]]
name = "for-web"
version = "1"
marker = "'web' in extras"
wheels = [{url = "http://packages.example/f/for_web-1-py3-none-any.whl", hashes = {sha256 = "AA"}}]
[[packages]]
name = "for-tests"
version = "1"
marker = "'test' in dependency_groups and python_version < '3.12'"
sdist = {name = "for_tests-1.tar.gz", url = "http://packages.example/f/x", hashes = {sha512 = "bb"}}
[[packages]]
name = "newer"
version = "1"
requires-python = ">=3.13"
wheels = [{url = "http://packages.example/f/newer-1-py3-none-any.whl", hashes = {sha256 = "cc"}}]
[[packages]]
name = "forked"
vcs = {type = "git", url = "https://forge.example/forked", commit-id = "abc"}
[[packages]]
name = "beside"
directory = {path = "../beside"}
[[packages]]
name = "packed"
archive = {url = "https://forge.example/packed.zip", hashes = {sha256 = "dd"}}
[[packages]]
name = "kept"
version = "1"
wheels = [{path = "wheels/kept-1-py3-none-any.whl", hashes = {sha256 = "ee"}}]
"""


def test_markers_and_other_sources_of_pylock() -> None:
    """All extras and groups are wanted; digests are compared in lower case, and others than SHA-256 are left out."""
    items = wanted(read("pylock.toml", PYLOCK))
    assert {item.what: item.at_hand for item in items if isinstance(item, Elsewhere)} == {
        "forked": False,
        "beside": True,
        "packed": False,
        "kept 1": True,
    }
    found = locked(items)
    assert {name: item.files for name, item in found.items()} == {
        "for-web 1": (LockedFile("for_web-1-py3-none-any.whl", "aa"),),
        "for-tests 1": (LockedFile("for_tests-1.tar.gz", ""),),
    }
    assert set(locked(wanted(read("pylock.toml", PYLOCK), "3.13"))) == {"for-web 1", "newer 1"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("pylock.toml", 'lock-version = "2.0"\ncreated-by = "x"\npackages = []\n', "version 2.0 is not supported"),
        ("pylock.toml", 'lock-version = "1.0"\ncreated-by = "x"\n', "packages"),
        ("pylock.toml", "lock-version = \n", "not valid TOML"),
        ("uv.lock", 'version = 2\nrequires-python = ">=3.9"\n', "version 1 alone"),
        ("uv.lock", 'version = 1\nrequires-python = ">=3.9"\n[[package]]\nname = "x"\n', "not what its format says"),
        (
            "poetry.lock",
            '[metadata]\nlock-version = "3.0"\npython-versions = "*"\ncontent-hash = "0"\n',
            "`poetry lock` writes",
        ),
        ("poetry.lock", '[metadata]\npython-versions = "*"\ncontent-hash = "0"\n', "lock-version is 0"),
        ("pdm.lock", '[metadata]\nlock_version = "4.5.0"\n', "pdm export"),
        ("pyproject.toml", '[project]\nname = "x"\n', "no requirements file"),
    ],
)
def test_what_cannot_be_read_is_told(name: str, text: str, said: str) -> None:
    """With the name of the file, and what to do where something helps."""
    with pytest.raises(Invalid, match=said) as raised:
        read(name, text)
    assert str(raised.value).startswith(name)
