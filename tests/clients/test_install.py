"""What installers find in the combined index, and what they pass over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import cast

import pytest

from tests.clients.conftest import STORES, TREE, Stocked, on_stores
from tests.clients.installers import INSTALLERS, Installer, Locker, PipTools, Poetry, UvProject
from tests.support.clients import OLD_PIPS, output

PIPS = ("pip", *sorted(OLD_PIPS))
MODERN = (*PIPS, "pip-tools", "uv", "poetry", "pdm")


@pytest.fixture
def installer(client: str, tmp_path: Path) -> Installer:
    """The client of the test, with a home of its own."""
    return INSTALLERS[client](tmp_path / client)


def assert_installs(installer: Installer, index: str, *asked: str, **expected: str) -> None:
    """It does, and has all of C{expected} then."""
    done = installer.install(index, *asked)
    assert done.returncode == 0, output(done)
    assert expected.items() <= installer.installed().items(), output(done)


@pytest.mark.client("resolves and installs a tree of local and remote projects")
@pytest.mark.parametrize(("client", "store"), on_stores((*MODERN, "hatch")))
def test_a_tree_is_installed(stocked: Stocked, installer: Installer, client: str) -> None:
    """A local project, and what it requires of upstream; none of their pre-releases."""
    assert_installs(installer, stocked.index, "ours", **TREE)
    unknown = installer.install(stocked.index, "never-asked-for")
    assert unknown.returncode != 0, "the control: it asks nobody else"


@pytest.mark.client("resolves and installs a tree of local and remote projects")
@pytest.mark.parametrize(("client", "store"), [("setuptools", "sqlite")])
def test_easy_install_installs_a_tree(stocked: Stocked, installer: Installer, client: str) -> None:
    """It reads the HTML, and takes pre-releases for releases: so it was made."""
    assert_installs(installer, stocked.index, "ours==1.0", **{**TREE, "leaf": "2.0rc1"})
    assert installer.install(stocked.index, "never-asked-for").returncode != 0, "the control"


@pytest.mark.client("passes over a yanked release, and takes it when it is pinned")
@pytest.mark.parametrize(("client", "store"), on_stores(MODERN))
def test_yanks_are_obeyed(stocked: Stocked, installer: Installer, client: str) -> None:
    """One yanked here, and one that upstream yanked."""
    assert_installs(installer, stocked.index, "recalled", "withdrawn", recalled="1.0", withdrawn="1.0")
    pinned = ("recalled==1.1", "withdrawn==1.1")
    assert_installs(installer, stocked.index, *pinned, recalled="1.1", withdrawn="1.1")


@pytest.mark.client("passes over pre-releases, and takes them when asked to")
@pytest.mark.parametrize(("client", "store"), on_stores(MODERN))
def test_pre_releases_are_for_who_asks(stocked: Stocked, installer: Installer, client: str) -> None:
    """A local one, and one of upstream's."""
    assert_installs(installer, stocked.index, "ours", "leaf", ours="1.0", leaf="1.0")
    asked = installer.install(stocked.index, "ours", "leaf", pre=True)
    assert asked.returncode == 0, output(asked)
    assert {"ours": "1.1rc1", "leaf": "2.0rc1"}.items() <= installer.installed().items()


@pytest.mark.client("is offered nothing of a quarantined project, and all of an archived one")
@pytest.mark.parametrize(("client", "store"), on_stores(MODERN, both=("pip", "uv")))
def test_statuses_are_obeyed(stocked: Stocked, installer: Installer, client: str) -> None:
    """Whether the client knows of PEP 792 or not."""
    assert_installs(installer, stocked.index, "attic", attic="1.0")
    sealed = installer.install(stocked.index, "sealed")
    assert sealed.returncode != 0, output(sealed)
    assert "sealed" in output(sealed)
    assert "sealed" not in installer.installed()
    requests = stocked.cheddar.noted()
    assert "GET /local/files/attic/" in requests
    assert "GET /local/files/sealed/" not in requests, "it is not even told of the file"


