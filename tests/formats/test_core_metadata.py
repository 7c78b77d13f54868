"""Core metadata, of all ages."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheddar.errors import Invalid
from cheddar.formats.core_metadata import MAX_CORE_METADATA, check_version, is_static, parse

HEAD = b"Metadata-Version: 2.1\nName: Demo.Pkg\nVersion: 1.0\n"


def test_fields() -> None:
    """What the metadata says is read, and its exact bytes are kept."""
    raw = HEAD + "Summary: Dés\nRequires-Python: >=3.8\nRequires-Dist: a\nRequires-Dist: b\n\nText ☃\n".encode()
    metadata = parse(raw)
    assert (metadata.name, metadata.version, metadata.requires_python) == ("Demo.Pkg", "1.0", ">=3.8")
    assert (metadata.summary, metadata.raw) == ("Dés", raw)
    assert metadata.fields["requires_dist"] == ["a", "b"]
    assert metadata.fields["description"] == "Text ☃\n"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_line_ends(line_end: bytes) -> None:
    """Files made on other systems are read."""
    assert parse((HEAD + b"\nText").replace(b"\n", line_end)).version == "1.0"


def test_unknown_means_absent() -> None:
    """What old tools write for "not said" is absent."""
    metadata = parse(
        HEAD + b"Summary: UNKNOWN\nRequires-Python: UNKNOWN\nPlatform: UNKNOWN\nLicense:\nClassifier: x\nClassifier: \n"
    )
    assert (metadata.summary, metadata.requires_python) == ("", None)
    assert metadata.fields == {"metadata_version": "2.1", "name": "Demo.Pkg", "version": "1.0", "classifiers": ["x"]}


def test_leniency() -> None:
    """Newer versions, unknown fields, repeated fields and wrong bytes elsewhere do no harm."""
    metadata = parse(b"Metadata-Version: 9.0\nNew: x\nSummary: a\nSummary: b\nAuthor: \xff\n" + HEAD[22:])
    assert (metadata.name, metadata.summary) == ("Demo.Pkg", "")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", "Name"),
        (b"Version: 1.0\n", "Name"),
        (b"Name: demo\n", "Version"),
        (b"Name: demo\nName: evil\nVersion: 1.0\n", "Name"),
        (b"Name: demo\nVersion: 1.0\nversion: 2.0\n", "Version"),
        (b"Name: UNKNOWN\nVersion: 1.0\n", "Name"),
        (b"Name: \xff\nVersion: 1.0\n", "Name"),
        (b"\nName: demo\nVersion: 1.0\n", "Name"),
    ],
)
def test_name_and_version_are_needed(raw: bytes, field: str) -> None:
    """Without one name and one version it is nobody's metadata."""
    with pytest.raises(Invalid, match=field):
        parse(raw)


def test_length_limit() -> None:
    """Metadata may have 4 MiB."""
    raw = HEAD + b"\n"
    assert parse(raw + b"x" * (MAX_CORE_METADATA - len(raw))).version == "1.0"
    with pytest.raises(Invalid, match="4 MiB"):
        parse(raw + b"x" * (MAX_CORE_METADATA - len(raw) + 1))


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"".join(b"a%d:\n" % number for number in range(400_000)),
        HEAD + b"".join(b"a%d:\n" % number for number in range(19_000)),
        HEAD + b"a:\n" * 1_000_000,
        HEAD + b"Content-Type: message/rfc822\n\n" * 5_000,
        HEAD + b":\n" * 1_000_000,
        HEAD + b"Content-Type: message/rfc822\n\n" * 100_000,
        HEAD
        + b"Content-Type: multipart/mixed; boundary=b\n\n"
        + b"--b\nContent-Type: multipart/mixed; boundary=b\n\n" * 50_000,
        HEAD + b"Author: " + b"=?utf-8?b?4pi6?= " * 200_000,
        HEAD + b"Author: \xff" + b"=?utf-8?b?4pi6?= " * 200_000,
        HEAD + b"Content-Transfer-Encoding: base64\n\n" + b"=" * 4_000_000,
        HEAD + b"Content-Transfer-Encoding: x-uuencode\n\n" + b"begin 644 x\n" * 300_000,
        b"x" * 4_000_000,
        b" \n" * 2_000_000,
    ],
)
def test_hostile_metadata_costs_little(raw: bytes) -> None:
    """Metadata made to hurt is read or refused, soon."""
    started = time.process_time()
    try:
        parse(raw)
    except Invalid:
        pass
    # 3 s with nobody beside it.
    assert time.process_time() - started < 10


@given(st.binary(max_size=200))
def test_any_bytes(noise: bytes) -> None:
    """Whatever the bytes, there is metadata or the one error."""
    for raw in (noise, HEAD + noise, noise + HEAD):
        try:
            assert parse(raw).name
        except Invalid:
            continue


def said(version: str, *lines: str) -> bytes:
    """Core metadata of a version, with more fields."""
    return "\n".join([f"Metadata-Version: {version}", "Name: demo", "Version: 1.0", *lines, ""]).encode()


@pytest.mark.conforms("Core metadata", "Dynamic: an sdist's fields are as a wheel's will be unless it says otherwise")
@pytest.mark.parametrize(
    ("raw", "static"),
    [
        (said("2.2"), True),
        (said("2.6", "Requires-Dist: six", "Dynamic: Summary", "Dynamic: license-file", "Dynamic: Description"), True),
        (said("2.10"), True),
        (said("2.1"), False),
        (said("1.2"), False),
        (said("3.0"), False),
        (said("x"), False),
        (said("2.2", "Metadata-Version: 2.2"), False),
        (b"Name: demo\nVersion: 1.0\n", False),
        (said("2.2", "Dynamic: Requires-Dist"), False),
        (said("2.2", "Dynamic: summary", "Dynamic:  requires-dist "), False),
        (said("2.6", "Dynamic: REQUIRES-PYTHON"), False),
        (said("2.4", "Dynamic: Provides-Extra"), False),
        (said("2.4", "Dynamic: Version"), False),
    ],
)
def test_static_metadata(raw: bytes, static: bool) -> None:
    """What an sdist needs is known before it is built if it says so, and only then."""
    assert is_static(parse(raw)) is static


@pytest.mark.conforms("Core metadata", "Metadata-Version: a later minor version is taken, a later major one refused")
@pytest.mark.parametrize(
    "version", ["1.0", "1.1", "1.2", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "odd"]
)
def test_metadata_versions(version: str) -> None:
    """Every version there is can be published, and the next ones of the kind."""
    check_version(parse(said(version)))
    check_version(parse(b"Name: demo\nVersion: 1.0\n"))
    with pytest.raises(Invalid, match=r"of version 3\.1, and what that means is not known"):
        check_version(parse(said("3.1")))
