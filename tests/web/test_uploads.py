"""Uploads over HTTP, on both stores."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from cheddar.settings import Settings
from tests.support.distributions import core_metadata_of, make_sdist, make_wheel
from tests.support.server import JSON, PASSWORD, CheddarHere, basic, upload_form
from tests.support.upstream import EvilUpstream
from tests.web.test_connections import until

RECORDED = Path(__file__).parent.parent / "clients" / "recorded"


async def page(cheddar: CheddarHere, project: str, index: str = "") -> Any:
    """A project's page in JSON."""
    answer = await cheddar.ask("GET", f"{index}/simple/{project}/", headers={"Accept": JSON})
    assert answer.status == 200, answer
    return answer.json()


def spooled(settings: Settings) -> list[Path]:
    """Files that are on their way in."""
    return [
        path
        for path in (settings.local_dir / ".incoming").rglob("*")
        if path.is_file() and path.name != "lock" and path.stat().st_size
    ]


@pytest.mark.conforms("PEP 658", "Wheels: core metadata is offered, with its hash, byte for byte as in the wheel")
@pytest.mark.conforms("Upload API", "Success: 200 and nothing else, which distutils insists on")
async def test_a_wheel_is_published(cheddar: CheddarHere, settings: Settings) -> None:
    """What was uploaded is listed with its digest, size and core metadata, and served byte for byte."""
    filename, content = make_wheel("Demo.Pkg", "1.10", requires_python=">=3.8", requires=("flask>=2",))
    answer = await cheddar.upload(filename, content, {"name": "Demo.Pkg", "version": "1.10"})
    assert (answer.status, answer.body) == (200, b"")
    document = await page(cheddar, "demo-pkg")
    (file,) = document["files"]
    metadata = core_metadata_of(content)
    assert document["name"] == "demo-pkg"
    assert document["versions"] == ["1.10"]
    assert file["filename"] == filename
    assert file["size"] == len(content)
    assert file["hashes"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert file["requires-python"] == ">=3.8"
    assert file["core-metadata"] == {"sha256": hashlib.sha256(metadata).hexdigest()}
    address = "/simple/demo-pkg/" + file["url"]
    resolved = "/" + address.split("../../", 1)[1]
    assert (await cheddar.ask("GET", resolved)).body == content
    assert (await cheddar.ask("GET", resolved + ".metadata")).body == metadata
    assert [path.name for path in (settings.local_dir / "releases").rglob("*.whl")] == [filename]


async def test_releases_and_pre_releases_lie_apart(cheddar: CheddarHere, settings: Settings) -> None:
    """A backup can leave development builds out."""
    for version in ("1.0", "1.1.dev3", "1.1rc1", "1.0.post1"):
        assert (await cheddar.upload(*make_sdist("demo", version))).status == 200
    names = {
        folder: sorted(path.name for path in (settings.local_dir / folder).rglob("*.gz"))
        for folder in ("releases", "pre-releases")
    }
    assert names == {
        "releases": ["demo-1.0.post1.tar.gz", "demo-1.0.tar.gz"],
        "pre-releases": ["demo-1.1.dev3.tar.gz", "demo-1.1rc1.tar.gz"],
    }


async def test_many_files_make_one_release(cheddar: CheddarHere) -> None:
    """A release has an sdist and wheels beside each other."""
    await cheddar.upload(*make_sdist("demo", "1.0"))
    await cheddar.upload(*make_wheel("demo", "1.0"))
    document = await page(cheddar, "demo")
    assert [file["filename"] for file in document["files"]] == ["demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"]
    assert document["versions"] == ["1.0"]


@pytest.mark.conforms("Upload API", "The same file again: 200, and nothing changes")
@pytest.mark.conforms("Upload API", "Other bytes under a taken name: 409 with the words File already exists")
async def test_a_duplicate_is_a_conflict(cheddar: CheddarHere) -> None:
    """Other bytes under a taken name are a 409 that says so; the same bytes again change nothing."""
    filename, content = make_wheel("demo", "1.0")
    _, other = make_wheel("demo", "1.0", extra=(("demo/other.py", b"x = 1\n"),))
    assert (await cheddar.upload(filename, content)).status == 200
    before = await page(cheddar, "demo")
    assert (await cheddar.upload(filename, content)).status == 200
    conflict = await cheddar.upload(filename, other)
    assert conflict.status == 409
    assert "File already exists" in conflict.reason
    assert conflict.headers["content-type"] == "application/problem+json"
    assert "File already exists" in conflict.json()["detail"]
    assert await page(cheddar, "demo") == before


@pytest.mark.conforms("Upload API", "Uploads of one name at once: one wins, the others are a 409")
async def test_two_uploads_of_one_name_at_once(cheddar: CheddarHere) -> None:
    """One wins, the others get 409, and what is served is one of them whole."""
    contents = [make_wheel("demo", "1.0", extra=((f"demo/{number}.py", b"x\n"),)) for number in range(6)]
    answers = await gatherResults([cheddar.upload(*content) for content in contents])
    assert sorted(answer.status for answer in answers) == [200] + [409] * 5
    winner = contents[[answer.status for answer in answers].index(200)][1]
    (file,) = (await page(cheddar, "demo"))["files"]
    assert file["hashes"]["sha256"] == hashlib.sha256(winner).hexdigest()
    assert (await cheddar.ask("GET", f"/local/{file['filename']}")).body == winner


@pytest.mark.conforms(
    "Upload API", "Login: Basic; without the right one 401 with the realm pypi, before the body is read"
)
@pytest.mark.parametrize(
    ("authorization", "says"),
    [
        (None, "needs a login"),
        (basic("alice", "7"), "wrong password"),
        (basic("nobody", PASSWORD), "wrong password"),
        ("Basic !!!", "Base64"),
        ("Digest x", "Basic"),
        (basic("a" * 5000, "x"), "wrong password"),
        (basic("*", PASSWORD), "wrong password"),
    ],
)
async def test_an_upload_needs_a_login(
    cheddar: CheddarHere, settings: Settings, authorization: str | None, says: str
) -> None:
    """Without the right name and password: 401 with the realm that old clients look for, and nothing is kept."""
    filename, content = make_wheel("demo", "1.0", size=200_000)
    body, content_type = upload_form(filename, content)
    headers = {"Content-Type": content_type, **({"Authorization": authorization} if authorization else {})}
    answer = await cheddar.ask("POST", "/pypi/", body, headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="pypi"'
    assert says in answer.reason
    assert spooled(settings) == []
    assert (await cheddar.ask("GET", "/local/simple/demo/")).status == 404
    assert (await cheddar.upload(filename, content)).status == 200, "the control: with a login it works"


@pytest.mark.conforms("Upload API", "Address: with and without its last slash, without a redirect")
@pytest.mark.parametrize("address", ["/pypi/", "/pypi", "/legacy/", "/legacy"])
async def test_every_upload_address_works(cheddar: CheddarHere, address: str) -> None:
    """With and without the slash at the end, no redirect."""
    body, content_type = upload_form(*make_sdist("demo", "1.0"))
    headers = {"Content-Type": content_type, "Authorization": basic()}
    assert (await cheddar.ask("POST", address, body, headers)).status == 200
    assert (await page(cheddar, "demo"))["versions"] == ["1.0"]


def wrong_uploads() -> list[tuple[str, str, bytes, dict[str, str], str]]:
    """(what is wrong, file name, content, form fields, what the answer says)."""
    wheel, content = make_wheel("demo", "1.0")
    sdist, source = make_sdist("demo", "1.0")
    return [
        ("form name", wheel, content, {"name": "other"}, "other"),
        ("form version", wheel, content, {"version": "2.0"}, "2.0"),
        ("file name", "demo-2.0-py3-none-any.whl", content, {}, "2.0"),
        ("project in the file name", "else-1.0-py3-none-any.whl", content, {}, "demo"),
        ("sha256", wheel, content, {"sha256_digest": "0" * 64}, "sha256"),
        ("md5", wheel, content, {"md5_digest": "0" * 32}, "md5"),
        ("blake2", wheel, content, {"blake2_256_digest": "0" * 64}, "blake2b"),
        ("digest's length", wheel, content, {"md5_digest": "abc"}, "md5_digest"),
        ("not a zip", wheel, b"not a zip", {}, ""),
        ("empty", wheel, b"", {}, ""),
        ("truncated wheel", wheel, content[:-30], {}, ""),
        ("truncated sdist", sdist, source[:-10], {}, ""),
        ("kind of file", "demo-1.0.exe", content, {}, "neither a wheel"),
        ("traversal", "../../demo-1.0.tar.gz", source, {}, "name"),
        ("backslash", "..\\demo-1.0.tar.gz", source, {}, "name"),
        ("hidden", ".demo-1.0.tar.gz", source, {}, "name"),
        ("over-long name", "demo-1.0" + "0" * 300 + ".tar.gz", source, {}, "name"),
        ("protocol", wheel, content, {"protocol_version": "2"}, "protocol_version"),
        ("action", wheel, content, {":action": "explode"}, ":action"),
    ]


@pytest.mark.conforms("Upload API", "Form, file name and core metadata: agree on project and version, or 400")
@pytest.mark.parametrize("wrong", wrong_uploads(), ids=lambda wrong: wrong[0])
async def test_a_wrong_upload_changes_nothing(
    cheddar: CheddarHere, settings: Settings, reactor: Any, wrong: Any
) -> None:
    """400, with what is wrong in reason and body; nothing is kept, listed or left behind."""
    _, filename, content, fields, says = wrong
    answer = await cheddar.upload(filename, content, fields)
    assert answer.status == 400, answer
    assert says in answer.json()["detail"]
    assert answer.reason.startswith("Bad request: ")
    assert (await cheddar.ask("GET", "/local/simple/demo/")).status == 404
    assert [path for path in settings.data_dir.rglob("*demo*") if path.is_file()] == []
    await until(reactor, lambda: not spooled(settings))


@pytest.mark.conforms("Upload API", "Digests: any of md5, sha256, blake2_256, or none; all that are given are compared")
async def test_all_digests_are_compared(cheddar: CheddarHere) -> None:
    """Right digests of every kind that clients send are content, distutils' long BLAKE2b among them."""
    filename, content = make_wheel("demo", "1.0")
    fields = {
        "md5_digest": hashlib.md5(content).hexdigest(),
        "sha256_digest": hashlib.sha256(content).hexdigest().upper(),
        "blake2_256_digest": hashlib.blake2b(content).hexdigest(),
    }
    assert (await cheddar.upload(filename, content, fields)).status == 200


@pytest.mark.conforms("Upload API", "submit and verify: check name and version, keep nothing")
@pytest.mark.parametrize("action", ["submit", "verify", "submit_pkg_info"])
async def test_metadata_is_checked_without_being_kept(cheddar: CheddarHere, action: str) -> None:
    """`register` says whether name and version would do, and stores nothing."""
    headers = {"Authorization": basic(), "Content-Type": "multipart/form-data; boundary=x"}

    def form(**fields: str) -> bytes:
        return (
            "".join(f'--x\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items())
            + "--x--\r\n"
        ).encode()

    good = form(**{":action": action, "name": "demo", "version": "1.0"})
    assert (await cheddar.ask("POST", "/pypi/", good, headers)).status == 200
    for bad in (form(**{":action": action, "name": "demo"}), form(**{":action": action, "name": "-", "version": "1"})):
        assert (await cheddar.ask("POST", "/pypi/", bad, headers)).status == 400
    assert (await cheddar.ask("GET", "/local/simple/", headers={"Accept": JSON})).json()["projects"] == []


@pytest.mark.conforms("Upload API", "Requests of twine, poetry, flit and distutils, as recorded: exactly 200")
@pytest.mark.parametrize(
    ("name", "project"), [("distutils_upload.bin", "demo-pkg"), ("distutils_stdlib_upload.bin", "demo-du")]
)
async def test_recorded_uploads_are_accepted(cheddar: CheddarHere, name: str, project: str) -> None:
    """The very requests that old distutils sent."""
    boundary = "--------------GHSKFJDLGDS7543FJKLFHRE75642756743254"
    headers = {"Authorization": basic(), "Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = await cheddar.ask("POST", "/pypi", (RECORDED / name).read_bytes(), headers)
    assert answer.status == 200, answer
    assert len((await page(cheddar, project))["files"]) == 1


@pytest.mark.conforms("Upload API", "register of distutils: its lines end with a bare line feed, and it is read")
async def test_a_recorded_register_is_accepted(cheddar: CheddarHere) -> None:
    """distutils' `register`: bare line feeds, first without credentials."""
    boundary = "--------------GHSKFJDLGDS7543FJKLFHRE75642756743254"
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}; charset=utf-8"}
    body = (RECORDED / "distutils_register.bin").read_bytes()
    refused = await cheddar.ask("POST", "/pypi", body, headers)
    assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Basic realm="pypi"')
    assert (await cheddar.ask("POST", "/pypi", body, {**headers, "Authorization": basic()})).status == 200


def converse(port: int, pieces: list[bytes], seconds: float = 10) -> bytes:
    """Send raw bytes, then read until the server closes or nothing comes any more."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        got = b""
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                break
        try:
            while chunk := connection.recv(65536):
                got += chunk
                if b"\r\n\r\n" in got and b"Connection: close" not in got:
                    break
        except OSError:
            pass
        return got


async def test_an_unwelcome_body_is_dropped_and_the_answer_read(cheddar: CheddarHere, settings: Settings) -> None:
    """A sender without a login gets its 401 although it sends 20 MB, and nothing of it reaches the disk."""
    head = (
        b"POST /pypi/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 20000000\r\n\r\n"
    )
    got = await deferToThread(converse, cheddar.port, [head, *([b"x" * 1_000_000] * 20)])
    assert got.startswith(b"HTTP/1.1 401 ")
    assert b"WWW-Authenticate" in got
    assert spooled(settings) == []


@pytest.mark.conforms("RFC 9110", "Expect: 100-continue is answered before the body is read")
async def test_a_sender_that_asks_first_is_told_before_it_sends(cheddar: CheddarHere) -> None:
    """With Expect: 100-continue the decision comes before the body (RFC 9110, section 10.1.1)."""
    body, content_type = upload_form(*make_wheel("demo", "1.0"))

    def head(authorization: str) -> bytes:
        return (
            f"POST /pypi/ HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nAuthorization: {authorization}\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        ).encode()

    refused = await deferToThread(converse, cheddar.port, [head(basic("alice", "wrong"))])
    assert refused.startswith(b"HTTP/1.1 401 ")

    def patient() -> bytes:
        with socket.create_connection(("127.0.0.1", cheddar.port), timeout=10) as connection:
            connection.sendall(head(basic()))
            first = connection.recv(100)
            connection.sendall(body)
            return first + connection.recv(10000)

    accepted = await deferToThread(patient)
    assert accepted.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert b"HTTP/1.1 200 OK" in accepted


@pytest.mark.conforms("RFC 9110", "A chunked body without a length is read")
async def test_chunked_uploads_are_read(cheddar: CheddarHere) -> None:
    """A body without a Content-Length, in chunks of odd sizes."""
    body, content_type = upload_form(*make_wheel("demo", "1.0"))
    chunks = [body[at : at + 777] for at in range(0, len(body), 777)]
    pieces = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks]
    head = (
        f"POST /pypi/ HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nAuthorization: {basic()}\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    ).encode()
    got = await deferToThread(converse, cheddar.port, [head, *pieces, b"0\r\n\r\n"])
    assert got.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.conforms("Upload API", "A broken connection: nothing of the file is kept or seen")
async def test_a_client_that_leaves_leaves_nothing(cheddar: CheddarHere, settings: Settings) -> None:
    """Half an upload is no upload."""
    body, content_type = upload_form(*make_wheel("demo", "1.0", size=3_000_000))
    head = (
        f"POST /pypi/ HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nAuthorization: {basic()}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()

    def half() -> int:
        with socket.create_connection(("127.0.0.1", cheddar.port), timeout=10) as connection:
            connection.sendall(head + body[: len(body) // 2])
            for _ in range(200):
                if spooled(settings):
                    break
                threading.Event().wait(0.02)
            return len(spooled(settings))

    assert await deferToThread(half) == 1, "the control: it was on its way in"
    for _ in range(200):
        if not spooled(settings):
            break
        await deferToThread(threading.Event().wait, 0.02)
    assert spooled(settings) == []
    assert (await cheddar.ask("GET", "/local/simple/demo/")).status == 404


@pytest.mark.conforms("Upload API", "Too large: 413, by the length where it is given, else while it streams")
async def test_too_large_is_refused_by_its_header(reactor: Any, settings: Settings, upstream: EvilUpstream) -> None:
    """An upload over the limit is a 413 before its body is read, and one that lies about its length as well."""
    from cheddar.auth.passwords import hash_password
    from cheddar.model import User

    server = await CheddarHere(attrs.evolve(settings, max_upload=100_000), reactor).start()
    try:
        await server.service.store.accounts.put_user(User("alice", hash_password(PASSWORD)))
        head = (
            f"POST /pypi/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            f"Authorization: {basic()}\r\nContent-Length: 99999999999\r\n\r\n"
        ).encode()
        got = await deferToThread(converse, server.port, [head])
        assert got.startswith(b"HTTP/1.1 413 ")
        assert (await server.upload(*make_wheel("demo", "1.0", size=200_000))).status == 413
        assert (await server.upload(*make_wheel("demo", "1.0"))).status == 200, "the control"
        assert spooled(settings) == []
    finally:
        await server.stop()


async def test_a_plain_text_password_becomes_a_hash(cheddar: CheddarHere) -> None:
    """The original's way to add a user goes on working, and the password does not stay readable."""
    from cheddar.model import User

    accounts = cheddar.service.store.accounts
    await accounts.put_user(User("bob", "007"))
    wrong = await cheddar.upload(*make_wheel("demo", "1.0"), authorization=basic("bob", "7"))
    assert wrong.status == 401
    stored = await accounts.user("bob")
    assert stored is not None
    assert stored.password == "007"
    assert (await cheddar.upload(*make_wheel("demo", "1.0"), authorization=basic("bob", "007"))).status == 200
    stored = await accounts.user("bob")
    assert stored is not None
    assert stored.password.startswith("$argon2id$")
    assert (await cheddar.upload(*make_wheel("demo", "1.1"), authorization=basic("bob", "007"))).status == 200
    await accounts.remove_user("bob")
    assert (await cheddar.upload(*make_wheel("demo", "1.2"), authorization=basic("bob", "007"))).status == 401


@pytest.mark.conforms("RFC 9457", "Errors: a problem document for tools, a page for browsers, with one status")
async def test_errors_are_pages_for_browsers(cheddar: CheddarHere) -> None:
    """A browser gets a page, a tool gets a problem document (RFC 9457), with the same status."""
    html = await cheddar.ask("GET", "/simple/nothing-here/1.0", headers={"Accept": "text/html,*/*;q=0.8"})
    tool = await cheddar.ask("GET", "/simple/nothing-here/1.0", headers={"Accept": "*/*"})
    assert html.status == tool.status == 404
    assert html.headers["content-type"].startswith("text/html")
    assert b"nothing-here" in html.body
    assert json.loads(tool.body)["status"] == 404
