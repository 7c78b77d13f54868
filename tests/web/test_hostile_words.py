"""
Names, versions and requirements that are patterns to somebody, or take long to read: they stand for themselves, nothing
fails of them, and nobody else has to wait.

By the rows of the table of attacks about injection (S24), reading without end (S26) and methods and ranges (S27).
"""

from __future__ import annotations

from time import monotonic
from typing import Any
from urllib.parse import quote

import pytest
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from cheddar.settings import Settings
from tests.support.distributions import make_wheel, sha256
from tests.support.server import JSON, CheddarHere, basic
from tests.support.upstream import EvilUpstream
from tests.web.test_connections import request, talk, until
from tests.web.test_upload_checks import form_of
from tests.web.test_uploads import spooled

HTML = {"Accept": "text/html"}

#: Seconds for which the reactor may be held up: many times what is allowed, since the machine is shared. What this
#: found took two seconds, and forty.
LAG = 1.0
#: Seconds within which a form that says too much is answered.
SOON = 15.0

#: Words that mean more than one name to Redis, to SQL, to Lua or to a shell.
PATTERNS = ("*", "d*", "?emo", "[d]emo", "{demo}", "%", "d%", "d_mo", "demo' OR '1'='1", '"demo"', "demo\\", "^demo$")

#: A number that is none to Python, which reads 4,300 digits.
DIGITS = "1" * 5000


async def test_patterns_are_names(cheddar: CheddarHere) -> None:
    """In a search, and wherever else a name or a version is given, they find nothing and change nothing."""
    await cheddar.upload(*make_wheel("demo", "1.0"))
    login = {"Authorization": basic()}
    for word in PATTERNS:
        found = await cheddar.ask("GET", f"/?q={quote(word)}", headers=HTML)
        assert found.status == 200
        assert b"project/demo/" not in found.body, word
        for method, path in (
            ("GET", "/simple/{}/"),
            ("GET", "/pypi/{}/json"),
            ("GET", "/simple/demo/{}"),
            ("DELETE", "/simple/{}/1.0"),
            ("DELETE", "/simple/demo/{}"),
            ("DELETE", "/simple/demo/1.0/{}"),
            ("PUT", "/simple/{}/1.0/yanked"),
        ):
            body = b"x" if method == "PUT" else None
            answer = await cheddar.ask(method, path.format(quote(word)), body, login)
            # d_mo is d-mo.
            assert answer.status in (301, 400, 404), (method, path, word)
    for word in ("dem", "DEMO"):
        assert b"project/demo/" in (await cheddar.ask("GET", f"/?q={word}", headers=HTML)).body, "the control"
    (file,) = (await cheddar.ask("GET", "/simple/demo/", headers={"Accept": JSON})).json()["files"]
    assert "yanked" not in file


async def test_versions_without_end(cheddar: CheddarHere) -> None:
    """A number of thousands of digits is a version that nobody has: not found, and no failure of the server's."""
    await cheddar.upload(*make_wheel("demo", "1.0"))
    login = {"Authorization": basic()}
    for version in (DIGITS, f"1!{DIGITS}", f"1.0.dev{DIGITS}", "1" + ".0" * 5000, "1!" * 5000 + "1"):
        for method, path in (
            ("GET", f"/simple/demo/{version}"),
            ("GET", f"/pypi/demo/{version}/json"),
            ("GET", f"/pypi/demo/{version}/"),
            ("DELETE", f"/simple/demo/{version}"),
            ("DELETE", f"/simple/demo/{version}/demo-1.0.tar.gz"),
            ("PUT", f"/simple/demo/{version}/yanked"),
            ("DELETE", f"/simple/demo/{version}/yanked"),
        ):
            answer = await cheddar.ask(method, path, b"x" if method == "PUT" else None, login)
            assert answer.status == 404, (method, path[:40], answer.reason[:100])
            assert len(answer.body) < 4000, "a refusal does not repeat all of it"
    assert (await cheddar.ask("GET", "/simple/demo/v1.0")).status == 200, "the control: versions are compared as such"


#: Fields of forms.
FORMS: dict[str, list[tuple[str, str]]] = {
    "a name of dashes": [("name", "a-" * 50_000)],
    "a name of megabytes": [("name", "a" + "-._" * 1_000_000)],
    "a version of digits": [("version", DIGITS)],
    "a version of megabytes": [("version", "1" + ".0" * 2_000_000)],
    "a version of epochs": [("version", "1!" * 2_000_000 + "1")],
    "a Python of digits": [("requires_python", f">={DIGITS}")],
    "a Python of megabytes": [("requires_python", ",".join([">=1"] * 1_000_000))],
    "requirements of digits": [("requires_dist", f"foo>={DIGITS}")],
    "requirements of megabytes": [("requires_dist", f"foo[{','.join(['b'] * 4000)}]")] * 1000,
    "a marker of brackets": [("requires_dist", f"foo; {'(' * 100_000}os_name == 'a'{')' * 100_000}")],
}


