"""Values of settings: which are good, and what is said of those that are not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from decimal import Decimal
from ipaddress import ip_network
from typing import NoReturn
from urllib.parse import SplitResult

from cheddar.errors import SettingsError
from cheddar.names import INDEXES, PATTERNS, normalize_pattern

#: Units of sizes in lower case: powers of 1000, and of 1024.
_UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgtp", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgtp", 1)},
}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?|\Z) *(?P<unit>|b|[kmgtp]i?b)\Z", re.ASCII | re.IGNORECASE)
_LONGEST_SIZE = 30
_LONGEST_NUMBER = 10

#: Each takes some 80 MiB of memory.
MOST_WORKERS = 256

#: What L{networks} reads, in words for who wrote something else.
NETWORKS = "IP addresses and networks (10.0.0.0/8), or unix"


def hide_userinfo(url: str) -> str:
    """C{url} without the user name and password in it, for people to see."""
    if "@" not in url:
        return url
    scheme, separator, rest = url.rpartition("://") if "://" in url else ("", "", url)
    return f"{scheme}{separator}***@{rest.rpartition('@')[2]}"


def hide_argument(checker: str) -> str:
    """C{checker} for people to see: what stands behind the colon may be a secret, unless it is a file's name."""
    kind, colon, argument = checker.partition(":")
    return checker if kind == "file" or not argument else f"{kind}{colon}***"


def patterns(place: str, items: Iterable[str]) -> tuple[str, ...]:
    """Patterns as they are compared, each once."""
    normalized = {}
    for item in items:
        try:
            normalized[normalize_pattern(item)] = True
        except ValueError:
            wrong(place, f"a list, each of it {PATTERNS}", item)
    return tuple(normalized)


def networks(place: str, items: Iterable[str]) -> tuple[str, ...]:
    """Addresses and networks, and C{unix} for sockets that are files, as they were written."""
    for item in items:
        try:
            if item != "unix":
                ip_network(item)
        except ValueError:
            wrong(place, f"a list of {NETWORKS}", item)
    return tuple(items)


def size(place: str, value: object) -> int:
    """Bytes, from a number of them or from text with a unit; 0, or nothing, is no limit."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.match(value.strip()) if isinstance(value, str) and len(value) <= _LONGEST_SIZE else None
    if match is None:
        wrong(place, "a number of bytes, or a size such as 500MiB or 50GB", value)
    # Decimal: 1.1 GB are 1 100 000 000 bytes, and not one less.
    return int(Decimal(match["number"] or 0) * _UNITS[match["unit"].lower()])


def workers(place: str, value: object) -> int:
    """A number of processes, or C{auto} for as many as this one may use processors."""
    if value == "auto":
        return len(os.sched_getaffinity(0))
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _LONGEST_NUMBER:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_WORKERS:
        wrong(place, f"a whole number from 1 to {MOST_WORKERS}, or auto", value)
    return value


def reading_indexes(value: bool | Iterable[str]) -> tuple[str, ...]:
    """The indexes that are meant by true (all), false (none), or their names."""
    if isinstance(value, bool):
        return INDEXES if value else ()
    return tuple(index for index in INDEXES if index in value)


def points_somewhere(parts: SplitResult) -> bool:
    """Whether an address that was split names a place to connect to. [ValueError]"""
    # Looking at the port checks it: urlsplit raises ValueError for one that is not a number up to 65535.
    return parts.path.startswith("/") if parts.scheme == "unix" else bool(parts.hostname) and parts.port != 0


def wrong(place: str, wanted: str, value: object) -> NoReturn:
    """@raise SettingsError: saying where, what is wanted, and what is there."""
    shown = hide_userinfo(value) if isinstance(value, str) else value
    raise SettingsError(f"{place}: must be {wanted}, and is {shown!r}")