@pytest.mark.client("installs with required digests, and refuses a wrong one")
@pytest.mark.parametrize(("client", "store"), on_stores(MODERN))
def test_digests_are_required(stocked: Stocked, tmp_path: Path, client: str) -> None:
    """Those of the lock file that the client wrote itself; the pips get what pip-compile wrote."""

    def new(folder: str) -> Locker:
        return cast(Locker, INSTALLERS[client](tmp_path / folder))

    locker = PipTools("pip-tools", tmp_path / "locker") if client in PIPS else new("locker")
    assert_digests_count(stocked, locker.lock(stocked.index, "ours"), new)


@pytest.mark.client("locks a project and syncs it, and refuses a wrong digest", "uv")
@pytest.mark.client("resolves and installs a tree of local and remote projects", "uv")
@pytest.mark.parametrize("store", STORES)
def test_uv_syncs_a_project(stocked: Stocked, tmp_path: Path) -> None:
    """uv lock and uv sync."""
    project = UvProject("uv", tmp_path / "project")
    assert_installs(project, stocked.index, "ours", **TREE)
    lock = project.lock(stocked.index, "ours")
    assert_digests_count(stocked, lock, lambda folder: UvProject("uv", tmp_path / folder))


def assert_digests_count(stocked: Stocked, lock: str, new: Callable[[str], Locker]) -> None:
    """The lock has the digests that the pages give; it is installed as it is, and not with a wrong one."""
    digests = {name: stocked.digest(f"{name}-{version}-py3-none-any.whl") for name, version in TREE.items()}
    for name, digest in digests.items():
        assert f"sha256:{digest}" in lock, name
    right = new("right")
    done = right.install_locked(stocked.index, lock, "ours")
    assert done.returncode == 0, output(done)
    assert TREE.items() <= right.installed().items()
    wrong = new("wrong")
    changed = lock.replace(f"sha256:{digests['leaf']}", f"sha256:{'0' * 64}")
    refused = wrong.install_locked(stocked.index, changed, "ours")
    assert refused.returncode != 0, "a wrong digest is refused"
    assert "leaf" in output(refused)
    assert "leaf" not in wrong.installed()


def between_uploads(stocked: Stocked, project: str) -> str:
    """A moment when 1.0 was here and 1.1 was not: pdm counts what came in the very microsecond, others do not."""
    first, second = (
        datetime.fromisoformat(stocked.entry(f"{project}-{version}-py3-none-any.whl")["upload-time"][:-1])
        for version in ("1.0", "1.1")
    )
    return f"{(first + (second - first) / 2).isoformat()}Z"


@pytest.mark.client("resolves as of a day, by the time of upload here and upstream")
@pytest.mark.parametrize(("client", "store"), on_stores(("pip", "pip-tools", "uv", "pdm"), both=("pip", "uv")))
def test_the_past_is_resolved(stocked: Stocked, installer: Installer, client: str) -> None:
    """Files that upstream got later, or that came here later, are not there yet; when they were cached is nothing."""
    assert_installs(installer, stocked.index, "dated", "fresh", dated="2.0", fresh="1.1")
    then = installer.install(stocked.index, "dated", before="2024-06-01T00:00:00Z")
    assert then.returncode == 0, output(then)
    assert installer.installed()["dated"] == "1.0"
    between = installer.install(stocked.index, "fresh", before=between_uploads(stocked, "fresh"))
    assert between.returncode == 0, output(between)
    assert installer.installed()["fresh"] == "1.0"
    too_early = installer.install(stocked.index, "fresh", before="2024-06-01T00:00:00Z")
    assert too_early.returncode != 0, output(too_early)


@pytest.mark.client("resolves as of a day, by the time of upload here and upstream", "poetry")
@pytest.mark.parametrize("store", ["sqlite"])
def test_poetry_wants_files_of_an_age(stocked: Stocked, tmp_path: Path) -> None:
    """What it is told is a number of whole days, so that nothing uploaded today has it."""
    installer = Poetry("poetry", tmp_path / "poetry")
    assert_installs(installer, stocked.index, "dated", "fresh", dated="2.0", fresh="1.1")
    days = (datetime.now(timezone.utc) - datetime(2024, 6, 1, tzinfo=timezone.utc)).days
    then = installer.install(stocked.index, "dated", before=str(days))
    assert then.returncode == 0, output(then)
    assert installer.installed()["dated"] == "1.0"
    today = installer.install(stocked.index, "fresh", before="1")
    assert today.returncode != 0, output(today)
    assert "min-release-age" in output(today)
