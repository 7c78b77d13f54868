"""The public index behind Cheddar, as it is out of the box: these need the network, as installing Cheddar did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support.clients import environment, output, run
from tests.support.server import CheddarProcess, ask, free_port

#: Over a hundred projects together, most of them small, with wheels for every Python that Cheddar runs on.
ROOTS = ("Zope", "tox", "celery", "flask")


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


def pip(index: str, folder: Path, retries: int) -> CompletedProcess[str]:
    """pip, without any cache or configuration."""
    return run(
        "pip", "--isolated", "install", "--no-cache-dir", "--only-binary", ":all:", "--no-compile",
        "--retries", str(retries), "--index-url", index, "--target", str(folder / "lib"), *ROOTS, home=folder / "home",
    )  # fmt: skip


def uv(index: str, folder: Path, retries: int) -> CompletedProcess[str]:
    """uv, without any cache or configuration."""
    return run(
        "uv", "pip", "install", "--no-cache", "--only-binary", ":all:", "--default-index", index,
        "--python", str(environment("uv") / "python"), "--target", str(folder / "lib"), *ROOTS, home=folder / "home",
        environ={"UV_HTTP_RETRIES": str(retries)},
    )  # fmt: skip


CLIENTS: Mapping[str, Callable[[str, Path, int], CompletedProcess[str]]] = {"pip": pip, "uv": uv}


def installed(folder: Path) -> dict[str, str]:
    """Versions by name, of what a client put there."""
    return {
        name: version
        for path in (folder / "lib").glob("*.dist-info")
        for name, _, version in [path.name.removesuffix(".dist-info").partition("-")]
    }


def test_a_tree_of_a_hundred_is_installed_and_again_without_the_network(
    cheddar: CheddarProcess, cut_off: CheddarProcess, tmp_path: Path
) -> None:
    """Clients without caches get a real tree, and again from a Cheddar that reaches no upstream any more."""
    nowhere = f"http://localhost:{free_port()}/simple/"
    for name, install in CLIENTS.items():
        done = install(nowhere, tmp_path / "control" / name, 0)
        assert done.returncode != 0, f"a control: at a closed port it fails, {output(done)}"
    for name, install in CLIENTS.items():
        done = install(f"{cheddar.url}simple/", tmp_path / "first" / name, 8)
        assert done.returncode == 0, output(done)
    cheddar.stop()
    cut_off.start()
    for name, install in CLIENTS.items():
        done = install(f"{cut_off.url}simple/", tmp_path / "again" / name, 0)
        assert done.returncode == 0, output(done)
        first, again = (installed(tmp_path / when / name) for when in ("first", "again"))
        assert again == first
        assert len(again) > 100, again
        assert {"zope", "tox", "celery", "flask"} <= {found.lower() for found in again}
    unseen = ask(cut_off.port, "GET", "/simple/sampleproject/")
    assert unseen.status == 503, "a control: upstream is not reached for what was not asked for before"


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
