"""Users whom a checker of Twisted's knows (C{--auth}), with real clients, as an operator runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import running_cheddar
from tests.support.clients import output, run
from tests.support.distributions import make_wheel
from tests.support.server import CheddarProcess, ask, basic


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of other users."""
    file = tmp_path_factory.mktemp("auth") / "passwords"
    file.write_text("bob:secret\n")
    return file


@pytest.fixture(scope="module")
def guarded(passwords: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheddarProcess]:
    """A Cheddar that lets nobody read who is not known, by two checkers and the store."""
    checkers = ("--auth", f"file:{passwords}", "--auth", "memory:dora:in-memory")
    environ = {"CHEDDAR_READ_AUTH": "true", "CHEDDAR_FAILED_LOGINS": "4"}
    folder = tmp_path_factory.mktemp("guarded")
    with running_cheddar("sqlite", folder, "--index-url", "", *checkers, environ=environ) as cheddar:
        yield cheddar


def upload(cheddar: CheddarProcess, folder: Path, name: str, user: str, password: str) -> tuple[int, str]:
    """Publish a wheel with twine."""
    filename, content = make_wheel(name, "1.0")
    folder.mkdir(exist_ok=True)
    (folder / filename).write_bytes(content)
    done = run(
        "twine", "upload", "--non-interactive", "--disable-progress-bar", "--repository-url", f"{cheddar.url}pypi/",
        "-u", user, "-p", password, str(folder / filename), home=folder / "home",
    )  # fmt: skip
    return done.returncode, output(done)


def status(cheddar: CheddarProcess, user: str, password: str) -> int:
    """What a reader gets."""
    return ask(cheddar.port, "GET", "/simple/", headers={"Authorization": basic(user, password)}).status


@pytest.mark.deadline(120)
def test_users_of_checkers(guarded: CheddarProcess, passwords: Path, tmp_path: Path) -> None:
    """
    Who is in the file uploads with twine and installs with pip; a changed password counts at once. The store's user of
    a name wins, from the moment that there is one, and until it is removed.
    """
    status_, said = upload(guarded, tmp_path / "up", "ours", "bob", "secret")
    assert status_ == 0, said
    index = f"http://bob:secret@localhost:{guarded.port}/simple/"
    installed = run("pip", "download", "--no-deps", "--index-url", index, "-d", str(tmp_path), "ours", home=tmp_path)
    assert installed.returncode == 0, output(installed)
    assert status(guarded, "dora", "in-memory") == 200
    passwords.write_text("bob:changed\nerin:of the file\n")
    assert [status(guarded, "bob", password) for password in ("secret", "changed")] == [401, 200]
    assert status(guarded, "erin", "of the file") == 200
    guarded.add_user("erin", "of the store")
    assert [status(guarded, "erin", password) for password in ("of the file", "of the store")] == [401, 200]
    assert guarded.cheddar("user", "remove", "erin").returncode == 0
    assert [status(guarded, "erin", password) for password in ("of the store", "of the file")] == [401, 200]
    log = guarded.log.read_text()
    assert "A login from 127.0.0.1 was refused" in log
    assert "in-memory" not in log


@pytest.mark.deadline(120)
def test_what_clients_say_of_a_limit(guarded: CheddarProcess, tmp_path: Path) -> None:
    """twine shows why no more logins are looked at, and for how long; pip does so for -vv."""
    while status(guarded, "eve", "wrong") == 401:
        pass
    code, said = upload(guarded, tmp_path / "up", "evil", "eve", "wrong")
    assert code != 0
    assert "429" in said
    assert "Too many logins of this user from your address have failed: try again in" in said
    index = f"http://eve:wrong@localhost:{guarded.port}/simple/"
    refused = run(
        "pip", "download", "-vv", "--retries", "0", "--index-url", index, "-d", str(tmp_path), "ours", home=tmp_path
    )
    assert refused.returncode != 0
    assert "Too many logins of this user from your address have failed: try again in" in output(refused)
