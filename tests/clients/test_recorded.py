"""
Requests as clients sent them, from their headers to the last byte of their bodies.

Each file in C{recorded/} that is named for what it asks holds a head and, where there was one, a body. Left out are the
host, the login, and what the User-Agent says of the machine; uploads were recorded at another path than /pypi/.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import attrs
import pytest
import pytest_twisted

from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.settings import Settings
from tests.support.distributions import core_metadata_of, make_wheel, sha256
from tests.support.server import JSON, PASSWORD, USER, Answer, CheddarHere, basic

RECORDED = Path(__file__).parent / "recorded"
WHEEL = "demo_pkg-1.0-py2.py3-none-any.whl"


def recordings(what: str) -> list[str]:
    """The names of all recordings of a kind."""
    found = sorted(path.stem for path in RECORDED.glob(f"{what}_*.bin"))
    assert found, what
    return found


@attrs.frozen
class Recording:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None


def read(name: str) -> Recording:
    """Take a recording apart."""
    head, _, body = (RECORDED / f"{name}.bin").read_bytes().partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    method, path, _ = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(body) == int(headers.get("Content-Length", 0)), f"{name} is not whole"
    return Recording(method, path, headers, body or None)


@pytest_twisted.async_yield_fixture
async def here(reactor: Any, tmp_path: Path) -> AsyncIterator[CheddarHere]:
    """A Cheddar without an upstream, with one user."""
    server = await CheddarHere(Settings(data_dir=tmp_path / "data", index_url=""), reactor).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    yield server
    await server.stop()


async def replay(here: CheddarHere, name: str, *, login: bool = False, path: str | None = None) -> Answer:
    """Send a recording."""
    request = read(name)
    headers = {**request.headers, **({"Authorization": basic()} if login else {})}
    return await here.ask(request.method, path or request.path, request.body, headers)


async def listed(here: CheddarHere) -> list[dict[str, Any]]:
    """The files on the page of the project that all recordings are about."""
    answer = await here.ask("GET", "/local/simple/demo-pkg/", headers={"Accept": JSON})
    files: list[dict[str, Any]] = answer.json()["files"] if answer.status == 200 else []
    return files


@pytest.mark.parametrize("name", recordings("upload"))
async def test_an_upload_is_accepted(here: CheddarHere, name: str) -> None:
    """Exactly 200, and again, with and without the slash; the file comes back with the bytes that were in the body."""
    assert (await replay(here, name)).status == 401, "the control: not without a login"
    assert await listed(here) == []
    for path in ("/pypi/", "/pypi", "/legacy/"):
        answer = await replay(here, name, login=True, path=path)
        assert answer.status == 200, answer
    (file,) = await listed(here)
    got = await here.ask("GET", urlsplit(urljoin("http://x/local/simple/demo-pkg/", file["url"])).path)
    assert (got.status, sha256(got.body)) == (200, file["hashes"]["sha256"])
    body = read(name).body
    assert body is not None
    assert b"\r\n\r\n" + got.body + b"\r\n--" in body
    assert b'filename="' + file["filename"].encode() + b'"' in body


@pytest.mark.parametrize("name", recordings("upload"))
async def test_a_changed_upload_is_refused(here: CheddarHere, name: str) -> None:
    """Other bytes than the form's digest says are told from what was sent, in every client's spelling."""
    request = read(name)
    assert request.body is not None
    at = request.body.rindex(b'_digest"\r\n\r\n') + len(b'_digest"\r\n\r\n')
    other = b"0" if request.body[at : at + 1] != b"0" else b"1"
    body = request.body[:at] + other + request.body[at + 1 :]
    answer = await here.ask("POST", request.path, body, {**request.headers, "Authorization": basic()})
    assert answer.status == 400, answer
    assert await listed(here) == []


@pytest.mark.parametrize("name", recordings("register_distutils"))
async def test_a_register_is_accepted(here: CheddarHere, name: str) -> None:
    """First without credentials, which asks for them in the realm that distutils knows; then 200, nothing stored."""
    refused = await replay(here, name)
    assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Basic realm="pypi"')
    answer = await replay(here, name, login=True)
    assert answer.status == 200, answer
    assert await listed(here) == []


@pytest.fixture
def wheel() -> bytes:
    """The file that the recorded readers ask for."""
    return make_wheel("demo_pkg", "1.0")[1]


async def ask_for_wheel(here: CheddarHere, wheel: bytes, name: str) -> Answer:
    """Upload the wheel, then replay a request for it at the address that the page gives."""
    assert (await here.upload(WHEEL, wheel)).status == 200
    (file,) = await listed(here)
    address = urlsplit(urljoin("http://x/local/simple/demo-pkg/", file["url"])).path
    request = read(name)
    assert request.path.startswith("/files/"), "recorded at a server with other addresses"
    return await replay(here, name, path=address + request.path.removeprefix(f"/files/{WHEEL}"))


@pytest.mark.parametrize("name", recordings("page"))
async def test_a_page_is_what_the_client_can_read(here: CheddarHere, wheel: bytes, name: str) -> None:
    """Installers, which ask for JSON, get it; hatch, which takes anything and reads HTML, gets that."""
    missing = await replay(here, name)
    assert missing.status == 404, "the control: nothing there yet"
    assert (await here.upload(WHEEL, wheel)).status == 200
    answer = await replay(here, name)
    assert answer.status == 200, answer
    if name == "page_hatch":
        assert answer.headers["content-type"].startswith("text/html")
        assert f">{WHEEL}</a>".encode() in answer.body
    else:
        assert answer.headers["content-type"] == JSON
        assert [file["filename"] for file in answer.json()["files"]] == [WHEEL]


@pytest.mark.parametrize("name", recordings("metadata"))
async def test_metadata_is_served_as_it_is(here: CheddarHere, wheel: bytes, name: str) -> None:
    """The wheel's own METADATA, byte for byte."""
    answer = await ask_for_wheel(here, wheel, name)
    assert (answer.status, answer.body) == (200, core_metadata_of(wheel))


@pytest.mark.parametrize("name", recordings("head"))
async def test_head_says_that_ranges_work(here: CheddarHere, wheel: bytes, name: str) -> None:
    """pip and uv read a wheel's end by ranges only if HEAD gives its length and that it has ranges."""
    answer = await ask_for_wheel(here, wheel, name)
    assert (answer.status, answer.body) == (200, b"")
    assert (answer.headers["content-length"], answer.headers["accept-ranges"]) == (str(len(wheel)), "bytes")


@pytest.mark.parametrize("name", recordings("range"))
async def test_a_range_is_answered(here: CheddarHere, wheel: bytes, name: str) -> None:
    """Ranges longer than the file, from its start or its end, give all of it as 206."""
    answer = await ask_for_wheel(here, wheel, name)
    assert (answer.status, answer.body) == (206, wheel)
    assert answer.headers["content-range"] == f"bytes 0-{len(wheel) - 1}/{len(wheel)}"
    assert len(wheel) < 1283, "shorter than what is asked for"
