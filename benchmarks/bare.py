"""
What Cheddar's parts can do at best: Twisted's server and client, and nothing between them. It asks the upstream what it
is asked, and passes the answer on; it checks nothing, and keeps nothing. As a process::

    python -m benchmarks.bare --port 5000 --upstream http://127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from attrs import define
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from benchmarks.servers import Server
from tests.support.server import ROOT

reactor: Any = installed_reactor


class Passing(Protocol):
    """Writes a body as it comes."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def dataReceived(self, data: bytes) -> None:
        """Some of it."""
        self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Its end, right or wrong: who measures compares."""
        self._request.finish()


class Everything(Resource):
    """Asks the upstream for whatever it is asked for."""

    isLeaf = True

    def __init__(self, agent: Agent, origin: bytes) -> None:
        super().__init__()
        self._agent, self._origin = agent, origin

    def render_GET(self, request: Request) -> int:
        """See L{Resource}."""
        headers = Headers({b"Accept": request.requestHeaders.getRawHeaders(b"accept", [b"*/*"])})
        asked: Deferred[IResponse] = self._agent.request(b"GET", self._origin + request.uri, headers)

        def begin(response: IResponse) -> None:
            request.setResponseCode(response.code)
            for name in (b"content-type", b"etag"):
                for value in response.headers.getRawHeaders(name, []):
                    request.setHeader(name, value)
            if response.length is not UNKNOWN_LENGTH:
                request.setHeader(b"content-length", b"%d" % response.length)
            response.deliverBody(Passing(request))

        asked.addCallback(begin)
        return NOT_DONE_YET


@define(eq=False)
class Bare(Server):
    """One process."""

    name = "bare Twisted"

    def command(self) -> Sequence[str]:
        """This module."""
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(self.upstream))
        return (sys.executable, "-m", "benchmarks.bare", "--port", str(self.port), "--upstream", origin)

    def environ(self) -> Mapping[str, str]:
        """It is run elsewhere."""
        return {"PYTHONPATH": str(ROOT)}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="its origin, without a slash at the end")
    arguments = parser.parse_args()
    site = Site(Everything(Agent(reactor, pool=HTTPConnectionPool(reactor)), arguments.upstream.encode()))
    reactor.listenTCP(arguments.port, site, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main()
