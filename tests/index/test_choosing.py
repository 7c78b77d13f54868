"""Which files of a listing a requirement means: as installers choose."""

from __future__ import annotations

import pytest
from attrs import evolve
from packaging.specifiers import SpecifierSet

from cheddar.errors import Invalid, NotFound
from cheddar.formats.targets import make_targets
from cheddar.index.choosing import Choice, choose, choose_locked, find_locked
from cheddar.model import File, Locked, LockedFile, Named, Project, sort_files

(TARGET,) = make_targets(["3.11.4"], ["manylinux_2_28_x86_64"])


def wheel(version: str, tags: str = "py3-none-any", **more: object) -> File:
    """A wheel of the project."""
    return evolve(File(f"demo-{version}-{tags}.whl", version), **more)


def sdist(version: str) -> File:
    """An sdist of the project."""
    return File(f"demo-{version}.tar.gz", version)


def chosen(*files: File, specifier: str = "", choice: Choice | None = None, **more: object) -> list[str]:
    """The names of the files that are chosen of a listing."""
    wanted = evolve(Named("demo", SpecifierSet(specifier)), **more)
    project = Project("demo", sort_files(files))
    found = choose(project, wanted, choice or Choice(TARGET), TARGET.environments[0])
    return [file.filename for file in found]


def test_the_newest_final_release_that_matches() -> None:
    """By version, not by name; a pre-release where the specifier names one, or it is allowed, or for want of others."""
    files = (wheel("1.9"), wheel("1.10"), wheel("2.0rc1"))
    assert chosen(*files) == ["demo-1.10-py3-none-any.whl"]
    assert chosen(*files, specifier="<1.10") == ["demo-1.9-py3-none-any.whl"]
    assert chosen(*files, specifier=">=2.0rc1") == ["demo-2.0rc1-py3-none-any.whl"]
    assert chosen(*files, specifier=">1.10") == ["demo-2.0rc1-py3-none-any.whl"]
    assert chosen(*files, prereleases=True) == ["demo-2.0rc1-py3-none-any.whl"]


def test_yanked_releases_are_for_who_names_them() -> None:
    """With == or ===, and not with a star."""
    files = (wheel("1.0"), wheel("1.1", yanked="broken"))
    assert chosen(*files) == ["demo-1.0-py3-none-any.whl"]
    assert chosen(*files, specifier="==1.1") == ["demo-1.1-py3-none-any.whl"]
    assert chosen(*files, specifier="===1.1") == ["demo-1.1-py3-none-any.whl"]
    with pytest.raises(NotFound, match="yanked"):
        chosen(*files, specifier="==1.1.*")
    with pytest.raises(NotFound, match="yanked"):
        chosen(*files, specifier=">=1.1")


def test_releases_for_other_pythons_are_passed_over() -> None:
    """An unreadable Requires-Python excludes nobody, as with installers."""
    files = (wheel("1.0"), wheel("2.0", requires_python=">=3.12"), wheel("1.5", requires_python="<3.11.4"))
    assert chosen(*files) == ["demo-1.0-py3-none-any.whl"]
    assert chosen(*files, wheel("3.0", requires_python="three")) == ["demo-3.0-py3-none-any.whl"]
    with pytest.raises(NotFound, match="no version that matches is for Python 3.11.4"):
        chosen(files[1], files[2])


def test_releases_without_a_file_that_fits_are_passed_over() -> None:
    """An older one that can be installed is better than a newer one that cannot."""
    files = (wheel("2.0", "cp312-cp312-win_amd64"), wheel("1.0"), sdist("1.0"))
    assert chosen(*files) == ["demo-1.0-py3-none-any.whl"]
    assert chosen(*files, sdist("2.0")) == ["demo-2.0.tar.gz"]
    assert chosen(*files, sdist("2.0"), choice=Choice(TARGET, "never")) == ["demo-1.0-py3-none-any.whl"]
    with pytest.raises(NotFound, match="no wheel fits"):
        chosen(files[0])


def test_all_wheels_that_fit_and_the_sdist_as_it_is_wanted() -> None:
    """A client may be pickier than the target that was named for it."""
    files = (
        wheel("1.0"),
        wheel("1.0", "cp311-cp311-manylinux_2_17_x86_64"),
        wheel("1.0", "cp37-abi3-win32"),
        sdist("1.0"),
    )
    fitting = ["demo-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", "demo-1.0-py3-none-any.whl"]
    assert chosen(*files) == fitting
    assert chosen(*files, choice=Choice(TARGET, "always")) == [*fitting, "demo-1.0.tar.gz"]
    assert chosen(*files, sdist=True) == [*fitting, "demo-1.0.tar.gz"]
    every = [*fitting[:1], "demo-1.0-cp37-abi3-win32.whl", *fitting[1:]]
    assert chosen(*files, choice=Choice(None)) == every


def test_digests_choose_among_files() -> None:
    """A release none of whose files has one of them is passed over; what says no digest may be the one."""
    files = (wheel("1.0", digests={"sha256": "aa"}), wheel("2.0", digests={"sha256": "bb"}))
    assert chosen(*files, digests=frozenset({"aa"})) == ["demo-1.0-py3-none-any.whl"]
    assert chosen(*files, wheel("3.0"), digests=frozenset({"aa"})) == ["demo-3.0-py3-none-any.whl"]
    with pytest.raises(NotFound, match="digests"):
        chosen(*files, digests=frozenset({"cc"}))


def test_what_installers_do_not_take_is_not_chosen() -> None:
    """Eggs and installers, and versions that nobody can order."""
    odd = (File("demo-9-py2.7.egg", "9"), File("demo-9.win32.exe", "9"), File("demo-nine.tar.gz", "nine"))
    assert chosen(*odd, wheel("1.0")) == ["demo-1.0-py3-none-any.whl"]
    with pytest.raises(NotFound, match="no such version"):
        chosen(*odd)
    with pytest.raises(NotFound, match="no files"):
        chosen()


def test_the_files_of_a_lock() -> None:
    """Those that fit, of those that it names; each must be what the listing has."""
    files = (LockedFile("demo-1.0-py3-none-any.whl", "aa"), LockedFile("demo-1.0.tar.gz", "bb"))
    locked = Locked("demo", "1.0", files)
    assert choose_locked(locked, Choice(TARGET)) == files[:1]
    assert choose_locked(locked, Choice(TARGET, "always")) == files
    with pytest.raises(NotFound, match="names no files"):
        choose_locked(Locked("demo", "1.0", ()), Choice(TARGET))
    project = Project("demo", (wheel("1.0", digests={"sha256": "aa"}), sdist("1.0")))
    assert [find_locked(project, file).filename for file in files] == [file.filename for file in files]
    with pytest.raises(Invalid, match="SHA-256"):
        find_locked(project, LockedFile("demo-1.0-py3-none-any.whl", "cc"))
    with pytest.raises(NotFound, match="does not list it"):
        find_locked(project, LockedFile("demo-1.1.tar.gz", "cc"))
