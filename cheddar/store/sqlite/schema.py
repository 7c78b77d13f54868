"""The tables, and how they came to be: migrations, numbered by C{PRAGMA user_version}, each in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from cheddar.errors import SettingsError

#: Marks a database as Cheddar's (C{PRAGMA application_id}): "Chdr" in ASCII.
APPLICATION_ID = 0x43686472


def _tables_of_2_0(connection: sqlite3.Connection) -> None:
    for statement in (
        "CREATE TABLE serial (value INTEGER NOT NULL)",
        "INSERT INTO serial VALUES (0)",
        """CREATE TABLE projects (
            name TEXT PRIMARY KEY, display_name TEXT NOT NULL, serial INTEGER NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE files (
            project TEXT NOT NULL REFERENCES projects (name), filename TEXT NOT NULL, version TEXT NOT NULL,
            record TEXT NOT NULL, PRIMARY KEY (project, filename)
        ) WITHOUT ROWID""",
        # Without a reference to projects: a name that was used stays so when its project is given up.
        """CREATE TABLE used_filenames (
            project TEXT NOT NULL, filename TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (project, filename)
        ) WITHOUT ROWID""",
        """CREATE TABLE history (
            project TEXT NOT NULL, version TEXT NOT NULL, uploaded_at TEXT NOT NULL, serial INTEGER NOT NULL UNIQUE,
            PRIMARY KEY (project, version)
        ) WITHOUT ROWID""",
        """CREATE TABLE pages (
            id INTEGER PRIMARY KEY, index_name TEXT NOT NULL, name TEXT NOT NULL, listed INTEGER NOT NULL,
            checked_at REAL NOT NULL, asked_at REAL NOT NULL, UNIQUE (index_name, name)
        )""",
        "CREATE INDEX pages_by_question ON pages (index_name, asked_at, checked_at, name)",
        # Apart from the times: SQLite writes a whole row anew, and a listing may have megabytes.
        """CREATE TABLE page_records (
            page INTEGER PRIMARY KEY REFERENCES pages (id) ON DELETE CASCADE, record TEXT NOT NULL
        )""",
        "CREATE TABLE users (name TEXT PRIMARY KEY, password TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE leases (
            name TEXT PRIMARY KEY, holder TEXT NOT NULL, ends_at REAL NOT NULL
        ) WITHOUT ROWID""",
        f"PRAGMA application_id = {APPLICATION_ID}",
    ):
        connection.execute(statement)


def _statuses(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE projects ADD COLUMN status TEXT NOT NULL DEFAULT ''")


def _grants(connection: sqlite3.Connection) -> None:
    connection.execute(
        """CREATE TABLE grants (
            user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE, pattern TEXT NOT NULL,
            PRIMARY KEY (user, pattern)
        ) WITHOUT ROWID"""
    )


def _events(connection: sqlite3.Connection) -> None:
    connection.execute(
        """CREATE TABLE events (
            number INTEGER PRIMARY KEY AUTOINCREMENT, operation TEXT UNIQUE, project TEXT NOT NULL, who TEXT NOT NULL,
            record TEXT NOT NULL
        )"""
    )


def _wanted(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE pages ADD COLUMN wanted REAL NOT NULL DEFAULT 0")
    connection.execute("UPDATE pages SET wanted = asked_at")
    connection.execute("DROP INDEX pages_by_question")
    connection.execute("CREATE INDEX pages_by_wish ON pages (index_name, wanted, asked_at, checked_at, name)")


def _tokens(connection: sqlite3.Connection) -> None:
    # A trusted publisher's has no user to go with.
    connection.execute(
        """CREATE TABLE tokens (
            id TEXT PRIMARY KEY, owner TEXT NOT NULL, user TEXT REFERENCES users (name) ON DELETE CASCADE,
            record TEXT NOT NULL, created_at REAL NOT NULL, ends_at REAL NOT NULL, used_at REAL
        ) WITHOUT ROWID"""
    )
    connection.execute("CREATE INDEX tokens_by_user ON tokens (user)")


def _rights(connection: sqlite3.Connection) -> None:
    for statement in (
        # Holders need not be users: some log in by other means.
        """CREATE TABLE rights (
            target TEXT NOT NULL, role TEXT NOT NULL, holder TEXT NOT NULL, PRIMARY KEY (target, role, holder)
        ) WITHOUT ROWID""",
        "CREATE INDEX rights_by_holder ON rights (holder)",
        """CREATE TABLE members (
            team TEXT NOT NULL, user TEXT NOT NULL, PRIMARY KEY (team, user)
        ) WITHOUT ROWID""",
        "CREATE TABLE rights_serial (value INTEGER NOT NULL)",
        "INSERT INTO rights_serial VALUES (0)",
    ):
        connection.execute(statement)


def _changes(connection: sqlite3.Connection) -> None:
    # By triggers: no statement can forget to tell. An upsert is an insertion or an update, never both.
    connection.execute("CREATE TABLE changes (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL)")
    for trigger, event, name in (
        ("project_added", "INSERT ON projects", "NEW.name"),
        ("project_changed", "UPDATE ON projects", "NEW.name"),
        ("project_freed", "DELETE ON projects", "OLD.name"),
        ("page_changed", "INSERT ON page_records", "(SELECT name FROM pages WHERE id = NEW.page)"),
        ("page_checked", "UPDATE OF checked_at ON pages", "NEW.name"),
        ("page_dropped", "DELETE ON pages", "OLD.name"),
        ("rights_changed", "UPDATE ON rights_serial", "''"),
    ):
        connection.execute(
            f"CREATE TRIGGER {trigger} AFTER {event} BEGIN INSERT INTO changes (name) VALUES ({name}); END"
        )
    connection.execute(
        "CREATE TRIGGER changes_kept AFTER INSERT ON changes WHEN NEW.number % 100 = 0 "
        "BEGIN DELETE FROM changes WHERE number <= NEW.number - 1000; END"
    )


#: Only ever added to at its end: its length is the newest schema's number.
MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _tables_of_2_0,
    _statuses,
    _grants,
    _events,
    _wanted,
    _tokens,
    _rights,
    _changes,
)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """
    Bring a database up to this schema; the caller holds a write transaction.

    @raise SettingsError: it is not Cheddar's, or a newer Cheddar wrote it.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise SettingsError(
            f"{path} was written by a newer Cheddar (schema {version}, this one knows {len(MIGRATIONS)}): install "
            "that Cheddar again; or move the file away, restore a backup made with this one, or start without it "
            "and run `cheddar rebuild`."
        )
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if (version or tables) and application != APPLICATION_ID:
        raise SettingsError(f"{path} is another program's database: set DATA_DIR to a folder of Cheddar's own.")
    for number in range(version, len(MIGRATIONS)):
        MIGRATIONS[number](connection)
        connection.execute(f"PRAGMA user_version = {number + 1}")
