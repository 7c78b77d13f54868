"""The tables of several upstreams in a settings file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cheddar.errors import SettingsError
from cheddar.settings import Settings, describe, load
from cheddar.settings.upstreams import UpstreamSettings, read_upstreams


def read(*tables: dict[str, Any]) -> tuple[UpstreamSettings, ...]:
    return read_upstreams("cheddar.toml", list(tables))


def test_all_that_can_be_said() -> None:
    """Each key reaches the settings as what it is; addresses get the slash they need, patterns are normalized."""
    (upstream,) = read(
        {
            "name": "corp", "url": "https://index.example/simple", "username": "me", "password_file": "/run/secret",
            "ca_bundle": "ca.pem", "client_certificate": "me.pem", "client_key": "me.key", "proxy": "none",
            "timeout": 5, "connections": 2, "projects": ["Acme_*"], "exclude": ["acme-public"], "priority": 1,
            "merge": True,
        }
    )  # fmt: skip
    assert upstream == UpstreamSettings(
        name="corp", url="https://index.example/simple/", username="me", password_file=Path("/run/secret"),
        ca_bundle=Path("ca.pem"), client_certificate=Path("me.pem"), client_key=Path("me.key"), proxy="none",
        timeout=5, connections=2, projects=("acme-*",), exclude=("acme-public",), priority=1, merge=True,
    )  # fmt: skip


def test_what_is_not_said() -> None:
    """Timeouts and connections are those of the settings of the same purpose."""
    settings = Settings(upstream=read({"name": "a", "url": "http://a.example/"}), get_timeout=7, upstream_connections=3)
    (upstream,) = settings.upstreams
    assert (upstream.timeout, upstream.connections, upstream.merge) == (7, 3, False)


def test_the_short_form() -> None:
    """INDEX_URL is one upstream without a name; empty it is none."""
    assert Settings(index_url="http://a.example/simple").upstreams == (
        UpstreamSettings(url="http://a.example/simple/", timeout=20, connections=16),
    )
    assert Settings(index_url="").upstreams == ()


def test_a_file_with_tables(tmp_path: Path) -> None:
    """Tables stand in place of INDEX_URL of the same file; INDEX_URL closer to the command line in theirs."""
    file = tmp_path / "cheddar.toml"
    file.write_text(
        'INDEX_URL = "http://c.example/"\n'
        '[[upstream]]\nname = "b"\nurl = "http://me:s3cret@b.example/"\n'
        '[[upstream]]\nname = "a"\nurl = "http://a.example/"\npriority = 1\n'
    )
    loaded = load(file=file, environ={}, options={})
    assert [upstream.name for upstream in loaded.settings.upstreams] == ["a", "b"]
    assert ("UPSTREAM", "a=http://a.example/ b=http://***@b.example/", str(file)) in describe(
        loaded.settings, loaded.origins
    )
    closer = load(file=file, environ={"CHEDDAR_INDEX_URL": "http://d.example/"}, options={})
    assert [upstream.url for upstream in closer.settings.upstreams] == ["http://d.example/"]
    with pytest.raises(SettingsError, match=r"\[\[upstream\]\]"):
        load(file=None, environ={"CHEDDAR_UPSTREAM": "x"}, options={})


def test_order() -> None:
    """Smaller priorities first; equal ones as in the file."""
    order = read(
        {"name": "c", "url": "http://c.example/"},
        {"name": "a", "url": "http://a.example/", "priority": 5},
        {"name": "b", "url": "http://b.example/"},
    )
    assert [upstream.name for upstream in order] == ["a", "c", "b"]


@pytest.mark.parametrize(
    ("project", "asked"), [("acme-tool", True), ("acme", True), ("acme-secret-x", False), ("other", False)]
)
def test_patterns(project: str, asked: bool) -> None:
    """Only the projects that its table names are asked of an upstream, and none that it excludes."""
    (upstream,) = read({"name": "a", "url": "http://a.example/", "projects": ["acme-*"], "exclude": ["acme-secret-*"]})
    assert upstream.may_be_asked_for(project) is asked


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"url": "http://a.example/"}, "name is missing"),
        ({"name": "a"}, "url is missing"),
        ({"name": "A B", "url": "http://a.example/"}, "small letters"),
        ({"name": "a", "url": "ftp://a.example/"}, "http://"),
        ({"name": "a", "url": "http://a.example/", "uri": "x"}, "unknown key uri"),
        ({"name": "a", "url": "http://a.example/", "projects": "x"}, "list"),
        ({"name": "a", "url": "http://a.example/", "projects": ["*"]}, "acme-*"),
        ({"name": "a", "url": "http://a.example/", "timeout": 0}, "1 or more"),
        ({"name": "a", "url": "http://a.example/", "merge": 1}, "true or false"),
        ({"name": "a", "url": "http://a.example/", "client_key": "x"}, "client_certificate"),
        ({"name": "a", "url": "http://a.example/", "username": "x"}, "password_file"),
        ({"name": "a", "url": "http://a.example/", "password_env": "x"}, "username"),
        ({"name": "a", "url": "http://x:y@a.example/", "netrc": True}, "more than one place"),
    ],
)
def test_what_is_wrong(table: dict[str, Any], words: str) -> None:
    """A mistake is told with the table's number and the key, and without the value, which may be a secret."""
    with pytest.raises(SettingsError) as caught:
        read(table)
    assert words in str(caught.value)
    assert "[[upstream]] 1" in str(caught.value)


def test_a_password_in_the_wrong_line_is_not_repeated() -> None:
    """Settings errors end in logs."""
    with pytest.raises(SettingsError) as caught:
        read({"name": "a", "url": "s3cret"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("tables", [[], {}, "x", [1]])
def test_what_are_no_tables(tables: Any) -> None:
    """It says how a table begins."""
    with pytest.raises(SettingsError, match=r"\[\[upstream\]\]"):
        read_upstreams("cheddar.toml", tables)


def test_two_of_one_name() -> None:
    """Cached listings remember the name: it must be one upstream's."""
    with pytest.raises(SettingsError, match="two upstreams"):
        read({"name": "a", "url": "http://a.example/"}, {"name": "a", "url": "http://b.example/"})
