"""
An upstream that misbehaves in every way there is, as Cheddar's clients see it.

After each test nothing is left: no partial file, no connection to upstream, no gauge above zero.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from time import monotonic
from typing import Any

import attrs
import pytest
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from cheddar import metrics
from cheddar.index import arriving
from cheddar.settings import Settings
from tests.conformance.served import Served
from tests.faults.conftest import CONTENT, WHEEL, Ending, address_of_file, bytes_got, gives_the_file, says_come_again
from tests.index.test_downloads import until
from tests.support.distributions import make_wheel, sha256
from tests.support.later import LaterReactor
from tests.support.server import JSON, CheddarHere, ask
from tests.support.upstream import EvilUpstream
from tests.support.upstream_content import Served as OnUpstream
from tests.upstream.certificates import certificate_for
from tests.upstream.test_addresses import Names

PAGE = "/simple/demo/"
FILE = f"/files/{WHEEL}"

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.deadline(60)]


async def becomes(served: Served, filenames: list[str]) -> None:
    """Ask for the page until it lists these: what is due is brought up to date behind the answer."""
    while list(await served.addresses("demo")) != filenames:
        served.clock.later(1)
        await deferLater(served.clock, 0.01)


async def learned(served: Served, upstream_asked: int) -> None:
    """Wait until upstream was asked for the page so often, and all of it was answered."""
    await until(lambda: served.upstream.hits[f"GET {PAGE}"] >= upstream_asked, served.clock)
    await until(lambda: all(seen.ended for seen in served.upstream.requests), served.clock)


def part_of_file(port: int, address: str, count: int) -> bytes:
    """The first bytes of a file; then the client leaves."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", address)
    response = connection.getresponse()
    data = b""
    while len(data) < count:
        data += response.read1(count - len(data))
    response.close()
    connection.close()
    return data


# --- the ending itself


async def test_the_ending_can_fail(served: Served, nothing_left: Ending) -> None:
    """A partial file, a request that hangs and a gauge that stays up are seen: the ending proves something."""
    await nothing_left.nothing_is_left()
    partial = served.cheddar.settings.remote_dir / ".incoming" / "1-x"
    partial.mkdir()
    (partial / "part").write_bytes(b"half a wheel")
    with pytest.raises(AssertionError, match="1-x/part"):
        await nothing_left.nothing_is_left(0.05)
    (partial / "part").unlink()
    metrics.downloads_under_way.inc()
    with pytest.raises(AssertionError, match="cheddar_downloads_under_way"):
        await nothing_left.nothing_is_left(0.05)
    metrics.downloads_under_way.dec()
    served.upstream.misbehave("/simple/other/", mute="hang", times=1)
    asked = served.cheddar.ask("GET", "/simple/other/")
    await until(lambda: served.upstream.hits["GET /simple/other/"], served.clock)
    with pytest.raises(AssertionError, match="under way: .*/simple/other/"):
        await nothing_left.nothing_is_left(0.05)
    says_come_again(await asked)
    stranger = http.client.HTTPConnection("127.0.0.1", served.upstream.port)
    stranger.connect()
    await until(lambda: served.upstream.open_connections >= 1, served.clock)
    await nothing_left.nothing_is_left()
    with pytest.raises(AssertionError):
        await nothing_left.stop(0.1)
    stranger.close()


# --- upstream's faults


async def test_u1_slow_page(served: Served) -> None:
    """Who asks for what is not here waits so long and no longer; the answer is still waited for, once, and kept."""
    # The client's patience ends well before upstream answers, upstream's long after.
    served.cheddar.settings = attrs.evolve(served.cheddar.settings, listing_wait=1, get_timeout=20)
    await served.cheddar.restart()
    served.upstream.misbehave(PAGE, delay=1.5, times=1)
    says_come_again(await served.page("demo"))
    await until(lambda: served.upstream.requests[0].ended, served.clock)
    await gives_the_file(served)
    assert served.upstream.hits[f"GET {PAGE}"] == 1
    served.clock.later(700)
    served.upstream.misbehave(PAGE, delay=1.5)
    began = monotonic()
    aged = await served.page("demo")
    assert aged.status == 200
    assert int(aged.headers["age"]) >= 700
    assert monotonic() - began < 1, "what is known is served at once"
    await learned(served, 2)


