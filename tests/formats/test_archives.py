"""Core metadata out of wheels and source distributions, honest and hostile."""

from __future__ import annotations

import gzip
import io
import resource
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable

import pytest

from cheddar.errors import Invalid
from cheddar.formats import zip_archive
from cheddar.formats.archives import read_core_metadata

METADATA = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Python: >=3.8\n\nText.\n"
WHEEL = "demo-1.0-py3-none-any.whl"
SDIST = "demo-1.0.tar.gz"
ZIP_SDIST = "demo-1.0.zip"

Names = list[tuple[str, bytes]]


def wheel(*more: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A small wheel, with files added to it."""
    entries: Names = [("demo.py", b"x = 1\n" * 20), ("demo-1.0.dist-info/METADATA", METADATA), *more]
    return zipped(entries, compression)


def zipped(entries: Names, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return target.getvalue()


def regular(name: str, data: bytes = METADATA) -> tuple[tarfile.TarInfo, bytes]:
    """A member of a tar archive."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    return member, data


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    """A member that is no regular file."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def tarred(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive, not compressed."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format) as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue()


def sdist(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A source distribution of these members."""
    return gzip.compress(tarred(*members, format=format))


def plain_sdist() -> bytes:
    """A source distribution as tools make it."""
    return sdist(special("demo-1.0", tarfile.DIRTYPE), regular("demo-1.0/setup.py", b"x"), regular("demo-1.0/PKG-INFO"))


def raw_member(name: bytes, kind: bytes, size: int, data: bytes = b"") -> bytes:
    """A tar header with any values, its checksum right, and data behind it as it is."""
    header = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"%011o\0" % 0
    header += b" " * 8 + kind + b"\0" * 100 + b"ustar\x0000" + b"\0" * 247
    checksum = b"%06o\0 " % sum(header)
    return header[:148] + checksum + header[156:] + data


def read(data: bytes, filename: str) -> bytes:
    """The metadata's bytes."""
    return read_core_metadata(io.BytesIO(data), filename).raw


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_wheel(compression: int) -> None:
    """A wheel's METADATA is read, and its exact bytes are kept."""
    found = read_core_metadata(io.BytesIO(wheel(compression=compression)), WHEEL)
    assert (found.name, found.version, found.requires_python, found.raw) == ("demo", "1.0", ">=3.8", METADATA)


def test_wheel_folder_is_matched_by_meaning() -> None:
    """The folder may spell name and version in another way than the file's name does."""
    data = zipped([("Demo.Pkg-1.0.0.dist-info/METADATA", METADATA)])
    assert read(data, "demo_pkg-1.0.0-py3-none-any.whl") == METADATA
    with pytest.raises(Invalid, match="another"):
        read(data, "demo_pkg-1.1-py3-none-any.whl")


def test_wheel_that_was_streamed() -> None:
    """A wheel whose writer could not seek has sizes behind the bytes; it is as good as another."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, offset: int, whence: int = 0) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    target = Pipe()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("demo.py", b"x = 1\n")
        archive.writestr("demo-1.0.dist-info/METADATA", METADATA)
    assert read(target.getvalue(), WHEEL) == METADATA


def test_wheel_with_zip64_fields() -> None:
    """Fields for sizes above 4 GiB are read also where they are not needed."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        with archive.open("big.bin", "w", force_zip64=True) as member:
            member.write(b"x" * 100)
        archive.writestr("demo-1.0.dist-info/METADATA", METADATA)
    assert read(target.getvalue(), WHEEL) == METADATA


@pytest.mark.deadline(60)
def test_wheel_with_a_zip64_directory() -> None:
    """More than 65,535 files need another directory; up to the limit they are taken."""
    entries: Names = [(f"data/{number}", b"") for number in range(66_000)]
    assert read(wheel(*entries, compression=zipfile.ZIP_STORED), WHEEL) == METADATA


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_sdist(format: int) -> None:
    """The PKG-INFO at the top of a source distribution is read, in each dialect of tar, long names among it."""
    long = "demo-1.0/" + "d" * 90 + "/" + "n" * 90
    folders = [special("demo-1.0", tarfile.DIRTYPE), special("demo-1.0/link", tarfile.SYMTYPE, "setup.py")]
    data = sdist(*folders, regular(long, b"x" * 5000), regular("demo-1.0/PKG-INFO"), regular(long + "1"), format=format)
    assert read(data, SDIST) == METADATA


def test_sdist_zip() -> None:
    """Source distributions as .zip are read too; the PKG-INFO below is not taken for the one at the top."""
    entries = [("demo-1.0/demo.egg-info/PKG-INFO", b"Name: other\n"), ("demo-1.0/PKG-INFO", METADATA)]
    assert read(zipped(entries), ZIP_SDIST) == METADATA


def test_sdist_with_a_dot_in_front_and_a_git_comment() -> None:
    """Archives of C{tar czf x ./demo-1.0} and of git are read."""
    comment = b"52 comment=0123456789012345678901234567890123456789\n"
    head = raw_member(b"pax_global_header", tarfile.XGLTYPE, len(comment), comment.ljust(512, b"\0"))
    assert read(gzip.compress(head + tarred(regular("./demo-1.0/PKG-INFO"))), SDIST) == METADATA


def test_file_is_left_open() -> None:
    """The file belongs to the caller."""
    file = io.BytesIO(wheel())
    read_core_metadata(file, WHEEL)
    assert not file.closed


def overlapping(size: int) -> bytes:
    """Many entries in the directory that share the same bytes."""
    data = bytearray(zipped([("a", b"\0" * size)]))
    directory_start = data.index(b"PK\x01\x02")
    end_start = data.index(b"PK\x05\x06")
    entry = bytes(data[directory_start:end_start])
    names = [b"%c" % number for number in range(97, 123)]
    directory = b"".join(entry[:46] + name + entry[47:] for name in names)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, len(names), len(names), len(directory), directory_start, 0)
    return bytes(data[:directory_start]) + directory + end


