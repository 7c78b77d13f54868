"""The `cheddar` command as a process: what it prints where, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).parent / "cheddar"


def cheddar(
    folder: Path, *arguments: str, stdin: str = "", environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHEDDAR_")}
    return subprocess.run(
        [str(COMMAND), *arguments],
        cwd=folder,
        env={**kept, **(environ or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_works_on_the_store_that_the_settings_name(tmp_path: Path) -> None:
    """--data-dir, CHEDDAR_DATA_DIR and a settings file lead to the same users."""
    done = cheddar(tmp_path, "--data-dir", "here", "user", "add", "me", "--stdin", stdin="secret\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "me" in done.stdout
    assert "secret" not in done.stdout
    done = cheddar(tmp_path, "user", "list", environ={"CHEDDAR_DATA_DIR": "here"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "me\n", "")
    (tmp_path / "cheddar.toml").write_text('data_dir = "here"\n')
    done = cheddar(tmp_path, "--settings", "cheddar.toml", "user", "list")
    assert done.stdout == "me\n"
    # The control: elsewhere there are others.
    assert cheddar(tmp_path, "--data-dir", "elsewhere", "user", "list").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (),
            "a command is missing: user, token, role, group, project, upstream, audit, cache, warm, rebuild, settings",
        ),
        (("user",), "a command is missing: add, list, remove, password, hash, grant, revoke"),
        (("usr",), "unknown command usr; did you mean user?"),
        (("user", "zap"), "unknown command zap; there are add, list, remove, password, hash, grant, revoke"),
        (("user", "add"), "exactly one user name is needed"),
        (("user", "grant", "me"), "a user's name and a pattern are needed, as in: alice 'acme-*'"),
        (("user", "list", "me"), "Wrong number of arguments."),
        (("user", "list", "--data-dir=x"), "option --data-dir not recognized; it goes before the command"),
        (("--prot", "1"), "option --prot not recognized"),
        (("project", "release"), "exactly one project name is needed"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """A mistake in the command line changes nothing, and says what is meant."""
    done = cheddar(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"cheddar: {message} (`cheddar --help` explains)\n"
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_done_is_one_line_and_status_1(tmp_path: Path) -> None:
    """An error of the work itself, or of the settings, is one line too."""
    for arguments, message in (
        (("user", "remove", "nobody"), "there is no user nobody in "),
        (("user", "add", "a:b", "--stdin"), "'a:b' cannot be a user's name"),
        (("project", "release", "nothing"), ""),
        (("--settings", "no.toml", "settings"), "no.toml: cannot be read: No such file"),
        (("--redis", "localhost", "settings"), "--redis: must be a whole address"),
    ):
        done = cheddar(tmp_path, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"cheddar: {message}")
        assert done.stderr.count("\n") == 1


@pytest.mark.deadline(60)
def test_a_redis_that_is_down_is_said(tmp_path: Path) -> None:
    """No trace of the program's inside, and no waiting for ever."""
    done = cheddar(tmp_path, "--redis", f"unix://{tmp_path}/no.sock", "user", "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cheddar: ")
    assert done.stderr.count("\n") == 1


def test_settings_are_shown_with_their_origin_and_without_secrets(tmp_path: Path) -> None:
    """`cheddar settings`: name, value, origin; a password in an address is hidden; foreign variables are warned of."""
    (tmp_path / "cheddar.py").write_text("INDEX_URL = 'https://u:hush@mirror.example/simple'\nGET_TIMEOUT = 2 * 5\n")
    environ = {"CHEDDAR_SETTINGS": "cheddar.py", "CHEDDAR_READ_AUTH": "yes", "CHEDDAR_REED_AUTH": "no"}
    done = cheddar(tmp_path, "--data-dir", "d", "settings", environ=environ)
    assert done.returncode == 0
    rows = {row[0]: row[1:] for row in map(str.split, done.stdout.splitlines())}
    assert rows["INDEX_URL"] == ["https://***@mirror.example/simple/", "cheddar.py"]
    assert rows["GET_TIMEOUT"] == ["10", "cheddar.py"]
    assert rows["READ_AUTH"] == ["true", "CHEDDAR_READ_AUTH"]
    assert rows["DATA_DIR"] == ["d", "--data-dir"]
    assert rows["REDIS_URL"] == ['""', "default"]
    assert "hush" not in done.stdout
    assert done.stderr == (
        "cheddar: environment: unknown variable CHEDDAR_REED_AUTH; did you mean CHEDDAR_READ_AUTH?\n"
    )


def test_help_and_version(tmp_path: Path) -> None:
    """--help explains every level, --version says which Cheddar it is."""
    assert cheddar(tmp_path, "--version").stdout.startswith("Cheddar ")
    for arguments, word in (((), "rebuild"), (("user",), "password"), (("user", "add"), "--stdin"), (("rebuild",), "")):
        done = cheddar(tmp_path, *arguments, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert word in done.stdout
