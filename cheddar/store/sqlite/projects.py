"""Local projects in SQLite: names, files, used file names, history."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timezone

from attrs import define, evolve
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import AlreadyExists, Founded, Invalid, NotFound
from cheddar.formats.records import assemble_project, dump_file, dump_status, load_files, load_status
from cheddar.interfaces import IProjectStore
from cheddar.model import File, Listed, Project, ProjectList, Release, Right, Role, Selector
from cheddar.store.marks import keep_marks, refuse_closed
from cheddar.store.sqlite.connection import Database
from cheddar.store.sqlite.rights import forget_project, give


@implementer(IProjectStore)
@define(eq=False)
class SQLiteProjects:
    """@ivar history_size: how many releases the history keeps."""

    _database: Database
    history_size: int
    _clock: IReactorTime

    @returns_deferred
    async def listed(self) -> ProjectList:
        """Projects that have files, sorted, with their serials."""

        def read(connection: sqlite3.Connection) -> ProjectList:
            # One statement sees one moment; where there is no project, it has one row all the same.
            rows = connection.execute(
                "SELECT value, name, projects.serial, status FROM serial LEFT JOIN projects "
                "ON EXISTS (SELECT 1 FROM files WHERE project = name) ORDER BY name"
            ).fetchall()
            projects = tuple(
                Listed(name, serial, load_status(status)[0]) for _, name, serial, status in rows if name is not None
            )
            return ProjectList(projects, rows[0][0])

        return await self._database.read(read)

    @returns_deferred
    async def owned_names(self) -> tuple[str, ...]:
        """All names that are taken, sorted."""
        return await self._database.read(
            lambda connection: _column(connection, "SELECT name FROM projects ORDER BY name")
        )

    @returns_deferred
    async def project(self, name: str) -> Project | None:
        """The project, or None where nobody has the name."""

        def read(connection: sqlite3.Connection) -> Project | None:
            # One statement sees one moment: no file of a later change beside an older serial.
            rows = connection.execute(
                "SELECT display_name, serial, status, record FROM projects LEFT JOIN files ON project = name "
                "WHERE name = ?",
                (name,),
            ).fetchall()
            if not rows:
                return None
            display_name, serial, status, _ = rows[0]
            return assemble_project(name, display_name, serial, [row[3] for row in rows if row[3] is not None], status)

        return await self._database.read(read)

    @returns_deferred
    async def add_file(
        self, project: str, display_name: str, file: File, allow_reuse: bool, founder: str | None = None
    ) -> None:
        """Add a file, make the name taken, note it in the history. [AlreadyExists, Founded, Forbidden]"""
        sha256 = file.digests.get("sha256")

        def add(connection: sqlite3.Connection) -> None:
            row = connection.execute("SELECT status FROM projects WHERE name = ?", (project,)).fetchone()
            refuse_closed(project, row[0] if row else "")
            if founder is not None and row:
                raise Founded(f"Somebody else has created {project} at the same moment.")
            if _record(connection, project, file.filename) is not None:
                raise AlreadyExists(
                    f"{project} has a file {file.filename} already: files are not replaced, publish a new version."
                )
            used = connection.execute(
                "SELECT sha256 FROM used_filenames WHERE project = ? AND filename = ?", (project, file.filename)
            ).fetchone()
            if used is not None and not allow_reuse and (not sha256 or used[0] != sha256):
                raise AlreadyExists(
                    f"{project} had another file {file.filename}, since removed, and file names are not used twice "
                    "here: publish a new version."
                )
            serial = _next_serial(connection)
            connection.execute(
                "INSERT INTO projects (name, display_name, serial) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "display_name = excluded.display_name, serial = excluded.serial",
                (project, display_name, serial),
            )
            if founder:
                give(connection, Right(founder, Role.OWNER, project))
            connection.execute(
                "INSERT INTO files VALUES (?, ?, ?, ?)", (project, file.filename, file.version, dump_file(file))
            )
            uploaded_at = file.upload_time or datetime.fromtimestamp(self._clock.seconds(), timezone.utc)
            connection.execute(
                "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?)",
                (project, file.version, uploaded_at.isoformat(), serial),
            )
            connection.execute(
                "DELETE FROM history WHERE serial <= "
                "(SELECT serial FROM history ORDER BY serial DESC LIMIT 1 OFFSET ?)",
                (self.history_size,),
            )

        await self._database.change(add)

    @returns_deferred
    async def put_file(self, project: str, display_name: str, file: File) -> None:
        """Add a file or replace its row, keeping the row's yank mark, uploader and upload time."""

        def put(connection: sqlite3.Connection) -> None:
            serial = _next_serial(connection)
            connection.execute(
                "INSERT INTO projects (name, display_name, serial) VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET serial = excluded.serial",
                (project, display_name, serial),
            )
            record = _record(connection, project, file.filename)
            kept = file if record is None else keep_marks(load_files([record])[0], file)
            connection.execute(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
                (project, kept.filename, kept.version, dump_file(kept)),
            )

        await self._database.change(put)

    @returns_deferred
    async def set_yanked(self, project: str, selector: Selector, reason: str | None) -> int:
        """Mark or clear. @return: how many files were picked. [NotFound for none]"""

        def mark(connection: sqlite3.Connection) -> int:
            picked = _picked(connection, project, selector)
            changed = [file for file in picked if file.yanked != reason]
            if changed:
                connection.executemany(
                    "UPDATE files SET record = ? WHERE project = ? AND filename = ?",
                    [(dump_file(evolve(file, yanked=reason)), project, file.filename) for file in changed],
                )
                _note_change(connection, project)
            return len(picked)

        return await self._database.change(mark)

    @returns_deferred
    async def remove_files(self, project: str, selector: Selector) -> tuple[File, ...]:
        """Forget files. @return: what was removed. [NotFound for none]"""

        def remove(connection: sqlite3.Connection) -> tuple[File, ...]:
            picked = _picked(connection, project, selector)
            connection.executemany(
                "DELETE FROM files WHERE project = ? AND filename = ?", [(project, file.filename) for file in picked]
            )
            connection.executemany(
                "INSERT OR REPLACE INTO used_filenames VALUES (?, ?, ?)",
                [(project, file.filename, file.digests.get("sha256", "")) for file in picked],
            )
            connection.execute(
                "DELETE FROM history WHERE project = :project AND version = :version AND NOT EXISTS "
                "(SELECT 1 FROM files WHERE project = :project AND version = :version)",
                {"project": project, "version": selector.version},
            )
            _note_change(connection, project)
            return picked

        return await self._database.change(remove)

    @returns_deferred
    async def set_status(self, project: str, status: str, reason: str | None) -> None:
        """Set the status marker. [NotFound]"""

        def mark(connection: sqlite3.Connection) -> None:
            marked = connection.execute(
                "UPDATE projects SET status = ? WHERE name = ?", (dump_status(status, reason), project)
            ).rowcount
            if not marked:
                raise NotFound(f"There is no local project {project}.")
            _note_change(connection, project)

        await self._database.change(mark)

    @returns_deferred
    async def release_name(self, name: str) -> None:
        """Free a name that has no files. [NotFound, Invalid]"""

        def release(connection: sqlite3.Connection) -> None:
            if connection.execute("SELECT 1 FROM files WHERE project = ? LIMIT 1", (name,)).fetchone():
                raise Invalid(f"{name} has files: remove them before its name is given up.")
            if not connection.execute("DELETE FROM projects WHERE name = ?", (name,)).rowcount:
                raise NotFound(f"There is no local project {name}.")
            _next_serial(connection)
            forget_project(connection, name)

        await self._database.change(release)

    @returns_deferred
    async def serial(self) -> int:
        """The number of the last change; 0 before the first."""

        def read(connection: sqlite3.Connection) -> int:
            return int(connection.execute("SELECT value FROM serial").fetchone()[0])

        return await self._database.read(read)

    @returns_deferred
    async def history(self) -> tuple[Release, ...]:
        """Releases by their latest upload, newest first."""

        def read(connection: sqlite3.Connection) -> tuple[Release, ...]:
            rows = connection.execute(
                "SELECT project, version, uploaded_at FROM history ORDER BY serial DESC LIMIT ?", (self.history_size,)
            )
            return tuple(Release(project, version, datetime.fromisoformat(time)) for project, version, time in rows)

        return await self._database.read(read)


def _column(connection: sqlite3.Connection, statement: str) -> tuple[str, ...]:
    return tuple(row[0] for row in connection.execute(statement))


def _record(connection: sqlite3.Connection, project: str, filename: str) -> str | None:
    row = connection.execute(
        "SELECT record FROM files WHERE project = ? AND filename = ?", (project, filename)
    ).fetchone()
    return None if row is None else str(row[0])


def _picked(connection: sqlite3.Connection, project: str, selector: Selector) -> tuple[File, ...]:
    rows = connection.execute(
        "SELECT record FROM files WHERE project = ? AND version = ? ORDER BY filename", (project, selector.version)
    )
    picked = tuple(file for file in load_files(row[0] for row in rows) if selector.picks(file))
    if not picked:
        raise NotFound(f"{project} has no {selector.filename or 'release ' + selector.version}.")
    return picked


def _next_serial(connection: sqlite3.Connection) -> int:
    connection.execute("UPDATE serial SET value = value + 1")
    return int(connection.execute("SELECT value FROM serial").fetchone()[0])


def _note_change(connection: sqlite3.Connection, project: str) -> None:
    connection.execute("UPDATE projects SET serial = ? WHERE name = ?", (_next_serial(connection), project))
