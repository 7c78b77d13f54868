"""
Who is answered what: every rule, every method, everybody. The answers are in C{matrix.txt} beside this file.

After a change that is meant to change them: C{pytest tests/web/test_matrix.py --write-matrix}, and read the difference.
"""

from __future__ import annotations

import http.client
import re
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import pytest
from argon2 import PasswordHasher
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from cheddar.auth import known_rights
from cheddar.model import Action, Right, Role, User
from cheddar.settings import Settings
from tests.contracts.test_project_store import wheel
from tests.support.distributions import make_wheel, sha256
from tests.support.server import CheddarHere, basic, upload_form
from tests.support.tokens import made

GOLDEN = Path(__file__).with_name("matrix.txt")

#: Who asks, and what they are to the projects: C{neighbour} owns another project, C{user} has no role at all.
USERS = ("user", "reader", "maintainer", "neighbour", "owner", "admin")
#: Tokens of the owner's: for what, of which projects, and for how many days.
TOKENS = {
    "uploads": ((Action.UPLOAD,), ("open",), 90),
    "reads": ((Action.READ,), ("hidden",), 90),
    "expired": (tuple(Action), (), -1),
}
PEOPLE = ("anonymous", "wrong", *USERS, *TOKENS)
#: One project for everybody to read, and one that has readers.
PROJECTS = ("open", "hidden")

HEAD = f"""\
Statuses of answers: what is asked, of which project, and by whom. `wrong` gives a wrong password; `user` has no role;
`neighbour` owns another project; `reader`, `maintainer` and `owner` are that to both projects. Project `hidden` has
readers, so that it is for those alone who have a role there. `uploads` and `reads` are tokens of `owner` for that, the
one for `open` and the other for `hidden`; `expired` is one for everything that has ended.
Made by: pytest tests/web/test_matrix.py --write-matrix

{"":84}{" ".join(f"{name:>10}" for name in PEOPLE)}
"""

addresses = count(2)


def ask(port: int, method: str, path: str, login: str, body: bytes | None, content_type: str) -> int:
    """One request; each from an address of its own, so that no limit of wrong logins is reached."""
    number = next(addresses)
    source = f"127.{1 + number // 62500}.{number // 250 % 250}.{number % 250 + 2}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(source, 0))
    headers = {"Content-Type": content_type}
    if login:
        headers["Authorization"] = login
    try:
        connection.request(method, path, body=body, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


async def furnish(server: CheddarHere) -> list[str]:
    """The people, the projects, and their roles. @return: how each logs in."""
    store = server.service.store
    # Real hashes, but cheap ones: a wrong password costs what a right one does.
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("secret")
    for name in USERS:
        await store.accounts.put_user(User(name, cheap))
    await store.rights.put(Right("admin", Role.ADMIN, "*"))
    for project in PROJECTS:
        assert (await server.upload(*make_wheel(project, "1.0"), authorization=basic("owner", "secret"))).status == 200
        await store.rights.put(Right("maintainer", Role.MAINTAINER, project))
    await store.rights.put(Right("reader", Role.READER, "hidden"))
    assert (await server.upload(*make_wheel("near", "1.0"), authorization=basic("neighbour", "secret"))).status == 200
    tokens = [
        f"Bearer {await made(store, 'owner', *actions, projects=projects, days=days)}"
        for actions, projects, days in TOKENS.values()
    ]
    return ["", basic("user", "bad"), *(basic(name, "secret") for name in USERS), *tokens]


def rules_of(server: CheddarHere) -> list[tuple[str, str]]:
    """Each rule with each of its methods, as requests are matched with them."""
    (port,) = server.service.ports
    rules = port.factory.resource._router._app.url_map.iter_rules()  # type: ignore[attr-defined]  # no interface of a port has its factory
    return sorted((rule.rule, method) for rule in rules for method in rule.methods or ())


def path_of(rule: str, project: str, version: str) -> str:
    """An address of a rule."""
    filename, content = make_wheel(project, "1.0")
    if version != "1.0":
        filename = f"{project}-{version}-py3-none-any.whl"
    parts = {"project": project, "version": version, "filename": filename, "digest": sha256(content)}
    parts |= {"base": "pypi", "index": "local", "path": "x", "name": "cheddar.css"}
    return re.sub(r"<(?:[^<>]*:)?(\w+)>", lambda match: parts[match[1]], rule)


async def statuses(server: CheddarHere, logins: list[str], rule: str, method: str, project: str) -> list[int]:
    """What everybody is answered."""
    versions = ["1.0"] * len(PEOPLE)
    if method == "DELETE" and not rule.endswith("/yanked"):
        # A release for each: whoever may remove it removes it.
        versions = [f"9.{number}" for number in range(len(PEOPLE))]
        for version in versions:
            file = attrs.evolve(wheel(version, project), key=f"releases/{project}/{version}")
            await server.service.store.projects.put_file(project, project, file)
    body, content_type = None, "text/plain"
    if method == "POST":
        # What `register` sends: it takes the right to upload, and changes nothing.
        body, content_type = upload_form("x", b"", {":action": "submit", "name": project, "version": "1.0"})
    return await gatherResults(
        [
            deferToThread(ask, server.port, method, path_of(rule, project, version), login, body, content_type)
            for login, version in zip(logins, versions, strict=True)
        ]
    )


async def matrix(server: CheddarHere, logins: list[str]) -> list[str]:
    """All answers, a line for each question."""
    lines = []
    for rule, method in rules_of(server):
        about = PROJECTS if "<project>" in rule or "<filename>" in rule or method == "POST" else ("-",)
        for project in about:
            answers = await statuses(server, logins, rule, method, project)
            lines.append(f"{method:6} {rule:70}{project:>7}" + "".join(f" {status:>10}" for status in answers))
    return lines


@pytest.mark.deadline(120)
async def test_who_is_answered_what(
    settings: Settings, reactor: Any, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody gets more than this, and nobody less: where reading is for all, and where it takes a login."""
    monkeypatch.setattr(known_rights, "BELIEF", 0.0)
    text = HEAD
    for title, changes in (("Without settings", {}), ("READ_AUTH = true", {"read_auth": True})):
        chosen: dict[str, Any] = {**changes, "index_url": "", "data_dir": tmp_path / title.partition(" ")[0]}
        server = await CheddarHere(attrs.evolve(settings, **chosen), reactor).start()
        try:
            logins = await furnish(server)
            text += "\n".join(("", title, "", *await matrix(server, logins), ""))
        finally:
            await server.stop()
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    if request.config.getoption("--write-matrix"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()
