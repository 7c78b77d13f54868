"""METADATA out of parts of a wheel: little is asked for, and nothing that a hostile wheel says is followed far."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheddar.errors import Invalid
from cheddar.formats.byte_ranges import Span
from cheddar.formats.core_metadata import MAX_CORE_METADATA
from cheddar.formats.zip_directory import MAX_DIRECTORY, TAIL, Parts, next_step, read_wheel_metadata
from tests.support.distributions import core_metadata_of, make_wheel

WHEEL = "flask-1.0-py3-none-any.whl"
INFO = "flask-1.0.dist-info"
METADATA = b"Metadata-Version: 2.1\nName: flask\nVersion: 1.0\n\nMade for a test.\n"
#: What no wheel, however hostile, makes Cheddar ask for at a time.
MOST = 2 * MAX_DIRECTORY


def read_in_parts(data: bytes, filename: str = WHEEL, steps: int = 3) -> tuple[bytes, list[Span]]:
    """Read as from a server: the end first, then what is asked for."""
    parts = Parts(len(data))
    first = max(0, len(data) - TAIL)
    parts.add(first, data[first:])
    asked: list[Span] = []
    for _ in range(steps):
        step = next_step(parts, filename)
        if not isinstance(step, Span):
            return step.raw, asked
        assert 0 <= step.first <= step.last < len(data)
        assert step.length <= MOST
        asked.append(step)
        parts.add(step.first, data[step.first : step.last + 1])
    raise AssertionError(f"asked for {asked}")


def archive(members: Iterable[tuple[str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as written:
        for path, content in members:
            written.writestr(zipfile.ZipInfo(path), content, compression)
    return buffer.getvalue()


def patched(data: bytes, path: str, field: int, layout: str, value: int, local: bool = False) -> bytes:
    """A field of the directory's entry (or the local header) of a member, at an offset in it, set to a value."""
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        start = opened.getinfo(path).header_offset
        if not local:
            start = data.rindex(path.encode()) - 46
    assert data[start : start + 4] == (b"PK\x03\x04" if local else b"PK\x01\x02")
    changed = bytearray(data)
    struct.pack_into(layout, changed, start + field, value)
    return bytes(changed)


def test_a_small_wheel_needs_nothing_more() -> None:
    """The end of a wheel mostly has all that is needed."""
    for size in (0, 10_000, 3_000_000):
        filename, data = make_wheel("flask", "1.0", size=size)
        assert read_in_parts(data, filename) == (core_metadata_of(data), [])


def test_metadata_at_the_start() -> None:
    """METADATA that is far from the end costs one more part, of its own size."""
    data = archive([(f"{INFO}/METADATA", METADATA), ("flask/big.bin", bytes(100_000))], zipfile.ZIP_STORED)
    raw, (span,) = read_in_parts(data)
    assert raw == METADATA
    assert (span.first, span.length) == (0, 30 + len(f"{INFO}/METADATA") + len(METADATA))


@pytest.mark.parametrize("at_end", [True, False])
def test_a_long_directory(at_end: bool) -> None:
    """The rest of a long directory is one part, METADATA before it comes with that, elsewhere it is another."""
    modules = [(f"flask/module_{number:05}.py", b"") for number in range(4000)]
    metadata = [(f"{INFO}/METADATA", METADATA)]
    big = [("flask/big.bin", bytes(1_000_000))]
    members = [*big, *modules, *metadata] if at_end else [*metadata, *big, *modules]
    data = archive(members, zipfile.ZIP_STORED)
    raw, asked = read_in_parts(data)
    assert raw == METADATA
    assert len(asked) == (1 if at_end else 2)
    assert sum(span.length for span in asked) < 600_000


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_parts_and_the_whole_say_the_same(compression: int) -> None:
    """From a wheel that is here the same METADATA is read as from parts of it, in whatever way it is written."""
    streamed = io.BytesIO()
    with zipfile.ZipFile(_Unseekable(streamed), "w", compression) as written:  # sizes behind the bytes
        written.writestr("flask/big.bin", bytes(range(256)) * 400)
        written.writestr(f"{INFO}/METADATA", METADATA)
        written.writestr("flask/other.bin", bytes(range(256)) * 400)
    large = io.BytesIO()
    with zipfile.ZipFile(large, "w", compression) as written, written.open("flask/a", "w", force_zip64=True) as member:
        member.write(b"a")
    with zipfile.ZipFile(large, "a", compression) as written:
        written.writestr(f"{INFO}/METADATA", METADATA)
    for data in (streamed.getvalue(), large.getvalue()):
        assert read_wheel_metadata(io.BytesIO(data), len(data), WHEEL).raw == METADATA
        assert read_in_parts(data)[0] == METADATA


