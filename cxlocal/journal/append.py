"""Appending one event: coordinates, chain, row, projection. Inside the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cxlocal.events import types
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
from cxlocal.projection.apply import apply_facts
from cxlocal.projection.project import project, stamp
from cxlocal.projection.tables import PROJECTION_VERSION

if TYPE_CHECKING:
    import sqlite3

    from cxlocal.journal.file import Journal

INSERT = (
    "INSERT INTO event (node, sequence, branch, type, deliverable, deliverable_sequence, run, time,"
    " clock, received, previous, previous_in_deliverable, hash, document)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
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


def append_draft(journal: Journal, draft: Draft) -> Event:
    """Store ``draft`` as the next event of our own chain and project it."""
    node = journal.node or _begin_node(journal)
    connection = journal.connection
    now_ms = journal.clock.now_ms()
    node_id = look_up(journal, "node", node)
    head = connection.execute(HEAD, (node_id,)).fetchone() or (0, NO_HASH, 0)
    sequence, previous, clock = head[0] + 1, head[1], next_value(_last_clock(journal, head), now_ms)
    deliverable_sequence, previous_in_deliverable = None, NO_HASH
    if draft.deliverable is not None:
        deliverable_id = look_up(journal, "deliverable", draft.deliverable)
        found = connection.execute(DELIVERABLE_HEAD, (deliverable_id, node_id)).fetchone()
        deliverable_sequence = found[0] + 1 if found else 1
        previous_in_deliverable = found[1] if found else NO_HASH
    document = build_document(
        draft._replace(links=(*draft.links, *_path_links(journal, draft))),
        event_id=draft.id or journal.ids.uuid(),
        source=f"urn:cxlocal:machine:{node}",
        time_ms=draft.at_ms or now_ms,
    )
    text = encode_document(document)
    header = header_bytes(
        node, sequence, draft.deliverable, deliverable_sequence, draft.type, clock
    )
    event = Event(
        node,
        sequence,
        0,
        draft.type,
        draft.deliverable,
        deliverable_sequence,
        clock,
        previous,
        previous_in_deliverable,
        event_hash(previous, previous_in_deliverable, header, text),
        text,
        draft.run,
        now_ms,
    )
    position = insert_event(journal, event, draft.at_ms or now_ms)
    project_next(connection, event, document, position)
    return event


def insert_event(journal: Journal, event: Event, time_ms: int) -> int:
    """Store the row; returns its local id. Raises sqlite3.IntegrityError for a taken place."""
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
    return int(cursor.lastrowid or 0)


def project_next(
    connection: sqlite3.Connection, event: Event, document: dict[str, Any], position: int
) -> None:
    """Project an event in its own transaction, if the projection stood just before it.

    Where it is behind (a newer cxlocal wrote it, or a pull appended first) it stays behind:
    ``rebuild.catch_up`` brings it forward before anyone reads.
    """
    moved = connection.execute(
        "UPDATE projection_state SET position = ? WHERE position = ? AND version = ?",
        (position, position - 1, PROJECTION_VERSION),
    ).rowcount
    if moved:
        apply_facts(connection, project(event, document), stamp(event))


LOOKUP_SELECT = {
    name: f"SELECT id FROM {name}_lookup WHERE name = ?"
    for name in ("node", "type", "deliverable", "run")
}
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


def _last_clock(journal: Journal, head: tuple[int, bytes, int]) -> int:
    """Our clock's last value: our own last event's, or what pulled events raised it to."""
    raised = journal.value("clock")
    return max(head[2], int(raised)) if raised else head[2]


def _path_links(journal: Journal, draft: Draft) -> tuple[dict[str, Any], ...]:
    """CDEvents links: PATH from the event before it in the run, END on the run's last."""
    if draft.run is None:
        return ()
    run_id = look_up(journal, "run", draft.run)
    row = journal.connection.execute(RUN_HEAD, (run_id,)).fetchone()
    if row is None or row[0] is None:
        return ()
    kind = "END" if draft.type == types.PIPELINE_FINISHED else "PATH"
    return ({"linkType": kind, "from": {"contextId": row[0]}},)


def _begin_node(journal: Journal) -> str:
    """The first write makes the node: nothing is made at install time (images get cloned)."""
    from cxlocal.journal.machine import first_event

    node = journal.ids.token()
    journal.connection.execute("INSERT INTO local_value (name, value) VALUES ('node', ?)", (node,))
    append_draft(journal, first_event(journal, node))
    return node
