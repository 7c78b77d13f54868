"""
The upload form over HTTP, on both stores: what clients send is taken, what nobody should send is refused.

There is no written standard for it; what it has to be is what the clients of today and of the last years send, and what
the public index takes.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from twisted.internet.threads import deferToThread

from cheddar.settings import Settings
from tests.support.distributions import make_sdist, make_wheel, sha256
from tests.support.server import PASSWORD, USER, Answer, CheddarHere, basic, upload_form
from tests.web.test_connections import until
from tests.web.test_uploads import converse, page, spooled

RECORDED = Path(__file__).parent.parent / "clients" / "recorded"

WHEEL, SDIST = make_wheel("demo", "1.0"), make_sdist("demo", "1.0")
#: One that says itself what L{SINGLE} and the form's requirements say of it: these are compared.
TELLING = make_wheel("demo", "1.0", requires_python=">=3.8", requires=("one", "two"))

#: Every field that core metadata has had, as the form calls it, and what clients send besides.
SINGLE = {
    "metadata_version": "2.6",
    "name": "demo",
    "version": "1.0",
    "summary": "Käse ☃",
    "description": "Many\r\nlines\n\n--frontier- is not the end\n",
    "description_content_type": "text/markdown; charset=UTF-8; variant=GFM",
    "home_page": "https://example.org",
    "download_url": "https://example.org/demo.zip",
    "author": "Ann",
    "author_email": "Ann <ann@example.org>",
    "maintainer": "Bob",
    "maintainer_email": "bob@example.org",
    "license": "MIT",
    "license_expression": "MIT OR Apache-2.0",
    "keywords": "a,b",
    "requires_python": ">=3.8",
    "comment": "for a test",
    "filetype": "bdist_wheel",
    "pyversion": "py3",
}
MULTIPLE = (
    "platform",
    "supported_platform",
    "classifiers",
    "requires",
    "provides",
    "obsoletes",
    "requires_dist",
    "provides_dist",
    "obsoletes_dist",
    "requires_external",
    "project_urls",
    "provides_extra",
    "provides_extras",
    "dynamic",
    "license_file",
    "license_files",
    "import_name",
    "import_names",
    "import_namespace",
    "import_namespaces",
    "platforms",
    "a_field_of_tomorrow",
)


def part(name: str, value: bytes, filename: str | None = None, *more: str) -> bytes:
    """One part of a form."""
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    return "\r\n".join(["--frontier", disposition, *more, "", ""]).encode() + value + b"\r\n"


def file_part(distribution: tuple[str, bytes] = WHEEL) -> bytes:
    """The file, as uv and distutils send it: without a type of its own."""
    return part("content", distribution[1], distribution[0])


ACTION = part(":action", b"file_upload")


async def send(cheddar: CheddarHere, *parts: bytes, path: str = "/pypi/", **headers: str) -> Answer:
    """Send a form of these parts."""
    kind = {"Content-Type": "multipart/form-data; boundary=frontier", "Authorization": basic()}
    body = b"".join(parts) + b"--frontier--\r\n"
    return await cheddar.ask("POST", path, body, {**kind, **headers})


async def assert_refused(
    cheddar: CheddarHere, settings: Settings, answer: Answer, says: str, status: int = 400
) -> None:
    """400, in words; nothing is listed or kept."""
    from twisted.internet import reactor

    assert answer.status == status, answer
    assert says in answer.json()["detail"], answer
    assert (await cheddar.ask("GET", "/local/simple/demo/")).status == 404
    assert [path for path in settings.data_dir.rglob("*demo*") if path.is_file()] == []
    await until(reactor, lambda: not spooled(settings))


@pytest.mark.conforms("Upload API", "Requests of twine, poetry, flit and distutils, as recorded: exactly 200")
@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDED.glob("upload_*.bin")))
async def test_recorded_requests_are_taken(cheddar: CheddarHere, name: str) -> None:
    """The very bytes that a client sent make a listed file with the bytes that were in them."""
    head, _, body = (RECORDED / f"{name}.bin").read_bytes().partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    answer = await cheddar.ask("POST", "/pypi/", body, {**headers, "Authorization": basic()})
    assert answer.status == 200, answer
    (file,) = (await page(cheddar, "demo-pkg", "/local"))["files"]
    content = (await cheddar.ask("GET", f"/local/{file['filename']}")).body
    assert b"\r\n\r\n" + content + b"\r\n--" in body
    assert sha256(content) == file["hashes"]["sha256"]


@pytest.mark.conforms("Upload API", "Fields: in any order, before the file and after it")
async def test_the_order_of_fields_is_free(cheddar: CheddarHere) -> None:
    """twine sends the file last, Python 2.7 before its name and action, and not all say what type it has."""
    fields = [ACTION, part("name", b"demo"), part("protocol_version", b"1")]
    typed = part("content", WHEEL[1], WHEEL[0], "Content-Type: application/octet-stream")
    for parts in ([file_part(), *fields], [*fields, file_part()], [*fields[:1], typed, *fields[1:]]):
        assert (await send(cheddar, *parts)).status == 200
    assert (await cheddar.ask("GET", f"/local/{WHEEL[0]}")).body == WHEEL[1]


TAILS = (
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n-",
    b"\r\n--",
    b"\r\n--frontie",
    b"--frontier--",
    b"\n--frontier--\n",
)


@pytest.mark.conforms("Upload API", "content: its bytes as sent, whatever they are and however they arrive")
async def test_files_may_end_in_anything(cheddar: CheddarHere) -> None:
    """Line ends and half a boundary at the end of a file are of the file, wherever the network cuts."""
    for number, tail in enumerate(TAILS):
        filename, content = make_wheel("demo", f"1.{number}")
        buffer = io.BytesIO(content)
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.comment = tail
        content = buffer.getvalue()
        assert content.endswith(tail)
        body, content_type = upload_form(filename, content)
        head = (
            f"POST /pypi/ HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nAuthorization: {basic()}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode()
        near = len(body) - 40
        pieces = [head + body[:near], *(body[at : at + 1] for at in range(near, len(body)))]
        got = await deferToThread(converse, cheddar.port, pieces)
        assert got.startswith(b"HTTP/1.1 200 OK"), got
        assert (await cheddar.ask("GET", f"/local/{filename}")).body == content


@pytest.mark.conforms("Upload API", "Fields: all of core metadata 1.0 to 2.6, in every spelling that clients have")
async def test_every_field_is_taken(cheddar: CheddarHere) -> None:
    """Whatever a client tells of the file, in singular or plural, once or many times, today or tomorrow."""
    single = [part(name, value.encode()) for name, value in SINGLE.items()]
    values = {"requires_dist": (b"one", b"two")}
    multiple = [part(name, value) for name in MULTIPLE for value in values.get(name, (b"one, x", b"two, y"))]
    answer = await send(cheddar, ACTION, *single, part("keywords", b"c"), *multiple, file_part(TELLING))
    assert answer.status == 200, answer
    (file,) = (await page(cheddar, "demo", "/local"))["files"]
    assert file["requires-python"] == ">=3.8"


@pytest.mark.conforms("Upload API", "Fields: an empty value, UNKNOWN and None are no value")
@pytest.mark.parametrize("absent", ["", "UNKNOWN", "None"])
async def test_what_is_not_said_is_not_compared(cheddar: CheddarHere, absent: str) -> None:
    """In the place of every field there is, "not said" harms nobody."""
    names = [*SINGLE, *MULTIPLE, "protocol_version", "md5_digest", "sha256_digest", "blake2_256_digest"]
    parts = [part(name, absent.encode()) for name in names]
    assert (await send(cheddar, ACTION, *parts, *parts, file_part())).status == 200


@pytest.mark.conforms("Upload API", "Fields: one that has a single value and is repeated is refused by its name")
@pytest.mark.parametrize("name", sorted(SINGLE.keys() - {"keywords"}))
async def test_repeated_fields(cheddar: CheddarHere, settings: Settings, name: str) -> None:
    """It could mean either value: the answer says which field it is."""
    once = part(name, SINGLE[name].encode())
    answer = await send(cheddar, ACTION, once, file_part(TELLING), once)
    await assert_refused(cheddar, settings, answer, f"the field {name} more than once")
    assert (await send(cheddar, ACTION, once, file_part(TELLING))).status == 200, "the control"


@pytest.mark.conforms("Upload API", "Fields: one with a file name that is neither content nor gpg_signature is refused")
async def test_other_files(cheddar: CheddarHere, settings: Settings) -> None:
    """A field that is a file is neither read nor taken for the file."""
    for parts in ([part("summary", b"x", "x.txt"), file_part()], [part("file", WHEEL[1], WHEEL[0])]):
        await assert_refused(cheddar, settings, await send(cheddar, ACTION, *parts), "has a filename")


@pytest.mark.conforms("Upload API", "gpg_signature: taken and dropped; no page says that there is one")
async def test_signatures_are_dropped(cheddar: CheddarHere) -> None:
    """A signature, as a file or as text, changes nothing: no .asc is served, and no page says so."""
    signature = part("gpg_signature", b"-----BEGIN PGP SIGNATURE-----", f"{WHEEL[0]}.asc")
    assert (await send(cheddar, ACTION, signature, file_part(), part("gpg_signature", b"x"))).status == 200
    (file,) = (await page(cheddar, "demo", "/local"))["files"]
    assert not file.get("gpg-sig")
    address = urlsplit(urljoin("http://x/local/simple/demo/", file["url"])).path
    assert (await cheddar.ask("GET", address)).status == 200
    assert (await cheddar.ask("GET", f"{address}.metadata")).status == 200, "the control"
    assert (await cheddar.ask("GET", f"{address}.asc")).status == 404
    html = await cheddar.ask("GET", "/local/simple/demo/", headers={"Accept": "text/html"})
    assert b"data-gpg-sig" not in html.body


KINDS: list[tuple[tuple[str, bytes], dict[str, str], str]] = [
    (WHEEL, {}, ""),
    (WHEEL, {"filetype": "bdist_wheel", "pyversion": "py3"}, ""),
    (WHEEL, {"filetype": "bdist_wheel", "pyversion": "3.8"}, ""),
    (WHEEL, {"filetype": "bdist_wheel", "pyversion": ""}, ""),
    (WHEEL, {"pyversion": "any"}, ""),
    (SDIST, {}, ""),
    (SDIST, {"filetype": "sdist"}, ""),
    (SDIST, {"filetype": "sdist", "pyversion": ""}, ""),
    (SDIST, {"filetype": "sdist", "pyversion": "source"}, ""),
    (WHEEL, {"filetype": "sdist"}, "filetype is 'sdist', but demo-1.0-py3-none-any.whl is a wheel: send 'bdist_wheel'"),
    (WHEEL, {"filetype": "bdist_egg"}, "filetype"),
    (WHEEL, {"pyversion": "source"}, "pyversion is 'source', but demo-1.0-py3-none-any.whl is a wheel"),
    (SDIST, {"filetype": "bdist_wheel"}, "filetype is 'bdist_wheel', but demo-1.0.tar.gz is an sdist: send 'sdist'"),
    (SDIST, {"filetype": "bdist_dumb"}, "filetype"),
    (SDIST, {"filetype": "sdist", "pyversion": "py3"}, "pyversion is 'py3', but demo-1.0.tar.gz is an sdist"),
]


@pytest.mark.conforms("Upload API", "filetype and pyversion: may be missing, and must not contradict the file's name")
@pytest.mark.parametrize("case", KINDS, ids=lambda case: f"{case[0][0][-4:]} {case[1]}")
async def test_the_kind_of_file(cheddar: CheddarHere, settings: Settings, case: Any) -> None:
    """flit and distutils leave one or the other out, and old tools say which Python built a wheel."""
    distribution, fields, says = case
    answer = await cheddar.upload(*distribution, fields)
    if says:
        await assert_refused(cheddar, settings, answer, says)
    else:
        assert answer.status == 200, answer


@pytest.mark.conforms("Upload API", "Digests: any of md5, sha256, blake2_256, or none; all that are given are compared")
async def test_digests(cheddar: CheddarHere, settings: Settings) -> None:
    """Each kind alone, in either case of letters, right and wrong; a BLAKE2 as distutils has it; and none at all."""
    content = WHEEL[1]
    digests = [
        ("md5_digest", hashlib.md5(content).hexdigest()),
        ("sha256_digest", hashlib.sha256(content).hexdigest()),
        ("blake2_256_digest", hashlib.blake2b(content, digest_size=32).hexdigest()),
        ("blake2_256_digest", hashlib.blake2b(content).hexdigest()),
    ]
    for field, digest in digests:
        other = digest[:-1] + ("0" if digest[-1] != "0" else "1")
        for wrong, says in ((other, "the form says"), ("z" + digest[1:], "the form says"), (digest[1:], "not a hex")):
            await assert_refused(cheddar, settings, await cheddar.upload(*WHEEL, {field: wrong}), says)
    for field, digest in digests:
        for fields in ({field: digest}, {field: digest.upper()}, {}):
            assert (await cheddar.upload(*WHEEL, fields)).status == 200


@pytest.mark.conforms("PEP 440", "Versions: file name, metadata and form are compared as versions, not as text")
async def test_versions_are_compared_as_versions(cheddar: CheddarHere, settings: Settings) -> None:
    """1.0.0 and 1.0 are one version, however the file's name, its metadata and the form write it; 1.0.1 is another."""
    filename = SDIST[0].replace("1.0", "1.0.0")
    for version in ("1.0.1", "1.0.post0", "1!1.0"):
        await assert_refused(cheddar, settings, await cheddar.upload(*SDIST, {"version": version}), version)
    assert (await cheddar.upload("demo-1.0.1.tar.gz", SDIST[1])).status == 400
    assert (await cheddar.upload(filename, SDIST[1], {"version": "v1"})).status == 200
    assert (await cheddar.upload(*WHEEL, {"version": "1.0.0.0"})).status == 200


