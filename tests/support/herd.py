"""
Many clients who want the same thing at the same moment, in one process that costs little: what they get is compared
with what is right, byte by byte, and dropped (hashing all of it would cost more than to send it)::

    python -m tests.support.herd --clients 200 --right FILE http://127.0.0.1:PORT/PATH

All connect, all ask, and then they read, as much as there is, until the server ends the connection. To standard output
goes what became of them, as JSON (L{Herd}).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import mmap
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import asdict, define, field

#: No module of Cheddar's: to import them takes seconds.
ROOT = Path(__file__).parent.parent.parent
JSON = "application/vnd.pypi.simple.v1+json"
PIECE = 256 * 1024


@define
class Herd:
    """
    What became of the clients.

    @ivar right: how many have all that is right, and nothing else.
    @ivar wrong: what the others have, a line each.
    @ivar digests: how many have a body with this SHA-256, where nothing was said of what is right.
    @ivar first: seconds from when a client asked until it had the first byte of a body, for each that had one.
    @ivar seconds: until the last one had its last byte.
    """

    right: int = 0
    wrong: list[str] = field(factory=list)
    digests: dict[str, int] = field(factory=dict)
    first: list[float] = field(factory=list)
    seconds: float = 0.0


@define(eq=False)
class _Client:
    connection: socket.socket
    asked: float
    got: int = 0
    head: bytes = b""
    began: bool = False
    problem: str = ""
    digest: Any = field(factory=hashlib.sha256)


def run(port: int, path: str, clients: int, right: Path | None, seconds: float, leaving: bool = False) -> Herd:
    """
    Ask C{clients} times at once. Blocks, for C{seconds} at most.

    @param right: a file with what is right; None: that all get the same is what is wanted.
    @param leaving: whether they leave when each has its first byte.
    """
    herd = Herd()
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: {JSON}\r\nConnection: close\r\n\r\n".encode()
    with contextlib.ExitStack() as open_now:
        selector = open_now.enter_context(selectors.DefaultSelector())
        content = None
        if right is not None:
            stream = open_now.enter_context(right.open("rb"))
            content = open_now.enter_context(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
        start = time.monotonic()
        for connection in sockets:
            connection.sendall(request)
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ, _Client(connection, time.monotonic()))
        while (
            selector.get_map() and time.monotonic() - start < seconds and not (leaving and len(herd.first) == clients)
        ):
            for key, _ in selector.select(1):
                if not _read(key.data, content, herd):
                    selector.unregister(key.fileobj)
                    _end(key.data, content, herd)
        herd.seconds = time.monotonic() - start
        for key in list(selector.get_map().values()):
            key.data.problem = key.data.problem or f"no end in {seconds} s"
            _end(key.data, content, herd)
    return herd


def _read(client: _Client, content: mmap.mmap | None, herd: Herd) -> bool:
    """Take what there is. @return: whether there may be more."""
    try:
        piece = client.connection.recv(PIECE)
    except BlockingIOError:
        return True
    except OSError as error:
        client.problem = str(error)
        return False
    if not piece:
        return False
    if not client.began:
        client.head += piece
        head, end, piece = client.head.partition(b"\r\n\r\n")
        if not end:
            return True
        status = head.split(b"\r\n")[0].decode()
        if " 200 " not in status:
            client.problem = status
            return False
        client.began = bool(piece)
        if not piece:
            return True
        herd.first.append(time.monotonic() - client.asked)
    if content is None:
        client.digest.update(piece)
    elif content[client.got : client.got + len(piece)] != piece:
        client.problem = f"other bytes at {client.got} or soon after"
        return False
    client.got += len(piece)
    return True


def _end(client: _Client, content: mmap.mmap | None, herd: Herd) -> None:
    client.connection.close()
    size = client.got if content is None else len(content)
    if client.problem or not client.began or client.got != size:
        herd.wrong.append(f"{client.got} of {size} bytes {client.problem}".strip())
        return
    herd.right += 1
    if content is None:
        digest = client.digest.hexdigest()
        herd.digests[digest] = herd.digests.get(digest, 0) + 1


def herd(url: str, clients: int, right: Path | None = None, seconds: float = 600, *, leaving: bool = False) -> Herd:
    """A process that is a herd; see L{run}. Blocks."""
    command: Iterable[str] = (
        *(sys.executable, "-m", "tests.support.herd", "--clients", str(clients)),
        *("--seconds", str(seconds)),
        *(() if right is None else ("--right", str(right))),
        *(("--leaving",) if leaving else ()),
        url,
    )
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=seconds + 30, check=True)
    return Herd(**json.loads(done.stdout))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.herd")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--right", type=Path)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--leaving", action="store_true")
    parser.add_argument("url")
    options = parser.parse_args()
    url = urlsplit(options.url)
    assert url.port is not None
    became = run(url.port, url.path, options.clients, options.right, options.seconds, options.leaving)
    print(json.dumps(asdict(became)))


if __name__ == "__main__":
    main()