@pytest.mark.parametrize("after", [1_000, 200_000])
async def test_u2_hang_in_mid_body(served: Served, after: int) -> None:
    """A download that stands still is given up: nothing is kept, and the client knows that it has not everything."""
    served.upstream.misbehave("/simple/other/", status=200, body=b"<html>" * 99, hang_after=100)
    says_come_again(await served.page("other"))
    address = await address_of_file(served)
    served.upstream.ranges = False
    served.upstream.misbehave(FILE, hang_after=after, times=1)
    assert await bytes_got(served, address) < after
    (hung,) = [seen for seen in served.upstream.requests if seen.path == FILE and "range" not in seen.headers]
    await until(lambda: hung.ended, served.clock)
    assert hung.ended == "lost"
    await gives_the_file(served)
    (rest,) = [seen for seen in served.upstream.requests if "range" in seen.headers]
    assert rest.headers["range"] == f"bytes={after}-", "what has no parts is not read twice"
    assert served.upstream.hits[f"GET {FILE}"] == 3


@pytest.mark.parametrize("fault", [{"reset_after": 150_000}, {"close_after": 150_000}, {"hang_after": 150_000}])
async def test_u2_goes_on(served: Served, fault: dict[str, Any]) -> None:
    """A download that the network breaks off goes on where it was, and no client notices but by the time it takes."""
    address = await address_of_file(served)
    served.upstream.misbehave(FILE, times=2, **fault)
    answers = await gatherResults([served.cheddar.ask("GET", address) for _ in range(3)])
    assert {sha256(answer.body) for answer in answers} == {sha256(CONTENT)}
    asked = [seen.headers for seen in served.upstream.requests if seen.path == FILE]
    assert [headers.get("range") for headers in asked] == [None, "bytes=150000-", "bytes=300000-"]
    assert all(headers["if-range"] == f'"{WHEEL}-{len(CONTENT)}"' for headers in asked[1:])
    await gives_the_file(served)


async def test_u3_no_connection(
    served: Served, settings: Settings, nothing_left: Ending, reactor: Any, tmp_path: Path
) -> None:
    """A reset is tried again, once; what cannot be reached is a 503 that says why, and what is known is served."""
    upstream = served.upstream
    upstream.misbehave(PAGE, mute="reset", times=1)
    await gives_the_file(served)
    assert upstream.hits[f"GET {PAGE}"] == 2
    upstream.misbehave("/simple/other/", mute="reset")
    says_come_again(await served.page("other"))
    assert upstream.hits["GET /simple/other/"] == 2
    await upstream.stop()
    served.clock.later(700)
    says_come_again(await served.page("third"))
    await gives_the_file(served)
    certificate, _ = certificate_for("localhost")
    secure = EvilUpstream(reactor, host="localhost", tls=certificate)
    await secure.start()
    nothing_left.upstreams.append(secure)
    names = LaterReactor(reactor)
    names.nameResolver = Names({"localhost": [["127.0.0.1"]]})
    for url, reason in ((secure.url, "secure connection"), ("https://index.example/simple/", "has no address")):
        elsewhere = attrs.evolve(settings, index_url=url, data_dir=tmp_path / reason)
        other = await CheddarHere(elsewhere, names).start()
        answer = await other.ask("GET", PAGE, headers={"Accept": JSON})
        await other.stop()
        says_come_again(answer)
        assert answer.headers["content-type"] == "application/problem+json"
        assert reason in answer.json()["detail"]
    assert secure.connections == 1
    assert secure.requests == []
    await secure.stop()
    await upstream.start()