@pytest.mark.deadline(120)
@pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)
async def test_forms_that_take_long_to_read(
    cheddar: CheddarHere, settings: Settings, reactor: Any, lags: list[float]
) -> None:
    """What such a form says is not what the file says: a 400, soon, while others are answered; nothing is kept."""
    filename, content = make_wheel("demo", "1.0", requires_python=">=3.8", requires=("foo>=1",))
    for name, fields in FORMS.items():
        uploading = form_of(filename, content, fields)
        # To verify is to look whether there is one name and one version, of whichever kind.
        checking = form_of(filename, content, [*fields, *({"name": "demo", "version": "1.0"} | dict(fields)).items()])
        for action, (body, content_type) in {"file_upload": uploading, "verify": checking}.items():
            body = body.replace(b"file_upload", action.encode(), 1)
            headers = {"Content-Type": content_type, "Authorization": basic()}
            await deferLater(reactor, 0.02)  # to make it has held up the reactor too
            lags.clear()
            began = monotonic()
            answer = await cheddar.ask("POST", "/pypi/", body, headers)
            assert monotonic() - began < SOON, name
            assert answer.status == 400 or action == "verify", (name, answer)
            assert answer.status < 500, (name, answer)
            assert len(answer.body) < 4000, "a refusal does not repeat all of it"
            assert max(lags, default=0) < LAG, (name, action, sorted(lags)[-3:])
    assert max(map(len, settings.audit_file.read_text().splitlines())) < 4000, "nor does the audit log"
    await until(reactor, lambda: not spooled(settings))
    assert (await cheddar.ask("GET", "/simple/demo/")).status == 404
    fields = [("requires_python", ">= 3.8"), ("requires_dist", "foo >=1")]
    body, content_type = form_of(filename, content, fields)
    headers = {"Content-Type": content_type, "Authorization": basic()}
    assert (await cheddar.ask("POST", "/pypi/", body, headers)).status == 200, "the control: the same in other words"


@pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)
async def test_metadata_without_end(cheddar: CheddarHere) -> None:
    """Numbers of thousands of digits in a file's own metadata: a 400, or what is served as it is, but no failure."""
    for number, (made_of, status) in enumerate(
        (
            ({"requires_python": f">={DIGITS}"}, 200),
            ({"requires": (f"foo=={DIGITS}",)}, 200),
            ({"requires_python": f">=3.8\nMetadata-Version: {DIGITS}"}, 200),
            ({"requires_python": f">=3.8\nVersion: {DIGITS}"}, 400),
        )
    ):
        filename, content = make_wheel("demo", f"{number}.0", **made_of)
        answer = await cheddar.upload(filename, content)
        assert answer.status == status, (number, answer)
        for accept in (JSON, "text/html"):
            assert (await cheddar.ask("GET", "/simple/demo/", headers={"Accept": accept})).status == 200
        assert (await cheddar.ask("GET", "/pypi/demo/json")).status == 200
        assert (await cheddar.ask("GET", "/simple/demo/0.0", headers=HTML)).status == 200


@pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)
async def test_five_thousand_versions(cheddar: CheddarHere, upstream: EvilUpstream, lags: list[float]) -> None:
    """A project of thousands of releases, some of them odd, is listed in every form while others are answered."""
    for version in (*map(str, range(5000)), *(f"1!{DIGITS[: 50 + at]}" for at in range(100))):
        upstream.add_file("many", f"many-{version}.tar.gz", b"x")
    lags.clear()
    for path in ("/simple/many/", "/project/many/", "/pypi/many/json"):
        for accept in (JSON, "text/html"):
            assert (await cheddar.ask("GET", path, headers={"Accept": accept})).status == 200, path
    # Upstream's work is this thread's too.
    assert max(lags) < LAG, sorted(lags)[-5:]


@pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)
async def test_ranges_do_not_multiply(cheddar: CheddarHere) -> None:
    """Whoever asks for a file a thousand times over in one request gets it once; and HEAD gets none of it."""
    filename, content = make_wheel("demo", "1.0", size=100_000)
    await cheddar.upload(filename, content)
    for asked in ("bytes=" + "0-," * 1000 + "0-", "bytes=" + ",".join(f"{at}-" for at in range(1000))):
        answer = await cheddar.ask("GET", f"/local/{filename}", headers={"Range": asked})
        assert (answer.status, sha256(answer.body)) == (200, sha256(content))
        assert "multipart" not in answer.headers["content-type"]
    for path in (f"/local/{filename}", "/simple/demo/", "/", "/metrics", "/api/openapi.json", "/nothing"):
        got = await deferToThread(talk, cheddar.port, request("HEAD", path, Range="bytes=0-,0-", Connection="close"))
        assert got.partition(b"\r\n\r\n")[2] == b"", path
