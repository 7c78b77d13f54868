"""Provenance (PEP 740) over HTTP, on both stores: uploaded with attestations, passed on from upstream, served."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from pypi_attestations import Attestation, Provenance

from cheddar.auth.passwords import hash_password
from cheddar.formats.provenance import MAX_SIZE
from cheddar.model import User
from cheddar.settings import Settings
from tests.support.attestations import (
    GITLAB,
    OWN_GITLAB,
    PUBLISH,
    SLSA,
    attest,
    provenance_of,
    statement_about,
)
from tests.support.distributions import make_sdist, make_wheel, sha256
from tests.support.page_reader import Read
from tests.support.server import JSON, PASSWORD, USER, Answer, CheddarHere, basic
from tests.support.upstream import EvilUpstream

ADDRESS = "https://cheddar.example/packages-of-ours/"
TYPE = "application/vnd.pypi.integrity.v1+json"
PREFIXES = {"local": "/local", "remote": "/remote", "combined": ""}
#: Whose pages are asked, and where the file comes from.
EVERYWHERE = [("local", "local"), ("remote", "remote"), ("combined", "local"), ("combined", "remote")]
WHEEL, CONTENT = make_wheel("demo", "1.0")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Those of all tests, behind an address of https with a path."""
    return attrs.evolve(settings, public_url=ADDRESS)


async def page(cheddar: CheddarHere, project: str = "demo", index: str = "combined") -> Any:
    answer = await cheddar.ask("GET", f"{PREFIXES[index]}/simple/{project}/", headers={"Accept": JSON})
    assert answer.status == 200, answer
    return answer.json()


async def upload(cheddar: CheddarHere, attestations: Any, name: str = WHEEL, content: bytes = CONTENT) -> Answer:
    """Upload with a field C{attestations}: text as it is, or what becomes JSON."""
    text = attestations if isinstance(attestations, str) else json.dumps(attestations)
    return await cheddar.upload(name, content, {"attestations": text})


def offer(upstream: EvilUpstream, document: bytes, name: str = WHEEL, content: bytes = CONTENT) -> str:
    """Have upstream offer a file and its provenance. @return: the path of the latter, there."""
    path = f"/integrity/{name}"
    upstream.add_file(name.partition("-")[0], name, content, provenance=upstream.origin + path)
    upstream.misbehave(path, status=200, body=document, headers={"Content-Type": TYPE})
    return path


def below(told: str) -> str:
    """The path on the server of an address that a page told."""
    assert told.startswith(ADDRESS)
    return "/" + told.removeprefix(ADDRESS)


async def offered(cheddar: CheddarHere, upstream: EvilUpstream, origin: str, attestation: Any) -> None:
    """Have one file with provenance, of either origin."""
    if origin == "local":
        assert (await upload(cheddar, [attestation])).status == 200
    else:
        offer(upstream, provenance_of(attestation))


@pytest.mark.conforms("PEP 740", "data-provenance, provenance: an absolute URL of a secure origin")
@pytest.mark.parametrize(("index", "origin"), EVERYWHERE)
async def test_pages_tell_where_it_is(cheddar: CheddarHere, upstream: EvilUpstream, index: str, origin: str) -> None:
    """Both formats give the same absolute address, below PUBLIC_URL, whatever Host the client sends."""
    await offered(cheddar, upstream, origin, attest(WHEEL, CONTENT))
    (file,) = (await page(cheddar, index=index))["files"]
    assert file["provenance"] == f"{ADDRESS}{origin}/files/demo/{sha256(CONTENT)}/{WHEEL}.provenance"
    evil = {"Accept": "text/html", "Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    html = (await cheddar.ask("GET", f"{PREFIXES[index]}/simple/demo/", headers=evil)).body.decode()
    assert f'data-provenance="{file["provenance"]}"' in html
    assert "evil.example" not in html
    assert upstream.origin not in html


@pytest.mark.conforms("PEP 740", "Provenance objects: version 1, bundles of a publisher and its attestations")
@pytest.mark.parametrize(("index", "origin"), EVERYWHERE)
async def test_it_is_served(cheddar: CheddarHere, upstream: EvilUpstream, index: str, origin: str) -> None:
    """The object has the attestations as they were made, and others can read it."""
    attestation = attest(WHEEL, CONTENT)
    await offered(cheddar, upstream, origin, attestation)
    (file,) = (await page(cheddar, index=index))["files"]
    answer = await cheddar.ask("GET", below(file["provenance"]))
    assert (answer.status, answer.headers["content-type"]) == (200, TYPE)
    document = answer.json()
    assert document["version"] == 1
    (bundle,) = document["attestation_bundles"]
    assert bundle["attestations"] == [attestation]
    assert (bundle["publisher"]["kind"], bundle["publisher"]["repository"]) == ("GitHub", "acme/demo")
    (read,) = Provenance.model_validate_json(answer.body).attestation_bundles
    assert read.attestations == [Attestation.model_validate(attestation)]
    head = await cheddar.ask("HEAD", below(file["provenance"]))
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(answer.body)), b"")


