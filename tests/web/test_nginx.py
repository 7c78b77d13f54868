"""A real nginx in front that sends the files, set up as the README has it: who gets what is decided by Cheddar."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.settings import Settings
from tests.support.distributions import make_wheel
from tests.support.server import JSON, PASSWORD, ROOT, USER, Answer, CheddarHere, ask, basic, free_port
from tests.support.upstream import EvilUpstream
from tests.web.test_connections import request, settled
from tests.web.test_sendfile import connected, stored

NAME, CONTENT = make_wheel("big", "1.0", size=3_000_000)
FAR_NAME, FAR = make_wheel("far", "1.0", size=500_000)
PATH = f"/local/{NAME}"

#: Headers that each server writes for itself.
OWN = ("server", "date", "connection", "transfer-encoding", "accept-ranges")


def blocks(text: str, words: str) -> str:
    """The README's block of nginx's settings that begins with C{words}."""
    found = re.search(rf"^( +){re.escape(words)} \{{\n(?:\1 .*\n)*\1\}}\n", text, re.MULTILINE)
    assert found, words
    return textwrap.dedent(found[0])


def nginx_settings(folder: Path, port: int, behind: int, data_dir: Path) -> str:
    """Of the README, with the addresses of this test."""
    text = (ROOT / "README.rst").read_text()
    server = blocks(text, "server").rstrip().removesuffix("}") + blocks(text, "location /cheddar-files/") + "}\n"
    for old, new in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        ("http://127.0.0.1:5000", f"http://127.0.0.1:{behind}"),
        ("/var/lib/cheddar/", f"{data_dir}/"),
    ):
        assert old in server
        server = server.replace(old, new)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    return (
        f"daemon off; {user} worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {places}\n{server} }}\n"
    )


@pytest_twisted.async_yield_fixture
async def cheddar(reactor: Any, settings: Settings, upstream: EvilUpstream, tmp_path: Path) -> AsyncIterator[Any]:
    """A Cheddar with a local file that takes a login, and one of upstream's that does not."""
    upstream.add_file("far", FAR_NAME, FAR)
    changes = {
        "trusted_proxies": ("127.0.0.1",),
        "x_accel_redirect": "/cheddar-files/",
        "read_auth": ("local",),
        "listen": (f"unix:{tmp_path}/door",),
    }
    server = await CheddarHere(attrs.evolve(settings, **changes), reactor).start()  # type: ignore[arg-type]  # mixed
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    assert (await server.upload(NAME, CONTENT)).status == 200
    yield server
    await server.stop()


@pytest_twisted.async_yield_fixture
async def nginx(cheddar: CheddarHere, reactor: Any, tmp_path: Path) -> AsyncIterator[int]:
    """An nginx before it. Its port."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "nginx is needed to send files: install the package nginx-light"
    folder, port = tmp_path / "nginx", free_port()
    folder.mkdir()
    written = folder / "nginx.conf"
    written.write_text(nginx_settings(folder, port, cheddar.port, cheddar.settings.data_dir))
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(written)], stderr=subprocess.DEVNULL)
    try:
        while True:
            assert process.poll() is None, (folder / "error.log").read_text()
            try:
                if (await deferToThread(ask, port, "GET", "/health/live")).status == 200:
                    break
            except OSError:
                await deferLater(reactor, 0.02)
        yield port
    finally:
        process.terminate()
        await deferToThread(process.wait, 10)


async def get(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    """With a login, through nginx or not."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await deferToThread(ask, port, method, path, None, {"Authorization": basic(), **named})


