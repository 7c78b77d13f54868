"""
An upstream, or a client, that means harm: what neither of them gets Cheddar to do.

By the rows of the table of attacks that concern upstream. After each test nothing is left, as after upstream's faults.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent, globalLogPublisher

from cheddar import metrics
from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.settings import Settings
from cheddar.settings.upstreams import read_upstreams
from tests.conformance.served import HTML, Served
from tests.faults.conftest import (
    CONTENT,
    WHEEL,
    Ending,
    address_of_file,
    bytes_got,
    gives_the_file,
    says_come_again,
)
from tests.index.test_downloads import until
from tests.support.distributions import make_wheel, sha256
from tests.support.server import JSON, ask, basic
from tests.support.upstream import EvilUpstream
from tests.upstream.test_addresses import Names

PAGE = "/simple/demo/"
USER, SECRET, CLIENTS_SECRET = "robot", "s3cr3t-canary", "cl13nts-canary"

#: Seconds for which no page may hold up the reactor.
LAG = 0.2

#: Hosts on the inside in some of their spellings, and what a resolver makes of them.
INSIDE = {
    "127.0.0.1": "127.0.0.1",
    "2130706433": "127.0.0.1",
    "0x7f.1": "127.0.0.1",
    "0": "0.0.0.0",
    "::1": "::1",
    "::ffff:7f00:1": "::ffff:127.0.0.1",
    "169.254.169.254": "169.254.169.254",
    "files.example": "127.0.0.1",
    "metadata.example": "169.254.169.254",
}

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.deadline(60)]


@pytest_twisted.async_yield_fixture
async def trap(reactor: Any, nothing_left: Ending) -> AsyncIterator[EvilUpstream]:
    """A server on the inside, which has what nobody may get by way of Cheddar."""
    server = EvilUpstream(reactor)
    server.add_file("secret", "secret-1.0.tar.gz", b"secret")
    await server.start()
    nothing_left.upstreams.append(server)
    yield server
    await server.stop()


def blocked() -> float:
    """How many addresses have been refused so far."""
    return sum(
        sample.value
        for metric in metrics.upstream_blocked.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


async def right_page(upstream: EvilUpstream, path: str = PAGE) -> Any:
    """What upstream says of a project when it is honest."""
    return (await deferToThread(ask, upstream.port, "GET", path, headers={"Accept": JSON})).json()


def upstream_says(upstream: EvilUpstream, page: object, path: str = PAGE) -> None:
    """From now on the page is this: bytes, or what becomes JSON."""
    body = page if isinstance(page, bytes) else json.dumps(page).encode()
    upstream.behave(path)
    upstream.misbehave(path, status=200, body=body, headers={"Content-Type": JSON})


async def test_s1_an_address_from_the_client(served: Served, trap: EvilUpstream) -> None:
    """No client says where Cheddar asks: the original's ?base= is gone, and nothing else is taken for an address."""
    asked = len(served.upstream.requests)
    name = "secret-1.0.tar.gz"
    for base in (
        trap.origin,
        f"http://localhost:{trap.port}/files/",
        f"http://{USER}@{trap.origin.removeprefix('http://')}/",
        "http://169.254.169.254/",
        "file:///etc/",
    ):
        for path in (f"/remote/secret/{name}", f"/remote/files/secret/{'0' * 64}/{name}"):
            answer = await served.get(f"{path}?base={base}")
            assert answer.status in (400, 410), answer
    for path in (f"/remote/{trap.files_url}{name}", f"/simple/{trap.files_url}", f"/remote/files/%2e%2e/x/{name}"):
        assert (await served.get(path)).status in (400, 404)
    assert trap.connections == 0
    assert len(served.upstream.requests) == asked
    await gives_the_file(served)
    assert (await deferToThread(ask, trap.port, "GET", f"/files/{name}")).body == b"secret", "the trap is open"


