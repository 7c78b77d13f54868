"""Files over HTTP: their headers, parts of them, and what is not sent twice (RFC 9110, sections 8.8, 13 and 14)."""

from __future__ import annotations

import socket
from datetime import datetime, timezone
from typing import Any

import pytest
from attrs import define
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.web.http import datetimeToString

from tests.conformance.served import FROM_UPSTREAM, Served
from tests.support.distributions import make_wheel
from tests.support.server import Answer

SIZE = 300_000


@define(eq=False)
class Published:
    """A file that an index offers, at the address that its page gives."""

    served: Served
    filename: str
    content: bytes
    address: str

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content)

    async def get(self, method: str = "GET", **headers: str) -> Answer:
        """Ask for it; headers with underscores for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.served.ask(method, self.address, named)


@pytest.fixture
def publish(served: Served) -> Any:
    """Publishes a wheel in a project of its own."""

    async def publish(name: str = "demo", **arguments: Any) -> Published:
        filename, content = await served.publish_wheel(name, "1.0", **{"size": SIZE, **arguments})
        (address,) = (await served.addresses(name)).values()
        return Published(served, filename, content, address)

    return publish


def date(seconds: float) -> str:
    """A date as headers have it."""
    return datetimeToString(seconds).decode()


@pytest.mark.conforms("RFC 9110", "Files: length, validators, Accept-Ranges, and never compressed on the way")
async def test_the_headers_of_a_file(publish: Any) -> None:
    """Whole and as it is, whatever the client could unpack; kept for ever, as the address has the digest."""
    file = await publish()
    for accept in ({}, {"Accept_Encoding": "gzip, deflate, br"}):
        answer = await file.get(**accept)
        assert (answer.status, answer.body) == (200, file.content)
        assert answer.headers["content-length"] == str(file.size)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["etag"].startswith('"')
        assert "content-encoding" not in answer.headers
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.conforms("RFC 9110", "Files: HEAD says what GET would, and sends nothing")
async def test_head_of_a_file(publish: Any) -> None:
    """Before and after it was fetched from upstream alike; HEAD alone fetches nothing."""
    file = await publish()
    before = await file.get("HEAD")
    assert (before.status, before.body) == (200, b"")
    assert file.served.upstream.hits[f"GET /files/{file.filename}"] == 0
    whole = await file.get()
    after = await file.get("HEAD")
    for answer in (before, after):
        assert {**answer.headers, "date": ""} == {**whole.headers, "date": ""}
    assert whole.headers["content-length"] == str(file.size)


@pytest.mark.conforms("RFC 9110", "Range: the bytes asked for, from the start, the middle or the end")
async def test_parts(publish: Any) -> None:
    """Also of a file that is not here yet: the first question is for a part."""
    file = await publish()
    size = file.size
    for asked, first, last in (
        ("0-0", 0, 0),
        ("5-", 5, size - 1),
        ("-10000", size - 10_000, size - 1),
        (f"-{size}", 0, size - 1),
        (f"-{size * 2}", 0, size - 1),
        (f"7-{size * 2}", 7, size - 1),
        (f"{size - 1}-", size - 1, size - 1),
        ("100000-199999", 100_000, 199_999),
    ):
        part = await file.get(Range=f"bytes={asked}")
        assert (part.status, part.body) == (206, file.content[first : last + 1]), asked
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert part.headers["content-length"] == str(last - first + 1)
        assert part.headers["etag"]
    assert file.served.upstream.hits[f"GET /files/{file.filename}"] == (file.served.origin == "remote")


@pytest.mark.conforms("RFC 9110", "Range: 416 with the length, where nothing of it is there")
async def test_parts_that_are_not_there(publish: Any) -> None:
    """Behind the end; the answer is not kept, though the file is."""
    file = await publish()
    for asked in (f"{file.size}-", f"{file.size + 5}-{file.size + 9}", "-0"):
        answer = await file.get(Range=f"bytes={asked}")
        assert (answer.status, answer.body) == (416, b""), asked
        assert answer.headers["content-range"] == f"bytes */{file.size}"
        assert answer.headers["cache-control"] == "no-store"
    assert (await file.get(Range=f"bytes={file.size - 1}-")).status == 206, "the control"


@pytest.mark.conforms("RFC 9110", "Range: what is no range of bytes, or several, gets the whole file")
async def test_ranges_that_are_none(publish: Any) -> None:
    """A client that asks in another way still gets what it can use."""
    file = await publish()
    for asked in ("bytes=5-2", "bytes=abc", "bytes=", "bytes=-", "items=0-1", "bytes=0-1,4-5", "0-1", "bytes=0-1-2"):
        answer = await file.get(Range=asked)
        assert (answer.status, answer.body) == (200, file.content), asked
        assert "content-range" not in answer.headers
    head = await file.get("HEAD", Range="bytes=0-1")
    assert (head.status, head.headers["content-length"]) == (200, str(file.size)), "Range is for GET alone"


@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)
@pytest.mark.conforms("RFC 9110", "Range: of an empty file there is no part")
async def test_an_empty_file(served: Served) -> None:
    """It is sent as it is; any part of it is 416."""
    await served.publish("demo-1.0.tar.gz", b"", project="demo")
    (address,) = (await served.addresses("demo")).values()
    whole = await served.get(address)
    assert (whole.status, whole.body, whole.headers["content-length"]) == (200, b"", "0")
    for asked in ("0-0", "0-", "-1"):
        answer = await served.get(address, {"Range": f"bytes={asked}"})
        assert (answer.status, answer.headers["content-range"]) == (416, "bytes */0"), asked


@pytest.mark.conforms("RFC 9110", "If-Range: the part, if it is of the same file; else the whole")
async def test_a_part_of_the_same_file(publish: Any) -> None:
    """By tag or by date: bytes at an address with their digest never change, so that its date is a strong validator."""
    file = await publish()
    whole = await file.get()
    etag, modified = whole.headers["etag"], whole.headers["last-modified"]
    day = datetime.strptime(modified, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=timezone.utc).timestamp()
    for condition, status in (
        (etag, 206),
        (modified, 206),
        ('"other"', 200),
        (f"W/{etag}", 200),
        (f'{etag}, "x"', 200),
        (date(day - 1), 200),
        (date(day + 1), 200),
        ("tomorrow", 200),
    ):
        answer = await file.get(Range="bytes=0-4", If_Range=condition)
        assert (answer.status, answer.body) == (status, file.content[:5] if status == 206 else file.content), condition
    assert (await file.get(If_Range='"other"')).status == 200


@pytest.mark.conforms("RFC 9110", "If-None-Match: 304 for what the client has, in a list, weak or as *")
async def test_a_file_is_not_sent_twice(publish: Any) -> None:
    """304 has what a cache needs, and nothing else; nothing is fetched for it."""
    file = await publish()
    head = await file.get("HEAD")
    etag = head.headers["etag"]
    for tags in (etag, f"W/{etag}", f'"x", {etag}', f'W/"a,b",W/{etag}', "*"):
        for method in ("GET", "HEAD"):
            answer = await file.get(method, If_None_Match=tags)
            assert (answer.status, answer.body) == (304, b""), tags
            for name in ("etag", "cache-control", "last-modified"):
                assert answer.headers[name] == head.headers[name]
            assert "content-length" not in answer.headers
            assert "content-type" not in answer.headers
    assert file.served.upstream.hits[f"GET /files/{file.filename}"] == 0
    for tags in ('"x"', 'W/"x", "y"', "", ","):
        assert (await file.get(If_None_Match=tags)).status == 200, tags


@pytest.mark.conforms("RFC 9110", "Range: If-None-Match goes first")
async def test_a_part_of_what_the_client_has(publish: Any) -> None:
    """Who has the file needs no part of it."""
    file = await publish()
    etag = (await file.get("HEAD")).headers["etag"]
    assert (await file.get(Range="bytes=0-4", If_None_Match=etag)).status == 304
    assert (await file.get(Range="bytes=0-4", If_None_Match='"x"')).status == 206


@pytest.mark.conforms("RFC 9110", "Last-Modified: a file's is the time of its upload")
async def test_the_date_of_a_file(publish: Any) -> None:
    """Upstream's word for upstream's files: the upload-time of the page, in whole seconds."""
    file = await publish()
    (entry,) = (await file.served.project_page_json("demo"))["files"]
    uploaded = datetime.fromisoformat(entry["upload-time"].replace("Z", "+00:00"))
    for method in ("HEAD", "GET", "GET"):
        assert (await file.get(method)).headers["last-modified"] == date(int(uploaded.timestamp()))


@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)
@pytest.mark.conforms("RFC 9110", "Last-Modified: none where nobody knows, and none to come")
@pytest.mark.parametrize("upload_time", [None, datetime(2124, 1, 1, tzinfo=timezone.utc)])
async def test_no_date(served: Served, upload_time: datetime | None) -> None:
    """An upstream may not say when a file was uploaded, or say what cannot be."""
    filename, content = make_wheel("demo", "1.0")
    await served.publish(filename, content, upload_time=upload_time)
    (address,) = (await served.addresses("demo")).values()
    for headers in ({}, {"If-Modified-Since": date(served.clock.seconds())}):
        for _ in range(2):
            answer = await served.get(address, headers)
            assert (answer.status, answer.body) == (200, content)
            assert "last-modified" not in answer.headers


@pytest.mark.conforms("RFC 9110", "If-Modified-Since: 304 for a date at or after Last-Modified, in any form of a date")
async def test_a_file_by_its_date(publish: Any) -> None:
    """For clients that keep dates and no tags."""
    file = await publish()
    head = await file.get("HEAD")
    modified = datetime.strptime(head.headers["last-modified"], "%a, %d %b %Y %H:%M:%S GMT")
    now = file.served.clock.seconds()
    for since in (
        head.headers["last-modified"],
        modified.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
        modified.strftime(f"%a %b {modified.day:2d} %H:%M:%S %Y"),
        date(now),
    ):
        answer = await file.get(If_Modified_Since=since)
        assert (answer.status, answer.body) == (304, b""), since
        assert answer.headers["etag"] == head.headers["etag"]
    file.served.clock.later(60)
    day = modified.replace(tzinfo=timezone.utc).timestamp()
    for since in (
        date(day - 1),
        "yesterday",
        "",
        f"{date(now)}, {date(now)}",
        date(now + 86400),  # a fast clock's, not this server's
    ):
        assert (await file.get(If_Modified_Since=since)).status == 200, since


@pytest.mark.conforms("RFC 9110", "If-Modified-Since: of no account beside If-None-Match")
async def test_tags_go_before_dates(publish: Any) -> None:
    """Whatever the date says, the tag decides."""
    file = await publish()
    head = await file.get("HEAD")
    etag, modified = head.headers["etag"], head.headers["last-modified"]
    assert (await file.get(If_None_Match='"x"', If_Modified_Since=modified)).status == 200
    assert (await file.get(If_None_Match=etag, If_Modified_Since=date(0))).status == 304
    assert (await file.get(If_Modified_Since=modified)).status == 304, "the control"


@pytest.mark.conforms("RFC 9110", "If-Match and If-Unmodified-Since: 412 where the file is another")
async def test_only_this_very_file(publish: Any) -> None:
    """For downloads in parts, by clients that know no If-Range: never a part of something else."""
    file = await publish()
    head = await file.get("HEAD")
    etag, modified = head.headers["etag"], head.headers["last-modified"]
    day = datetime.strptime(modified, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=timezone.utc).timestamp()
    for conditions, status in (
        ({"If_Match": etag}, 206),
        ({"If_Match": f'"x", {etag}'}, 206),
        ({"If_Match": "*"}, 206),
        ({"If_Match": '"x"'}, 412),
        ({"If_Match": f"W/{etag}"}, 412),
        ({"If_Unmodified_Since": modified}, 206),
        ({"If_Unmodified_Since": date(day + 5)}, 206),
        ({"If_Unmodified_Since": date(day - 1)}, 412),
        ({"If_Unmodified_Since": "yesterday"}, 206),
        ({"If_Match": etag, "If_Unmodified_Since": date(day - 1)}, 206),
        ({"If_Match": '"x"', "If_None_Match": etag}, 412),
    ):
        answer = await file.get(Range="bytes=0-4", **conditions)
        assert answer.status == status, conditions
        if status == 412:
            assert answer.json()["status"] == 412
            assert answer.headers["cache-control"] == "no-store"


@pytest.mark.conforms("PEP 503", "Files: any other name, project or hash in the address is not found")
async def test_an_address_names_one_file(publish: Any) -> None:
    """So what an address gave once it gives for ever, or nothing."""
    file, other = await publish(), await publish("other")
    assert (await file.get()).status == (await other.get()).status == 200, "the control"
    *_, project, digest, filename = file.address.split("/")
    assert (project, filename) == ("demo", file.filename)
    for wrong in (
        file.address.replace(filename, "demo-9.0-py3-none-any.whl"),
        file.address.replace("/demo/", "/other/"),
        file.address.replace("/demo/", "/nothing/"),
        file.address.replace("/demo/", "/Demo/"),
        file.address.replace(digest, "0" * 64),
        file.address.replace(digest, digest[:-1]),
        file.address.replace(digest, other.address.split("/")[-2]),
        file.address.replace(f"/{digest}/", "/"),
    ):
        for asked in (wrong, f"{wrong}/", f"{wrong}.metadata", f"{wrong}.metadata/"):
            assert (await file.served.get(asked)).status == 404, asked


@pytest.mark.deadline(60)
@pytest.mark.conforms("RFC 9110", "Files: a client that leaves takes nothing from those that wait")
async def test_a_client_that_leaves(publish: Any) -> None:
    """In the middle of a file; of one that comes from upstream, of which the first client began the download."""
    file = await publish(size=4_000_000)
    file.served.upstream.misbehave(f"/files/{file.filename}", rate=4_000_000)

    def leave() -> int:
        with socket.create_connection(("127.0.0.1", file.served.cheddar.port), timeout=15) as client:
            client.sendall(f"GET {file.address} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return len(client.recv(1000))

    leaving = [deferToThread(leave) for _ in range(3)]
    staying = [Deferred.fromCoroutine(file.get()) for _ in range(3)]
    assert all(await gatherResults(leaving)), "they left in the middle"
    for answer in await gatherResults(staying):
        assert (answer.status, answer.body == file.content) == (200, True)
    assert file.served.upstream.hits[f"GET /files/{file.filename}"] == (file.served.origin == "remote")
