"""Servers are really run and really checked: an error page is never timed as a fast answer."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from benchmarks.asking import HTML, Wrong, ask, expect, file_url, links
from benchmarks.cheddars import Cheddar
from benchmarks.content import invented, keep_wheel, large_wheel, versions_of, write_page, write_root
from benchmarks.filling import DEEP, fill_sqlite, own_name
from benchmarks.pages import PageCase, checked
from benchmarks.processes import cpu_seconds, family
from benchmarks.results import Results
from benchmarks.servers import Server
from benchmarks.turns import QUICK, Turns
from benchmarks.uploads import Poster, upload_of
from cheddar.store.sqlite import SQLiteStore
from tests.support.distributions import make_wheel
from tests.support.server import JSON, ROOT


@define(eq=False)
class EmptyCheddar(Cheddar):
    """One with nothing in its store."""

    def prepare(self) -> None:
        """Nobody uploads."""
        self.data.mkdir()


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upstream's files: a project that is listed alone, and one that is there."""
    folder = tmp_path_factory.mktemp("content")
    listed = invented("median", 40)
    write_page(folder / "simple", "median", versions_of(listed), listed, "../../files/")
    there = keep_wheel(folder / "files", *large_wheel("there", "1.0", 300_000))
    write_page(folder / "simple", "there", ["1.0"], [there], "../../files/")
    write_root(folder / "simple", ["median", "there"])
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, content: Path) -> Iterator[Server]:
    """A Cheddar in front of that upstream."""
    command = [sys.executable, "-m", "benchmarks.upstream", "--folder", str(content)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as upstream:
        assert upstream.stdout is not None
        cheddar = EmptyCheddar(tmp_path_factory.mktemp("server") / "cheddar", upstream.stdout.readline().strip())
        try:
            assert cheddar.start() > 0
            yield cheddar
        finally:
            cheddar.close()
            upstream.terminate()


def test_what_is_right_is_measured(server: Server, content: Path) -> None:
    """The page's links, the file's bytes, the answer that nothing has changed; and what it took."""
    case = PageCase("page", lambda server: server.page("median"))
    answer, headers = checked(case, server)
    assert (answer.status, answer.size) == (200, len(answer.body))
    assert headers["Accept"] == JSON
    unchanged, headers = checked(PageCase("304", case.url, unchanged=True), server)
    assert (unchanged.status, unchanged.size) == (304, 0)
    assert "If-None-Match" in headers
    packed, _ = checked(PageCase("gzip", case.url, gzip=True), server)
    assert packed.body == answer.body
    assert packed.size < answer.size / 3
    assert len(links(ask(server.page("median"), {"Accept": HTML}))) == 40
    filename = "there-1.0-py3-none-any.whl"
    file = expect(ask(file_url(server.page("there"), filename)))
    assert file.body == (content / "files" / filename).read_bytes()
    assert 0 < file.first <= file.seconds
    assert server.cpu() > 0.1
    assert server.peak() >= server.memory() > 20_000_000


def test_what_is_wrong_is_not(server: Server) -> None:
    """A server that answers otherwise than it is to is left out of the case, and the results say why."""
    few = PageCase("few", lambda server: server.page("there"))
    missing = PageCase("missing", lambda server: server.page("nothing"))
    for case, said in ((few, "has 1 links, not 40"), (missing, "answered 404, not 200")):
        with pytest.raises(Wrong, match=said):
            checked(case, server)
    results = Results()

    def measure(server: Server, turn: int) -> dict[str, float]:
        checked(few, server)
        return {"rate": 1.0}

    Turns(results, QUICK).take("few", [server], measure)
    assert results.measured == []
    assert [(note.case, note.server) for note in results.notes] == [("few", "cheddar")]
    Turns(results, QUICK).take("good", [server], lambda server, turn: {"rate": 1.0})
    assert len(results.measured) == QUICK.rounds


def test_a_refused_upload_is_no_fast_one(server: Server) -> None:
    """The user is not known to this server."""
    poster = Poster(server)
    with pytest.raises(Wrong, match="answered 401"):
        poster.post(upload_of("new", "1.0", *make_wheel("new", "1.0")))
    poster.close()


def test_cpu_and_members_of_a_family() -> None:
    """A child's work is its parent's, while it lives and afterwards."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}]); print(flush=True); input()".format(
        "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        assert len(list(family([process.pid]))) == 2
        assert cpu_seconds([process.pid]) >= 0.3
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert len(list(family([process.pid]))) == 1
        assert cpu_seconds([process.pid]) >= 0.3
        process.kill()


async def test_a_filled_store_is_a_store(tmp_path: Path, reactor: Any) -> None:
    """Rows made without uploads are what a Cheddar reads; together they are one change of the file."""
    path = tmp_path / "cheddar.sqlite"
    await fill_sqlite(path, 5, 60, reactor)
    store = SQLiteStore(path, 50, reactor, reactor)
    await store.start()
    try:
        names = (await store.projects.listed()).names
        deep = await store.projects.project(DEEP)
        other = await store.projects.project(own_name(0))
    finally:
        await store.stop()
    assert names == (*(own_name(number) for number in range(4)), DEEP)
    assert deep is not None
    assert other is not None
    assert (len(deep.files), len(other.files)) == (40, 5)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (60,)
