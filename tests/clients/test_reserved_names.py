"""Reserved names with real clients: an impostor upstream, and tools that publish a name which was not granted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import STORES, publish, running_cheddar, running_upstream, store_options
from tests.clients.installers import INSTALLERS
from tests.clients.publishers import PUBLISHERS, Account, said
from tests.support.clients import output
from tests.support.distributions import make_wheel
from tests.support.server import USER, CheddarProcess, ask


@pytest.mark.client("never gets upstream's project of a reserved name")
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("client", ["pip", "uv"])
def test_an_impostor_upstream_is_never_installed(tmp_path: Path, store: str, client: str) -> None:
    """
    A private project needs acme-tool, which is not published yet, or not any more, and somebody has put an acme-tool
    99.0 upstream: it is not installed, be it asked for or needed, and upstream is not asked. Once there is ours, that
    one is.
    """
    installer = INSTALLERS[client](tmp_path / "installer")
    files = (make_wheel("acme-tool", "99.0"), make_wheel("leaf", "1.0"))
    application = make_wheel("application", "1.0", requires=("acme-tool>=1", "leaf"))
    with running_upstream(tmp_path / "upstream", files) as upstream, store_options(store, tmp_path) as chosen:
        options = (*chosen, "--index-url", upstream.url)
        before = CheddarProcess(tmp_path / "data", options=options).start()
        before.add_user()
        publish(before, application)
        control = installer.install(f"{before.url}simple/", "application")
        assert control.returncode == 0, output(control)
        assert installer.installed()["acme-tool"] == "99.0", "the control: without the reservation the impostor wins"
        before.stop()

        # The server has listing and file of the impostor now.
        environ = {"CHEDDAR_RESERVED_NAMES": "Acme_*"}
        server = CheddarProcess(tmp_path / "data", options=options, environ=environ).start()
        try:
            index = f"{server.url}simple/"
            upstream.log.write_text("")
            for requirement in ("application", "acme-tool", "acme-tool==99.0"):
                refused = installer.install(index, requirement)
                assert refused.returncode != 0, output(refused)
                assert "acme-tool" not in installer.installed()
            assert "acme" not in upstream.log.read_text()

            granted = server.cheddar("user", "grant", USER, "acme-*")
            assert granted.returncode == 0, granted
            publish(server, make_wheel("acme-tool", "1.0"))
            ours = installer.install(index, "application")
            assert ours.returncode == 0, output(ours)
            assert installer.installed()["acme-tool"] == "1.0"
            assert "acme" not in upstream.log.read_text()
        finally:
            server.stop()


@pytest.fixture(scope="module", params=STORES)
def cheddar(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheddarProcess]:
    """One Cheddar for all tools, without an upstream; each has a name of its own."""
    environ = {"CHEDDAR_RESERVED_NAMES": "acme-*"}
    folder = tmp_path_factory.mktemp("cheddar")
    with running_cheddar(request.param, folder, "--index-url", "", environ=environ) as server:
        yield server


@pytest.mark.client("may not create a reserved project without a grant, and says so")
@pytest.mark.parametrize("client", PUBLISHERS)
def test_a_tool_says_that_a_name_is_reserved(cheddar: CheddarProcess, tmp_path: Path, client: str) -> None:
    """Who may not create a project is told so, with the command that an administrator needs; that then helps."""
    publisher, account, project = PUBLISHERS[client], Account(cheddar.url), tmp_path / "project"
    name = f"acme-{client.replace('.', '-')}"
    publisher.prepare(project, name, "1.0")
    refused = publisher.publish(project, account)
    text = " ".join(said(refused).split())
    assert refused.returncode != 0, text
    assert re.search(r"\b409\b", text), text
    assert f"{name} is reserved (acme-*)" in text
    assert f"cheddar user grant {USER} {name}" in text
    if publisher.can_skip:
        # Some of them take any 409 for a file that is there; for whom it is not there is then no other.
        publisher.publish(project, account, skip=True)
    assert ask(cheddar.port, "GET", f"/simple/{name}/").status == 404
    assert cheddar.cheddar("user", "grant", USER, name).returncode == 0
    allowed = publisher.publish(project, account)
    assert allowed.returncode == 0, output(allowed)
    assert ask(cheddar.port, "GET", f"/simple/{name}/").status == 200
