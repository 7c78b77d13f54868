"""Who may do what, through the front door, on both stores."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from cheddar.auth import known_rights
from cheddar.auth.passwords import hash_password
from cheddar.deferreds import returns_deferred
from cheddar.model import EventQuery, Right, Role, User
from cheddar.settings import Settings
from tests.contracts.test_project_store import wheel
from tests.support.distributions import make_wheel
from tests.support.server import JSON, Answer, CheddarHere, basic, upload_form
from tests.support.upstream import EvilUpstream

NAMES = ("ann", "bob", "carl", "root")
HASH = hash_password("secret")


def login(name: str) -> dict[str, str]:
    """Who asks."""
    return {"Authorization": basic(name, "secret")} if name else {}


class People:
    """A Cheddar with users, and one of them who asks."""

    def __init__(self, server: CheddarHere) -> None:
        self.server = server

    async def add(self) -> None:
        """Ann, Bob, Carl, and root, who is an admin."""
        for name in NAMES:
            await self.server.service.store.accounts.put_user(User(name, HASH))
        await self.give("root", Role.ADMIN, "*")

    async def give(self, holder: str, role: Role, target: str) -> None:
        """As `cheddar role grant` does."""
        await self.server.service.store.rights.put(Right(holder, role, target))

    @returns_deferred
    async def upload(self, name: str, project: str, version: str = "1.0") -> Answer:
        """Upload a wheel as somebody."""
        return await self.server.upload(*make_wheel(project, version), authorization=basic(name, "secret"))

    async def ask(
        self, name: str, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Ask as somebody; nobody for the empty name."""
        return await self.server.ask(method, path, body, {**login(name), **(headers or {})})

    async def statuses(self, method: str, path: str, names: tuple[str, ...] = ("", *NAMES)) -> list[int]:
        """What each is answered."""
        return [(await self.ask(name, method, path)).status for name in names]