@pytest.mark.conforms("PEP 740", "Changes to provenance objects: what is served is asked for again each time")
@pytest.mark.parametrize(("index", "origin"), EVERYWHERE[:2])
async def test_it_is_no_immutable(cheddar: CheddarHere, upstream: EvilUpstream, index: str, origin: str) -> None:
    """Caches ask each time, and get 304 for as long as nothing has changed; the file itself is kept for ever."""
    await offered(cheddar, upstream, origin, attest(WHEEL, CONTENT))
    (file,) = (await page(cheddar, index=index))["files"]
    path = below(file["provenance"])
    answer = await cheddar.ask("GET", path)
    assert answer.headers["cache-control"] == "public, no-cache"
    again = await cheddar.ask("GET", path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    other = await cheddar.ask("GET", path, headers={"If-None-Match": '"another"'})
    assert (other.status, other.body) == (200, answer.body)
    assert "immutable" in (await cheddar.ask("GET", path.removesuffix(".provenance"))).headers["cache-control"]


@pytest.mark.parametrize(("index", "origin"), EVERYWHERE[:2])
async def test_a_file_without(cheddar: CheddarHere, upstream: EvilUpstream, index: str, origin: str) -> None:
    """A file that came without attestations has neither key nor attribute, and 404 in the place of the object."""
    if origin == "local":
        assert (await cheddar.upload(WHEEL, CONTENT)).status == 200
    else:
        upstream.add_file("demo", WHEEL, CONTENT)
    (file,) = (await page(cheddar, index=index))["files"]
    assert "provenance" not in file
    html = await cheddar.ask("GET", f"{PREFIXES[index]}/simple/demo/", headers={"Accept": "text/html"})
    assert len(Read(html.body).links()) == 1
    assert b"data-provenance" not in html.body
    path = f"/{origin}/files/demo/{sha256(CONTENT)}/{WHEEL}"
    answer = await cheddar.ask("GET", f"{path}.provenance")
    assert answer.status == 404
    assert "provenance" in answer.json()["detail"]
    # The control: it is the provenance that is not there.
    assert (await cheddar.ask("GET", path)).status == 200


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://cheddar.example/", False),
        ("http://10.0.0.7/", False),
        ("https://10.0.0.7:8443/", True),
        ("http://localhost:5000/", True),
        ("http://127.0.0.1:5000/", True),
        ("http://[::1]:5000/", True),
    ],
)
@pytest.mark.conforms("PEP 740", "No secure origin to serve it at: pages do not tell of it")
async def test_which_addresses_are_told(settings: Settings, reactor: Any, address: str, told: bool) -> None:
    """Behind plain HTTP no page tells of provenance, which is served all the same to who asks for it."""
    server = await CheddarHere(attrs.evolve(settings, public_url=address), reactor).start()
    try:
        await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
        assert (await upload(server, [attest(WHEEL, CONTENT)])).status == 200
        (file,) = (await page(server))["files"]
        path = f"local/files/demo/{sha256(CONTENT)}/{WHEEL}.provenance"
        assert file.get("provenance") == (address + path if told else None)
        html = (await server.ask("GET", "/simple/demo/", headers={"Accept": "text/html"})).body
        assert (b"data-provenance=" in html) == told
        assert (await server.ask("GET", f"/{path}")).status == 200
    finally:
        await server.stop()


# Uploads


