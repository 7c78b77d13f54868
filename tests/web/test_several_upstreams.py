"""
Several upstreams of a settings file, as an operator has them: each project is one's, whole, with all that belongs to
it; logins go where they belong; and the settings may change between two starts.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from cheddar.settings import Settings
from cheddar.settings.upstreams import read_upstreams
from tests.support.attestations import PUBLISH, attest, provenance_of
from tests.support.distributions import core_metadata_of, make_sdist, make_wheel
from tests.support.later import LaterReactor
from tests.support.server import JSON, Answer, CheddarHere, CheddarProcess, ask, basic, free_port, upload_form
from tests.support.upstream import EvilUpstream
from tests.upstream.test_addresses import Names

SECRET = "canary-2b9"
LOGIN = basic("robot", SECRET)


class Server:
    """
    A Cheddar process with a settings file that can be changed, asked from threads: the upstreams are on the test's
    reactor.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "cheddar.toml"
        self.ttl = 600
        environ = {"SECOND_PASSWORD": SECRET}
        self.process = CheddarProcess(folder / "data", options=("--settings", str(self.file)), environ=environ)

    async def start(self, *tables: str) -> None:
        """(Re)start with these tables."""
        self.file.write_text(
            f"VERSIONS_SHORT_TTL = {self.ttl}\n" + "".join(f"[[upstream]]\n{table}\n" for table in tables)
        )
        await deferToThread(self.process.stop)
        await deferToThread(self.process.start)

    async def get(self, path: str, **headers: str) -> Answer:
        """Ask."""
        return await deferToThread(ask, self.process.port, "GET", path, headers=headers)

    async def files(self, project: str) -> dict[str, dict[str, Any]]:
        """What a page lists, by name."""
        answer = await self.get(f"/simple/{project}/", Accept=JSON)
        assert answer.status == 200, answer
        return {file["filename"]: file for file in answer.json()["files"]}

    async def downloaded(self, project: str) -> dict[str, bytes]:
        """The content of all files that a page lists."""
        found = {}
        for name, file in (await self.files(project)).items():
            answer = await self.get(address(file))
            assert answer.status == 200, answer
            found[name] = answer.body
        return found


def address(file: dict[str, Any]) -> str:
    """Where a file is."""
    return "/" + str(file["url"]).removeprefix("../../")


def table(name: str, url: str, *lines: str) -> str:
    """The table of one upstream."""
    return "\n".join((f'name = "{name}"', f'url = "{url}"', *lines))


def asked_for(upstream: EvilUpstream, word: str) -> list[str]:
    """The paths with a word in them that an upstream was asked for."""
    return [seen.path for seen in upstream.requests if word in seen.path]


@pytest_twisted.async_yield_fixture
async def first(reactor: Any) -> AsyncIterator[EvilUpstream]:
    """An upstream."""
    server = EvilUpstream(reactor)
    await server.start()
    yield server
    await server.stop()


@pytest_twisted.async_yield_fixture
async def second(reactor: Any) -> AsyncIterator[EvilUpstream]:
    """Another one."""
    server = EvilUpstream(reactor)
    await server.start()
    yield server
    await server.stop()


@pytest_twisted.async_yield_fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A Cheddar that is not started yet."""
    made = Server(tmp_path)
    yield made
    await deferToThread(made.process.stop)


@pytest.mark.deadline(60)
async def test_all_that_belongs_to_a_project_comes_from_its_upstream(
    server: Server, first: EvilUpstream, second: EvilUpstream, reactor: Any
) -> None:
    """Page, file, core metadata, made core metadata and provenance; a project that both have is the first one's."""
    both, other, made = make_wheel("both", "1.0"), make_wheel("other", "1.0"), make_wheel("made", "1.0", size=90_000)
    for upstream in (first, second):
        upstream.misbehave("/provenance", status=200, body=provenance_of(PUBLISH, [attest(*other)]))
    first.add_file("both", *both)
    second.add_file("both", *make_wheel("both", "6.6.6"))
    second.add_file("other", *other, provenance=f"{second.origin}/provenance")
    second.add_file("made", *made, core_metadata=None)
    await server.start(table("first", first.url), table("second", second.url))
    assert await server.downloaded("both") == dict([both])
    assert asked_for(second, "both") == []
    assert await server.downloaded("other") == dict([other])
    path = address((await server.files("other"))[other[0]])
    metadata, provenance = await server.get(path + ".metadata"), await server.get(path + ".provenance")
    assert (metadata.status, metadata.body) == (200, core_metadata_of(other[1]))
    assert (provenance.status, b"attestation" in provenance.body) == (200, True)
    while "core-metadata" not in (file := (await server.files("made"))[made[0]]):
        await deferLater(reactor, 0.05)
    metadata = await server.get(address(file) + ".metadata")
    assert (metadata.status, metadata.body) == (200, core_metadata_of(made[1]))
    assert {seen.path for seen in first.requests if "/simple/" not in seen.path} == {f"/files/{both[0]}"}
    assert [seen.path for seen in second.requests if "range" in seen.headers] == [f"/files/{made[0]}"]
    assert "/provenance" in asked_for(second, "provenance")


