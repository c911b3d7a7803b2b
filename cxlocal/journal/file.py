"""One journal file: opening, writing transactions, reading.

The rules of docs/decisions/0001 live here and nowhere else: rollback journal in TRUNCATE mode with
``synchronous=FULL`` (the default mode loses the last acknowledged commit at a power cut),
``BEGIN IMMEDIATE`` for every write, a COMMIT that meets a reader is repeated on the same connection
and never given up silently, and nothing is acknowledged before it is durable.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cxlocal.clock import Clock, Ids
from cxlocal.errors import CxError, JournalDamaged, Trouble
from cxlocal.events.document import Draft, Event
from cxlocal.journal.home import WAY_OUT
from cxlocal.journal.migrate import is_current, migrate
from cxlocal.journal.schema import APPLICATION_ID, FORMAT
from cxlocal.private import make_file, make_home
from cxlocal.text import clean_text

if TYPE_CHECKING:
    from cxlocal.journal.append import Heads

BUSY_MS = 5_000
"""How long a writer waits for another writer before it is told who is in the way."""
COMMIT_PATIENCE_SECONDS = 60.0
"""How long a COMMIT waits for a reader that still holds a cursor open."""
COMMIT_PAUSE_SECONDS = 0.02

Parameters = Sequence[Any] | Mapping[str, Any]


class Journal:
    """An open journal. Not for use by several threads; any number of processes may open one."""

    def __init__(self, path: Path, connection: sqlite3.Connection, clock: Clock, ids: Ids) -> None:
        self.path = path
        self.home = path.parent
        """The home folder: logs, artifacts and checkouts lie there, of all its journals."""
        self.connection = connection
        self.clock = clock
        self.ids = ids
        self._inode = os.stat(path).st_ino
        self.lookups: dict[tuple[str, str], int] = {}
        self.heads: Heads | None = None
        """What appending remembers between transactions (``append.Heads``)."""
        self.passing = os.environ.get("CXLOCAL_NODE") == "passing"
        """Whether this machine goes away with its journal; the first event says it. A command that
        recognises such a machine otherwise (a CI job with an empty home) sets it."""
        self.witness: Path | None = None
        """The folder where ``witness`` keeps what this journal was last seen to hold; None: nowhere."""
        self.listeners: list[Any] = []
        """Called with each list of events after they are durable (hook event_recorded)."""

    @classmethod
    def open(
        cls, path: Path, *, clock: Clock, ids: Ids, create: bool = True,
        witness: Path | None = None, home: Path | None = None,
    ) -> Journal:  # fmt: skip
        """Open the journal at ``path``; make it where it is absent and ``create`` is true. ``witness``
        is the folder where it is kept what the journal was last seen to hold; ``home`` its home
        folder, if it is not the folder it stands in.

        Raises Trouble when it cannot be opened or written, JournalDamaged when the file is not a
        journal or cannot be read.
        """
        fresh = not path.exists()
        if fresh and not create:
            raise Trouble(
                "there is no journal yet",
                why=f"{path} does not exist",
                hint="the first 'cxlocal run' makes it",
                name="no-journal",
            )
        try:
            make_home(path.parent)
            make_file(path)
            connection = _connect(path)
            make_durable(connection)
            _initialise(connection, path)
        except sqlite3.Error as problem:
            raise explain_sqlite_error(problem, path) from problem
        except OSError as problem:
            raise Trouble(
                "the folder of the journal cannot be written"
                if path.parent.is_dir()
                else "the journal's folder cannot be made",
                why=f"{problem.strerror}: {path.parent}",
                hint=WAY_OUT,
                name="no-home",
            ) from problem
        journal = cls(path, connection, clock, ids)
        journal.witness = witness
        journal.home = home or journal.home
        return journal

    @property
    def node(self) -> str:
        """The id of our own chain; empty before the first write."""
        return self.value("node") or ""

    def value(self, name: str) -> str | None:
        """A fact about this file."""
        row = self.connection.execute(
            "SELECT value FROM local_value WHERE name = ?", (name,)
        ).fetchone()
        return row[0] if row else None

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """One writing transaction. Leaving it means durable; an exception means nothing happened.

        Raises Trouble (busy, disk full, input/output error) and JournalDamaged.
        """
        self._begin()
        transaction = Transaction(self)
        try:
            yield transaction
        except BaseException as problem:
            self._roll_back()
            if isinstance(problem, sqlite3.Error):
                raise explain_sqlite_error(problem, self.path) from problem
            raise
        self._commit()
        for action in transaction.afterwards:
            action()
        if transaction.events and self.listeners:
            for listener in self.listeners:
                listener(transaction.events)

    def append(self, *drafts: Draft) -> list[Event]:
        """Record drafts in one transaction; returns when they are durable."""
        with self.write() as transaction:
            for draft in drafts:
                transaction.append(draft)
        return transaction.events

    def query(self, sql: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """All rows of one statement. The cursor is closed at once: an open one blocks writers."""
        try:
            cursor = self._ask(sql, parameters)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except sqlite3.Error as problem:
            raise explain_sqlite_error(problem, self.path) from problem

    def _ask(self, sql: str, parameters: Parameters) -> sqlite3.Cursor:
        try:
            return self.connection.execute(sql, parameters)
        except UnicodeEncodeError:
            # Words of a command line that are not UTF-8 are looked for as they are stored.
            if isinstance(parameters, Mapping):
                cleaned: Parameters = {name: _clean(value) for name, value in parameters.items()}
            else:
                cleaned = [_clean(value) for value in parameters]
            return self.connection.execute(sql, cleaned)

    def one(self, sql: str, parameters: Parameters = ()) -> dict[str, Any] | None:
        """The first row, or None."""
        rows = self.query(sql, parameters)
        return rows[0] if rows else None

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def abandon(self) -> None:
        """Undo what a signal cut off between BEGIN and the work it was for."""
        if self.connection.in_transaction:
            self._roll_back()

    def _begin(self) -> None:
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as problem:
            raise explain_sqlite_error(problem, self.path) from problem
        try:
            moved = os.stat(self.path).st_ino != self._inode
        except OSError:
            moved = True
        if moved:
            self._roll_back()
            raise Trouble(
                "the journal was removed or replaced while it was open",
                why=f"{self.path} is no longer the file this command opened; nothing was written",
                hint="run the command again",
                name="journal-replaced",
            )

    def _commit(self) -> None:
        """COMMIT; a reader in the way makes it fail with the transaction intact: ask again."""
        deadline = self.clock.monotonic() + COMMIT_PATIENCE_SECONDS
        while True:
            try:
                self.connection.execute("COMMIT")
                return
            except sqlite3.OperationalError as problem:
                code = problem.sqlite_errorcode & 0xFF
                if code != sqlite3.SQLITE_BUSY or self.clock.monotonic() > deadline:
                    self._roll_back()
                    if code == sqlite3.SQLITE_IOERR:
                        self._open_anew()
                    raise explain_sqlite_error(problem, self.path) from problem
            time.sleep(COMMIT_PAUSE_SECONDS)

    def _open_anew(self) -> None:
        """After an error of the disk at COMMIT nobody knows what the file holds; what this
        connection has in memory must not decide it."""
        self.connection.close()
        try:
            self.connection = _connect(self.path)
            make_durable(self.connection)
        except sqlite3.Error:
            self.connection.close()  # whoever asks again is told that it cannot be read

    def _roll_back(self) -> None:
        self.lookups.clear()
        self.heads = None
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except sqlite3.Error:
                # The outcome of a failed commit is unknown: this connection is not used again.
                self.connection.close()


def _clean(value: object) -> object:
    return clean_text(value) if isinstance(value, str) else value


class Transaction:
    """What may be done between BEGIN and COMMIT."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.connection = journal.connection
        self.events: list[Event] = []
        self.afterwards: list[Callable[[], None]] = []
        """Called once everything is durable, before anybody is told."""

    def append(self, draft: Draft) -> Event:
        """Chain, store and project one event."""
        from cxlocal.journal.append import append_draft

        event = append_draft(self.journal, draft)
        self.events.append(event)
        return event

    def set_value(self, name: str, value: str) -> None:
        """Remember a fact about this file."""
        # The node and the clock are among them, and appending keeps both in memory.
        self.journal.heads = None
        self.connection.execute(
            "INSERT INTO local_value (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=BUSY_MS / 1000, isolation_level=None, cached_statements=256
    )


