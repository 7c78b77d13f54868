"""Source distributions whose core metadata is static: clients know what they need without building them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import publish, running_cheddar
from tests.clients.installers import INSTALLERS, Locker, Pip
from tests.support.clients import OLD_PIPS, output
from tests.support.distributions import make_sdist, make_wheel
from tests.support.server import CheddarProcess

RESOLVES = "resolves an sdist with static metadata without building it"
DOES_NOT_BUILD = "passes a release over without building its sdist"
INSTALLS = "installs an sdist whose metadata is offered beside it"


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def cheddar(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheddarProcess]:
    """One Cheddar for all tests on a store, without an upstream: build tools are not to be had from it."""
    with running_cheddar(request.param, tmp_path_factory.mktemp("cheddar"), "--index-url", "") as server:
        publish(
            server,
            make_wheel("leaf", "1.0"),
            make_sdist("known", "1.0", requires=("leaf",), metadata_version="2.2", builds=False),
            make_sdist("unknown", "1.0", requires=("leaf",), metadata_version="2.2", dynamic=("Requires-Dist",)),
            make_sdist("good", "1.0", requires=("leaf",), metadata_version="2.4"),
            make_wheel("choice", "1.0", requires=("leaf",)),
            make_sdist("choice", "2.0", requires=("leaf==99",), metadata_version="2.2", builds=False),
            make_wheel("old-choice", "1.0", requires=("leaf",)),
            make_sdist("old-choice", "2.0", requires=("leaf==99",), metadata_version="2.1", builds=False),
        )
        yield server


@pytest.mark.client(RESOLVES)
@pytest.mark.parametrize("client", ["pip-tools", "uv", "poetry", "pdm"])
def test_lockers_do_not_build(cheddar: CheddarProcess, tmp_path: Path, client: str) -> None:
    """A lock file is written of an sdist that cannot be built; uv reads the sdist, the others what is beside it."""
    locker: Locker = INSTALLERS[client](tmp_path)  # type: ignore[assignment]  # those of them that lock
    before = len(cheddar.noted())
    lock = locker.lock(f"{cheddar.url}simple/", "known")
    assert "known" in lock
    assert "leaf" in lock
    asked = cheddar.noted()[before:]
    assert ("/known-1.0.tar.gz.metadata " in asked) == (client != "uv")
    if client != "poetry":  # which reads what it can of an sdist that it would have to build
        with pytest.raises(AssertionError, match="setuptools"):
            locker.lock(f"{cheddar.url}simple/", "unknown")


@pytest.mark.client(DOES_NOT_BUILD, "pip")
def test_pip_does_not_build_what_it_passes_over(cheddar: CheddarProcess, tmp_path: Path) -> None:
    """A release that needs what is not there is passed over by its metadata; with older metadata pip has to try."""
    pip = Pip("pip", tmp_path, {"PIP_NO_BUILD_ISOLATION": "0"})
    done = pip.install(f"{cheddar.url}simple/", "choice")
    assert done.returncode == 0, output(done)
    assert pip.installed() == {"choice": "1.0", "leaf": "1.0"}
    failed = pip.install(f"{cheddar.url}simple/", "old-choice")
    assert failed.returncode != 0
    assert "somebody tried to build this" in output(failed), "the control"


@pytest.mark.client(INSTALLS)
@pytest.mark.parametrize("client", ["pip", *OLD_PIPS])
def test_sdists_are_installed(cheddar: CheddarProcess, tmp_path: Path, client: str) -> None:
    """pip builds what it chose by its metadata; old ones build it to choose."""
    pip = Pip(client, tmp_path, {"PIP_NO_BUILD_ISOLATION": "0"})
    before = len(cheddar.noted())
    done = pip.install(f"{cheddar.url}simple/", "good")
    assert done.returncode == 0, output(done)
    assert pip.installed() == {"good": "1.0", "leaf": "1.0"}
    asked = cheddar.noted()[before:]
    assert "/good-1.0.tar.gz " in asked
    assert client in OLD_PIPS or "/good-1.0.tar.gz.metadata " in asked
