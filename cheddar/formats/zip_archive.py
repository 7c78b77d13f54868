"""
ZIP archives that mean the same to every reader, and single files out of them.

Readers differ: some trust the directory at the end, some the headers in between, some take what stands before or
behind. An archive on which they could differ is refused, as is one that would grow beyond measure. Nothing is
extracted. C{zipfile} takes what is asked about here on trust, and holds a directory of any size in memory.

Source: APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Protocol

from attrs import frozen

from cheddar.errors import Invalid

MAX_ENTRIES = 100_000
MAX_DIRECTORY = 16 * 1024 * 1024
#: A bomb grows more than this many times, beyond that many bytes.
MAX_RATIO = 50
RATIO_MATTERS_ABOVE = 64 * 1024 * 1024

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_MAX_COMMENT = 0xFFFF
_FULL32 = 0xFFFFFFFF
_FULL16 = 0xFFFF

_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_SIZES_BEHIND = 0x0008
_STORED, _DEFLATED = 0, 8
#: Sizes behind the bytes: with and without signature, in 4 or 8 bytes each.
_DESCRIPTOR_LENGTHS = (12, 16, 20, 24)
_FIRST_PRINTABLE, _DELETE = 0x20, 0x7F
#: By how much deflating may at worst make a small file larger.
_BLOCK_OVERHEAD = 64 * 1024


class Readable(Protocol):
    """What is asked of a file here."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As of L{io.IOBase}."""

    def read(self, size: int = -1, /) -> bytes:
        """As of L{io.RawIOBase}."""


@frozen
class Entry:
    """
    A file in an archive.

    @ivar name: its path, undecoded.
    @ivar offset: of its local header, from the start of the archive.
    @ivar packed: bytes in the archive.
    @ivar size: bytes when unpacked, by the directory's word.
    """

    name: bytes
    offset: int
    packed: int
    size: int
    crc: int
    method: int
    flags: int


@frozen
class Directory:
    """
    Where an archive's directory is.

    @ivar start: its first byte's position.
    @ivar end: the position behind its last byte.
    @ivar entries: how many files it lists.
    """

    start: int
    end: int
    entries: int


def check(file: Readable, filename: str) -> dict[bytes, Entry]:
    """
    Check an archive's framing.

    @param file: seekable.
    @param filename: for messages.
    @return: its files by their paths, undecoded.
    @raise Invalid: it is not a ZIP archive, is broken, ambiguous, encrypted, or a bomb.
    """
    try:
        length = file.seek(0, 2)
        directory = find_directory(file, filename, length)
        entries = list_entries(file, filename, length, directory)
        _check_places(file, filename, entries, directory)
        return entries
    except (struct.error, OverflowError) as error:
        raise _broken(filename, "it ends too early") from error


def find_directory(
    file: Readable, filename: str, length: int, longest_tail: int = _END.size + _MAX_COMMENT
) -> Directory:
    """
    Find an archive's directory.

    @param length: of the file, in bytes.
    @param longest_tail: how many bytes at the end to look for the end record in.
    @raise Invalid: there is none, or none that can be taken.
    @raise struct.error: the file ends too early.
    """
    tail_start = max(0, length - longest_tail)
    file.seek(tail_start)
    tail = file.read(longest_tail)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise _broken(filename, "it has no directory at its end")
    _, disk, first_disk, here, entries, size, start, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        raise _broken(filename, "something stands behind its end")
    end = tail_start + at
    if _FULL16 in (here, entries) or _FULL32 in (size, start):
        end, here, entries, size, start = _find_directory64(file, filename, end)
    if disk or first_disk or here != entries:
        raise _broken(filename, "it is one part of several")
    if entries > MAX_ENTRIES or size > MAX_DIRECTORY:
        raise _broken(filename, f"it has more than {MAX_ENTRIES} files, or a directory over {MAX_DIRECTORY} bytes")
    if start + size != end:
        raise _broken(filename, "something stands before its start, or before its end")
    return Directory(start, end, entries)


def list_entries(file: Readable, filename: str, length: int, directory: Directory) -> dict[bytes, Entry]:
    """
    The files of an archive by its directory alone, by their paths, undecoded: whether they are where it says is not
    looked at.

    @param length: of the file, in bytes.
    @raise Invalid: the directory cannot be taken.
    @raise struct.error: the file ends too early.
    """
    entries: dict[bytes, Entry] = {}
    unpacked = 0
    for entry in _entries(file, filename, directory):
        _check_entry(entry, filename)
        if entry.name in entries or len(entries) == directory.entries:
            raise _broken(filename, f"{entry.name[:100]!r} is listed twice, or the number of entries is wrong")
        unpacked += entry.size
        entries[entry.name] = entry
    if len(entries) != directory.entries or not entries:
        raise _broken(filename, "it is empty, or the number of entries is wrong")
    if unpacked > RATIO_MATTERS_ABOVE and unpacked > MAX_RATIO * length:
        raise _broken(filename, f"it unpacks to {unpacked} bytes, more than {MAX_RATIO} times its own size")
    return entries


def check_header(file: Readable, filename: str, entry: Entry) -> tuple[int, ...]:
    """
    Compare the header in front of a file's bytes with the directory.

    @return: where the next file, or the directory, may begin.
    @raise Invalid: they differ.
    @raise struct.error: the archive ends too early.
    """
    file.seek(entry.offset)
    header = file.read(_LOCAL.size + len(entry.name))
    signature, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack_from(header)
    same = (
        signature == b"PK\x03\x04"
        and header[_LOCAL.size :] == entry.name
        and name_length == len(entry.name)
        and method == entry.method
        and flags == entry.flags
    )
    if not flags & _SIZES_BEHIND:
        same = same and crc == entry.crc and packed in (entry.packed, _FULL32) and size in (entry.size, _FULL32)
    if not same:
        raise _broken(filename, f"its directory and the header of {entry.name[:100]!r} differ")
    end = entry.offset + _LOCAL.size + name_length + extra_length + entry.packed
    if flags & _SIZES_BEHIND:
        return tuple(end + length for length in _DESCRIPTOR_LENGTHS)
    return (end,)


