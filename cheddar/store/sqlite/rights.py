"""Roles and groups in SQLite."""

from __future__ import annotations

import sqlite3
from collections import defaultdict

from attrs import define
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.interfaces import IRightsStore
from cheddar.model import Right, Rights, Role
from cheddar.model.rights import NOBODY
from cheddar.store.sqlite.connection import Database


@implementer(IRightsStore)
@define(eq=False)
class SQLiteRights:
    """Every change moves the serial on, in its own transaction."""

    _database: Database

    @returns_deferred
    async def serial(self) -> int:
        """The number of the last change; 0 before the first."""
        return await self._database.read(_serial)

    @returns_deferred
    async def rights(self) -> Rights:
        """All roles and groups."""

        def read(connection: sqlite3.Connection) -> Rights:
            # One statement sees one moment.
            rows = connection.execute(
                "SELECT target, role, holder, NULL FROM rights UNION ALL SELECT team, '', user, NULL FROM members "
                "UNION ALL SELECT '', '', '', value FROM rights_serial"
            ).fetchall()
            held, groups = [], defaultdict(set)
            for target, role, holder, _ in rows[:-1]:
                if role:
                    held.append(Right(holder, Role(role), target))
                else:
                    groups[target].add(holder)
            return Rights.of(rows[-1][3], held, groups)

        return await self._database.read(read)

    @returns_deferred
    async def put(self, right: Right) -> None:
        """Give a role."""
        await self._database.change(lambda connection: give(connection, right))

    @returns_deferred
    async def remove(self, right: Right) -> bool:
        """Take a role back. @return: whether it was given."""
        words = (right.target, right.role.value, right.holder)
        where = "target = ? AND role = ? AND holder = ?"
        return await self._database.change(lambda connection: _take_back(connection, where, words))

    @returns_deferred
    async def add_member(self, group: str, user: str) -> None:
        """Put a user into a group."""
        await self._change("INSERT INTO members VALUES (?, ?) ON CONFLICT DO NOTHING", group, user)

    @returns_deferred
    async def remove_member(self, group: str, user: str) -> bool:
        """Take a user out of a group. @return: whether it was in it."""
        return await self._change("DELETE FROM members WHERE team = ? AND user = ?", group, user)

    @returns_deferred
    async def remove_group(self, group: str) -> bool:
        """Remove a group, and its roles. @return: whether it had members or roles."""

        def remove(connection: sqlite3.Connection) -> bool:
            members = connection.execute("DELETE FROM members WHERE team = ?", (group,)).rowcount > 0
            _note_change(connection)
            return _take_back(connection, "holder = ?", (group,)) or members

        return await self._database.change(remove)

    async def _change(self, statement: str, *words: str) -> bool:
        def change(connection: sqlite3.Connection) -> bool:
            changed = connection.execute(statement, words).rowcount > 0
            _note_change(connection)
            return changed

        return await self._database.change(change)


def give(connection: sqlite3.Connection, right: Right) -> None:
    """Give a role, in the caller's transaction."""
    connection.execute(
        "INSERT INTO rights VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (right.target, right.role.value, right.holder)
    )
    _note_change(connection)


def forget_user(connection: sqlite3.Connection, name: str) -> None:
    """A user comes or goes: none of the name has a role or a group, in the caller's transaction."""
    connection.execute("DELETE FROM members WHERE user = ?", (name,))
    _take_back(connection, "holder = ?", (name,))
    _note_change(connection)


def forget_project(connection: sqlite3.Connection, name: str) -> None:
    """A name is free again: nobody has a role for it, in the caller's transaction."""
    connection.execute("DELETE FROM rights WHERE target = ?", (name,))
    _note_change(connection)


def _take_back(connection: sqlite3.Connection, where: str, words: tuple[str, ...]) -> bool:
    connection.execute(
        f"INSERT INTO rights SELECT target, role, ? FROM rights WHERE role = ? AND {where} ON CONFLICT DO NOTHING",
        (NOBODY, Role.OWNER.value, *words),
    )
    taken = connection.execute(f"DELETE FROM rights WHERE {where}", words).rowcount > 0
    _note_change(connection)
    return taken


def _serial(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT value FROM rights_serial").fetchone()[0])


def _note_change(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE rights_serial SET value = value + 1")