class _Unseekable(io.RawIOBase):
    """As a pipe is."""

    def __init__(self, inner: io.BytesIO) -> None:
        self._inner = inner

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # zipfile writes bytes alone
        return self._inner.write(data)


GOOD = archive([("flask/a.py", b"a = 1\n"), (f"{INFO}/METADATA", METADATA), ("flask/b.py", b"b = 2\n")])
PATH = f"{INFO}/METADATA"
STORED = archive([("flask/a.py", b"a = 1\n"), (PATH, METADATA), ("flask/b.py", b"b = 2\n")], zipfile.ZIP_STORED)
END = len(GOOD) - 22


def _end(field: int, layout: str, value: int) -> bytes:
    changed = bytearray(GOOD)
    struct.pack_into(layout, changed, END + field, value)
    return bytes(changed)


def _shortened() -> bytes:
    """METADATA that both headers end early, with the right checksum: five bytes follow that belong to no file."""
    less = METADATA[:-5]
    changed = STORED
    for local, crc, size in ((False, 16, 20), (True, 14, 18)):
        changed = patched(changed, PATH, crc, "<I", zlib.crc32(less), local)
        changed = patched(changed, PATH, size, "<I", len(less), local)
        changed = patched(changed, PATH, size + 4, "<I", len(less), local)
    return changed


BIG = bytes(range(256)) * 36_864
FAR = archive([(PATH, METADATA), ("flask/big.bin", BIG), ("flask/b.py", b"")], zipfile.ZIP_STORED)

