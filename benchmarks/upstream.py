"""
An upstream with the tree of a real application, made up of files that are as large as the real ones: it answers each
request after a while, gives parts of files, and has no core metadata beside them. As a process, printing its address::

    python -m benchmarks.upstream --latency 0.1
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.version import Version
from twisted.internet import reactor as installed_reactor
from twisted.web.pages import notFound
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from twisted.web.static import File

from tests.support.distributions import make_wheel, sha256
from tests.support.server import JSON

TREE = Path(__file__).parent / "tree.json"

#: Releases before the newest that a page has at most, and bytes that a wheel has at most: it is the number of round
#: trips that counts.
OLDER = 40
LARGEST = 5_000_000

reactor: Any = installed_reactor


def tree() -> Any:
    """What L{benchmarks.record} wrote down."""
    return json.loads(TREE.read_text())


def make_files(folder: Path) -> dict[str, bytes]:
    """Put every wheel into C{folder}. @return: each project's page."""
    pages = {}
    for name, recorded in tree()["projects"].items():
        newest = Version(recorded["version"])
        # Older ones are small: nobody takes them, but they are on the page, and Cheddar reads the newest of them.
        versions = [f"0.0.{number}" for number in range(min(recorded["releases"] - 1, OLDER))]
        files = [make_wheel(name, version, requires=recorded["requires"]) for version in versions]
        size = min(recorded["size"], LARGEST)
        files.append(make_wheel(name, recorded["version"], requires=recorded["requires"], size=size))
        entries = []
        for filename, content in files:
            (folder / filename).write_bytes(content)
            entries.append(
                {
                    "filename": filename,
                    "url": f"../../files/{filename}",
                    "hashes": {"sha256": sha256(content)},
                    "size": len(content),
                    "upload-time": "2024-01-02T03:04:05.678901Z",
                    "requires-python": ">=3.8",
                }
            )
        page = {"meta": {"api-version": "1.1"}, "name": name, "versions": [*versions, str(newest)], "files": entries}
        pages[name] = json.dumps(page).encode()
    return pages


def written_pages(folder: Path) -> dict[str, bytes]:
    """Each project's page, by name, and the list of them, without one."""
    return {"" if page.parent == folder else page.parent.name: page.read_bytes() for page in folder.rglob("index.json")}


class Upstream(Resource):
    """Pages and files, each after a while."""

    isLeaf = True

    def __init__(self, pages: dict[str, bytes], folder: Path, latency: float) -> None:
        super().__init__()
        self._pages = pages
        self._folder = folder
        self._latency = latency

    def render(self, request: Request) -> int:
        """Later."""
        call = reactor.callLater(self._latency, self._answer, request)
        request.notifyFinish().addErrback(lambda _: call.cancel() if call.active() else None)
        return NOT_DONE_YET

    def _answer(self, request: Request) -> None:
        kind, _, name = request.path.decode().strip("/").partition("/")
        resource: Any = notFound()
        if kind == "simple" and name in self._pages:
            request.setHeader(b"content-type", JSON.encode())
            request.write(self._pages[name])
            request.finish()
            return
        if kind == "files" and "/" not in name and (self._folder / name).is_file():
            resource = File(str(self._folder / name), defaultType="application/octet-stream")
        body = resource.render(request)
        if body is not NOT_DONE_YET:
            request.write(body)
            request.finish()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upstream", description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--folder", type=Path, help="pages and files that are there already: see benchmarks.content")
    arguments = parser.parse_args()
    with TemporaryDirectory() as made:
        folder = arguments.folder / "files" if arguments.folder else Path(made)
        pages = written_pages(arguments.folder / "simple") if arguments.folder else make_files(folder)
        site = Site(Upstream(pages, folder, arguments.latency))
        site.log = lambda request: None  # type: ignore[method-assign]  # no access log wanted
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        print(f"http://127.0.0.1:{port.getHost().port}/simple/", flush=True)
        reactor.run()


if __name__ == "__main__":
    main()
