"""The tables of a store and why they are as they are: one list of steps for both SQL dialects.

A step is carried out once in the life of a store, in order, in one transaction. Where the dialects
have other words for the same thing the text says ``$word``; what only one of them needs stands in
the step as text of its own.
"""

from __future__ import annotations

import sqlite3
from string import Template

from cxlocal.events.types import VERSION_USED
from cxlocal.values import NamedTuple

APPLICATION_ID = 0x63785354
"""``cxST`` in the file header: ``file`` and every SQLite tool can tell a store from a journal."""

_TABLES = """
-- The store itself: one row. ``position`` and ``hash`` are the head of the one feed in which
-- events and grants stand in the order of their commits. A counter row and no sequence: a reader
-- that has seen position n has seen everything below it.
CREATE TABLE store (
    id $whole PRIMARY KEY CHECK (id = 1),
    lineage TEXT NOT NULL,             -- random, for the life of this store
    parent_lineage TEXT NOT NULL,      -- the store this one took over from; empty for none
    generation $whole NOT NULL,        -- raised at every recovery, never lowered
    position $whole NOT NULL,          -- last position given
    hash $bytes NOT NULL,              -- running hash over all items up to there
    hint TEXT NOT NULL                 -- where the file lay when it was made or recovered
);

-- Credential holders. The embedded store knows one: whoever may open the file.
CREATE TABLE member (
    id $key,
    name TEXT NOT NULL UNIQUE
);

-- Chains of events and who brings them.
CREATE TABLE node (
    id $key,
    node TEXT NOT NULL UNIQUE,
    member $whole NOT NULL REFERENCES member(id),
    parent TEXT NOT NULL DEFAULT '',   -- the chain this one continues, from its first event
    token_count $whole,                -- contact token: empty for a chain only heard of
    token TEXT,
    hint TEXT NOT NULL DEFAULT ''      -- where the journal said it lay; for people who look
);

-- The events, as they were hashed. Branch 0 is the first history under a node id; a second one
-- that disagrees with it is kept beside it.
CREATE TABLE event (
    position $whole PRIMARY KEY,
    node $whole NOT NULL REFERENCES node(id),
    sequence $whole NOT NULL,
    branch $whole NOT NULL,
    type TEXT NOT NULL,
    deliverable TEXT,
    deliverable_sequence $whole,
    clock $whole NOT NULL,             -- hybrid clock: display order only
    previous $bytes NOT NULL,
    previous_in_deliverable $bytes NOT NULL,
    hash $bytes NOT NULL,
    run TEXT,
    document TEXT NOT NULL,
    running $bytes NOT NULL,           -- running hash of the feed at this position
    carrier $whole NOT NULL REFERENCES node(id), -- who brought it; needs it back from nobody
    UNIQUE (node, sequence, branch)
);

-- Each event names the one before it of its chain within its deliverable; that is looked up.
CREATE INDEX event_in_deliverable ON event (node, deliverable, deliverable_sequence);
-- A run that took its number from a reserve, and reported it, has it.
CREATE INDEX event_of_number ON event (run) WHERE type = '$used';

-- The grant logs. A number is granted by exactly one entry of kind online or reserve.
CREATE TABLE grant_entry (
    position $whole PRIMARY KEY,
    deliverable TEXT NOT NULL,
    line TEXT NOT NULL,
    k $whole NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('online', 'reserve', 'raise')),
    lo $whole NOT NULL,
    hi $whole NOT NULL CHECK (hi >= lo),
    node TEXT NOT NULL,
    run TEXT NOT NULL,
    nonce TEXT NOT NULL,
    generation $whole NOT NULL,
    why TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL,
    running $bytes NOT NULL,
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
    online $whole NOT NULL,
    high $whole NOT NULL,
    k $whole NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (deliverable, line)
) $packed;

-- Why no numbers are handed out: for one deliverable, or for all (empty name).
CREATE TABLE stop (
    deliverable TEXT NOT NULL,
    cause TEXT NOT NULL,               -- slug
    why TEXT NOT NULL,                 -- in words
    line TEXT NOT NULL DEFAULT '',
    number $whole NOT NULL DEFAULT -1, -- a number seen in use that nobody here granted
    PRIMARY KEY (deliverable, cause, line, number)
) $packed;
"""

