"""Installers told of Cheddar once and for all, with their own commands, as the README says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.clients.conftest import TREE, Stocked
from tests.support.clients import environment, output, run

PROJECT = '[project]\nname = "project"\nversion = "1.0"\nrequires-python = ">=3.9"\ndependencies = []\n'

pytestmark = pytest.mark.parametrize("store", ["sqlite"])


def client(name: str, folder: Path, project: str = "", **environ: str) -> Callable[..., CompletedProcess[str]]:
    """Runs the client again and again in one folder, with one home."""
    where = folder / "project"
    where.mkdir()
    if project:
        (where / "pyproject.toml").write_text(project)

    def go(*arguments: str) -> CompletedProcess[str]:
        return run(name, *arguments, home=folder / "home", cwd=where, environ=environ)

    return go


def assert_works(done: CompletedProcess[str]) -> None:
    """It says so."""
    assert done.returncode == 0, output(done)


def assert_tree_is_in(folder: Path) -> None:
    """All of it, at the right versions."""
    for name, version in TREE.items():
        assert list(folder.rglob(f"{name}-{version}.dist-info")), name


@pytest.mark.client("is set up as the README says", "pip")
def test_pip(stocked: Stocked, tmp_path: Path) -> None:
    """pip config set."""
    pip = client("pip", tmp_path, PIP_CONFIG_FILE="")
    assert_works(pip("config", "set", "global.index-url", stocked.index))
    assert_works(pip("install", "--target", "lib", "ours"))
    assert_tree_is_in(tmp_path / "project" / "lib")


@pytest.mark.client("is set up as the README says", "uv")
def test_uv(stocked: Stocked, tmp_path: Path) -> None:
    """UV_DEFAULT_INDEX."""
    uv = client("uv", tmp_path, UV_DEFAULT_INDEX=stocked.index, UV_PYTHON=str(environment("uv") / "python"))
    assert_works(uv("pip", "install", "--target", "lib", "ours"))
    assert_tree_is_in(tmp_path / "project" / "lib")


@pytest.mark.client("is set up as the README says", "poetry")
def test_poetry(stocked: Stocked, tmp_path: Path) -> None:
    """poetry source add; then it adds a project, locks its tree with the digests of the pages, and installs it."""
    poetry = client(
        "poetry", tmp_path, f"{PROJECT}[tool.poetry]\npackage-mode = false\n", POETRY_VIRTUALENVS_IN_PROJECT="true"
    )
    assert_works(poetry("source", "add", "--priority=primary", "cheddar", stocked.index))
    assert poetry("add", "--no-interaction", "never-asked-for").returncode != 0, "the control: it asks nobody else"
    assert_works(poetry("add", "--no-interaction", "ours"))
    assert_tree_is_in(tmp_path / "project" / ".venv")
    assert_tree_is_locked(stocked, tmp_path / "project" / "poetry.lock")


@pytest.mark.client("is set up as the README says", "pdm")
def test_pdm(stocked: Stocked, tmp_path: Path) -> None:
    """pdm config; then the same."""
    pdm = client(
        "pdm", tmp_path, f"{PROJECT}[tool.pdm]\ndistribution = false\n", PDM_CHECK_UPDATE="false",
        PDM_PYTHON=sys.executable,
    )  # fmt: skip
    assert_works(pdm("config", "pypi.url", stocked.index))
    assert pdm("add", "--no-sync", "never-asked-for").returncode != 0, "the control: it asks nobody else"
    assert_works(pdm("add", "--no-sync", "ours"))
    assert_tree_is_locked(stocked, tmp_path / "project" / "pdm.lock")


def assert_tree_is_locked(stocked: Stocked, lock: Path) -> None:
    """The lock file has the projects of the tree, by the digests that Cheddar's pages give."""
    text = lock.read_text()
    for name, version in TREE.items():
        assert f'name = "{name}"' in text
        assert f"sha256:{stocked.digest(f'{name}-{version}-py3-none-any.whl')}" in text, name
