"""Local projects in Redis: names, files, used file names, history."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timezone
from typing import TypeVar

from attrs import define, evolve
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import AlreadyExists, Founded, Invalid, NotFound, StoreUnavailable
from cheddar.formats.records import assemble_project, dump_file, dump_status, load_files, load_status
from cheddar.interfaces import IProjectStore
from cheddar.model import File, Listed, Project, ProjectList, Release, Role, Selector
from cheddar.store.changes import EVERYTHING
from cheddar.store.marks import keep_marks, refuse_closed
from cheddar.store.redis import keys, scripts
from cheddar.store.redis.connection import RedisConnection

T = TypeVar("T")

#: How often a change is tried where others change the same project meanwhile.
_TRIES = 20
#: Bytes of records that are parsed at once on the reactor's thread.
SMALL = 64 * 1024


@implementer(IProjectStore)
@define(eq=False)
class RedisProjects:
    """@ivar history_size: how many releases the history keeps."""

    _connection: RedisConnection
    history_size: int

    @returns_deferred
    async def listed(self) -> ProjectList:
        """Projects that have files, sorted, with their serials."""
        read = await self._connection.script(scripts.READ_LIST, (keys.SERIAL, keys.LISTED, keys.SERIALS, keys.STATUSES))
        return await self._connection.work(len(read) > SMALL, _read_list, read)

    @returns_deferred
    async def owned_names(self) -> tuple[str, ...]:
        """All names that are taken, sorted."""
        read = await self._connection.script(scripts.HASH_KEYS, (keys.OWNED,))
        return await self._connection.work(len(read) > SMALL, names_in, read)

    @returns_deferred
    async def project(self, name: str) -> Project | None:
        """The project, or None where nobody has the name."""
        return await self._read(name)

    @returns_deferred
    async def add_file(
        self, project: str, display_name: str, file: File, allow_reuse: bool, founder: str | None = None
    ) -> None:
        """Add a file, make the name taken, note it in the history. [AlreadyExists, Founded, Forbidden]"""
        uploaded_at = file.upload_time or datetime.now(timezone.utc)
        outcome = await self._change(
            scripts.ADD_FILE,
            project,
            json.dumps(display_name),
            file.filename,
            dump_file(file),
            file.digests.get("sha256", ""),
            "1" if allow_reuse else "0",
            _member(project, file.version),
            uploaded_at.isoformat(),
            str(self.history_size),
            "" if founder is None else f"{Role.OWNER.value} {founder}" if founder else " ",
        )
        if isinstance(outcome, bytes) and outcome.startswith(b"["):
            refuse_closed(project, outcome.decode())
        if outcome == b"founded":
            raise Founded(f"Somebody else has created {project} at the same moment.")
        if outcome == b"exists":
            raise AlreadyExists(
                f"{project} has a file {file.filename} already: files are not replaced, publish a new version."
            )
        if outcome == b"used":
            raise AlreadyExists(
                f"{project} had another file {file.filename}, since removed, and file names are not used twice here: "
                "publish a new version."
            )

    @returns_deferred
    async def put_file(self, project: str, display_name: str, file: File) -> None:
        """Add a file or replace its row, keeping the row's yank mark, uploader and upload time."""

        async def attempt() -> bool:
            read = await self._connection.script(scripts.READ_FILE, _keys(project), (project, file.filename))
            serial, _, record = read.decode().partition("\n")
            kept = keep_marks(load_files([record])[0], file) if record else file
            return bool(
                await self._change(
                    scripts.PUT_FILE, project, serial, json.dumps(display_name), kept.filename, dump_file(kept)
                )
            )

        await self._until_done(project, attempt)

    @returns_deferred
    async def set_yanked(self, project: str, selector: Selector, reason: str | None) -> int:
        """Mark or clear. @return: how many files were picked. [NotFound for none]"""
        picked: tuple[File, ...] = ()

        async def attempt() -> bool:
            nonlocal picked
            serial, picked = await self._picked(project, selector)
            changed = [evolve(file, yanked=reason) for file in picked if file.yanked != reason]
            if not changed:
                return True
            words = [word for file in changed for word in (file.filename, dump_file(file))]
            return bool(await self._change(scripts.SET_FILES, project, str(serial), *words))

        await self._until_done(project, attempt)
        return len(picked)

    @returns_deferred
    async def remove_files(self, project: str, selector: Selector) -> tuple[File, ...]:
        """Forget files. @return: what was removed. [NotFound for none]"""
        picked: tuple[File, ...] = ()

        async def attempt() -> bool:
            nonlocal picked
            found = await self._read(project)
            serial, picked = _pick(found, project, selector)
            assert found is not None
            left = any(file.version == selector.version and file not in picked for file in found.files)
            forgotten = "" if left else _member(project, selector.version)
            words = [word for file in picked for word in (file.filename, file.digests.get("sha256", ""))]
            return bool(await self._change(scripts.REMOVE_FILES, project, str(serial), forgotten, *words))

        await self._until_done(project, attempt)
        return picked

    @returns_deferred
    async def set_status(self, project: str, status: str, reason: str | None) -> None:
        """Set the status marker. [NotFound]"""
        if await self._change(scripts.SET_STATUS, project, dump_status(status, reason)) == b"unknown":
            raise NotFound(f"There is no local project {project}.")

    @returns_deferred
    async def release_name(self, name: str) -> None:
        """Free a name that has no files. [NotFound, Invalid]"""
        outcome = await self._change(scripts.RELEASE_NAME, name)
        if outcome == b"unknown":
            raise NotFound(f"There is no local project {name}.")
        if outcome == b"files":
            raise Invalid(f"{name} has files: remove them before its name is given up.")

    @returns_deferred
    async def serial(self) -> int:
        """The number of the last change; 0 before the first. It grows with the clock, so never by one only."""
        return int(await self._connection.command("GET", keys.SERIAL) or 0)

    @returns_deferred
    async def history(self) -> tuple[Release, ...]:
        """Releases by their latest upload, newest first."""
        read = await self._connection.script(
            scripts.READ_HISTORY, (keys.HISTORY, keys.HISTORY_TIMES), (str(self.history_size),)
        )
        lines = read.decode().split("\n") if read else []
        releases = []
        for member, time in zip(lines[::2], lines[1::2], strict=True):
            project, version = json.loads(member)
            releases.append(Release(project, version, datetime.fromisoformat(time)))
        return tuple(releases)

    async def _change(self, script: str, project: str, *words: str) -> object:
        # A founder's role comes with the first file, and all roles go with the name.
        founded = script == scripts.ADD_FILE and len(words[-1]) > 1
        told = (project, EVERYTHING) if founded or script == scripts.RELEASE_NAME else (project,)
        return await self._connection.change(script, _keys(project), (project, *words), *told)

    async def _read(self, name: str) -> Project | None:
        read = await self._connection.script(scripts.READ_PROJECT, _keys(name), (name,))
        if read is None:
            return None
        return await self._connection.work(len(read) > SMALL, _assemble, name, read)

    async def _picked(self, project: str, selector: Selector) -> tuple[int, tuple[File, ...]]:
        return _pick(await self._read(project), project, selector)

    async def _until_done(self, project: str, attempt: Callable[[], Awaitable[bool]]) -> None:
        for _ in range(_TRIES):
            if await attempt():
                return
        raise StoreUnavailable(f"{project} is being changed by many at once: try again.")


