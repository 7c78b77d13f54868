"""Pages under load: the median project, a huge one, the root, a release; whole, in gzip, and unchanged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from attrs import frozen

from benchmarks.asking import AGENT, EITHER, HTML, Answer, Wrong, ask, check_page, expect
from benchmarks.cheddars import Cheddar
from benchmarks.content import HUGE, MEDIAN, PROJECTS
from benchmarks.servers import Server
from benchmarks.turns import Turns, under_load
from tests.support.server import JSON, basic

#: Seconds after which a page is asked for again: in use, most were asked for before.
_KNOWN = 4.0

Address = Callable[[Server], str]


@frozen
class PageCase:
    """
    A page, and how it is asked for.

    @ivar url: its address at a server. @ivar accept: the format. @ivar links: how many it has.
    @ivar exactly: whether it may have more. @ivar unchanged: whether the client has it already.
    @ivar speaks: the format a server must have; empty: any.
    @ivar login: whether each request has a user's name and password.
    @ivar only: the kind of server that has the page. @ivar quick: whether the short run has it.
    """

    name: str
    url: Address
    accept: str = JSON
    gzip: bool = False
    connections: int = 16
    links: int = MEDIAN
    exactly: bool = True
    unchanged: bool = False
    speaks: str = "json"
    only: type[Server] = Server
    needs_upstream: bool = False
    login: bool = False
    quick: bool = True

    def headers(self) -> dict[str, str]:
        """Those of each request."""
        login = {"Authorization": basic()} if self.login else {}
        return {**AGENT, **login, "Accept": self.accept, "Accept-Encoding": "gzip" if self.gzip else "identity"}

    def concerns(self, server: Server) -> bool:
        """Whether a server has such a page at all."""
        return (
            (not self.speaks or self.speaks in server.speaks)
            and isinstance(server, self.only)
            and (server.proxies or not self.needs_upstream)
        )


def _median(server: Server) -> str:
    return server.page("median")


def _huge(server: Server) -> str:
    return server.page("huge")


def _root(server: Server) -> str:
    return server.simple


def _own(server: Server) -> str:
    assert isinstance(server, Cheddar)
    return server.own_page


def _release(server: Server) -> str:
    return f"{server.simple}release/1.0"


MEDIAN_JSON = "median page, JSON, c16"
NOT_MODIFIED = "not modified (304), c16"
HUGE_GZIP = "huge page, JSON, gzip, c16"
FOR_A_USER = "median page for who logs in, JSON, c16"
OWN = "median page of own project, JSON, c16"

CASES: Sequence[PageCase] = (
    PageCase(MEDIAN_JSON, _median),
    PageCase("median page, JSON, c1", _median, connections=1, quick=False),
    PageCase("median page, JSON, c64", _median, connections=64, quick=False),
    PageCase("median page, JSON, gzip, c16", _median, gzip=True),
    PageCase("median page, HTML, c16", _median, accept=HTML, speaks="html", quick=False),
    PageCase("median page, HTML, gzip, c16", _median, accept=HTML, gzip=True, speaks="html", quick=False),
    PageCase(NOT_MODIFIED, _median, unchanged=True),
    PageCase("huge page, JSON, c16", _huge, links=HUGE, needs_upstream=True, quick=False),
    PageCase(HUGE_GZIP, _huge, links=HUGE, gzip=True, needs_upstream=True),
    PageCase("root, 2,000 projects, c16", _root, accept=EITHER, links=PROJECTS, exactly=False, speaks="", quick=False),
    PageCase(FOR_A_USER, _median, login=True, only=Cheddar, quick=False),
    PageCase(OWN, _own, only=Cheddar, quick=False),
    PageCase("page of a release, HTML, c16", _release, accept=HTML, links=0, exactly=False, only=Cheddar, quick=False),
)


def checked(case: PageCase, server: Server) -> tuple[Answer, dict[str, str]]:
    """The right answer, once it is there, and the headers to ask for it again and again. [Wrong]"""
    headers = case.headers()
    url = case.url(server)
    check_page(ask(url, headers), case.links, case.exactly)
    # The second is out of whatever the server keeps.
    answer = check_page(ask(url, headers), case.links, case.exactly)
    if case.unchanged:
        etag = answer.headers.get("etag")
        if etag is None:
            raise Wrong("gives no ETag")
        headers["If-None-Match"] = etag
        answer = expect(ask(url, headers), 304)
    elif case.gzip and not answer.compressed:
        raise Wrong("does not compress")
    return answer, headers


def run(turns: Turns, servers: Sequence[Server]) -> None:
    """Measure all cases."""
    for case in CASES:
        if turns.extent.quick and not case.quick:
            continue

        def measure(server: Server, turn: int, case: PageCase = case) -> Mapping[str, float]:
            answer, headers = checked(case, server)
            url = case.url(server)
            figures = under_load(server, url, headers, case.connections, turns.extent, answer.seconds)
            # What was fast is still right.
            checked(case, server)
            return {**figures, "size": answer.size}

        concerned = [server for server in servers if case.concerns(server)]
        for server in concerned:
            with suppress(Wrong):  # it is told when it is measured
                checked(case, server)
        time.sleep(_KNOWN)
        turns.take(case.name, concerned, measure)
