"""RESERVED_NAMES over HTTP, on both stores: what upstream is asked, and who may create a project."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from cheddar.auth.passwords import hash_password
from cheddar.model import Right, Role, User
from cheddar.settings import Settings
from tests.support.distributions import make_sdist, make_wheel, sha256
from tests.support.server import JSON, USER, Answer, CheddarHere, basic, upload_form
from tests.support.upstream import EvilUpstream

RESERVED = ("acme-*", "widget")
PREFIXES = {"local": "/local", "remote": "/remote", "combined": ""}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Those of all tests, with a listing due after a second: only so is the refresh seen at work."""
    return attrs.evolve(settings, versions_short_ttl=1, refresh_interval=1)


@pytest_twisted.async_yield_fixture
async def reserving(cheddar: CheddarHere, reactor: Any) -> AsyncIterator[CheddarHere]:
    """The same server after a restart with names reserved: another node on its store and its files."""
    server = await CheddarHere(attrs.evolve(cheddar.settings, reserved_names=RESERVED), reactor).start()
    yield server
    await server.stop()


def offer(upstream: EvilUpstream, name: str) -> tuple[str, bytes]:
    """Put a wheel upstream. @return: its file name and content."""
    filename, content = make_wheel(name, "9.9")
    upstream.add_file(name, filename, content)
    return filename, content


def addresses(name: str, filename: str, content: bytes) -> list[str]:
    """All that can be asked of a project that upstream has."""
    digest = sha256(content)
    return [
        *(f"{prefix}/simple/{name}/" for prefix in ("", "/remote", "/local")),
        f"/remote/files/{name}/{digest}/{filename}",
        f"/remote/files/{name}/{digest}/{filename}.metadata",
        f"/remote/files/{name}/{digest}/{filename}.provenance",
        f"/packages/remote/files/{name}/{digest}/{filename}",
        f"/local/files/{name}/{digest}/{filename}",
        f"/local/{filename}",
        f"/pypi/{name}/json",
        f"/pypi/{name}/9.9/json",
        f"/project/{name}/",
        f"/simple/{name}/9.9",
    ]


async def listed(cheddar: CheddarHere, prefix: str) -> list[str]:
    """The names in an index's project list."""
    answer = await cheddar.ask("GET", f"{prefix}/simple/", headers={"Accept": JSON})
    assert answer.status == 200, answer
    return [project["name"] for project in answer.json()["projects"]]


def paths(upstream: EvilUpstream) -> str:
    """All that upstream was asked for."""
    return " ".join(request.path for request in upstream.requests)


@pytest.mark.conforms("PEP 752", "Semantics: upstream is never asked for a reserved name")
@pytest.mark.parametrize("index", PREFIXES)
@pytest.mark.parametrize("name", ["acme", "acme-tool", "widget"])
async def test_a_reserved_name_is_nobodys(
    reserving: CheddarHere, upstream: EvilUpstream, index: str, name: str
) -> None:
    """A name that is reserved and not published is 404 in each index, says why, and is not asked of upstream."""
    offer(upstream, name)
    offer(upstream, "acmeology")
    prefix = PREFIXES[index]
    for accept in (JSON, "text/html"):
        answer = await reserving.ask("GET", f"{prefix}/simple/{name}/", headers={"Accept": accept})
        assert answer.status == 404
        assert b"reserved here" in answer.body
        assert name.encode() in answer.body
    misspelled = await reserving.ask("GET", f"{prefix}/simple/{name.title().replace('-', '._')}")
    assert (misspelled.status, misspelled.headers["location"]) == (301, f"{name}/")
    assert upstream.requests == []
    # The control: a name that only looks like it is asked of upstream.
    other = await reserving.ask("GET", f"{prefix}/simple/acmeology/")
    assert other.status == (404 if index == "local" else 200)
    assert b"reserved" not in other.body
    assert paths(upstream) == ("" if index == "local" else "/simple/acmeology/")
    assert await listed(reserving, prefix) == ([] if index == "local" else ["acmeology"])


async def test_no_address_asks_upstream(reserving: CheddarHere, upstream: EvilUpstream) -> None:
    """Pages, files, core metadata, the JSON API and the pages for people: none of them is a way to upstream."""
    asked = {}
    for name in ("acme-tool", "flask"):
        filename, content = offer(upstream, name)
        answers = [await reserving.ask("GET", path) for path in addresses(name, filename, content)]
        asked[name] = [answer.status for answer in answers]
        if name == "acme-tool":
            assert upstream.requests == []
            assert b"Ask upstream" not in (await reserving.ask("GET", "/?q=Acme-Tool")).body
            assert b"Ask upstream" in (await reserving.ask("GET", "/?q=flask")).body, "the control"
            assert upstream.requests == []
    assert asked["acme-tool"] == [404] * 13
    # The control: without the reservation the same addresses have something.
    assert asked["flask"] == [200, 200, 404, 200, 200, 404, 200, 404, 404, 200, 200, 200, 404]
    assert "flask" in paths(upstream)


