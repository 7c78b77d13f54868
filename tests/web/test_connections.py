"""Connections that misbehave: raw sockets against a running Cheddar."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.threadpool import ThreadPool

from cheddar.auth.attempts import Attempts
from cheddar.auth.known_rights import KnownRights
from cheddar.auth.logins import LimitedLogins
from cheddar.auth.passwords import PasswordAuthenticator, hash_password
from cheddar.auth.permissions import Permissions
from cheddar.index.upstreams import Upstreams
from cheddar.model import User
from cheddar.settings import Settings
from cheddar.web.site import Behind, make_site
from tests.support.distributions import make_wheel
from tests.support.server import PASSWORD, USER, CheddarHere, basic, upload_form
from tests.support.upstream import EvilUpstream


@pytest_twisted.async_yield_fixture
async def cheddar(reactor: Any, settings: Settings) -> AsyncIterator[CheddarHere]:
    """On one store: what connections do is the same on both."""
    server = await CheddarHere(settings, reactor).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    yield server
    await server.stop()


def request(method: str, path: str, body: bytes | None = None, version: str = "1.1", **headers: str) -> bytes:
    """A request as bytes; None as a header's value leaves it out."""
    fields = {"Host": "x", **({"Content-Length": str(len(body))} if body is not None else {})}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in fields.items() if value)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def upload(filename: str, content: bytes, authorization: str | None = None, **headers: str) -> bytes:
    """An upload as bytes."""
    body, content_type = upload_form(filename, content)
    fields = {"Content_Type": content_type, "Authorization": authorization or basic(), **headers}
    return request("POST", "/pypi/", body, **fields)