def changed(data: bytes, position: int, value: bytes) -> bytes:
    """C{data} with C{value} written over it."""
    return data[:position] + value + data[position + len(value) :]


def flagged(data: bytes, flag: int) -> bytes:
    """A ZIP archive with a flag set in its first file, in both places."""
    both = changed(data, 6, struct.pack("<H", flag))
    return changed(both, both.index(b"PK\x01\x02") + 8, struct.pack("<H", flag))


def two_of_a_name() -> bytes:
    """A wheel with two METADATA."""
    data = wheel(("demo-1.0.dist-info/METADATB", METADATA.replace(b"demo", b"evil")))
    return data.replace(b"METADATB", b"METADATA")


def hidden_file() -> bytes:
    """A wheel with a file that the directory does not know, for readers that stream."""
    data = wheel(("hidden.py", b"import os\n"))
    start = data.index(b"PK\x01\x02")
    entries = data[start:].split(b"PK\x01\x02")
    directory = b"PK\x01\x02" + b"PK\x01\x02".join(entries[1:3])
    return data[:start] + directory + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2, 2, len(directory), start, 0)


def lying_size() -> bytes:
    """METADATA that is larger than its headers say."""
    huge = METADATA + b"x" * 10_000_000
    data = zipped([("demo-1.0.dist-info/METADATA", huge)])
    return data.replace(struct.pack("<I", len(huge)), struct.pack("<I", 100))


