"""
One small file out of a C{.tar.gz}, read as a stream to its very end.

C{tarfile} reads extended headers and sparse maps whole into memory, as large as the archive says they are; here every
header is bounded, and what a source distribution has no use for is refused.

Source: POSIX.1-2017, pax, "pax Interchange Format"; the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
import tarfile
import zlib
from typing import BinaryIO

from attrs import define, field

from cheddar.errors import Invalid

MAX_MEMBERS = 100_000
MAX_EXTENDED_HEADER = 1024 * 1024
#: A bomb grows more than this many times, beyond that many bytes; nothing may grow beyond the last.
MAX_RATIO = 50
RATIO_MATTERS_ABOVE = 64 * 1024 * 1024
MAX_INFLATED = 8 * 1024**3

_BLOCK = 512
_CHUNK = 64 * 1024
# Small: what is left of it is copied with every read.
_PACKED_CHUNK = 16 * 1024
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
# Members that have no bytes of their own, whatever size they claim.
_WITHOUT_BYTES = (
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
)
_RECORD_LENGTH = re.compile(rb"(\d{1,9}) ")


def read_one(file: BinaryIO, filename: str, basename: str, limit: int) -> bytes:
    """
    Read the file C{basename} that lies in a folder at the top of the archive.

    The whole archive is read, its checksum at the end among it.

    @param file: seekable.
    @param filename: of the archive, for messages.
    @param limit: the most bytes that the file may have.
    @raise Invalid: there is no such file, or more than one; the archive is broken, ambiguous, or a bomb.
    """
    length = file.seek(0, 2)
    file.seek(0)
    try:
        return _Walk(_Inflater(file, _most_inflated(length)), filename, basename, limit).run()
    except (zlib.error, tarfile.TarError, ValueError, OverflowError) as error:
        raise Invalid(f"{filename} is not a whole .tar.gz archive: {error}. Build it again.") from error


def _most_inflated(length: int) -> int:
    return min(MAX_INFLATED, max(RATIO_MATTERS_ABOVE, MAX_RATIO * length))


@define(eq=False)
class _Inflater:
    """
    The bytes behind one gzip member, its checksum and length compared at its end.

    Several members one after the other are refused: some readers take all of them, and some the first.
    """

    _file: BinaryIO
    _most: int
    _given: int = 0
    _waiting: bytes = b""
    # The highest window size, in a gzip wrapper.
    _zlib: zlib._Decompress = field(factory=lambda: zlib.decompressobj(16 + zlib.MAX_WBITS))

    def read(self, size: int) -> bytes:
        """Exactly C{size} bytes, or fewer at the end."""
        pieces = []
        while size and not self._zlib.eof:
            packed = self._waiting or self._file.read(_PACKED_CHUNK)
            data = self._zlib.decompress(packed, size)
            self._waiting = self._zlib.unconsumed_tail
            if not packed and not data and not self._zlib.eof:
                raise ValueError("it ends too early")
            self._given += len(data)
            if self._given > self._most:
                raise ValueError(f"it unpacks to more than {self._most} bytes, out of proportion to its size")
            pieces.append(data)
            size -= len(data)
        if self._zlib.eof:
            self._check_rest()
        return b"".join(pieces)

    def _check_rest(self) -> None:
        rest = self._zlib.unused_data or self._file.read(_CHUNK)
        while rest:
            if rest.count(0) < len(rest):
                raise ValueError("something stands behind its end")
            rest = self._file.read(_CHUNK)


@define(eq=False)
class _Walk:
    """One way through an archive, from header to header."""

    _stream: _Inflater
    _filename: str
    _basename: str
    _limit: int
    _extended: dict[str, str] = field(factory=dict)
    _found: dict[str, bytes] = field(factory=dict)

    def run(self) -> bytes:
        members = 0
        while (block := self._stream.read(_BLOCK)) and block.count(0) < _BLOCK:
            if len(block) < _BLOCK:
                raise self._wrong("it ends within a header")
            # Extended headers count as well: a chain of them is work without end.
            members += 1
            if members > MAX_MEMBERS:
                raise self._wrong(f"it has more than {MAX_MEMBERS} members")
            self._member(tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape"))
        while rest := self._stream.read(_CHUNK):
            if rest.count(0) < len(rest):
                raise self._wrong("something stands behind its end")
        if len(self._found) != 1:
            what = "no" if not self._found else "more than one"
            raise self._wrong(f"it has {what} {self._basename} in a folder at its top")
        return next(iter(self._found.values()))

    def _member(self, member: tarfile.TarInfo) -> None:
        if member.size < 0:
            raise self._wrong("a size is negative")
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise self._wrong("it has a sparse file")
        if member.type in _PAX:
            self._extended.update(self._pax_records(self._data(member.size, MAX_EXTENDED_HEADER)))
        elif member.type == tarfile.XGLTYPE:
            if {"path", "size", "linkpath"} & self._pax_records(self._data(member.size, MAX_EXTENDED_HEADER)).keys():
                raise self._wrong("a global header renames or resizes its members")
        elif member.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            text = self._data(member.size, MAX_EXTENDED_HEADER).rstrip(b"\0").decode("utf-8", "surrogateescape")
            self._extended["path" if member.type == tarfile.GNUTYPE_LONGNAME else "linkpath"] = text
        else:
            extended, self._extended = self._extended, {}
            self._file(member, extended.get("path", member.name), self._size(member, extended))

    def _size(self, member: tarfile.TarInfo, extended: dict[str, str]) -> int:
        text = extended.get("size")
        if text is None:
            return member.size
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_INFLATED))):
            raise self._wrong("a size is not a number")
        return int(text)

    def _file(self, member: tarfile.TarInfo, path: str, size: int) -> None:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if "\0" in path or path.startswith("/") or ".." in parts:
            raise self._wrong(f"the path {path[:100]!r} is not allowed")
        if parts[1:] == [self._basename]:
            if member.type not in _REGULAR:
                raise self._wrong(f"{path[:100]!r} is not a regular file")
            if parts[0] in self._found:
                raise self._wrong(f"{path[:100]!r} is there twice")
            self._found[parts[0]] = self._data(size, self._limit)
        elif member.type not in _WITHOUT_BYTES:
            self._skip(size)

    def _data(self, size: int, limit: int) -> bytes:
        if size > limit:
            raise self._wrong(f"a part of it that may have {limit} bytes has {size}")
        data = self._stream.read(size)
        if len(data) < size or len(self._stream.read(-size % _BLOCK)) < -size % _BLOCK:
            raise self._wrong("it ends within a file")
        return data

    def _skip(self, size: int) -> None:
        left = size + -size % _BLOCK
        while left:
            data = self._stream.read(min(left, _CHUNK))
            if not data:
                raise self._wrong("it ends within a file")
            left -= len(data)

    def _pax_records(self, data: bytes) -> dict[str, str]:
        records = {}
        position = 0
        while position < len(data) and data[position]:
            match = _RECORD_LENGTH.match(data, position)
            end = position + int(match.group(1)) if match else 0
            if match is None or end <= match.end() or end > len(data) or data[end - 1 : end] != b"\n":
                raise self._wrong("an extended header cannot be read")
            key, equals, value = data[match.end() : end - 1].partition(b"=")
            if not equals:
                raise self._wrong("an extended header cannot be read")
            if key.startswith(b"GNU.sparse."):
                raise self._wrong("it has a sparse file")
            records[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
            position = end
        return records

    def _wrong(self, what: str) -> Invalid:
        return Invalid(f"{self._filename} is not an archive that can be taken: {what}. Build it again.")
