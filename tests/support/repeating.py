"""
The same request again and again on one connection, from a process of its own that costs the server's nothing::

    python -m tests.support.repeating PORT STATUS

The request comes as hexadecimal digits on the first line of standard input, then a line for each turn: how often. When
all answers of a turn have come, a line says so. An answer of another status ends it.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parent.parent.parent


class Repeating:
    """The process; its requests are at L{port}."""

    def __init__(self, port: int, request: bytes, status: int = 200) -> None:
        self._request = request
        command = [sys.executable, "-m", "tests.support.repeating", str(port), str(status)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def __enter__(self) -> Repeating:
        self._say(self._request.hex())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=10)

    def turn(self, times: int) -> None:
        """Ask so often. Blocks. [AssertionError: an answer was not as it is to be]"""
        self._say(str(times))
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "done\n", "an answer was not as it is to be; see standard error"

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


def _answer(connection: socket.socket, status: bytes) -> None:
    got = b""
    while b"\r\n\r\n" not in got:
        got += _more(connection)
    head, _, body = got.partition(b"\r\n\r\n")
    if head.split(b" ")[1] != status:
        sys.exit(f"not {status!r}: {head!r}")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    left = (int(length[1]) if length is not None and status != b"304" else 0) - len(body)
    while left > 0:
        left -= len(_more(connection))


def _more(connection: socket.socket) -> bytes:
    return connection.recv(1 << 18) or sys.exit("the connection has ended")


def main() -> None:
    """See the module."""
    port, status = int(sys.argv[1]), sys.argv[2].encode()
    request = bytes.fromhex(sys.stdin.readline())
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for line in sys.stdin:
            for _ in range(int(line)):
                connection.sendall(request)
                _answer(connection, status)
            print("done", flush=True)


if __name__ == "__main__":
    main()