class Client:
    """
    One connection.

    @ivar got: what came, and was not looked at yet.
    """

    def __init__(self, port: int, seconds: float = 15) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.got = bytearray()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """All of C{data}; what the server does not take any more is passed over."""
        try:
            self.socket.sendall(data)
        except ConnectionError:
            pass

    def answer(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers, body."""
        head = self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
        while len(self.got) < length:
            self._more()
        body = bytes(self.got[:length])
        del self.got[:length]
        return int(first.split(" ")[1]), headers, body

    def rest(self) -> bytes:
        """What else comes until the server closes the connection."""
        try:
            while True:
                self._more()
        except ConnectionError:
            got, self.got = bytes(self.got), bytearray()
            return got

    def _until(self, end: bytes) -> bytes:
        while end not in self.got:
            self._more()
        head, _, self.got = self.got.partition(end)
        return bytes(head)

    def _more(self) -> None:
        data = self.socket.recv(1024 * 1024)
        if not data:
            raise ConnectionResetError
        self.got += data


def talk(port: int, *pieces: bytes) -> bytes:
    """Send, and read until the server closes the connection."""
    with Client(port) as client:
        for piece in pieces:
            client.send(piece)
        return client.rest()


def site(cheddar: CheddarHere) -> Any:
    """The factory of the connections."""
    port = cheddar.service.ports[0]
    return port.factory  # type: ignore[attr-defined]  # of Twisted's Port


def spooled(settings: Settings) -> list[Path]:
    """Files that are on their way in."""
    incoming = settings.local_dir / ".incoming"
    return [path for path in incoming.rglob("*") if path.is_file() and path.name not in ("lock", "gate")]


async def until(reactor: Any, holds: Callable[[], object]) -> None:
    """Wait for something that comes of itself; the test's deadline ends it."""
    while not holds():
        await deferLater(reactor, 0.01)


async def settled(cheddar: CheddarHere, reactor: Any) -> None:
    """Wait until no request is under way and nothing is on its way in."""
    await until(reactor, lambda: not site(cheddar).under_way and not spooled(cheddar.settings))


async def test_a_client_may_leave_at_any_moment(cheddar: CheddarHere, reactor: Any) -> None:
    """
    Cut anywhere, in the request line, the headers or the body: no error is logged, nothing stays on the disk or in
    memory, and the upload is whole or absent.
    """
    filename, content = make_wheel("demo", "1.0", size=400_000)
    whole = upload(filename, content)
    head = whole.index(b"\r\n\r\n") + 4
    field = whole.index(b"protocol_version")
    data = whole.index(b"octet-stream") + 16
    cuts = (0, 1, 10, 30, 60, head - 2, head, head + 1, field + 3, data, data + 1, data + 200_000)
    for cut in (*cuts, len(whole) - 40, len(whole) - 1):
        await deferToThread(lambda cut=cut: Client(cheddar.port).__enter__().send(whole[:cut]))
        await settled(cheddar, reactor)
        assert (await cheddar.ask("GET", f"/local/{filename}")).status == 404, cut

    # Whole, but nobody waits for the answer: reset, so that the server learns of it at once.
    def leave_at_once() -> None:
        with Client(cheddar.port) as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.send(whole)

    await deferToThread(leave_at_once)
    await settled(cheddar, reactor)
    answer = await cheddar.ask("GET", f"/local/{filename}")
    assert (answer.status, answer.body) in ((404, answer.body), (200, content))
    assert (await cheddar.ask("POST", "/pypi/", *_parts(whole))).status == 200


def _parts(whole: bytes) -> tuple[bytes, dict[str, str]]:
    head, _, body = whole.partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
    return body, {name: value for name, _, value in lines if name not in ("Host", "Content-Length")}


async def test_a_client_may_leave_while_it_waits(cheddar: CheddarHere, reactor: Any, upstream: EvilUpstream) -> None:
    """Whoever waits for a slow upstream, a login or a change may go: no error, nothing left, the change is made."""
    await cheddar.upload(*make_wheel("demo", "1.0"))
    upstream.add_file("slow", *make_wheel("slow", "1.0"))
    upstream.misbehave("/simple/slow/", delay=0.5)
    for asked in (
        request("GET", "/simple/slow/"),
        request("GET", "/", Authorization=basic(USER, "wrong")),
        request("PUT", "/simple/demo/1.0/yanked", b"gone", Authorization=basic()),
        request("DELETE", "/simple/nothing/1.0", Authorization=basic()),
        upload("demo-1.0-py3-none-any.whl", b"no wheel"),
    ):
        for pause in (0.0, 0.02, 0.1):
            with Client(cheddar.port) as client:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.send(asked)
                await deferLater(reactor, pause)
            await settled(cheddar, reactor)
    page = (await cheddar.ask("GET", "/simple/demo/")).body.decode()
    assert "gone" in page
    assert (await cheddar.ask("GET", "/simple/slow/")).status == 200


async def test_every_refusal_leaves_nothing(cheddar: CheddarHere, reactor: Any) -> None:
    """Whatever is wrong with an upload, and whoever says so: a clear answer, and no file stays on its way in."""
    filename, content = make_wheel("demo", "1.0", size=100_000)
    for wrong, status in (
        (upload(filename, content, Host="", Connection="close"), 400),
        (upload(*make_wheel("small", "1.0"), Host="", Connection="close"), 400),
        (request("HEAD", "/simple/", b"x" * 70_000), 413),
        (upload(filename, content).replace(b"Host: x", b"Host: x\r\nHost: y\r\nConnection: close"), 400),
        (upload(filename, content, basic(USER, "wrong"), Connection="close"), 401),
        (upload(filename, content, Content_Type="text/plain", Connection="close"), 400),
        (upload(filename, content, Content_Type="multipart/form-data", Connection="close"), 400),
        (upload(filename, content, Content_Type="multipart/form-data; boundary=other", Connection="close"), 400),
        (upload(filename, content, Connection="close").replace(b"file_upload", b"doc_upload2"), 400),
        (upload("demo-1.0.exe", content, Connection="close"), 400),
        (upload(filename, content[:-100], Connection="close"), 400),
        (upload(filename, content, Connection="close").replace(b"--frontier--", b"--frontier__"), 400),
        (request("POST", "/pypi/", b"", Authorization=basic(), Connection="close"), 400),
        (request("POST", "/pypi/", Authorization=basic(), Connection="close"), 400),
        (request("POST", "/pypi/", version="1.0", Host="", Authorization=basic()), 400),
        (request("POST", "/simple/", b"x" * 70_000), 413),
        (request("POST", "/pypi/../pypi/", b"x", Connection="close"), 400),
    ):
        got = await deferToThread(talk, cheddar.port, wrong)
        assert re.match(rb"HTTP/1\.[01] %d " % status, got), got[:200]
        assert got.count(b"HTTP/1.") == 1
        assert wrong.startswith(b"HEAD") == got.endswith(b"\r\n\r\n")
        await settled(cheddar, reactor)
    assert (await cheddar.upload(filename, content)).status == 200, "the control"


async def test_the_host_is_of_no_account(cheddar: CheddarHere) -> None:
    """One Host header has to be there, and name a host; which one matters to nobody, and harms nobody."""
    for host in ("a" * 70, "a..b", "evil.example:99999999", "", "%00", "[::1]", "EVIL.example."):
        asked = b"GET /simple/ HTTP/1.1\r\nHost: " + host.encode("latin-1") + b"\r\nConnection: close\r\n\r\n"
        got = await deferToThread(talk, cheddar.port, asked)
        assert got.startswith(b"HTTP/1.1 200 "), host
        assert b"evil" not in got.lower()


@pytest.mark.parametrize("path", ["/simple/%ff/", "/simple/\xa9/", "/%c3%28", "/simple/a%7fb/", "/simple/%e2%80/", "*"])
async def test_paths_that_are_no_text(cheddar: CheddarHere, path: str) -> None:
    """400, for a reason, and no traceback in the log."""
    asked = b"GET " + path.encode("latin-1") + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    got = await deferToThread(talk, cheddar.port, asked)
    assert got.startswith(b"HTTP/1.1 400 Bad request: There is no such path")


async def test_old_clients(cheddar: CheddarHere) -> None:
    """HTTP/1.0 without a Host: the answer, then the end of the connection; no 100 Continue."""
    got = await deferToThread(talk, cheddar.port, b"GET /simple/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert got.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"chunked" not in got
    filename, content = make_wheel("demo", "1.0")
    old = upload(filename, content, Expect="100-continue").replace(b"HTTP/1.1", b"HTTP/1.0", 1)

    def in_two_steps() -> bytes:
        with Client(cheddar.port) as client:
            client.send(old[:-1000])
            client.socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                client.rest()
            client.socket.settimeout(10)
            client.send(old[-1000:])
            return client.rest()

    got = await deferToThread(in_two_steps)
    assert got.startswith(b"HTTP/1.0 200 OK\r\n"), "and no 100 Continue before it"


async def test_lengths_that_lie(cheddar: CheddarHere, reactor: Any) -> None:
    """
    More bytes than promised are no part of the upload, and end the connection; a length given twice, wrongly spelled
    or beside chunks is refused; an upload of no wrong length is kept.
    """
    filename, content = make_wheel("demo", "1.0")
    good = upload(filename, content)
    length = b"Content-Length: %d" % len(good.partition(b"\r\n\r\n")[2])
    for wrong in (
        b"Content-Length: +5",
        b"Content-Length: -1",
        b"Content-Length: 5, 5",
        b"Content-Length: 0x10",
        length + b"\r\n" + length,
        length + b"\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: gzip, chunked",
    ):
        got = await deferToThread(talk, cheddar.port, good.replace(length, wrong))
        assert got.startswith(b"HTTP/1.1 400 "), wrong
        assert got.count(b"HTTP/1.1") == 1
        await settled(cheddar, reactor)
        assert (await cheddar.ask("GET", f"/local/{filename}")).status == 404
    got = await deferToThread(talk, cheddar.port, good + b"more than was promised\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 400 " in got
    assert (await cheddar.ask("GET", f"/local/{filename}")).body == content


@pytest.mark.parametrize("chunk", [b"0x0\r\n\r\n", b"-1\r\n", b"5\r\nabcdefg\r\n", b"zz\r\n", b"1" * 2000])
async def test_broken_chunks(cheddar: CheddarHere, reactor: Any, chunk: bytes) -> None:
    """A body in chunks that are none is refused, wherever in the body that is, and nothing is kept."""
    whole = upload(*make_wheel("demo", "1.0"))
    head, _, body = whole.partition(b"\r\n\r\n")
    head = head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked") + b"\r\n\r\n"
    for before in (b"", b"%x\r\n%s\r\n" % (len(body) // 2, body[: len(body) // 2])):
        got = await deferToThread(talk, cheddar.port, head + before + chunk)
        assert got.startswith(b"HTTP/1.1 400 ")
        await settled(cheddar, reactor)
    assert (await cheddar.ask("GET", "/local/simple/demo/")).status == 404


async def test_an_endless_body_ends(cheddar: CheddarHere, reactor: Any) -> None:
    """Chunks without end: the answer at once, and the connection does not outlive what is dropped of them."""

    def endless(path: str) -> bytes:
        with Client(cheddar.port) as client:
            client.send(request("POST", path, Transfer_Encoding="chunked", Content_Type="text/plain"))
            chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
            for _ in range(200):
                client.send(chunk)
            return client.rest()

    for path, status in (("/pypi/", 401), ("/simple/", 413)):
        got = await deferToThread(endless, path)
        # The end may have been a reset, which takes the answer with it; that it is read is another test's.
        assert got == b"" or got.startswith(b"HTTP/1.1 %d " % status)
        await settled(cheddar, reactor)


async def test_answers_come_in_order(reactor: Any, settings: Settings) -> None:
    """Requests sent at once by different users on one connection: each gets its own answer, in their order."""
    private = attrs.evolve(settings, read_auth=True)
    server = await CheddarHere(private, reactor).start()
    try:
        for name in ("alice", "bob"):
            await server.service.store.accounts.put_user(User(name, hash_password(name)))
        known, wrong, nobody = basic("alice", "alice"), basic("bob", "alice"), ""
        who = [known, nobody, wrong, basic("bob", "bob"), nobody, known, wrong, known]
        paths = [f"/simple/none-{number}/" for number in range(len(who))]
        asked = b"".join(request("GET", path, Authorization=login) for path, login in zip(paths, who, strict=True))

        def answers() -> list[tuple[int, bytes]]:
            with Client(server.port) as client:
                client.send(asked)
                return [(status, body) for status, _, body in (client.answer() for _ in who)]

        got = await deferToThread(answers)
        good = (known, basic("bob", "bob"))
        assert [status for status, _ in got] == [404 if login in good else 401 for login in who]
        for (status, body), path in zip(got, paths, strict=True):
            assert (path.split("/")[2].encode() in body) == (status == 404), "the answer to its own question"
    finally:
        await server.stop()


@pytest.mark.deadline(40)
async def test_thousands_of_requests_at_once(cheddar: CheddarHere) -> None:
    """A client that does not wait for answers gets them all."""
    number = 3000
    last = request("GET", "/health/live", Connection="close")
    for asked, status in (
        (request("GET", "/health/live"), b"200 OK"),
        (request("GET", "/%2f"), b"400 Bad request"),
        (request("GET", "/nothing/here"), b"404 Not Found"),
    ):
        got = await deferToThread(talk, cheddar.port, asked * number + last)
        assert got.lower().count(b"http/1.1 " + status.lower()) >= number


async def test_what_follows_a_refused_upload(cheddar: CheddarHere, reactor: Any) -> None:
    """
    A refusal while the body is still coming ends the connection: what follows it, be it the body or not, is never
    taken for a request. After a refusal of a whole upload the connection goes on.
    """
    await cheddar.upload(*make_wheel("demo", "1.0"))
    smuggled = request("DELETE", "/simple/demo/1.0", Authorization=basic())
    body = b"x" * 300_000 + smuggled
    for early in (
        request("POST", "/pypi/", body),
        request("POST", "/pypi/", body, Authorization=basic(USER, "wrong")),
        request("POST", "/pypi/", body, Authorization=basic(), Content_Type="text/plain"),
        request("POST", "/simple/", b"x" * 300_000 + smuggled),
    ):
        got = await deferToThread(talk, cheddar.port, early + smuggled)
        assert got.count(b"HTTP/1.1") <= 1
        assert b"200 OK" not in got
        await settled(cheddar, reactor)
    assert (await cheddar.ask("GET", "/simple/demo/1.0")).status == 200

    def on_one_connection() -> list[int]:
        with Client(cheddar.port) as client:
            client.send(upload("demo-1.1-py3-none-any.whl", b"no wheel"))
            client.send(upload(*make_wheel("demo", "1.2")))
            client.send(smuggled)
            return [client.answer()[0] for _ in range(3)]

    assert await deferToThread(on_one_connection) == [400, 200, 200]
    assert (await cheddar.ask("GET", "/simple/demo/1.0")).status == 404, "the control: on its own it is a request"
    assert (await cheddar.ask("GET", "/simple/demo/1.2")).status == 200


async def test_a_body_that_comes_byte_by_byte(cheddar: CheddarHere) -> None:
    """However the network cuts an upload, it is the same upload."""
    filename, content = make_wheel("demo", "1.0")
    whole = upload(filename, content, Connection="close")

    def slowly() -> bytes:
        with Client(cheddar.port) as client:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(whole)):
                client.send(whole[at : at + 1])
            return client.rest()

    assert (await deferToThread(slowly)).startswith(b"HTTP/1.1 200 OK")
    assert (await cheddar.ask("GET", f"/local/{filename}")).body == content


@pytest.mark.deadline(60)
async def test_two_hundred_uploads_at_once(cheddar: CheddarHere, reactor: Any) -> None:
    """All connections are open before the first body comes; every upload is published, by one and the same user."""
    wheels = [make_wheel(f"demo-{number}", "1.0") for number in range(200)]

    def together() -> list[int]:
        clients = [Client(cheddar.port, 50) for _ in wheels]
        try:
            asked = [upload(*wheel) for wheel in wheels]
            for client, whole in zip(clients, asked, strict=True):
                client.send(whole[:500])
            for client, whole in zip(clients, asked, strict=True):
                client.send(whole[500:])
            return [client.answer()[0] for client in clients]
        finally:
            for client in clients:
                client.socket.close()

    assert await deferToThread(together) == [200] * len(wheels)
    names = (await cheddar.service.store.projects.listed()).names
    assert len(names) == len(wheels)
    await settled(cheddar, reactor)


async def test_one_connection_for_all_kinds_of_answers(cheddar: CheddarHere) -> None:
    """Whole, conditional, partial, unsatisfiable, without body, missing: on one connection, none disturbs the next."""
    filename, content = make_wheel("demo", "1.0", size=300_000)
    await cheddar.upload(filename, content)

    def all_kinds() -> None:
        path = f"/local/{filename}"
        with Client(cheddar.port) as client:

            def get(asked: str = path, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
                client.send(request(method, asked, **headers))
                return client.answer(method)

            status, headers, body = get()
            assert (status, body) == (200, content)
            etag = headers["etag"]
            for _ in range(3):
                assert get(If_None_Match=etag)[::2] == (304, b"")
                assert get(Range="bytes=10-19")[::2] == (206, content[10:20])
                status, headers, body = get(Range="bytes=999999999-")
                assert (status, body, headers["cache-control"]) == (416, b"", "no-store")
                assert get(method="HEAD")[0] == 200
                assert get("/nothing")[0] == 404
                assert get("/%2f")[0] == 400
                assert get("/simple", method="HEAD")[0] == 301
                status, headers, body = get("/project/demo/", Accept_Encoding="gzip")
                assert (status, headers["content-encoding"]) == (200, "gzip")
                again = get("/project/demo/", Accept_Encoding="gzip", If_None_Match=headers["etag"])
                assert again[0] == 304
                assert again[1]["etag"] == headers["etag"]
                assert again[1]["vary"] == headers["vary"]
                assert get("/pypi/", method="PUT")[0] == 405
            client.send(request("GET", path, Connection="close"))
            status, headers, body = client.answer()
            assert (status, headers["connection"], body) == (200, "close", content)
            assert client.rest() == b""

    await deferToThread(all_kinds)


async def test_who_never_reads_is_not_written_to(cheddar: CheddarHere, reactor: Any) -> None:
    """A client that asks for a big file and does not read it holds a bounded part of it, until it leaves."""
    filename, content = make_wheel("big", "1.0", size=30_000_000)
    assert (await cheddar.upload(filename, content)).status == 200
    clients = [Client(cheddar.port) for _ in range(5)]
    for client in clients:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(request("GET", f"/local/{filename}"))
    await until(reactor, lambda: len(site(cheddar).under_way) == len(clients))
    sent = [-1]
    while sent != (now := [asked.sentLength for asked in site(cheddar).under_way]):
        sent = now
        await deferLater(reactor, 0.2)
    for asked in site(cheddar).under_way:
        transport = asked.channel.transport
        assert len(transport.dataBuffer) + transport._tempDataLen < 400_000
        assert asked.sentLength < len(content)
    assert (await cheddar.ask("GET", f"/local/{filename}")).body == content, "others are served meanwhile"
    # An upload whose sender never reads is published all the same.
    silent = Client(cheddar.port)
    silent.send(upload(*make_wheel("demo", "1.0")))
    for client in clients:
        client.socket.close()
    await settled(cheddar, reactor)
    assert (await cheddar.ask("GET", "/simple/demo/1.0")).status == 200
    silent.socket.close()


@attrs.define(eq=False)
class Defective:
    """An index, and its one file, with a defect: it fails as nobody foresaw, before or after the first bytes."""

    name: str = "local"
    size: int = 1000
    digests: dict[str, str] = attrs.Factory(dict)
    first: bytes = b""
    published_at: None = None

    async def history(self) -> Any:
        """Fails."""
        raise RuntimeError("CANARY")

    async def file(self, project: str, filename: str, digest: str | None) -> Defective:
        """The file."""
        return attrs.evolve(self, first=b"x" * 10 if project == "later" else b"")

    async def send(self, consumer: Any, first: int, last: int | None) -> None:
        """Send a part of it, or nothing."""
        if self.first:
            consumer.write(self.first)
        raise RuntimeError("CANARY")


async def test_a_failure_nobody_foresaw(cheddar: CheddarHere, reactor: Any, nothing_left_behind: list[Any]) -> None:
    """
    500 with a page that says nothing of what is inside, a traceback in the log, and the connection goes on. Where a
    part of the answer is out, the connection is cut: what came is not taken for the whole.
    """
    store, pool = cheddar.service.store, ThreadPool(0, 1, name="defective")
    pool.start()
    index: Any = Defective()
    behind = Behind(
        local=index,
        remote=index,
        view=lambda sight: (index, index),
        logins=LimitedLogins(PasswordAuthenticator(store.accounts, reactor, reactor, pool), Attempts(reactor)),
        audit=index,
        permissions=Permissions(KnownRights(store.rights, reactor), store.accounts.grants, store.projects.owned_names),
        store=store,
        storage=index,
        cache=index,
        upstreams=Upstreams(),
        publishing=None,
        address="http://cheddar.example/",
    )
    port = reactor.listenTCP(0, make_site(behind, reactor, reactor, pool), interface="127.0.0.1")

    def failing() -> None:
        with Client(port.getHost().port) as client:
            for path in ("/", f"/local/files/now/{'0' * 64}/now-1.0.tar.gz"):
                for accept, kind in (("text/html", "text/html; charset=utf-8"), ("*/*", "application/problem+json")):
                    client.send(request("GET", path, Accept=accept, Range="bytes=1-5"))
                    status, headers, body = client.answer()
                    assert (status, headers["content-type"]) == (500, kind)
                    assert headers["cache-control"] == "no-store"
                    assert {"etag", "content-range", "content-disposition"}.isdisjoint(headers)
                    for inside in (b"CANARY", b"Traceback", b"RuntimeError", b".py"):
                        assert inside not in body
            client.send(request("GET", "/health/live"))
            assert client.answer()[0] == 200
            client.send(request("GET", f"/local/files/later/{'0' * 64}/later-1.0.tar.gz"))
            assert client.rest().partition(b"\r\n\r\n")[2] in (b"", b"x" * 10), "of the thousand that were promised"

    try:
        await deferToThread(failing)
    finally:
        await port.stopListening()
        pool.stop()
    assert [failure.getErrorMessage() for failure in nothing_left_behind] == ["CANARY"] * 5
    nothing_left_behind.clear()


async def test_a_file_that_goes_while_it_is_asked_for(cheddar: CheddarHere, settings: Settings) -> None:
    """Bytes that are missing are explained, not cut off: 503, and no header that would keep the answer for ever."""
    filename, content = make_wheel("demo", "1.0")
    await cheddar.upload(filename, content)
    (stored,) = settings.local_dir.rglob("*.whl")
    (page,) = (await cheddar.ask("GET", "/simple/demo/", headers={"Accept": "application/json"})).json()["versions"]
    stored.unlink()
    for headers in ({}, {"Range": "bytes=1-5"}):
        answer = await cheddar.ask("GET", f"/local/{page}", headers=headers)
        assert answer.status == 503
        assert answer.headers["cache-control"] == "no-store"
        assert {"etag", "content-range", "content-disposition"}.isdisjoint(answer.headers)


async def test_a_draining_server_ends_connections(cheddar: CheddarHere, reactor: Any) -> None:
    """A request that comes while the server stops is answered, and told that the connection ends with it."""

    def kept() -> Client:
        client = Client(cheddar.port)
        client.send(request("GET", "/health/live"))
        assert client.answer()[1].get("connection") != "close"
        return client

    client, half = await deferToThread(kept), await deferToThread(kept)
    half.send(b"GET / HTTP/1.1\r\nHos")
    stopping = cheddar.service.stopService()
    await until(reactor, lambda: site(cheddar).draining)

    def last() -> bytes:
        client.send(request("GET", "/health/live"))
        status, headers, _ = client.answer()
        assert (status, headers["connection"]) == (200, "close")
        return client.rest() + half.rest()

    assert await deferToThread(last) == b""
    await stopping
