"""
An upstream that does what a test tells it to: a real web server on loopback, well-behaved until told otherwise.

In a test::

    upstream = EvilUpstream(reactor)
    upstream.add_file("flask", *make_wheel("flask", "1.0"))
    await upstream.start()                       # upstream.url == "http://127.0.0.1:PORT/simple/"
    upstream.misbehave("/simple/flask/", status=503, headers={"Retry-After": "7"}, times=1)
    upstream.misbehave("/files/flask-1.0-py3-none-any.whl", reset_after=100)
    ...
    assert upstream.hits["GET /simple/flask/"] == 2
    assert "authorization" not in upstream.requests[-1].headers
    await upstream.stop()                        # drops what is still connected; start() takes the same port again

As a process of its own, serving the distribution files in a folder and printing its URL first::

    python -m tests.support.upstream --port 0 --dir DIR [--attributes FILE] [--log FILE] [--delay SECONDS]

FILE of attributes is a JSON object: what L{EvilUpstream.add_file} is told of a file, by its name. To the log go the
requests, a line each: the method, the path, and C{whole} or what it says in Range. SECONDS pass before a file is
answered.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.support.upstream_content import Served, right_answer
from tests.support.upstream_faults import RIGHT, Fault, Seen, answer


class EvilUpstream:
    """
    See the module.

    @ivar url: the address of the Simple API; C{files_url} that of the files. Both known after L{start}.
    @ivar port: the TCP port; kept over stop and start.
    @ivar hits: requests by C{"METHOD /path"}.
    @ivar requests: all requests, oldest first.
    @ivar log: a file to write them to as well, or None.
    @ivar connections: how many connections were accepted.
    @ivar json: whether PEP 691 JSON is offered; else HTML alone.
    @ivar ranges: whether parts of files are given; else a request for one is answered with the whole file.
    @ivar projects: file lists by normalized name; edit at will, or use L{add_file}.
    """

    def __init__(self, reactor: Any, *, host: str = "127.0.0.1", tls: Any = None) -> None:
        """
        @param host: how the URL spells the address (it listens on 127.0.0.1 in any case).
        @param tls: a context factory to serve https with, or None for http.
        """
        self.reactor = reactor
        self.host = host
        self.tls = tls
        self.port = 0
        self.json = True
        self.ranges = True
        self.hits: Counter[str] = Counter()
        self.requests: list[Seen] = []
        self.log: Path | None = None
        self.connections = 0
        self.projects: dict[str, list[Served]] = {}
        self._faults: dict[str, deque[tuple[Fault, list[int | None]]]] = {}
        self._running: set[Deferred[Any]] = set()
        self._listener: Any = None
        self._factory: _Counting | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many connections there are now."""
        return 0 if self._factory is None else len(self._factory.protocols)

    @property
    def url(self) -> str:
        """The address of the Simple API."""
        return f"{self.origin}/simple/"

    @property
    def files_url(self) -> str:
        """The address below which the files lie."""
        return f"{self.origin}/files/"

    def add_file(self, project: str, filename: str, content: bytes | Path, **attributes: Any) -> None:
        """
        Offer a file.

        @param attributes: more for the file's entry on the page, by its key in PEP 691 (underscores for dashes):
            C{requires_python=">=3.8"}, C{yanked="reason"}, C{upload_time=...}, C{url=...}, C{hashes={...}};
            None leaves out what would be there.
        """
        self.projects.setdefault(canonicalize_name(project), []).append(Served(filename, content, attributes))

    def misbehave(self, path: str, *, times: int | None = None, **fault: Any) -> None:
        """
        From now on answer C{path} wrongly.

        Called again for the same path, it says what comes after the first C{times} requests; when all are used up,
        the right answer comes.

        @param times: for so many requests; None: for good.
        @param fault: the fields of L{Fault<tests.support.upstream_faults.Fault>}; none: a right answer.
        """
        self._faults.setdefault(path, deque()).append((Fault(**fault), [times]))

    def behave(self, path: str | None = None) -> None:
        """Forget what L{misbehave} said of C{path}, or of all."""
        if path is None:
            self._faults.clear()
        else:
            self._faults.pop(path, None)

    async def start(self) -> None:
        """Listen: on any port the first time, on the same port again afterwards."""
        site = Site(_Root(self), timeout=None)
        site.displayTracebacks = False
        site.log = lambda request: None  # type: ignore[method-assign]  # no access log wanted
        self._factory = _Counting(self, site)
        if self.tls is not None:
            self._listener = self.reactor.listenSSL(self.port, self._factory, self.tls, interface="127.0.0.1")
        else:
            self._listener = self.reactor.listenTCP(self.port, self._factory, interface="127.0.0.1")
        self.port = self._listener.getHost().port

    async def stop(self) -> None:
        """Stop listening, drop every connection, and wait until nothing is under way."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        await listener.stopListening()
        self.drop_connections()
        assert self._factory is not None
        await DeferredList(list(self._running))
        while self._factory.protocols:
            await deferLater(self.reactor, 0.001)

    def drop_connections(self) -> None:
        """Reset every connection there is; go on listening."""
        assert self._factory is not None
        for protocol in list(self._factory.protocols):
            protocol.transport.abortConnection()

    # --- how requests are answered

    def _take_fault(self, path: str) -> Fault:
        turns = self._faults.get(path)
        while turns:
            fault, left = turns[0]
            if left[0] is None:
                return fault
            if left[0] > 0:
                left[0] -= 1
                return fault
            turns.popleft()
        return RIGHT

    def _begin(self, request: Request) -> None:
        path = request.path.decode("latin-1")
        method = request.method.decode("latin-1")
        headers = {
            name.decode("latin-1").lower(): values[0].decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        seen = Seen(method, path, headers)
        self.hits[f"{method} {path}"] += 1
        self.requests.append(seen)
        if self.log is not None:
            with self.log.open("a") as log:
                log.write(f"{method} {path} {headers.get('range', 'whole')}\n")
        right = right_answer(self.projects, self.json, request, self.ranges)
        answering = Deferred.fromCoroutine(answer(self.reactor, request, seen, self._take_fault(path), right))
        self._running.add(answering)

        def lost(_: Any) -> None:
            seen.ended = seen.ended or "lost"
            answering.cancel()

        def done(result: Any) -> Any:
            self._running.discard(answering)
            return result

        request.notifyFinish().addErrback(lost)
        answering.addErrback(lambda failure: failure.trap(CancelledError) and None)
        answering.addBoth(done)


class _Root(Resource):
    isLeaf = True

    def __init__(self, upstream: EvilUpstream) -> None:
        super().__init__()
        self._upstream = upstream

    def render(self, request: Request) -> int:
        self._upstream._begin(request)
        return NOT_DONE_YET


class _Counting(WrappingFactory):
    noisy = False

    def __init__(self, upstream: EvilUpstream, site: Site) -> None:
        super().__init__(site)
        self._upstream = upstream

    def buildProtocol(self, addr: Any) -> ProtocolWrapper:
        self._upstream.connections += 1
        return super().buildProtocol(addr)


def add_folder(upstream: EvilUpstream, folder: Path, attributes: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Offer every wheel and sdist that lies in C{folder}, with the C{attributes} given for its name."""
    for path in sorted(folder.iterdir()):
        more = (attributes or {}).get(path.name, {})
        if path.name.endswith(".whl"):
            upstream.add_file(parse_wheel_filename(path.name)[0], path.name, path, **more)
        elif path.name.endswith((".tar.gz", ".zip")):
            upstream.add_file(parse_sdist_filename(path.name)[0], path.name, path, **more)


def main(arguments: list[str]) -> None:
    """Serve a folder until killed."""
    import argparse

    from twisted.internet import reactor

    parser = argparse.ArgumentParser(prog="python -m tests.support.upstream")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--attributes", type=Path)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--delay", type=float, default=0.0)
    options = parser.parse_args(arguments)
    upstream = EvilUpstream(reactor)
    upstream.port = options.port
    upstream.log = options.log
    add_folder(upstream, options.dir, json.loads(options.attributes.read_text()) if options.attributes else None)
    for file in (file for files in upstream.projects.values() for file in files) if options.delay else ():
        upstream.misbehave(f"/files/{file.filename}", delay=options.delay)
    Deferred.fromCoroutine(upstream.start()).addCallback(lambda _: print(upstream.url, flush=True))
    reactor.run()  # type: ignore[attr-defined]  # the module stands for the reactor


if __name__ == "__main__":
    main(sys.argv[1:])
