"""The statements that write, as SQLite was given them: what a journal costs without any work of its own.

A floor of *raw, and as many rows* must not be guessed. A twin of the journal does beforehand what is measured; what
it writes is kept, step by step, and carried out in a copy of its file, with its tables, indexes and triggers, one
transaction a step.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.journal.file import Journal

_WRITES = re.compile(r"\s*(WITH\b.*\b)?(INSERT|UPDATE|DELETE|REPLACE)\b", re.DOTALL)


class _Noting(sqlite3.Connection):
    said: list[tuple[Any, ...]] | None = None

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if self.said is not None and _WRITES.match(sql):
            self.said.append((sql, *parameters))
        return super().execute(sql, *parameters)

    # Ours alone call it, with lists.
    def executemany(self, sql: str, rows: Iterable[Any]) -> sqlite3.Cursor:  # type: ignore[override]
        cursor = super().cursor()
        for row in rows:
            cursor = self.execute(sql, row)
        return cursor


def open_twin(folder: Path) -> Journal:
    """A journal whose statements can be noted."""
    plain = sqlite3.connect
    # The journal opens its connection itself, and each of them for this one time is one that notes.
    sqlite3.connect = lambda *all, **named: plain(*all, **{**named, "factory": _Noting})  # type: ignore[assignment]
    try:
        return Journal.open(folder / "journal.db", clock=SystemClock(), ids=SystemIds())
    finally:
        sqlite3.connect = plain


class Written:
    """What a twin (of ``open_twin``) writes from now on, and a copy of its file to write it into."""

    def __init__(self, twin: Journal) -> None:
        assert isinstance(twin.connection, _Noting)
        self._twin = twin.connection
        path = twin.path.with_name("copy.db")
        shutil.copyfile(twin.path, path)
        self.connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        self.connection.execute("PRAGMA journal_mode=TRUNCATE")
        self.connection.execute("PRAGMA synchronous=FULL")
        self._steps: list[list[tuple[Any, ...]]] = []

    def note(self, act: Callable[[], object]) -> None:
        """Let the twin do something: the next step."""
        said: list[tuple[Any, ...]] = []
        self._twin.said = said
        act()
        self._twin.said = None
        self._steps.append(said)

    def carry_out(self) -> None:
        """The next step, in one transaction."""
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        for statement in self._steps.pop(0):
            execute(*statement).fetchall()
        execute("COMMIT")
