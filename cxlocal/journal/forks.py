"""Whether chains have second histories here: what every append asks, so it imports little."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from cxlocal.events import types
from cxlocal.events.document import Event

DUE = "disputes due"
"""Local value: events of a chain with a second history, or a person's word on one, were projected
since the disputes were last looked at."""


def is_due(connection: sqlite3.Connection) -> bool:
    """Whether the disputes are to be looked at again."""
    row = connection.execute("SELECT 1 FROM local_value WHERE name = ?", (DUE,)).fetchone()
    return row is not None


def note_due(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    """Remember that ``events`` were projected, where that may begin or end a dispute."""
    forked = {name for _, name in forked_chains(connection)}
    if any(event.node in forked or event.type == types.NODE_SETTLED for event in events):
        connection.execute("INSERT OR REPLACE INTO local_value VALUES (?, '1')", (DUE,))


def speaks_beside(connection: sqlite3.Connection, event: Event) -> bool:
    """Whether a second history of the event's chain speaks of its run, too, or it settles one."""
    if event.type == types.NODE_SETTLED:
        return True
    row = connection.execute(
        "SELECT 1 FROM event e JOIN run_lookup r ON r.id = e.run JOIN node_lookup n ON n.id = e.node"
        " WHERE r.name = ? AND n.name = ? AND e.branch <> 0 LIMIT 1",
        (event.run, event.node),
    ).fetchone()
    return row is not None


def is_forked(connection: sqlite3.Connection, node_id: int) -> bool:
    """Whether a chain has a second history here."""
    row = connection.execute(
        "SELECT 1 FROM event WHERE node = ? AND branch <> 0 LIMIT 1", (node_id,)
    ).fetchone()
    return row is not None


def forked_chains(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    """Chains with a second history, by local id and name."""
    return connection.execute(
        "SELECT n.id, n.name FROM (SELECT DISTINCT node FROM event WHERE branch <> 0) f"
        " JOIN node_lookup n ON n.id = f.node ORDER BY n.name"
    ).fetchall()
