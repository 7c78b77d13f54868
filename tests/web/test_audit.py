"""Changes are noted: who, from where, what, and how it ended; and none is made that cannot be noted."""

from __future__ import annotations

import json
from typing import Any

from cheddar.model import EventQuery
from cheddar.settings import Settings
from tests.support.distributions import make_wheel, sha256
from tests.support.server import JSON, CheddarHere, basic

WHEEL, CONTENT = make_wheel("demo", "1.0")
OTHER = make_wheel("demo", "1.0", size=10)[1]


def noted(settings: Settings) -> list[Any]:
    """What the file has, in its order."""
    path = settings.audit_file
    return [json.loads(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []


def outcomes(settings: Settings) -> list[tuple[str, str]]:
    """The actions that the file has, and how each ended; a begin stands for itself."""
    return [(line["action"], line.get("outcome", "done")) for line in noted(settings)]


async def test_an_upload(cheddar: CheddarHere, settings: Settings) -> None:
    """It is noted when it begins and when it has ended, with all that identifies the file."""
    assert (await cheddar.upload(WHEEL, CONTENT, {"name": "Demo", "version": "1.0"})).status == 200
    begun, done = noted(settings)
    assert (begun["outcome"], "outcome" in done) == ("begun", False)
    for line in (begun, done):
        assert line["operation"] == begun["operation"]
        assert {name: line[name] for name in ("action", "who", "address", "project", "filename", "digest")} == {
            "action": "upload",
            "who": "alice",
            "address": "127.0.0.1",
            "project": "demo",
            "filename": WHEEL,
            "digest": sha256(CONTENT),
        }
    (event,) = await cheddar.service.store.events.find(EventQuery(project="demo"), 10)
    assert (event.action, event.outcome, event.digest) == ("upload", "done", sha256(CONTENT))


async def test_every_change(cheddar: CheddarHere, settings: Settings) -> None:
    """Removing, yanking and taking that back too, and what was refused, with the reason."""
    login = {"Authorization": basic()}
    await cheddar.upload(WHEEL, CONTENT)
    assert (await cheddar.upload(WHEEL, OTHER)).status == 409
    assert (await cheddar.ask("PUT", "/simple/demo/1.0/yanked", b"broken", login)).status == 200
    assert (await cheddar.ask("DELETE", "/simple/demo/1.0/yanked", None, login)).status == 200
    assert (await cheddar.ask("DELETE", f"/simple/demo/1.0/{WHEEL}", None, login)).status == 200
    assert (await cheddar.ask("DELETE", "/simple/demo/1.0", None, login)).status == 404
    ended = [pair for pair in outcomes(settings) if pair[1] != "begun"]
    assert ended == [
        ("upload", "done"),
        ("upload", "refused"),
        ("yank", "done"),
        ("unyank", "done"),
        ("delete", "done"),
        ("delete", "refused"),
    ]
    by_action = {(line["action"], line.get("outcome", "done")): line for line in noted(settings)}
    assert "other bytes" in by_action["upload", "refused"]["detail"]
    assert by_action["yank", "done"]["detail"] == "1.0 broken"
    assert by_action["delete", "done"]["filename"] == WHEEL
    found = await cheddar.service.store.events.find(EventQuery(project="demo", outcome="refused"), 10)
    assert [event.action for event in found] == ["delete", "upload"]


async def test_who_may_not(cheddar: CheddarHere, settings: Settings) -> None:
    """A refused login that tries a change is noted, a question whether one is needed is not, nor is any reading."""
    assert (await cheddar.upload(WHEEL, CONTENT, authorization=basic("alice", "wrong"))).status == 401
    assert (await cheddar.ask("POST", "/pypi/", b"")).status == 401
    assert (await cheddar.ask("DELETE", "/simple/demo/1.0")).status == 401
    assert (await cheddar.ask("GET", "/simple/demo/", None, {"Accept": JSON})).status == 404
    (line,) = noted(settings)
    assert (line["action"], line["outcome"], line["address"]) == ("upload", "refused", "127.0.0.1")
    assert "who" not in line


async def test_strangers_do_not_fill_the_log(cheddar: CheddarHere, settings: Settings) -> None:
    """
    What somebody may send without end who has no login is not noted: no login, one that cannot be read, guesses that
    are not looked at any more, pages of other sites, and what is no identity token. What was looked at is.
    """
    evil, guess = {"Origin": "https://evil.example"}, {"Authorization": basic("alice", "wrong")}
    for headers in ({}, evil, {**guess, **evil}, *({"Authorization": value} for value in ("Basic x", "Digest y", "z"))):
        for method, path in (("DELETE", "/simple/demo/1.0"), ("PUT", "/simple/demo/1.0/yanked"), ("POST", "/pypi/")):
            assert (await cheddar.ask(method, path, b"", headers)).status in (401, 403), (headers, path)
    for body in (b"", b"[]", b'{"token": 5}', b'{"token": "a.b.c"}'):
        assert (await cheddar.ask("POST", "/_/oidc/mint-token", body)).status in (400, 404)
    assert (await cheddar.ask("GET", "/_/oidc/audience")).status == 404
    assert noted(settings) == []
    tries = [(await cheddar.ask("DELETE", "/simple/demo/1.0", None, guess)).status for _ in range(15)]
    assert tries == [401] * 10 + [429] * 5
    assert outcomes(settings) == [("delete", "refused")] * 10


async def test_a_form_that_is_refused(cheddar: CheddarHere, settings: Settings) -> None:
    """Whoever sends what cannot be published is noted once."""
    assert (await cheddar.upload("demo-1.0.exe", b"MZ")).status == 400
    assert [pair for pair in outcomes(settings) if pair[1] != "begun"] == [("upload", "refused")]


async def test_no_change_without_its_note(cheddar: CheddarHere, settings: Settings) -> None:
    """Where nothing can be noted nothing is changed: the client is told that there is no room, and what to do."""
    login = {"Authorization": basic()}
    await cheddar.upload(WHEEL, CONTENT)
    settings.audit_file.unlink()
    settings.audit_file.mkdir()
    second = make_wheel("demo", "2.0")
    answers = [
        await cheddar.upload(*second),
        await cheddar.ask("PUT", "/simple/demo/1.0/yanked", b"", login),
        await cheddar.ask("DELETE", "/simple/demo/1.0", None, login),
    ]
    assert [answer.status for answer in answers] == [507] * 3
    page = (await cheddar.ask("GET", "/simple/demo/", None, {"Accept": JSON})).json()
    assert [(file["filename"], "yanked" in file) for file in page["files"]] == [(WHEEL, False)]
    # The control: with room, the very same changes are made.
    settings.audit_file.rmdir()
    assert (await cheddar.upload(*second)).status == 200
    assert (await cheddar.ask("DELETE", "/simple/demo/1.0", None, login)).status == 200
    page = (await cheddar.ask("GET", "/simple/demo/", None, {"Accept": JSON})).json()
    assert [file["filename"] for file in page["files"]] == [second[0]]