@pytest.mark.conforms("PEP 740", "Provenance objects: one bundle for each signing identity")
async def test_two_attestations(cheddar: CheddarHere) -> None:
    """One of each type: in one bundle where one identity signed both, else in two."""
    name, content = make_sdist("demo", "1.0")
    both = [attest(name, content, PUBLISH), attest(name, content, SLSA)]
    assert (await upload(cheddar, both, name, content)).status == 200
    assert (await upload(cheddar, [attest(WHEEL, CONTENT), attest(WHEEL, CONTENT, SLSA, signer=GITLAB)])).status == 200
    wheel, sdist = (await page(cheddar))["files"]
    (bundle,) = (await cheddar.ask("GET", below(sdist["provenance"]))).json()["attestation_bundles"]
    assert bundle["attestations"] == both
    answer = await cheddar.ask("GET", below(wheel["provenance"]))
    assert [
        (bundle["publisher"]["kind"], len(bundle["attestations"])) for bundle in answer.json()["attestation_bundles"]
    ] == [("GitHub", 1), ("GitLab", 1)]
    Provenance.model_validate_json(answer.body)


async def test_a_publisher_that_nobody_knows(cheddar: CheddarHere) -> None:
    """A signer that is none of the known services is not taken for one: the object says what its certificate names."""
    assert (await upload(cheddar, [attest(WHEEL, CONTENT, signer=OWN_GITLAB)])).status == 200
    (file,) = (await page(cheddar))["files"]
    (bundle,) = (await cheddar.ask("GET", below(file["provenance"]))).json()["attestation_bundles"]
    assert bundle["publisher"] == {
        "kind": "Certificate",
        "claims": {},
        "issuer": "https://gitlab.acme.example",
        "identities": [OWN_GITLAB["uri"]],
    }


@pytest.mark.conforms("PEP 740", "Attestation objects: keys that the format does not name are kept")
async def test_attestations_are_kept_as_sent(cheddar: CheddarHere) -> None:
    """What a signer adds (timestamps, say) is still there, and so is the way in which it writes base64."""
    attestation = attest(WHEEL, CONTENT)
    attestation["verification_material"]["timestamps"] = ["MAA="]
    attestation["note"] = "Käse"
    statement = base64.b64decode(attestation["envelope"]["statement"])
    attestation["envelope"]["statement"] = base64.encodebytes(statement).decode()
    assert (await upload(cheddar, [attestation])).status == 200
    (file,) = (await page(cheddar))["files"]
    (bundle,) = (await cheddar.ask("GET", below(file["provenance"]))).json()["attestation_bundles"]
    assert bundle["attestations"] == [attestation]


async def test_a_duplicate_changes_nothing(cheddar: CheddarHere) -> None:
    """
    The same bytes with attestations where there were none, or with others, are 200 and change nothing; after a removal
    they may come with what they are to have.
    """
    assert (await cheddar.upload(WHEEL, CONTENT)).status == 200
    before = await page(cheddar)
    assert (await upload(cheddar, [attest(WHEEL, CONTENT)])).status == 200
    assert await page(cheddar) == before
    # Wrong ones are not passed over in silence, even so.
    assert (await upload(cheddar, [attest("other-1.0.zip", CONTENT)])).status == 400
    assert (await cheddar.ask("DELETE", "/simple/demo/1.0", headers={"Authorization": basic()})).status == 200
    first = attest(WHEEL, CONTENT)
    assert (await upload(cheddar, [first])).status == 200
    assert (await upload(cheddar, [attest(WHEEL, CONTENT, SLSA)])).status == 200
    assert (await cheddar.upload(WHEEL, CONTENT)).status == 200
    (file,) = (await page(cheddar))["files"]
    (bundle,) = (await cheddar.ask("GET", below(file["provenance"]))).json()["attestation_bundles"]
    assert bundle["attestations"] == [first]


async def test_a_removed_file_takes_it_along(cheddar: CheddarHere, settings: Settings) -> None:
    """Nothing of it stays: not at its address, not on disk, and not for the next file of that name."""
    assert (await upload(cheddar, [attest(WHEEL, CONTENT)])).status == 200
    path = below((await page(cheddar))["files"][0]["provenance"])
    assert len(list(settings.local_dir.rglob("*.provenance"))) == 1
    assert (await cheddar.ask("DELETE", "/simple/demo/1.0", headers={"Authorization": basic()})).status == 200
    assert (await cheddar.ask("GET", path)).status == 404
    assert list(settings.local_dir.rglob("*.provenance")) == []
    assert (await cheddar.upload(WHEEL, CONTENT)).status == 200
    assert (await cheddar.ask("GET", path)).status == 404
    assert "provenance" not in (await page(cheddar))["files"][0]


