"""What installers keep of earlier visits, and what they need not fetch."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.clients.conftest import UpstreamProcess, on_stores, publish, running_cheddar, running_upstream, when_asked
from tests.clients.installers import INSTALLERS
from tests.support.clients import OLD_PIPS, environment, output, run
from tests.support.distributions import make_wheel
from tests.support.server import JSON, CheddarProcess, ask

#: pip 20.3 has no cache for http.
CACHING = ("pip", *sorted({*OLD_PIPS} - {"pip-20.3"}), "uv", "poetry", "pdm")


@pytest.fixture(scope="module")
def busy_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], CheddarProcess]]:
    """A Cheddar without upstream; each test has projects of its own there."""
    with when_asked(tmp_path_factory, lambda store, folder: running_cheddar(store, folder, "--index-url", "")) as of:
        yield of


@pytest.fixture
def busy(busy_on: Callable[[str], CheddarProcess], store: str) -> CheddarProcess:
    """That on the store of the test."""
    return busy_on(store)


def requests_of(cheddar: CheddarProcess, method: str, path: str) -> list[int]:
    """The statuses that requests for a path were answered with, from Cheddar's log."""
    lines = re.findall(rf'"{method} {re.escape(path)} HTTP/1\.\d" (\d+) ', cheddar.noted())
    return [int(status) for status in lines]


@pytest.mark.client("asks anew with its cache, and sees an upload at once")
@pytest.mark.parametrize(("client", "store"), on_stores(CACHING))
def test_a_fresh_upload_is_seen_at_once(busy: CheddarProcess, tmp_path: Path, client: str) -> None:
    """While nothing has changed, its cached page is confirmed; it never hides what was uploaded a moment ago."""
    project = f"news-for-{client.replace('.', '-')}"
    publish(busy, make_wheel(project, "1.0"))
    installer = INSTALLERS[client](tmp_path / client)
    # pip keeps nothing of a host that it does not trust.
    installer.environ = {"PIP_TRUSTED_HOST": f"localhost:{busy.port}"}
    page = f"/simple/{project}/"
    for version, changed in (("1.0", True), ("1.0", False), ("1.1", True)):
        if version == "1.1":
            publish(busy, make_wheel(project, "1.1"))
        earlier = len(requests_of(busy, "GET", page))
        done = installer.install(f"{busy.url}simple/", project)
        assert done.returncode == 0, output(done)
        assert installer.installed()[project] == version
        answers = requests_of(busy, "GET", page)[earlier:]
        # pdm asks more than once, and for what has just changed now and then with the older ETag again.
        assert answers[0] == 200 if changed else set(answers) == {304}, output(done)


