"""Installers at an index that is for users alone (C{READ_AUTH})."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.clients.conftest import TREE, publish, running_cheddar, running_upstream, when_asked
from tests.clients.installers import INSTALLERS, Installer, with_login
from tests.support.clients import OLD_PIPS, output
from tests.support.distributions import make_wheel
from tests.support.server import PASSWORD, USER, CheddarProcess, ask

#: The ways to give a login: in the address, in ~/.netrc, or in the client's own settings. With Redis each client once.
WAYS = [
    *((client, "address", "sqlite") for client in ("pip", *sorted(OLD_PIPS), "pip-tools", "uv", "pdm")),
    *((client, "netrc", "sqlite") for client in ("pip", "pip-tools", "uv")),
    *((client, "settings", "sqlite") for client in ("uv", "poetry", "pdm")),
    *((client, "address", "redis") for client in ("pip", "uv", "pdm")),
    ("poetry", "settings", "redis"),
]
SETTINGS: Mapping[str, tuple[str, str]] = {
    "uv": ("UV_INDEX_CHEDDAR_USERNAME", "UV_INDEX_CHEDDAR_PASSWORD"),
    "poetry": ("POETRY_HTTP_BASIC_CHEDDAR_USERNAME", "POETRY_HTTP_BASIC_CHEDDAR_PASSWORD"),
    "pdm": ("PDM_PYPI_USERNAME", "PDM_PYPI_PASSWORD"),
}
#: How it says that a login is missing or wrong. pip, and what uses it, asks for another one if it may.
TOLD: Mapping[str, str] = {
    "pip": r"User for localhost:|401 Error, Credentials not correct",
    "uv": "401 Unauthorized",
    "poetry": "Authorization error",
    "pdm": r"Client Error\(401\)",
}


@contextmanager
def running_guarded(store: str, folder: Path) -> Iterator[CheddarProcess]:
    """A Cheddar that lets nobody read who is not known."""
    environ = {"CHEDDAR_READ_AUTH": "true"}
    with (
        running_upstream(folder / "upstream") as upstream,
        running_cheddar(store, folder, "--index-url", upstream.url, environ=environ) as cheddar,
    ):
        assert ask(cheddar.port, "GET", "/simple/").status == 401
        publish(cheddar, make_wheel("ours", "1.0", requires=("trunk",)))
        yield cheddar


@pytest.fixture(scope="module")
def guarded_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], CheddarProcess]]:
    """For all tests here."""
    with when_asked(tmp_path_factory, running_guarded) as of:
        yield of


@pytest.fixture
def guarded(guarded_on: Callable[[str], CheddarProcess], store: str) -> CheddarProcess:
    """That on the store of the test."""
    return guarded_on(store)


def logged_in(client: str, way: str, folder: Path, index: str, password: str) -> tuple[Installer, str]:
    """The client, which knows the login, and the address to give it."""
    installer = INSTALLERS[client](folder)
    if way == "address":
        return installer, with_login(index, USER, password)
    if way == "netrc":
        (installer.home / ".netrc").write_text(
            f"machine {urlsplit(index).hostname}\nlogin {USER}\npassword {password}\n"
        )
    else:
        installer.environ = dict(zip(SETTINGS[client], (USER, password), strict=True))
    return installer, index


@pytest.mark.client("reads an index that needs a login")
@pytest.mark.client("tells that a login is missing or wrong")
@pytest.mark.parametrize(("client", "way", "store"), WAYS)
def test_a_login_opens_the_index(guarded: CheddarProcess, tmp_path: Path, client: str, way: str) -> None:
    """With it the tree is installed; with a wrong one, or without, nothing, and it says why."""
    index = f"{guarded.url}simple/"
    installer, address = logged_in(client, way, tmp_path / "known", index, PASSWORD)
    done = installer.install(address, "ours")
    assert done.returncode == 0, output(done)
    assert TREE.items() <= installer.installed().items()
    wrong, address = logged_in(client, way, tmp_path / "wrong", index, f"not{PASSWORD}")
    unknown = INSTALLERS[client](tmp_path / "unknown")
    for somebody, where in ((wrong, address), (unknown, index)):
        refused = somebody.install(where, "ours")
        assert refused.returncode != 0, output(refused)
        assert re.search(TOLD.get(client, TOLD["pip"]), output(refused)), output(refused)
        assert "ours" not in somebody.installed()