async def test_a_quarantined_project(cheddar: CheddarHere) -> None:
    """Like its files, the provenance of a quarantined project is not offered to who kept the address (PEP 792)."""
    assert (await upload(cheddar, [attest(WHEEL, CONTENT)])).status == 200
    path = below((await page(cheddar))["files"][0]["provenance"])
    projects = cheddar.service.store.projects
    await projects.set_status("demo", "quarantined", "malware")
    assert (await cheddar.ask("GET", path)).status == 404
    await projects.set_status("demo", "active", None)
    assert (await cheddar.ask("GET", path)).status == 200


def _about(**changes: Any) -> list[Any]:
    return [attest(WHEEL, CONTENT, statement=statement_about(WHEEL, CONTENT, **changes))]


def _with(change: Callable[[dict[str, Any]], object]) -> list[Any]:
    attestation = attest(WHEEL, CONTENT)
    change(attestation)
    return [attestation]


SUBJECT = statement_about(WHEEL, CONTENT)["subject"][0]

#: What is sent, the status, and what the answer has to say.
WRONG: dict[str, tuple[Any, int, str]] = {
    "not JSON": ("{", 400, "not JSON"),
    "JSON with NaN": ("[NaN]", 400, "not JSON"),
    "nested deeply": ("[" * 5_000 + "]" * 5_000, 400, "nested too deeply"),
    "many parts": ("[" + "[]," * 99_999 + "[]]", 400, "more than 10000"),
    "ten megabytes": ("[" + " " * (10 << 20) + "]", 413, "too large"),
    "half a megabyte": ("[" + " " * MAX_SIZE + "]", 413, "400 KiB"),
    "an object": (attest(WHEEL, CONTENT), 400, "not a JSON array"),
    "empty": ([], 400, "leave the field out"),
    "numbers": ([1], 400, "is not a JSON object"),
    "too many": ([attest(WHEEL, CONTENT)] * 3, 400, "at most 2"),
    "two of a type": ([attest(WHEEL, CONTENT), attest(WHEEL, CONTENT)], 400, "one of each type"),
    "another version": (_with(lambda it: it.update(version=2)), 400, "version"),
    "no envelope": (_with(lambda it: it.pop("envelope")), 400, "envelope"),
    "no entries": (_with(lambda it: it["verification_material"].update(transparency_entries=[])), 400, "transparency"),
    "entries nested deeply": (
        json.dumps(attest(WHEEL, CONTENT)).join("[]").replace('"logIndex": "7"', '"a": ' + "[" * 500 + "]" * 500, 1),
        400,
        "recursion",
    ),
    "statement not base64": (_with(lambda it: it["envelope"].update(statement="%%%%")), 400, "not base64"),
    "signature empty": (_with(lambda it: it["envelope"].update(signature="")), 400, "not base64"),
    "certificate of nothing": (
        _with(lambda it: it["verification_material"].update(certificate="AAAA")),
        400,
        "certificate that cannot be read",
    ),
    "statement not JSON": ([attest(WHEEL, CONTENT, statement=b"x")], 400, "statement that is not JSON"),
    "statement in UTF-16": ([attest(WHEEL, CONTENT, statement="{}".encode("utf-16"))], 400, "not JSON"),
    "statement nested deeply": ([attest(WHEEL, CONTENT, statement=b"[" * 9_999)], 400, "nested too deeply"),
    "another statement type": (_about(_type="https://in-toto.io/Statement/v0.1"), 400, "in-toto statement"),
    "no subject": (_about(subject=[]), 400, "exactly one subject"),
    "two subjects": (_about(subject=[SUBJECT, SUBJECT]), 400, "exactly one subject"),
    "a subject that is none": (_about(subject=[1]), 400, "exactly one subject"),
    "another file": (_about(name="demo-1.1-py3-none-any.whl"), 400, "not about this file"),
    "a name that is none": (_about(name="../../etc/passwd"), 400, "not about this file"),
    "a name that is a number": (_about(name=1), 400, "not about this file"),
    "other bytes": (_about(digest={"sha256": "0" * 64}), 400, sha256(CONTENT)),
    "another digest": (_about(digest={"sha512": "0" * 128}), 400, sha256(CONTENT)),
    "digest that is none": (_about(digest="x"), 400, sha256(CONTENT)),
    "an unknown type": (_about(predicateType="https://example.org/v1"), 400, "not known here"),
    "no type": (_about(predicateType=None), 400, "without a predicateType"),
}


