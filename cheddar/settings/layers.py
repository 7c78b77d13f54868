"""
Where a value in force came from.

A default gives way to the settings file, the file to C{CHEDDAR_<NAME>} in the environment, that to an option.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from attrs import evolve, fields_dict, frozen

from cheddar.errors import SettingsError
from cheddar.names import INDEXES
from cheddar.settings.file import read_settings_file
from cheddar.settings.known import Settings, Size, Workers
from cheddar.settings.publishers import read_publishers
from cheddar.settings.upstreams import read_upstreams
from cheddar.settings.values import (
    NETWORKS,
    hide_argument,
    hide_userinfo,
    networks,
    patterns,
    points_somewhere,
    size,
    workers,
    wrong,
)

PREFIX = "CHEDDAR_"

#: The variable that names the settings file, where no option does.
FILE_VARIABLE = PREFIX + "SETTINGS"


@frozen
class Loaded:
    """
    Settings in force.

    @ivar settings: the values.
    @ivar origins: where each came from, by attribute name: C{default}, the file's name, or the name of the
        environment variable or option.
    @ivar warnings: one sentence for each thing that was passed over.
    """

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()


#: What each URL may begin with.
_SCHEMES = {
    "index_url": ("http", "https"),
    "public_url": ("http", "https"),
    "redis_url": ("redis", "rediss", "unix"),
}

#: What the items of a list are.
_ITEMS = {
    "listen": "endpoint descriptions",
    "auth": "checkers of logins (file:/path)",
    "reserved_names": "names of projects (acme) and beginnings of names (acme-*)",
    "private_projects": "names of projects (acme) and beginnings of names (acme-*)",
    "trusted_proxies": NETWORKS,
}

#: A path that means itself in nginx's settings and in a header.
_LOCATION = re.compile(r"/(?:[\w.~-]+/)+", re.ASCII)

#: Lists of patterns of project names.
_PATTERNS = ("reserved_names", "private_projects")

#: Two settings for one thing: the first is the short form of the second, and whichever is set closer to the
#: command line counts. Where both are set in one place it is the second.
_SHORT_FORMS = (("redis_hostname", "redis_url"), ("port", "listen"), ("index_url", "upstream"))

#: What is read from tables of the settings file.
_TABLES = {"upstream": read_upstreams, "publisher": read_publishers}

_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no")


def load(*, file: Path | None, environ: Mapping[str, str], options: Mapping[str, object]) -> Loaded:
    """
    Put the settings together.

    @param file: the settings file an option names; None: the one C{CHEDDAR_SETTINGS} names, if any.
    @param environ: the process's environment.
    @param options: by the setting's name in lower case; a string is read as it would be from the environment.
    @raise SettingsError: the file cannot be read, a name is unknown, or a value wrong.
    """
    if file is None and environ.get(FILE_VARIABLE):
        file = Path(environ[FILE_VARIABLE])
    warnings: list[str] = []
    layers: list[dict[str, tuple[object, str]]] = []
    if file is not None:
        content = read_settings_file(file)
        warnings.extend(content.warnings)
        layers.append({name: (_from_file(file, name, value), str(file)) for name, value in content.values.items()})
    layers.append(_from_environment(environ, warnings))
    layers.append({name: (_from_option(name, value), option_name(name)) for name, value in options.items()})

    values: dict[str, Any] = {}  # each checked against its setting's type
    origins = dict.fromkeys(fields_dict(Settings), "default")
    rank = dict.fromkeys(origins, -1)
    for place, layer in enumerate(layers):
        for name, (value, origin) in layer.items():
            values[name], origins[name], rank[name] = value, origin, place
    for short, long in _SHORT_FORMS:
        if rank[short] > rank[long] >= 0:
            del values[long]
            origins[long] = f"default, since {short.upper()} was set by {origins[short]}"
    settings = evolve(Settings(), **values)
    if (settings.x_accel_redirect or settings.x_sendfile) and not settings.trusted_proxies:
        warnings.append(
            "X_ACCEL_REDIRECT and X_SENDFILE do nothing without TRUSTED_PROXIES: who connects from elsewhere would get "
            "empty files"
        )
    return Loaded(settings, origins, tuple(warnings))


def describe(settings: Settings, origins: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    """
    Every setting's name, the value in force and where it came from, as a person may see them: user names and
    passwords in addresses are hidden.
    """
    in_force: dict[str, object] = {
        "local_cache_dir": settings.local_dir,
        "remote_cache_dir": settings.remote_dir,
        "public_url": settings.address,
        "index_url": "" if settings.upstream else "".join(upstream.url for upstream in settings.upstreams),
        "upstream": tuple(f"{upstream.name}={hide_userinfo(upstream.url)}" for upstream in settings.upstream),
        "audit_log": settings.audit_file,
        "access_log_file": settings.requests_file,
        "auth": tuple(map(hide_argument, settings.auth)),
        "oidc_audience": settings.audience,
    }
    return tuple(
        (name.upper(), _shown(name, in_force.get(name, getattr(settings, name))), origins.get(name, "default"))
        for name in fields_dict(Settings)
    )


def option_name(name: str) -> str:
    """The option that stands for a setting on the command line."""
    return "--redis" if name == "redis_url" else "--" + name.replace("_", "-")


def nearest(name: str, known: Iterable[str]) -> str:
    """C{; did you mean X?} for the nearest of the known names, or nothing."""
    matches = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]}?" if matches else ""


def _shown(name: str, value: object) -> str:
    if name == "read_auth" and value in ((), INDEXES):
        return str(bool(value)).lower()
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return hide_userinfo(str(value)) if name in _SCHEMES else str(value)


def _known(place: str, name: str) -> None:
    names = fields_dict(Settings)
    if name not in names:
        hint = nearest(name.upper(), (known.upper() for known in names))
        raise SettingsError(f"{place}: unknown setting {name.upper()}{hint}")


def _from_file(file: Path, name: str, value: object) -> object:
    _known(str(file), name)
    return _checked(f"{file}: {name.upper()}", name, value)


def _from_option(name: str, value: object) -> object:
    _known("options", name)
    place = option_name(name)
    return _checked(place, name, _read(place, name, value) if isinstance(value, str) else value)


def _from_environment(environ: Mapping[str, str], warnings: list[str]) -> dict[str, tuple[object, str]]:
    names = {PREFIX + name.upper(): name for name in fields_dict(Settings)}
    layer = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable == FILE_VARIABLE:
            continue
        text = environ[variable]
        if variable not in names:
            warnings.append(f"environment: unknown variable {variable}{nearest(variable, names)}")
        elif variable == "CHEDDAR_PORT" and "://" in text:
            warnings.append(
                f"environment: CHEDDAR_PORT is ignored, since it is a URL ({text}): Kubernetes sets such a variable "
                "beside a service named cheddar"
            )
        else:
            name = names[variable]
            layer[name] = (_checked(variable, name, _read(variable, name, text)), variable)
    return layer


def _read(place: str, name: str, text: str) -> object:
    """A value of the setting's type from text; what cannot be read is left for L{_checked} to refuse."""
    kind = _KINDS[name]
    if kind is bool or (name == "read_auth" and text.lower() in (*_TRUE, *_FALSE)):
        return True if text.lower() in _TRUE else False if text.lower() in _FALSE else text
    if kind is int:
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text
    return tuple(text.split()) if get_origin(kind) is tuple else text


