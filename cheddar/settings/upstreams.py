"""The tables C{[[upstream]]} of a settings file: several upstreams, each with what it takes to ask it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn
from urllib.parse import urlsplit

from attrs import fields_dict, frozen

from cheddar.errors import SettingsError
from cheddar.names import PATTERNS, is_of_pattern, normalize_pattern

_NAME = re.compile(r"\A[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?\Z")


@frozen(kw_only=True)
class UpstreamSettings:
    """
    One upstream.

    @ivar name: what it is called in logs, metrics and cached listings; empty for the one that INDEX_URL names.
    @ivar url: the address of its Simple API, or of a folder of pages with links, with a slash at its end; maybe with
        a user name and a password.
    @ivar username: the user name of its login, where the address has none.
    @ivar password_file: a file with the password (its first line), or None.
    @ivar password_env: an environment variable with the password, or empty.
    @ivar netrc: whether the login is looked up in C{~/.netrc}, or where C{NETRC} says.
    @ivar ca_bundle: certificate authorities to believe in place of the platform's (PEM), or None.
    @ivar client_certificate: what to show to its host, and the key where it is not in the same file (PEM), or None.
    @ivar client_key: see C{client_certificate}.
    @ivar proxy: the HTTP proxy on the way to it; empty: as the environment says; C{none}: no proxy.
    @ivar timeout: seconds after which it is given up when it sends nothing; 0: as GET_TIMEOUT says.
    @ivar connections: kept open to each of its hosts; 0: as UPSTREAM_CONNECTIONS says.
    @ivar projects: patterns of the only projects that it is asked for; empty: all.
    @ivar exclude: patterns of projects that it is never asked for.
    @ivar priority: smaller numbers are asked first; equal ones in the order of the file.
    @ivar merge: whether it adds files to a project that an upstream before it has; else the first one has it alone.
    """

    name: str = ""
    url: str
    username: str = ""
    password_file: Path | None = None
    password_env: str = ""
    netrc: bool = False
    ca_bundle: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    proxy: str = ""
    timeout: int = 0
    connections: int = 0
    projects: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    priority: int = 100
    merge: bool = False

    def may_be_asked_for(self, project: str) -> bool:
        """Whether it is asked for a (normalized) project."""
        wanted = not self.projects or any(is_of_pattern(project, pattern) for pattern in self.projects)
        return wanted and not any(is_of_pattern(project, pattern) for pattern in self.exclude)


def read_upstreams(place: str, tables: object) -> tuple[UpstreamSettings, ...]:
    """
    Check the tables, and put them in the order in which they are asked.

    @param place: the file, for messages.
    @param tables: what the file has under C{upstream}.
    @raise SettingsError: something in them is wrong.
    """
    if not isinstance(tables, Sequence) or not tables or not all(isinstance(table, Mapping) for table in tables):
        raise SettingsError(f"{place}: UPSTREAM must be tables: begin each upstream with a line [[upstream]]")
    read = [_table(f"{place}: [[upstream]] {number}", table) for number, table in enumerate(tables, 1)]
    names = [upstream.name for upstream in read]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"{place}: two upstreams have the name {name}")
    return tuple(sorted(read, key=lambda upstream: upstream.priority))


def _table(place: str, table: Mapping[str, object]) -> UpstreamSettings:
    lower = {key.lower(): value for key, value in table.items()}
    for key in lower:
        if key not in _READERS:
            raise SettingsError(f"{place}: unknown key {key}; there are {', '.join(_READERS)}")
    for key in ("name", "url"):
        if key not in lower:
            raise SettingsError(f"{place}: {key} is missing")
    values = {key: _READERS[key](f"{place}: {key}", value) for key, value in lower.items()}
    upstream = UpstreamSettings(**values)  # type: ignore[arg-type]  # each was read as what its name needs
    if upstream.client_key is not None and upstream.client_certificate is None:
        raise SettingsError(f"{place}: client_key without client_certificate")
    sources = [key for key in ("password_file", "password_env", "netrc") if getattr(upstream, key)]
    if "@" in urlsplit(upstream.url).netloc:
        sources.append("url")
    if len(sources) > 1:
        raise SettingsError(f"{place}: the login comes from more than one place: {', '.join(sources)}")
    if bool(upstream.username) != bool(upstream.password_file or upstream.password_env):
        raise SettingsError(f"{place}: username goes with one of password_file and password_env")
    return upstream


def _wrong(place: str, wanted: str) -> NoReturn:
    # The value is not repeated: it may be a password in the wrong line.
    raise SettingsError(f"{place} must be {wanted}")


def _text(place: str, value: object) -> str:
    return value if isinstance(value, str) and value else _wrong(place, "a string")


def _name(place: str, value: object) -> str:
    if not isinstance(value, str) or not _NAME.match(value):
        _wrong(place, "1 to 32 small letters, digits and dashes")
    return value


def _url(place: str, value: object) -> str:
    try:
        parts = urlsplit(_text(place, value))
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        _wrong(place, "a whole address that begins with http:// or https://")
    return str(value).rstrip("/") + "/"


def _path(place: str, value: object) -> Path:
    text = _text(place, value)
    return Path(text) if "\0" not in text else _wrong(place, "a path without NUL characters")


def _number(place: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        _wrong(place, "a whole number of 1 or more")
    return value


def _flag(place: str, value: object) -> bool:
    return value if isinstance(value, bool) else _wrong(place, "true or false")


def _patterns(place: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        _wrong(place, f"a list, each of it {PATTERNS}")
    try:
        return tuple(normalize_pattern(_text(place, item)) for item in value)
    except ValueError:
        _wrong(place, f"a list, each of it {PATTERNS}")


_READERS = MappingProxyType(
    {
        **dict.fromkeys(("username", "password_env", "proxy"), _text),
        **dict.fromkeys(("password_file", "ca_bundle", "client_certificate", "client_key"), _path),
        **dict.fromkeys(("timeout", "connections", "priority"), _number),
        **dict.fromkeys(("netrc", "merge"), _flag),
        **dict.fromkeys(("projects", "exclude"), _patterns),
        "name": _name,
        "url": _url,
    }
)
assert set(_READERS) == set(fields_dict(UpstreamSettings))