def others(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers but for those that each server writes for itself."""
    return {name: value for name, value in headers.items() if name not in OWN}


async def test_files_by_nginx(cheddar: CheddarHere, nginx: int, tmp_path: Path, sent: list[int]) -> None:
    """Who asks nginx gets the same as who asks Cheddar, but Cheddar sends no byte of it; whatever part is wanted."""

    def directly() -> tuple[int, dict[str, str], bytes]:
        with connected(cheddar, "unix", tmp_path) as client:
            client.send(request("GET", PATH, Authorization=basic()))
            return client.answer()

    status, headers, body = await deferToThread(directly)
    assert (status, body) == (200, CONTENT), "who does not come from a trusted proxy gets the bytes"
    del sent[:]
    whole = await get(nginx, PATH)
    assert (whole.status, whole.body) == (200, CONTENT)
    assert others(whole.headers) == others(headers)
    head = await get(nginx, PATH, "HEAD")
    assert (head.status, others(head.headers)) == (200, others(headers))
    etag = whole.headers["etag"]
    for wanted, first, last in (("0-0", 0, 0), ("1000000-1999999", 1_000_000, 1_999_999), ("-5", len(CONTENT) - 5, -1)):
        for if_range in ({}, {"If_Range": etag}):
            part = await get(nginx, PATH, Range=f"bytes={wanted}", **if_range)
            assert (part.status, part.body) == (206, CONTENT[first : last % len(CONTENT) + 1])
            assert others(part.headers)["etag"] == etag
    other = await get(nginx, PATH, Range="bytes=0-9", If_Range='"other"')
    assert (other.status, other.body) == (200, CONTENT)
    assert (await get(nginx, PATH, If_None_Match=etag)).status == 304
    assert (await get(nginx, PATH, Range=f"bytes={len(CONTENT)}-")).status == 416
    answer = await get(cheddar.port, PATH)
    assert (answer.body, answer.headers["x-accel-redirect"]) == (
        b"",
        "/cheddar-files" + str(stored(cheddar, NAME)).removeprefix(str(cheddar.settings.data_dir)),
    )
    assert not sent


async def test_nobody_gets_past_cheddar(cheddar: CheddarHere, nginx: int) -> None:
    """What takes a login takes one through nginx, and its files cannot be asked for where they lie."""
    assert (await deferToThread(ask, nginx, "GET", PATH)).status == 401
    place = str(stored(cheddar, NAME)).removeprefix(str(cheddar.settings.data_dir))
    for path in (place, "/cheddar.sqlite", "/audit.jsonl", "/", ""):
        assert (await get(nginx, f"/cheddar-files{path}")).status == 404
    assert (await get(nginx, PATH)).status == 200, "the control"


async def test_files_of_upstream_by_nginx(cheddar: CheddarHere, nginx: int, reactor: Any) -> None:
    """While one is downloaded Cheddar sends it; when it is here nginx does; when it is gone it is fetched again."""
    page = (await get(nginx, "/remote/simple/far/", Accept=JSON)).json()
    path = page["files"][0]["url"].replace("../", "")
    path = f"/{path.lstrip('/')}"
    assert (await get(cheddar.port, path)).body == FAR, "it is on its way"
    await settled(cheddar, reactor)
    (kept,) = cheddar.settings.remote_dir.rglob(FAR_NAME)
    for _ in range(2):
        assert (await get(nginx, path)).body == FAR
        assert (await get(cheddar.port, path)).body == b""
        kept.unlink()
        assert (await get(nginx, path)).body == FAR
        await settled(cheddar, reactor)


@pytest.mark.parametrize("trusted", [(), ("127.0.0.1",)])
async def test_x_sendfile(reactor: Any, settings: Settings, trusted: tuple[str, ...]) -> None:
    """Other servers are told the file's own path; nobody is who is not trusted."""
    changed = attrs.evolve(settings, x_sendfile=True, trusted_proxies=trusted, data_dir=settings.data_dir / "a b")
    cheddar = await CheddarHere(changed, reactor).start()
    try:
        await cheddar.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
        assert (await cheddar.upload(NAME, CONTENT)).status == 200
        answer = await cheddar.ask("GET", PATH)
        where = str(stored(cheddar, NAME).resolve()).replace(" ", "%20")
        assert answer.headers.get("x-sendfile") == (where if trusted else None)
        assert answer.body == (b"" if trusted else CONTENT)
        assert (await cheddar.ask("HEAD", PATH)).headers["content-length"] == str(len(CONTENT))
    finally:
        await cheddar.stop()
