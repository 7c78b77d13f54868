"""API tokens through the front door: what their bearers may do, and how they are told what they may not."""

from __future__ import annotations

import base64
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, eventAsText, globalLogPublisher

from cheddar.auth.passwords import hash_password
from cheddar.auth.tokens import REFUSED
from cheddar.formats.tokens import parse_token
from cheddar.model import Action, User
from cheddar.settings import Settings
from tests.support.distributions import make_wheel
from tests.support.server import JSON, PASSWORD, USER, CheddarHere, basic, upload_form
from tests.support.tokens import made
from tests.web.test_connections import Client
from tests.web.test_uploads import spooled

#: Far more than what a connection holds on its way.
SIZE = 20_000_000

only_sqlite = pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)


@pytest_twisted.async_yield_fixture
async def private(reactor: Any, settings: Settings) -> AsyncIterator[CheddarHere]:
    """A Cheddar whose readers log in, with two projects."""
    server = await CheddarHere(attrs.evolve(settings, read_auth=True), reactor).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    for name in ("acme-web", "other"):
        assert (await server.upload(*make_wheel(name, "1.0"))).status == 200
    yield server
    await server.stop()


def given(text: str) -> tuple[str, ...]:
    """The ways to give a token: values of an Authorization header."""
    return (
        basic("__token__", text),
        f"Bearer {text}",
        f"bearer  {text} ",
        "basic " + base64.b64encode(f"__token__:{text}".encode()).decode(),
    )


async def status(server: CheddarHere, text: str, method: str, path: str) -> int:
    answer = await server.ask(method, path, headers={"Authorization": f"Bearer {text}"})
    return answer.status


async def test_a_token_is_a_login(cheddar: CheddarHere) -> None:
    """By Basic as __token__ or as a Bearer, it publishes in its owner's name, until it is revoked."""
    store = cheddar.service.store
    text = await made(store, USER, Action.UPLOAD)
    for number, authorization in enumerate(given(text)):
        answer = await cheddar.upload(*make_wheel("demo", f"1.{number}"), authorization=authorization)
        assert answer.status == 200, answer
    project = await store.projects.project("demo")
    assert {file.uploaded_by for file in project.files} == {USER}
    assert len(project.files) == 4
    (token,) = await store.tokens.tokens(USER)
    assert token.last_used is not None
    assert (await cheddar.upload(*make_wheel("demo", "2.0"), authorization=basic(USER, text))).status == 401
    assert await store.tokens.revoke_token(token.id)
    for authorization in given(text):
        answer = await cheddar.upload(*make_wheel("demo", "2.0"), authorization=authorization)
        assert answer.status == 401


@only_sqlite
async def test_a_token_that_is_none_is_told_how_to_get_one(cheddar: CheddarHere) -> None:
    """Malformed, unknown or expired: the same 401, in the words that clients show, and asking for Basic alone."""
    store = cheddar.service.store
    over = await made(store, USER, Action.UPLOAD, days=-1)
    known = await made(store, USER, Action.UPLOAD)
    revoked = await made(store, USER, Action.UPLOAD)
    assert await store.tokens.revoke_token(parse_token(revoked)[0])
    said = set()
    for wrong in (over, revoked, known[:-1], "", "x", "chd_"):
        for authorization in given(wrong):
            answer = await cheddar.upload(*make_wheel("demo", "1.0"), authorization=authorization)
            assert answer.status == 401, authorization
            assert answer.headers["www-authenticate"] == 'Basic realm="pypi"'
            assert REFUSED in answer.reason
            said.add((answer.reason, answer.body))
    assert len(said) == 1
    for odd in ("Digest abc", "Bearer", f"Bearer {known} {known}", f"Bearer {known},", "Bearer \xff\xfe"):
        assert (await cheddar.upload(*make_wheel("demo", "1.0"), authorization=odd)).status == 401, odd
    assert (await cheddar.upload(*make_wheel("demo", "1.0"), authorization=f"Bearer {known}")).status == 200


async def test_a_token_is_for_what_it_names(cheddar: CheddarHere, settings: Settings) -> None:
    """One for uploads to a namespace publishes there alone, and does nothing else; the refusal says what it is for."""
    store = cheddar.service.store
    for name in ("acme-web", "other"):
        assert (await cheddar.upload(*make_wheel(name, "1.0"))).status == 200
    text = await made(store, USER, Action.UPLOAD, Action.YANK, projects=("acme-*",))
    login = {"Authorization": f"Bearer {text}"}
    for name, version, expected in (
        ("acme-web", "1.1", 200),
        ("Acme.New", "1.0", 200),
        ("other", "1.1", 403),
        ("acmenot", "1.0", 403),
    ):
        for fields in ({"name": name, "version": version}, {}):
            answer = await cheddar.upload(*make_wheel(name, version), fields, authorization=f"Bearer {text}")
            assert answer.status == expected, (name, fields)
            if expected == 403:
                assert f"may not upload {name} here: it is for upload, yank of acme-*." in answer.reason
                assert "cheddar token create" in answer.reason
                assert text not in answer.reason
    assert spooled(settings) == []
    body, content_type = upload_form(
        *make_wheel("other", "1.1"), {":action": "submit", "name": "other", "version": "1"}
    )
    checked = await cheddar.ask("POST", "/pypi/", body, {**login, "Content-Type": content_type})
    assert checked.status == 403
    for method, path, expected in (
        ("PUT", "/simple/Acme_Web/1.0/yanked", 200),
        ("PUT", "/simple/other/1.0/yanked", 403),
        ("DELETE", "/simple/acme-web/1.0/yanked", 200),
        ("DELETE", "/simple/acme-web/1.0", 403),
        ("DELETE", "/simple/other/1.0", 403),
        # What everybody may do, it does not keep anybody from.
        ("GET", "/simple/other/", 200),
        ("GET", "/simple/", 200),
    ):
        assert await status(cheddar, text, method, path) == expected, (method, path)
    listed = (await cheddar.ask("GET", "/simple/", headers={"Accept": JSON})).json()["projects"]
    assert [project["name"] for project in listed] == ["acme-new", "acme-web", "other"]
    document = (await cheddar.ask("GET", "/simple/other/", headers={"Accept": JSON})).json()
    assert document["versions"] == ["1.0"]
    assert not document["files"][0].get("yanked")


