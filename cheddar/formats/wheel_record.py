"""
A wheel's RECORD against what the wheel holds.

Names are compared, digests are not: the digest of the whole wheel was compared with what its sender says, RECORD comes
out of the same archive and proves no more, and no installer that people use looks at its digests. To compare them,
every upload would have to be unpacked whole.

Source: binary distribution format, "The .dist-info directory" (PEP 427); recording installed projects, "The RECORD
file".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from cheddar.errors import Invalid

#: Bytes; a wheel of sixteen thousand files, among the largest there are, has one of 2 MiB.
MAX_RECORD = 16 * 1024 * 1024
#: As many as a directory may list, and as many again for lines that are there twice.
MAX_LINES = 200_000
# A path may have some; a line of commas alone would cost a hundred times its own size.
_MAX_COMMAS = 5 * MAX_LINES

_FIELDS = 3
_SHOWN = 100


def check(record: bytes, members: Iterable[bytes], folder: bytes, filename: str) -> None:
    """
    Compare the two.

    RECORD itself and its signatures may be unlisted, folders are nobody's business, and a line may be there twice. A
    path from the root or with backslashes means what installers take it for, the member of that name: real wheels have
    been built with such.

    @param record: the RECORD.
    @param members: the paths of all that the archive holds, undecoded.
    @param folder: the C{.dist-info} folder.
    @param filename: the wheel's, for messages.
    @raise Invalid: RECORD cannot be read, or names other files than the archive holds.
    """
    held = {_decode(name) for name in members if not name.endswith(b"/")}
    listed: dict[str, list[str]] = {}
    for path, *claims in _rows(record, filename):
        if listed.setdefault(path, claims) != claims:
            raise _wrong(filename, f"its RECORD says two things of {_show(path)}")
    itself = _decode(folder) + "/RECORD"
    unlisted = held - listed.keys() - {itself, f"{itself}.jws", f"{itself}.p7s"}
    if unlisted:
        raise _wrong(filename, f"it holds {_name(unlisted)}, which its RECORD does not name")
    absent = listed.keys() - held
    if absent:
        raise _wrong(filename, f"its RECORD names {_name(absent)}, which it does not hold")


def _rows(record: bytes, filename: str) -> Iterator[list[str]]:
    """The lines that name files, paths with slashes, from the archive's top."""
    if max(record.count(b"\n"), record.count(b"\r")) > MAX_LINES or record.count(b",") > _MAX_COMMAS:
        raise _wrong(filename, f"its RECORD has more than {MAX_LINES} lines, or too many fields")
    try:
        text = record.decode("utf-8-sig")
        for row in csv.reader(io.StringIO(text, newline="")):
            if row and len(row) != _FIELDS:
                raise _wrong(filename, f"its RECORD has {len(row)} fields, not {_FIELDS}, for {_show(row[0])}")
            if row and not row[0].endswith(("/", "\\")):
                yield [row[0].replace("\\", "/").lstrip("/"), *row[1:]]
    except UnicodeDecodeError as error:
        raise _wrong(filename, "its RECORD is not UTF-8") from error
    except csv.Error as error:
        raise _wrong(filename, f"its RECORD cannot be read: {error}") from error


def _decode(name: bytes) -> str:
    # As archivers do that know nothing of UTF-8 (APPNOTE.TXT 6.3.10, appendix D).
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("cp437")


def _name(paths: set[str]) -> str:
    others = len(paths) - 1
    return _show(min(paths)) + (f" and {others} more" if others else "")


def _show(path: str) -> str:
    return repr(path[:_SHOWN])


def _wrong(filename: str, what: str) -> Invalid:
    return Invalid(
        f"{filename} is not a whole wheel: {what}. Build it again; if it was changed after it was built, `wheel "
        "unpack` and `wheel pack` make a new RECORD."
    )
