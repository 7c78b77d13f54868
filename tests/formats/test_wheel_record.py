"""A wheel's RECORD against its members."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheddar.errors import Invalid
from cheddar.formats import archives, wheel_record
from tests.support.distributions import make_wheel

FILENAME = "demo-1.0-py3-none-any.whl"
FOLDER = b"demo-1.0.dist-info"
MEMBERS = [b"demo/__init__.py", b"demo/data.txt", FOLDER + b"/METADATA", FOLDER + b"/WHEEL", FOLDER + b"/RECORD"]
RECORD = (
    b"demo/__init__.py,sha256=AAAA,1\n"
    b"demo/data.txt,sha256=BBBB,2\n"
    b"demo-1.0.dist-info/METADATA,sha256=CCCC,3\n"
    b"demo-1.0.dist-info/WHEEL,sha256=DDDD,4\n"
    b"demo-1.0.dist-info/RECORD,,\n"
)

NAMES_ALL = pytest.mark.conforms("PEP 427", "RECORD: names exactly the files that the archive holds")


def check(record: bytes, members: Iterable[bytes] = MEMBERS) -> None:
    """Compare."""
    wheel_record.check(record, members, FOLDER, FILENAME)


@NAMES_ALL
def test_a_record_of_what_is_there() -> None:
    """A RECORD as every build tool writes it is taken."""
    check(RECORD)


@NAMES_ALL
@pytest.mark.parametrize(
    ("record", "members", "says"),
    [
        (RECORD, [*MEMBERS, b"demo/new.py"], "holds 'demo/new.py', which its RECORD does not name"),
        (RECORD, [*MEMBERS, b"x.py", b"a.py", b"b.py"], "holds 'a.py' and 2 more, which"),
        (RECORD, MEMBERS[1:], "names 'demo/__init__.py', which it does not hold"),
        (RECORD.replace(b"data", b"Data"), MEMBERS, "holds 'demo/data.txt', which"),
        (RECORD + b"demo-1.0.data/scripts/x,sha256=EEEE,5\n", MEMBERS, "names 'demo-1.0.data/scripts/x', which"),
        (RECORD + b"../../../bin/demo,sha256=EEEE,5\n", MEMBERS, "names '../../../bin/demo', which"),
        (RECORD + b"demo/data.txt,sha256=EEEE,2\n", MEMBERS, "says two things of 'demo/data.txt'"),
        (b"", MEMBERS, "does not name"),
        (RECORD + b"demo/other\n", MEMBERS, "has 1 fields, not 3, for 'demo/other'"),
        (RECORD.replace(b"data.txt,", b"data,txt,"), MEMBERS, "has 4 fields, not 3, for 'demo/data'"),
        (RECORD + "demo/é,,\n".encode("latin-1"), MEMBERS, "not UTF-8"),
        (RECORD + b'"' + b"x" * 200_000, MEMBERS, "cannot be read"),
        (b"x,,\n" * 300_000, MEMBERS, "more than 200000 lines"),
        (b"," * 2_000_000, MEMBERS, "too many fields"),
    ],
)
def test_a_record_of_something_else(record: bytes, members: list[bytes], says: str) -> None:
    """What is missing or too much is named, with how a right RECORD is made."""
    with pytest.raises(Invalid) as caught:
        check(record, members)
    assert says in str(caught.value)
    assert str(caught.value).startswith(FILENAME)
    assert "`wheel pack`" in str(caught.value)


@pytest.mark.conforms("PEP 427", "RECORD: itself and its signatures need no line")
def test_what_need_not_be_named() -> None:
    """RECORD itself, its signatures, and folders."""
    check(RECORD.replace(b"demo-1.0.dist-info/RECORD,,\n", b""))
    check(RECORD, [*MEMBERS, FOLDER + b"/RECORD.jws", FOLDER + b"/RECORD.p7s", b"demo/", b"empty/"])
    check(RECORD + b"demo/,,\n" + FOLDER + b"/RECORD.jws,,\n", [*MEMBERS, FOLDER + b"/RECORD.jws", b"demo/"])
    with pytest.raises(Invalid, match="RECORD.jws"):
        check(RECORD, [*MEMBERS, b"demo/RECORD.jws"])


@pytest.mark.parametrize(
    "record",
    [
        RECORD.replace(b"\n", b"\r\n"),
        RECORD.replace(b"\n", b"\n\n"),
        b"\xef\xbb\xbf" + RECORD,
        RECORD.rstrip(),
        RECORD.replace(b"demo/data.txt", b'"demo/data.txt"'),
        RECORD.replace(b"demo/data.txt", b"demo\\data.txt"),
        RECORD.replace(b"demo/", b"/demo/"),
        RECORD + b"demo/data.txt,sha256=BBBB,2\n",
        b"".join(reversed(RECORD.splitlines(keepends=True))),
    ],
)
def test_spellings_in_the_wild(record: bytes) -> None:
    """What installers take for the same, as wheels have it that people install, is the same here."""
    check(record)


def test_names_of_all_kinds() -> None:
    """Commas and quotes in paths are quoted in RECORD; paths are UTF-8, or what archivers did before that."""
    record = 'a/"b",c.py,,\n'.replace('a/"b",c.py', '"a/""b"",c.py"').encode() + "d/é☃.txt,,\nd/ü.txt,,\n".encode()
    check(record, [b'a/"b",c.py', "d/é☃.txt".encode(), "d/ü.txt".encode("cp437")])
    with pytest.raises(Invalid, match="holds"):
        check(record, [b'a/"b",c.py', "d/é☃.txt".encode(), "d/ü.txt".encode("latin-1")])


def test_a_long_record_costs_little() -> None:
    """A RECORD as long as it may be keeps a thread busy for a moment only, right or wrong."""
    names = [b"demo/%07d.py" % number for number in range(99_000)]
    record = b"".join(name + b",sha256=" + b"A" * 43 + b",1000\n" for name in names)
    started = time.process_time()
    check(record, names)
    with pytest.raises(Invalid):
        check(record, names[1:])
    # About half a second each, with a margin for a slow machine.
    assert time.process_time() - started < 5


@given(st.binary(max_size=200), st.integers(0, len(RECORD)))
def test_noise_is_refused_or_read(noise: bytes, at: int) -> None:
    """Whatever RECORD holds, the answer is yes or the one error."""
    for record in (noise, RECORD[:at] + noise + RECORD[at:]):
        try:
            check(record)
        except Invalid:
            continue


def rewritten(content: bytes, drop: str = "", more: tuple[str, ...] = ()) -> bytes:
    """A wheel without one of its members, or with more of them, its RECORD as it was."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            if name != drop:
                archive.writestr(name, source.read(name))
        for name in more:
            archive.writestr(name, b"")
    return target.getvalue()