#: Statuses, and what their Retry-After says.
REFUSALS = ((401, ""), (403, ""), (429, "60"), (429, "a date"), (503, "60"), (503, "a date"), (500, ""))


async def test_u4_refusals(served: Served) -> None:
    """Stale pages go on; upstream's Retry-After is kept to, and so is a pause after five failures in a row."""
    upstream, clock = served.upstream, served.clock
    await gives_the_file(served)
    for number, (status, wait) in enumerate(REFUSALS):
        clock.later(700)
        wait = wait.replace("a date", formatdate(clock.seconds() + 60, usegmt=True))
        headers = {"Retry-After": wait} if wait else {}
        upstream.misbehave(f"/simple/p{number}/", status=status, headers=headers)
        says_come_again(answer := await served.page(f"p{number}"))
        if not wait:
            assert ("credentials" in answer.json()["detail"]) is (status < 500)
            continue
        asked = len(upstream.requests)
        says_come_again(again := await served.page("other"))
        assert int(again.headers["retry-after"]) > 30
        await gives_the_file(served)
        assert len(upstream.requests) == asked, "not one request while upstream asked for none"
        clock.later(100)
        assert (await served.page("other")).status == 404
        assert len(upstream.requests) > asked
    clock.later(700)
    for number in range(5):
        upstream.misbehave(f"/simple/q{number}/", status=503)
        says_come_again(await served.page(f"q{number}"))
    asked = len(upstream.requests)
    says_come_again(await served.page("q9"))
    assert len(upstream.requests) == asked
    clock.later(2)
    assert (await served.page("q9")).status == 404
    await gives_the_file(served)


@pytest.mark.parametrize(
    "fault", [{"content_length": len(CONTENT) + 9}, {"close_after": 300_000}, {"close_after": 9, "framing": "close"}]
)
async def test_u5_truncated(served: Served, fault: dict[str, Any]) -> None:
    """What is cut is not kept; where no length was said, only the digest tells, and without one nothing is believed."""
    address = await address_of_file(served)
    served.upstream.ranges = False
    served.upstream.misbehave(FILE, **fault)
    assert await bytes_got(served, address) < len(CONTENT)
    served.upstream.behave()
    served.upstream.misbehave(FILE, framing="close")
    served.clock.later(60)
    await gives_the_file(served)
    filename, content = make_wheel("bare", "1.0")
    served.upstream.add_file("bare", filename, content, hashes={}, size=None)
    served.upstream.misbehave(f"/files/{filename}", framing="close")
    (bare,) = (await served.addresses("bare")).values()
    says_come_again(await served.get(bare))
    served.upstream.behave()
    assert (await served.get(bare)).body == content


@pytest.mark.parametrize("listed", [True, False])
async def test_never_ends(served: Served, listed: bool) -> None:
    """
    A file without a length that never ends is given up at MAX_DOWNLOAD, whether its listing has a length or not; nobody
    asks again for it at once, and nothing of it is kept.
    """
    served.cheddar.settings = attrs.evolve(served.cheddar.settings, max_download=len(CONTENT))
    await served.cheddar.restart()
    served.upstream.json = listed
    address = await address_of_file(served)
    served.upstream.misbehave(FILE, endless=True)
    assert await bytes_got(served, address) < len(CONTENT)
    (asked,) = [seen for seen in served.upstream.requests if seen.path == FILE]
    await until(lambda: asked.ended, served.clock)
    assert asked.ended == "lost"
    served.upstream.behave()
    await gives_the_file(served)
    filename, content = make_wheel("large", "1.0", size=len(CONTENT))
    served.upstream.add_file("large", filename, content)
    (large,) = (await served.addresses("large")).values()
    refused = await served.get(large)
    assert refused.status == 502
    assert "MAX_DOWNLOAD" in refused.json()["detail"]
    assert served.upstream.hits[f"GET /files/{filename}"] == 1


