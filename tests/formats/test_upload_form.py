"""Forms of uploads, as clients send them and as nobody should."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cheddar.errors import Invalid, TooLarge
from cheddar.formats.upload_form import SINGLE_USE, FormLimits, ParsedForm, UploadFormParser

EXACT = pytest.mark.conforms("Upload API", "content: its bytes as sent, whatever they are and however they arrive")

RECORDED = Path(__file__).parent.parent / "clients" / "recorded"
DISTUTILS = "multipart/form-data; boundary=--------------GHSKFJDLGDS7543FJKLFHRE75642756743254"
TYPE = "multipart/form-data; boundary=BOUND"
LIMIT = 1000
LIMITS = FormLimits(file=LIMIT)
LARGE = FormLimits(file=10**6)


def parse(*chunks: bytes, content_type: str = TYPE, limits: FormLimits = LARGE) -> tuple[ParsedForm, bytes]:
    """The form, and the file's bytes."""
    taken: list[bytes] = []
    parser = UploadFormParser(content_type, taken.append, limits)
    for chunk in chunks:
        parser.feed(chunk)
    return parser.finish(), b"".join(taken)


def part(name: str, value: bytes, *more: str, filename: str | None = None) -> bytes:
    """One part of a form."""
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    head = "\r\n".join([disposition, *more])
    return b"--BOUND\r\n" + head.encode() + b"\r\n\r\n" + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + b"--BOUND--\r\n"


@EXACT
@pytest.mark.parametrize("name", ["distutils_upload.bin", "distutils_stdlib_upload.bin", "distutils_register.bin"])
def test_recorded_bodies_survive_every_cut(name: str) -> None:
    """What old clients sent is read the same however the network cuts it."""
    body = (RECORDED / name).read_bytes()
    whole = parse(body, content_type=DISTUTILS)
    form, content = whole
    assert (form.fields["version"], form.fields["author"]) == (("1.0",), ("Ann",))
    assert form.has_file == ("register" not in name)
    assert content[:2] == (b"\x1f\x8b" if form.has_file else b"")
    assert parse(*(body[i : i + 1] for i in range(len(body))), content_type=DISTUTILS) == whole
    for cut in range(len(body) + 1):
        assert parse(body[:cut], body[cut:], content_type=DISTUTILS) == whole


def recorded_requests() -> list[Path]:
    """The requests of clients that were recorded whole: a head, and a form."""
    found = [*RECORDED.glob("upload_*.bin"), *RECORDED.glob("register_*.bin")]
    assert found
    return sorted(found)


@EXACT
@pytest.mark.parametrize("path", recorded_requests(), ids=lambda path: path.stem)
def test_recorded_requests_survive_every_cut(path: Path) -> None:
    """What every client sends is read the same cut at each of its bytes, and byte by byte."""
    head, _, body = path.read_bytes().partition(b"\r\n\r\n")
    (content_type,) = (
        line.partition(": ")[2] for line in head.decode().split("\r\n") if line.lower().startswith("content-type:")
    )
    whole = parse(body, content_type=content_type)
    form, content = whole
    assert form.fields["name"]
    assert content in body
    assert form.has_file == bool(content) == path.stem.startswith("upload")
    assert parse(*(body[i : i + 1] for i in range(len(body))), content_type=content_type) == whole
    for cut in range(len(body) + 1):
        assert parse(body[:cut], body[cut:], content_type=content_type) == whole


def test_recorded_upload_holds_what_was_sent() -> None:
    """Fields keep their order and repetition; what distutils writes for "not said" is absent."""
    form, content = parse((RECORDED / "distutils_stdlib_upload.bin").read_bytes(), content_type=DISTUTILS)
    assert form.filename == "demo-du-1.0.tar.gz"
    assert form.fields[":action"] == ("file_upload",)
    assert form.fields["keywords"] == ("a", "b")
    assert form.fields["summary"] == ("Déscription ☃",)
    assert not {"comment", "pyversion", "license", "download_url"} & form.fields.keys()
    assert len(content) == 723


def test_register_keeps_lines() -> None:
    """A description of several lines, in a body with bare line feeds, keeps its line feeds."""
    form, _ = parse((RECORDED / "distutils_register.bin").read_bytes(), content_type=DISTUTILS + "; charset=utf-8")
    assert form.fields["description"] == ("Hello\n=====\n\nä ☃ text\n",)
    assert (form.filename, form.has_file) == (None, False)


