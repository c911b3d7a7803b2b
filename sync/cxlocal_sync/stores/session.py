"""What the code that answers a message needs of a database: one transaction of either SQL dialect.

SQL is written once, with ``?`` for parameters and in words both dialects know. What differs is
here: how others are kept away meanwhile, and how many rows go in at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from cxlocal.values import NamedTuple, Protocol


class Rows(Protocol):
    """What a statement found."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class Session(Protocol):
    """A connection within the transaction that answers one message."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Rows:
        """Carry out one statement."""

    def append_events(self, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows of ``event``, values in the order of its columns."""

    def hold(self, names: Collection[tuple[str, ...]]) -> None:
        """Until the transaction ends nobody else may touch what ``names`` name: the chain of a
        node, a line, a run. Without any name: nobody else may do anything at all."""

    def hold_feed(self) -> tuple[int, bytes] | None:
        """Until the transaction ends nobody else hands out positions. The head of the feed as it
        is then; None where it cannot have moved since the transaction began."""


class SqliteSession(sqlite3.Connection):
    """``BEGIN IMMEDIATE`` has kept all others away already."""

    def append_events(self, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows of ``event``."""
        self.executemany(f"INSERT INTO event VALUES ({', '.join('?' * 15)})", rows)

    def hold(self, names: Collection[tuple[str, ...]]) -> None:
        """Nothing is left to do."""

    def hold_feed(self) -> None:
        """Nothing is left to do."""


class StorePlace(NamedTuple):
    """What a store makes of where it finds itself."""

    hint: str
    """To be remembered from now on."""
    stop: tuple[str, str] | None = None
    """(cause, why) when no numbers may be handed out here before ``cxlocal store recover``."""