async def test_u6_wrong_bytes(served: Served) -> None:
    """No client ever has all of a file that is wrong; a small one is fetched again before anybody notices."""
    address, upstream = await address_of_file(served), served.upstream
    count = metrics.wrong_bytes._value.get()
    upstream.misbehave(FILE, flip=12_345)
    for _ in range(2):
        assert await bytes_got(served, address) < len(CONTENT)
    upstream.behave()
    asked = upstream.hits[f"GET {FILE}"]
    assert metrics.wrong_bytes._value.get() == count + asked
    await gives_the_file(served)
    await gives_the_file(served)
    assert upstream.hits[f"GET {FILE}"] == asked + 1
    filename, content = make_wheel("small", "1.0")
    served.upstream.add_file("small", filename, content)
    served.upstream.misbehave(f"/files/{filename}", flip=12, times=1)
    (small,) = (await served.addresses("small")).values()
    assert (await served.get(small)).body == content
    first, second = [seen.headers for seen in upstream.requests if seen.path == f"/files/{filename}"]
    assert (second["cache-control"], second["pragma"]) == ("no-cache", "no-cache"), "past what a cache may have damaged"
    assert "cache-control" not in first
    filename, content = make_wheel("worse", "1.0")
    upstream.add_file("worse", filename, content)
    wrong = bytes([*content[:12], content[12] ^ 1, *content[13:]])
    upstream.misbehave(f"/files/{filename}", flip=12, times=4)
    (worse,) = (await served.addresses("worse")).values()
    for _ in range(2):
        answer = await served.get(worse)
        assert (answer.status, upstream.hits[f"GET /files/{filename}"] % 2) == (502, 0)
    assert (await served.get(worse)).body == content
    events = list(map(json.loads, served.cheddar.settings.audit_file.read_text().splitlines()))
    assert [event["filename"] for event in events] == [WHEEL, filename], "each once, and none that came right"
    event = events[1]
    assert (event["action"], event["project"], event["digest"]) == ("upstream.wrong_bytes", "worse", sha256(content))
    assert sha256(wrong) in event["detail"]


@pytest.mark.parametrize("here", [True, False])
async def test_u7_other_bytes_under_the_same_name(served: Served, here: bool) -> None:
    """The digest that was seen first counts: other bytes are never given under that name, and the audit log says so."""
    address = await address_of_file(served)
    if here:
        await gives_the_file(served)
    _, other = make_wheel("demo", "1.0", size=400_000, extra=[("demo/more.py", b"import os")])
    served.upstream.projects["demo"] = [OnUpstream(WHEEL, other, {})]
    newer, content = make_wheel("demo", "1.1")
    served.upstream.add_file("demo", newer, content)
    served.clock.later(700)
    await becomes(served, [WHEEL, newer])
    assert (await served.addresses("demo"))[WHEEL] == address
    (event,) = map(json.loads, served.cheddar.settings.audit_file.read_text().splitlines())
    assert (event["action"], event["filename"]) == ("upstream.changed", WHEEL)
    if here:
        assert (await served.get(address)).body == CONTENT
    else:
        assert await bytes_got(served, address) < len(CONTENT)
        served.upstream.projects["demo"][0] = OnUpstream(WHEEL, CONTENT, {})
        assert (await served.get(address)).body == CONTENT