async def test_s2_addresses_on_the_inside(served: Served, trap: EvilUpstream) -> None:
    """A page that names them, a redirect to them, a name that leads there: 502, counted; the inside hears nothing."""
    served.clock.nameResolver = Names({host: [[leads_to]] for host, leads_to in INSIDE.items()})
    await served.cheddar.restart()
    page = await right_page(served.upstream)
    addresses = [
        f"http://{host}:{trap.port}/files/secret-1.0.tar.gz"
        for host in (f"[{host}]" if ":" in host else host for host in INSIDE)
    ]
    counted, refused = blocked(), 0
    for number, address in enumerate(addresses):
        name = f"inside{number}"
        wheel = f"{name}-1.0-py3-none-any.whl"
        file = {**page["files"][0], "filename": wheel, "url": address}
        upstream_says(served.upstream, {**page, "name": name, "files": [file]}, f"/simple/{name}/")
        (path,) = (await served.addresses(name)).values()
        for suffix in ("", ".metadata"):
            says_come_again(answer := await served.get(path + suffix))
            assert (answer.status, answer.headers["content-type"]) == (502, "application/problem+json"), address
            assert b"secret\n" not in answer.body
            refused += 1
        served.upstream.misbehave(f"/simple/redirected{number}/", redirect_to=address)
        assert (await served.page(f"redirected{number}")).status == 502, address
        refused += 1
    assert blocked() - counted == refused, "once each: what is refused is not tried again"
    file = {**page["files"][0], "filename": "odd-1.0.tar.gz", "url": f"gopher://127.0.0.1:{trap.port}/x"}
    upstream_says(served.upstream, {**page, "name": "odd", "files": [file]}, "/simple/odd/")
    assert await served.addresses("odd") == {}, "what no installer can fetch is not listed"
    assert trap.connections == 0
    served.upstream.misbehave(f"/files/{WHEEL}", redirect_to=trap.files_url + "secret-1.0.tar.gz")
    assert (await served.get(await address_of_file(served))).status == 502
    assert trap.connections == 0
    served.upstream.behave()
    await gives_the_file(served)
    assert (await deferToThread(ask, trap.port, "GET", "/files/secret-1.0.tar.gz")).body == b"secret", "it is open"


async def test_s3_logins(served: Served, settings: Settings, trap: EvilUpstream, reactor: Any) -> None:
    """Upstream's login goes to its origin alone and is told nowhere; a client's goes nowhere at all."""
    clock = served.clock
    clock.nameResolver = Names({"127.0.0.1": [["127.0.0.1"]], "other.example": [["1.1.1.1"]]})

    def to_loopback(host: str, port: int, *rest: Any, **options: Any) -> Any:
        return reactor.connectTCP("127.0.0.1", port, *rest, **options)

    clock.connectTCP = to_loopback
    said: list[str] = []

    def observe(event: Any) -> None:
        said.append(formatEvent(event) + str(event.get("log_failure")))

    globalLogPublisher.addObserver(observe)
    served.cheddar.settings = attrs.evolve(
        served.cheddar.settings, index_url=settings.index_url.replace("//", f"//{USER}:{SECRET}@")
    )
    await served.cheddar.restart()
    upstream, other = served.upstream, f"http://other.example:{trap.port}"
    page = await right_page(upstream)
    upstream.requests.clear()
    moved = make_wheel("moved", "1.0")
    trap.add_file("moved", *moved)
    upstream_says(trap, {**(await right_page(trap, "/simple/moved/"))}, "/there/")
    upstream.misbehave("/simple/moved/", redirect_to=f"{other}/here/")
    trap.misbehave("/here/", redirect_to="/there/")
    trap.misbehave("/back/", redirect_to=f"{upstream.origin}/files/{WHEEL}")
    trap.requests.clear()
    await served.cheddar.service.store.accounts.put_user(User("alice", hash_password(CLIENTS_SECRET)))
    own = {"Authorization": basic("alice", CLIENTS_SECRET), "Cookie": CLIENTS_SECRET, "X-Api-Key": CLIENTS_SECRET}
    answers = [await served.get("/simple/moved/", {**own, "Accept": JSON})]
    await gives_the_file(served)
    file = {**page["files"][0], "url": f"{other}/back/"}
    with_login = f"http://{USER}:{SECRET}@127.0.0.1:{upstream.port}/files/{WHEEL}"
    for name, url in (("back", f"{other}/back/"), ("spelled", with_login)):
        filename = WHEEL.replace("demo", name)
        upstream_says(
            upstream, {**page, "name": name, "files": [{**file, "filename": filename, "url": url}]}, f"/simple/{name}/"
        )
        (path,) = (await served.addresses(name)).values()
        answer = await served.get(path, own)
        assert (answer.status, sha256(answer.body)) == (200, sha256(CONTENT)), name
        answers.append(attrs.evolve(answer, body=b""))
    for status in (401, 403, 500):
        upstream.misbehave(f"/simple/s{status}/", status=status)
        answers.append(await served.page(f"s{status}"))
    answers += [await served.get(path, own) for path in ("/metrics", "/health/ready", "/", "/simple/", "/simple/back/")]
    assert {seen.path for seen in trap.requests} == {"/here/", "/there/", "/back/"}
    assert all("authorization" not in seen.headers for seen in trap.requests)
    assert {seen.headers.get("authorization") for seen in upstream.requests} == {basic(USER, SECRET)}
    assert not [seen for seen in (*upstream.requests, *trap.requests) if CLIENTS_SECRET in str(seen.headers)]
    globalLogPublisher.removeObserver(observe)
    stored = b"".join(file.read_bytes() for file in settings.data_dir.rglob("*") if file.is_file())
    told = "\n".join([*said, *(f"{a.headers} {a.reason} {a.body!r}" for a in answers)])
    assert b"spelled" in stored, "the control: what is stored is found"
    assert "credentials" in told, "the control: it is said that the login was refused"
    for canary in (SECRET, CLIENTS_SECRET, *(own["Authorization"].split()[1:]), basic(USER, SECRET).split()[1]):
        assert canary not in told
        assert canary.encode() not in stored


