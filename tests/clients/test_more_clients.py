"""hatch, pdm, poetry as an installer, and pips of years ago."""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.clients.conftest import UpstreamProcess
from tests.clients.test_publish import assert_installs, change, distributions
from tests.support.clients import OLD_PIPS, output, run
from tests.support.server import JSON, PASSWORD, USER, CheddarProcess, ask, free_port

NO_UPDATE_CHECK = {"PDM_CHECK_UPDATE": "false"}


def test_hatch(cheddar: CheddarProcess, tmp_path: Path) -> None:
    """Publish; again, and it finds by its own look-up that all is there, and sends nothing."""
    files = distributions(tmp_path / "dist", "byhatch")

    def publish(password: str = PASSWORD) -> CompletedProcess[str]:
        return run(
            "hatch", "publish", "--no-prompt", "--repo", f"{cheddar.url}pypi/", "--user", USER, "--auth", password,
            *files, home=tmp_path / "home",
        )  # fmt: skip

    refused = publish(password="7")
    assert refused.returncode != 0, "the control: without the right password nothing is published"
    first = publish()
    assert first.returncode == 0, output(first)
    assert output(first).count("... success") == 2, output(first)
    assert_installs(cheddar, "byhatch", tmp_path)
    change(tmp_path / "dist", "byhatch")
    again = publish()
    assert again.returncode == 0, output(again)
    assert output(again).count("... already exists") == 2, output(again)


def test_pdm_publishes(cheddar: CheddarProcess, tmp_path: Path) -> None:
    """Publish; the same again is content; other bytes are an error, and are skipped with --skip-existing."""
    project = tmp_path / "bypdm"
    distributions(project / "dist", "bypdm")
    (project / "pyproject.toml").write_text('[project]\nname = "bypdm"\nversion = "1.0"\nrequires-python = ">=3.8"\n')

    def publish(*options: str) -> CompletedProcess[str]:
        return run(
            "pdm", "publish", "--no-build", "--repository", f"{cheddar.url}pypi/", "--username", USER, "--password",
            PASSWORD, *options, home=tmp_path / "home", cwd=project,
            environ={**NO_UPDATE_CHECK, "PDM_PYTHON": sys.executable, "PDM_USE_VENV": "false"},
        )  # fmt: skip

    first = publish()
    assert first.returncode == 0, output(first)
    assert_installs(cheddar, "bypdm", tmp_path)
    assert publish().returncode == 0, "the same bytes again"
    change(project / "dist", "bypdm")
    conflict = publish()
    assert conflict.returncode != 0
    assert "409" in output(conflict)
    skipped = publish("--skip-existing")
    assert skipped.returncode == 0, output(skipped)
    assert "already exist" in output(skipped)


@pytest.mark.parametrize("client", sorted(OLD_PIPS))
def test_an_old_pip_installs_a_tree(
    cheddar: CheddarProcess, upstream: UpstreamProcess, tmp_path: Path, client: str
) -> None:
    """It picks the right files from the page, and does so again when upstream is gone."""

    def install(index: str, folder: Path) -> CompletedProcess[str]:
        return run(
            client, "--isolated", "--disable-pip-version-check", "install", "--no-cache-dir", "--retries", "0",
            "--index-url", index, "--target", str(folder), "trunk", home=tmp_path / "home",
        )  # fmt: skip

    for folder in (tmp_path / "first", tmp_path / "again"):
        done = install(f"{cheddar.url}simple/", folder)
        assert done.returncode == 0, output(done)
        installed = {path.name for path in folder.glob("*.dist-info")}
        assert installed == {"trunk-3.0.dist-info", "branch-1.10.dist-info", "leaf-1.0.dist-info"}
        upstream.stop()
    nowhere = install(f"http://localhost:{free_port()}/simple/", tmp_path / "control")
    assert nowhere.returncode != 0, "the control: at a closed port it fails"


def test_poetry_adds_and_locks(cheddar: CheddarProcess, tmp_path: Path) -> None:
    """With Cheddar as its only source, poetry resolves a tree, locks it with its hashes, and installs it."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "project"\nversion = "1.0"\nrequires-python = ">=3.9"\n[tool.poetry]\npackage-mode = false\n'
        f'[[tool.poetry.source]]\nname = "cheddar"\nurl = "{cheddar.url}simple/"\npriority = "primary"\n'
    )

    def poetry(*arguments: str) -> CompletedProcess[str]:
        return run(
            "poetry", *arguments, home=tmp_path / "home", cwd=project,
            environ={"POETRY_VIRTUALENVS_IN_PROJECT": "true"},
        )  # fmt: skip

    unknown = poetry("add", "--no-interaction", "never-asked-for")
    assert unknown.returncode != 0, "the control: it asks nobody else"
    added = poetry("add", "--no-interaction", "trunk")
    assert added.returncode == 0, output(added)
    assert_tree_is_locked(cheddar, project / "poetry.lock")
    imported = poetry("run", "python", "-c", "import trunk, leaf; print(leaf.__version__)")
    assert imported.stdout == "1.0\n", output(imported)
    (project / "poetry.lock").unlink()
    locked = poetry("lock", "--no-interaction")
    assert locked.returncode == 0, output(locked)
    assert_tree_is_locked(cheddar, project / "poetry.lock")


def test_pdm_adds_and_locks(cheddar: CheddarProcess, tmp_path: Path) -> None:
    """With Cheddar in the place of its default source, pdm does the same."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "project"\nversion = "1.0"\nrequires-python = ">=3.9"\n[tool.pdm]\ndistribution = false\n'
    )
    environ = {**NO_UPDATE_CHECK, "PDM_PYPI_URL": f"{cheddar.url}simple/", "PDM_PYTHON": sys.executable}

    def pdm(*arguments: str) -> CompletedProcess[str]:
        return run("pdm", *arguments, home=tmp_path / "home", cwd=project, environ=environ)

    unknown = pdm("add", "--no-sync", "never-asked-for")
    assert unknown.returncode != 0, "the control: it asks nobody else"
    added = pdm("add", "--no-sync", "trunk")
    assert added.returncode == 0, output(added)
    assert_tree_is_locked(cheddar, project / "pdm.lock")


def assert_tree_is_locked(cheddar: CheddarProcess, lock: Path) -> None:
    """The lock file has the three projects of the tree, by the digests that Cheddar's pages give."""
    text = lock.read_text()
    for project, filename in (
        ("trunk", "trunk-3.0-py3-none-any.whl"),
        ("branch", "branch-1.10-py3-none-any.whl"),
        ("leaf", "leaf-1.0-py3-none-any.whl"),
    ):
        page = ask(cheddar.port, "GET", f"/simple/{project}/", headers={"Accept": JSON})
        (digest,) = (file["hashes"]["sha256"] for file in page.json()["files"] if file["filename"] == filename)
        assert f'name = "{project}"' in text
        assert f"sha256:{digest}" in text, filename
