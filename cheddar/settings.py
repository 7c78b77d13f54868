"""
What can be set, its defaults, and where a value in force came from.

A default gives way to the settings file, the file to C{CHEDDAR_<NAME>} in the environment, that to an option.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from attrs import evolve, fields_dict, frozen
from distlib.index import DEFAULT_INDEX

from cheddar.errors import SettingsError
from cheddar.settings_file import read_settings_file
from cheddar.settings_upstreams import UpstreamSettings, read_upstreams
from cheddar.settings_values import NETWORKS, hide_userinfo, networks, patterns, points_somewhere, wrong

PREFIX = "CHEDDAR_"

#: The variable that names the settings file, where no option does.
FILE_VARIABLE = PREFIX + "SETTINGS"


def public_index() -> str:
    """The Simple API of the public index: the origin of distlib's constant, so that no address is spelled here."""
    parts = urlsplit(DEFAULT_INDEX)
    return f"{parts.scheme}://{parts.netloc}/simple/"


@frozen(kw_only=True)
class Settings:
    """All settings, typed. Attribute names are the settings' names in lower case."""

    # The Simple API that the remote index stands for; empty: no remote index. A slash at its end is optional.
    index_url: str = public_index()
    # Several upstreams in place of INDEX_URL: tables [[upstream]] of the settings file.
    upstream: tuple[UpstreamSettings, ...] = ()
    # Whether no upstream is ever asked, and only what is here is served.
    offline: bool = False
    # Files that upstream no longer lists: not offered any more, offered as yanked, or offered as before.
    on_removed: Literal["withhold", "mark", "keep"] = "withhold"
    # Files under whose name upstream has other bytes now: the first ones are offered, or none.
    on_changed: Literal["pin", "withhold"] = "pin"
    # Everything that Cheddar keeps lies below this directory unless set apart.
    data_dir: Path = Path("var")
    # Uploaded files: releases/ and pre-releases/ below it. Empty: DATA_DIR/local.
    local_cache_dir: Path | None = None
    # Cached files of upstream, the same way. Empty: DATA_DIR/remote.
    remote_cache_dir: Path | None = None
    # What is noted for audits, a JSON object a line. Empty: DATA_DIR/audit.jsonl.
    audit_log: Path | None = None
    # redis://, rediss:// or unix:// address of the metadata store; empty: the embedded store in DATA_DIR.
    redis_url: str = ""
    # The short form of REDIS_URL: a host name, on the default port.
    redis_hostname: str = ""
    # The TCP port that HTTP is served on.
    port: int = 5000
    # Endpoint descriptions (Twisted's) to serve on instead of PORT.
    listen: tuple[str, ...] = ()
    # The address that users see, in pages and logs; empty: http://localhost:PORT/. The request's Host is never used.
    public_url: str = ""
    # Seconds that a cached listing is served without asking upstream.
    versions_short_ttl: int = 600
    # Seconds after the last request for a listing during which it goes on being refreshed.
    versions_long_ttl: int = 3 * 24 * 3600
    # Seconds after which an upstream that sends nothing is given up.
    get_timeout: int = 20
    # Seconds that a client waits for a listing that is not cached, before it is told to come again.
    listing_wait: int = 12
    # Seconds that upstream's "no such project" is remembered.
    negative_ttl: int = 300
    # Seconds between two turns of the refresh loop, and how many listings it fetches at a time.
    refresh_interval: int = 60
    refresh_concurrency: int = 4
    # Connections kept open to upstream.
    upstream_connections: int = 16
    # How many recent uploads the history shows.
    history_size: int = 50
    # Whether reading needs a login too.
    read_auth: bool = False
    # What a plain text password in the store means: replaced by its hash at the first login, accepted, or refused.
    plaintext_passwords: Literal["upgrade", "accept", "reject"] = "upgrade"
    # Whether a removed file's name may come back with other bytes.
    filename_reuse: Literal["allow", "never"] = "allow"
    # Names that upstream is never asked for, and that only who was granted them may create: acme, acme-*, acme*.
    reserved_names: tuple[str, ...] = ()
    # Whether files are refused whose names are not normalized (PEP 427, PEP 625).
    strict_names: bool = False
    # Seconds for the headers of a request; bytes a second that a body must bring; seconds for a reader to take 64 KiB.
    header_timeout: int = 20
    body_rate: int = 1024
    stall_timeout: int = 60
    # Connections of clients, in all and of one address; networks of proxies, to which the second does not apply.
    max_connections: int = 8192
    max_connections_per_address: int = 1024
    trusted_proxies: tuple[str, ...] = ()
    # The largest upload, in bytes.
    max_upload: int = 4 * 1024**3
    # Seconds that requests under way get when the server stops.
    drain_timeout: int = 60

    @property
    def local_dir(self) -> Path:
        """Where uploaded files lie."""
        return self.local_cache_dir or self.data_dir / "local"

    @property
    def remote_dir(self) -> Path:
        """Where cached files of upstream lie."""
        return self.remote_cache_dir or self.data_dir / "remote"

    @property
    def address(self) -> str:
        """The address that users see, with a slash at its end."""
        return (self.public_url or f"http://localhost:{self.port}/").rstrip("/") + "/"

    @property
    def audit_file(self) -> Path:
        """What is noted for audits."""
        return self.audit_log or self.data_dir / "audit.jsonl"

    @property
    def upstreams(self) -> tuple[UpstreamSettings, ...]:
        """The upstreams in the order in which they are asked; none where there is no remote index."""
        if self.upstream:
            chosen = self.upstream
        elif self.index_url:
            chosen = (UpstreamSettings(url=self.index_url.rstrip("/") + "/"),)
        else:
            return ()
        return tuple(
            evolve(
                upstream,
                timeout=upstream.timeout or self.get_timeout,
                connections=upstream.connections or self.upstream_connections,
            )
            for upstream in chosen
        )

    @property
    def redis(self) -> str:
        """The address of the Redis store, or empty."""
        if self.redis_url or not self.redis_hostname:
            return self.redis_url
        host = f"[{self.redis_hostname}]" if ":" in self.redis_hostname else self.redis_hostname
        return f"redis://{host}:6379"


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
    "reserved_names": "names of projects (acme) and beginnings of names (acme-*)",
    "trusted_proxies": NETWORKS,
}

#: Two settings for one thing: the first is the short form of the second, and whichever is set closer to the
#: command line counts. Where both are set in one place it is the second.
_SHORT_FORMS = (("redis_hostname", "redis_url"), ("port", "listen"), ("index_url", "upstream"))

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
    return Loaded(evolve(Settings(), **values), origins, tuple(warnings))


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
    if kind is bool:
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
    if name == "upstream":
        return read_upstreams(place.removesuffix(": UPSTREAM"), value)
    if get_origin(kind) is tuple:
        items = (value,) if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item for item in items):
            wrong(place, f"a list of {_ITEMS[name]}", value)
        if name == "trusted_proxies":
            return networks(place, items)
        return patterns(place, items) if name == "reserved_names" else tuple(items)
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


def _address(place: str, name: str, value: str) -> str:
    if name == "redis_hostname" and not set(value).isdisjoint("/@ \t\n"):
        wrong(place, "a host name (REDIS_URL takes an address)", value)
    if name in _SCHEMES:
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