@pytest.fixture(autouse=True)
def no_belief(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes by what was given a moment ago, where a test is not about that second."""
    if "another_node" not in request.node.name:
        monkeypatch.setattr(known_rights, "BELIEF", 0.0)


@pytest_twisted.async_yield_fixture
async def people(cheddar: CheddarHere) -> AsyncIterator[People]:
    """On each store, with the settings that nobody has touched."""
    made = People(cheddar)
    await made.add()
    yield made


async def started(settings: Settings, reactor: Any) -> People:
    """Another one, on SQLite."""
    made = People(await CheddarHere(settings, reactor).start())
    await made.add()
    return made


@pytest.mark.deadline(60)
async def test_the_first_uploader_owns_the_project(people: People) -> None:
    """Others are refused with who could help, their bytes are gone, and the project is what it was."""
    assert (await people.upload("ann", "demo")).status == 200
    refused = await people.upload("bob", "demo", "1.1")
    assert refused.status == 403
    assert "bob may not upload to demo; it belongs to ann." in refused.reason
    assert "`cheddar role grant bob maintainer demo`" in refused.reason
    assert (await people.ask("bob", "DELETE", "/simple/demo/1.0")).status == 403
    assert (await people.ask("bob", "PUT", "/simple/demo/1.0/yanked", {"Content-Type": "text/plain"})).status == 403
    page = (await people.ask("", "GET", "/simple/demo/", {"Accept": JSON})).json()
    assert [(file["filename"], file.get("yanked")) for file in page["files"]] == [(make_wheel("demo", "1.0")[0], None)]
    root = people.server.settings.local_dir
    assert not [path for path in root.rglob("*1.1*") if path.is_file()]

    await people.give("bob", Role.MAINTAINER, "demo")
    assert (await people.upload("bob", "demo", "1.1")).status == 200
    assert (await people.ask("bob", "PUT", "/simple/demo/1.1/yanked", {"Content-Type": "text/plain"})).status == 200
    removal = await people.ask("bob", "DELETE", "/simple/demo/1.1")
    assert removal.status == 403
    assert "`cheddar role grant bob owner demo`" in removal.reason
    assert (await people.ask("ann", "DELETE", "/simple/demo/1.1")).status == 200
    assert (await people.ask("root", "DELETE", "/simple/demo/1.0")).status == 200
    # Emptied, the name is hers still.
    assert (await people.upload("carl", "demo", "2.0")).status == 403
    assert (await people.upload("ann", "demo", "2.0")).status == 200


async def test_projects_from_before_are_everybodys_until_they_are_given(people: People) -> None:
    """What has no owner takes files of every user, as it always did; with an owner, of whom he is."""
    projects = people.server.service.store.projects
    await projects.put_file("old", "old", wheel("0.1", "old"))
    assert (await people.upload("bob", "old", "1.0")).status == 200
    assert (await people.upload("carl", "old", "1.1")).status == 200
    assert (await people.ask("ann", "DELETE", "/simple/old/1.0")).status == 200
    assert (await people.ask("", "DELETE", "/simple/old/1.1")).status == 401, "the control: of users"
    await people.give("ann", Role.OWNER, "index:local")
    assert (await people.upload("carl", "old", "1.2")).status == 403
    assert (await people.upload("ann", "old", "1.2")).status == 200


async def test_what_an_owner_leaves_is_not_everybodys(people: People) -> None:
    """A user who is removed, and one of that name who comes later, own nothing; nobody else gets it by that."""
    assert (await people.upload("ann", "demo")).status == 200
    accounts = people.server.service.store.accounts
    await accounts.remove_user("ann")
    await accounts.put_user(User("ann", HASH))
    for name in ("ann", "bob"):
        refused = await people.upload(name, "demo", "1.1")
        assert refused.status == 403
        assert "its owner is gone" in refused.reason
    assert (await people.upload("root", "demo", "1.1")).status == 200, "the control"


async def test_a_name_that_is_given_up_is_founded_anew(people: People) -> None:
    """Who had it has no right to what somebody else makes of the name."""
    assert (await people.upload("ann", "demo")).status == 200
    assert (await people.ask("ann", "DELETE", "/simple/demo/1.0")).status == 200
    await people.server.service.store.projects.release_name("demo")
    assert (await people.upload("bob", "demo")).status == 200
    assert (await people.upload("ann", "demo", "1.1")).status == 403


async def test_of_two_first_uploads_one_founds(people: People) -> None:
    """At the same moment, to one new name: one is the owner, and no file of the other is in its project."""
    answers = await gatherResults([people.upload(name, "race", f"1.{n}") for n, name in enumerate(NAMES[:3])])
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [200, 403, 403]
    rights = await people.server.service.store.rights.rights()
    winner = next(n for n, answer in enumerate(answers) if answer.status == 200)
    assert rights.owners("race") == (NAMES[winner],)
    assert (await people.ask("", "GET", "/simple/race/", {"Accept": JSON})).json()["versions"] == [f"1.{winner}"]


async def test_groups_and_patterns(people: People) -> None:
    """A group has what is given to it, a pattern stands for projects to come, and no founder takes it away."""
    store = people.server.service.store
    await people.give("@web", Role.OWNER, "acme-*")
    await store.rights.add_member("@web", "bob")
    assert (await people.upload("carl", "acme-tool")).status == 200, "whoever may create projects may create this one"
    assert (await people.upload("carl", "acme-tool", "1.1")).status == 403, "it is the group's"
    assert (await people.upload("bob", "acme-tool", "1.1")).status == 200
    await store.rights.remove_member("@web", "bob")
    assert (await people.upload("bob", "acme-tool", "1.2")).status == 403, "at once"


@pytest.mark.deadline(60)
async def test_a_project_with_readers_is_not_there_for_others(people: People, upstream: EvilUpstream) -> None:
    """
    On no page, in no list, at no address; not even its name, nor that upstream has one. What upstream has of the
    name is never served in its place.
    """
    upstream.add_file("secret", *make_wheel("secret", "99.0"))
    filename, _ = make_wheel("secret", "1.0")
    assert (await people.upload("ann", "secret")).status == 200
    assert (await people.upload("ann", "plain")).status == 200
    page = (await people.ask("", "GET", "/simple/secret/", {"Accept": JSON})).json()
    file = page["files"][0]["url"].removeprefix("../..")
    gone = [
        "/simple/secret/",
        "/simple/SECRET/",
        "/local/simple/secret/",
        "/pypi/+simple/secret/",
        "/project/secret/",
        "/simple/secret/1.0",
        file,
        f"{file}.metadata",
        f"{file}.provenance",
        f"/packages{file}",
        f"/local/{filename}",
        "/pypi/secret/json",
        "/pypi/secret/1.0/json",
        "/pypi/secret/1.0/",
    ]
    lists = ["/", "/simple/", "/local/simple/", "/?q=secret"]
    before = {path: (await people.ask("", "GET", path)).status for path in (*gone, *lists)}
    before[f"{file}.provenance"] = 200  # it has none
    assert set(before.values()) <= {200, 301, 302}, before
    asked = upstream.hits.copy()

    await people.give("bob", Role.READER, "secret")
    for name in ("", "carl"):
        for path in gone:
            answer = await people.ask(name, "GET", path)
            nothing = await people.ask(name, "GET", path.replace("secret", "nowhere").replace("SECRET", "NOWHERE"))
            assert answer.status == nothing.status, path
            assert answer.status in (404, 301), path
            assert answer.body.replace(b"secret", b"nowhere") == nothing.body, path
        for path in lists:
            for accept in ("text/html", "application/json"):
                answer = await people.ask(name, "GET", path, {"Accept": accept})
                assert answer.status == 200
                assert answer.headers["cache-control"].startswith("private, ")
                if path != "/?q=secret":
                    assert b"secret" not in answer.body, path
                    assert b"plain" in answer.body, "the control"
        removal = await people.ask(name, "DELETE", "/simple/secret/1.0")
        assert removal.status == (404 if name else 401)
        nothing = await people.ask(name, "DELETE", "/simple/nowhere/1.0")
        assert (removal.status, removal.body.replace(b"secret", b"nowhere")) == (nothing.status, nothing.body)
    assert not [path for path in upstream.hits - asked if "secret" in path]
    for name in ("ann", "bob", "root"):
        for path in (*gone, *lists):
            if "provenance" in path:
                continue
            answer = await people.ask(name, "GET", path)
            assert answer.status == before[path], (name, path)
            if answer.status == 200:
                assert answer.headers["cache-control"].startswith("private, "), path
                assert "Authorization" in answer.headers.get("vary", "Authorization")
                assert "access-control-allow-origin" not in answer.headers
        listed = (await people.ask(name, "GET", "/simple/", {"Accept": JSON})).json()
        assert [project["name"] for project in listed["projects"]] == ["plain", "secret"]
    public = await people.ask("ann", "GET", "/simple/plain/")
    assert public.headers["cache-control"].startswith("public, "), "the control: this depends on no login"
    refused = await people.upload("carl", "secret", "2.0")
    assert refused.status == 403
    assert "ann" not in refused.reason


async def test_patterns_of_private_projects(settings: Settings, reactor: Any) -> None:
    """PRIVATE_PROJECTS: so from the first upload on, for its founder and whom he works with."""
    people = await started(attrs.evolve(settings, private_projects=("acme-*",), index_url=""), reactor)
    try:
        assert (await people.upload("ann", "acme-tool")).status == 200
        assert (await people.upload("ann", "tool")).status == 200
        assert await people.statuses("GET", "/simple/acme-tool/") == [404, 200, 404, 404, 200]
        assert await people.statuses("GET", "/simple/tool/") == [200] * 5
        await people.give("@users", Role.READER, "acme-tool")
        assert await people.statuses("GET", "/simple/acme-tool/") == [404, 200, 200, 200, 200]
    finally:
        await people.server.stop()


@pytest.mark.deadline(60)
async def test_the_combined_index_hides_what_takes_a_login(
    settings: Settings, upstream: EvilUpstream, reactor: Any
) -> None:
    """With READ_AUTH for the local index upstream's projects are for all, and the local ones for users, everywhere."""
    people = await started(attrs.evolve(settings, read_auth=("local",)), reactor)
    try:
        upstream.add_file("flask", *make_wheel("flask", "3.0"))
        upstream.add_file("demo", *make_wheel("demo", "99.0"))
        assert (await people.upload("ann", "demo")).status == 200
        assert await people.statuses("GET", "/local/simple/demo/", ("", "bob")) == [401, 200]
        assert await people.statuses("GET", "/local/simple/", ("", "bob")) == [401, 200]
        assert await people.statuses("GET", "/simple/demo/", ("", "bob")) == [404, 200]
        assert await people.statuses("GET", "/simple/flask/", ("", "bob")) == [200, 200]
        assert (await people.ask("", "GET", "/simple/flask/")).headers["cache-control"].startswith("public, ")
        assert (await people.ask("bob", "GET", "/simple/demo/")).headers["cache-control"].startswith("private, ")
        listed = [
            [item["name"] for item in (await people.ask(name, "GET", "/simple/", {"Accept": JSON})).json()["projects"]]
            for name in ("", "bob")
        ]
        assert listed == [["flask"], ["demo", "flask"]]
        assert b"demo" not in (await people.ask("", "GET", "/")).body
        assert b"demo" in (await people.ask("bob", "GET", "/")).body
        assert "GET /simple/demo/" not in upstream.hits
    finally:
        await people.server.stop()


@pytest.mark.parametrize(("read_auth", "closed"), [(("remote",), "remote combined"), (("combined",), "combined")])
async def test_indexes_take_a_login_one_by_one(
    settings: Settings, reactor: Any, read_auth: tuple[str, ...], closed: str
) -> None:
    """What takes one is a 401 without, so that clients send theirs; the other parts are open."""
    people = await started(attrs.evolve(settings, read_auth=read_auth), reactor)
    try:
        for index, prefix in (("local", "/local"), ("remote", "/remote"), ("combined", "")):
            expected = [401 if index in closed.split() else 200, 200]
            assert await people.statuses("GET", f"{prefix}/simple/", ("", "bob")) == expected
    finally:
        await people.server.stop()


async def test_an_index_with_readers_is_for_them(settings: Settings, reactor: Any, upstream: EvilUpstream) -> None:
    """Of the remote one others are refused; of the local one they see the projects that are theirs."""
    people = await started(settings, reactor)
    try:
        upstream.add_file("flask", *make_wheel("flask", "3.0"))
        assert (await people.upload("ann", "demo")).status == 200
        assert await people.statuses("GET", "/remote/simple/flask/") == [200] * 5
        await people.give("bob", Role.READER, "index:remote")
        assert await people.statuses("GET", "/remote/simple/flask/") == [401, 403, 200, 403, 200]
        assert await people.statuses("GET", "/simple/flask/") == [401, 403, 200, 403, 200]
        assert await people.statuses("GET", "/local/simple/demo/") == [200] * 5
        await people.give("carl", Role.READER, "index:local")
        assert await people.statuses("GET", "/local/simple/demo/") == [401, 200, 404, 200, 200]
    finally:
        await people.server.stop()


@pytest.mark.deadline(60)
async def test_who_may_create_projects(settings: Settings, reactor: Any, tmp_path: Path) -> None:
    """Every user; or who was granted the name, by a grant or a role; or administrators. Roles count all the same."""
    for creators, expected in (
        ("users", [200] * 4),
        ("granted", [200, 200, 403, 200]),
        ("admins", [403, 403, 403, 200]),
    ):
        people = await started(
            attrs.evolve(settings, create_projects=creators, data_dir=tmp_path / creators, index_url=""), reactor
        )
        try:
            store = people.server.service.store
            await store.accounts.put_grant("ann", "new-*")
            await people.give("bob", Role.MAINTAINER, "new-*")
            answers = [await people.upload(name, f"new-{name}") for name in NAMES]
            assert [answer.status for answer in answers] == expected, creators
            if creators != "users":
                assert "carl may not create" in answers[2].reason
                assert (await people.upload("ann", "other")).status == 403
            if creators == "admins":
                await people.give("carl", Role.MAINTAINER, "new-root")
                assert (await people.upload("carl", "new-root", "1.1")).status == 200
        finally:
            await people.server.stop()


async def test_reserved_names_are_for_who_has_them(settings: Settings, reactor: Any) -> None:
    """A grant, a role for the name or being an admin: one of these it takes to create a project of a reserved name."""
    people = await started(attrs.evolve(settings, reserved_names=("acme-*",), index_url=""), reactor)
    try:
        assert [(await people.upload(name, f"acme-{name}")).status for name in NAMES] == [409, 409, 409, 200]
        await people.server.service.store.accounts.put_grant("ann", "acme-ann")
        await people.give("bob", Role.OWNER, "acme-bob")
        await people.give("carl", Role.READER, "acme-carl")
        assert [(await people.upload(name, f"acme-{name}")).status for name in NAMES[:3]] == [200, 200, 409]
    finally:
        await people.server.stop()


async def test_what_another_node_says_counts_within_a_second(
    people: People, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roles that the command gives, beside the running server: for changes at once, for reading within a second."""
    rights = people.server.service.store.rights
    assert (await people.upload("ann", "demo")).status == 200
    assert (await people.upload("bob", "demo", "1.1")).status == 403
    monkeypatch.setattr(known_rights, "BELIEF", 1000.0)
    await rights.put(Right("bob", Role.MAINTAINER, "demo"))
    assert await people.statuses("GET", "/simple/demo/", ("", "ann")) == [200, 200]
    assert (await people.upload("bob", "demo", "1.1")).status == 200
    await rights.put(Right("ann", Role.READER, "demo"))
    await deferLater(reactor, 1.0)
    assert await people.statuses("GET", "/simple/demo/", ("", "ann")) == [404, 200]


async def test_who_founds_a_private_project_reads_it_at_once(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that installs what it has just published does not wait for a second; to others it is not there."""
    monkeypatch.setattr(known_rights, "BELIEF", 1000.0)
    rights = people.server.service.store.rights
    await rights.put(Right("root", Role.READER, "acme-*"))
    assert await people.statuses("GET", "/simple/acme-new/", ("", "ann")) == [404, 404]
    assert (await people.upload("ann", "acme-new")).status == 200
    assert await people.statuses("GET", "/simple/acme-new/", ("", "ann", "bob", "root")) == [404, 200, 404, 200]


def exchange(port: int, head: bytes, pieces: list[bytes]) -> tuple[bytes, int]:
    """Send headers, then pieces until there is an answer. @return: the answer, and how many bytes had been sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head)
        sent, answer = 0, b""
        for piece in pieces:
            connection.settimeout(0.001)
            try:
                answer += connection.recv(65536)
            except TimeoutError:
                pass
            if answer:
                break
            connection.settimeout(20)
            connection.sendall(piece)
            sent += len(piece)
        connection.settimeout(20)
        try:
            while data := connection.recv(65536):
                answer += data
        except ConnectionError:
            pass
        return answer, sent


@pytest.mark.deadline(60)
@pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)
async def test_a_large_upload_to_anothers_project_ends_when_it_is_named(people: People) -> None:
    """
    The 403 comes when the form has named the project, long before the body is complete; its sender, which goes on
    sending, gets to read it; nothing of the body is left.
    """
    assert (await people.upload("ann", "demo")).status == 200
    filename, content = make_wheel("demo", "1.1")
    fields = {"metadata_version": "2.1", "name": "Demo", "version": "1.1"}
    body, content_type = upload_form(filename, content, fields)
    first, last = body.split(content)
    length = len(first) + len(last) + 256 * 1024 * 1024
    port = people.server.port

    def head(name: str, length: int) -> bytes:
        return (
            f"POST /pypi/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {length}\r\nAuthorization: {basic(name, 'secret')}\r\n\r\n"
        ).encode()

    pieces = [first, *[b"x" * 65536] * 4096, last]
    answer, sent = await deferToThread(exchange, port, head("bob", length), pieces)
    assert answer.startswith(b"HTTP/1.1 403 "), answer[:200]
    assert b"bob may not upload to demo" in answer
    assert sent < length / 2
    (event,) = await people.server.service.store.events.find(EventQuery(project="demo", outcome="refused"), 10)
    assert (event.action, event.who, "may not upload to demo" in event.detail) == ("upload", "bob", True)
    await people.give("bob", Role.MAINTAINER, "demo")
    answer, sent = await deferToThread(exchange, port, head("bob", len(body)), [first, content, last])
    assert answer.startswith(b"HTTP/1.1 200 "), "the control"
    incoming = people.server.settings.local_dir / ".incoming"
    assert {path.name for path in incoming.rglob("*") if path.is_file()} <= {"gate", "lock"}


@pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)
async def test_who_may_upload_nothing_is_refused_from_the_headers(
    settings: Settings, reactor: Any, people: People, tmp_path: Path
) -> None:
    """Who may create no project, and has a role in none, and where none is everybody's, need not send any body."""
    strict = await started(
        attrs.evolve(settings, create_projects="granted", data_dir=tmp_path / "strict", index_url=""), reactor
    )

    def head(name: str) -> bytes:
        return (
            "POST /pypi/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: 500000000\r\nExpect: 100-continue\r\nAuthorization: {basic(name, 'secret')}\r\n\r\n"
        ).encode()

    def first_line(port: int, name: str) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(head(name))
            return connection.recv(65536).partition(b"\r\n")[0]

    try:
        port = strict.server.port
        assert (await strict.upload("root", "demo")).status == 200
        assert await deferToThread(first_line, port, "bob") == (
            b"HTTP/1.1 403 Forbidden: bob may not create projects here. Ask an administrator for "
            b"`cheddar user grant bob NAME`."
        )
        await strict.give("bob", Role.READER, "demo")
        assert (await deferToThread(first_line, port, "bob")).startswith(b"HTTP/1.1 403 ")
        await strict.give("bob", Role.MAINTAINER, "demo")
        assert await deferToThread(first_line, port, "bob") == b"HTTP/1.1 100 Continue", "the control"
        await strict.server.service.store.accounts.put_grant("carl", "new")
        assert await deferToThread(first_line, port, "carl") == b"HTTP/1.1 100 Continue", "the control"
        assert (await deferToThread(first_line, port, "ann")).startswith(b"HTTP/1.1 403 ")
        await strict.server.service.store.projects.put_file("old", "old", wheel("0.1", "old"))
        assert await deferToThread(first_line, port, "ann") == b"HTTP/1.1 100 Continue", "to what is everybody's"
    finally:
        await strict.server.stop()