@only_sqlite
async def test_a_refused_project_is_told_before_its_file(cheddar: CheddarHere, settings: Settings) -> None:
    """As soon as the form names the project: what follows is not kept, and its sender reads the answer."""
    texts = {name: await made(cheddar.service.store, USER, Action.UPLOAD, projects=(name,)) for name in ("demo", "x")}
    body, content_type = upload_form("demo-1.0-py3-none-any.whl", b"x" * SIZE, {"name": "Demo", "version": "1.0"})
    fields_end = body.index(b"x" * 1000)

    def send(text: str) -> tuple[bytes, int]:
        """@return: what is answered before the file is sent, and how many files are being kept when half of it is."""
        head = (
            f"POST /pypi/ HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nAuthorization: Bearer {text}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        with Client(cheddar.port) as client:
            client.send(head + body[: fields_end + 1000])
            answer = b""
            if text == texts["x"]:
                code, _, answer = client.answer()
                assert code == 403
            client.send(body[fields_end + 1000 : SIZE // 2])
            for _ in range(200):
                if bool(spooled(settings)) is not bool(answer):
                    break
                threading.Event().wait(0.02)
            return answer, len(spooled(settings))

    answer, kept = await deferToThread(send, texts["x"])
    assert b"may not upload demo here" in answer
    assert kept == 0
    answer, kept = await deferToThread(send, texts["demo"])
    assert (answer, kept) == (b"", 1), "the control: for this one it is kept"


async def test_reading_with_a_token(private: CheddarHere) -> None:
    """Where reading needs a login a token is one, for the projects and indexes that it names; lists are of all."""
    store = private.service.store
    everything = await made(store, USER, Action.READ)
    acme = await made(store, USER, Action.READ, projects=("acme-*",))
    local = await made(store, USER, Action.READ, indexes=("local",))
    uploads = await made(store, USER, Action.UPLOAD)
    page = await private.ask("GET", "/simple/acme-web/", headers={"Accept": JSON, "Authorization": basic()})
    file = page.json()["files"][0]["url"].removeprefix("../..")
    for path, expected in (
        ("/simple/acme-web/", (200, 200, 403, 403)),
        (file, (200, 200, 200, 403)),
        (f"{file}.metadata", (200, 200, 200, 403)),
        ("/pypi/acme-web/json", (200, 200, 403, 403)),
        ("/local/simple/acme-web/", (200, 200, 200, 403)),
        ("/simple/acme-web/1.0", (200, 200, 200, 403)),
        ("/simple/acme-nothing/", (404, 404, 403, 403)),
        # Nor does anybody learn what is there.
        ("/simple/other/", (200, 403, 403, 403)),
        ("/simple/nothing/", (404, 403, 403, 403)),
        ("/local/simple/other/", (200, 403, 200, 403)),
        ("/local/other-1.0-py3-none-any.whl", (200, 403, 200, 403)),
        ("/simple/", (200, 403, 403, 403)),
        ("/local/simple/", (200, 403, 200, 403)),
        ("/", (200, 403, 403, 403)),
        ("/health/live", (200, 200, 200, 200)),
    ):
        found = tuple([await status(private, text, "GET", path) for text in (everything, acme, local, uploads)])
        assert found == expected, path
    answer = await private.ask("GET", "/simple/acme-web/", headers={"Authorization": f"Bearer {acme}"})
    assert answer.headers["cache-control"].startswith("private, ")
    assert await status(private, everything, "DELETE", "/simple/acme-web/1.0") == 403


@only_sqlite
async def test_no_secret_is_written_anywhere(cheddar: CheddarHere, tmp_path: Path) -> None:
    """Neither logs nor metrics nor answers nor the store have a token; its digest is in the store alone."""
    text = await made(cheddar.service.store, USER, Action.UPLOAD, projects=("demo",))
    token_id, secret = parse_token(text)
    token = await cheddar.service.store.tokens.token(token_id)
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        answers = []
        for authorization in (*given(text), *given(text[:-1])):
            answers.append(await cheddar.upload(*make_wheel("demo", "1.0"), authorization=authorization))
            answers.append(await cheddar.upload(*make_wheel("other", "1.0"), authorization=authorization))
        answers.append(await cheddar.ask("GET", "/metrics"))
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert {answer.status for answer in answers} == {200, 401, 403}
    written = "\n".join([*map(eventAsText, events), *map(str, events), *map(str, answers)])
    assert f"{USER} (token {token_id}) published" in written, "the control: this is the log"
    assert 'cheddar_token_logins_total{outcome="refused"}' in written
    audit = cheddar.settings.audit_file.read_text()
    assert f'"via":"{token_id}"' in audit.replace(": ", ":"), "the audit log has its id"
    written += audit
    for canary in (secret, base64.b64encode(f"__token__:{text}".encode()).decode(), token.digest):
        assert canary not in written
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert secret.encode() not in kept
    assert token.digest.encode() in kept, "the control: this is the store"
