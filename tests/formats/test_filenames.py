"""What file names say."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from cheddar.errors import Invalid
from cheddar.formats import filenames
from cheddar.names import is_project_name, normalize


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("foo-1.0-py3-none-any.whl", ("foo", "1.0")),
        ("Foo.Bar-1.0-py2.py3-none-any.whl", ("foo-bar", "1.0")),
        ("foo_bar-1!2.0+cpu.1-py3-none-any.whl", ("foo-bar", "1!2.0+cpu.1")),
        ("foo-1.0-1abc-py3-none-any.whl", ("foo", "1.0")),
        ("foo-1.0-cp312-cp312-manylinux1_x86_64.manylinux2010_x86_64.whl", ("foo", "1.0")),
        ("foo-1.0.tar.gz", ("foo", "1.0")),
        ("foo-1.0.zip", ("foo", "1.0")),
        ("demo_pkg-1.0rc1.tar.gz", ("demo-pkg", "1.0rc1")),
        ("Demo.Pkg-1.0.tar.gz", ("demo-pkg", "1.0")),
        ("python-dateutil-2.8.tar.gz", ("python-dateutil", "2.8")),
        ("foo-1.0-1.tar.gz", ("foo", "1.0.post1")),
        ("foo-1.0-dev.tar.gz", ("foo", "1.0.dev0")),
        ("a-b-1.0.tar.gz", ("a-b", "1.0")),
        ("foo-2-1.0.tar.gz", ("foo-2", "1.0")),
        ("foo-2-1.tar.gz", ("foo", "2.post1")),
        ("foo-1.0.post1.dev2.tar.gz", ("foo", "1.0.post1.dev2")),
        ("foo-v1.0.tar.gz", ("foo", "1.0")),
    ],
)
def test_parse(filename: str, expected: tuple[str, str]) -> None:
    """Wheels and sdists are read, old spellings of sdists among them."""
    assert filenames.parse(filename) == expected
    assert filenames.possible_projects(filename)[0] == expected[0]
    assert filenames.version_of(expected[0], filename) == expected[1]


def test_project_decides_between_readings() -> None:
    """Where a name can be read in two ways, the project that is known decides."""
    assert filenames.parse("foo-2-1.tar.gz", "foo-2") == ("foo-2", "1")
    assert filenames.parse("foo-2-1.tar.gz", "other") == ("foo", "2.post1")
    assert filenames.possible_projects("foo-2-1.tar.gz") == ("foo", "foo-2")
    assert filenames.version_of("foo-2", "foo-2-1.tar.gz") == "1"


@pytest.mark.parametrize(
    ("filename", "why"),
    [
        ("", "not allowed"),
        ("../foo-1.0.tar.gz", "not allowed"),
        ("foo-1.0.tar.gz\0.whl", "not allowed"),
        ("foo 1.0.tar.gz", "not allowed"),
        ("fôo-1.0.tar.gz", "not allowed"),
        ("f" * 300 + "-1.0.tar.gz", "not allowed"),
        ("foo-1.0.egg", "neither"),
        ("foo-1.0.win32.exe", "neither"),
        ("foo.tar.gz", "which version"),
        ("foo-bar.tar.gz", "which version"),
        ("pytz-2004d.tar.gz", "which version"),
        ("_-1.0.tar.gz", "which version"),
        ("foo-1.0.whl", "number of parts"),
        ("foo-1.0-py3-none-any-x-y.whl", "number of parts"),
        ("foo-bar-1.0-py3-none-any.whl", "version"),
        ("foo-dev-py3-none-any.whl", "version"),
        ("_-1.0-py3-none-any.whl", "project name"),
        ("foo__bar-1.0-py3-none-any.whl", "project name"),
        ("foo-1.0-py3--any.whl", "wheel"),
    ],
)
def test_parse_refuses(filename: str, why: str) -> None:
    """What cannot be published is refused, with what is wrong."""
    with pytest.raises(Invalid, match=why):
        filenames.parse(filename)


WHEEL_NAMES = ("PEP 427", "File name: the project's name normalized with underscores, the version as PEP 440")
SDIST_NAMES = ("PEP 625", "File name: exactly name-version.tar.gz, the name normalized with underscores")


@pytest.mark.conforms(*WHEEL_NAMES)
@pytest.mark.conforms(*SDIST_NAMES)
@pytest.mark.parametrize(
    ("filename", "wanted"),
    [
        ("foo_bar-1.0-py3-none-any.whl", "foo_bar-1.0-py3-none-any.whl"),
        ("foo_bar-1.0-1abc-py2.py3-none-any.whl", "foo_bar-1.0-1abc-py2.py3-none-any.whl"),
        ("foo-1!2.0+cpu.1-cp312-cp312-linux_x86_64.whl", "foo-1!2.0+cpu.1-cp312-cp312-linux_x86_64.whl"),
        ("Foo.Bar-1.0-py3-none-any.whl", "foo_bar-1.0-py3-none-any.whl"),
        ("PySocks-1.7.1-py3-none-any.whl", "pysocks-1.7.1-py3-none-any.whl"),
        ("foo-1.0.RC1-3-py3-none-any.whl", "foo-1.0rc1-3-py3-none-any.whl"),
        ("foo-01.0-py3-none-any.whl", "foo-1.0-py3-none-any.whl"),
        ("foo_bar-1.0.tar.gz", "foo_bar-1.0.tar.gz"),
        ("Demo.Pkg-1.0.tar.gz", "demo_pkg-1.0.tar.gz"),
        ("demo-pkg-1.0.tar.gz", "demo_pkg-1.0.tar.gz"),
        ("demo_pkg-1.0.zip", "demo_pkg-1.0.tar.gz"),
        ("demo-1.0-1.tar.gz", "demo-1.0.post1.tar.gz"),
        ("demo-v1.0-beta.tar.gz", "demo-1.0b0.tar.gz"),
    ],
)
def test_normalized(filename: str, wanted: str) -> None:
    """What a file of today is called; tags stay, and so does a version's trailing zero."""
    assert filenames.normalized(filename, *filenames.parse(filename)) == wanted