@pytest.mark.deadline(60)
async def test_logins_go_to_their_own_origin_alone(
    server: Server, first: EvilUpstream, second: EvilUpstream, tmp_path: Path
) -> None:
    """
    From a file, from the environment: each reaches its upstream with everything asked of it, and no other; none is in
    the log or in readiness. Where one upstream names or redirects to another's address, nobody is asked for it.
    """
    (tmp_path / "password").write_text(f"{SECRET}\n")
    first.add_file("one", *make_wheel("one", "1.0"))
    second.add_file("two", *make_wheel("two", "1.0"))
    second.add_file("trap", *make_wheel("trap", "1.0"))
    first.add_file("trap", *make_wheel("trap", "1.0"), url=f"{second.files_url}trap-1.0-py3-none-any.whl")
    first.misbehave("/simple/turn/", redirect_to=f"{second.url}two/")
    await server.start(
        table("first", first.url, 'username = "robot"', f'password_file = "{tmp_path / "password"}"'),
        table("second", second.url, 'username = "other"', 'password_env = "SECOND_PASSWORD"'),
    )
    for project in ("one", "two"):
        path = address(next(iter((await server.files(project)).values())))
        assert [(await server.get(path + suffix)).status for suffix in ("", ".metadata")] == [200, 200]
    (trap,) = (await server.files("trap")).values()
    assert (await server.get(address(trap))).status == 502, "the first one's page names the second's file"
    assert (await server.get("/simple/turn/")).status == 502
    assert asked_for(second, "trap") == []
    assert len(asked_for(second, "/simple/two/")) == 1
    assert {seen.headers.get("authorization") for seen in first.requests} == {LOGIN}
    assert {seen.headers.get("authorization") for seen in second.requests} == {basic("other", SECRET)}
    assert len(first.requests) > 3
    ready = await server.get("/health/ready")
    assert [state["name"] for state in ready.json()["upstreams"]] == ["first", "second"]
    for said in (ready.body.decode(), server.process.log.read_text()):
        assert SECRET not in said
        assert LOGIN.partition(" ")[2] not in said


@pytest.mark.deadline(60)
async def test_patterns_and_priorities(server: Server, first: EvilUpstream, second: EvilUpstream) -> None:
    """Who is asked for what, whatever the order in the file; what nobody is asked for is not there."""
    ours, public = make_wheel("acme-tool", "1.0"), make_wheel("flask", "1.0")
    for upstream in (first, second):
        for wheel in (ours, public, make_wheel("secret", "1.0")):
            upstream.add_file(wheel[0].partition("-")[0].replace("_", "-"), *wheel)
    await server.start(
        table("public", second.url, 'exclude = ["acme-*", "secret"]'),
        table("company", first.url, "priority = 1", 'projects = ["acme-*"]'),
    )
    assert await server.downloaded("acme-tool") == dict([ours])
    assert await server.downloaded("flask") == dict([public])
    assert (await server.get("/simple/secret/")).status == 404
    assert {seen.path.split("/")[2].partition("-")[0].partition("_")[0] for seen in first.requests} == {"acme"}
    assert asked_for(second, "acme") + asked_for(second, "secret") + asked_for(first, "secret") == []
    assert asked_for(second, "flask")


@pytest.mark.deadline(60)
async def test_merge(server: Server, first: EvilUpstream, second: EvilUpstream) -> None:
    """An upstream that merges adds files of other names; each file comes from where it is, with its core metadata."""
    old, new, shared = make_wheel("p", "1.0"), make_wheel("p", "2.0"), make_sdist("p", "1.0")
    first.add_file("p", *old)
    first.add_file("p", *shared)
    second.add_file("p", *new)
    second.add_file("p", shared[0], b"other bytes")
    await server.start(table("first", first.url), table("second", second.url, "merge = true"))
    assert await server.downloaded("p") == dict([old, new, shared])
    page = (await server.get("/simple/p/", Accept=JSON)).json()
    assert page["versions"] == ["1.0", "2.0"]
    answer = await server.get(address((await server.files("p"))[new[0]]) + ".metadata")
    assert (answer.status, answer.body) == (200, core_metadata_of(new[1]))
    assert set(asked_for(second, "/files/")) == {f"/files/{new[0]}", f"/files/{new[0]}.metadata"}