async def test_u8_redirects(served: Served, reactor: Any) -> None:
    """Loops, too many hops and addresses that upstream has no business with are 502; five hops on its own are not."""
    private = EvilUpstream(reactor)
    await private.start()
    upstream = served.upstream
    for name, target in (("loop", "/simple/loop/"), ("inside", private.url), ("link", "http://169.254.169.254/x")):
        upstream.misbehave(f"/simple/{name}/", redirect_to=target)
        says_come_again(answer := await served.page(name))
        assert answer.status == 502
    assert upstream.hits["GET /simple/loop/"] == 6
    assert private.connections == 0
    await private.stop()
    right = await deferToThread(ask, upstream.port, "GET", PAGE, headers={"Accept": JSON})
    for hop in range(6):
        upstream.misbehave(f"/hop/{hop}/", redirect_to=f"/hop/{hop + 1}/")
    upstream.misbehave("/hop/6/", status=200, body=right.body, headers={"Content-Type": JSON})
    upstream.misbehave(PAGE, redirect_to="/hop/1/", times=1)
    says_come_again(await served.page("demo"))
    upstream.misbehave(PAGE, redirect_to="/hop/2/")
    await gives_the_file(served)


async def test_u9_a_project_that_vanishes(served: Served) -> None:
    """One 404 hides nothing, two with ten minutes between them do; quarantine does at once, and files go with it."""
    served.cheddar.settings = attrs.evolve(served.cheddar.settings, versions_short_ttl=100)
    await served.cheddar.restart()
    assert (await served.page("never-seen")).status == 404
    address = await address_of_file(served)
    await gives_the_file(served)
    served.upstream.misbehave(PAGE, status=404)
    served.clock.later(700)
    await served.page("demo")

    async def doubted() -> bool:
        page = await served.cheddar.service.store.pages.get("remote", "demo")
        return page is not None and page.missing_since is not None

    while not await doubted():
        await deferLater(served.clock, 0.01)
    for asked in range(3, 5):
        # Asked again, and told the same again, but within the ten minutes.
        served.clock.later(200)
        while served.upstream.hits[f"GET {PAGE}"] < asked:
            await gives_the_file(served)
        await learned(served, asked)
        await gives_the_file(served)
    served.clock.later(700)
    while (await served.page("demo")).status == 200:
        served.clock.later(1)
    assert (await served.page("demo")).status == (await served.get(address)).status == 404
    served.upstream.behave()
    served.clock.later(400)
    await gives_the_file(served)
    right = (await deferToThread(ask, served.upstream.port, "GET", PAGE, headers={"Accept": JSON})).json()
    body = json.dumps({**right, "project-status": {"status": "quarantined"}}).encode()
    served.upstream.misbehave(PAGE, status=200, body=body, headers={"Content-Type": JSON})
    served.clock.later(700)
    await becomes(served, [])
    assert (await served.get(address)).status in (403, 404)
    served.upstream.behave()
    served.clock.later(700)
    await becomes(served, [WHEEL])
    await gives_the_file(served)


async def test_u10_an_older_page(served: Served, settings: Settings) -> None:
    """A cache between upstream and here that is behind takes nothing back; a rebuilt upstream does in time."""
    newer, content = make_wheel("demo", "1.1")
    upstream, clock = served.upstream, served.clock

    def upstream_has(serial: int, *files: tuple[str, bytes]) -> None:
        upstream.projects["demo"] = [OnUpstream(filename, content, {}) for filename, content in files]
        upstream.behave()
        upstream.misbehave(PAGE, headers={"X-PyPI-Last-Serial": str(serial)})

    async def is_kept(serials: str) -> None:
        # Whoever wants what may be newer is told how it is.
        clock.later(700)
        says_come_again(answer := await served.get((await served.addresses("demo"))[newer].replace("1.1", "9.9")))
        assert serials in answer.body.decode()
        assert list(await served.addresses("demo")) == [WHEEL, newer]

    upstream_has(10, (WHEEL, CONTENT), (newer, content))
    assert list(await served.addresses("demo")) == [WHEEL, newer]
    upstream_has(9, (WHEEL, CONTENT))
    await is_kept("(serial 9) that is older than the one that is known (serial 10)")
    await served.cheddar.restart()
    await is_kept("(serial 9)")
    upstream_has(11, (WHEEL, CONTENT))
    clock.later(700)
    await becomes(served, [WHEEL])
    upstream_has(3, (WHEEL, CONTENT), (newer, content))
    clock.later(86_401)
    await becomes(served, [WHEEL, newer])
    upstream_has(1, (WHEEL, CONTENT))
    clock.later(700)
    served.cheddar.settings = attrs.evolve(
        served.cheddar.settings, index_url=settings.index_url.replace("127.0.0.1", "localhost")
    )
    await served.cheddar.restart()
    await becomes(served, [WHEEL])
    assert "if-none-match" not in upstream.requests[-1].headers, "another server's validators say nothing to it"
    await gives_the_file(served)