HOSTILE = {
    "empty": b"",
    "text": b"<!DOCTYPE html>\n" * 10_000,
    "end record alone": GOOD[END:],
    "cut": GOOD[:-5],
    "a directory of 4 GiB": _end(12, "<I", 0xFFFFFFFE),
    "a directory before the start": _end(16, "<I", 0xFFFFFFF0),
    "a directory over the limit": archive([(f"{number:01000}", b"") for number in range(MAX_DIRECTORY // 1000)]),
    "too many files announced": _end(10, "<H", 60_000),
    "ZIP64 announced, and none there": _end(10, "<H", 0xFFFF),
    "a multi-part archive": _end(4, "<H", 1),
    "no METADATA": archive([("flask/a.py", b""), (f"{INFO}/WHEEL", b"")]),
    "another project's METADATA": archive([("django-1.0.dist-info/METADATA", METADATA)]),
    "two folders": archive([(PATH, METADATA), ("flask-2.0.dist-info/METADATA", METADATA)]),
    "METADATA that is none": archive([(PATH, b"\x00\xff")]),
    "METADATA behind the directory": patched(GOOD, PATH, 42, "<I", len(GOOD) - 30),
    "METADATA beyond the end": patched(GOOD, PATH, 42, "<I", 0xFFFFFFF0),
    "METADATA at another file's place": patched(GOOD, PATH, 42, "<I", 0),
    "METADATA of 4 GiB": patched(patched(STORED, PATH, 20, "<I", 0xFFFFFFF0), PATH, 24, "<I", 0xFFFFFFF0),
    "METADATA over its neighbour": patched(patched(STORED, PATH, 20, "<I", 130), PATH, 24, "<I", 130),
    "a bomb": archive([(PATH, METADATA + bytes(MAX_CORE_METADATA))]),
    "a bomb that lies": patched(archive([(PATH, METADATA + bytes(10_000_000))]), PATH, 24, "<I", 100),
    "METADATA of 9 MB": archive([(PATH, METADATA + BIG), ("flask/big.bin", bytes(100_000))], zipfile.ZIP_STORED),
    "9 MB of nothing behind METADATA": patched(FAR, "flask/big.bin", 42, "<I", 0),
    "something between METADATA and its neighbour": _shortened(),
    "encrypted": patched(GOOD, PATH, 8, "<H", 1),
    "compressed in another way": archive([(PATH, METADATA)], zipfile.ZIP_BZIP2),
    "another checksum": patched(patched(GOOD, PATH, 16, "<I", 7), PATH, 14, "<I", 7, local=True),
    "a header of another method": patched(GOOD, PATH, 8, "<H", 0, local=True),
    "a header of a longer name": patched(GOOD, PATH, 26, "<H", 60_000, local=True),
    "a header with extra fields": patched(GOOD, PATH, 28, "<H", 60_000, local=True),
    "a member that leads out": archive([("../METADATA", METADATA), (PATH, METADATA)]),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_wheels(data: bytes) -> None:
    """What cannot be taken is refused with a reason, not followed."""
    assert read_in_parts(GOOD) == (METADATA, [])
    with pytest.raises(Invalid, match=WHEEL.replace(".", r"\.") + "|core metadata"):
        read_in_parts(data)


def test_a_long_directory_is_not_asked_for() -> None:
    """What is too long is refused before a byte of it is asked for."""
    data = HOSTILE["a directory over the limit"]
    parts = Parts(len(data))
    parts.add(len(data) - TAIL, data[-TAIL:])
    with pytest.raises(Invalid, match="directory"):
        next_step(parts, WHEEL)


LONG = archive([(PATH, METADATA), *((f"flask/module_{number:05}.py", b"pass\n" * 40) for number in range(700))])


@given(st.data())
def test_any_damage(data: st.DataObject) -> None:
    """However a wheel is damaged: its METADATA, or a refusal, in three bounded parts at most."""
    broken = bytearray(data.draw(st.sampled_from([GOOD, STORED, LONG])))
    # Most of what matters is near the end.
    near_end = st.integers(max(0, len(broken) - 500), len(broken) - 1)
    for position in data.draw(st.lists(st.integers(0, len(broken) - 1) | near_end, min_size=1, max_size=6)):
        broken[position] = data.draw(st.sampled_from([0, 1, 0x50, 0x7F, 0xFF]))
    try:
        raw, _ = read_in_parts(bytes(broken))
    except Invalid:
        return
    assert raw == METADATA


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 199), st.integers(1, 80)), max_size=6), st.data())
def test_parts_read_like_the_file(content: bytes, held: list[tuple[int, int]], data: st.DataObject) -> None:
    """What is here reads as in the file; what is not is named, and once it is added the reading goes on."""
    parts = Parts(len(content))
    for first, length in held:
        if first < len(content):
            parts.add(first, content[first : first + length])
    offset = data.draw(st.integers(0, 220))
    size = data.draw(st.integers(-1, 220))
    file = io.BytesIO(content)
    file.seek(offset)
    wanted = file.read(size)

    def read() -> bytes:
        parts.seek(offset)
        return parts.read(size)

    assert _filled(parts, content, read) == wanted


def _filled(parts: Parts, content: bytes, read: Callable[[], bytes]) -> bytes:
    for _ in range(20):
        try:
            return read()
        except Exception as missing:  # noqa: BLE001  # the module keeps its name to itself
            first, last = missing.args
            assert 0 <= first <= last < len(content)
            parts.add(first, content[first : last + 1])
    raise AssertionError("the same is missing again and again")
