"""The public index behind Cheddar, as it is out of the box: these need the network, as installing Cheddar did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.test_install import Install, pip_install, uv_install
from tests.support.clients import output, run
from tests.support.server import CheddarProcess, ask, free_port

TREE = {"flask", "werkzeug", "jinja2", "markupsafe", "itsdangerous", "click", "blinker"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What a Cheddar that ran with its defaults leaves to one whose upstream is gone."""
    return tmp_path / "data"


@pytest.fixture
def cheddar(data: Path) -> Iterator[CheddarProcess]:
    """A Cheddar that was told nothing but where to listen and what to keep its data below."""
    server = CheddarProcess(data).start()
    yield server
    server.stop()


@pytest.fixture
def cut_off(data: Path) -> Iterator[CheddarProcess]:
    """Another, not yet started, on the same data; nothing answers at its upstream's address."""
    server = CheddarProcess(data, options=("--index-url", f"http://127.0.0.1:{free_port()}/simple/"))
    yield server
    server.stop()


@pytest.mark.parametrize("install", [pip_install, uv_install])
def test_flask_is_installed_and_again_without_the_network(
    cheddar: CheddarProcess, cut_off: CheddarProcess, tmp_path: Path, install: Install
) -> None:
    """A client without caches gets a real tree, and again from a Cheddar that reaches no upstream any more."""
    first = install(f"{cheddar.url}simple/", "flask", tmp_path / "first")
    assert first.returncode == 0, output(first)
    cheddar.stop()
    cut_off.start()
    again = install(f"{cut_off.url}simple/", "flask", tmp_path / "again")
    assert again.returncode == 0, output(again)
    installed = [{path.name for path in (tmp_path / folder / "lib").iterdir()} for folder in ("first", "again")]
    assert installed[0] == installed[1]
    assert {name.partition("-")[0] for name in installed[1]} >= TREE
    unseen = ask(cut_off.port, "GET", "/simple/sampleproject/")
    assert unseen.status == 503, "a control: upstream is not reached for what was not asked for before"
    nowhere = install(f"http://localhost:{free_port()}/simple/", "flask", tmp_path / "control")
    assert nowhere.returncode != 0, "a control: at a closed port it fails"


def test_an_sdist_is_downloaded_and_again_without_the_network(
    cheddar: CheddarProcess, cut_off: CheddarProcess, tmp_path: Path
) -> None:
    """pip download of a source distribution, whose digest pip checks."""

    def download(index: str, folder: str) -> int:
        done = run(
            "pip", "--isolated", "download", "--no-cache-dir", "--retries", "0", "--no-binary", ":all:", "--no-deps",
            "--index-url", index, "--dest", str(tmp_path / folder), "itsdangerous==2.2.0",
            home=tmp_path / "home",
        )  # fmt: skip
        return done.returncode

    assert download(f"{cheddar.url}simple/", "first") == 0
    cheddar.stop()
    cut_off.start()
    assert download(f"{cut_off.url}simple/", "again") == 0
    files = [list((tmp_path / folder).iterdir()) for folder in ("first", "again")]
    assert [[path.name for path in found] for found in files] == [["itsdangerous-2.2.0.tar.gz"]] * 2
    assert files[0][0].read_bytes() == files[1][0].read_bytes()
    assert download(f"http://localhost:{free_port()}/simple/", "control") != 0, "the control"