def make_durable(connection: sqlite3.Connection) -> None:
    """What a commit means in every file of ours: it is on the disk. Functions in its schema are not believed."""
    connection.execute("PRAGMA journal_mode=TRUNCATE").fetchall()
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA trusted_schema=OFF")
    if sys.platform == "darwin":
        # fsync alone does not reach the platter on macOS.
        connection.execute("PRAGMA fullfsync=ON")


def _initialise(connection: sqlite3.Connection, path: Path) -> None:
    application, version, count = connection.execute(
        "SELECT (SELECT application_id FROM pragma_application_id),"
        " (SELECT user_version FROM pragma_user_version),"
        " (SELECT count(*) FROM sqlite_master)"
    ).fetchone()
    if application == APPLICATION_ID and version >= FORMAT and is_current(connection):
        return
    if count and application != APPLICATION_ID:
        raise JournalDamaged(
            f"{path} is not a cxlocal journal",
            why="it is a database of another program",
            hint="set CXLOCAL_HOME to another folder, or move that file away",
            name="not-a-journal",
        )
    migrate(connection, path)


_FAULTS = frozenset(
    (
        sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_IOERR,
    )
)  # fmt: skip


def is_fault_of_the_file(problem: sqlite3.Error) -> bool:
    """Whether disk, lock or file are to blame, and not a statement of ours."""
    return _code(problem) in _FAULTS or _is_closed(problem)


