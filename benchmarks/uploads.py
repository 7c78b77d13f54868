"""Uploads as twine sends them: many small files on one connection, and a large one."""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from attrs import frozen

from benchmarks.asking import Wrong, ask, expect, links
from benchmarks.content import MB, large_wheel, metadata_of
from benchmarks.servers import Server
from benchmarks.turns import MIB, Turns
from tests.support.distributions import make_wheel
from tests.support.server import basic, upload_form

SMALL = "uploads of small files, one after the other"
LARGE = "upload of 200 MB"

_SMALL_SIZE = 10_000
#: In the short run a server that takes a quarter of a second for each is not to take it all.
_SMALL_NUMBER, _SMALL_NUMBER_QUICK = 200, 20


@frozen
class Upload:
    """A request that is ready to be sent. @ivar filename: of the file. @ivar size: of the file, in bytes."""

    project: str
    filename: str
    size: int
    body: bytes
    content_type: str


def upload_of(project: str, version: str, filename: str, content: bytes, metadata: bytes = b"") -> Upload:
    """Make the form."""
    description = metadata.decode().partition("\n\n")[2]
    fields = {
        "metadata_version": "2.1",
        "name": project,
        "version": version,
        "filetype": "bdist_wheel",
        "pyversion": "py3",
        "sha256_digest": hashlib.sha256(content).hexdigest(),
        **({"description": description} if description else {}),
    }
    return Upload(project, filename, len(content), *upload_form(filename, content, fields))


class Poster:
    """One connection that is kept, where the server keeps it."""

    def __init__(self, server: Server) -> None:
        assert server.uploads is not None
        self._where = urlsplit(server.uploads)
        self._connection = http.client.HTTPConnection("127.0.0.1", self._where.port, timeout=120)

    def post(self, upload: Upload) -> None:
        """Send it. [Wrong: it was not taken]"""
        headers = {"Content-Type": upload.content_type, "Authorization": basic()}
        try:
            self._connection.request("POST", self._where.path, upload.body, headers)
            response = self._connection.getresponse()
            said = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Wrong(f"The upload of {upload.filename} broke off: {error!r}") from error
        if response.status not in (200, 201):
            raise Wrong(f"The upload of {upload.filename} was answered {response.status}: {said[:200]!r}")

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def offers(server: Server, upload: Upload) -> None:
    """[Wrong: what was uploaded is not offered]"""
    page = server.uploaded(upload.project)
    listed = links(expect(ask(page)))
    if not any(link.partition("#")[0].endswith(f"/{upload.filename}") for link in listed):
        raise Wrong(f"{page} does not list {upload.filename} after its upload")


def release_with_description(servers: Sequence[Server]) -> None:
    """Upload what the page of a release shows. [Wrong]"""
    text = "# A release\n\n" + "\n\n".join(f"Paragraph {number}: *what* it does, and `how`." for number in range(40))
    filename, content = make_wheel("release", "1.0")
    metadata = metadata_of(content) + b"Description-Content-Type: text/markdown\n\n" + text.encode()
    for server in servers:
        poster = Poster(server)
        poster.post(upload_of("release", "1.0", filename, content, metadata))
        poster.close()


def run(turns: Turns, servers: Sequence[Server]) -> None:
    """Measure both."""
    taking = [server for server in servers if server.uploads is not None]
    number = _SMALL_NUMBER_QUICK if turns.extent.quick else _SMALL_NUMBER
    made: dict[int, list[Upload]] = {}

    def small(server: Server, turn: int) -> Mapping[str, float]:
        if turn not in made:
            made.clear()
            names = [f"small-{turn}-{index:03}" for index in range(number)]
            made[turn] = [upload_of(n, "1.0", *make_wheel(n, "1.0", size=_SMALL_SIZE)) for n in names]
        server.forget_peak()
        poster, before, began = Poster(server), server.cpu(), time.perf_counter()
        for upload in made[turn]:
            poster.post(upload)
        seconds = time.perf_counter() - began
        poster.close()
        offers(server, made[turn][-1])
        return {
            "each": seconds / number * 1e3,
            "cpu": (server.cpu() - before) / number * 1e6,
            "peak": server.peak() / MIB,
        }

    turns.take(SMALL, taking, small, turns.extent.few)
    made.clear()

    def large(server: Server, turn: int) -> Mapping[str, float]:
        if turn not in made:
            made.clear()
            filename, content, _ = large_wheel("large", f"1.{turn}", 200 * MB)
            made[turn] = [upload_of("large", f"1.{turn}", filename, content)]
        (upload,) = made[turn]
        server.forget_peak()
        poster, before, began = Poster(server), server.cpu(), time.perf_counter()
        poster.post(upload)
        seconds = time.perf_counter() - began
        poster.close()
        cpu = server.cpu() - before
        offers(server, upload)
        return {
            "seconds": seconds,
            "bandwidth": upload.size / seconds / 1e6,
            "cpu_per_gb": cpu / (upload.size / 1e9),
            "peak": server.peak() / MIB,
        }

    turns.take(LARGE, taking, large, turns.extent.few)
