"""Clients of a Cheddar whose upstream goes wrong, who compare every byte with what is right."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Coroutine
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import treq
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers

from tests.clients.installers import Client, Pip, Uv
from tests.faults.chaos_upstream import ChaosUpstream
from tests.support.clients import output
from tests.support.distributions import core_metadata_of
from tests.support.server import JSON

HTML = "application/vnd.pypi.simple.v1+html"
#: What pip and uv say that they accept.
ACCEPTS = (f"{JSON}, {HTML};q=0.1, text/html;q=0.01", f"{JSON}, {HTML};q=0.2, text/html", JSON, HTML, "text/html")
#: Seconds after which an answer is none: of a page with LISTING_WAIT of 1, and of a file that comes slowly.
SOON, AT_LAST = 10.0, 60.0

#: What becomes of a request whose connection does not come about; of one that is given up then, too.
NOT_CONNECTED = (ConnectError, ConnectingCancelledError, DNSLookupError)

_LINK = re.compile(r'<a href="([^"#]+)#sha256=([0-9a-f]{64})"[^>]*>([^<]+)</a>')


@define(eq=False)
class Watchers:
    """
    What all clients know.

    @ivar wrong: what was not as it should be, a line each.
    @ivar answers: how many there were, by what was asked for and the status.
    @ivar shown: the files that a page has shown, with their addresses, by project.
    """

    upstream: ChaosUpstream
    port: int
    reactor: Any
    wrong: list[str] = field(factory=list)
    answers: Counter[str] = field(factory=Counter)
    shown: dict[str, dict[str, str]] = field(factory=dict)

    def note(self, problem: str) -> None:
        """Something is wrong."""
        self.wrong.append(f"{problem} [{self.reactor.seconds():.3f}]")


class Content(Protocol):
    """
    A body. Who does not want the rest of it closes the connection, as real clients do: treq would read it to its end,
    and there may be none.

    @ivar whole: its bytes; to be cancelled.
    """

    transport: Any  # Twisted's HTTP client gives one that can be closed, and names no interface for it

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self.transport.loseConnection())
        self._pieces: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        """Some of it."""
        self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Its end."""
        if self.whole.called:
            return
        if reason.check(ResponseDone):
            self.whole.callback(b"".join(self._pieces))
        else:
            self.whole.errback(reason)


