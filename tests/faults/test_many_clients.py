"""A fleet that wants the same thing at the same moment."""

from __future__ import annotations

from pathlib import Path

from tests.clients.conftest import running_upstream
from tests.support.distributions import make_wheel, sha256
from tests.support.herd import herd
from tests.support.server import JSON, CheddarProcess, ask

MIB = 1024 * 1024
CLIENTS = 200
SIZE = 200_000_000
#: What they may cost Cheddar.
MEMORY = 64 * MIB


def test_two_hundred_clients_share_one_fetch(tmp_path: Path) -> None:
    """
    A cold page and a cold 200 MB wheel, 200 clients at once: upstream sees one GET each, every client gets every byte,
    and they cost less than 64 MiB of memory all together.
    """
    filename, content = make_wheel("big", "1.0", size=SIZE)
    with running_upstream(tmp_path / "upstream", ((filename, content),)) as upstream:
        del content
        wheel = tmp_path / "upstream" / filename
        server = CheddarProcess(tmp_path / "data", options=("--index-url", upstream.url)).start()
        try:
            idle = server.memory()
            url = f"http://127.0.0.1:{server.port}"
            pages = herd(f"{url}/simple/big/", CLIENTS)
            page = ask(server.port, "GET", "/simple/big/", headers={"Accept": JSON})
            assert (pages.digests, pages.wrong) == ({sha256(page.body): CLIENTS}, [])
            (file,) = page.json()["files"]
            address = f"{url}/{file['url'].removeprefix('../../')}"
            files = herd(address, CLIENTS, wheel)
            assert (files.right, files.wrong) == (CLIENTS, [])
            assert server.memory() < idle + MEMORY, f"{(server.memory() - idle) / MIB:.1f} MiB more than when idle"
            asked = upstream.log.read_text().splitlines()
            assert sorted(line for line in asked if line.endswith(" whole")) == [
                f"GET /files/{filename} whole",
                "GET /simple/big/ whole",
            ]
            # The control: the herd would see one wrong byte.
            with wheel.open("r+b") as stream:
                stream.seek(SIZE // 2)
                byte = stream.read(1)[0]
                stream.seek(SIZE // 2)
                stream.write(bytes([byte ^ 1]))
            assert herd(address, 1, wheel).wrong
        finally:
            server.stop()