@pytest.mark.deadline(60)
async def test_the_first_is_down(server: Server, first: EvilUpstream, second: EvilUpstream, reactor: Any) -> None:
    """What it has, or might have, is a 503 and never the second's; what is cached, and its files, go on."""
    server.ttl = 1
    known = make_wheel("known", "1.0")
    first.add_file("known", *known)
    second.add_file("known", *make_wheel("known", "6.6.6"))
    second.add_file("unseen", *make_wheel("unseen", "6.6.6"))
    second.add_file("mine", *make_wheel("mine", "1.0"))
    await server.start(table("first", first.url, 'exclude = ["mine"]'), table("second", second.url))
    await server.downloaded("known")
    await first.stop()
    await deferLater(reactor, 1.1)  # listings are due after a second
    answer = await server.get("/simple/unseen/")
    assert (answer.status, int(answer.headers["retry-after"]) > 0) == (503, True)
    for _ in range(2):
        assert await server.downloaded("known") == dict([known])
    assert (await server.get("/simple/mine/")).status == 200, "the second alone is asked for it"
    assert asked_for(second, "unseen") + asked_for(second, "known") == []
    await first.start()
    while (answer := await server.get("/simple/unseen/")).status != 200:
        assert answer.status == 503
        await deferLater(reactor, 0.1)
    assert asked_for(second, "unseen"), "the control: the first has no such project"


@pytest.mark.deadline(60)
async def test_an_upstream_that_is_a_cheddar(server: Server, second: EvilUpstream, tmp_path: Path) -> None:
    """One that wants a login for reading, with projects of its own; all that it says of them is passed on."""
    (tmp_path / "other").mkdir()
    other = CheddarProcess(
        tmp_path / "other" / "data",
        options=("--index-url", ""),
        environ={"CHEDDAR_READ_AUTH": "true"},
    )
    wheel = make_wheel("ours", "1.0", requires_python=">=3.8")
    body, content_type = upload_form(*wheel)
    password = tmp_path / "password"
    password.write_text(SECRET)
    second.add_file("theirs", *make_wheel("theirs", "1.0"))
    try:
        await deferToThread(other.add_user, "robot", SECRET)
        await deferToThread(other.start)
        headers = {"Content-Type": content_type, "Authorization": LOGIN}
        assert (await deferToThread(ask, other.port, "POST", "/pypi/", body, headers)).status == 200
        assert (await deferToThread(ask, other.port, "GET", "/simple/ours/")).status == 401, "the control"
        await server.start(
            table(
                "company",
                f"http://localhost:{other.port}/simple/",
                'username = "robot"',
                f'password_file = "{password}"',
            ),
            table("public", second.url),
        )
        assert await server.downloaded("ours") == dict([wheel])
        (file,) = (await server.files("ours")).values()
        assert (file["requires-python"], file["size"]) == (">=3.8", len(wheel[1]))
        metadata = await server.get(address(file) + ".metadata")
        assert (metadata.status, metadata.body) == (200, core_metadata_of(wheel[1]))
        assert list(await server.downloaded("theirs")) == ["theirs-1.0-py3-none-any.whl"]
    finally:
        await deferToThread(other.stop)