def read(file: Readable, filename: str, entry: Entry, limit: int) -> bytes:
    """
    The bytes of one file of a checked archive.

    @param limit: the most bytes that it may have.
    @raise Invalid: it has more, or other bytes than the archive's directory says.
    """
    shown = repr(entry.name[:100])
    if entry.size > limit or entry.packed > limit + _BLOCK_OVERHEAD:
        raise _broken(filename, f"{shown} has more than {limit} bytes")
    file.seek(entry.offset)
    *_, name_length, extra_length = _LOCAL.unpack(file.read(_LOCAL.size))
    file.seek(name_length + extra_length, 1)
    data = file.read(entry.packed)
    if entry.method == _DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflater.decompress(data, entry.size + 1)
        except zlib.error as error:
            raise _broken(filename, f"{shown} cannot be unpacked") from error
        if not inflater.eof or inflater.unused_data:
            raise _broken(filename, f"{shown} does not end where it should")
    if len(data) != entry.size or zlib.crc32(data) != entry.crc:
        raise _broken(filename, f"{shown} is damaged")
    return data


def _broken(filename: str, what: str) -> Invalid:
    return Invalid(f"{filename} is not a ZIP archive that can be taken: {what}. Build it again.")


def _find_directory64(file: Readable, filename: str, end: int) -> tuple[int, int, int, int, int]:
    locator_start = end - _LOCATOR64.size
    record_start = locator_start - _END64.size
    if record_start < 0:
        raise _broken(filename, "its ZIP64 directory is missing")
    file.seek(record_start)
    record = file.read(_END64.size + _LOCATOR64.size)
    signature, length, _, _, disk, first_disk, here, entries, size, start = _END64.unpack_from(record)
    locator, locator_disk, located, disks = _LOCATOR64.unpack_from(record, _END64.size)
    if signature != b"PK\x06\x06" or locator != b"PK\x06\x07" or located != record_start or length != _END64.size - 12:
        raise _broken(filename, "its ZIP64 directory is not where it should be")
    if disk or first_disk or locator_disk or disks > 1:
        raise _broken(filename, "it is one part of several")
    return record_start, here, entries, size, start


def _entries(file: Readable, filename: str, directory: Directory) -> Iterator[Entry]:
    file.seek(directory.start)
    data = file.read(directory.end - directory.start)
    position = 0
    while position < len(data):
        signature, *numbers = _CENTRAL.unpack_from(data, position)
        _, _, flags, method, _, _, crc, packed, size = numbers[:9]
        name_length, extra_length, comment_length, disk, _, _, offset = numbers[9:]
        name_start = position + _CENTRAL.size
        extra_start = name_start + name_length
        position = extra_start + extra_length + comment_length
        if signature != b"PK\x01\x02" or position > len(data) or disk not in (0, _FULL16):
            raise _broken(filename, "its directory cannot be read")
        extra = data[extra_start : extra_start + extra_length]
        size, packed, offset = _widened(filename, extra, size, packed, offset)
        yield Entry(data[name_start:extra_start], offset, packed, size, crc, method, flags)


def _widened(filename: str, extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset, from the ZIP64 extra field where they do not fit their places (section 4.5.3)."""
    wide: bytes | None = None
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == 1:
            if wide is not None:
                raise _broken(filename, "an entry has two ZIP64 fields")
            wide = extra[position + 4 : position + 4 + length]
        position += 4 + length
    values = []
    used = 0
    for value in (size, packed, offset):
        if value == _FULL32:
            if wide is None or len(wide) < used + 8:
                raise _broken(filename, "an entry's ZIP64 field is missing")
            value = struct.unpack_from("<Q", wide, used)[0]
            used += 8
        values.append(value)
    return values[0], values[1], values[2]


def _check_places(file: Readable, filename: str, entries: dict[bytes, Entry], directory: Directory) -> None:
    # Each file must begin where the one before it ends: nothing hidden in between, nothing used twice.
    ends: tuple[int, ...] = (0,)
    for entry in sorted(entries.values(), key=lambda entry: entry.offset):
        if entry.offset not in ends:
            raise _broken(filename, f"something stands before {entry.name[:100]!r}, or overlaps it")
        ends = check_header(file, filename, entry)
    if directory.start not in ends:
        raise _broken(filename, "something stands before its directory, or overlaps it")


def _check_entry(entry: Entry, filename: str) -> None:
    shown = repr(entry.name[:100])
    if entry.flags & _ENCRYPTED:
        raise _broken(filename, f"{shown} is encrypted")
    if entry.method not in (_STORED, _DEFLATED) or (entry.method == _STORED and entry.packed != entry.size):
        raise _broken(filename, f"{shown} is compressed in a way that installers need not know")
    parts = entry.name.split(b"/")
    if (
        not entry.name
        or min(entry.name) < _FIRST_PRINTABLE
        or _DELETE in entry.name
        or b"\\" in entry.name
        or parts[0] == b""
        or b".." in parts
        or parts[0].endswith(b":")
    ):
        raise _broken(filename, f"the path {shown} is not allowed")