TRICKY = [
    b"",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n--",
    b"\r\n--BOUN",
    b"--BOUND",
    b"--BOUND--\r\n",
    b"\n--BOUND\n",
    b"x\r\n\r\n",
    b"\r\r\n-",
    bytes(range(256)),
]


@EXACT
@pytest.mark.conforms("Upload API", "Fields: in any order, before the file and after it")
@pytest.mark.parametrize("content", TRICKY)
@pytest.mark.parametrize("last", [True, False])
def test_contents_are_exact_at_every_cut(content: bytes, last: bool) -> None:
    """A file's bytes arrive exactly, whatever they end with and whatever they look like."""
    file = part("content", content, filename="a-1.zip")
    fields = part(":action", b"file_upload") + part("name", b"a")
    body = b"\r\n" + form(fields, file) if last else form(file, fields)
    expected = (ParsedForm({":action": ("file_upload",), "name": ("a",)}, "a-1.zip"), content)
    assert parse(*(body[i : i + 1] for i in range(len(body)))) == expected
    for cut in range(len(body) + 1):
        assert parse(body[:cut], body[cut:]) == expected


@given(st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--BOUND", b"\r\n--BOUN", b"x"])), st.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_any_content_in_any_pieces(pieces: list[bytes], step: int) -> None:
    """Contents made of pieces of boundaries arrive exactly, in steps of any length."""
    content = b"".join(pieces)
    if b"\r\n--BOUND" in b"\r\n" + content:
        content = content.replace(b"B", b"b")
    body = form(part("content", content, filename="a"))
    assert parse(*(body[i : i + step] for i in range(0, len(body), step)))[1] == content


# RFC 2046, section 5.1.1; a space may be in one, not at its end.
BOUNDARIES = st.text("abzABZ0189'()+_,-./:=?", min_size=1, max_size=70)
NAMES = st.sampled_from([*sorted(SINGLE_USE), "classifiers", "requires_dist", "keywords", "x", "an_unknown"])
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["UNKNOWN", "None", "", " ", "\r\n", "-", "--", "a\r\nb", "\n--", "x" * 3000]
)


@EXACT
@given(st.data(), BOUNDARIES, st.lists(st.tuples(NAMES, VALUES), max_size=8), st.booleans())
@settings(max_examples=300)
def test_any_form_in_any_pieces(
    data: st.DataObject, boundary: str, drawn: list[tuple[str, str]], preamble: bool
) -> None:
    """Any fields, any content, any boundary, cut anywhere: what comes out is what was put in."""
    delimiter = f"\r\n--{boundary}".encode()
    content = b"".join(
        data.draw(
            st.lists(st.binary(max_size=8) | st.sampled_from([delimiter[:-1], delimiter[1:], b"\r", b"\n", b"-"]))
        )
    )
    fields = without_repetition(drawn)
    texts = [value.encode() for _, value in fields]
    assume(all(delimiter not in value for value in (content, *texts)))
    pieces = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for (name, _), value in zip(fields, texts, strict=True)
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="a-1.zip"\r\n\r\n'
    pieces.insert(data.draw(st.integers(0, len(pieces))), head.encode() + content + b"\r\n")
    body = (b"\r\n" if preamble else b"") + b"".join(pieces) + f"--{boundary}--\r\n".encode()
    cuts = sorted({0, len(body), *data.draw(st.lists(st.integers(0, len(body)), max_size=12))})
    expected: dict[str, tuple[str, ...]] = {}
    for name, value in fields:
        if value.strip() not in ("", "UNKNOWN", "None"):
            expected[name] = (*expected.get(name, ()), value)
    content_type = f'multipart/form-data; boundary="{boundary}"'
    got = parse(*(body[start:end] for start, end in pairwise(cuts)), content_type=content_type)
    assert got == (ParsedForm(expected, "a-1.zip"), content)