@pytest.mark.conforms("PEP 440", "Local versions, and projects that are not for the public: taken")
async def test_private_releases(cheddar: CheddarHere) -> None:
    """What the public index refuses is what a private one is for."""
    for version in ("1.0+cpu.1", "1!2.0", "1.0.dev1"):
        filename, content = make_wheel("demo", version)
        fields = {"name": "Demo", "version": version, "classifiers": "Private :: Do Not Upload"}
        assert (await cheddar.upload(filename, content, fields)).status == 200
        assert (await cheddar.ask("GET", f"/local/{filename}")).body == content
    assert (await page(cheddar, "demo", "/local"))["versions"] == ["1.0.dev1", "1.0+cpu.1", "1!2.0"]


@pytest.mark.conforms("Core metadata", "Metadata-Version: a later minor version is taken, a later major one refused")
async def test_metadata_to_come(cheddar: CheddarHere, settings: Settings) -> None:
    """2.6 and what may come after it can be published; what 3.0 would mean nobody knows yet."""
    answer = await cheddar.upload(*make_sdist("demo", "1.0", metadata_version="3.0"))
    await assert_refused(cheddar, settings, answer, "of version 3.0")
    for number, version in enumerate(("1.0", "2.6", "2.9")):
        assert (await cheddar.upload(*make_sdist("demo", f"1.{number}", metadata_version=version))).status == 200


