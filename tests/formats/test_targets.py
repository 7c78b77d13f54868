"""Pythons and platforms that files are fetched for: which wheels they take, and which markers hold there."""

from __future__ import annotations

import pytest
from packaging import tags
from packaging.markers import Marker
from packaging.utils import parse_wheel_filename

from cheddar.errors import Invalid
from cheddar.formats.targets import Target, make_targets, this_target


def target(python: str, platform: str, implementation: str = "cp") -> Target:
    """One of them."""
    (one,) = make_targets([python], [platform], implementation)
    return one


def takes(one: Target, wheel_tags: str) -> bool:
    """Whether a wheel with these tags fits."""
    return not parse_wheel_filename(f"demo-1.0-{wheel_tags}.whl")[3].isdisjoint(one.tags)


@pytest.mark.parametrize(
    ("python", "platform", "fitting", "others"),
    [
        (
            "3.11",
            "manylinux_2_28_x86_64",
            "cp311-cp311-manylinux_2_28_x86_64 cp311-cp311-manylinux2014_x86_64 cp37-abi3-manylinux1_x86_64 "
            "py3-none-any py2.py3-none-any cp311-none-any cp311-cp311-linux_x86_64 py3-none-manylinux_2_5_x86_64",
            "cp311-cp311-manylinux_2_29_x86_64 cp312-cp312-manylinux_2_28_x86_64 cp312-abi3-manylinux1_x86_64 "
            "cp311-cp311-manylinux_2_28_aarch64 cp311-cp311-musllinux_1_1_x86_64 cp311-cp311-win_amd64 py2-none-any",
        ),
        (
            "3.12.4",
            "manylinux2014_aarch64",
            "cp312-cp312-manylinux_2_17_aarch64 cp312-cp312-manylinux2014_aarch64",
            "cp312-cp312-manylinux_2_28_aarch64",
        ),
        (
            "3.13",
            "musllinux_1_2_x86_64",
            "cp313-cp313-musllinux_1_2_x86_64 cp313-cp313-musllinux_1_1_x86_64",
            "cp313-cp313-musllinux_1_3_x86_64 cp313-cp313-manylinux_2_17_x86_64 cp313-cp313t-musllinux_1_2_x86_64",
        ),
        ("3.13t", "linux_x86_64", "cp313-cp313t-linux_x86_64", "cp313-cp313-linux_x86_64 cp39-abi3-linux_x86_64"),
        (
            "3.12",
            "macosx_14_0_arm64",
            "cp312-cp312-macosx_11_0_arm64 cp312-cp312-macosx_10_9_universal2 cp312-cp312-macosx_14_0_universal2",
            "cp312-cp312-macosx_15_0_arm64 cp312-cp312-macosx_11_0_x86_64",
        ),
        ("3.9", "win_amd64", "cp39-cp39-win_amd64 py3-none-win_amd64", "cp39-cp39-win32"),
    ],
)
def test_the_wheels_that_fit(python: str, platform: str, fitting: str, others: str) -> None:
    """A platform takes what is for older ones of its kind."""
    one = target(python, platform)
    assert [wheel for wheel in fitting.split() if not takes(one, wheel)] == []
    assert [wheel for wheel in others.split() if takes(one, wheel)] == []


def test_another_implementation() -> None:
    """PyPy's wheels, and those for every Python."""
    one = target("3.10", "manylinux_2_17_x86_64", "pp")
    assert takes(one, "pp310-pypy310_pp73-manylinux2014_x86_64")
    assert takes(one, "py3-none-any")
    assert not takes(one, "cp310-cp310-manylinux2014_x86_64")
    assert Marker("platform_python_implementation == 'PyPy'").evaluate(dict(one.environments[0]))


@pytest.mark.parametrize(
    ("platform", "marker"),
    [
        ("manylinux_2_28_x86_64", "sys_platform == 'linux' and platform_machine == 'x86_64' and os_name == 'posix'"),
        ("musllinux_1_2_aarch64", "platform_system == 'Linux' and platform_machine == 'aarch64'"),
        ("macosx_14_0_arm64", "sys_platform == 'darwin' and platform_machine == 'arm64' and platform_release == ''"),
        ("win_amd64", "sys_platform == 'win32' and platform_machine == 'AMD64' and os_name == 'nt'"),
    ],
)
def test_the_markers_of_a_platform(platform: str, marker: str) -> None:
    """Whatever the machine is on which the command runs."""
    one = target("3.12", platform)
    assert all(Marker(marker).evaluate(dict(environment)) for environment in one.environments)
    assert Marker("python_version == '3.12'").evaluate(dict(one.environments[0]))


def test_a_python_without_a_patch_release_stands_for_all_of_them() -> None:
    """What is for the first ones or for the late ones is for it; one that is given exactly is that one."""
    marker = Marker("python_full_version < '3.11.3'")
    assert [marker.evaluate(dict(each)) for each in target("3.11", "win_amd64").environments] == [True, False]
    assert [marker.evaluate(dict(each)) for each in target("3.11.2", "win_amd64").environments] == [True]


def test_each_python_on_each_platform() -> None:
    """The product of both; of what is not said, the running interpreter's."""
    labels = [str(one) for one in make_targets(["3.11", "3.12", "3.11"], ["win32", "win_amd64"])]
    assert labels == [
        f"Python {python} on {platform}" for python in ("3.11", "3.12") for platform in ("win32", "win_amd64")
    ]
    here = this_target()
    assert make_targets([], []) == (here,)
    assert here.tags == frozenset(tags.sys_tags())
    (same,) = make_targets([here.environments[0]["python_full_version"]], [])
    assert same.tags == here.tags


@pytest.mark.parametrize(
    ("python", "platform", "implementation"),
    [("3", "win32", "cp"), ("three", "win32", "cp"), ("4.0", "win32", "cp"), ("3.12", "linux", "cp"),
     ("3.12", "macosx_14_0_ppc", "cp"), ("3.12", "win32", "jy")],
)  # fmt: skip
def test_what_is_not_understood_is_told(python: str, platform: str, implementation: str) -> None:
    """With an example of what would be."""
    with pytest.raises(Invalid, match="3.12|manylinux_2_28_x86_64|cp or pp"):
        target(python, platform, implementation)
