"""The journal's own tables, with the reason for each beside it.

Three kinds of tables live in the file. The *event* table is format 1 for good: every release of
cxlocal can append to every journal. *Look-ups* and *local* tables belong to this file alone and are
never sent anywhere. *Projected* tables (``cxlocal.projection.tables``) are rebuilt from events at
will.
"""

from __future__ import annotations

from cxlocal.events.hybrid import IS_AHEAD_SQL

APPLICATION_ID = 0x43584C31
"""``CXL1`` in the file header, so that ``file`` and we can tell a journal from any other file."""

FORMAT = 1
"""The format of the event table; stands in ``user_version``. It does not change."""

PARTIAL = "partial "
"""Followed by a node id, the name of a local value: our copy of that chain lacks events of
deliverables that this machine does not follow or may not read. Its deliverables' own chains are whole."""

AWAY = "away: "
"""Followed by a deliverable, the name of a local value: the address of the store where its history goes
on, in another journal of this home. Nothing more of it is recorded here."""

BESIDE = "beside "
"""Followed by the name of a history, the name of a local value: how many others the store had at that
place of the chain before this one."""
NAME_DIGITS = 16
"""Of the hash that names a history."""

# sql: a constant of events.hybrid
EVENT_SQL = f"""
-- Ids of chains. Text would be repeated in every event; an integer keeps the file small.
CREATE TABLE IF NOT EXISTS node_lookup (
  id INTEGER PRIMARY KEY, -- Local to this file; never sent.
  name TEXT NOT NULL UNIQUE -- The node id, 32 hexadecimal digits.
);
-- Event types, for the same reason.
CREATE TABLE IF NOT EXISTS type_lookup (
  id INTEGER PRIMARY KEY, -- Local to this file; never sent.
  name TEXT NOT NULL UNIQUE -- The full CDEvents type.
);
-- Deliverables that events belong to.
CREATE TABLE IF NOT EXISTS deliverable_lookup (
  id INTEGER PRIMARY KEY, -- Local to this file; never sent.
  name TEXT NOT NULL UNIQUE -- The deliverable's id (NFC text).
);
-- Runs that events belong to.
CREATE TABLE IF NOT EXISTS run_lookup (
  id INTEGER PRIMARY KEY, -- Local to this file; never sent.
  name TEXT NOT NULL UNIQUE -- The run id, which is the CDEvents chain id.
);
-- The log itself. Rows are only ever added.
CREATE TABLE IF NOT EXISTS event (
  id INTEGER PRIMARY KEY, -- Order of arrival in this file; never sent.
  node INTEGER NOT NULL REFERENCES node_lookup(id), -- Chain the event belongs to.
  sequence INTEGER NOT NULL, -- Position in that chain, from 1, without gaps.
  branch INTEGER NOT NULL DEFAULT 0, -- 0, or which second history; numbered locally.
  type INTEGER NOT NULL REFERENCES type_lookup(id), -- What happened.
  deliverable INTEGER REFERENCES deliverable_lookup(id), -- NULL: goes to every replica.
  deliverable_sequence INTEGER, -- Position of it in the node's chain of this deliverable.
  run INTEGER REFERENCES run_lookup(id), -- Run it belongs to, if any.
  time INTEGER NOT NULL, -- When it happened, milliseconds since 1970 (UTC), as the document says.
  clock INTEGER NOT NULL, -- Hybrid logical clock; for display order only.
  received INTEGER NOT NULL, -- When this file first held it, milliseconds since 1970 (UTC).
  previous BLOB NOT NULL, -- Hash of the event before it in the chain; zeros for the first.
  previous_in_deliverable BLOB NOT NULL, -- The same within the deliverable.
  hash BLOB NOT NULL, -- SHA-256 over both, the coordinates and the document's digest.
  document TEXT NOT NULL, -- The CDEvents document, byte for byte as it was first written.
  UNIQUE (node, sequence, branch)
);
-- The run's timeline.
CREATE INDEX IF NOT EXISTS event_by_run ON event(run) WHERE run IS NOT NULL;
-- The chain within a deliverable: its head at append, its events for a partial replica.
CREATE INDEX IF NOT EXISTS event_by_deliverable
  ON event(deliverable, node, deliverable_sequence) WHERE deliverable IS NOT NULL;
-- Events from the future, so that nobody has to read all others to find them. Almost always empty.
CREATE INDEX IF NOT EXISTS event_ahead ON event(node, sequence) WHERE {IS_AHEAD_SQL};
-- Second histories, so that nobody has to walk a chain to find what stands beside it. As rare.
CREATE INDEX IF NOT EXISTS event_beside ON event(node, branch, sequence) WHERE branch <> 0;
-- What was written stays written.
CREATE TRIGGER IF NOT EXISTS event_no_update BEFORE UPDATE ON event
  BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER IF NOT EXISTS event_no_delete BEFORE DELETE ON event
  BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
-- Facts about this file: which chain is ours, where the file lives.
CREATE TABLE IF NOT EXISTS local_value (
  name TEXT PRIMARY KEY, -- What it is.
  value TEXT NOT NULL -- Text or JSON.
);
-- How far the projection got, and by which version of the projector.
CREATE TABLE IF NOT EXISTS projection_state (
  id INTEGER PRIMARY KEY CHECK (id = 1), -- One row.
  version INTEGER NOT NULL, -- Version of the projector that wrote the tables.
  behind_from INTEGER -- First event.id that is not projected yet; NULL when all are.
);
-- The log with names and times, for people.
CREATE VIEW IF NOT EXISTS event_log AS
  SELECT event.id, strftime('%Y-%m-%dT%H:%M:%fZ', event.time / 1000.0, 'unixepoch') AS happened_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', event.received / 1000.0, 'unixepoch') AS received_at,
    type_lookup.name AS type, deliverable_lookup.name AS deliverable, run_lookup.name AS run,
    node_lookup.name AS node, event.sequence, event.branch, lower(hex(event.hash)) AS hash,
    event.document
  FROM event
  JOIN node_lookup ON node_lookup.id = event.node
  JOIN type_lookup ON type_lookup.id = event.type
  LEFT JOIN deliverable_lookup ON deliverable_lookup.id = event.deliverable
  LEFT JOIN run_lookup ON run_lookup.id = event.run;
"""
