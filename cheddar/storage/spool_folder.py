"""The folder of the partial files of this process."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from pathlib import Path
from threading import Lock

from attrs import define, field

from cheddar.errors import NoRoom
from cheddar.storage.last_use import share
from cheddar.storage.work import storing


@define(eq=False)
class SpoolFolder:
    """
    The partial files of this process: a folder that is locked while the process lives.

    Several processes may share the storage: only folders whose lock nobody holds any more are swept. All of this
    blocks, and runs in threads.

    @ivar _incoming: what holds it, in the storage's root.
    """

    _incoming: Path
    _root_was_there: bool = field(init=False, default=False)
    _folder: Path | None = field(init=False, default=None)
    _lock: int = field(init=False, default=-1)
    _in_use: bool = field(init=False, default=False)
    _opening: Lock = field(init=False, factory=Lock)
    _failed: bool = field(init=False, default=False)

    @property
    def failing(self) -> bool:
        """Plain call. Whether no file could be made when it was last tried."""
        return self._failed or self._folder is None

    def open(self) -> None:
        """
        Make the storage's root, sweep what dead processes left behind, and make this process's own folder. What cannot
        be made now is made when a file is wanted. [NoRoom]
        """
        with self._opening:
            self._in_use = True
            self._open()

    def _open(self) -> None:
        with storing():
            if not self._root_was_there:
                self._incoming.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._root_was_there = True
            self._incoming.mkdir(mode=0o700, exist_ok=True)
            # One start at a time: a folder just made is not locked yet, and must not pass for a dead one's.
            gate = os.open(self._incoming / "gate", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(gate, fcntl.LOCK_EX)
                self._sweep()
                folder = self._incoming / f"{os.getpid()}-{secrets.token_hex(4)}"
                folder.mkdir(mode=0o700)
                self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                self._folder = folder
            finally:
                os.close(gate)

    def close(self) -> None:
        """Remove this process's folder."""
        with self._opening:
            self._in_use = False
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._let_go()

    def new_file(self) -> tuple[int, Path]:
        """
        An empty file of its own, open for reading and writing, and where it is.

        Where the folder is gone, it is made again: but not what it is in, if that was there once. A disk that is not
        mounted any more is no place to write to. [NoRoom]
        """
        try:
            made = self._new_file()
        except NoRoom as error:
            self._failed = True
            raise NoRoom(str(error), at_all=True) from error
        self._failed = False
        return made

    def _new_file(self) -> tuple[int, Path]:
        with storing():
            folder = self._folder
            if folder is not None:
                try:
                    return _new_file(folder)
                except FileNotFoundError:
                    pass
            with self._opening:
                if not self._in_use:
                    raise NoRoom("The file storage is not open. Try again when the server runs.")
                if self._folder is folder:
                    self._let_go()
                    self._open()
                assert self._folder is not None
                return _new_file(self._folder)

    def _let_go(self) -> None:
        if self._folder is not None:
            os.close(self._lock)
            self._folder = None

    def _sweep(self) -> None:
        for folder in self._incoming.iterdir():
            if folder.is_symlink() or not folder.is_dir():
                continue
            try:
                lock = os.open(folder / "lock", os.O_RDWR | os.O_NOFOLLOW)
            except FileNotFoundError:  # its process died before it made the lock: the gate says that none is at it now
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            else:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _new_file(folder: Path) -> tuple[int, Path]:
    path = folder / secrets.token_hex(8)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    # Those who follow the file as it grows hold this, and so the lock: they go on reading when it has its name. See
    # L{cheddar.storage.last_use}.
    share(descriptor)
    return descriptor, path
