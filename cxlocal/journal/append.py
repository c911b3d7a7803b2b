"""Appending one event: coordinates, chain, row, projection. Inside the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cxlocal.errors import Refused
from cxlocal.events import types
from cxlocal.events.belonging import mark_id
from cxlocal.events.document import (
    NO_HASH,
    Draft,
    Event,
    build_document,
    encode_document,
    event_hash,
    header_bytes,
)
from cxlocal.events.hybrid import next_value
from cxlocal.journal.forks import is_forked, speaks_beside
from cxlocal.journal.machine import first_event
from cxlocal.journal.schema import AWAY
from cxlocal.projection.apply import apply_facts
from cxlocal.projection.project import project, stamp
from cxlocal.projection.tables import PROJECTION_VERSION

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal

_AWAY = "SELECT substr(name, ?), value FROM local_value WHERE name > ? AND name < ?"
INSERT = (
    "INSERT INTO event (node, sequence, branch, type, deliverable, deliverable_sequence, run, time,"
    " clock, received, previous, previous_in_deliverable, hash, document)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
DATA_VERSION = "PRAGMA data_version"
PROJECTION = "SELECT version, behind_from FROM projection_state"
BEHIND = "UPDATE projection_state SET behind_from = ? WHERE behind_from IS NULL"
HEAD = (
    "SELECT sequence, hash, clock FROM event WHERE node = ? AND branch = 0"
    " ORDER BY sequence DESC LIMIT 1"
)
DELIVERABLE_HEAD = (
    "SELECT deliverable_sequence, hash FROM event"
    " WHERE deliverable = ? AND node = ? AND branch = 0"
    " ORDER BY deliverable_sequence DESC LIMIT 1"
)
RUN_HEAD = "SELECT document ->> '$.context.id' FROM event WHERE run = ? ORDER BY id DESC LIMIT 1"


class Heads:
    """The ends of our own chains, kept between appends of one process.

    They hold until another connection has written anything at all, which SQLite tells by
    ``PRAGMA data_version``. A transaction of ours that fails, or sets a local value, forgets them.
    """

    __slots__ = (
        "away", "clock", "data_version", "deliverables", "forked", "hash", "node", "node_id", "projects", "rows",
        "runs", "sequence",
    )  # fmt: skip

    def __init__(self, journal: Journal, node: str) -> None:
        self.node = node
        self.node_id = look_up(journal, "node", node)
        self.data_version = _data_version(journal)
        head = journal.connection.execute(HEAD, (self.node_id,)).fetchone() or (0, NO_HASH, 0)
        self.sequence, self.hash = int(head[0]), bytes(head[1])
        raised = journal.value("clock")
        # Pulled events may have raised our clock above our own last event.
        self.clock = max(int(head[2]), int(raised)) if raised else int(head[2])
        self.deliverables: dict[str, tuple[int, bytes]] = {}
        self.runs: dict[str, str] = {}
        names = (len(AWAY) + 1, AWAY, AWAY[:-1] + "!")
        self.away = dict(journal.connection.execute(_AWAY, names).fetchall())
        """Deliverables that left for another journal, and the address of its store."""
        self.rows: set[object] = set()
        """Runs whose row is known to be there."""
        state = journal.connection.execute(PROJECTION).fetchone()
        self.forked = is_forked(journal.connection, self.node_id)
        """Whether our chain has a second history."""
        self.projects = state == (PROJECTION_VERSION, None)
        """Whether our events are projected as they are written: nothing waits before them, and
        the tables are of our version."""

    def deliverable(self, journal: Journal, name: str) -> tuple[int, bytes]:
        """Sequence and hash of our last event of a deliverable; (0, zeros) for none."""
        found = self.deliverables.get(name)
        if found is None:
            wanted = (look_up(journal, "deliverable", name), self.node_id)
            found = journal.connection.execute(DELIVERABLE_HEAD, wanted).fetchone() or (0, NO_HASH)
        return found

    def run(self, journal: Journal, run: str) -> str:
        """Context id of the last event of a run; empty for none."""
        found = self.runs.get(run)
        if found is None:
            wanted = (look_up(journal, "run", run),)
            row = journal.connection.execute(RUN_HEAD, wanted).fetchone()
            found = str(row[0]) if row and row[0] is not None else ""
        return found


def append_draft(journal: Journal, draft: Draft) -> Event:
    """Store ``draft`` as the next event of our own chain and project it."""
    heads = _heads(journal)
    if draft.deliverable is not None and draft.deliverable in heads.away:
        raise _left(draft.deliverable, heads.away[draft.deliverable])
    now_ms = journal.clock.now_ms()
    at_ms = draft.at_ms or now_ms
    event_id = draft.id or _fresh_id(journal, draft.deliverable)
    sequence, clock = heads.sequence + 1, next_value(heads.clock, now_ms)
    deliverable_sequence, previous_in_deliverable = None, NO_HASH
    if draft.deliverable is not None:
        last, previous_in_deliverable = heads.deliverable(journal, draft.deliverable)
        deliverable_sequence = last + 1
    document = build_document(
        draft._replace(links=(*draft.links, *_path_links(journal, heads, draft))),
        event_id=event_id,
        source=f"urn:cxlocal:machine:{heads.node}",
        time_ms=at_ms,
    )
    text = encode_document(document)
    header = header_bytes(
        heads.node, sequence, draft.deliverable, deliverable_sequence, draft.type, clock
    )
    event = Event(
        heads.node,
        sequence,
        0,
        draft.type,
        draft.deliverable,
        deliverable_sequence,
        clock,
        heads.hash,
        previous_in_deliverable,
        event_hash(heads.hash, previous_in_deliverable, header, text),
        text,
        draft.run,
        now_ms,
    )
    insert_event(journal, event, at_ms, projected=heads.projects)
    if heads.projects:
        # The bare row of a run is written once, by whichever event says first that there is one.
        facts = [
            fact
            for fact in project(event, document)
            if fact.group or fact.table != "run" or fact.key[0] not in heads.rows
        ]
        apply_facts(journal.connection, facts, stamp(event))
        heads.rows.update(fact.key[0] for fact in facts if fact.table == "run")
        if (heads.forked or event.type == types.NODE_SETTLED) and speaks_beside(
            journal.connection, event
        ):
            from cxlocal.journal.histories import judge

            judge(journal.connection, journal.connection)
    heads.sequence, heads.hash, heads.clock = sequence, event.hash, clock
    if draft.deliverable is not None and deliverable_sequence is not None:
        heads.deliverables[draft.deliverable] = (deliverable_sequence, event.hash)
    if draft.run is not None:
        heads.runs[draft.run] = event_id
    return event


def _fresh_id(journal: Journal, deliverable: str | None) -> str:
    fresh = journal.ids.uuid()
    return fresh if deliverable is None else mark_id(fresh, deliverable)


def _left(deliverable: str, url: str) -> Refused:
    return Refused(
        f"{deliverable!r} left this journal: it goes on at {url}",
        why="it was adopted there, and what is recorded here now would not come to that store",
        hint=f"set [store] url to {url}, and run the command again",
        name="adopted-away",
        known=url,
    )


def begin_chain(journal: Journal) -> str:
    """The id of our own chain, which begins with the first write of all."""
    if journal.node:
        return journal.node
    with journal.write():
        return _heads(journal).node


def _heads(journal: Journal) -> Heads:
    heads = journal.heads
    if heads is None or heads.data_version != _data_version(journal):
        heads = journal.heads = Heads(journal, journal.node or _begin_node(journal))
    return heads


def _data_version(journal: Journal) -> int:
    """Changes when another connection has committed; read inside our transaction."""
    return int(journal.connection.execute(DATA_VERSION).fetchone()[0])


def insert_event(journal: Journal, event: Event, time_ms: int, *, projected: bool = False) -> int:
    """Store the row; returns its local id. Raises sqlite3.IntegrityError for a taken place.

    Unless the caller projects it in the same transaction, it is noted as waiting:
    ``rebuild.catch_up`` projects what waits before anyone reads.
    """
    cursor = journal.connection.execute(
        INSERT,
        (
            look_up(journal, "node", event.node),
            event.sequence,
            event.branch,
            look_up(journal, "type", event.type),
            None
            if event.deliverable is None
            else look_up(journal, "deliverable", event.deliverable),
            event.deliverable_sequence,
            None if event.run is None else look_up(journal, "run", event.run),
            time_ms,
            event.clock,
            event.received_at_ms,
            event.previous,
            event.previous_in_deliverable,
            event.hash,
            event.document,
        ),
    )
    position = int(cursor.lastrowid or 0)
    if not projected:
        journal.connection.execute(BEHIND, (position,))
    return position


# sql: the names of our own four look-up tables
LOOKUP_SELECT = {
    name: f"SELECT id FROM {name}_lookup WHERE name = ?"
    for name in ("node", "type", "deliverable", "run")
}
# sql: the same names
LOOKUP_INSERT = {name: f"INSERT INTO {name}_lookup (name) VALUES (?)" for name in LOOKUP_SELECT}


def look_up(journal: Journal, table: str, name: str) -> int:
    """The local integer for a name; made where it is new. Forgotten when a transaction fails."""
    found = journal.lookups.get((table, name))
    if found is None:
        row = journal.connection.execute(LOOKUP_SELECT[table], (name,)).fetchone()
        if row is None:
            cursor = journal.connection.execute(LOOKUP_INSERT[table], (name,))
            row = (int(cursor.lastrowid or 0),)
        found = journal.lookups[(table, name)] = int(row[0])
    return found


def _path_links(journal: Journal, heads: Heads, draft: Draft) -> tuple[dict[str, Any], ...]:
    """CDEvents links: PATH from the event before it in the run, END on the run's last."""
    if draft.run is None:
        return ()
    before = heads.run(journal, draft.run)
    if not before:
        return ()
    kind = "END" if draft.type == types.PIPELINE_FINISHED else "PATH"
    return ({"linkType": kind, "from": {"contextId": before}},)


def _begin_node(journal: Journal) -> str:
    """The first write makes the node: nothing is made at install time (images get cloned)."""
    node = journal.ids.token()
    journal.connection.execute("INSERT INTO local_value (name, value) VALUES ('node', ?)", (node,))
    journal.heads = Heads(journal, node)
    append_draft(journal, first_event(journal, node))
    return node