@pytest.mark.parametrize(
    ("drop", "more", "says"),
    [
        ("demo-1.0.dist-info/RECORD", (), "no RECORD in its .dist-info folder"),
        ("demo-1.0.dist-info/WHEEL", (), "no WHEEL in its .dist-info folder"),
        ("demo-1.0.dist-info/METADATA", (), "no METADATA in its .dist-info folder"),
        ("demo/__init__.py", (), "does not hold"),
        ("", ("demo/later.py",), "does not name"),
    ],
)
@pytest.mark.conforms("PEP 427", "File contents: METADATA, WHEEL and RECORD are in the one .dist-info folder")
def test_wheels_that_are_not_whole(drop: str, more: tuple[str, ...], says: str) -> None:
    """A wheel without what installers need cannot be published; one published long ago can be read all the same."""
    filename, content = make_wheel("demo", "1.0")
    changed = rewritten(content, drop, more)
    with pytest.raises(Invalid, match=says):
        archives.read_upload(io.BytesIO(changed), filename)
    if "METADATA" not in drop:
        assert archives.read_core_metadata(io.BytesIO(changed), filename).name == "demo"
    assert archives.read_upload(io.BytesIO(content), filename).name == "demo", "the control"
    archives.read_upload(io.BytesIO(rewritten(content, more=("demo/", "nothing/"))), filename)
