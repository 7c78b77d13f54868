"""
Ways through the folders of a storage that others change at the same moment.

All of it blocks, and runs in threads. No link below the root is ever followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cheddar.errors import NoRoom
from cheddar.names import is_filename

#: Endings of what lies beside a file, under the file's own name.
SIDECARS = (".metadata", ".provenance")
MAX_DEPTH = 8

#: Errors that mean that there is no such file here; a link (ELOOP) is none of ours.
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# O_NONBLOCK: opening a named pipe would otherwise wait for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def is_segment(segment: str) -> bool:
    """Whether C{segment} may be one step of a key: a file name, maybe with the ending of what lies beside a file."""
    ending = next((ending for ending in SIDECARS if segment.endswith(ending)), "")
    return is_filename(segment.removesuffix(ending))


@contextmanager
def open_folder(root: Path, segments: tuple[str, ...], make: bool = False) -> Iterator[int]:
    """Open the folder C{segments} below C{root} step by step: so no link on the way is followed. [OSError]"""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for segment in segments:
            if make:
                _make_folder(segment, folder)
            inner = os.open(segment, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def open_file(root: Path, segments: tuple[str, ...]) -> int:
    """Open a file to read. @return: a descriptor, maybe of something that is no regular file. [OSError]"""
    *folders, filename = segments
    with open_folder(root, tuple(folders)) as folder:
        return os.open(filename, _FILE, dir_fd=folder)


def remove_file(root: Path, segments: tuple[str, ...]) -> bool:
    """
    Remove a file, and the folders that become empty but for the topmost.

    @return: whether there was one. [NoRoom: the disk does not allow it]
    """
    *folders, filename = segments
    removed = False
    try:
        with open_folder(root, tuple(folders)) as folder:
            os.unlink(filename, dir_fd=folder)
        removed = True
        while len(folders) > 1:
            name = folders.pop()
            with open_folder(root, tuple(folders)) as folder:
                os.rmdir(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in (*NOT_THERE, errno.ENOTEMPTY, errno.EEXIST):
            raise NoRoom(
                f"The server cannot delete from its file storage ({error.strerror}). "
                "Its administrator has to allow writing there; then try again."
            ) from error
    return removed


def walk(folder: Path, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], os.stat_result]]:
    """
    The files in folders below C{folder}, in no order; what could not be opened by its name (links, odd names) is left
    out, and so is what is deleted meanwhile.

    @param above: the segments of the key that lead to C{folder}.
    @return: the segments of each file's key, and its status. [OSError]
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_segment(entry.name):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and len(above) < MAX_DEPTH - 1:
                    yield from walk(folder / entry.name, (*above, entry.name))
                elif stat.S_ISREG(status.st_mode) and above:
                    yield (*above, entry.name), status
            except FileNotFoundError:
                continue


def _make_folder(name: str, parent: int) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)
