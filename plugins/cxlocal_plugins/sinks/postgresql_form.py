"""What the sink ``postgresql`` says to the database; apart, as it alone needs the library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Any

import psycopg

from cxlocal.hooks.sink import Later
from cxlocal_plugins.sinks.web import Refusal

_KEEP = """
INSERT INTO line (id, at, stage, message) VALUES (%s, %s, %s, %s) ON CONFLICT (id) DO NOTHING
"""
_FIND = "SELECT id, message FROM line WHERE id ^@ %s"
_ABOUT_ROWS = (psycopg.DataError, psycopg.IntegrityError)
"""Said of what was sent, not of the database."""


def keep(to: str, token: str, seconds: float, rows: Sequence[tuple[str, ...]]) -> None:
    """All rows in one transaction. Raises Later, Refusal."""
    with _connected(to, token, seconds) as connection, connection.cursor() as cursor:
        try:
            cursor.executemany(_KEEP, rows)
        except _ABOUT_ROWS as problem:
            raise Refusal(_words(problem)) from problem


def find(to: str, token: str, seconds: float, beginning: str) -> Iterator[tuple[str, str]]:
    """Ids that begin so, and their messages. Raises Later."""
    with _connected(to, token, seconds) as connection, connection.cursor(name="log") as cursor:
        cursor.execute(_FIND, (beginning,))
        for name, text in cursor:
            yield str(name), str(text)


@contextmanager
def _connected(
    to: str, token: str, seconds: float
) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A transaction. Raises Later."""
    given: dict[str, Any] = {"password": token} if token else {}
    try:
        with psycopg.connect(
            to, connect_timeout=max(2, ceil(seconds)), application_name="cxlocal",
            options=f"-c statement_timeout={ceil(seconds * 1000)}", **given,
        ) as connection:  # fmt: skip
            yield connection
    except psycopg.Error as problem:
        raise Later(_words(problem)) from problem


def _words(problem: psycopg.Error) -> str:
    said = problem.diag.message_primary or str(problem).strip().partition("\n")[0]
    return said or type(problem).__name__
