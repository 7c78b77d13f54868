"""Installers and a project that is for those alone who have a role there, on an index that is for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import publish, running_cheddar
from tests.clients.installers import INSTALLERS
from tests.clients.test_install_login import WAYS, logged_in
from tests.support.clients import OLD_PIPS, output
from tests.support.distributions import make_wheel
from tests.support.server import PASSWORD, CheddarProcess, ask

#: What is told of a project that is not there sends no client back with its login, unless it gave it unasked.
UNASKED = [(client, way) for client, way, store in WAYS if store == "sqlite" and client not in OLD_PIPS]


@pytest.fixture(scope="module")
def cheddar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheddarProcess]:
    """One that has a private project of a user's, and another one."""
    environ = {"CHEDDAR_PRIVATE_PROJECTS": "ours"}
    folder = tmp_path_factory.mktemp("private")
    with running_cheddar("sqlite", folder, "--index-url", "", environ=environ) as server:
        publish(server, make_wheel("ours", "1.0"))
        publish(server, make_wheel("others", "1.0"))
        assert ask(server.port, "GET", "/simple/ours/").status == 404
        yield server


@pytest.mark.parametrize(("client", "way"), UNASKED)
def test_a_login_shows_what_is_private(cheddar: CheddarProcess, tmp_path: Path, client: str, way: str) -> None:
    """Who gives the login in one of these ways gets the project; who gives none is told that there is none."""
    index = f"{cheddar.url}simple/"
    installer, address = logged_in(client, way, tmp_path / "known", index, PASSWORD)
    done = installer.install(address, "ours")
    assert done.returncode == 0, output(done)
    assert "ours" in installer.installed()
    unknown = INSTALLERS[client](tmp_path / "unknown")
    refused = unknown.install(index, "ours")
    assert refused.returncode != 0, output(refused)
    assert "ours" not in unknown.installed()
    assert unknown.install(index, "others").returncode == 0, "the control"
