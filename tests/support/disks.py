"""Disks that take no more, for tests: a limit on this process's files, and small file systems of their own."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file that this process writes grows beyond C{size} bytes meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """
    A file system of C{size} bytes at C{folder}, which is made.

    @raise RuntimeError: this machine lets nobody mount.
    """
    folder.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size},mode=0755", "cheddar-test", str(folder))
    try:
        yield folder
    finally:
        _unmount(folder)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """What is in C{folder} can be read and not changed meanwhile; a file that is open already can."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,ro,bind", str(folder))
        yield
    finally:
        _unmount(folder)


def fill(folder: Path, leave: int = 0) -> Path:
    """Fill the disk of C{folder}, but for C{leave} bytes. @return: the file to delete for room."""
    filler = folder / "filler"
    page = bytes(4096)
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                free = os.statvfs(folder)
                if leave and free.f_bavail * free.f_bsize <= leave:
                    break
                file.write(page)
        except OSError:
            pass  # that is what it is for
    return filler


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"These tests need file systems of their own ({done.stderr.strip()}): run them as root, or in a user "
            "namespace: unshare --user --map-root-user --mount pytest ..."
        )


def _unmount(folder: Path) -> None:
    # Lazily: a process that was killed a moment ago may still have a file open there.
    subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