@pytest.mark.conforms("Upload API", "protocol_version: 1, which may be left out; another is refused")
@pytest.mark.conforms("Upload API", ":action: in the form or in the query; an unknown one is refused")
async def test_action_and_protocol(cheddar: CheddarHere, settings: Settings) -> None:
    """Old tools name the action in the address; without one, a form with a file is an upload."""
    for parts in ([part("protocol_version", b"2"), ACTION], [part(":action", b"upload")]):
        await assert_refused(cheddar, settings, await send(cheddar, *parts, file_part()), "The form's ")
    unknown = await send(cheddar, file_part(), path="/pypi/?:action=explode")
    await assert_refused(cheddar, settings, unknown, ":action")
    await assert_refused(cheddar, settings, await send(cheddar, ACTION, part("name", b"demo")), "no file")
    for path, parts in (("/pypi/?:action=file_upload", []), ("/pypi/", [ACTION]), ("/pypi/", [])):
        assert (await send(cheddar, *parts, file_part(), path=path)).status == 200
    for withdrawn in (b"doc_upload", b"user", b"password_reset"):
        assert (await send(cheddar, part(":action", withdrawn))).status == 410


BAD_NAMES = (
    "demo-1.0\0.tar.gz",
    "demo\r-1.0.tar.gz",
    "demo\t-1.0.tar.gz",
    "demo-1.0.tar.gz\x7f",
    "..\\demo-1.0.tar.gz",
    "/etc/demo-1.0.tar.gz",
    "..",
    ".",
    "",
    "demo-1.0.tar.gz/",
    "demo%2F-1.0.tar.gz",
    "demo-1.0.tar.gz;x",
    "démo-1.0.tar.gz",
    'de"mo-1.0.tar.gz',
    "demo -1.0.tar.gz",
    "-demo-1.0.tar.gz",
    "demo-1.0..tar.gz",
    "demo-1.0.TAR.GZ",
    "demo-1.0.tar.bz2",
    "demo.tar.gz",
    "demo-1.0-py3-none.whl",
)