async def test_u11_garbage(served: Served) -> None:
    """A 200 with something else in it is upstream's fault; it never replaces what is known."""
    right = (await deferToThread(ask, served.upstream.port, "GET", PAGE, headers={"Accept": JSON})).body
    garbage = (
        (b"<html><form action=/login>Welcome to our hotel</form></html>", "text/html"),
        (b"", JSON),
        (right[:-1], JSON),
        (right.replace(b'"demo"', b'"other"'), JSON),
        (right.replace(b'"1.1"', b'"2.0"'), JSON),
        (right, "application/octet-stream"),
    )
    for known in (False, True):
        for body, content_type in garbage:
            served.upstream.behave()
            served.upstream.misbehave(PAGE, status=200, body=body, headers={"Content-Type": content_type})
            asked = served.upstream.hits[f"GET {PAGE}"]
            # What was asked before may still be read, or have failed only now: then nothing is asked.
            while served.upstream.hits[f"GET {PAGE}"] == asked:
                served.clock.later(700)
                answer = await served.page("demo")
                assert answer.status == (200 if known else 502), (body, answer)
        await learned(served, 2)
        served.upstream.behave()
        served.clock.later(700)
        await gives_the_file(served)
    assert served.upstream.hits[f"GET {PAGE}"] >= 2 * len(garbage)


async def test_u12_not_modified(served: Served) -> None:
    """A 304 that nobody asked for is no answer; one about another page than ours makes Cheddar fetch it whole."""
    served.upstream.misbehave(PAGE, status=304, times=1)
    assert (await served.page("demo")).status == 502
    await gives_the_file(served)
    served.upstream.misbehave(PAGE, status=304, headers={"ETag": '"another"'}, times=1)
    newer, content = make_wheel("demo", "1.1")
    served.upstream.add_file("demo", newer, content)
    asked = served.upstream.hits[f"GET {PAGE}"]
    served.clock.later(700)
    await becomes(served, [WHEEL, newer])
    assert served.upstream.hits[f"GET {PAGE}"] == asked + 2
    assert ["if-none-match" in seen.headers for seen in served.upstream.requests[-2:]] == [True, False]
    served.clock.later(700)
    await served.page("demo")
    await learned(served, asked + 3)
    assert "if-none-match" in served.upstream.requests[-1].headers, "the control: right ones are still taken"


async def test_u13_a_herd(served: Served) -> None:
    """However many want the same at once, upstream is asked once, and each of them gets all of it."""
    pages = await gatherResults([served.cheddar.ask("GET", PAGE) for _ in range(40)])
    assert {page.status for page in pages} == {200}
    address = await address_of_file(served)
    served.upstream.misbehave(FILE, rate=1_000_000)
    files = await gatherResults([served.cheddar.ask("GET", address) for _ in range(40)])
    assert {sha256(file.body) for file in files} == {sha256(CONTENT)}
    assert (served.upstream.hits[f"GET {PAGE}"], served.upstream.hits[f"GET {FILE}"]) == (1, 1)