def without_repetition(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The fields of a form in which what has one value is given once."""
    kept: list[tuple[str, str]] = []
    for name, value in fields:
        if name not in SINGLE_USE or all(name != other for other, _ in kept):
            kept.append((name, value))
    return kept


def test_what_has_arrived_is_known_before_the_end() -> None:
    """Fields and file name can be asked for while the file is still on its way."""
    taken: list[bytes] = []
    parser = UploadFormParser(TYPE, taken.append, LIMITS)
    parser.feed(part("name", b"demo") + part("version", b"1.0"))
    # The last field's end is the next boundary.
    assert (dict(parser.fields), parser.filename) == ({"name": ("demo",)}, None)
    parser.feed(part("content", b"bytes", filename="demo-1.0.zip")[:-1])
    assert (parser.fields["version"], parser.filename, b"".join(taken)) == (("1.0",), "demo-1.0.zip", b"bytes")


@pytest.mark.conforms("Upload API", "Fields: an empty value, UNKNOWN and None are no value")
@pytest.mark.parametrize("value", [b"", b"UNKNOWN", b"None", b" ", b"UNKNOWN\n"])
def test_absent_values(value: bytes) -> None:
    """The ways in which clients say nothing all count as nothing."""
    assert not parse(form(part("license", value)))[0].fields


def test_field_charsets() -> None:
    """Fields are UTF-8; what is not is taken as Latin-1, never refused."""
    fields = parse(form(part("a", "é☃".encode()), part("b", "é".encode("latin-1"))))[0].fields
    assert fields == {"a": ("é☃",), "b": ("é",)}


@pytest.mark.conforms("Upload API", "Fields: one with a file name that is neither content nor gpg_signature is refused")
@pytest.mark.parametrize("name", ["upload", "name", "attestations", "x" * 100])
def test_other_files(name: str) -> None:
    """Only the file and its signature are files; the answer names the field that is not."""
    with pytest.raises(Invalid, match=f"field '{name[:40]}' has a filename: send the file as content"):
        parse(form(part("version", b"1.0"), part(name, b"bytes", filename="a-1.zip")))


@pytest.mark.conforms("Upload API", "Fields: one that has a single value and is repeated is refused by its name")
@pytest.mark.parametrize("name", sorted(SINGLE_USE))
def test_repeated_fields(name: str) -> None:
    """What has one value cannot be given twice, not even the same; no value beside a value is none."""
    with pytest.raises(Invalid, match=f"gives the field {name} more than once"):
        parse(form(part(name, b"x"), CONTENT, part(name, b"x")))
    assert parse(form(part(name, b""), part(name, b"x"), part(name, b"UNKNOWN")))[0].fields == {name: ("x",)}


@pytest.mark.conforms("Upload API", "Fields: a repeated one has all its values, in their order")
@pytest.mark.parametrize("name", ["classifiers", "requires_dist", "keywords", "unheard_of"])
def test_fields_with_many_values(name: str) -> None:
    """Lists stay lists; distutils sends keywords as one; what nobody knows may be one."""
    assert parse(form(part(name, b"b"), CONTENT, part(name, b"a"), part(name, b"b")))[0].fields == {
        name: ("b", "a", "b")
    }


def test_signatures_are_left_out() -> None:
    """A signature is no second file."""
    body = form(
        part("gpg_signature", b"signature", filename="a-1.zip.asc"),
        part("content", b"bytes", filename="a-1.zip"),
    )
    assert parse(body) == (ParsedForm({}, "a-1.zip"), b"bytes")


def test_attestations_arrive() -> None:
    """Attestations are a field like others, and may be larger than most."""
    attestations = b"[" + b" " * 300_000 + b"]"
    body = form(part("content", b"bytes", filename="a-1.zip"), part("attestations", attestations))
    assert parse(body) == (ParsedForm({"attestations": (attestations.decode(),)}, "a-1.zip"), b"bytes")


def test_old_spelling_of_the_disposition() -> None:
    """Python 2.7 puts no space before the file name."""
    body = form(part("content", b"bytes").replace(b'name="content"', b'name="content";filename="Demo.Pkg-1.0.tar.gz"'))
    assert parse(body)[0].filename == "Demo.Pkg-1.0.tar.gz"


CONTENT = part("content", b"bytes", filename="a-1.zip")

WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "cut off"),
    "no boundary at all": (b"x" * 5000, "does not begin"),
    "long preamble": (b"x" * 2000 + form(CONTENT), "does not begin"),
    "another boundary": (form(CONTENT).replace(b"BOUND", b"OTHER") * 50, "does not begin"),
    "no final boundary": (CONTENT, "cut off"),
    "cut in the file": (form(CONTENT)[:-20], "cut off"),
    "cut in the final boundary": (form(CONTENT)[:-3], "cut off"),
    "two files": (form(CONTENT, part("content", b"x", filename="b")), "two files"),
    "base64": (form(part("content", b"aGVsbG8=", "Content-Transfer-Encoding: base64", filename="a")), "Encoding"),
    "quoted-printable": (form(part("name", b"x", "content-transfer-encoding:  Quoted-Printable")), "Encoding"),
    "content without file name": (form(part("content", b"x")), "must have a filename"),
    "RFC 2231 file name": (
        form(part("content", b"x").replace(b'name="content"', b"name=content; filename*=UTF-8''a.zip")),
        "filename",
    ),
    "too many headers": (form(part("a", b"", *["X-Y: z"] * 20)), "header count"),
    "long header": (form(part("a", b"", "X-Y: " + "z" * 10_000)), "header length"),
    "endless header": (b"--BOUND\r\n" + b"x" * 100_000, "header length"),
    "header without colon": (form(part("a", b"", "nonsense")), "header"),
    "no disposition": (b"--BOUND\r\nX: y\r\n\r\n\r\n--BOUND--\r\n", "Content-Disposition"),
    "wrong part length": (form(part("a", b"x", "Content-Length: 5")), "Content-Length"),
    "file in a body with bare line feeds": (form(CONTENT).replace(b"\r\n", b"\n"), "line feed"),
    "bare line feed in a header": (form(part("a", b"x", "X: y\nX-Z: q")), "line break|line end"),
    "bare line feed after the first line": (
        form(CONTENT, CONTENT).replace(b'zip"\r\n', b'zip"\n'),
        "line break|Malformed|line end",
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("step", [1, 7, 10**6])
def test_wrong_forms(name: str, step: int) -> None:
    """A form that is broken or ambiguous is refused with a sentence."""
    body, why = WRONG[name]
    with pytest.raises(Invalid, match=why) as caught:
        parse(*(body[i : i + step] for i in range(0, len(body), step)))
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 10_000,
        'multipart/form-data; boundary="a\nb"',
        "multipart/mixed; boundary=x",
        "multipart/form-data; boundary=é",
    ],
)
def test_wrong_content_types(content_type: str) -> None:
    """What is no form is refused before its body is looked at."""
    with pytest.raises(Invalid, match="boundary"):
        UploadFormParser(content_type, lambda data: None, LIMITS)


def test_file_limit() -> None:
    """A file of the limit is taken; of one byte more, not, and the byte is not passed on."""
    taken: list[bytes] = []
    assert len(parse(form(part("content", b"x" * LIMIT, filename="a")), limits=LIMITS)[1]) == LIMIT
    parser = UploadFormParser(TYPE, taken.append, LIMITS)
    with pytest.raises(TooLarge, match="1000"):
        parser.feed(form(part("content", b"x" * (LIMIT + 1), filename="a")))
    assert not taken


def test_field_limits() -> None:
    """Fields are bounded, each and all together; a signature as well."""
    limits = FormLimits(field=100, fields=300)
    assert parse(form(part("a", b"x" * 100)), limits=limits)[0].fields["a"] == ("x" * 100,)
    for parts in (
        [part("a", b"x" * 101)],
        [part("a", b"x" * 100)] * 4,
        [part("gpg_signature", b"x" * 101, filename="a.asc")],
    ):
        with pytest.raises(TooLarge, match="too large"):
            parse(form(*parts), limits=limits)


def test_part_limit() -> None:
    """A form has no more parts than it may: fields, those without a value or name, and the file alike."""
    limits = FormLimits(parts=3)
    three = [part("a", b"x"), part("", b""), part("content", b"x", filename="a-1.zip")]
    assert parse(form(*three), limits=limits)[1] == b"x"
    for more in (part("a", b"x"), part("b", b""), part("gpg_signature", b"x", filename="a.asc")):
        with pytest.raises(TooLarge, match="more than 3 parts"):
            parse(form(more, *three), limits=limits)


def test_bare_line_feed_limit() -> None:
    """A body with bare line feeds is kept until its end, so it must be small."""
    body = form(part("name", b"x" * 2_000_000)).replace(b"\r\n", b"\n")
    with pytest.raises(TooLarge, match="bare line feed"):
        parse(*(body[i : i + 65536] for i in range(0, len(body), 65536)))


@given(st.binary(max_size=300), st.integers(1, 50))
@settings(max_examples=300, deadline=None)
def test_noise_is_refused_or_read(noise: bytes, step: int) -> None:
    """Whatever arrives, the answer is a form or one of the two errors."""
    for body in (noise, b"--BOUND\r\n" + noise, form(part("a", b"b"))[:40] + noise):
        try:
            parse(*(body[i : i + step] for i in range(0, len(body), step)), limits=FormLimits(file=50))
        except (Invalid, TooLarge):
            continue