def longer_name_in_header() -> bytes:
    """A wheel whose first local header takes the extra field for a part of the name."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        first = zipfile.ZipInfo("demo.py")
        first.extra = b"\x99\x99\x00\x00"
        archive.writestr(first, b"x = 1\n")
        archive.writestr("demo-1.0.dist-info/METADATA", METADATA)
    return changed(target.getvalue(), 26, struct.pack("<2H", len("demo.py") + 4, 0))


BROKEN_WHEELS: dict[str, Callable[[], bytes]] = {
    "empty file": lambda: b"",
    "text": lambda: b"not an archive" * 100,
    "no entries": lambda: zipped([]),
    "truncated": lambda: wheel()[:-30],
    "half": lambda: wheel()[: len(wheel()) // 2],
    "prefix": lambda: b"#!/bin/sh\n" + wheel(),
    "prefix that is a zip": lambda: wheel() + wheel(),
    "suffix": lambda: wheel() + b"more",
    "encrypted": lambda: flagged(wheel(), 1),
    "strongly encrypted": lambda: flagged(wheel(), 0x41),
    "masked": lambda: flagged(wheel(), 0x2000),
    "bzip2": lambda: wheel(compression=zipfile.ZIP_BZIP2),
    "lzma": lambda: wheel(compression=zipfile.ZIP_LZMA),
    "two METADATA": two_of_a_name,
    "header and directory differ": lambda: wheel().replace(b"demo.py", b"evil.py", 1),
    "hidden file": hidden_file,
    "lying size": lying_size,
    "no METADATA": lambda: zipped([("demo-1.0.dist-info/WHEEL", b"x")]),
    "no dist-info": lambda: zipped([("demo.py", b"x")]),
    "dist-info of another project": lambda: zipped([("evil-1.0.dist-info/METADATA", METADATA)]),
    "two dist-info": lambda: wheel(("evil-1.0.dist-info/METADATA", METADATA)),
    "METADATA deeper": lambda: zipped([("a/demo-1.0.dist-info/METADATA", METADATA)]),
    "path leads out": lambda: wheel(("../../etc/cron.d/x", b"x")),
    "absolute path": lambda: wheel(("/etc/cron.d/x", b"x")),
    "drive": lambda: wheel(("c:/x", b"x")),
    "control character": lambda: wheel(("a\nb", b"x")),
    "DEL in a name": lambda: wheel(("a\x7f.py", b"x")),
    "longer name in the header": longer_name_in_header,
    "NUL in a name": lambda: wheel(("a.pyXb", b"x")).replace(b"a.pyXb", b"a.py\0b"),
    "bomb": lambda: wheel(("zeros", b"\0" * 70_000_000)),
    "bomb by overlap": lambda: overlapping(1000),
    "METADATA too long": lambda: zipped([("demo-1.0.dist-info/METADATA", METADATA + b"x" * 5_000_000)]),
    "damaged": lambda: wheel(compression=zipfile.ZIP_STORED).replace(b"Text.", b"Tent."),
    "not deflate": lambda: changed(wheel(), wheel().index(b"METADATA") + len(b"METADATA"), b"\xff" * 8),
    "zip64 locator without record": lambda: (
        wheel()[:-22]
        + struct.pack("<4sIQI", b"PK\x06\x07", 0, 5, 1)
        + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    ),
    "directory of 4 GiB": lambda: wheel()[:-22] + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2, 2, 0xFFFFFFF0, 10, 0),
    "it is a tar": plain_sdist,
    "no name": lambda: zipped([("demo-1.0.dist-info/METADATA", b"Version: 1.0\n")]),
}

WHY_WHEELS = {
    "empty file": "no directory",
    "text": "no directory",
    "no entries": "it is empty",
    "truncated": "no directory",
    "half": "no directory",
    "prefix": "before its start",
    "prefix that is a zip": "before its start",
    "suffix": "behind its end",
    "encrypted": "encrypted",
    "strongly encrypted": "encrypted",
    "masked": "encrypted",
    "bzip2": "compressed in a way",
    "lzma": "compressed in a way",
    "two METADATA": "listed twice",
    "header and directory differ": "differ",
    "hidden file": "before its directory",
    "lying size": "does not end where",
    "no METADATA": "no METADATA",
    "no dist-info": "has 0",
    "dist-info of another project": "another project's",
    "two dist-info": "has 2",
    "METADATA deeper": "has 0",
    "path leads out": "not allowed",
    "absolute path": "not allowed",
    "drive": "not allowed",
    "control character": "not allowed",
    "DEL in a name": "not allowed",
    "longer name in the header": "differ",
    "NUL in a name": "not allowed",
    "bomb": "50 times",
    "bomb by overlap": "overlaps",
    "METADATA too long": "more than 4194304 bytes",
    "damaged": "is damaged",
    "not deflate": "cannot be unpacked",
    "zip64 locator without record": "ZIP64 directory is not where",
    "directory of 4 GiB": "directory over",
    "it is a tar": "no directory",
    "no name": "field Name",
}


@pytest.mark.parametrize("name", BROKEN_WHEELS)
def test_hostile_wheels(name: str) -> None:
    """A wheel that is broken, ambiguous or a bomb is refused with a sentence, never with another error."""
    with pytest.raises(Invalid, match=WHY_WHEELS[name]) as caught:
        read(BROKEN_WHEELS[name](), WHEEL)
    assert str(caught.value).endswith(".")


def extended(record: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extended header."""
    return raw_member(b"x", kind, len(record), record.ljust(512, b"\0"))


def negative_size() -> bytes:
    """PKG-INFO with a size below zero, which the binary form of numbers allows."""
    header = bytearray(raw_member(b"demo-1.0/PKG-INFO", tarfile.REGTYPE, 0))
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def pax(*records: tuple[str, str]) -> tuple[tarfile.TarInfo, bytes]:
    """PKG-INFO with extended header records."""
    member, data = regular("demo-1.0/PKG-INFO")
    member.pax_headers = dict(records)
    return member, data