@define(eq=False)
class Asker:
    """
    A client, one request after the other.

    @ivar _random: what it asks for.
    @ivar patient: whether it waits for every answer to its end.
    """

    _watchers: Watchers
    _random: Random
    patient: bool = False
    _pool: HTTPConnectionPool = field(init=False)
    _etags: dict[tuple[str, str], str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._pool = HTTPConnectionPool(self._watchers.reactor, persistent=True)
        self._pool.retryAutomatically = False

    def close(self) -> Deferred[None]:
        """Drop its connections."""
        return self._pool.closeCachedConnections()

    async def ask_something(self) -> None:
        """One request of the kinds that installers make."""
        kinds: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self.page, self.page, self.whole, self.whole, self.part, self.metadata, self.head, self.list, self.unknown,
        ]  # fmt: skip
        await self._random.choice(kinds)()

    def _project(self) -> str:
        return self._random.choice(sorted(self._watchers.upstream.projects))

    async def page(self, project: str = "") -> dict[str, str] | None:
        """A project's page. @return: the addresses of the files, by name; None where it did not come."""
        project = project or self._project()
        path = f"/{self._random.choice(('', 'remote/'))}simple/{project}/"
        accept = self._random.choice(ACCEPTS)
        headers = {"Accept": accept}
        known = self._etags.get((path, accept))
        if known is not None and self._random.random() < 0.5:
            headers["If-None-Match"] = known
        before = dict(self._watchers.shown.get(project, {}))
        answer = await self._ask("page", "GET", path, headers, seconds=SOON)
        if answer is None:
            return None
        status, got, body = answer
        if status == 304:
            if "If-None-Match" not in headers:
                self._watchers.note(f"304 for {path}, and nobody asked whether it had changed")
            return before
        if status != 200:
            return None
        self._etags[path, accept] = (got.getRawHeaders("etag") or [""])[0]
        files = self._read_page(path, (got.getRawHeaders("content-type") or [""])[0], body)
        lost = before.keys() - files.keys()
        if lost:
            self._watchers.note(f"{path} does not list {sorted(lost)} any more")
        self._watchers.shown.setdefault(project, {}).update(files)
        self._watchers.upstream.believed.add(project)
        return files

    def _read_page(self, path: str, content_type: str, body: bytes) -> dict[str, str]:
        """Compare every file that a page lists with the truth. @return: their addresses."""
        truth = self._watchers.upstream.truth
        listed: list[tuple[str, str, dict[str, str], int | None]]
        if content_type.startswith(JSON):
            files = json.loads(body)["files"]
            listed = [(file["filename"], file["url"], file["hashes"], file.get("size")) for file in files]
        else:
            listed = [(name, url, {"sha256": digest}, None) for url, digest, name in _LINK.findall(body.decode())]
            if body.count(b"<a ") != len(listed):
                self._watchers.note(f"{path} has links that are none of a file: {body!r}")
        for name, _, digests, size in listed:
            if name not in truth or digests != {"sha256": truth[name].sha256}:
                self._watchers.note(f"{path} lists {name} with {digests}")
            elif size not in (None, truth[name].size):
                self._watchers.note(f"{path} says that {name} has {size} bytes")
        root = re.search(r"^/(.*)simple/", path)
        assert root is not None
        return {name: url.replace("../../" + "../" * root[1].count("/"), "/", 1) for name, url, _, _ in listed}

    async def list(self) -> None:
        """The list of projects: only such as there are, and none that was shown is missing."""
        before = set(self._watchers.shown)
        answer = await self._ask("list", "GET", "/simple/", {"Accept": JSON}, seconds=SOON)
        if answer is None or answer[0] != 200:
            return
        names = {project["name"] for project in json.loads(answer[2])["projects"]}
        if not before <= names <= self._watchers.upstream.projects.keys():
            self._watchers.note(f"/simple/ lists {sorted(names)}, and shown were {sorted(before)}")

    async def unknown(self) -> None:
        """A project that there is not."""
        number = self._random.randrange(20)
        answer = await self._ask("nothing", "GET", f"/simple/no-{number}/", {"Accept": JSON}, seconds=SOON)
        if answer is not None and answer[0] == 200:
            self._watchers.note(f"there is no project no-{number}, and its page is {answer[2]!r}")

    async def _some_file(self) -> tuple[str, str, bytes] | None:
        """The name, the address and the content of a file that was shown."""
        project = self._project()
        files = self._watchers.shown.get(project) or await self.page(project)
        if not files:
            return None
        name = self._random.choice(sorted(files))
        content = self._watchers.upstream.truth[name].content
        assert isinstance(content, bytes)
        return name, files[name], content

    async def whole(self, *known: Any) -> bool:
        """All of a file."""
        found = known or await self._some_file()
        if found is None:
            return False
        name, path, content = found
        answer = await self._ask("file", "GET", path)
        if answer is None or answer[0] != 200:
            return False
        self._compare(f"all of {name}", answer[2], content)
        return True

    async def part(self) -> None:
        """A part of a file, as who reads a wheel's directory, or goes on where a connection broke."""
        found = await self._some_file()
        if found is None:
            return
        name, path, content = found
        first = self._random.randrange(len(content))
        last = min(len(content) - 1, first + self._random.choice((0, 100, 20_000, 400_000)))
        wanted, right = self._random.choice(
            (
                (f"bytes={first}-{last}", content[first : last + 1]),
                (f"bytes={first}-", content[first:]),
                (f"bytes=-{len(content) - first}", content[first:]),
                (f"bytes=0-{last}", content[: last + 1]),
            )
        )
        answer = await self._ask("part", "GET", path, {"Range": wanted})
        if answer is not None and answer[0] in (200, 206):
            self._compare(f"{wanted} of {name} ({answer[0]})", answer[2], right if answer[0] == 206 else content)

    async def metadata(self, *known: Any) -> bool:
        """The core metadata of a wheel."""
        found = known or await self._some_file()
        if found is None or not found[0].endswith(".whl"):
            return False
        name, path, content = found
        # Where it is yet to be made, and cannot be now, it is not there.
        fine = 404 if name.startswith("bare") and not self.patient else 200
        answer = await self._ask("metadata", "GET", path + ".metadata", fine=fine)
        if answer is None or answer[0] != 200:
            return False
        self._compare(f"the core metadata of {name}", answer[2], core_metadata_of(content))
        return True

    async def head(self, *known: Any) -> bool:
        """What pip asks for before it reads parts, and uv whether a file is there."""
        found = known or await self._some_file()
        if found is None:
            return False
        name, path, content = found
        answer = await self._ask("head", "HEAD", path)
        if answer is None or answer[0] != 200:
            return False
        length = (answer[1].getRawHeaders("content-length") or [""])[0]
        # How long a file is whose page does not say, and of which nothing is here, is what upstream says just then.
        if length != str(len(content)) and (self.patient or not name.startswith("html")):
            self._watchers.note(f"HEAD says that {name} has {length} bytes")
        return True

    def _compare(self, what: str, body: bytes, right: bytes) -> None:
        if body != right:
            differs = next((at for at, pair in enumerate(zip(body, right, strict=False)) if pair[0] != pair[1]), "none")
            self._watchers.note(f"{what}: {len(body)} bytes for {len(right)}, the first that differs is {differs}")

    async def _ask(
        self, kind: str, method: str, path: str, headers: Any = None, *, seconds: float = AT_LAST, fine: int = 200
    ) -> tuple[int, Headers, bytes] | None:
        """
        One request. @return: status, headers and body; None where it was cut, as it is where the bytes are wrong.

        @param fine: a status beside those of L{_judge} that is as it should be.
        """
        leaves = not self.patient and self._random.random() < 0.1
        asking = Deferred.fromCoroutine(self._exchange(method, path, dict(headers or {})))
        limit = self._random.uniform(0, 0.3) if leaves else seconds
        timeout = self._watchers.reactor.callLater(limit, asking.cancel)
        try:
            status, got, body = await asking
        except (CancelledError, ResponseFailed, ResponseNeverReceived, *NOT_CONNECTED) as error:
            if not timeout.active() and not leaves:
                self._watchers.note(f"no answer to {method} {path} in {seconds} s")
            elif timeout.active() and isinstance(error, (ResponseNeverReceived, *NOT_CONNECTED)):
                # Once more than nothing at all was said, a cut is what says that the bytes are not right.
                self._watchers.note(f"{method} {path} had no answer: {getattr(error, 'reasons', error)}")
            self.answers("left" if leaves and not timeout.active() else "cut", kind)
            return None
        finally:
            if timeout.active():
                timeout.cancel()
        self.answers(str(status), kind)
        self._judge(kind, f"{method} {path}", status, got, body, fine)
        return status, got, body

    def answers(self, status: str, kind: str) -> None:
        """Count one."""
        self._watchers.answers[f"{kind} {status}"] += 1

    async def _exchange(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, Headers, bytes]:
        client = treq.client.HTTPClient(Agent(self._watchers.reactor, pool=self._pool))
        url = f"http://127.0.0.1:{self._watchers.port}{path}"
        response = await client.request(method, url, headers=headers, unbuffered=True, allow_redirects=False)
        content = Content()
        response.deliverBody(content)
        return response.code, response.headers, await content.whole

    def _judge(self, kind: str, what: str, status: int, headers: Headers, body: bytes, fine: int) -> None:
        """Whether an answer is one of those that are promised."""
        promised = {200, 206, 304, 502, 503, fine, *({404} if kind == "nothing" else ())}
        if status not in promised:
            self._watchers.note(f"{status} to {what}: {body[:300]!r}")
        wait = (headers.getRawHeaders("retry-after") or [""])[0]
        if status == 503 and not (wait.isdigit() and int(wait) > 0):
            self._watchers.note(f"503 to {what} says {wait!r} of when to come again")


