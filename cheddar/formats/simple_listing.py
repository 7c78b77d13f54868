"""
A project's page as PEP 691 shapes it, to L{Project}.

What upstream sends is not to be trusted with more than it says: types are checked, strings and numbers bounded,
digests and addresses have one form. A page that is wrong as such is refused; a file that cannot be offered is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, quote, urljoin, urlsplit, urlunsplit

from attrs import frozen

from cheddar.errors import UpstreamBroken
from cheddar.formats.filenames import version_of
from cheddar.formats.provenance import is_secure
from cheddar.model import (
    NO_DIGESTS,
    QUARANTINED,
    File,
    Project,
    normalize_version,
    sort_files,
    sort_versions,
    version_key,
)
from cheddar.model.versions import LONGEST
from cheddar.names import is_filename, normalize

MAX_FILES = 100_000
_MAX_STRING = 16_384
_MAX_SIZE = 2**63 - 1

_API_VERSION = re.compile(r"(\d{1,9})\.\d{1,9}\Z", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_ALGORITHM = re.compile(r"[a-z0-9_]{1,16}\Z", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-f]{2}){8,64}\Z", re.ASCII)
_DIGEST_LENGTHS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128, "blake2b_256": 64}
_UPLOAD_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):?(\d\d))?\Z", re.ASCII | re.IGNORECASE
)
# Everything that RFC 3986 lets stand in a URL; the rest is percent-encoded.
_URL_CHARACTERS = "!#$%&'()*+,/:;=?@[]~"
_NETLOC = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?\Z", re.ASCII)

# The name of the standard, its older one, and one that an index has sent for years by mistake.
_CORE_METADATA_KEYS = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")


@frozen
class _Reader:
    """Takes typed values out of a page's objects, or says what is wrong with the page."""

    name: str

    def broken(self, what: str) -> UpstreamBroken:
        return UpstreamBroken(f"Upstream's page for {self.name} is not right: {what}.")

    def mapping(self, value: object, what: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.broken(f"{what} is not an object")
        return value

    def list(self, value: object, what: str, limit: int) -> list[Any]:
        if not isinstance(value, list):
            raise self.broken(f"{what} is not a list")
        if len(value) > limit:
            raise self.broken(f"{what} has more than {limit} entries")
        return value

    def text(self, value: object, what: str) -> str:
        if not isinstance(value, str):
            raise self.broken(f"{what} is not a string")
        if len(value) > _MAX_STRING:
            raise self.broken(f"{what} is longer than {_MAX_STRING} characters")
        if not value.isascii() and _SURROGATE.search(value):
            raise self.broken(f"{what} holds half a surrogate pair")
        return value

    def optional_text(self, value: object, what: str) -> str | None:
        return None if value is None else self.text(value, what) or None


def read_project(page: object, name: str, base_url: str) -> Project:
    """
    Read a page that was decoded from JSON, or brought into that shape from HTML.

    @param name: the normalized name that was asked for.
    @param base_url: what relative file URLs are relative to.
    @raise UpstreamBroken: this is not a page of the API for that project, or a hostile one.
    """
    reader = _Reader(name)
    top = reader.mapping(page, "the page")
    meta = reader.mapping(top.get("meta"), "meta")
    version = _API_VERSION.match(reader.text(meta.get("api-version"), "meta.api-version"))
    if version is None or version.group(1) != "1":
        raise reader.broken("its api-version is not 1.x")
    display_name = reader.text(top.get("name"), "name")
    if normalize(display_name) != name:
        raise reader.broken(f"it is for the project {display_name[:100]!r}")
    status, reason = _status(reader, top, meta)
    found: dict[str, File] = {}
    stated: list[str] = []
    for entry in reader.list(top.get("files"), "files", MAX_FILES):
        file = _file(reader, reader.mapping(entry, "a file"), base_url)
        if file is None:
            continue
        earlier = found.setdefault(file.filename, file)
        if earlier is not file and _contradict(earlier.digests, file.digests):
            raise reader.broken(f"{file.filename} is listed twice, with different digests")
    for text in reader.list(top.get("versions") or [], "versions", MAX_FILES):
        if 0 < len(reader.text(text, "a version")) <= LONGEST:
            stated.append(normalize_version(text))
    files = () if status == QUARANTINED else sort_files(list(found.values()))
    # Upstream may state a release as 1.0.0 whose files say 1.0: one version (PEP 440), as the files spell it.
    versions = {file.version for file in files if file.version}
    known = set(map(version_key, versions))
    for text in stated:
        key = version_key(text)
        if key not in known:
            known.add(key)
            versions.add(text)
    return Project(
        name=name,
        files=files,
        versions=sort_versions(versions),
        display_name=display_name,
        status=status,
        status_reason=reason,
        index="remote",
    )


def read_digest(algorithm: str, digest: str) -> tuple[str, str] | None:
    """
    One digest in the form in which L{File} keeps it.

    @return: algorithm and digest; None: not a digest, and nothing can be said about the algorithm.
    @raise ValueError: not a digest of this well-known algorithm.
    """
    algorithm, digest = algorithm.strip().lower().replace("-", "_"), digest.strip().lower()
    length = _DIGEST_LENGTHS.get(algorithm)
    if _HEX.match(digest) and _ALGORITHM.match(algorithm) and length in (None, len(digest)):
        return algorithm, digest
    if length is not None:
        raise ValueError(f"This is not a {algorithm} digest.")
    return None


def read_upload_time(text: str) -> datetime | None:
    """A time as PEP 700 writes it (and a little more freely), in UTC; None where it cannot be read."""
    match = _UPLOAD_TIME.match(text)
    if match is None:
        return None
    day, clock, fraction, sign, hours, minutes = match.groups()
    try:
        time = datetime.fromisoformat(f"{day}T{clock}").replace(
            microsecond=int((fraction or "")[:6].ljust(6, "0")), tzinfo=timezone.utc
        )
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        return time + offset if sign == "-" else time - offset
    except (ValueError, OverflowError):
        return None


def _status(reader: _Reader, top: dict[str, Any], meta: dict[str, Any]) -> tuple[str, str | None]:
    # The specification's prose has it at the top, one of its examples in meta.
    marker = top.get("project-status", meta.get("project-status"))
    if isinstance(marker, str):
        marker = {"status": marker, "reason": meta.get("project-status-reason")}
    if marker is None:
        return "active", None
    marker = reader.mapping(marker, "project-status")
    status = reader.optional_text(marker.get("status"), "project-status.status")
    return (status or "active").lower(), reader.optional_text(marker.get("reason"), "project-status.reason")


def _file(reader: _Reader, entry: dict[str, Any], base_url: str) -> File | None:
    filename = reader.text(entry.get("filename"), "a file's filename")
    address = reader.text(entry.get("url"), "a file's url")
    hashes = reader.mapping(entry.get("hashes", {}), "a file's hashes")
    requires_python = reader.optional_text(entry.get("requires-python"), "a file's requires-python")
    size = entry.get("size")
    if size is not None and (type(size) is not int or not 0 <= size <= _MAX_SIZE):
        raise reader.broken("a file's size is not a number of bytes")
    upload_time = reader.optional_text(entry.get("upload-time"), "a file's upload-time")
    yanked = _yanked(reader, entry.get("yanked"))
    provenance = reader.optional_text(entry.get("provenance"), "a file's provenance")
    core_metadata = _core_metadata(reader, entry)
    try:
        digests = _digests(reader, hashes)
        located = _locate(base_url, address)
    except ValueError:
        # No address, or a digest that cannot be one: the file could not be had, or not be verified.
        return None
    if located is None or not is_filename(filename):
        return None
    url, named = located
    return File(
        filename=filename,
        version=version_of(reader.name, filename),
        size=size,
        digests=MappingProxyType({**named, **digests}) if named or digests else NO_DIGESTS,
        upload_time=read_upload_time(upload_time) if upload_time else None,
        requires_python=requires_python,
        yanked=yanked,
        core_metadata=core_metadata,
        provenance=provenance if provenance and is_secure(provenance) else None,
        url=url,
    )


def _yanked(reader: _Reader, value: object) -> str | None:
    if isinstance(value, bool) or value is None:
        return "" if value else None
    # Only a string that says something means yanked (PEP 691).
    return reader.optional_text(value, "a file's yanked")


def _core_metadata(reader: _Reader, entry: dict[str, Any]) -> Mapping[str, str] | None:
    value = next((entry[key] for key in _CORE_METADATA_KEYS if entry.get(key) is not None), None)
    if isinstance(value, bool) or value is None:
        return NO_DIGESTS if value else None
    digests = reader.mapping(value, "a file's core-metadata")
    try:
        return MappingProxyType(_digests(reader, digests))
    except ValueError:
        # It could not be verified; installers do without it.
        return None


def _digests(reader: _Reader, hashes: dict[str, Any]) -> dict[str, str]:
    digests = {}
    for algorithm, digest in hashes.items():
        read = read_digest(algorithm, reader.text(digest, "a digest"))
        if read is not None:
            digests[read[0]] = read[1]
    return digests


def _contradict(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return any(other.get(algorithm, digest) != digest for algorithm, digest in one.items())


def _locate(base_url: str, address: str) -> tuple[str, dict[str, str]] | None:
    """The absolute URL without fragment and credentials, and the digests in the fragment; None: not to be fetched."""
    parts = urlsplit(urljoin(base_url, address))
    # Credentials in an address would travel into pages, logs and the store.
    netloc = parts.netloc.rpartition("@")[2]
    if parts.scheme not in ("http", "https") or not _NETLOC.match(netloc):
        return None
    digests = dict(
        read
        for algorithm, digest in parse_qsl(parts.fragment, max_num_fields=None)
        if (read := read_digest(algorithm, digest)) is not None
    )
    url = urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))
    return quote(url, safe=_URL_CHARACTERS), digests