def _checked(place: str, name: str, value: object) -> object:
    """C{value} as the setting's type has it."""
    kind = _KINDS[name]
    if kind is bool:
        return value if isinstance(value, bool) else wrong(place, "true or false", value)
    if kind is int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            wrong(place, "a whole number of 1 or more", value)
        if name == "port" and value > 65535:
            wrong(place, "a port number, at most 65535", value)
        return value
    if kind is Size:
        return size(place, value)
    if kind is Workers:
        return workers(place, value)
    if name == "read_auth":
        return _indexes(place, value)
    if name in _TABLES:
        return _TABLES[name](place.removesuffix(f": {name.upper()}"), value)
    if get_origin(kind) is tuple:
        items = (value,) if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item for item in items):
            wrong(place, f"a list of {_ITEMS[name]}", value)
        if name == "trusted_proxies":
            return networks(place, items)
        return patterns(place, items) if name in _PATTERNS else tuple(items)
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return value if value in choices else wrong(place, " or ".join(map(repr, choices)), value)
    if not isinstance(value, str | Path):
        wrong(place, "a string", value)
    if kind is str:
        return _address(place, name, str(value)) if value else ""
    if str(value) == "" and type(None) not in get_args(kind):
        wrong(place, "the path of a directory", value)
    if "\0" in str(value):
        wrong(place, "a path without NUL characters", value)
    return Path(value) if str(value) else None


def _indexes(place: str, value: object) -> object:
    names = value.split() if isinstance(value, str) else value
    if isinstance(value, bool) or (isinstance(names, list | tuple) and all(name in INDEXES for name in names)):
        return names
    return wrong(place, f"true, false, or some of {', '.join(INDEXES)}", value)


def _address(place: str, name: str, value: str) -> str:
    if name == "redis_hostname" and not set(value).isdisjoint("/@ \t\n"):
        wrong(place, "a host name (REDIS_URL takes an address)", value)
    if name == "x_accel_redirect":
        if _LOCATION.fullmatch(value) is None:
            wrong(place, "the path of a location, with a slash at both ends: /cheddar-files/", value)
    elif name in _SCHEMES:
        try:
            parts = urlsplit(value)
            good = parts.scheme in _SCHEMES[name] and points_somewhere(parts)
        except ValueError:
            good = False
        if not good:
            schemes = ", ".join(f"{scheme}://" for scheme in _SCHEMES[name])
            wrong(place, f"a whole address that begins with one of {schemes}", value)
    return value


_KINDS: Mapping[str, object] = types.MappingProxyType(get_type_hints(Settings))
