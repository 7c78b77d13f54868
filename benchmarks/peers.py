"""devpi-server, pypiserver and proxpi, each in its own environment, their upstream pinned to the generated one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from attrs import define, field

from benchmarks.asking import Wrong
from benchmarks.content import MEDIAN, PROJECTS, invented
from benchmarks.servers import KEPT_SECONDS, LOOPBACK, Server
from tests.support.server import PASSWORD, ROOT, USER

BENCH = ROOT / ".bench"


def program(peer: str, name: str) -> str:
    """The path of a program of a peer's environment. [Wrong: it is not installed]"""
    path = BENCH / peer / "bin" / name
    if not path.exists():
        raise Wrong(f"{path} is not there: make bench installs it")
    return str(path)


@define(eq=False)
class Devpi(Server):
    """A mirror of the upstream, and an index for uploads that builds on it."""

    _token: str = field(default="", init=False)

    name = "devpi-server"

    def prepare(self) -> None:
        """Make its database, without the public index."""
        subprocess.run(
            [program("devpi-server", "devpi-init"), "--serverdir", str(self.folder / "data"), "--no-root-pypi"],
            check=True,
            capture_output=True,
            env={**os.environ, **LOOPBACK},
        )

    def command(self) -> Sequence[str]:
        """One process with its usual threads."""
        return (
            *(program("devpi-server", "devpi-server"), "--serverdir", str(self.folder / "data")),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--mirror-cache-expiry", str(KEPT_SECONDS), "--max-request-body-size", str(1 << 31)),
        )

    def configure(self) -> None:
        """Make its indexes."""
        root = self._tell("POST", "+login", {"user": "root", "password": ""})["result"]["password"]
        self._token = base64.b64encode(f"root:{root}".encode()).decode()
        mirror = {"type": "mirror", "mirror_url": self.upstream, "mirror_cache_expiry": KEPT_SECONDS, "volatile": True}
        self._tell("PUT", "root/up", mirror)
        self._tell("PUT", USER, {"password": PASSWORD})
        self._tell("PUT", f"{USER}/own", {"type": "stage", "bases": [], "volatile": True, "acl_upload": [USER]})

    def _tell(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["X-Devpi-Auth"] = self._token
        request = Request(self.address + path, json.dumps(body).encode(), headers, method=method)
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)

    @property
    def simple(self) -> str:
        """The mirror's."""
        return f"{self.address}root/up/+simple/"

    @property
    def uploads(self) -> str:
        """The other index."""
        return f"{self.address}{USER}/own/"

    def uploaded(self, project: str) -> str:
        """That one's."""
        return f"{self.uploads}+simple/{project}/"


@define(eq=False)
class Pypiserver(Server):
    """A folder of files: as many projects as upstream has, and the median one."""

    name = "pypiserver"
    speaks = frozenset({"html"})
    proxies = False

    @property
    def packages(self) -> Path:
        """Its folder."""
        return self.folder / "packages"

    def prepare(self) -> None:
        """Put something under each name; a page shows no more of it than the name and a digest."""
        self.packages.mkdir(exist_ok=True)
        names = [file.filename for file in invented("median", MEDIAN)]
        names += [invented(f"proj{number:04}", 1)[0].filename for number in range(PROJECTS)]
        for filename in names:
            (self.packages / filename).write_text(filename)
        password = base64.b64encode(hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()).decode()
        (self.folder / "passwords").write_text(f"{USER}:{{SHA}}{password}\n")

    def command(self) -> Sequence[str]:
        """As its image runs it: gunicorn, one process, gevent; with the cache of its folder."""
        return (
            *(program("pypiserver", "pypi-server"), "run", "--interface", "127.0.0.1", "--port", str(self.port)),
            *("--passwords", str(self.folder / "passwords"), "--disable-fallback", "--backend", "cached-dir"),
            *("--server", "gunicorn", str(self.packages)),
        )

    def environ(self) -> Mapping[str, str]:
        """gunicorn's settings."""
        return {"GUNICORN_CMD_ARGS": "--workers 1 --worker-class gevent --timeout 120"}

    @property
    def uploads(self) -> str:
        """Its root."""
        return self.address


@define(eq=False)
class Proxpi(Server):
    """A caching proxy, run as its image does: gunicorn, one process, two threads."""

    name = "proxpi"

    def command(self) -> Sequence[str]:
        """See the class."""
        return (
            *(program("proxpi", "gunicorn"), "--preload", "--threads", "2", "--timeout", "120"),
            *("--bind", f"127.0.0.1:{self.port}", "proxpi.server:app"),
        )

    def environ(self) -> Mapping[str, str]:
        """Its settings."""
        return {
            "PROXPI_INDEX_URL": self.upstream,
            "PROXPI_EXTRA_INDEX_URLS": "",
            "PROXPI_INDEX_TTL": str(KEPT_SECONDS),
            "PROXPI_CACHE_DIR": str(self.folder / "cache"),
            "PROXPI_CACHE_SIZE": str(20 << 30),
            # Else it sends a client on to upstream, whose file is not here after a second.
            "PROXPI_DOWNLOAD_TIMEOUT": "60",
        }

    @property
    def simple(self) -> str:
        """Its index."""
        return f"{self.address}index/"
