"""Core metadata: the METADATA of a wheel, the PKG-INFO of an sdist."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from packaging.metadata import parse_email
from packaging.version import Version

from cheddar.errors import Invalid
from cheddar.model import CoreMetadata, parse_version

#: Bytes; a description may be long, and no honest one comes near this.
MAX_CORE_METADATA = 4 * 1024 * 1024

# parse_email compares every distinct header name with every header: without these bounds, 4 MiB of short
# headers would keep a thread busy for hours.
_MAX_HEADERS = 20_000
_MAX_HEADER_NAMES = 100
# Lines cost, however short.
_MAX_LINES = 200_000

_END_OF_HEADERS = re.compile(rb"(?:\r\n|\r|\n)(?:\r\n|\r|\n)")
_HEADER_NAME = re.compile(rb"(?:\A|[\r\n])([!-9;-~]*):")

#: The fields that decide what an installer chooses, as C{Dynamic} names them.
_RESOLVED_BY = frozenset({"name", "version", "requires-dist", "requires-python", "provides-extra"})
_STATIC_SINCE = Version("2.2")
#: What a later major version means is not known; a later minor one only adds.
_MAJOR = 2

#: What old tools write for "not said".
_ABSENT = ("UNKNOWN", "")

_Value = str | list[str] | dict[str, str]


def parse(raw: bytes) -> CoreMetadata:
    """
    Read core metadata leniently: only name and version are needed.

    Source: core metadata specifications, up to version 2.6.

    @param raw: the exact bytes, UTF-8.
    @raise Invalid: it is too long, or has not exactly one name and one version.
    """
    if len(raw) > MAX_CORE_METADATA:
        raise Invalid(f"The core metadata is longer than {MAX_CORE_METADATA // 1024**2} MiB.")
    if raw.count(b"\n") + raw.count(b"\r") > _MAX_LINES:
        raise Invalid(f"The core metadata has more than {_MAX_LINES} lines.")
    _check_headers(raw)
    try:
        parsed, _ = parse_email(raw)
    except (ValueError, LookupError, AssertionError, AttributeError, TypeError, RecursionError) as error:
        # The email package was not made for hostile input, and fails in many ways.
        raise Invalid(f"The core metadata cannot be read: {type(error).__name__}.") from error
    fields = _present(parsed)
    return CoreMetadata(
        name=_required(fields, "name", "Name"),
        version=_required(fields, "version", "Version"),
        requires_python=_text(fields, "requires_python").strip() or None,
        summary=_text(fields, "summary"),
        fields=MappingProxyType(fields),
        raw=raw,
    )


def is_static(metadata: CoreMetadata) -> bool:
    """
    Whether the core metadata of an sdist says of all that installers choose by what it will be after the build: then
    they need not build it to know.

    Source: core metadata specifications, "Dynamic" (since version 2.2): what is not named there is in a wheel as it is
    in the sdist that it is built of. Since version 2.6 more may be added to a list that is named there (PEP 808), so
    that what is named is still not known.
    """
    version = _metadata_version(metadata)
    if version is None or version < _STATIC_SINCE or version.major > _MAJOR:
        return False
    return _RESOLVED_BY.isdisjoint(field.strip().lower() for field in metadata.fields.get("dynamic", ()))


def check_version(metadata: CoreMetadata) -> None:
    """
    What does not say its version, or says nothing that is one, is taken for old.

    Source: core metadata specifications, "Metadata-Version": what has a later major version must not be used.

    @raise Invalid: it has.
    """
    version = _metadata_version(metadata)
    if version is not None and version.major > _MAJOR:
        raise Invalid(
            f"The core metadata is of version {version}, and what that means is not known here: build the file with "
            f"metadata of version {_MAJOR}.x."
        )


def _metadata_version(metadata: CoreMetadata) -> Version | None:
    return parse_version(_text(metadata.fields, "metadata_version"))


def _check_headers(raw: bytes) -> None:
    end = _END_OF_HEADERS.search(raw)
    names: set[bytes] = set()
    for count, match in enumerate(_HEADER_NAME.finditer(raw, 0, end.start() if end else len(raw)), start=1):
        names.add(match.group(1).lower())
        if count > _MAX_HEADERS or len(names) > _MAX_HEADER_NAMES:
            raise Invalid(f"The core metadata has over {_MAX_HEADERS} fields, or {_MAX_HEADER_NAMES} kinds of them.")


def _present(parsed: Mapping[str, object]) -> dict[str, _Value]:
    fields: dict[str, _Value] = {}
    for key, value in parsed.items():
        if isinstance(value, str):
            if value.strip() not in _ABSENT:
                fields[key] = value
        elif isinstance(value, list):
            said = [item for item in value if item.strip() not in _ABSENT]
            if said:
                fields[key] = said
        elif isinstance(value, dict) and value:
            fields[key] = dict(value)
    return fields


def _required(fields: Mapping[str, _Value], key: str, header: str) -> str:
    value = _text(fields, key).strip()
    if not value:
        raise Invalid(f"The core metadata must have the field {header} exactly once.")
    return value


def _text(fields: Mapping[str, _Value], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""
