"""Installers when something is down: upstream behind Cheddar, or what they were told to ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.conftest import STORES, TREE, Stocked, on_stores, running_stocked, when_asked
from tests.clients.installers import INSTALLERS, Pip
from tests.support.clients import OLD_PIPS, output, run
from tests.support.server import free_port

CLIENTS = ("pip", *sorted(OLD_PIPS), "pip-tools", "uv", "poetry", "pdm", "hatch")


@contextmanager
def running_cut_off(store: str, folder: Path) -> Iterator[Stocked]:
    """A Cheddar started anew after upstream went away; pip had installed the tree, and downloaded an sdist, before."""
    with running_stocked(store, folder) as stocked:
        first = Pip("pip", folder / "pip")
        done = first.install(stocked.index, "ours")
        assert done.returncode == 0, output(done)
        download_sdist(stocked, folder / "first")
        stocked.upstream.stop()
        stocked.cheddar.stop()
        stocked.cheddar.start()
        yield stocked


@pytest.fixture(scope="module")
def cut_off_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Stocked]]:
    """For all tests here."""
    with when_asked(tmp_path_factory, running_cut_off) as of:
        yield of


@pytest.fixture
def cut_off(cut_off_on: Callable[[str], Stocked], store: str) -> Stocked:
    """That on the store of the test."""
    return cut_off_on(store)


def download_sdist(stocked: Stocked, folder: Path) -> None:
    """pip download of the project that has an sdist only."""
    done = run(
        "pip", "--isolated", "download", "--no-cache-dir", "--no-deps", "--no-build-isolation", "--index-url",
        stocked.index, "--dest", str(folder / "got"), "source-only", home=folder / "home",
    )  # fmt: skip
    assert done.returncode == 0, output(done)
    (got,) = (folder / "got").iterdir()
    (original,) = stocked.upstream.folder.glob("source*")
    assert (got.name, got.read_bytes()) == (original.name, original.read_bytes())


@pytest.mark.client("goes on while upstream is down")
@pytest.mark.parametrize(("client", "store"), on_stores(CLIENTS))
def test_it_goes_on_while_upstream_is_down(cut_off: Stocked, tmp_path: Path, client: str) -> None:
    """With an empty cache of its own it installs what somebody else installed before."""
    installer = INSTALLERS[client](tmp_path / client)
    done = installer.install(cut_off.index, "ours")
    assert done.returncode == 0, output(done)
    assert TREE.items() <= installer.installed().items()


@pytest.mark.parametrize("store", STORES)
def test_an_sdist_is_downloaded_while_upstream_is_down(cut_off: Stocked, tmp_path: Path) -> None:
    """It is the same as before."""
    download_sdist(cut_off, tmp_path)


@pytest.mark.client("is told that upstream is down, not that there is no such project")
@pytest.mark.parametrize(("client", "store"), on_stores(("pip", "uv")))
def test_what_was_never_asked_for_is_not_there_now(cut_off: Stocked, tmp_path: Path, client: str) -> None:
    """It is a 503 that says why."""
    installer = INSTALLERS[client](tmp_path / client)
    # pip says it to who asks.
    installer.environ = {"PIP_RETRIES": "0", "PIP_VERBOSE": "2"}
    done = installer.install(cut_off.index, "never-asked-for")
    assert done.returncode != 0, output(done)
    assert re.search(r"\b503 (error|Service Unavailable)", output(done)), output(done)


@pytest.mark.client("tells that an index is down")
@pytest.mark.parametrize("client", CLIENTS)
def test_an_index_that_is_down_is_told(tmp_path: Path, client: str) -> None:
    """A port that is closed, as upstream's is in the tests above: that they install is not the client's doing."""
    done = INSTALLERS[client](tmp_path / client).install(f"http://localhost:{free_port()}/simple/", "trunk")
    assert done.returncode != 0, output(done)
    said = output(done).lower()
    assert "refused" in said or "attempts to connect" in said, said
