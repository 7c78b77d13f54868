"""
A wheel's METADATA out of parts of the wheel: the directory at its end says where it is.

A wheel of which only parts are here cannot be checked as one that was uploaded is: its other files' headers are not
looked at. What is looked at is bounded, and read by the same rules (L{cheddar.formats.zip_archive}).

All of this is work for a thread where it can be much: a directory may have tens of thousands of entries.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from cheddar.errors import Invalid
from cheddar.formats import archives, core_metadata, zip_archive
from cheddar.formats.byte_ranges import Span
from cheddar.model import CoreMetadata

#: Bytes of the end to begin with: the end record, and the directory of some 500 files; METADATA is often before it.
#: Of 800 wheels of all sizes that people install, four in five need no more, and all but 21 one other part.
TAIL = 64 * 1024
#: The longest directory that is asked for: more than forty thousand files.
MAX_DIRECTORY = 4 * 1024 * 1024
#: What a header may have besides the name: its fields, and extra ones that the directory does not tell of.
_HEADER_ROOM = 30 + 1024
#: What may stand behind a file's bytes: sizes, with a signature.
_DESCRIPTOR_ROOM = 24


class _NotHere(Exception):
    def __init__(self, first: int, last: int) -> None:
        super().__init__(first, last)
        self.first = first
        self.last = last


class Parts:
    """A file of which some parts are here. It is read like any file; reading what is not here fails."""

    def __init__(self, length: int) -> None:
        """@param length: of the whole file, in bytes."""
        self.length = length
        self._parts: dict[int, bytes] = {}
        self._position = 0

    def add(self, first: int, data: bytes) -> None:
        """Here is a part: its first byte's position, and the bytes."""
        self._parts[first] = data

    def whole(self) -> bytes | None:
        """The file, where all of it came in one part."""
        data = self._parts.get(0)
        return data if data is not None and len(data) == self.length else None

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """See L{zip_archive.Readable}."""
        self._position = max(0, offset + (0, self._position, self.length)[whence])
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """See L{zip_archive.Readable}."""
        end = self.length if size < 0 else min(self.length, self._position + size)
        pieces = []
        while self._position < end:
            piece = self._piece(self._position, end)
            pieces.append(piece)
            self._position += len(piece)
        return b"".join(pieces)

    def _piece(self, start: int, end: int) -> bytes:
        missing_until = end
        for first, data in self._parts.items():
            if first <= start < first + len(data):
                return data[start - first : end - first]
            if start < first:
                missing_until = min(missing_until, first)
        raise _NotHere(start, missing_until - 1)


def next_step(parts: Parts, filename: str) -> CoreMetadata | Span:
    """
    Read the METADATA of a wheel of which some parts are here, its end among them.

    @param filename: the wheel's.
    @return: the core metadata; or the part of the file that is needed for it, and is not here.
    @raise Invalid: there is none that can be taken, whatever else came.
    """
    try:
        return read_wheel_metadata(parts, parts.length, filename)
    except _NotHere as missing:
        return Span(missing.first, missing.last)


def read_wheel_metadata(file: zip_archive.Readable, length: int, filename: str) -> CoreMetadata:
    """
    Read the METADATA of a wheel without looking at its other files.

    @param length: of the file, in bytes.
    @param filename: the wheel's.
    @raise Invalid: there is none that can be taken.
    """
    try:
        directory = zip_archive.find_directory(file, filename, length, TAIL)
        if directory.end - directory.start > MAX_DIRECTORY:
            raise Invalid(f"{filename} has a directory of more than {MAX_DIRECTORY} bytes.")
        try:
            entries = zip_archive.list_entries(file, filename, length, directory)
        except _NotHere as missing:
            # What stands before it comes with it: mostly METADATA, since builders are asked to put that at the end
            # (PEP 427), and RECORD, which is as long as the directory and does not compress as well.
            before = 16 * 1024 + (directory.end - directory.start) * 3 // 4
            raise _NotHere(max(0, missing.first - before), missing.last) from None
        return core_metadata.parse(_read_entry(file, filename, entries, directory))
    except (struct.error, OverflowError) as error:
        raise Invalid(f"{filename} ends too early to be a wheel.") from error


def _read_entry(
    file: zip_archive.Readable,
    filename: str,
    entries: Mapping[bytes, zip_archive.Entry],
    directory: zip_archive.Directory,
) -> bytes:
    entry = archives.metadata_entry(entries, filename)
    if max(entry.size, entry.packed) > core_metadata.MAX_CORE_METADATA:
        raise Invalid(f"The METADATA of {filename} is longer than {core_metadata.MAX_CORE_METADATA} bytes.")
    # Up to where the next file begins: how long this one's header is, is not known before it is here.
    behind = (other.offset for other in entries.values() if other.offset > entry.offset)
    end = min(behind, default=directory.start)
    room = entry.offset + _HEADER_ROOM + len(entry.name) + entry.packed + _DESCRIPTOR_ROOM
    if not entry.offset < end <= min(directory.start, room):
        raise Invalid(f"{filename} is not a wheel that can be taken: its METADATA is not where a file may be.")
    # All of it at once, where it is not here: not the header first, and then the bytes.
    file.seek(entry.offset)
    file.read(end - entry.offset)
    if end not in zip_archive.check_header(file, filename, entry):
        raise Invalid(f"{filename} is not a wheel that can be taken: its METADATA overlaps something.")
    return zip_archive.read(file, filename, entry, core_metadata.MAX_CORE_METADATA)
