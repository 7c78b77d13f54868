"""An upstream whose files are broken on their way: what real installers make of it, through Cheddar."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.conftest import Stocked, on_stores, running_cheddar, running_upstream, when_asked
from tests.clients.installers import INSTALLERS
from tests.support.clients import output
from tests.support.distributions import make_wheel, sha256

CLIENTS = ("pip", "uv")

#: Bytes of padding: of a file that no client sees before it is right as a whole, and of one that is given as it comes.
SIZES = {"small": 0, "flowing": 400_000}
WHEELS = {(client, size): make_wheel(size + client, "1.0", size=SIZES[size]) for client in CLIENTS for size in SIZES}


@contextmanager
def running(store: str, folder: Path) -> Iterator[Stocked]:
    """A Cheddar, and an upstream that has a wheel for each test."""
    with (
        running_upstream(folder / "upstream", tuple(WHEELS.values())) as upstream,
        running_cheddar(store, folder, "--index-url", upstream.url) as cheddar,
    ):
        yield Stocked(cheddar, upstream)


@pytest.fixture(scope="module")
def broken_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Stocked]]:
    """For all tests here."""
    with when_asked(tmp_path_factory, running) as of:
        yield of


@pytest.fixture
def broken(broken_on: Callable[[str], Stocked], store: str) -> Stocked:
    """That on the store of the test."""
    return broken_on(store)


def kept(broken: Stocked, filename: str) -> list[Path]:
    """What Cheddar has of a file, under its name or on its way there."""
    folder = broken.cheddar.data_dir / "remote"
    partial = [
        path for path in (folder / ".incoming").rglob("*") if path.is_file() and path.name not in ("gate", "lock")
    ]
    return [*folder.rglob(filename), *partial]


def asked_for(broken: Stocked, filename: str) -> int:
    """How often upstream was asked for the whole file."""
    return broken.upstream.log.read_text().splitlines().count(f"GET /files/{filename} whole")


@pytest.mark.client("installs nothing of a file that is broken on its way, and all of it later")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("client", "store"), on_stores(CLIENTS))
def test_wrong_bytes(broken: Stocked, tmp_path: Path, client: str, size: str) -> None:
    """
    One bit is wrong: the installation fails, nothing of the file stays with Cheddar or the installer, and the same
    command does it once upstream's bytes are right again.
    """
    filename, content = WHEELS[client, size]
    project = size + client
    installer = INSTALLERS[client](tmp_path / client)
    assert broken.digest(filename) == sha256(content)
    on_upstream = broken.upstream.folder / filename
    on_upstream.write_bytes(content[:12] + bytes([content[12] ^ 1]) + content[13:])
    done = installer.install(broken.index, project)
    assert done.returncode != 0, output(done)
    # It never had a whole file that it could find wrong: how should it know that another try may help?
    assert not re.search("mismatch|not match", output(done), re.IGNORECASE), output(done)
    assert project not in installer.installed()
    end = time.monotonic() + 10
    while kept(broken, filename) and time.monotonic() < end:  # it goes behind the answer
        time.sleep(0.02)
    assert kept(broken, filename) == []
    # What nobody has seen a byte of is fetched once more before it is given up.
    assert asked_for(broken, filename) >= (2 if size == "small" else 1)
    on_upstream.write_bytes(content)
    before = asked_for(broken, filename)
    done = installer.install(broken.index, project)
    assert done.returncode == 0, output(done)
    assert installer.installed()[project] == "1.0"
    assert [path.read_bytes() for path in kept(broken, filename)] == [content]
    assert asked_for(broken, filename) == before + 1
    assert "Traceback" not in broken.cheddar.log.read_text()
