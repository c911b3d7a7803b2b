"""The tables of a store and why they are as they are."""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x63785354
"""``cxST`` in the file header: ``file`` and every SQLite tool can tell a store from a journal."""

FORMAT = 1

SCHEMA = """
-- The store itself: one row. ``position`` and ``hash`` are the head of the one feed in which
-- events and grants stand in the order of their commits. A counter row and no sequence: a reader
-- that has seen position n has seen everything below it.
CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    lineage TEXT NOT NULL,             -- random, for the life of this store
    parent_lineage TEXT NOT NULL,      -- the store this one took over from; empty for none
    generation INTEGER NOT NULL,       -- raised at every recovery, never lowered
    position INTEGER NOT NULL,         -- last position given
    hash BLOB NOT NULL,                -- running hash over all items up to there
    hint TEXT NOT NULL                 -- where the file lay when it was made or recovered
);

-- Credential holders. The embedded store knows one: whoever may open the file.
CREATE TABLE member (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- Chains of events and who brings them.
CREATE TABLE node (
    id INTEGER PRIMARY KEY,
    node TEXT NOT NULL UNIQUE,
    member INTEGER NOT NULL REFERENCES member(id),
    parent TEXT NOT NULL DEFAULT '',   -- the chain this one continues, from its first event
    token_count INTEGER,               -- contact token: empty for a chain only heard of
    token TEXT,
    hint TEXT NOT NULL DEFAULT ''      -- where the journal said it lay; for people who look
);

-- The events, as they were hashed. Branch 0 is the first history under a node id; a second one
-- that disagrees with it is kept beside it.
CREATE TABLE event (
    position INTEGER PRIMARY KEY,
    node INTEGER NOT NULL REFERENCES node(id),
    sequence INTEGER NOT NULL,
    branch INTEGER NOT NULL,
    type TEXT NOT NULL,
    deliverable TEXT,
    deliverable_sequence INTEGER,
    clock INTEGER NOT NULL,            -- hybrid clock: display order only
    previous BLOB NOT NULL,
    previous_in_deliverable BLOB NOT NULL,
    hash BLOB NOT NULL,
    run TEXT,
    document TEXT NOT NULL,
    running BLOB NOT NULL,             -- running hash of the feed at this position
    carrier INTEGER NOT NULL REFERENCES node(id), -- who brought it; needs it back from nobody
    UNIQUE (node, sequence, branch)
);

-- Each event names the one before it of its chain within its deliverable; that is looked up.
CREATE INDEX event_in_deliverable ON event (node, deliverable, deliverable_sequence);

-- The grant logs. A number is granted by exactly one entry of kind online or reserve.
CREATE TABLE grant_entry (
    position INTEGER PRIMARY KEY,
    deliverable TEXT NOT NULL,
    line TEXT NOT NULL,
    k INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('online', 'reserve', 'raise')),
    lo INTEGER NOT NULL,
    hi INTEGER NOT NULL CHECK (hi >= lo),
    node TEXT NOT NULL,
    run TEXT NOT NULL,
    nonce TEXT NOT NULL,
    generation INTEGER NOT NULL,
    why TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL,
    running BLOB NOT NULL,
    UNIQUE (deliverable, line, k)
);
CREATE INDEX grant_by_number ON grant_entry (deliverable, line, hi);
-- A run has one number; a second machine that asks for it is told so.
CREATE INDEX grant_by_run ON grant_entry (deliverable, run) WHERE run != '';
-- A request that comes twice is recognised by what its process drew at random.
CREATE UNIQUE INDEX grant_by_nonce ON grant_entry (nonce) WHERE nonce != '';

-- The fold of each log, kept so that a request does not read the whole log.
CREATE TABLE cursor (
    deliverable TEXT NOT NULL,
    line TEXT NOT NULL,
    online INTEGER NOT NULL,
    high INTEGER NOT NULL,
    k INTEGER NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (deliverable, line)
) WITHOUT ROWID;

-- Why no numbers are handed out: for one deliverable, or for all (empty name).
CREATE TABLE stop (
    deliverable TEXT NOT NULL,
    cause TEXT NOT NULL,               -- slug
    why TEXT NOT NULL,                 -- in words
    line TEXT NOT NULL DEFAULT '',
    number INTEGER NOT NULL DEFAULT -1, -- a number seen in use that nobody here granted
    PRIMARY KEY (deliverable, cause, line, number)
) WITHOUT ROWID;

CREATE TRIGGER cursor_never_falls BEFORE UPDATE ON cursor
WHEN new.online < old.online OR new.high < old.high OR new.k <= old.k
BEGIN SELECT raise(ABORT, 'a cursor may only rise'); END;
CREATE TRIGGER cursor_stays BEFORE DELETE ON cursor
BEGIN SELECT raise(ABORT, 'a cursor is never forgotten'); END;
CREATE TRIGGER event_keeps BEFORE UPDATE ON event
BEGIN SELECT raise(ABORT, 'an event is never rewritten'); END;
CREATE TRIGGER event_stays BEFORE DELETE ON event
BEGIN SELECT raise(ABORT, 'an event is never forgotten'); END;
CREATE TRIGGER grant_keeps BEFORE UPDATE ON grant_entry
BEGIN SELECT raise(ABORT, 'a grant is never rewritten'); END;
CREATE TRIGGER grant_stays BEFORE DELETE ON grant_entry
BEGIN SELECT raise(ABORT, 'a grant is never forgotten'); END;
CREATE TRIGGER generation_rises BEFORE UPDATE ON store
WHEN new.generation < old.generation OR new.position < old.position OR new.lineage != old.lineage
BEGIN SELECT raise(ABORT, 'a store never goes back'); END;
"""


def create_tables(connection: sqlite3.Connection, schema: str = SCHEMA) -> None:
    """Carry out ``schema`` statement by statement, within the caller's transaction."""
    statement = ""
    for line in schema.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
