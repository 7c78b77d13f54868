"""Installers at the combined index, with upstream and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.clients.conftest import UpstreamProcess
from tests.support.clients import environment, output, run
from tests.support.server import CheddarProcess, free_port

Install = Callable[[str, str, Path], "CompletedProcess[str]"]


def pip_install(index: str, what: str, folder: Path) -> CompletedProcess[str]:
    """pip, without any cache."""
    return run(
        "pip", "--isolated", "install", "--no-cache-dir", "--retries", "1", "--index-url", index, "--target",
        str(folder / "lib"), what, home=folder,
    )  # fmt: skip


def uv_install(index: str, what: str, folder: Path) -> CompletedProcess[str]:
    """uv, without any cache."""
    return run(
        "uv", "pip", "install", "--no-cache", "--default-index", index, "--target", str(folder / "lib"), what,
        home=folder, environ={"UV_PYTHON": str(environment("uv") / "python"), "UV_HTTP_RETRIES": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("install", [pip_install, uv_install])
def test_a_tree_is_installed_with_upstream_and_without(
    cheddar: CheddarProcess, upstream: UpstreamProcess, tmp_path: Path, install: Install
) -> None:
    """The same install works again from the cache when upstream is gone, over a restart of Cheddar too."""
    index = f"{cheddar.url}simple/"
    first = install(index, "trunk", tmp_path / "first")
    assert first.returncode == 0, output(first)
    upstream.stop()
    cheddar.stop()
    cheddar.start()
    again = install(index, "trunk", tmp_path / "again")
    assert again.returncode == 0, output(again)
    for folder in ("first", "again"):
        installed = {path.name for path in (tmp_path / folder / "lib").iterdir() if path.suffix != ".dist-info"}
        assert {"trunk", "branch", "leaf"} <= installed
        assert (tmp_path / folder / "lib" / "leaf-1.0.dist-info").exists(), "not the pre-release"
    nowhere = install(f"http://localhost:{free_port()}/simple/", "trunk", tmp_path / "control")
    assert nowhere.returncode != 0, "the control: at a closed port it fails"
    unknown = install(index, "never-asked-for", tmp_path / "unknown")
    assert unknown.returncode != 0


def test_an_sdist_is_downloaded(cheddar: CheddarProcess, upstream: UpstreamProcess, tmp_path: Path) -> None:
    """pip download of a project that has an sdist only, twice: the second time upstream is gone."""
    for folder in ("first", "again"):
        done = run(
            "pip", "--isolated", "download", "--no-cache-dir", "--no-deps", "--no-build-isolation", "--index-url",
            f"{cheddar.url}simple/", "--dest", str(tmp_path / folder), "source-only", home=tmp_path / "home",
        )  # fmt: skip
        assert done.returncode == 0, output(done)
        (got,) = (tmp_path / folder).iterdir()
        (original,) = upstream.folder.glob("source*")
        assert (got.name, got.read_bytes()) == (original.name, original.read_bytes())
        upstream.stop()


def test_hashes_and_yanks_are_obeyed(cheddar: CheddarProcess, tmp_path: Path) -> None:
    """--require-hashes finds its digests; a yanked release is passed over unless it is asked for by number."""
    from tests.support.distributions import make_wheel, sha256
    from tests.support.server import ask, basic, upload_form

    contents = {version: make_wheel("ours", version) for version in ("1.0", "1.1")}
    for filename, content in contents.values():
        body, content_type = upload_form(filename, content)
        answer = ask(cheddar.port, "POST", "/pypi/", body, {"Content-Type": content_type, "Authorization": basic()})
        assert answer.status == 200, answer
    yanked = ask(cheddar.port, "PUT", "/simple/ours/1.1/yanked", b"broken", {"Authorization": basic()})
    assert yanked.status == 200
    index = f"{cheddar.url}simple/"
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"ours==1.0 --hash=sha256:{sha256(contents['1.0'][1])}\n")
    for number, what in enumerate((("-r", str(requirements), "--require-hashes"), ("ours",), ("ours==1.1",))):
        folder = tmp_path / str(number)
        done = run(
            "pip", "--isolated", "install", "--no-cache-dir", "--index-url", index, "--target", str(folder / "lib"),
            *what, home=folder,
        )  # fmt: skip
        assert done.returncode == 0, output(done)
        version = "1.1" if number == 2 else "1.0"
        assert (folder / "lib" / f"ours-{version}.dist-info").exists(), output(done)
    requirements.write_text(f"ours==1.0 --hash=sha256:{'0' * 64}\n")
    wrong = run(
        "pip", "--isolated", "install", "--no-cache-dir", "--index-url", index, "--target", str(tmp_path / "wrong"),
        "-r", str(requirements), "--require-hashes", home=tmp_path / "home",
    )  # fmt: skip
    assert wrong.returncode != 0, "the control: a wrong digest is refused"