@pytest.mark.conforms("Upload API", "File names: nothing but a plain name of a wheel or an sdist, and never a path")
async def test_file_names_that_are_none(cheddar: CheddarHere, settings: Settings) -> None:
    """Whatever stands where the file's name should be, it names nothing on the server."""
    for name in BAD_NAMES:
        answer = await send(cheddar, ACTION, part("content", SDIST[1], name))
        await assert_refused(cheddar, settings, answer, "")
    starred = file_part(SDIST).replace(b'filename="demo-1.0.tar.gz"', b"filename*=UTF-8''demo-1.0.tar.gz")
    await assert_refused(cheddar, settings, await send(cheddar, ACTION, starred), "filename")
    quoted = file_part(SDIST).replace(b'"demo-1.0.tar.gz"', b"demo-1.0.tar.gz")
    assert (await send(cheddar, ACTION, quoted)).status == 200, "the control: quotes may be left out"
    windows = part("content", SDIST[1], "C:\\fakepath\\demo-1.0.tar.gz")
    assert (await send(cheddar, ACTION, windows)).status == 200, "what old browsers send means the name alone"
    assert [file["filename"] for file in (await page(cheddar, "demo", "/local"))["files"]] == ["demo-1.0.tar.gz"]


@pytest.mark.conforms("RFC 9110", "A broken multipart body: 400, whatever is wrong with it")
async def test_broken_forms(cheddar: CheddarHere, settings: Settings) -> None:
    """No boundary, no end, endless headers, or fields without number: an answer, and nothing kept."""
    kind = {"Authorization": basic()}
    whole = ACTION + file_part() + b"--frontier--\r\n"
    for body, content_type in (
        (whole, "multipart/form-data"),
        (whole, "multipart/form-data; boundary=other"),
        (whole, "application/x-www-form-urlencoded"),
        (whole, "text/plain"),
        (whole[:-14], "multipart/form-data; boundary=frontier"),
        (whole[: len(whole) // 2], "multipart/form-data; boundary=frontier"),
        (b"", "multipart/form-data; boundary=frontier"),
        (ACTION + part("x", b"y", None, "X: " + "z" * 1_000_000) + whole, "multipart/form-data; boundary=frontier"),
        (ACTION + file_part() * 2 + b"--frontier--\r\n", "multipart/form-data; boundary=frontier"),
    ):
        answer = await cheddar.ask("POST", "/pypi/", body, {**kind, "Content-Type": content_type})
        await assert_refused(cheddar, settings, answer, "")
    kind |= {"Content-Type": "multipart/form-data; boundary=frontier"}
    answer = await cheddar.ask("POST", "/pypi/", part("x", b"y") * 10_000 + whole, kind)
    await assert_refused(cheddar, settings, answer, "parts", 413)
    answer = await cheddar.ask(
        "POST", "/pypi/", whole, {**kind, "Content-Type": "multipart/form-data; boundary=frontier"}
    )
    assert answer.status == 200, "the control"


@pytest.mark.conforms("RFC 9110", "405 with Allow: uploads to addresses that take none")
@pytest.mark.parametrize("path", ["/simple/", "/simple/demo/", "/local/simple/", "/remote/simple/", "/"])
async def test_uploads_to_a_page(cheddar: CheddarHere, path: str) -> None:
    """Who uploads to the address of a page is told so, and GET at the address for uploads."""
    answer = await send(cheddar, ACTION, file_part(), path=path)
    assert answer.status == 405, answer
    assert "POST" not in answer.headers["allow"]
    assert (await cheddar.ask("GET", "/local/simple/demo/")).status == 404
    got = await cheddar.ask("PUT", "/pypi/", b"", {"Authorization": basic()})
    assert (got.status, "POST" in got.headers["allow"]) == (405, True)


@pytest.mark.conforms("Upload API", "Refusals: the reason in the status line and in a JSON body for who asks for JSON")
async def test_reasons_are_one_line(cheddar: CheddarHere) -> None:
    """distutils and twine print the status line, uv the body: both say it, whatever the file has in it."""
    buffer = io.BytesIO(WHEEL[1])
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("demo/é☃\u2028.py", b"")
    body, content_type = upload_form(WHEEL[0], buffer.getvalue())
    headers = {
        "Content-Type": content_type,
        "Authorization": basic(),
        "Accept": "application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7",
    }
    answer = await cheddar.ask("POST", "/pypi/", body, headers)
    assert answer.status == 400
    assert answer.reason.startswith("Bad request: demo-1.0-py3-none-any.whl is not a whole wheel: it holds ")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "é☃" in answer.json()["detail"]


def curl(folder: Path, port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Upload with curl, as the README has it."""
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--verbose", "--write-out", "%{http_code}", *arguments,
         f"http://127.0.0.1:{port}/pypi/"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.conforms("RFC 9110", "Expect: 100-continue is answered before the body is read")
@pytest.mark.conforms("RFC 9110", "A chunked body without a length is read")
async def test_curl(cheddar: CheddarHere, tmp_path: Path) -> None:
    """curl waits for a 100 Continue with what is large; refused, it need not send; in chunks it says no length."""
    for number, more in enumerate(((), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect:"))):
        filename, content = make_wheel("demo", f"1.{number}", size=2_000_000)
        (tmp_path / filename).write_bytes(content)
        fields = ("-F", ":action=file_upload", "-F", f"content=@{filename}")
        wrong = await deferToThread(curl, tmp_path, cheddar.port, "-u", f"{USER}:wrong", *more, *fields)
        assert wrong.stdout.endswith("401"), wrong.stderr
        assert "HTTP/1.1 100 Continue" not in wrong.stderr
        done = await deferToThread(curl, tmp_path, cheddar.port, "-u", f"{USER}:{PASSWORD}", *more, *fields)
        assert (done.returncode, done.stdout) == (0, "200"), done.stderr
        assert ("HTTP/1.1 100 Continue" in done.stderr) == ("Expect:" not in more)
        assert ("Content-Length: " in done.stderr.split("< HTTP")[0]) == ("chunked" not in " ".join(more))
        assert (await cheddar.ask("GET", f"/local/{filename}")).body == content
