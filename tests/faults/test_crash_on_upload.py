"""kill -9 at each step of an upload."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.distributions import make_wheel
from tests.support.server import JSON, CheddarProcess, ask, basic, upload_form


@pytest.fixture
def start() -> Iterator[Callable[..., CheddarProcess]]:
    """Start a Cheddar without upstream, with a user; none is left running."""
    servers: list[CheddarProcess] = []

    def start_one(data: Path, crash_at: int = 0) -> CheddarProcess:
        server = CheddarProcess(data, options=("--index-url", ""), crash_at=crash_at)
        servers.append(server)
        if crash_at:
            server.add_user()
        return server.start()

    yield start_one
    for server in servers:
        server.stop()


def test_an_upload_is_whole_or_absent_after_kill_9(tmp_path: Path, start: Callable[..., CheddarProcess]) -> None:
    """
    Whatever the moment of the crash: after a restart the file is listed and served whole, or it is absent; the same
    upload then succeeds; and nothing of a half one stays.
    """
    filename, content = make_wheel("demo", "1.0", size=300_000)
    body, content_type = upload_form(filename, content)
    headers = {"Content-Type": content_type, "Authorization": basic()}
    outcomes: list[tuple[int, bool]] = []
    at = 1
    while True:
        data = tmp_path / str(at) / "data"
        data.parent.mkdir()
        server = start(data, crash_at=at)
        try:
            answer = ask(server.port, "POST", "/pypi/", body, headers)
        except (http.client.HTTPException, OSError):
            server.wait()
        else:
            assert answer.status == 200, "every step was passed"
            server.stop()
            break
        assert f"STEP {at} " in server.log.read_text(), "the control: it died where it was told to"
        again = start(data)
        page = ask(again.port, "GET", "/simple/demo/", headers={"Accept": JSON})
        listed = page.status == 200
        outcomes.append((at, listed))
        if listed:
            (file,) = page.json()["files"]
            whole = ask(again.port, "GET", "/" + file["url"].removeprefix("../../"))
            assert (whole.status, whole.body) == (200, content)
            metadata = ask(again.port, "GET", "/" + file["url"].removeprefix("../../") + ".metadata")
            assert metadata.status == 200
        else:
            assert page.status == 404
            assert ask(again.port, "GET", f"/local/{filename}").status == 404
        assert ask(again.port, "POST", "/pypi/", body, headers).status == 200
        assert ask(again.port, "GET", f"/local/{filename}").body == content
        partial = [path for path in (data / "local" / ".incoming").rglob("*") if path.is_file() and path.stat().st_size]
        assert partial == [], "what a crash left behind is swept at the next start"
        again.stop()
        at += 1
    steps = re.findall(r"STEP \d+ (.*)", server.log.read_text())
    assert len(steps) == len(outcomes) >= 8, steps
    row = steps.index("after the row")
    assert steps[row - 1] == "before the row"
    expected = [False] * row + [True] * (len(steps) - row)
    assert [listed for _, listed in outcomes] == expected, "the row is the commit point"
