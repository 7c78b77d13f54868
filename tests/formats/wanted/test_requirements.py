"""Requirements files, as pip reads them."""

from __future__ import annotations

import codecs
import posixpath

import pytest

from cheddar.errors import Invalid
from cheddar.formats.targets import make_targets
from cheddar.formats.wanted import read_wanted
from cheddar.model import Elsewhere, Named, Wanted

((LINUX,), (MAC,)) = (
    make_targets(["3.11.4"], [platform])[0].environments for platform in ("manylinux_2_28_x86_64", "macosx_14_0_arm64")
)


def read(text: str | bytes, **others: str) -> tuple[Wanted, ...]:
    """What a file with this text names; the others lie in C{folder/} beside it."""
    files = {f"folder/{name}.txt": content.encode() for name, content in others.items()}
    files["requirements.txt"] = text if isinstance(text, bytes) else text.encode()
    return read_wanted("requirements.txt", lambda path: files[posixpath.normpath(path)]).wanted(LINUX)


def said(text: str | bytes, **others: str) -> list[str]:
    """The same, as people write it."""
    return [str(item) for item in read(text, **others)]


def test_names_specifiers_and_comments() -> None:
    """Names are normalized; empty lines, comments, extras and options of installers change nothing."""
    assert said(
        "# a comment\n\nFlask.Cors[async] >= 2, != 2.1  # behind\n-i http://packages.example/simple/\n"
        "--index-url=http://packages.example/simple/\n--require-hashes\n-f wheels/ \ndemo==1.0 --config-settings x=y\n"
        "plain\n"
    ) == ["flask-cors!=2.1,>=2", "demo==1.0", "plain"]


def test_markers() -> None:
    """What is for another platform or Python is left out."""
    text = "one; sys_platform == 'darwin'\ntwo; python_full_version < '3.11.5'\nthree; extra == 'x'\n"
    files = {"requirements.txt": text.encode()}
    wanted = read_wanted("requirements.txt", files.__getitem__)
    assert [str(item) for item in wanted.wanted(LINUX)] == ["two"]
    assert [str(item) for item in wanted.wanted(MAC)] == ["one", "two"]
    assert [str(item) for item in wanted.wanted(None)] == ["one", "two", "three"]


def test_continued_lines_and_hashes() -> None:
    """As pip-compile writes them: the SHA-256 digests are kept."""
    (item,) = read("demo==1.0 ; python_version > '3' \\\n    --hash=sha256:aa \\\n    --hash sha256:bb --hash=md5:cc\n")
    assert isinstance(item, Named)
    assert (str(item), item.digests) == ("demo==1.0", {"aa", "bb"})
    # A comment ends a line that is continued; the file may end in the middle of one.
    assert said("one \\\n  # that was it\ntwo \\") == ["one", "two"]


def test_included_files_and_constraints() -> None:
    """Relative to the file that includes them, each read once; constraints want nothing by themselves."""
    found = read(
        "-r folder/more.txt\n-rfolder/more.txt\n--constraint folder/limits.txt\ndemo>1\n",
        more="--requirement=again.txt\nother\n",
        again="-r ../requirements.txt\n-c limits.txt\nthird\n",
        limits="demo<2\nunrelated==1\nthird==3 --hash=sha256:cc\nother<9; sys_platform == 'darwin'\n",
    )
    assert [str(item) for item in found] == ["third==3", "other", "demo<2,>1"]
    assert isinstance(found[0], Named)
    assert found[0].digests == {"cc"}


def test_what_no_index_has() -> None:
    """It is told, and what lies beside the file is told apart from what needs a network."""
    items = read(
        "-e .\n--editable git+https://forge.example/x#egg=x\ndemo @ https://packages.example/demo.zip\n./wheels/x-1.whl\n"
        "https://packages.example/y.tar.gz\nz-1.0-py3-none-any.whl\n-r https://packages.example/more.txt\n"
        "near @ file:///srv/near\n"
    )
    assert [(item.what, item.at_hand) for item in items if isinstance(item, Elsewhere)] == [
        ("--editable .", True),
        ("--editable git+https://forge.example/x#egg=x", False),
        ("demo @ https://packages.example/demo.zip", False),
        ("./wheels/x-1.whl", True),
        ("https://packages.example/y.tar.gz", False),
        ("z-1.0-py3-none-any.whl", True),
        ("--requirement https://packages.example/more.txt", False),
        ("near @ file:///srv/near", True),
    ]


def test_options_that_change_what_is_wanted() -> None:
    """--pre admits pre-releases, --no-binary wants sdists of what it names."""
    (one, two) = read("--pre\n--no-binary One,x\none\ntwo\n")
    assert isinstance(one, Named)
    assert isinstance(two, Named)
    assert [(item.prereleases, item.sdist) for item in (one, two)] == [(True, True), (True, False)]
    (three,) = read("--no-binary=:all:\nthree\n")
    assert isinstance(three, Named)
    assert (three.prereleases, three.sdist) == (False, True)


def test_encodings() -> None:
    """Windows writes byte order marks."""
    assert said(codecs.BOM_UTF8 + b"demo\n") == ["demo"]
    assert said(codecs.BOM_UTF16_LE + "demo\r\n".encode("utf-16-le")) == ["demo"]
    with pytest.raises(Invalid, match="UTF-8"):
        read(b"d\xe9mo\n")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--no-such-option", "'--no-such-option' is not understood"),
        ("demo --index-url x", "'--index-url' is not understood"),
        ("demo = 1", "'demo = 1' is no requirement"),
        ("--index-url", "--index-url lacks its value"),
        ("-f 'x", "quotes"),
    ],
)
def test_what_is_not_understood_is_told_with_its_line(line: str, why: str) -> None:
    """Nothing is passed over in silence: what is fetched would be something else."""
    with pytest.raises(Invalid, match=why) as raised:
        read("one\n\ntwo \\\n  --hash=sha256:aa\n" + line + "\n")
    assert str(raised.value).startswith("requirements.txt, line 5: ")
