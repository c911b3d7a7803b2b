"""What this machine carries for others: the SQL of the tables of bundles (``schema.BUNDLES``).

After a recovery of the store it carries every history it has: what the store lost comes back from
whoever holds it (promise P12), also where the machine it came from is gone.
"""

from __future__ import annotations

import json
from sqlite3 import Connection
from typing import Any

from cxlocal.values import NamedTuple

ASKED_MAX = 20
"""Questions of ours that wait for an answer; of more, the oldest are forgotten. Their numbers are
skipped when the log of grants arrives."""


class Chain(NamedTuple):
    """One history of one node that came in a bundle."""

    node: str
    branch: int
    acked: int
    """How far the store has it."""
    head: int
    refused: str
    """Why the store does not take it."""
    given: bool = True
    """It came in a bundle. Else we have it from the store, which may have lost it since."""


class Question(NamedTuple):
    """What a machine asks of the store, in a bundle."""

    id: str
    node: str
    request: dict[str, Any]


# What is carried is looked for among the nodes, never the other way round: there are many of them.
# First and second histories apart: each has an index that leads to its ends.
_CHAINS = """
SELECT r.node, r.branch,
  coalesce((SELECT sequence FROM ack a WHERE a.node = r.node AND a.branch = r.branch),
    iif(r.branch = 0,
      (SELECT min(e.sequence) FROM event e WHERE e.node = l.id AND e.branch = 0),
      (SELECT min(e.sequence) FROM event e INDEXED BY event_beside WHERE e.node = l.id
        AND e.branch = r.branch AND e.branch <> 0)) - 1) AS acked,
  iif(r.branch = 0,
    (SELECT max(e.sequence) FROM event e WHERE e.node = l.id AND e.branch = 0),
    (SELECT max(e.sequence) FROM event e INDEXED BY event_beside WHERE e.node = l.id
      AND e.branch = r.branch AND e.branch <> 0)) AS head,
  r.refused, r.arrived_at <> ''
FROM relayed r CROSS JOIN node_lookup l ON l.name = r.node
WHERE r.lineage IN ('', :lineage) OR :lineage = ''
ORDER BY l.id, r.branch
"""


def chains(connection: Connection, lineage: str) -> list[Chain]:
    """Every chain that came in a bundle and belongs to this store (or to none yet)."""
    rows = connection.execute(_CHAINS, {"lineage": lineage}).fetchall()
    return [Chain(row[0], row[1], row[2], row[3], row[4], bool(row[5])) for row in rows]


def waiting(connection: Connection, lineage: str) -> list[Chain]:
    """Those of which the store lacks something, as far as we know."""
    return [chain for chain in chains(connection, lineage) if chain.head > chain.acked]


def note_relayed(connection: Connection, node: str, branch: int, lineage: str, at: str) -> None:
    """Bring this chain to the store from now on; ``at`` is UTC text."""
    connection.execute(
        "INSERT INTO relayed VALUES (?, ?, ?, ?, '') ON CONFLICT DO UPDATE SET"
        " lineage = CASE excluded.lineage WHEN '' THEN lineage ELSE excluded.lineage END,"
        " arrived_at = excluded.arrived_at, refused = ''",
        (node, branch, lineage, at),
    )


def offer_all(connection: Connection, lineage: str) -> None:
    """Offer the store every history that is not sent anyway."""
    connection.execute(
        "INSERT INTO relayed SELECT l.name, e.branch, ?, '', ''"
        " FROM (SELECT DISTINCT node, branch FROM event) e JOIN node_lookup l ON l.id = e.node"
        " WHERE NOT (e.branch = 0 AND l.name IN (SELECT node FROM contact))"
        " ON CONFLICT DO UPDATE SET refused = ''",
        (lineage,),
    )


def before_gap(connection: Connection, chain: Chain) -> int:
    """The sequence up to which the chain can be brought: its head, or the event before the first gap
    after what the store has. A gap may be filled by now, where it was only damage here."""
    row = connection.execute(
        "SELECT e.sequence FROM event e JOIN node_lookup l ON l.id = e.node"
        " WHERE l.name = ? AND e.branch = ? AND e.sequence > ? AND NOT EXISTS (SELECT 1 FROM event f"
        " WHERE f.node = e.node AND f.branch = e.branch AND f.sequence = e.sequence + 1)"
        " ORDER BY e.sequence LIMIT 1",
        (chain.node, chain.branch, chain.acked),
    ).fetchone()
    first = connection.execute(
        "SELECT min(e.sequence) FROM event e JOIN node_lookup l ON l.id = e.node"
        " WHERE l.name = ? AND e.branch = ? AND e.sequence > ?",
        (chain.node, chain.branch, chain.acked),
    ).fetchone()[0]
    return int(row[0]) if row and first == chain.acked + 1 else chain.acked


def forget_offered(connection: Connection, lineage: str) -> None:
    """Histories that nobody gave us to carry, and that the store has now as far as we do without a
    gap, or does not want from us."""
    done = [
        (chain.node, chain.branch)
        for chain in chains(connection, lineage)
        if not chain.given and (chain.refused or before_gap(connection, chain) <= chain.acked)
    ]
    connection.executemany("DELETE FROM relayed WHERE node = ? AND branch = ?", done)


def note_refused(connection: Connection, chain: Chain, why: str) -> None:
    """The store does not take this chain; empty when it may be tried again."""
    connection.execute(
        "UPDATE relayed SET refused = ? WHERE node = ? AND branch = ?",
        (why, chain.node, chain.branch),
    )


def keep_question(connection: Connection, question: Question, at: str) -> None:
    """Keep what a machine asks; it replaces what the same machine asked before."""
    connection.execute(
        "INSERT OR REPLACE INTO carried VALUES (?, ?, ?, ?)",
        (question.node, question.id, json.dumps(question.request), at),
    )


def questions(connection: Connection) -> list[Question]:
    """What other machines ask."""
    rows = connection.execute("SELECT ask, node, request FROM carried ORDER BY node").fetchall()
    return [Question(row[0], row[1], json.loads(row[2])) for row in rows]


def note_asked(connection: Connection, question: Question, hint: str, at: str) -> None:
    """Remember a question of our own."""
    connection.execute(
        "INSERT INTO asked VALUES (?, ?, ?, ?)",
        (question.id, json.dumps(question.request), hint, at),
    )
    connection.execute(
        "DELETE FROM asked WHERE ask NOT IN"
        " (SELECT ask FROM asked ORDER BY asked_at DESC, ask LIMIT ?)",
        (ASKED_MAX,),
    )


def asked(connection: Connection, identity: str) -> tuple[dict[str, Any], str] | None:
    """(request, hint) of a question of our own that still waits."""
    row = connection.execute(
        "SELECT request, hint FROM asked WHERE ask = ?", (identity,)
    ).fetchone()
    return (json.loads(row[0]), row[1]) if row else None


def forget_asked(connection: Connection, identity: str) -> None:
    """The question was answered."""
    connection.execute("DELETE FROM asked WHERE ask = ?", (identity,))