BROKEN_SDISTS: dict[str, Callable[[], bytes]] = {
    "empty file": lambda: b"",
    "text": lambda: b"not an archive" * 100,
    "gzip of text": lambda: gzip.compress(b"not an archive" * 1000),
    "no members": lambda: sdist(),
    "no trailer": lambda: plain_sdist()[:-8],
    "trailer cut": lambda: plain_sdist()[:-1],
    "half": lambda: plain_sdist()[: len(plain_sdist()) // 2],
    "wrong checksum": lambda: changed(plain_sdist(), len(plain_sdist()) - 8, b"\0\0\0\0"),
    "wrong length": lambda: changed(plain_sdist(), len(plain_sdist()) - 4, b"\0\0\0\0"),
    "something behind": lambda: plain_sdist() + b"more",
    "two gzip members": lambda: plain_sdist() + plain_sdist(),
    "a zip behind": lambda: plain_sdist() + wheel(),
    "a second tar": lambda: gzip.compress(tarred(regular("demo-1.0/PKG-INFO")) + tarred(regular("x/PKG-INFO"))),
    "tar not compressed": lambda: tarred(regular("demo-1.0/PKG-INFO")),
    "tar cut": lambda: gzip.compress(tarred(regular("demo-1.0/PKG-INFO"), regular("demo-1.0/a", b"x" * 5000))[:2500]),
    "header cut": lambda: gzip.compress(tarred(regular("demo-1.0/PKG-INFO"))[:1024] + b"x" * 100),
    "header wrong": lambda: gzip.compress(tarred(regular("demo-1.0/PKG-INFO"))[:1024] + b"x" * 512),
    "no PKG-INFO": lambda: sdist(regular("demo-1.0/setup.py")),
    "PKG-INFO too deep": lambda: sdist(regular("demo-1.0/demo.egg-info/PKG-INFO")),
    "PKG-INFO outside": lambda: sdist(regular("PKG-INFO")),
    "two PKG-INFO": lambda: sdist(regular("demo-1.0/PKG-INFO"), regular("demo-1.0/PKG-INFO")),
    "two by another spelling": lambda: sdist(regular("demo-1.0/PKG-INFO"), regular("demo-1.0/./PKG-INFO")),
    "two folders": lambda: sdist(regular("demo-1.0/PKG-INFO"), regular("evil-1.0/PKG-INFO")),
    "symbolic link": lambda: sdist(special("demo-1.0/PKG-INFO", tarfile.SYMTYPE, "/etc/passwd")),
    "hard link": lambda: sdist(regular("demo-1.0/x"), special("demo-1.0/PKG-INFO", tarfile.LNKTYPE, "demo-1.0/x")),
    "device": lambda: sdist(special("demo-1.0/PKG-INFO", tarfile.CHRTYPE)),
    "fifo": lambda: sdist(special("demo-1.0/PKG-INFO", tarfile.FIFOTYPE)),
    "folder": lambda: sdist(special("demo-1.0/PKG-INFO", tarfile.DIRTYPE)),
    "path leads out": lambda: sdist(regular("../PKG-INFO")),
    "absolute path": lambda: sdist(regular("/demo-1.0/PKG-INFO")),
    "GNU sparse": lambda: gzip.compress(raw_member(b"demo-1.0/PKG-INFO", tarfile.GNUTYPE_SPARSE, 512, b"x" * 512)),
    "pax sparse": lambda: sdist(pax(("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"))),
    "pax header of 1 GiB": lambda: gzip.compress(raw_member(b"x", tarfile.XHDTYPE, 2**30)),
    "global header renames": lambda: gzip.compress(
        extended(b"12 path=abc\n", tarfile.XGLTYPE) + tarred(regular("demo-1.0/PKG-INFO"))
    ),
    "pax record wrong": lambda: gzip.compress(
        raw_member(b"x", tarfile.XHDTYPE, 12, b"99 path=abc\n".ljust(512, b"\0"))
    ),
    "pax record endless": lambda: gzip.compress(
        raw_member(b"x", tarfile.XHDTYPE, 12, b"0 path=abc\n".ljust(512, b"\0"))
    ),
    "negative size": lambda: gzip.compress(negative_size()),
    "pax size": lambda: sdist(pax(("size", "-5"))),
    "long name of 1 GiB": lambda: gzip.compress(raw_member(b"x", tarfile.GNUTYPE_LONGNAME, 2**30)),
    "chained headers": lambda: gzip.compress(extended(b"12 path=abc\n") * 110_000, 1),
    "too many members": lambda: gzip.compress(raw_member(b"a", tarfile.REGTYPE, 0) * 100_001, 1),
    "PKG-INFO too long": lambda: sdist(regular("demo-1.0/PKG-INFO", METADATA + b"x" * 5_000_000)),
    "it is a wheel": wheel,
    "endless gzip name": lambda: b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"a" * 3_000_000,
    "no version": lambda: sdist(regular("demo-1.0/PKG-INFO", b"Name: demo\n")),
}

WHY_SDISTS = {
    "empty file": "too early",
    "text": "incorrect header",
    "gzip of text": "invalid header",
    "no members": "no PKG-INFO",
    "no trailer": "too early",
    "trailer cut": "too early",
    "half": "too early",
    "wrong checksum": "incorrect data check",
    "wrong length": "incorrect length check",
    "something behind": "behind its end",
    "two gzip members": "behind its end",
    "a zip behind": "ZIP archive too",
    "a second tar": "behind its end",
    "tar not compressed": "incorrect header",
    "tar cut": "within a file",
    "header cut": "within a header",
    "header wrong": "invalid header",
    "no PKG-INFO": "no PKG-INFO",
    "PKG-INFO too deep": "no PKG-INFO",
    "PKG-INFO outside": "no PKG-INFO",
    "two PKG-INFO": "there twice",
    "two by another spelling": "there twice",
    "two folders": "more than one",
    "symbolic link": "not a regular",
    "hard link": "not a regular",
    "device": "not a regular",
    "fifo": "not a regular",
    "folder": "not a regular",
    "path leads out": "not allowed",
    "absolute path": "not allowed",
    "GNU sparse": "sparse",
    "pax sparse": "sparse",
    "pax header of 1 GiB": "may have 1048576",
    "global header renames": "global header",
    "pax record wrong": "extended header",
    "pax record endless": "extended header",
    "negative size": "negative",
    "pax size": "not a number",
    "long name of 1 GiB": "may have 1048576",
    "chained headers": "unpacks to more than",
    "too many members": "more than 100000 members",
    "PKG-INFO too long": "may have 4194304",
    "it is a wheel": "ZIP archive too",
    "endless gzip name": "too early",
    "no version": "field Version",
}


@pytest.mark.parametrize("name", BROKEN_SDISTS)
def test_hostile_sdists(name: str) -> None:
    """A source distribution that is broken, ambiguous or a bomb is refused with a sentence."""
    with pytest.raises(Invalid, match=WHY_SDISTS[name]) as caught:
        read(BROKEN_SDISTS[name](), SDIST)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "entries",
    [
        [("demo-1.0/setup.py", b"x")],
        [("PKG-INFO", METADATA)],
        [("a/PKG-INFO", METADATA), ("b/PKG-INFO", METADATA)],
        [("demo-1.0/../PKG-INFO", METADATA)],
    ],
)
def test_hostile_zip_sdists(entries: Names) -> None:
    """A .zip source distribution has one PKG-INFO, in one place."""
    with pytest.raises(Invalid):
        read(zipped(entries), ZIP_SDIST)


