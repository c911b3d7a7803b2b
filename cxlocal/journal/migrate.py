"""Creating and widening the journal's tables, in numbered steps that are never edited.

The event table never changes: every release can append to every journal. What a later release adds
(local tables, columns of them) it adds as a new step at the end of this file; an older release
ignores what it does not know.

Steps run under a lock file, because sqlite-utils begins deferred transactions and several
processes migrating one file together would fail each other (reference: sqlite-utils 4), and inside
one ``BEGIN IMMEDIATE``, within which its transactions become savepoints: a journal is widened whole
or not at all. Foreign sqlite-utils plugins are kept out (``execute_plugins=False``).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.errors import Trouble
from cxlocal.journal.schema import APPLICATION_ID, EVENT_SQL, FORMAT
from cxlocal.private import FILE
from cxlocal.projection.tables import PROJECTION_VERSION, create_sql

if TYPE_CHECKING:
    from sqlite_utils import Database, Migrations

SET_NAME = "cxlocal"
NEWEST_STEP = 5
"""How many steps there are; a journal with as many needs no look at this file's imports."""
LOCK_SECONDS = 30
"""Making the tables takes milliseconds; whoever holds the lock longer is stuck."""


def steps() -> Migrations:
    """Every step, in order."""
    from sqlite_utils import Migrations

    from cxlocal.projection.views import create_views_sql

    migrations = Migrations(SET_NAME)

    @migrations()
    def m001_first_tables(db: Database) -> None:
        from cxlocal.journal.local_tables import ALL

        for text in (EVENT_SQL, ALL, create_sql(), create_views_sql()):
            run_script(db.conn, text)
        db.conn.execute(
            "INSERT OR IGNORE INTO projection_state (id, version) VALUES (1, ?)",
            (PROJECTION_VERSION,),
        )
        # Pragmas take no parameters; both values are our own constants.
        db.conn.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.conn.execute(f"PRAGMA user_version={FORMAT}")

    @migrations()
    def m002_bundles(db: Database) -> None:
        from cxlocal.journal.local_tables import BUNDLES

        run_script(db.conn, BUNDLES)

    @migrations()
    def m003_second_histories(db: Database) -> None:
        db.conn.execute(
            "CREATE INDEX IF NOT EXISTS event_beside ON event(node, branch, sequence)"
            " WHERE branch <> 0"
        )

    @migrations()
    def m004_turns(db: Database) -> None:
        from cxlocal.journal.local_tables import TURNS

        run_script(db.conn, TURNS)

    @migrations()
    def m005_sinks(db: Database) -> None:
        from cxlocal.journal.local_tables import SINKS

        run_script(db.conn, SINKS)

    return migrations


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether every step this release knows was taken. Two small reads, no import."""
    try:
        row = connection.execute(
            "SELECT count(*) FROM _sqlite_migrations WHERE migration_set = ?", (SET_NAME,)
        ).fetchone()
    except sqlite3.OperationalError as problem:
        if "no such table" in str(problem):
            return False
        raise
    return int(row[0]) >= NEWEST_STEP


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Take the steps that are missing. Raises Trouble when another process never lets us."""
    from filelock import FileLock, Timeout
    from sqlite_utils import Database

    lock = FileLock(f"{path}.lock", timeout=LOCK_SECONDS, mode=FILE, fallback_to_soft=False)
    try:
        with lock:
            connection.execute("BEGIN IMMEDIATE")
            try:
                steps().apply(Database(connection, execute_plugins=False))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
    except Timeout as problem:
        from cxlocal.journal.holders import describe_holders

        raise Trouble(
            "the journal's tables cannot be made",
            why=f"{describe_holders(Path(f'{path}.lock'))} has held {path}.lock for more than"
            f" {LOCK_SECONDS} seconds",
            hint="wait for it or end it, then run the command again",
            name="journal-locked",
        ) from problem


def run_script(connection: sqlite3.Connection, text: str) -> None:
    """Execute a script statement by statement: ``executescript`` would commit on its own."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    if statement.strip():
        connection.execute(statement)
