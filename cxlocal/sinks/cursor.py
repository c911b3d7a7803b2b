"""How far each sink is: one row for each sink and chain of events, in the journal and nowhere else."""

from __future__ import annotations

import json
import sqlite3
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from cxlocal.events.hybrid import wall_ms
from cxlocal.events.types import NODE_HANDED, RUN_REPEATED, TASK_FINISHED
from cxlocal.exchange.breaker import SINK
from cxlocal.sinks.lines import Spot
from cxlocal.text import parse_utc
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal
    from cxlocal.sinks.chosen import Target


class Position(NamedTuple):
    """A place in a chain of events between two records."""

    sequence: int
    """The last event that is taken whole."""
    spot: Spot = Spot()
    """How far into the log of the next one; of what has no log, how many records (as lines)."""


class Cursor(NamedTuple):
    """What is known of one sink and one chain."""

    position: Position
    counted: int = 0
    """The last event that is in ``totals``, which no event enters with more than one count."""
    totals: dict[str, float] = {}  # noqa: RUF012  (a NamedTuple's default; never changed)
    sent: int = 0
    refused: int = 0
    why: str = ""
    at: str = ""


_FIELDS = "sequence, line, piece, offset, counted, totals, sent, refused, why, at"
_LOAD = f"SELECT {_FIELDS} FROM sink_cursor WHERE sink = ? AND deliverable = ? AND node = ?"
_SAVE = f"INSERT OR REPLACE INTO sink_cursor (sink, deliverable, node, {_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def load_cursor(journal: Journal, target: Target, node: str, since_ms: int) -> Cursor:
    """How far ``target`` is with a chain. One that is new begins with what was recorded since
    ``since_ms``."""
    keys = (target.key, target.deliverable, node)
    row = journal.connection.execute(_LOAD, keys).fetchone()
    if row is None:
        handed = _handed(journal, target, node) if target.all_nodes else None
        return Cursor(handed or Position(_before(journal.connection, node, since_ms)))
    sequence, line, piece, offset, counted, totals, *rest = row
    place = Position(sequence, Spot(line, piece, offset))
    return Cursor(place, counted, json.loads(totals), *rest)


_HANDED = """
SELECT s.value AS told FROM machine m JOIN node_lookup n ON n.name = m.node
JOIN event e ON e.node = n.id AND e.branch = 0
JOIN json_each(e.document, '$.customData.cxlocal.sinks') s
WHERE m.node = ? AND m.kept = 0 AND e.type = (SELECT id FROM type_lookup WHERE name = ?)
  AND s.value ->> '$.sink' = ? ORDER BY e.sequence DESC LIMIT 1
"""


def handed_key(target: Target) -> str:
    """What stands for a sink in an event: addresses are nobody else's affair."""
    return sha256(target.key.encode()).hexdigest()[:32]


def _handed(journal: Journal, target: Target, node: str) -> Position | None:
    """How far a machine that went away says that it has delivered itself."""
    row = journal.one(_HANDED, (node, NODE_HANDED, handed_key(target)))
    told = json.loads(row["told"]) if row else {}
    places = [told.get(name) for name in ("sequence", "line", "piece", "offset")]
    good = [one for one in places if isinstance(one, int) and one >= 0]
    return Position(good[0], Spot(*good[1:])) if len(good) == len(places) else None


def save_cursor(journal: Journal, target: Target, node: str, cursor: Cursor) -> None:
    """Keep how far it is; durable when this returns. Raises Trouble."""
    place, spot = cursor.position, cursor.position.spot
    with journal.write() as transaction:
        transaction.connection.execute(
            _SAVE,
            (
                target.key, target.deliverable, node, place.sequence, spot.line, spot.piece,
                spot.offset, cursor.counted, json.dumps(cursor.totals, sort_keys=True),
                cursor.sent, cursor.refused, cursor.why, cursor.at,
            ),
        )  # fmt: skip


_AT = """
SELECT sequence, clock FROM event WHERE node = (SELECT id FROM node_lookup WHERE name = ?)
  AND branch = 0 AND sequence >= ? ORDER BY sequence LIMIT 1
"""
_HEAD = """
SELECT max(sequence) FROM event WHERE node = (SELECT id FROM node_lookup WHERE name = ?)
  AND branch = 0
"""


def head_of(connection: sqlite3.Connection, node: str) -> int:
    """The last event of a chain; 0 for none."""
    return int(connection.execute(_HEAD, (node,)).fetchone()[0] or 0)


def _before(connection: sqlite3.Connection, node: str, since_ms: int) -> int:
    """The last event of a chain before a time: by halving, however long the chain is. By the hybrid
    clock, which never goes back: a machine without a battery begins in 1970, and its logs count."""
    low, high = 1, head_of(connection, node) + 1
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(_AT, (node, middle)).fetchone()
        if found is None or wall_ms(found[1]) >= since_ms:
            high = middle
        else:
            low = int(found[0]) + 1
    return low - 1


def nodes_of(journal: Journal, target: Target) -> list[str]:
    """The chains whose records this machine delivers to ``target``."""
    if target.all_nodes:
        rows = journal.connection.execute("SELECT name FROM node_lookup ORDER BY id").fetchall()
        return [row[0] for row in rows]
    return chains_of_this_machine(journal)