def test_normalized_by_the_project_that_is_meant() -> None:
    """Where an old name can be read in two ways, the new one says which is meant."""
    assert filenames.normalized("foo-2-1.tar.gz", "foo-2", "1") == "foo_2-1.tar.gz"
    assert filenames.normalized("foo-2-1.tar.gz", "foo", "2.post1") == "foo-2.post1.tar.gz"


PROJECTS = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?", fullmatch=True).map(normalize)
VERSIONS = st.builds(
    lambda epoch, release, pre, post, dev, local: str(
        Version(f"{epoch}!{'.'.join(map(str, release))}{pre}{post}{dev}{local}")
    ),
    st.integers(0, 3),
    st.lists(st.integers(0, 3000), min_size=1, max_size=4),
    st.sampled_from(["", "a1", "b0", "rc12"]),
    st.sampled_from(["", ".post3"]),
    st.sampled_from(["", ".dev20240101"]),
    st.sampled_from(["", "+cpu", "+ubuntu.1.2"]),
)


@pytest.mark.conforms(*WHEEL_NAMES)
@pytest.mark.conforms(*SDIST_NAMES)
@given(PROJECTS, VERSIONS, st.sampled_from(["py3-none-any", "1-py2.py3-none-any", "cp312-abi3-win_amd64"]))
def test_normalized_names_say_what_they_were_made_of(project: str, version: str, tags: str) -> None:
    """Any project and version go into a file name and come back; a normalized name has one meaning."""
    for old in (f"{project.replace('-', '_')}-{version}-{tags}.whl", f"{project}-{version}.tar.gz"):
        name = filenames.normalized(old, project, version)
        assert filenames.parse(name) == (project, version)
        assert filenames.possible_projects(name) == (project,)
        assert filenames.normalized(name, project, version) == name


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.0", "1.0.0", True),
        ("1.0-rc.1", "1.0rc1", True),
        ("1.0+CPU", "1.0+cpu", True),
        ("1.0", "1.0.1", False),
        ("1.0", "1!1.0", False),
        ("1.0", "1.0+cpu", False),
        ("2004d", "2004d", True),
        ("2004d", "2004D", False),
        ("1.0", "2004d", False),
        ("2004d", "1.0", False),
    ],
)
def test_same_version(one: str, other: str, same: bool) -> None:
    """Two spellings of one release are the same (PEP 440); what cannot be read is the same as itself alone."""
    assert filenames.same_version(one, other) is same


