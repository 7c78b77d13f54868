"""Memory stays flat whatever the size of the file."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import sys
from pathlib import Path

from tests.support.distributions import make_wheel
from tests.support.server import JSON, CheddarProcess, ask, basic, upload_form

MIB = 1024 * 1024
LIMIT = 150 * MIB
SIZE = 300 * MIB


def send(port: int, body: Path, content_type: str) -> int:
    """Upload from a file, in pieces."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with body.open("rb") as stream:
        connection.request(
            "POST",
            "/pypi/",
            body=stream,
            headers={
                "Content-Type": content_type,
                "Authorization": basic(),
                "Content-Length": str(body.stat().st_size),
            },
        )
        status = connection.getresponse().status
    connection.close()
    return status


def digest_of(port: int, path: str) -> str:
    """Download, keeping nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", path)
    response = connection.getresponse()
    assert response.status == 200
    digest = hashlib.sha256()
    while chunk := response.read(MIB):
        digest.update(chunk)
    connection.close()
    return digest.hexdigest()


def test_a_300_mb_wheel_passes_in_150_mib(tmp_path: Path) -> None:
    """Uploaded, downloaded, and fetched through the remote index cold and warm: the process stays below 150 MiB."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    filename, content = make_wheel("big", "1.0", size=SIZE)
    digest = hashlib.sha256(content).hexdigest()
    (folder / filename).write_bytes(content)
    mine, content = make_wheel("mine", "1.0", size=SIZE)
    my_digest = hashlib.sha256(content).hexdigest()
    body, content_type = upload_form(mine, content)
    (tmp_path / "body").write_bytes(body)
    del content, body
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.upstream", "--port", "0", "--dir", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent.parent,
    ) as upstream:
        assert upstream.stdout is not None
        server = CheddarProcess(tmp_path / "data", options=("--index-url", upstream.stdout.readline().strip()))
        try:
            server.add_user()
            server.start()
            idle = server.memory()
            assert idle < 100 * MIB
            assert send(server.port, tmp_path / "body", content_type) == 200
            assert server.memory() < LIMIT, "after the upload"
            for project, expected in (("mine", my_digest), ("big", digest), ("big", digest)):
                page = json.loads(ask(server.port, "GET", f"/simple/{project}/", headers={"Accept": JSON}).body)
                assert digest_of(server.port, "/" + page["files"][0]["url"].removeprefix("../../")) == expected
                assert server.memory() < LIMIT, project
        finally:
            server.stop()
            upstream.kill()