async def test_s4_poison(served: Served, settings: Settings, trap: EvilUpstream) -> None:
    """Nothing that a client sends changes what others get, and no upstream puts its bytes in another one's place."""
    other, bytes_of_other = make_wheel("demo", "1.0", size=400_000, extra=[("demo/evil.py", b"evil")])
    assert other == WHEEL
    trap.add_file("demo", other, bytes_of_other)
    newer = make_wheel("demo", "1.1")
    trap.add_file("demo", *newer)
    tables = [{"name": "first", "url": served.upstream.url}, {"name": "second", "url": trap.url, "merge": True}]
    served.cheddar.settings = attrs.evolve(settings, upstream=read_upstreams("test", tables))
    served.cheddar.settings = attrs.evolve(served.cheddar.settings, listen=("tcp:0:interface=127.0.0.1",))
    # The second one's address is on the inside unless it is an upstream's own.
    await served.cheddar.restart()
    evil = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "evil",
        "Forwarded": "host=evil.example",
        "X-Original-URL": "/evil",
        "X-Rewrite-URL": "/evil",
    }
    accepts = (JSON, HTML, "text/html", "*/*;q=0, text/html;q=0.001", "*/*")
    first = {accept: await served.get(f"{PAGE}?evil=1&format=", {**evil, "Accept": accept}) for accept in accepts}
    for accept in accepts:
        honest = await served.page("demo", accept)
        assert (honest.status, honest.body) == (200, first[accept].body), accept
        assert honest.headers["content-type"] == first[accept].headers["content-type"]
        assert "accept" in honest.headers["vary"].lower()
        assert b"evil" not in honest.body
        assert "evil" not in str(first[accept].headers)
    assert served.upstream.hits[f"GET {PAGE}"] == trap.hits[f"GET {PAGE}"] == 1, "a query is no other page"
    addresses = await served.addresses("demo")
    assert list(addresses) == [WHEEL, newer[0]], "the control: the second one's other file is there"
    address = addresses[WHEEL]
    assert sha256(CONTENT) in address
    assert (await served.get(address.replace(sha256(CONTENT), sha256(bytes_of_other)))).status == 404
    answer = await served.get(f"{address}?evil=2", {**evil, "Range": "bytes=0-9", "If-Range": '"evil"'})
    assert sha256(answer.body) == sha256(CONTENT)
    assert sha256((await served.get(address)).body) == sha256(CONTENT)
    assert trap.hits[f"GET /files/{WHEEL}"] == 0
    assert served.upstream.hits[f"GET /files/{WHEEL}"] == 1
    assert (await served.get(addresses[newer[0]])).body == newer[1]