async def test_what_was_remembered_before_is_not_served(
    cheddar: CheddarHere, reserving: CheddarHere, upstream: EvilUpstream
) -> None:
    """A listing, a file and a "no such project" from before the reservation are neither shown nor served after it."""
    ways = {name: addresses(name, *offer(upstream, name)) for name in ("acme-tool", "flask")}
    for name in ways:
        statuses = [(await cheddar.ask("GET", path)).status for path in ways[name]]
        assert statuses == [200, 200, 404, 200, 200, 404, 200, 404, 404, 200, 200, 200, 404]
    assert (await cheddar.ask("GET", "/simple/widget/")).status == 404
    assert await listed(cheddar, "/remote") == ["acme-tool", "flask"]
    # Its refresh is to do no more: nodes with other settings than the rest are not what is tested here.
    await cheddar.service.stopService()
    asked = upstream.hits.copy()
    assert [(await reserving.ask("GET", path)).status for path in ways["acme-tool"]] == [404] * 13
    assert b"reserved here" in (await reserving.ask("GET", "/simple/widget/")).body
    for prefix in ("", "/remote"):
        assert await listed(reserving, prefix) == ["flask"]
    assert b"acme-tool/" not in (await reserving.ask("GET", "/?q=acme")).body
    assert [hit for hit in upstream.hits - asked if "flask" not in hit] == []
    assert (await reserving.ask("GET", ways["flask"][3])).status == 200, "the control: what is not reserved is served"


async def test_the_refresh_passes_over_what_is_reserved(
    cheddar: CheddarHere, upstream: EvilUpstream, reactor: Any
) -> None:
    """The refresh forgets a listing whose name is reserved by now, and brings the others up to date."""
    for name in ("acme-tool", "flask"):
        offer(upstream, name)
        assert (await cheddar.ask("GET", f"/simple/{name}/")).status == 200
    # Its refresh is to do no more: nodes with other settings than the rest are not what is tested here.
    await cheddar.service.stopService()
    asked = upstream.hits.copy()
    node = await CheddarHere(attrs.evolve(cheddar.settings, reserved_names=RESERVED), reactor).start()
    try:
        while upstream.hits["GET /simple/flask/"] < asked["GET /simple/flask/"] + 2:
            await deferLater(reactor, 0.05)
        assert upstream.hits["GET /simple/acme-tool/"] == asked["GET /simple/acme-tool/"]
        assert await node.service.store.pages.names("remote") == ("flask",)
    finally:
        await node.stop()


def kept(settings: Settings) -> list[Path]:
    """Whatever uploads have left in storage."""
    return [path for path in settings.local_dir.rglob("*") if path.is_file() and path.name not in ("lock", "gate")]


Publish = Callable[..., Any]


@pytest.fixture
def publish(reserving: CheddarHere) -> Publish:
    """Publish a wheel as a user."""

    async def publish(name: str, version: str = "1.0", by: str = USER) -> Answer:
        accounts = reserving.service.store.accounts
        if await accounts.user(by) is None:
            await accounts.put_user(User(by, hash_password("secret")))
        authorization = basic() if by == USER else basic(by, "secret")
        answer: Answer = await reserving.upload(*make_wheel(name, version), authorization=authorization)
        return answer

    return publish


@pytest.mark.conforms("PEP 752", "Uploads: a new project under a reserved name needs a grant, else 409")
async def test_who_was_not_granted_creates_nothing(
    reserving: CheddarHere, publish: Publish, settings: Settings
) -> None:
    """
    The first upload of a reserved name is a 409 that says what is reserved, and what an administrator can do; and it
    leaves nothing. No tool can take it for a file that is there already.
    """
    refused = await publish("Acme_Tool")
    assert refused.status == 409
    for said in (refused.reason, refused.json()["detail"]):
        assert "acme-tool is reserved (acme-*)" in said
        assert "`cheddar user grant alice acme-tool`" in said
        assert "exist" not in said
    assert kept(settings) == []
    assert await reserving.service.store.projects.owned_names() == ()
    assert b"reserved here" in (await reserving.ask("GET", "/simple/acme-tool/")).body
    assert (await publish("widget")).status == 409
    sdist = await reserving.upload(*make_sdist("acme-tool", "1.0"))
    assert sdist.status == 409
    # The controls: other names are free to all, and what is kept is seen.
    assert (await publish("acmeology")).status == 200
    assert len(kept(settings)) > 0


