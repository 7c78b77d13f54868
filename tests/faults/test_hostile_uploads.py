"""Uploads that mean harm, by the row of the table of attacks (S12): what they cost a real process, and what is left."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.distributions import make_wheel
from tests.support.server import CheddarProcess, ask, basic, upload_form

MIB = 1024**2
FIELD = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'
FILE = b'--x\r\nContent-Disposition: form-data; name="content"; filename="demo-1.0.tar.gz"\r\n\r\n'


def endless(piece: bytes) -> Iterator[bytes]:
    """The same over and over."""
    return itertools.repeat(piece)


#: By name: the boundary, the pieces of the body, and the status.
FORMS: dict[str, tuple[bytes, Iterable[bytes], int]] = {
    "a field of 10 MB": (b"x", [FIELD % b"description", b"d" * 10_000_000, b"\r\n--x--\r\n"], 413),
    "a million parts": (b"x", [(FIELD % b"classifiers" + b"\r\n") * 1000] * 1000, 413),
    "a name that never ends": (b"x", itertools.chain([FIELD.partition(b"%s")[0]], endless(b"n" * MIB)), 400),
    "headers that never end": (b"x", itertools.chain([b"--x\r\n"], endless(b"X-Y: z\r\n" * 1000)), 400),
    "a preamble that never ends": (b"x", endless(b"p" * MIB), 400),
    "a file that never ends": (b"x", itertools.chain([FILE], endless(b"f" * MIB)), 413),
    "no last boundary": (b"x", [FILE, b"f" * 1000], 400),
    "a boundary of 10 kB": (b"b" * 10_000, [FILE], 400),
    "much behind the end": (b"x", [b"--x--\r\n", *[b"e" * MIB] * 50], 400),
}


def send(port: int, login: str, boundary: bytes, pieces: Iterable[bytes], length: int | None = None) -> bytes:
    """
    A POST in chunks, until it is answered; or of the C{length} that it says, until the connection ends. @return: the
    answer.
    """
    how = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    head = b"POST /pypi/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=%s\r\n%s\r\n" % (
        boundary,
        how,
    )
    if login:
        head += f"Authorization: {login}\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head + b"\r\n")
        answer = b""
        connection.settimeout(0.001)
        for piece in itertools.chain(pieces, [b""]):
            try:
                answer += connection.recv(65536)
            except TimeoutError:
                pass
            except ConnectionError:
                break
            if answer:
                break
            connection.settimeout(30)
            try:
                connection.sendall(piece if length is not None else b"%x\r\n%s\r\n" % (len(piece), piece))
            except ConnectionError:
                break
            connection.settimeout(0.001)
        connection.settimeout(30)
        try:
            while (length is not None or not answer.endswith(b'"}')) and (got := connection.recv(65536)):
                answer += got
        except ConnectionError:
            pass
        return answer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CheddarProcess]:
    """A process that takes files of 50 MiB."""
    environ = {"CHEDDAR_MAX_UPLOAD": str(50 * MIB)}
    process = CheddarProcess(tmp_path / "data", options=("--index-url", ""), environ=environ)
    process.add_user()
    yield process.start()
    process.stop()


@pytest.mark.deadline(120)
def test_hostile_uploads_cost_little(server: CheddarProcess) -> None:
    """
    Each ends in a 4xx that says why, whoever has sent it; none costs more than 32 MiB of memory, and nothing stays on
    the disk. Who has no login is told so before the body, and is rid of in five seconds.
    """

    def left() -> list[Path]:
        return [
            path
            for path in (server.data_dir / "local").rglob("*")
            if path.is_file() and path.stat().st_size and path.name not in ("lock", "gate")
        ]

    filename, content = make_wheel("large", "1.0", size=20_000_000)
    body, content_type = upload_form(filename, content)
    login = {"Content-Type": content_type, "Authorization": basic()}
    assert ask(server.port, "POST", "/pypi/", body, login).status == 200, "the control, and what an honest upload costs"
    memory, before = server.memory(), left()
    assert [path.name for path in before if path.suffix == ".whl"] == [filename]
    for name, (boundary, pieces, status) in FORMS.items():
        answer = send(server.port, basic(), boundary, pieces)
        assert answer.startswith(b"HTTP/1.1 %d " % status), (name, answer[:300])
        assert b'"detail"' in answer, name
    began = time.monotonic()
    answer = send(server.port, "", b"x", [FILE, *[b"f" * MIB] * 30], length=40 * MIB)
    assert answer.startswith(b"HTTP/1.1 401 "), answer[:300]
    assert time.monotonic() - began < 3 * 5, "closed although the rest of it never came"
    assert server.memory() - memory < 32 * MIB
    assert left() == before
    assert "Traceback" not in server.log.read_text()
