"""A server that is measured: its processes, its addresses, and what it can do."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from benchmarks.asking import EITHER, Wrong, ask
from benchmarks.processes import cpu_seconds, family, forget_peak, peak, resident
from tests.support.server import free_port

#: Seconds that a server may take to start; devpi-server first asks for the names of all projects.
PATIENCE = 120.0

#: How long the servers keep what upstream said: longer than a run, so that none refreshes while another is measured.
KEPT_SECONDS = 4 * 3600

#: Nobody gets out: what asks another machine fails at once.
LOOPBACK = {
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost"),
}


def installed() -> dict[str, str]:
    """The environment, in which Python keeps what it has compiled, as an installed program has it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@define(eq=False)
class Server:
    """
    One of those that are compared. Subclasses say how it is made ready, and how it is run.

    @ivar folder: its own; what it keeps is below.
    @ivar upstream: the upstream's Simple API, with a slash at the end.
    @ivar first: the project by whose page it is seen that it serves.
    @cvar name: as it stands in results.
    @cvar speaks: the formats of pages: C{json}, C{html}.
    @cvar proxies: whether it has upstream's projects and files.
    """

    folder: Path
    upstream: str
    first: str = field(default="median", kw_only=True)
    port: int = field(factory=free_port, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _ready: bool = field(default=False, init=False)

    name = ""
    speaks = frozenset({"json", "html"})
    proxies = True

    # What subclasses say.

    def command(self) -> Sequence[str]:
        """What is run; it stays in the foreground."""
        raise NotImplementedError

    def environ(self) -> Mapping[str, str]:
        """What is added to the environment."""
        return {}

    def prepare(self) -> None:
        """Make it ready; before the first start."""

    def configure(self) -> None:
        """Set it up; after the first start."""

    @property
    def simple(self) -> str:
        """The address of the Simple API, with a slash at the end."""
        return f"{self.address}simple/"

    @property
    def sign_of_life(self) -> str:
        """What answers 200 as soon as it serves."""
        return self.page(self.first)

    @property
    def uploads(self) -> str | None:
        """Where files are posted to; None: nowhere."""
        return None

    def uploaded(self, project: str) -> str:
        """The address of the page of a project whose files were posted there."""
        return self.page(project)

    # What they get.

    @property
    def address(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / "log"

    @property
    def roots(self) -> tuple[int, ...]:
        """The processes that all others come of."""
        return (self._process.pid,) if self._process is not None else ()

    def page(self, project: str) -> str:
        """The address of a project's page."""
        return f"{self.simple}{project}/"

    def start(self) -> float:
        """Start it, and wait for its first good answer. @return: seconds until then."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._ready:
            self.prepare()
        began = time.perf_counter()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**installed(), **LOOPBACK, "HOME": str(self.folder), **self.environ()},
            )
        if not self._ready:
            self._wait(self.address, (200, 301, 302, 303, 403, 404))
            self.configure()
            self._ready = True
        self._wait(self.sign_of_life, (200,))
        return time.perf_counter() - began

    def _wait(self, url: str, statuses: Sequence[int]) -> None:
        end = time.monotonic() + PATIENCE
        said = ""
        while time.monotonic() < end:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                answer = ask(url, {"Accept": EITHER}, timeout=PATIENCE)
            except Wrong as refused:
                said = str(refused)
            else:
                if answer.status in statuses:
                    return
                said = f"{url} answered {answer.status}"
            time.sleep(0.005)
        self.stop()
        tail = self.log.read_text(errors="replace")[-2000:]
        raise Wrong(f"{self.name} did not start: {said}\n{tail}")

    def stop(self) -> None:
        """End it, and wait."""
        if self._process is None:
            return
        members = list(family(self.roots))
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
            self._process.wait()
        self._process = None

    def close(self) -> None:
        """End it, and all that it needs."""
        self.stop()

    def cpu(self) -> float:
        """CPU seconds that it has taken."""
        return cpu_seconds(self.roots)

    def memory(self) -> int:
        """Bytes of memory that it has now."""
        return resident(self.roots)

    def peak(self) -> int:
        """The most it has had since L{forget_peak}."""
        return peak(self.roots)

    def forget_peak(self) -> None:
        """Let the peak begin anew."""
        forget_peak(self.roots)
