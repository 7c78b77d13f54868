"""What systemd is told, over real datagram sockets."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cheddar.systemd import notify, watchdog_interval


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        yield receiver


def test_a_message_reaches_the_socket_that_the_environment_names(manager: socket.socket, tmp_path: Path) -> None:
    """READY=1 and the like arrive whole, as one datagram."""
    manager.bind(str(tmp_path / "notify"))
    notify({"NOTIFY_SOCKET": str(tmp_path / "notify")}, "READY=1\nSTATUS=Serving")
    assert manager.recv(1000) == b"READY=1\nSTATUS=Serving"


def test_an_abstract_name_is_understood(manager: socket.socket) -> None:
    """systemd may name an abstract socket, with an @ in place of its NUL."""
    name = f"cheddar-{secrets.token_hex(8)}"
    manager.bind("\0" + name)
    notify({"NOTIFY_SOCKET": "@" + name}, "STOPPING=1")
    assert manager.recv(1000) == b"STOPPING=1"


def test_without_a_listening_manager_nothing_happens(manager: socket.socket, tmp_path: Path) -> None:
    """Cheddar runs as well where no systemd is, or its socket has gone."""
    manager.bind(str(tmp_path / "notify"))
    manager.setblocking(False)
    for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": str(tmp_path / "no")}):
        notify(environ, "READY=1")
    with pytest.raises(BlockingIOError):
        manager.recv(1000)
    # The control: this is how a message would have been seen.
    notify({"NOTIFY_SOCKET": str(tmp_path / "notify")}, "READY=1")
    assert manager.recv(1000) == b"READY=1"


def test_a_manager_that_does_not_read_is_not_waited_for(manager: socket.socket, tmp_path: Path) -> None:
    """A full socket delays nothing: the message is dropped."""
    manager.bind(str(tmp_path / "notify"))
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    for _ in range(1000):
        notify(environ, "WATCHDOG=1")
    assert manager.recv(1000) == b"WATCHDOG=1"


def test_the_watchdogs_patience_is_told_to_the_process_it_watches() -> None:
    """WatchdogSec reaches the main process in seconds, and no child of it."""
    assert watchdog_interval({"WATCHDOG_USEC": "30000000"}) == 30.0
    assert watchdog_interval({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}) == 1.5
    assert watchdog_interval({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getppid())}) is None
    for text in ("", "0", "-1", "soon", "\u0663"):
        assert watchdog_interval({"WATCHDOG_USEC": text}) is None
    assert watchdog_interval({}) is None