def test_disk_errors_are_not_the_archives_fault() -> None:
    """When the disk fails, nobody is told that the archive is broken."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    for data, filename in ((wheel(), WHEEL), (plain_sdist(), SDIST)):
        with pytest.raises(OSError, match="Input/output error"):
            read_core_metadata(Failing(data), filename)


def test_other_files_are_refused() -> None:
    """Eggs and the like have no core metadata that could be read here."""
    with pytest.raises(Invalid, match="neither"):
        read(wheel(), "demo-1.0-py2.7.egg")


def growing_bomb() -> bytes:
    """400 MB of zeros in a tar, in 400 kB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [packer.compress(raw_member(b"demo-1.0/zeros", tarfile.REGTYPE, 400 * 1024**2))]
    pieces += [packer.compress(bytes(1024**2)) for _ in range(400)]
    return b"".join([*pieces, packer.flush()])


def many_entries() -> bytes:
    """A directory with as many files as may be, and one more."""
    entry = struct.Struct("<4s6H3I5H2I")
    names = [b"%06d" % number for number in range(zip_archive.MAX_ENTRIES + 1)]
    directory = b"".join(
        entry.pack(b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0) + name for name in names
    )
    count = len(names)
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(directory), 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(directory), 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return directory + record + locator + end


@pytest.mark.parametrize(
    ("make", "filename", "why"),
    [
        (growing_bomb, SDIST, "unpacks to more than"),
        (many_entries, WHEEL, "more than 100000 files"),
        (lambda: overlapping(10_000_000), WHEEL, "50 times"),
        (BROKEN_WHEELS["bomb"], WHEEL, "50 times"),
    ],
)
def test_bombs_cost_little(make: Callable[[], bytes], filename: str, why: str) -> None:
    """However much an archive says it holds, reading it takes seconds, and memory that does not grow with it."""
    data = make()
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(Invalid, match=why):
        read(data, filename)
    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
