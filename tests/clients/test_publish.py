"""Publishing with every tool of the trade, on both stores; pip installs what each of them uploaded."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from tests.clients import full_project
from tests.clients.conftest import MANY_LOGINS
from tests.clients.publishers import PUBLISHERS, Account, Publisher, files_of, home_of, register, said
from tests.support.clients import output, run
from tests.support.distributions import make_wheel, sha256
from tests.support.redis import RedisServer
from tests.support.server import JSON, CheddarProcess, ask, basic, free_port, upload_form

ARCHIVED = "archived-long-ago"

PUBLISHES = "publishes a wheel and an sdist, and pip installs the release"
AGAIN = "publishing the same bytes again is no error"
REFUSED = "publishing other bytes is refused, and says why"


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def cheddar(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheddarProcess]:
    """One Cheddar for all tests on a store, without an upstream: each test publishes projects of its own."""
    folder = tmp_path_factory.mktemp("cheddar")
    redis = RedisServer(folder)
    if request.param == "redis":
        redis.start()
    options = ("--redis", redis.url) if request.param == "redis" else ()
    server = CheddarProcess(folder / "data", options=("--index-url", "", *options), environ=MANY_LOGINS).start()
    server.add_user()
    body, content_type = upload_form(*make_wheel(ARCHIVED, "0.1"))
    done = ask(server.port, "POST", "/pypi/", body, {"Content-Type": content_type, "Authorization": basic()})
    assert done.status == 200, done
    archived = server.cheddar("project", "archive", ARCHIVED, "--reason", "the work is done")
    assert archived.returncode == 0, archived.stderr
    yield server
    server.stop()
    redis.kill()


@pytest.fixture
def account(cheddar: CheddarProcess) -> Account:
    """The one who may publish there."""
    return Account(cheddar.url)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Where a project comes to stand."""
    return tmp_path / "project"


def listed(cheddar: CheddarProcess, name: str) -> dict[str, str]:
    """The files of a project's page, and their digests; each is there to be downloaded, and has that digest."""
    address = f"/simple/{name}/"
    page = ask(cheddar.port, "GET", address, headers={"Accept": JSON})
    if page.status == 404:
        return {}
    found = {}
    for file in page.json()["files"]:
        content = ask(cheddar.port, "GET", urlsplit(urljoin(address, file["url"])).path).body
        assert file["hashes"]["sha256"] == sha256(content)
        found[file["filename"]] = sha256(content)
    return found


def built(project: Path) -> dict[str, str]:
    """The files that stand in the project's own C{dist}, and their digests."""
    return {path.name: sha256(path.read_bytes()) for path in files_of(project)}


def assert_told(done: CompletedProcess[str], status: int, *phrases: str) -> None:
    """The tool ended with an error, and told its user the HTTP status and some words of the answer."""
    text = " ".join(said(done).split())
    assert done.returncode != 0, text
    assert re.search(rf"\b{status}\b", text), text
    for phrase in phrases:
        assert phrase in text, text


def assert_installs(cheddar: CheddarProcess, name: str, folder: Path) -> None:
    """pip gets it from Cheddar alone."""
    done = run(
        "pip", "--isolated", "install", "--no-cache-dir", "--no-build-isolation", "--no-deps", "--index-url",
        f"{cheddar.url}simple/", "--target", str(folder / "lib"), name, home=folder / "pip-home",
    )  # fmt: skip
    assert done.returncode == 0, output(done)
    assert list((folder / "lib").glob("*.dist-info")), output(done)


def name_for(client: str, what: str) -> str:
    """A project of a test's own."""
    return f"{client.replace('.', '-')}-{what}"


def wait_until_ready(cheddar: CheddarProcess) -> None:
    """Wait until what Cheddar stands on answers it."""
    end = time.monotonic() + 30
    while ask(cheddar.port, "GET", "/health/ready").status != 200:
        assert time.monotonic() < end, "not ready after 30 s"
        time.sleep(0.1)


def publishes(publisher: Publisher) -> Any:
    """What L{test_publishing} proves of a tool."""
    first = PUBLISHES if ".whl" in publisher.suffixes else "publishes an sdist, and pip installs it"
    other = "publishing other bytes sends nothing, and says so" if publisher.looks_first else REFUSED
    marks = [pytest.mark.client(what, publisher.client) for what in (first, AGAIN, other)]
    return pytest.param(publisher.client, marks=marks)