async def test_u14_a_client_that_leaves(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is nearly here is finished for the next one, what has hardly begun is not; who stays is not harmed."""
    monkeypatch.setattr(arriving, "SMALL", 1000)
    monkeypatch.setattr(arriving, "PATIENCE", 0.1)
    address = await address_of_file(served)
    upstream, port = served.upstream, served.cheddar.port
    upstream.misbehave(FILE, rate=100_000, times=1)
    assert await deferToThread(part_of_file, port, address, 20_000) == CONTENT[:20_000]
    await until(lambda: upstream.requests[-1].ended, served.clock)
    assert upstream.requests[-1].ended == "lost"
    upstream.misbehave(FILE, rate=400_000, times=1)
    stays = served.cheddar.ask("GET", address)
    assert await deferToThread(part_of_file, port, address, 20_000) == CONTENT[:20_000]
    assert sha256((await stays).body) == sha256(CONTENT)
    assert upstream.hits[f"GET {FILE}"] == 2
    filename, content = make_wheel("late", "1.0", size=400_000)
    upstream.add_file("late", filename, content)
    upstream.misbehave(f"/files/{filename}", rate=400_000)
    (late,) = (await served.addresses("late")).values()
    assert await deferToThread(part_of_file, port, late, 300_000) == content[:300_000]
    await until(lambda: upstream.requests[-1].ended, served.clock)
    assert upstream.requests[-1].ended == "whole"
    assert sha256((await served.get(late)).body) == sha256(content)
    assert upstream.hits[f"GET /files/{filename}"] == 1


async def test_u15_a_slow_client(served: Served) -> None:
    """Who does not read holds up neither upstream nor the others, and has the file in the end."""
    filename, content = make_wheel("large", "1.0", size=30_000_000)
    served.upstream.add_file("large", filename, content)
    (address,) = (await served.addresses("large")).values()
    slow = http.client.HTTPConnection("127.0.0.1", served.cheddar.port, timeout=30)
    slow.request("GET", address)
    await until(lambda: served.upstream.hits[f"GET /files/{filename}"], served.clock)
    assert sha256((await served.get(address)).body) == sha256(content)
    assert served.upstream.requests[-1].ended == "whole"
    response = slow.getresponse()
    assert response.status == 200
    assert sha256(await deferToThread(response.read)) == sha256(content)
    slow.close()
    assert served.upstream.hits[f"GET /files/{filename}"] == 1


async def test_u16_a_part_of_what_is_not_here(served: Served) -> None:
    """
    A part is given as soon as its bytes are here, but for the last of them, which waits for the digest: all of the file
    is fetched, and a part is never taken for all.
    """
    address = await address_of_file(served)
    served.upstream.ranges = False
    served.upstream.misbehave(FILE, status=206, body=CONTENT[:1000], times=2)
    assert await bytes_got(served, address) == 0
    served.upstream.misbehave(FILE, close_after=200_000)
    assert await bytes_got(served, address) < len(CONTENT)
    late: Callable[[], Any] = lambda: served.get(address, {"Range": "bytes=300000-"})  # noqa: E731
    says_come_again(await late())
    served.upstream.behave()
    served.upstream.misbehave(FILE, rate=400_000)
    client = http.client.HTTPConnection("127.0.0.1", served.cheddar.port, timeout=30)
    client.request("GET", address, headers={"Range": "bytes=1000-1999"})
    part = await deferToThread(client.getresponse)
    assert part.status == 206
    assert await deferToThread(part.read, 999) == CONTENT[1000:1999]
    assert served.upstream.requests[-1].ended is None, "the rest is still on its way"
    assert await deferToThread(part.read) == CONTENT[1999:2000]
    assert served.upstream.requests[-1].ended == "whole"
    client.close()
    assert "range" not in served.upstream.requests[-1].headers
    whole = await served.get(address, {"Range": "bytes=1000-", "If-Range": '"other"'})
    assert (whole.status, sha256(whole.body)) == (200, sha256(CONTENT))
    asked = served.upstream.hits[f"GET {FILE}"]
    assert (await late()).body == CONTENT[300_000:]
    await gives_the_file(served)
    assert served.upstream.hits[f"GET {FILE}"] == asked