@pytest.mark.parametrize(
    ("project", "filename", "version"),
    [
        ("foo", "foo-1.0-py2.7.egg", "1.0"),
        ("foo", "foo-1.0-py2.7-linux-x86_64.egg", "1.0"),
        ("foo", "foo-1.0_rc1-py2.7.egg", "1.0rc1"),
        ("foo", "foo-1.0.win32-py2.7.exe", "1.0"),
        ("foo", "foo-1.0.win32.exe", "1.0"),
        ("foo", "foo-1.0.win-amd64-py2.7.msi", "1.0"),
        ("foo", "foo-1.0-1.noarch.rpm", "1.0"),
        ("foo", "foo-1.0-1.src.rpm", "1.0"),
        ("foo", "foo-1.0.tar.bz2", "1.0"),
        ("foo", "foo-1.0.tar.Z", "1.0"),
        ("foo", "foo-1.0.tgz", "1.0"),
        ("foo", "foo-1.0.linux-x86_64.tar.gz", "1.0"),
        ("foo", "foo-1.0.macosx-10.9-x86_64.tar.gz", "1.0"),
        ("foo", "foo-1.0-variants.json", "1.0"),
        ("foo", "foo-1.0-py3-none-any-cuda.whl", "1.0"),
        ("foo", "foo-1.0-1-py3-none-any-cuda.whl", "1.0"),
        ("foo", "foo-1.0-py3-none-any.whl.sig", "1.0"),
        ("foo", "foo-1.0.tar.gz.asc", "1.0"),
        ("foo-bar", "Foo.Bar-1.0-py3-none-any.whl", "1.0"),
        ("foo-bar", "foo_bar-1.0.tar.gz", "1.0"),
        ("pytz", "pytz-2004d.tar.gz", "2004d"),
        ("foo", "foo-1.0-alpha-final.tar.gz", "1.0-alpha-final"),
        ("foo", "foo-dev.tar.gz", "dev"),
        ("foo", "foo-1.0.0.tar.gz", "1.0.0"),
        ("foo", "foo-bar-1.0.tar.gz", ""),
        ("foo", "bar-1.0.tar.gz", ""),
        ("foo", "bar-1.0-py3-none-any.whl", ""),
        ("foo", "foo.whl", ""),
        ("foo", "foo", ""),
        ("foo", "", ""),
        ("foo", "foo-1.0.html", ""),
        ("foo", "foo-1.0" + "x" * 300 + ".tar.gz", ""),
    ],
)
def test_version_of(project: str, filename: str, version: str) -> None:
    """An upstream's file gets its version as far as a name of its kind can be read, and never an error."""
    assert filenames.version_of(project, filename) == version


def test_kinds() -> None:
    """Wheels and sdists are told apart by the end of the name."""
    assert [filenames.is_wheel(name) for name in ("a-1-py3-none-any.whl", "a-1.tar.gz", "a.whl.asc")] == [
        True,
        False,
        False,
    ]
    assert [filenames.is_sdist(name) for name in ("a-1.tar.gz", "a-1.zip", "a-1.whl", "a-1.tar.bz2")] == [
        True,
        True,
        False,
        False,
    ]


@given(
    st.text(alphabet="a1-._+!", max_size=60), st.sampled_from([".whl", ".tar.gz", ".zip", ".egg", ".exe", ".rpm", ""])
)
def test_any_name(stem: str, extension: str) -> None:
    """Whatever the name, it is read or refused; what is read is normalized."""
    filename = stem + extension
    filenames.version_of("a", filename)
    try:
        project, version = filenames.parse(filename)
    except Invalid:
        return
    assert is_project_name(project)
    assert normalize(project) == project
    assert project in filenames.possible_projects(filename)
    assert filenames.version_of(project, filename) == version


@pytest.mark.parametrize(
    "filename",
    [
        "a-" * 98 + "1.0.tar.gz",
        "1-" * 98 + "1.tar.gz",
        "a-" * 50_000 + ".tar.gz",
        "1!" * 98 + "-1.zip",
        "a-1-" + ".".join("a" * 60) + "-" + ".".join("b" * 30) + "-c.whl",
        "a-1-" + "-py2" * 48 + ".egg",
        "a-1" + ".win32" * 32 + ".exe",
    ],
)
def test_hostile_names_cost_little(filename: str) -> None:
    """No name keeps the reader busy."""
    started = time.process_time()
    filenames.version_of("a", filename)
    filenames.possible_projects(filename)
    # 50 ms at the most, with a margin for a slow machine.
    assert time.process_time() - started < 0.15
