"""Installers behind a Cheddar that was warmed by their lock files, and whose upstream is gone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from attrs import frozen

from tests.clients.conftest import on_stores, running_cheddar, running_upstream, store_options, when_asked
from tests.clients.installers import Locker, Pip, Poetry, Uv, UvProject
from tests.support.clients import output
from tests.support.server import BIN, CheddarProcess

#: Each with the name of its lock file. What C{uv pip compile} writes is for pip.
CLIENTS = {"pip": "requirements.txt", "uv": "uv.lock", "poetry": "poetry.lock"}
EXPECTED = {"trunk": "3.0", "branch": "1.10", "leaf": "1.0"}
CASES = on_stores(CLIENTS, both=("pip",))


def locker(client: str, folder: Path) -> Locker:
    """The client that locks."""
    if client == "pip":
        return Uv("uv", folder)
    return UvProject("uv", folder) if client == "uv" else Poetry("poetry", folder)


def install(client: str, folder: Path, index: str, lock: str) -> tuple[CompletedProcess[str], dict[str, str]]:
    """Install by a lock. @return: how it ended, and what is installed."""
    installer = Pip("pip", folder) if client == "pip" else locker(client, folder)
    done = installer.install_locked(index, lock, "trunk")
    return done, installer.installed()


@frozen
class Warmed:
    """
    A Cheddar that is OFFLINE from its first moment, and was warmed by others' lock files.

    @ivar locks: by client.
    @ivar before: how each client's installation ended before it was warmed.
    """

    index: str
    locks: dict[str, str]
    before: dict[str, int]


@contextmanager
def running_warmed(store: str, folder: Path) -> Iterator[Warmed]:
    """The locks were made through another Cheddar of the same address, which is gone too."""
    clients = {client: name for client, name in CLIENTS.items() if (client, store) in CASES}
    locks: dict[str, str] = {}
    with running_upstream(folder / "upstream") as upstream:
        (folder / "first").mkdir()
        with running_cheddar("sqlite", folder / "first", "--index-url", upstream.url) as first:
            port = first.port
            for client, name in clients.items():
                locks[client] = locker(client, folder / "locking" / client).lock(f"{first.url}simple/", "trunk")
                (folder / name).write_text(locks[client])
        with store_options(store, folder) as options:
            cheddar = CheddarProcess(
                folder / "data", port=port, options=options, environ={"CHEDDAR_OFFLINE": "true"}
            ).start()
            try:
                index = f"{cheddar.url}simple/"
                before = {
                    client: install(client, folder / "before" / client, index, locks[client])[0].returncode
                    for client in clients
                }
                done = subprocess.run(
                    [BIN / "cheddar", "--data-dir", folder / "data", *options, "warm", *clients.values()],
                    cwd=folder,
                    env={**os.environ, "CHEDDAR_INDEX_URL": upstream.url, "CHEDDAR_PUBLIC_URL": cheddar.url},
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=120,
                )
                assert done.returncode == 0, output(done)
                assert done.stdout.startswith(f"{len(EXPECTED)} files fetched"), output(done)
                upstream.stop()
                yield Warmed(index, locks, before)
            finally:
                cheddar.stop()


@pytest.fixture(scope="module")
def warmed_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Warmed]]:
    """For all tests here."""
    with when_asked(tmp_path_factory, running_warmed) as of:
        yield of


@pytest.mark.deadline(120)
@pytest.mark.parametrize(("client", "store"), CASES)
def test_it_installs_what_was_warmed(
    warmed_on: Callable[[str], Warmed], tmp_path: Path, client: str, store: str
) -> None:
    """
    By its own lock file, from a server that was told of nothing: it has run all the time, and without the warming it
    had nothing to give.
    """
    warmed = warmed_on(store)
    assert warmed.before[client] != 0
    done, installed = install(client, tmp_path, warmed.index, warmed.locks[client])
    assert done.returncode == 0, output(done)
    assert EXPECTED.items() <= installed.items()