def chains_of_this_machine(journal: Journal) -> list[str]:
    """Its present chain and those that it went on from."""
    rows = journal.connection.execute("SELECT node FROM contact ORDER BY node").fetchall()
    return list(dict.fromkeys(node for node in (journal.node, *(row[0] for row in rows)) if node))


def replay(journal: Journal, target: Target, run: str) -> int:
    """Move the cursors back to before a run; how many chains that changed."""
    rows = journal.connection.execute(
        "SELECT n.name, min(e.sequence) FROM event e JOIN run_lookup r ON r.id = e.run"
        " JOIN node_lookup n ON n.id = e.node WHERE r.name = ? AND e.branch = 0 GROUP BY n.name",
        (run,),
    ).fetchall()
    moved = 0
    with journal.write() as transaction:
        for node, first in rows:
            found = transaction.connection.execute(
                "UPDATE sink_cursor SET sequence = ?, line = 0, piece = 0, offset = 0"
                " WHERE sink = ? AND deliverable = ? AND node = ? AND sequence >= ?",
                (first - 1, target.key, target.deliverable, node, first),
            )
            moved += found.rowcount
    return moved


GIVEN = "sink given "
"""Local value of the last event whose log a sink may have been given: a receiver that took all may fail to
say so, and 'cxlocal sinks --replay' moves its cursor back. Behind it: sink, deliverable and chain (JSON)."""


def _given_key(key: str, deliverable: str, node: str) -> str:
    return GIVEN + json.dumps([key, deliverable, node])


def note_given(journal: Journal, target: Target, node: str, sequence: int) -> None:
    """Note, durably, that ``target`` may get what the logs of a chain hold up to an event or, to spare
    a write for each batch, to the last there is. Call before it gets any. Raises Trouble."""
    key = _given_key(target.key, target.deliverable, node)
    if int(journal.value(key) or 0) < sequence:
        head = max(sequence, head_of(journal.connection, node))
        with journal.write() as transaction:
            transaction.set_value(key, str(head))


_TOLD_AT = """
SELECT n.name AS node, e.sequence FROM event e JOIN run_lookup r ON r.id = e.run
JOIN type_lookup t ON t.id = e.type JOIN node_lookup n ON n.id = e.node
WHERE r.name = ? AND e.branch = 0 AND t.name IN (?, ?)
  AND e.document ->> '$.customData.cxlocal.stage' = ?
"""


def delivered(journal: Journal, key: str, deliverable: str, run: str, stage: str) -> bool | None:
    """Whether this machine has given a sink anything that a stage of a run printed; None where it may
    have: its answer did not come, or its cursor was moved back."""
    maybe: bool | None = False
    for row in journal.query(_TOLD_AT, (run, TASK_FINISHED, RUN_REPEATED, stage)):
        for whose in dict.fromkeys(("", deliverable)):
            place = (key, whose, row["node"])
            found = journal.connection.execute(_LOAD, place).fetchone()
            if found and (
                found[0] >= row["sequence"] or (found[0] == row["sequence"] - 1 and found[3])
            ):
                return True
            if int(journal.value(_given_key(*place)) or 0) >= row["sequence"]:
                maybe = None
    return maybe


def is_of_another(journal: Journal, target: Target, run: str, stage: str) -> bool:
    """Whether another machine delivers, or delivered, what a stage of a run printed."""
    ours = nodes_of(journal, target)
    rows = journal.query(_TOLD_AT, (run, TASK_FINISHED, RUN_REPEATED, stage))
    return bool(target.idle) or any(row["node"] not in ours for row in rows)


def keys_of_logs(journal: Journal) -> list[str]:
    """Every sink that this machine ever gave a log, also those that are named no more."""
    rows = journal.connection.execute(
        "SELECT name FROM local_value WHERE name > ? AND name < ? ORDER BY name",
        (GIVEN, GIVEN[:-1] + "!"),
    )
    return list(dict.fromkeys(json.loads(name.removeprefix(GIVEN))[0] for (name,) in rows))


_ROWS = """
SELECT sum(sent) AS sent, sum(refused) AS refused, max(at) AS at, max(why) AS refused_why
FROM sink_cursor WHERE sink = ? AND deliverable = ?
"""
_FAILED = "SELECT why FROM breaker WHERE url = ? AND failed_at_ms > ?"


def remembered(target: Target) -> str:
    """What the breaker calls a sink."""
    return f"{SINK}{target.key}"


def standing(journal: Journal, target: Target) -> dict[str, Any]:
    """How far a sink is: records sent and refused, events that it has not been given yet, when it last
    took something, and what it said when it did not."""
    row = journal.one(_ROWS, (target.key, target.deliverable)) or {}
    behind = 0
    for node in nodes_of(journal, target):
        keys = (target.key, target.deliverable, node)
        found = journal.connection.execute(_LOAD, keys).fetchone()
        behind += head_of(journal.connection, node) - (found[0] if found else 0)
    at = row.get("at") or ""
    since = parse_utc(at) if at else 0
    failed = journal.one(_FAILED, (remembered(target), since)) or {}
    return {
        "sent": row.get("sent") or 0, "refused": row.get("refused") or 0, "at": at,
        "refused_why": row.get("refused_why") or "", "events_behind": behind,
        "why": failed.get("why") or "",
    }  # fmt: skip