@pytest.mark.client("upgrades to an upload of a moment ago, with its cache", "pip")
@pytest.mark.parametrize("store", ["sqlite"])
def test_pip_upgrades(busy: CheddarProcess, tmp_path: Path) -> None:
    """install -U in an environment that has the version before."""
    into = tmp_path / "environment"
    run("pip", "-m", "venv", "--without-pip", str(into), home=tmp_path / "home", program="python")

    def upgrade() -> str:
        done = run(
            "pip", "--python", str(into), "install", "-U", "--index-url", f"{busy.url}simple/", "upgraded",
            home=tmp_path / "home", environ={"PIP_TRUSTED_HOST": f"localhost:{busy.port}"},
        )  # fmt: skip
        assert done.returncode == 0, output(done)
        (installed,) = into.rglob("upgraded-*.dist-info")
        return installed.name

    publish(busy, make_wheel("upgraded", "1.0"))
    assert upgrade() == "upgraded-1.0.dist-info"
    assert upgrade() == "upgraded-1.0.dist-info"
    assert requests_of(busy, "GET", "/simple/upgraded/") == [200, 304], "the page is in pip's cache"
    publish(busy, make_wheel("upgraded", "1.1"))
    assert upgrade() == "upgraded-1.1.dist-info"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpstreamProcess]:
    """An upstream without core metadata beside its wheels, which are bigger than the ends that Cheddar reads."""
    files = (
        make_wheel("leaf", "1.0", size=500_000),
        make_wheel("branch", "1.10", requires=("leaf>=1",), size=500_000),
        make_wheel("trunk", "3.0", requires=("branch", "leaf"), size=500_000),
    )
    attributes = {filename: {"core_metadata": None} for filename, _ in files}
    with running_upstream(tmp_path_factory.mktemp("bare") / "upstream", files, attributes) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def prepared_on(
    tmp_path_factory: pytest.TempPathFactory, bare: UpstreamProcess
) -> Iterator[Callable[[str], CheddarProcess]]:
    """A Cheddar that was asked for the tree's pages a moment ago."""

    @contextmanager
    def prepared(store: str, folder: Path) -> Iterator[CheddarProcess]:
        with running_cheddar(store, folder, "--index-url", bare.url) as cheddar:
            projects = ("leaf", "branch", "trunk")
            # All are asked for before the first is waited for: it is one wait then.
            missing = [project for project in projects if not _has_metadata(cheddar, project)]
            for project in missing:
                wait_until(partial(_has_metadata, cheddar, project))
            yield cheddar

    with when_asked(tmp_path_factory, prepared) as of:
        yield of


@pytest.fixture
def prepared(prepared_on: Callable[[str], CheddarProcess], store: str) -> CheddarProcess:
    """That on the store of the test."""
    return prepared_on(store)


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Ask again and again."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def _has_metadata(cheddar: CheddarProcess, project: str) -> bool:
    (file,) = ask(cheddar.port, "GET", f"/simple/{project}/", headers={"Accept": JSON}).json()["files"]
    return bool(file.get("core-metadata"))


def resolve(client: str, index: str, folder: Path) -> str:
    """What the client finds for trunk, without installing it."""
    home = folder / "home"
    home.mkdir(parents=True)
    if client == "pip":
        done = run("pip", "install", "--dry-run", "--index-url", index, "trunk", home=home)
    else:
        (home / "requirements.in").write_text("trunk")
        done = run(
            "uv", "pip", "compile", "--no-header", "--default-index", index, "requirements.in", home=home,
            environ={"UV_PYTHON": str(environment("uv") / "python")},
        )  # fmt: skip
    assert done.returncode == 0, output(done)
    return done.stdout


@pytest.mark.client("resolves from metadata made by Cheddar, without downloading")
@pytest.mark.parametrize(("client", "store"), on_stores(("pip", "uv")))
def test_nothing_is_downloaded_to_resolve(
    prepared: CheddarProcess, bare: UpstreamProcess, tmp_path: Path, client: str
) -> None:
    """Upstream has no core metadata; Cheddar has made it out of small parts of the wheels."""
    before, asked = len(prepared.noted()), bare.log.stat().st_size
    assert all(name in resolve(client, f"{prepared.url}simple/", tmp_path / name) for name in ("trunk", "branch"))
    requests = re.findall(r'"(\w+) (\S+) HTTP/1\.\d"', prepared.noted()[before:])
    assert not [path for _, path in requests if path.endswith(".whl")], requests
    assert len({path for _, path in requests if path.endswith(".whl.metadata")}) == 3
    assert bare.log.read_text()[asked:] == "", "upstream is not asked again"
    made = [line for line in bare.log.read_text()[:asked].splitlines() if ".whl " in line]
    assert made
    assert not [line for line in made if line.endswith(" whole")], "small parts alone"


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_without_metadata_wheels_are_asked_for(bare: UpstreamProcess, tmp_path: Path, client: str) -> None:
    """The control: upstream itself is asked for its wheels by the same clients."""
    before = bare.log.stat().st_size
    resolve(client, bare.url, tmp_path)
    assert [line for line in bare.log.read_text()[before:].splitlines() if ".whl " in line]