def _code(problem: sqlite3.Error) -> int:
    return getattr(problem, "sqlite_errorcode", 0) & 0xFF


def _is_closed(problem: sqlite3.Error) -> bool:
    """A connection whose commit ended in an input/output error has been given up."""
    return isinstance(problem, sqlite3.ProgrammingError) and "closed database" in str(problem)


def _of_the_folder(path: Path) -> str:
    # SQLite only says that it could not; whether the folder is to blame, the system knows.
    if path.parent.is_dir() and not os.access(path.parent, os.W_OK | os.X_OK):
        return f"; the folder {path.parent} is read-only for this user"
    return ""


def explain_sqlite_error(problem: sqlite3.Error, path: Path) -> CxError:
    """An SQLite error in words a person can act on."""
    code = _code(problem)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        from cxlocal.journal.holders import describe_holders

        return Trouble(
            "the journal is busy",
            why=f"another process holds {path}: {describe_holders(path)}; nothing was written",
            hint="wait for it or end it, then run the command again",
            name="journal-busy",
        )
    if code == sqlite3.SQLITE_FULL:
        return Trouble(
            "the disk is full",
            why=f"{path} could not grow; nothing was written",
            hint="free some space, for example with 'cxlocal prune', and run the command again",
            name="disk-full",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return Trouble(
            "the journal cannot be written",
            why=f"{path}: {problem}{_of_the_folder(path)}",
            hint=WAY_OUT,
            name="journal-read-only",
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return JournalDamaged(
            "the journal is damaged",
            why=f"{path}: {problem}",
            hint="'cxlocal journal recover' goes on with what can be read and keeps the damaged file",
        )
    if code == sqlite3.SQLITE_IOERR or _is_closed(problem):
        return Trouble(
            "the disk reported an error",
            why=f"{path}: {problem}; whether the last write arrived is unknown",
            hint="run the command again: it reads the journal afresh and uses no number twice",
            name="disk-error",
        )
    return Trouble(
        "the journal refused a statement",
        why=f"{path}: {problem}",
        hint="'cxlocal verify' says whether the journal is whole; run the command again with"
        " --debug and report the trace",
        name="journal-error",
    )
