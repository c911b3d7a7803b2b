"""The errors of PostgreSQL: which pass when asked again, and what to say about the others.

Nothing of the address is repeated, and what the server says does not hold it.
"""

from __future__ import annotations

import os

import psycopg

from cxlocal_sync.postgresql.session import Late, Unconfirmed
from cxlocal_sync.surroundings import blamed

_OVERTAKEN = {"40001", "40P01", "23505", "55P03"}
"""Serialisation failure, deadlock, a row that another transaction was quicker to insert, a lock."""

_PASSING = {"57P01", "57P02", "57P03", "53300", "25006", "25P03", "57P05"}
"""Shut down, crashed, starting, too many connections, a standby that may be promoted soon, sessions
that were ended for being idle."""

_UNKEEPABLE = {"54000", "22021", "22P05", "22003", "22001"}
"""Too long for an index, text or numbers PostgreSQL cannot hold."""

_WORDS = {
    "28P01": "it does not accept the password",
    "28000": "it does not let this user in",
    "3D000": "there is no such database",
    "42501": "the role may not do that",
    "42P01": "its tables are gone",
    "3F000": "its tables are gone",
    "53100": "the disk is full",
    "57014": "it did not answer in time",
    "25006": "it is a standby, which takes no writes",
    "57P03": "it does not take connections now",
    "53300": "it has too many connections",
}


_SOON = ("session is read-only", "the database system is", "too many clients", "hot standby")
"""The same while connecting, where libpq passes on words only."""


def is_overtaken(error: psycopg.Error) -> bool:
    """Whether the same transaction, begun anew, may well succeed."""
    return error.sqlstate in _OVERTAKEN


def is_passing(error: psycopg.Error) -> bool:
    """Whether a new connection may soon be answered."""
    if isinstance(error, Late):
        return False
    state = error.sqlstate or ""
    if not state and any(words in str(error) for words in _SOON):
        return True
    return state in _PASSING or state.startswith("08") or isinstance(error, Unconfirmed)


def telling(error: Exception) -> tuple[bool, bool]:
    """How much is learned from an error of one server among several: the greatest is reported."""
    passing = isinstance(error, psycopg.Error) and is_passing(error)
    return passing, "FATAL" in str(error) or bool(getattr(error, "sqlstate", None))


def is_unkeepable(error: psycopg.Error) -> bool:
    """Whether the message itself holds what the store cannot keep."""
    return error.sqlstate in _UNKEEPABLE or isinstance(error, psycopg.DataError)


def explain(error: psycopg.Error) -> str:
    """An error in words an operator can act on."""
    said = error.diag.message_primary or next(iter(str(error).strip().splitlines()), "")
    words = _WORDS.get(error.sqlstate or "")
    if said.startswith("connection is bad") and "connection to server" not in said:
        # Nothing was tried: what libpq was told cannot be used.
        about = blamed(said, os.environ, ("PG*",))
        return f"{said} ({about})" if about else said
    if isinstance(error, psycopg.errors.ConnectionTimeout) or "timeout expired" in said:
        # The driver's own limit, which is as long as ours: either may come first.
        words = _WORDS["57014"]
    return f"{words} ({said})" if words and said else words or said or type(error).__name__