@pytest.mark.parametrize("client", [publishes(publisher) for publisher in PUBLISHERS.values()])
def test_publishing(cheddar: CheddarProcess, account: Account, project: Path, client: str) -> None:
    """
    A release is published, listed and installed; publishing it again is content; other bytes under the same names
    are refused with a sentence that the tool shows, and what was published stays as it is.
    """
    publisher, name = PUBLISHERS[client], name_for(client, "publishes")
    publisher.prepare(project, name, "1.10")
    first = publisher.publish(project, account)
    assert first.returncode == 0, output(first)
    published = listed(cheddar, name)
    assert published == built(project)
    assert sorted("".join(re.findall(r"\.tar\.gz$|\.whl$", file)) for file in published) == list(publisher.suffixes)
    again = publisher.publish_again(project, account)
    assert again.returncode == 0, output(again)
    publisher.change(project, name, "1.10")
    other = publisher.publish(project, account)
    if publisher.looks_first:
        assert other.returncode == 0, output(other)
        assert output(other).count("already exists") == 2, output(other)
    else:
        assert_told(other, 409, "File already exists", "Publish a new version")
    assert not published.items() & built(project).items(), "the control: all bytes were others"
    assert listed(cheddar, name) == published
    assert_installs(cheddar, name, project.parent)


@pytest.mark.parametrize("client", ["twine-6.1", "twine-3", "uv", "poetry", "pdm", "hatch"])
@pytest.mark.client("skips what exists, and publishes what does not")
def test_skipping(cheddar: CheddarProcess, account: Account, project: Path, client: str) -> None:
    """When a wheel is there already, the rest of the release is published; the wheel stays the one that was there."""
    publisher, name = PUBLISHERS[client], name_for(client, "skips")
    publisher.prepare(project, name, "1.0")
    (sdist,) = (project / "dist").glob("*.tar.gz")
    sdist.rename(project / sdist.name)
    first = publisher.publish(project, account)
    assert first.returncode == 0, output(first)
    before = listed(cheddar, name)
    assert [file[-4:] for file in before] == [".whl"]
    (project / sdist.name).rename(sdist)
    if client != "uv":
        # All but uv go by the name; it compares digests, see the next test.
        publisher.change(project, name, "1.0")
    done = publisher.publish(project, account, skip=publisher.can_skip)
    assert done.returncode == 0, output(done)
    assert len(re.findall(r"already exist|File exists\. Skipping", output(done))) == 1, output(done)
    assert listed(cheddar, name) == {**before, sdist.name: sha256(sdist.read_bytes())}


@pytest.mark.client("with --check-url, other bytes under the same name are an error", "uv")
def test_uv_compares(cheddar: CheddarProcess, account: Account, project: Path) -> None:
    """uv holds what it would publish against the page's digest."""
    uv = PUBLISHERS["uv"]
    uv.prepare(project, "uv-compares", "1.0")
    assert uv.publish(project, account).returncode == 0
    assert uv.publish(project, account, skip=True).returncode == 0, "the control: the same bytes"
    uv.change(project, "uv-compares", "1.0")
    done = uv.publish(project, account, skip=True)
    assert done.returncode != 0
    assert "Local file and index file do not match" in output(done)


@pytest.mark.client("--skip-existing: the tool refuses it for any index but the public one, and says so", "twine")
def test_the_newest_twine_does_not_skip(cheddar: CheddarProcess, account: Account, project: Path) -> None:
    """It ends before it asks the index anything; nothing that Cheddar could answer would help."""
    PUBLISHERS["twine"].prepare(project, "twine-skips", "1.0")
    (wheel,) = (project / "dist").glob("*.whl")
    done = run(
        "twine", "upload", "--skip-existing", "--repository-url", account.upload_url, "-u", account.user, "-p",
        account.password, str(wheel), home=home_of(project),
    )  # fmt: skip
    assert done.returncode != 0
    assert "does not have support for the following features: --skip-existing" in " ".join(output(done).split())
    assert listed(cheddar, "twine-skips") == {}


@pytest.mark.parametrize("client", PUBLISHERS)
@pytest.mark.client("a wrong password is told")
def test_a_wrong_password_is_told(cheddar: CheddarProcess, project: Path, client: str) -> None:
    """Nothing is published, and the tool shows what Cheddar says about the login."""
    publisher, name = PUBLISHERS[client], name_for(client, "refused")
    publisher.prepare(project, name, "1.0")
    done = publisher.publish(project, Account(cheddar.url, password="mistaken"))
    assert_told(done, 401, "Unknown user or wrong")
    assert listed(cheddar, name) == {}


@pytest.mark.parametrize("client", PUBLISHERS)
@pytest.mark.client("an archived project refuses, and says why")
def test_an_archived_project_refuses(cheddar: CheddarProcess, account: Account, project: Path, client: str) -> None:
    """The tool shows that the project is archived, and for what reason; nothing is added."""
    publisher = PUBLISHERS[client]
    before = listed(cheddar, ARCHIVED)
    publisher.prepare(project, ARCHIVED, "2.0")
    done = publisher.publish(project, account)
    assert_told(done, 403, "archived", "the work is done")
    assert list(before) == [make_wheel(ARCHIVED, "0.1")[0]]
    assert listed(cheddar, ARCHIVED) == before