async def test_a_grant_is_for_the_names_it_covers(reserving: CheddarHere, publish: Publish) -> None:
    """A team may be granted a part of a reserved namespace: it creates projects there, and nowhere else of it."""
    await reserving.service.store.accounts.put_grant(USER, "acme-web-*")
    assert (await publish("acme-tool")).status == 409
    assert (await publish("acme-webapp")).status == 409
    assert (await publish("acme-web")).status == 200
    assert (await publish("Acme.Web.UI")).status == 200
    assert (await publish("acme-web-api", by="bob")).status == 409, "a grant is its user's alone"
    assert await listed(reserving, "") == ["acme-web", "acme-web-ui"]
    await reserving.service.store.accounts.put_grant("bob", "acme-*")
    assert (await publish("acme-web-api", by="bob")).status == 200
    await reserving.service.store.accounts.remove_grant(USER, "acme-web-*")
    assert (await publish("acme-web-x")).status == 409, "what was revoked counts at once"


@pytest.mark.conforms("PEP 752", "Uploads: a project from before the reservation goes on taking files")
async def test_a_project_that_is_there_goes_on(
    cheddar: CheddarHere, reserving: CheddarHere, publish: Publish, upstream: EvilUpstream
) -> None:
    """Who may upload to a project that is there goes on, granted or not; a name given up is reserved again."""
    assert (await cheddar.upload(*make_wheel("acme-old", "1.0"))).status == 200
    offer(upstream, "acme-old")
    assert (await publish("acme-old", "1.1")).status == 200
    assert (await publish("acme-old", "1.2", by="bob")).status == 403, "it is whose it was before"
    await reserving.service.store.rights.put(Right("bob", Role.MAINTAINER, "acme-old"))
    assert (await publish("acme-old", "1.2", by="bob")).status == 200
    document = (await reserving.ask("GET", "/simple/acme-old/", headers={"Accept": JSON})).json()
    assert document["versions"] == ["1.0", "1.1", "1.2"]
    for version in document["versions"]:
        removed = await reserving.ask("DELETE", f"/simple/acme-old/{version}", headers={"Authorization": basic()})
        assert removed.status == 200
    assert (await publish("acme-old", "1.3", by="bob")).status == 200, "a name without files is still taken"
    await reserving.ask("DELETE", "/simple/acme-old/1.3", headers={"Authorization": basic()})
    await reserving.service.store.projects.release_name("acme-old")
    assert (await publish("acme-old", "1.4")).status == 409
    assert (await reserving.ask("GET", "/simple/acme-old/")).status == 404
    assert upstream.requests == []


async def test_a_check_before_the_upload_says_the_same(reserving: CheddarHere) -> None:
    """`setup.py register` and its like are told what the upload would be."""

    async def check(action: str, name: str) -> Answer:
        body, content_type = upload_form("x", b"", {":action": action, "name": name, "version": "1.0"})
        headers = {"Content-Type": content_type, "Authorization": basic()}
        answer: Answer = await reserving.ask("POST", "/pypi/", body, headers)
        return answer

    for action in ("submit", "verify"):
        assert (await check(action, "demo")).status == 200
        refused = await check(action, "Acme.Tool")
        assert (refused.status, "cheddar user grant alice acme-tool" in refused.reason) == (409, True)
    await reserving.service.store.accounts.put_grant(USER, "acme-tool")
    assert (await check("submit", "Acme.Tool")).status == 200


@pytest.mark.conforms("PEP 752", "Repository metadata: nothing of API 1.5 is claimed")
async def test_no_part_of_the_api_is_claimed(reserving: CheddarHere, publish: Publish) -> None:
    """The API of namespaces is not implemented: no page has its key or version, and its addresses are not there."""
    await reserving.service.store.accounts.put_grant(USER, "acme-*")
    assert (await publish("acme-tool")).status == 200
    document = (await reserving.ask("GET", "/simple/acme-tool/", headers={"Accept": JSON})).json()
    assert document["meta"]["api-version"] == "1.4"
    assert "namespaces" not in document
    for path in ("/namespaces", "/namespace/acme", "/simple/namespaces", "/simple/namespace/acme"):
        assert (await reserving.ask("GET", path)).status in (301, 404)