@define(eq=False)
class Installers:
    """Real clients. Each run is a call that blocks, for a thread."""

    _watchers: Watchers
    _folder: Path
    _turns: int = 0

    def runs(self) -> list[Callable[[], bool]]:
        """pip installs, uv installs, pip downloads: each with caches of its own. @return: whether it came to an end."""
        self._turns += 1
        folder = self._folder / str(self._turns)
        pip, uv, download = Pip("pip", folder / "pip"), Uv("uv", folder / "uv"), Pip("pip", folder / "download")
        index = f"http://127.0.0.1:{self._watchers.port}/simple/"
        return [
            lambda: self._ended(pip, pip.install(index, "app")),
            lambda: self._ended(uv, uv.install(index, "app")),
            lambda: self._downloaded(download, index),
        ]

    def _downloaded(self, pip: Pip, index: str) -> bool:
        pip.begin()
        names = [f"plain-{number}" for number in range(4)]
        return self._ended(pip, pip.run("download", "--no-deps", "--index-url", index, "--dest", "files", *names))

    def _ended(self, client: Client, done: Any) -> bool:
        good = done.returncode == 0
        self._watchers.answers[f"{client.name} {'installed' if good else 'gave up'}"] += 1
        said = output(done)
        # What is wrong must never come so far that the client has to find out. Of a file that is 502 or 503 once too
        # often pip tells with a traceback of its own.
        found_out = re.search(r"hash mismatch|do not match the hashes|not a zip file|Traceback", said, re.IGNORECASE)
        if found_out and not re.search("too many 50[23] error responses", said):
            self._watchers.note(f"{client.name}: {said}")
        for path in client.turn.rglob("*.whl"):
            if path.read_bytes() != self._watchers.upstream.truth[path.name].content:
                self._watchers.note(f"{client.name} has a wrong {path.name}")
        if good:
            self._compare_installed(client)
        return good

    def _compare_installed(self, client: Client) -> None:
        versions = client.installed()
        if not versions and not list(client.turn.rglob("*.whl")):
            self._watchers.note(f"{client.name} says that all went well, and has nothing")
        for name, version in versions.items():
            module = name.replace("-", "_")
            wheel = self._watchers.upstream.truth[f"{module}-{version}-py3-none-any.whl"].content
            assert isinstance(wheel, bytes)
            with zipfile.ZipFile(BytesIO(wheel)) as archive:
                for member in archive.namelist():
                    if member.startswith(f"{module}/"):
                        right = hashlib.sha256(archive.read(member)).digest()
                        if hashlib.sha256((client.turn / "lib" / member).read_bytes()).digest() != right:
                            self._watchers.note(f"{client.name} has installed a wrong {member}")
