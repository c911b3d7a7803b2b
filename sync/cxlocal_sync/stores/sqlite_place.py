"""A store in a SQLite file, as a place that a store moves from or to."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxlocal.journal.whereabouts import file_hint
from cxlocal.private import make_file, make_folder
from cxlocal.text import is_hexadecimal
from cxlocal_sync.stores.schema import APPLICATION_ID, FORMAT, create_tables
from cxlocal_sync.stores.session import SqliteSession

WAIT_SECONDS = 60.0
"""For requests that are being answered."""


class SqlitePlace:
    """See ``cxlocal_sync.stores.moving.Place``."""

    failures: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, url: str, path: Path) -> None:
        self.url = url
        self.path = path
        self._session: SqliteSession | None = None

    @property
    def session(self) -> SqliteSession:
        """The connection, with the transaction that was begun."""
        if self._session is None:
            self._session = sqlite3.connect(
                self.path, isolation_level=None, timeout=WAIT_SECONDS, factory=SqliteSession
            )
            self._session.execute("PRAGMA journal_mode=TRUNCATE").fetchone()
            self._session.execute("PRAGMA synchronous=FULL")
        return self._session

    def exists(self) -> bool:
        """Whether there is a file with a store in it."""
        if not self.path.exists():
            return False
        asked = "SELECT 1 FROM sqlite_master WHERE name = 'store'"
        return self.session.execute(asked).fetchone() is not None

    def make(self) -> None:
        """The file, and empty tables in it."""
        make_folder(self.path.parent)
        make_file(self.path)
        self.session.execute("BEGIN IMMEDIATE")
        create_tables(self.session)
        # sql: numbers of ours, and PRAGMA takes no parameters
        self.session.execute(f"PRAGMA application_id={APPLICATION_ID}")
        self.session.execute(f"PRAGMA user_version={FORMAT}")
        self.session.execute("COMMIT")

    def begin(self) -> str:
        """Keep everybody else away."""
        self.session.execute("BEGIN IMMEDIATE")
        return file_hint(self.path)

    def append(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert whole rows."""
        marks = ", ".join("?" * len(rows[0]))
        # sql: a name of ours
        self.session.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

    def go_on_after(self) -> None:
        """SQLite takes the highest id there is."""

    def commit(self) -> None:
        """End the transaction well."""
        self.session.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what was not committed."""
        if self.session.in_transaction:
            self.session.execute("ROLLBACK")

    def digests(self) -> list[str]:
        """The blobs beside the file."""
        folder = self.path.with_name(f"{self.path.name}.blobs")
        return [each.name for each in folder.glob("*/*") if is_hexadecimal(each.name, 64)]

    def close(self) -> None:
        """Let go of the file."""
        if self._session is not None:
            self._session.close()
            self._session = None