# Folders of links


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that a plain web server lists, and its address."""
    root = tmp_path / "static"
    root.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(root)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    ask(port, "GET", "/", timeout=2)
                    break
                except OSError:
                    assert time.monotonic() < end
                    time.sleep(0.05)
            yield root, f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.mark.deadline(60)
async def test_a_folder_of_links(server: Server, second: EvilUpstream, folder: tuple[Path, str]) -> None:
    """
    Folders that a web server lists below a longer path; pages written by hand with relative and absolute addresses,
    percent-encoded or with a query, some with digests; links to other things are passed over.
    """
    root, url = folder
    listed, relative, absolute = make_wheel("listed", "1.0"), make_wheel("by-hand", "1.0"), make_wheel("by-hand", "2.0")
    local = make_wheel("by-hand", "3.0+cu121")
    below = root / "deep" / "er" / "wheels"
    for name in ("listed", "by-hand"):
        (below / name).mkdir(parents=True)
    (root / "files" / "sub path").mkdir(parents=True)
    (below / "listed" / listed[0]).write_bytes(listed[1])
    (below / "listed" / "README.txt").write_text("not a distribution")
    (root / "deep" / relative[0]).write_bytes(relative[1])
    (root / "files" / "sub path" / absolute[0]).write_bytes(absolute[1])
    (root / "files" / local[0]).write_bytes(local[1])
    md5 = hashlib.md5(local[1]).hexdigest()
    (below / "by-hand" / "index.html").write_text(
        f"<html><body><a href='../../../{relative[0]}'>one</a> <A HREF='{url}/files/sub%20path/{absolute[0]}'>two</A>"
        f"<a href='/files/{local[0].replace('+', '%2B')}?x=1#md5={md5}'>three</a>"
        "<a href='../'>up</a> <a href='https://docs.example/'>documentation</a> <a href='/files/other-1.0.tar.gz'>x</a>"
    )
    await server.start(table("folder", f"{url}/deep/er/wheels/"), table("second", second.url))
    assert await server.downloaded("listed") == dict([listed])
    found = await server.downloaded("by-hand")
    assert found == dict([relative, absolute, local])
    second.add_file("third", *make_wheel("third", "1.0"))
    assert list(await server.downloaded("third")) == ["third-1.0-py3-none-any.whl"], "the folder has none of that name"


async def test_redirects_to_other_hosts(
    settings: Settings, first: EvilUpstream, second: EvilUpstream, reactor: Any
) -> None:
    """Pages and files that upstream redirects to another host are followed there, without the login."""
    wheel = make_wheel("demo", "1.0")
    for upstream in (first, second):
        upstream.add_file("demo", *wheel)
    names = LaterReactor(reactor)
    names.nameResolver = Names({"127.0.0.1": [["127.0.0.1"]], "files.example": [["1.1.1.1"]]})
    names.connectTCP = lambda host, port, *rest, **options: reactor.connectTCP("127.0.0.1", port, *rest, **options)
    there = f"http://files.example:{second.port}"
    first.misbehave("/simple/demo/", redirect_to=f"{there}/simple/demo/")
    tables = [{"name": "first", "url": first.url.replace("://", f"://robot:{SECRET}@")}]
    cheddar = await CheddarHere(attrs.evolve(settings, upstream=read_upstreams("test", tables)), names).start()
    answer = await cheddar.ask("GET", "/simple/demo/", headers={"Accept": JSON})
    (file,) = answer.json()["files"]
    second.misbehave(f"/files/{wheel[0]}", redirect_to=f"{first.files_url}{wheel[0]}")
    # Back to upstream's own origin, which is told who asks.
    assert (await cheddar.ask("GET", address(file))).body == wheel[1]
    assert [(seen.path, "authorization" in seen.headers) for seen in first.requests] == [
        ("/simple/demo/", True),
        (f"/files/{wheel[0]}", True),
    ]
    assert [(seen.path, "authorization" in seen.headers) for seen in second.requests] == [
        ("/simple/demo/", False),
        (f"/files/{wheel[0]}", False),
    ]
    await cheddar.stop()


# Other settings after a restart


async def follows(server: Server, reactor: Any, project: str, wanted: Callable[[dict[str, bytes]], bool]) -> None:
    """Wait until a project's page and files are as wanted: until then as before, or a 503 that asks to wait."""
    while True:
        answer = await server.get(f"/simple/{project}/", Accept=JSON)
        found = {}
        for file in answer.json()["files"]:
            content = await server.get(address(file))
            assert content.status == 200 or (content.status, content.headers["retry-after"]) == (503, "1"), content
            found[file["filename"]] = content.body
        if wanted(found):
            return
        await deferLater(reactor, 0.05)


@pytest.mark.deadline(60)
async def test_an_upstream_is_removed(server: Server, first: EvilUpstream, second: EvilUpstream, reactor: Any) -> None:
    """What it listed is asked of those that are left, at once; nothing is asked of it any more."""
    theirs, other, alone = make_wheel("p", "1.0"), make_wheel("p", "2.0"), make_wheel("alone", "1.0")
    first.add_file("p", *theirs)
    first.add_file("alone", *alone)
    second.add_file("p", *other)
    await server.start(table("first", first.url), table("second", second.url))
    assert await server.downloaded("p") == dict([theirs])
    assert await server.downloaded("alone") == dict([alone])
    await first.stop()
    connections = first.connections
    await server.start(table("second", second.url))
    await follows(server, reactor, "p", lambda found: found == dict([other]))
    assert first.connections == connections
    assert await server.downloaded("alone") == dict([alone]), "upstream's first 404 is not believed"
    assert [state["name"] for state in (await server.get("/health/ready")).json()["upstreams"]] == ["second"]


@pytest.mark.deadline(60)
async def test_an_upstream_is_renamed_or_moves(
    server: Server, first: EvilUpstream, second: EvilUpstream, reactor: Any
) -> None:
    """Another name, another address: its listings are fetched anew, and files that nobody wanted before are had."""
    wheel, later = make_wheel("p", "1.0"), make_wheel("p", "1.1")
    for upstream in (first, second):
        upstream.add_file("p", *wheel)
    await server.start(table("old-name", first.url))
    assert list(await server.files("p")) == [wheel[0]]
    await server.start(table("new-name", first.url))
    await follows(server, reactor, "p", lambda found: found == dict([wheel]))
    second.add_file("p", *later)
    await server.start(table("new-name", second.url))
    await follows(server, reactor, "p", lambda found: found == dict([wheel, later]))