@pytest.mark.parametrize("client", PUBLISHERS)
@pytest.mark.client("an index that is down is told")
def test_an_index_that_is_down_is_told(project: Path, client: str) -> None:
    """Within a minute the tool ends with an error that says so."""
    publisher = PUBLISHERS[client]
    publisher.prepare(project, "nowhere", "1.0")
    began = time.monotonic()
    done = publisher.publish(project, Account(f"http://localhost:{free_port()}/"))
    assert time.monotonic() - began < 60
    assert done.returncode != 0
    assert re.search("Connection refused|Error connecting to repository", said(done)), said(done)


@pytest.mark.parametrize("client", ["twine", "twine-6.1", "twine-3", "setuptools", "distutils"])
@pytest.mark.client("registers")
def test_registering(cheddar: CheddarProcess, account: Account, project: Path, client: str) -> None:
    """A project is registered before its first upload, as it once had to be; that checks the login and no more."""
    publisher, name = PUBLISHERS[client], name_for(client, "registers")
    publisher.prepare(project, name, "1.0")
    done = register(client, project, account)
    assert done.returncode == 0, output(done)
    if client in ("setuptools", "distutils"):
        assert "Server response (200)" in output(done)
    assert listed(cheddar, name) == {}, "register stores nothing"
    refused = register(client, project, Account(cheddar.url, password="mistaken"))
    assert "Unknown user or wrong" in output(refused), output(refused)


@pytest.mark.parametrize("client", ["twine", "uv", "poetry", "setuptools"])
@pytest.mark.client("publishes a pre-release")
def test_a_pre_release(cheddar: CheddarProcess, account: Account, project: Path, client: str) -> None:
    """It lies apart from the releases, as with the original; pip installs it where it is asked to."""
    publisher, name = PUBLISHERS[client], name_for(client, "tries")
    publisher.prepare(project, name, "2.0rc1")
    done = publisher.publish(project, account)
    assert done.returncode == 0, output(done)
    files = built(project)
    assert listed(cheddar, name) == files
    local = cheddar.data_dir / "local"
    for filename in files:
        (path,) = local.rglob(filename)
        assert path.relative_to(local).parts[0] == "pre-releases"
    assert_installs(cheddar, f"{name}==2.0rc1", project.parent)


@pytest.mark.parametrize(
    ("client", "builder"),
    [("twine", "flit"), ("uv", "uv"), ("poetry", "poetry"), ("pdm", "flit"), ("hatch", "flit"), ("flit", "flit")],
)
@pytest.mark.client("long description, classifiers, extras, URLs and people of all alphabets arrive whole")
def test_metadata(cheddar: CheddarProcess, account: Account, project: Path, client: str, builder: str) -> None:
    """What the author wrote is what the JSON API says of the release; the files arrive as they were built."""
    name = name_for(client, "describes")
    full_project.build(builder, project, name)
    done = PUBLISHERS[client].publish(project, account)
    assert done.returncode == 0, output(done)
    for address in (f"/pypi/{name}/json", f"/pypi/{name}/1.0/json"):
        full_project.assert_whole(ask(cheddar.port, "GET", address).json()["info"], name)
    assert listed(cheddar, name) == built(project)


@pytest.mark.client("the address that it prints at the end is a page about the release", "hatch")
def test_the_address_that_hatch_prints(cheddar: CheddarProcess, account: Account, project: Path) -> None:
    """Whoever opens it comes to what was published."""
    PUBLISHERS["hatch"].prepare(project, "hatch-prints", "1.0")
    done = PUBLISHERS["hatch"].publish(project, account)
    (address,) = re.findall(r"http://\S+", output(done))
    redirect = ask(cheddar.port, "GET", urlsplit(address).path)
    page = ask(cheddar.port, "GET", urlsplit(urljoin(address, redirect.headers["location"])).path)
    assert page.status == 200
    assert b"hatch-prints" in page.body


@pytest.mark.parametrize("client", ["twine", "uv"])
@pytest.mark.parametrize("store", ["redis"])
@pytest.mark.client("a store that is down is told")
def test_a_store_that_is_down_is_told(tmp_path: Path, project: Path, store: str, client: str) -> None:
    """Within a minute the tool ends with an error that says so; once Redis is back, the same command succeeds."""
    redis = RedisServer(tmp_path, "--appendonly", "yes")
    redis.start()
    cheddar = CheddarProcess(tmp_path / "data", options=("--index-url", "", f"--{store}", redis.url)).start()
    try:
        cheddar.add_user()
        publisher = PUBLISHERS[client]
        publisher.prepare(project, "waits", "1.0")
        redis.kill()
        began = time.monotonic()
        done = publisher.publish(project, Account(cheddar.url))
        assert time.monotonic() - began < 60
        assert_told(done, 503, "store")
        redis.restart()
        wait_until_ready(cheddar)
        later = publisher.publish(project, Account(cheddar.url))
        assert later.returncode == 0, output(later)
    finally:
        cheddar.stop()
        redis.kill()