async def test_s13_evil_pages(served: Served, reactor: Any, lags: list[float]) -> None:
    """Whatever a page holds: what is known stays, or 502; never a fault of Cheddar's, and nobody else has to wait."""
    upstream, clock = served.upstream, served.clock
    page = await right_page(upstream)
    (file,) = page["files"]
    twice = {**file, "hashes": {"sha256": "0" * 64}}
    bodies: tuple[object, ...] = (
        {**page, "files": {}},
        {**page, "files": [{**file, "hashes": {"sha256": 5}}]},
        {**page, "files": [{**file, "size": -1}]},
        {**page, "files": [{**file, "filename": "demo" * 10_000}]},
        {**page, "files": [file, "file"]},
        {**page, "files": [file, twice]},
        {**page, "files": [{**file, "size": float("nan")}]},
        b"[" * 1_000_000,
        b'{"meta":' * 200_000,
        b'{"meta": {"api-version": "1.0"}, "name": "demo", "files": [' + b"1" * 5_000_000 + b"]}",
        json.dumps({**page, "files": [{**file, "filename": "\ud800.whl"}]}).encode(),
        b"\xff\xfe" + json.dumps(page).encode(),
        {**page, "files": [{"filename": f"demo-{n}.tar.gz", "url": "x"} for n in range(100_001)]},
    )
    raw = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
    named = [body.replace(b'"demo"', b'"evil%d"' % number) for number, body in enumerate(raw)]
    await deferLater(reactor, 0.02)  # to make these pages has held up the reactor too
    lags.clear()
    for number, body in enumerate(named):
        upstream_says(upstream, body, f"/simple/evil{number}/")
        answer = await served.page(f"evil{number}")
        assert answer.status == 502, (number, answer)
    as_json = {"Content-Type": JSON}
    upstream.misbehave("/simple/endless/", status=200, body=b"[" * 100_000, endless=True, headers=as_json)
    upstream.misbehave("/simple/bomb/", status=200, gzip_bomb=300 * 1024**2, headers=as_json)
    for name in ("endless", "bomb"):
        assert (await served.page(name)).status in (502, 503), name
    # Upstream's work is this thread's too; and the machine is shared.
    assert max(lags) < 2.5 * LAG, sorted(lags)[-5:]
    await gives_the_file(served)
    before = await served.page("demo")
    for body in raw[:9]:
        upstream_says(upstream, body)
        asked = upstream.hits[f"GET {PAGE}"]
        # What was asked before may still be read: then nothing is asked now.
        while upstream.hits[f"GET {PAGE}"] == asked:
            clock.later(700)
            after = await served.page("demo")
            assert (after.status, after.body) == (200, before.body)
    upstream.behave()
    clock.later(700)
    await gives_the_file(served)


async def test_s14_a_weak_digest(served: Served) -> None:
    """
    Where upstream knows no SHA-256, no byte is given before all of them are here; what they are is kept from then on,
    and bytes that are wrong are forgotten, so that the next request asks again.
    """
    upstream = served.upstream
    filename, content = make_wheel("weak", "1.0", size=400_000)
    upstream.add_file("weak", filename, content, hashes={"md5": hashlib.md5(content).hexdigest()})
    path = f"/files/{filename}"
    (address,) = (await served.addresses("weak")).values()
    assert sha256(content) not in address
    upstream.ranges = False
    upstream.misbehave(path, close_after=300_000)
    assert await bytes_got(served, address) == 0
    upstream.behave()
    upstream.misbehave(path, flip=12_345)
    says_come_again(answer := await served.get(address))
    assert answer.status == 502
    upstream.behave()
    asked = upstream.hits[f"GET {path}"]
    assert (await served.get(address)).body == content
    assert upstream.hits[f"GET {path}"] == asked + 1, "no wrong answer was remembered"
    served.clock.later(2)
    (pinned,) = (await served.addresses("weak")).values()
    assert sha256(content) in pinned
    for path in (pinned, address):
        assert (await served.get(path)).body == content
    # The same MD5 can be had for other bytes; the digest that was learned counts.
    key = urlsplit(pinned).path.rpartition("/")[2]
    (stored,) = served.cheddar.settings.remote_dir.rglob(key)
    assert sha256(stored.read_bytes()) == sha256(content)
    served.clock.later(700)
    await served.page("weak")
    await until(lambda: all(seen.ended for seen in upstream.requests), served.clock)
    served.clock.later(2)
    assert (await served.addresses("weak"))[filename] == pinned
