"""API tokens with real clients: publishing and installing, and what people are told where one is not for that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.clients.conftest import publish, running_cheddar
from tests.clients.installers import INSTALLERS, with_login
from tests.clients.publishers import PUBLISHERS, Account, files_of, said
from tests.clients.test_install_login import SETTINGS, TOLD
from tests.support.clients import output, run
from tests.support.distributions import make_wheel
from tests.support.server import USER, CheddarProcess, ask

SCOPE_TOLD = re.compile(r"may not upload other-[a-z]+ here: it is for upload of acme-\*")
#: How a client says that a page is forbidden; pip says so with C{-vv}, and else that there is none.
FORBIDDEN: Mapping[str, str] = {
    "pip": "may not read other here: it is for read of acme-*",
    "uv": "403 Forbidden",
    "poetry": "Authorization error accessing",
}


@pytest.fixture(scope="module")
def cheddar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheddarProcess]:
    """A Cheddar that lets nobody read who is not known."""
    environ = {"CHEDDAR_READ_AUTH": "true"}
    folder = tmp_path_factory.mktemp("cheddar")
    with running_cheddar("sqlite", folder, "--index-url", "", environ=environ) as server:
        publish(server, make_wheel("acme-lib", "1.0"), make_wheel("acme-app", "1.0", requires=("acme-lib",)))
        publish(server, make_wheel("other", "1.0", requires=("acme-lib",)))
        yield server


def token_for(cheddar: CheddarProcess, *actions: str) -> str:
    """A token for projects of a namespace, made as an operator does."""
    given = [word for action in actions for word in ("--action", action)]
    done = cheddar.cheddar("token", "create", "--user", USER, *given, "--project", "acme-*")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def uploads(cheddar: CheddarProcess) -> str:
    """A token for uploads."""
    return token_for(cheddar, "upload")


@pytest.fixture(scope="module")
def reads(cheddar: CheddarProcess) -> str:
    """A token for reading."""
    return token_for(cheddar, "read")


def words_of(done: CompletedProcess[str]) -> str:
    """What a tool told its user, however it breaks lines."""
    return " ".join(said(done).split())


@pytest.mark.parametrize("client", ["twine", "uv", "poetry", "pdm", "setuptools"])
def test_publishing_with_a_token(cheddar: CheddarProcess, uploads: str, tmp_path: Path, client: str) -> None:
    """As the password of __token__ it publishes what it is for; else the tool says what for, or how to get one."""
    publisher = PUBLISHERS[client]
    account = Account(cheddar.url, "__token__", uploads)
    for name in (f"acme-{client}", f"other-{client}"):
        publisher.prepare(tmp_path / name, name, "1.0")
    done = publisher.publish(tmp_path / f"acme-{client}", account)
    assert done.returncode == 0, output(done)
    refused = publisher.publish(tmp_path / f"other-{client}", account)
    assert refused.returncode != 0
    assert re.search(r"\b403\b", words_of(refused)), output(refused)
    assert SCOPE_TOLD.search(words_of(refused)), output(refused)
    wrong = publisher.publish(tmp_path / f"acme-{client}", Account(cheddar.url, "__token__", uploads[:-1]))
    assert wrong.returncode != 0
    assert re.search(r"\b401\b", words_of(wrong)), output(wrong)
    assert "`cheddar token create`" in words_of(wrong), output(wrong)
    assert "other" not in cheddar.cheddar("project", "list").stdout.replace("other\n", "", 1)


def test_uvs_own_option_for_tokens(cheddar: CheddarProcess, uploads: str, tmp_path: Path) -> None:
    """C{uv publish --token}, and its variable."""
    project, uv = tmp_path / "project", PUBLISHERS["uv"]
    uv.prepare(project, "acme-uv-token", "1.0")
    files = [str(path) for path in files_of(project)]
    where = ("--publish-url", f"{cheddar.url}pypi/")
    for options, environ in (
        (("--token", uploads), {}),
        ((), {"UV_PUBLISH_TOKEN": uploads}),
    ):
        done = run("uv", "publish", *where, *options, *files, home=tmp_path / "home", environ=environ)
        assert done.returncode == 0, output(done)
    assert "acme-uv-token" in cheddar.cheddar("project", "list").stdout
    over = run("uv", "publish", *where, "--token", f"{uploads}0", *files, home=tmp_path / "home")
    assert over.returncode != 0
    assert "401" in output(over)


@pytest.mark.parametrize(
    ("client", "way"), [("pip", "address"), ("uv", "address"), ("uv", "settings"), ("poetry", "settings")]
)
def test_installing_with_a_token(cheddar: CheddarProcess, reads: str, tmp_path: Path, client: str, way: str) -> None:
    """Where reading needs a login, a token installs what it is for; for the rest the tool says why it cannot."""
    index = f"{cheddar.url}simple/"

    def install(token: str, *requirements: str) -> tuple[CompletedProcess[str], dict[str, str]]:
        installer = INSTALLERS[client](tmp_path / f"{len(list(tmp_path.iterdir()))}")
        if way == "settings":
            installer.environ = dict(zip(SETTINGS[client], ("__token__", token), strict=True))
            return installer.install(index, *requirements), installer.installed()
        installer.environ = {"PIP_VERBOSE": "2"}
        return installer.install(with_login(index, "__token__", token), *requirements), installer.installed()

    done, _ = install(reads, "acme-app")
    assert done.returncode == 0, output(done)
    refused, there = install(reads, "other")
    assert refused.returncode != 0
    assert FORBIDDEN[client] in output(refused), output(refused)
    assert "other" not in there
    wrong, there = install(reads[:-1], "acme-app")
    assert wrong.returncode != 0
    assert re.search(TOLD.get(client, TOLD["pip"]), output(wrong)), output(wrong)
    assert there.keys().isdisjoint({"acme-app", "acme-lib"})


def test_revoked_is_refused_at_once(cheddar: CheddarProcess) -> None:
    """What another process revokes, the server refuses with the next request; and it noted the use before."""
    text = token_for(cheddar, "read")
    login = {"Authorization": f"Bearer {text}"}
    assert ask(cheddar.port, "GET", "/simple/acme-lib/", headers=login).status == 200
    token_id = text.split("_")[1]
    (line,) = (line for line in cheddar.cheddar("token", "list").stdout.splitlines() if line.startswith(token_id))
    assert "last used" in line
    assert cheddar.cheddar("token", "revoke", token_id).returncode == 0
    assert ask(cheddar.port, "GET", "/simple/acme-lib/", headers=login).status == 401
    log = cheddar.noted()
    assert "published" in log, "the control: this is the log"
    assert text.split("_")[2] not in log