@pytest.mark.conforms("PEP 740", "Upload: attestations that are none, or of another file, are refused")
@pytest.mark.parametrize("name", WRONG)
async def test_wrong_attestations(cheddar: CheddarHere, settings: Settings, name: str) -> None:
    """They are refused with a sentence that says what is wrong; nothing is kept, and the same file is taken without."""
    attestations, status, why = WRONG[name]
    answer = await upload(cheddar, attestations)
    assert answer.status == status, answer
    assert why in answer.json()["detail"]
    assert (await cheddar.ask("GET", "/simple/demo/")).status == 404
    assert kept(settings.local_dir) == []
    assert (await cheddar.upload(WHEEL, CONTENT)).status == 200
    assert kept(settings.local_dir) == [WHEEL, f"{WHEEL}.metadata"]


def kept(folder: Path) -> list[str]:
    """Names of the files that a storage has, those on their way among them."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    return sorted(path.name for path in files if path.parts[-2:] != (".incoming", "lock") and "demo" in path.name)


@pytest.mark.conforms("PEP 740", "Subject: compared by what the file name says, however it is spelled")
@pytest.mark.parametrize(
    ("filename", "subject"),
    [
        ("demo-1.0-py3-none-any.whl", "Demo-1.0.0-py3-none-any.whl"),
        ("demo-1.0-py2.py3-none-any.whl", "demo-1.0-py3.py2-none-any.whl"),
        ("my_demo-1.0.tar.gz", "My.Demo-1.0.tar.gz"),
    ],
)
async def test_spellings_of_a_subject(cheddar: CheddarHere, filename: str, subject: str) -> None:
    """A name that says the same is of the same file."""
    name = "my-demo" if filename.startswith("my") else "demo"
    _, content = make_sdist(name, "1.0") if filename.endswith(".gz") else make_wheel(name, "1.0")
    attestation = attest(filename, content, statement=statement_about(filename, content, name=subject))
    answer = await upload(cheddar, [attestation], filename, content)
    assert answer.status == 200, answer


# Upstream


async def test_upstream_is_asked_once(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """What was had once is served again and again, when upstream is down too."""
    path = offer(upstream, provenance_of(attest(WHEEL, CONTENT)))
    told = below((await page(cheddar))["files"][0]["provenance"])
    assert upstream.hits[f"GET {path}"] == 0
    first = await cheddar.ask("GET", told)
    assert (first.status, first.body) == (200, (await cheddar.ask("GET", told)).body)
    assert upstream.hits[f"GET {path}"] == 1
    await upstream.stop()
    assert (await cheddar.ask("GET", told)).body == first.body


async def test_upstream_is_down_before(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """What was never had is 503 while upstream is down: it is not that there is none."""
    offer(upstream, provenance_of(attest(WHEEL, CONTENT)))
    told = below((await page(cheddar))["files"][0]["provenance"])
    await upstream.stop()
    assert (await cheddar.ask("GET", told)).status == 503
    await upstream.start()


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (b"<html>", 502),
        (b"[]", 502),
        (b'{"version": 2, "attestation_bundles": [{"publisher": {}, "attestations": [{}]}]}', 502),
        (b'{"version": true, "attestation_bundles": [{"publisher": {}, "attestations": [{}]}]}', 502),
        (b'{"version": 1}', 502),
        (b'{"version": 1, "attestation_bundles": []}', 502),
        (b'{"version": 1, "attestation_bundles": [{"publisher": {}, "attestations": []}]}', 502),
        (b'{"version": 1, "attestation_bundles": [{"attestations": [{}]}]}', 502),
        (b"[" * 9_999, 502),
        (b"[" + b"[]," * 99_999 + b"[]]", 502),
        (b" " * (MAX_SIZE + 1), 502),
        (b'{"version": 1, "attestation_bundles": [{"publisher": {}, "attestations": [{}]}]}', 200),
    ],
)
async def test_what_upstream_sends_is_looked_at(
    cheddar: CheddarHere, upstream: EvilUpstream, settings: Settings, document: bytes, status: int
) -> None:
    """What is no provenance object is 502, and not kept; then the right one is had."""
    path = offer(upstream, document)
    told = below((await page(cheddar))["files"][0]["provenance"])
    answer = await cheddar.ask("GET", told)
    assert answer.status == status, answer
    assert len(list(settings.remote_dir.rglob("*.provenance"))) == (status == 200)
    if status != 200:
        right = provenance_of(attest(WHEEL, CONTENT))
        upstream.behave(path)
        upstream.misbehave(path, status=200, body=right)
        again = await cheddar.ask("GET", told)
        assert (again.status, again.body) == (200, right)


async def test_upstream_has_none_where_it_says(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """404 is passed on."""
    path = offer(upstream, b"")
    upstream.behave(path)
    told = below((await page(cheddar))["files"][0]["provenance"])
    assert (await cheddar.ask("GET", told)).status == 404
    assert upstream.hits[f"GET {path}"] == 1


async def test_addresses_are_checked(cheddar: CheddarHere, upstream: EvilUpstream, reactor: Any) -> None:
    """As with a file, upstream cannot send Cheddar to a private address with it, nor to one of plain HTTP."""
    inside = EvilUpstream(reactor)
    await inside.start()
    try:
        upstream.add_file("demo", WHEEL, CONTENT, provenance=f"{inside.origin}/secret")
        sdist, content = make_sdist("demo", "1.0")
        upstream.add_file("demo", sdist, content, provenance="http://upstream.example/x")
        wheel_entry, sdist_entry = (await page(cheddar))["files"]
        answer = await cheddar.ask("GET", below(wheel_entry["provenance"]))
        assert answer.status == 502
        assert not inside.requests
        assert "provenance" not in sdist_entry
    finally:
        await inside.stop()


@pytest.mark.conforms("PEP 740", "data-provenance: read from upstream's HTML too")
async def test_upstream_in_html(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """An upstream that has HTML only tells of provenance as well."""
    path = offer(upstream, provenance_of(attest(WHEEL, CONTENT)))
    body = (
        f'<!DOCTYPE html><meta name="pypi:repository-version" content="1.3"><a href="/files/{WHEEL}'
        f'#sha256={sha256(CONTENT)}" data-provenance="{upstream.origin}{path}">{WHEEL}</a>'
    )
    upstream.misbehave("/simple/demo/", status=200, body=body.encode(), headers={"Content-Type": "text/html"})
    (file,) = (await page(cheddar))["files"]
    assert (await cheddar.ask("GET", below(file["provenance"]))).status == 200


async def test_a_local_name_hides_upstreams(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """Provenance follows the rule of pages and files: of a local name nothing is upstream's."""
    path = offer(upstream, provenance_of(attest(WHEEL, CONTENT)))
    remote = f"/remote/files/demo/{sha256(CONTENT)}/{WHEEL}.provenance"
    assert (await cheddar.ask("GET", remote)).status == 200
    # The same bytes, uploaded without attestations: what upstream says of them is not said here.
    assert (await cheddar.upload(WHEEL, CONTENT)).status == 200
    (file,) = (await page(cheddar))["files"]
    assert "provenance" not in file
    assert (await cheddar.ask("GET", remote)).status == 404
    assert (await cheddar.ask("GET", remote.replace("remote", "local", 1))).status == 404
    assert upstream.hits[f"GET {path}"] == 1


@pytest_twisted.async_yield_fixture
async def private(settings: Settings, reactor: Any) -> AsyncIterator[CheddarHere]:
    """A Cheddar whose readers log in."""
    server = await CheddarHere(attrs.evolve(settings, read_auth=True), reactor).start()
    yield server
    await server.stop()


async def test_readers_log_in_for_it(private: CheddarHere, upstream: EvilUpstream) -> None:
    """Where reading needs a login, this does too."""
    offer(upstream, provenance_of(attest(WHEEL, CONTENT)))
    answer = await private.ask("GET", f"/remote/files/demo/{sha256(CONTENT)}/{WHEEL}.provenance")
    assert answer.status == 401