def names_in(lines: bytes) -> tuple[str, ...]:
    """The names that a script joined, sorted."""
    return tuple(sorted(lines.decode().split("\n"))) if lines else ()


def _keys(project: str) -> Sequence[str]:
    return (
        keys.SERIAL,
        keys.OWNED,
        keys.SERIALS,
        keys.LISTED,
        keys.HISTORY,
        keys.HISTORY_TIMES,
        keys.files(project),
        keys.used(project),
        keys.STATUSES,
        keys.RIGHTS_SERIAL,
        keys.RIGHTS,
    )


def _member(project: str, version: str) -> str:
    return json.dumps([project, version])


def _assemble(name: str, read: bytes) -> Project:
    serial, display_name, status, *lines = read.decode().split("\n")
    return assemble_project(name, json.loads(display_name), int(serial), lines, status)


def _read_list(read: bytes) -> ProjectList:
    serial, *parts = read.decode().split("\n\n")
    names, serials, statuses = (part.split("\n") if part else [] for part in parts)
    serial_of = dict(zip(serials[::2], serials[1::2], strict=True))
    status_of = dict(zip(statuses[::2], statuses[1::2], strict=True))
    return ProjectList(
        tuple(
            Listed(name, int(serial_of.get(name, 0)), load_status(status_of.get(name, ""))[0]) for name in sorted(names)
        ),
        int(serial),
    )


def _pick(found: Project | None, project: str, selector: Selector) -> tuple[int, tuple[File, ...]]:
    picked = tuple(file for file in found.files if selector.picks(file)) if found else ()
    if found is None or not picked:
        raise NotFound(f"{project} has no {selector.filename or 'release ' + selector.version}.")
    return found.serial, picked
