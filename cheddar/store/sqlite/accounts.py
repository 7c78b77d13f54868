"""Users in SQLite."""

from __future__ import annotations

import sqlite3

from attrs import define
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import NotFound
from cheddar.interfaces import IAccountStore
from cheddar.model import User
from cheddar.store.sqlite.connection import Database
from cheddar.store.sqlite.rights import forget_user


@implementer(IAccountStore)
@define(eq=False)
class SQLiteAccounts:
    """Passwords are kept as they are given."""

    _database: Database

    @returns_deferred
    async def user(self, name: str) -> User | None:
        """The user, or None."""

        def read(connection: sqlite3.Connection) -> User | None:
            row = connection.execute("SELECT password FROM users WHERE name = ?", (name,)).fetchone()
            return None if row is None else User(name, row[0])

        return await self._database.read(read)

    @returns_deferred
    async def user_names(self) -> tuple[str, ...]:
        """All users, sorted."""

        def read(connection: sqlite3.Connection) -> tuple[str, ...]:
            return tuple(row[0] for row in connection.execute("SELECT name FROM users ORDER BY name"))

        return await self._database.read(read)

    @returns_deferred
    async def put_user(self, user: User) -> None:
        """Add a user, or replace it; one who is new begins without roles."""

        def write(connection: sqlite3.Connection) -> None:
            if not connection.execute(
                "UPDATE users SET password = ? WHERE name = ?", (user.password, user.name)
            ).rowcount:
                connection.execute("INSERT INTO users VALUES (?, ?)", (user.name, user.password))
                forget_user(connection, user.name)

        await self._database.change(write)

    @returns_deferred
    async def replace_password(self, name: str, old: str, new: str) -> bool:
        """Set the password only if it is still C{old}. @return: whether it was."""
        return await self._write("UPDATE users SET password = ? WHERE name = ? AND password = ?", new, name, old)

    @returns_deferred
    async def remove_user(self, name: str) -> bool:
        """
        Remove a user, what it was granted, its tokens, its roles and its place in groups. @return: whether there was
        one.
        """

        def remove(connection: sqlite3.Connection) -> bool:
            forget_user(connection, name)
            return connection.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount > 0

        return await self._database.change(remove)

    @returns_deferred
    async def grants(self, user: str) -> tuple[str, ...]:
        """The patterns that a user was granted, sorted."""

        def read(connection: sqlite3.Connection) -> tuple[str, ...]:
            rows = connection.execute("SELECT pattern FROM grants WHERE user = ? ORDER BY pattern", (user,))
            return tuple(row[0] for row in rows)

        return await self._database.read(read)

    @returns_deferred
    async def put_grant(self, user: str, pattern: str) -> None:
        """Grant a user a pattern. [NotFound]"""

        def write(connection: sqlite3.Connection) -> None:
            if connection.execute("SELECT 1 FROM users WHERE name = ?", (user,)).fetchone() is None:
                raise NotFound(f"There is no user {user}.")
            connection.execute("INSERT INTO grants VALUES (?, ?) ON CONFLICT DO NOTHING", (user, pattern))

        await self._database.change(write)

    @returns_deferred
    async def remove_grant(self, user: str, pattern: str) -> bool:
        """Take a grant back. @return: whether there was one."""
        return await self._write("DELETE FROM grants WHERE user = ? AND pattern = ?", user, pattern)

    async def _write(self, statement: str, *values: str) -> bool:
        def write(connection: sqlite3.Connection) -> bool:
            return connection.execute(statement, values).rowcount > 0

        return await self._database.change(write)
