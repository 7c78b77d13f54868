"""Cheddar under test: in this process for tests on the reactor, and as a process of its own for real clients."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

import attrs
from twisted.python.threadpool import ThreadPool

from cheddar.deferreds import returns_deferred
from cheddar.service import Cheddar, make_service
from cheddar.settings import Settings

USER = "alice"
PASSWORD = "007"
BIN = Path(sys.executable).parent
ROOT = Path(__file__).parent.parent.parent
JSON = "application/vnd.pypi.simple.v1+json"


def free_port() -> int:
    """A TCP port on loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def basic(user: str = USER, password: str = PASSWORD) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@attrs.frozen
class Answer:
    """What a server said."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30,
) -> Answer:
    """One request to loopback, blocking: for tests whose server is another process, and for threads."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(
            response.status, response.reason, {k.lower(): v for k, v in response.getheaders()}, response.read()
        )
    finally:
        connection.close()


def upload_form(
    filename: str, content: bytes, fields: Mapping[str, str] | None = None, boundary: str = "frontier"
) -> tuple[bytes, str]:
    """The body and the content type of an upload, as twine would send them."""
    values = {":action": "file_upload", "protocol_version": "1", **(fields or {})}
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in values.items()
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    return b"".join((*parts, head, content, f"\r\n--{boundary}--\r\n".encode())), (
        f"multipart/form-data; boundary={boundary}"
    )


class CheddarProcess:
    """
    A Cheddar in a process of its own, as an operator runs it: C{twistd -n cheddar}.

    @ivar port: where it listens.
    @ivar log: what it wrote.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        environ: Mapping[str, str] | None = None,
        options: tuple[str, ...] = (),
        crash_at: int = 0,
    ) -> None:
        """
        @param crash_at: the step of an upload at which it kills itself; 0: never. See L{tests.support.crashing}.
        """
        self.data_dir = data_dir
        self.port = port or free_port()
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self._environ = {**os.environ, **(environ or {})}
        self._options = options
        self._crash_at = crash_at
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address, with a slash at its end."""
        return f"http://localhost:{self.port}/"

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def start(self, seconds: float = 30) -> CheddarProcess:
        """Start, and wait until it answers."""
        listen = f"tcp:{self.port}:interface=127.0.0.1"
        twistd = [str(BIN / "twistd")]
        if self._crash_at:
            twistd = [sys.executable, "-m", "tests.support.crashing", str(self._crash_at)]
        command = [
            *twistd,
            "--nodaemon",
            "--pidfile=",
            "cheddar",
            "--listen",
            listen,
            "--data-dir",
            str(self.data_dir),
            *self._options,
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=ROOT if self._crash_at else self.data_dir.parent,
                env={"CHEDDAR_PUBLIC_URL": self.url, **self._environ},
            )
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise AssertionError(f"Cheddar ended with {self._process.returncode}:\n{self.log.read_text()}")
            try:
                if ask(self.port, "GET", "/health/live", timeout=2).status == 200:
                    return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"Cheddar did not answer in {seconds} s:\n{self.log.read_text()}")

    def noted(self) -> str:
        """The log, with the lines of all requests that were answered before: they are written some time later."""
        mark, end = f"/noted-{token_hex(4)}", time.monotonic() + 20
        ask(self.port, "GET", mark)
        while mark not in (text := self.log.read_text()):
            assert time.monotonic() < end, text
            time.sleep(0.05)
        return text

    def stop(self, seconds: float = 30) -> int:
        """Ask it to stop, and wait. @return: the exit status."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(seconds)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        self._process = None
        return status

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def wait(self, seconds: float = 30) -> int:
        """Wait until it ends by itself. @return: the exit status."""
        assert self._process is not None
        status = self._process.wait(seconds)
        self._process = None
        return status

    def cheddar(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the C{cheddar} command on the same data."""
        options = [option for option in self._options if "redis" in option]
        return subprocess.run(
            [str(BIN / "cheddar"), "--data-dir", str(self.data_dir), *options, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self._environ,
            cwd=self.data_dir.parent,
            check=False,
            timeout=60,
        )

    def add_user(self, name: str = USER, password: str = PASSWORD) -> None:
        """Add a user as an operator does."""
        done = self.cheddar("user", "add", "--stdin", name, stdin=f"{password}\n")
        assert done.returncode == 0, done.stderr

    def memory(self) -> int:
        """The most resident memory it has had, in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")


class CheddarHere:
    """
    A Cheddar in this process, on the test's reactor; its own settings, a port that is free beside those they name.
    """

    def __init__(self, settings: Settings, reactor: Any) -> None:
        self.settings = attrs.evolve(settings, listen=("tcp:0:interface=127.0.0.1", *settings.listen), drain_timeout=2)
        self._reactor = reactor
        self.service: Cheddar = make_service(self.settings, reactor)
        self._clients = ThreadPool(0, 60, name="clients")

    async def start(self) -> CheddarHere:
        """Start, and wait until it listens."""
        self.service.startService()
        await self.service.started()
        self.port: int = self.service.ports[0].getHost().port
        self._clients.start()
        return self

    async def restart(self) -> None:
        """Stop, and start on the same data: on another port, with nothing remembered but what is stored."""
        await self.service.stopService()
        self.service = make_service(self.settings, self._reactor)
        self.service.startService()
        await self.service.started()
        self.port = self.service.ports[0].getHost().port

    async def stop(self) -> None:
        """Stop, and wait."""
        await self.service.stopService()
        self._clients.stop()

    @returns_deferred
    async def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request, from a thread: the server answers on the reactor meanwhile."""
        from twisted.internet.threads import deferToThreadPool

        # A pool of its own: the reactor's is what names are resolved in, and many clients would fill it.
        return await deferToThreadPool(self._reactor, self._clients, ask, self.port, method, path, body, headers)

    @returns_deferred
    async def upload(
        self, filename: str, content: bytes, fields: Mapping[str, str] | None = None, authorization: str | None = None
    ) -> Answer:
        """Upload as twine does."""
        body, content_type = upload_form(filename, content, fields)
        headers = {"Content-Type": content_type, "Authorization": authorization or basic()}
        return await self.ask("POST", "/pypi/", body, headers)