_SQLITE_RULES = """
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

_POSTGRESQL_RULES = """
-- The number of the last step carried out. (SQLite keeps it in the header of its file.)
CREATE TABLE format (number BIGINT NOT NULL);

-- Reports, logs and artifacts by their SHA-256. (The embedded store keeps files.)
CREATE TABLE blob (
    digest TEXT PRIMARY KEY,
    content BYTEA NOT NULL
);
-- They come compressed where that is worth it.
ALTER TABLE blob ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION USING MESSAGE = tg_argv[0], ERRCODE = 'check_violation'; END $$;
CREATE TRIGGER cursor_never_falls BEFORE UPDATE ON cursor FOR EACH ROW
WHEN (new.online < old.online OR new.high < old.high OR new.k <= old.k)
EXECUTE FUNCTION refuse('a cursor may only rise');
CREATE TRIGGER cursor_stays BEFORE DELETE OR TRUNCATE ON cursor
EXECUTE FUNCTION refuse('a cursor is never forgotten');
CREATE TRIGGER event_keeps BEFORE UPDATE ON event
EXECUTE FUNCTION refuse('an event is never rewritten');
CREATE TRIGGER event_stays BEFORE DELETE OR TRUNCATE ON event
EXECUTE FUNCTION refuse('an event is never forgotten');
CREATE TRIGGER grant_keeps BEFORE UPDATE ON grant_entry
EXECUTE FUNCTION refuse('a grant is never rewritten');
CREATE TRIGGER grant_stays BEFORE DELETE OR TRUNCATE ON grant_entry
EXECUTE FUNCTION refuse('a grant is never forgotten');
CREATE TRIGGER generation_rises BEFORE UPDATE ON store FOR EACH ROW
WHEN (new.generation < old.generation OR new.position < old.position OR new.lineage <> old.lineage)
EXECUTE FUNCTION refuse('a store never goes back');
CREATE TRIGGER store_stays BEFORE DELETE OR TRUNCATE ON store
EXECUTE FUNCTION refuse('a store is never forgotten');
"""


class Migration(NamedTuple):
    """One change of the tables."""

    common: str
    """For both dialects, with ``$word`` for what they say differently."""
    sqlite: str = ""
    postgresql: str = ""


STEPS = (Migration(_TABLES, _SQLITE_RULES, _POSTGRESQL_RULES),)

FORMAT = len(STEPS)

_SQLITE = {
    "used": VERSION_USED, "whole": "INTEGER", "bytes": "BLOB", "key": "INTEGER PRIMARY KEY", "packed": "WITHOUT ROWID",
}  # fmt: skip
_POSTGRESQL = {
    "used": VERSION_USED, "whole": "BIGINT", "bytes": "BYTEA", "packed": "",
    "key": "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
}  # fmt: skip


def sqlite_steps(done: int = 0) -> str:
    """The steps after the first ``done``, as SQLite says them."""
    return "".join(Template(step.common).substitute(_SQLITE) + step.sqlite for step in STEPS[done:])


def postgresql_steps(done: int = 0) -> str:
    """The steps after the first ``done``, as PostgreSQL says them."""
    return "".join(
        Template(step.common).substitute(_POSTGRESQL) + step.postgresql for step in STEPS[done:]
    )


SCHEMA = sqlite_steps()


def create_tables(connection: sqlite3.Connection, schema: str = SCHEMA) -> None:
    """Carry out ``schema`` statement by statement, within the caller's transaction."""
    statement = ""
    for line in schema.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
