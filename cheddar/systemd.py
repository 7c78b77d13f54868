"""Tell systemd how the service is doing: the protocol of sd_notify(3), which Twisted has no part for."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


def notify(environ: Mapping[str, str], message: str) -> None:
    """
    Send C{message} to the service manager, if there is one that listens. It is a hint: that nobody takes it is no
    error, and it is sent without waiting.

    @param environ: the process's environment, which names the socket.
    @param message: lines such as C{READY=1}, C{STATUS=...}, C{WATCHDOG=1} or C{STOPPING=1}.
    Source: sd_notify(3), "Description" and "Notes".
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # Linux's abstract names: the kernel wants a NUL where the environment has "@"
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(message.encode(), address)
        except OSError:
            return


def hands_sockets_over(environ: Mapping[str, str]) -> bool:
    """
    Whether the service manager has handed listening sockets over to this process.

    @param environ: the process's environment.
    Source: sd_listen_fds(3).
    """
    # Twisted takes LISTEN_FDS and LISTEN_PID away as soon as it has read them, and leaves the names. A child inherits
    # the environment, and not the sockets: there LISTEN_PID is another's.
    return bool(environ.get("LISTEN_FDNAMES")) and environ.get("LISTEN_PID") in (None, str(os.getpid()))


def watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """
    Seconds that the service manager waits for a C{WATCHDOG=1} message before it gives the service up; one should be
    sent several times as often.

    @param environ: the process's environment.
    @return: None where nobody watches this process.
    Source: sd_watchdog_enabled(3).
    """
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not (microseconds.isascii() and microseconds.isdigit()) or int(microseconds) == 0:
        return None
    watched = environ.get("WATCHDOG_PID", "")
    if watched and watched != str(os.getpid()):  # a child inherits the environment, and is not the one watched
        return None
    return int(microseconds) / 1_000_000
