"""The public index behind Cheddar, as it is out of the box: these need the network, as installing Cheddar did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.installers import INSTALLERS
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


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_flask_is_installed_and_again_without_the_network(
    cheddar: CheddarProcess, cut_off: CheddarProcess, tmp_path: Path, client: str
) -> None:
    """A client without caches gets a real tree, and again from a Cheddar that reaches no upstream any more."""
    first = INSTALLERS[client](tmp_path / "first")
    done = first.install(f"{cheddar.url}simple/", "flask")
    assert done.returncode == 0, output(done)
    cheddar.stop()
    cut_off.start()
    again = INSTALLERS[client](tmp_path / "again")
    done = again.install(f"{cut_off.url}simple/", "flask")
    assert done.returncode == 0, output(done)
    assert first.installed() == again.installed()
    assert set(again.installed()) >= TREE
    unseen = ask(cut_off.port, "GET", "/simple/sampleproject/")
    assert unseen.status == 503, "a control: upstream is not reached for what was not asked for before"
    nowhere = INSTALLERS[client](tmp_path / "control").install(f"http://localhost:{free_port()}/simple/", "flask")
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
