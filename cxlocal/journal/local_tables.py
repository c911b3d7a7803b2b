"""The tables of this machine alone: they stand in the journal file beside the events, and are never
sent anywhere.

What they hold is this machine's own, or a copy of what the store can tell again. Who lost them loses
no history.
"""

from __future__ import annotations

NUMBERS = """
-- Numbers this machine may still take without asking. At most one stretch for each line: what is
-- exchanged for a newer one is given up and recorded as skipped.
CREATE TABLE IF NOT EXISTS reserve (
    deliverable TEXT NOT NULL,      -- whose numbers
    line TEXT NOT NULL,             -- on which line
    lo INTEGER NOT NULL,            -- first number granted
    hi INTEGER NOT NULL,            -- last number granted
    next INTEGER NOT NULL,          -- lowest number not taken yet; hi + 1 when all are
    lineage TEXT NOT NULL,          -- the store that granted them
    generation INTEGER NOT NULL,    -- its generation then; an older one may not be spent any more
    k INTEGER NOT NULL,             -- entry of the grant log
    locked INTEGER NOT NULL DEFAULT 0, -- 1: the journal looks moved or copied; not to be spent
    PRIMARY KEY (deliverable, line),
    CHECK (lo <= next AND next <= hi + 1)
) WITHOUT ROWID;

-- Our copy of the store's grant logs, pulled like events. Its last entry is what we hold a store
-- to that claims to be the one we know.
CREATE TABLE IF NOT EXISTS grant_entry (
    deliverable TEXT NOT NULL,      -- whose numbers
    line TEXT NOT NULL,             -- on which line
    k INTEGER NOT NULL,             -- position in the log of this line, from 1
    kind TEXT NOT NULL,             -- online, reserve, raise
    lo INTEGER NOT NULL,            -- first number
    hi INTEGER NOT NULL,            -- last number
    node TEXT NOT NULL,             -- who asked
    run TEXT NOT NULL,              -- for which run; empty for a reserve
    nonce TEXT NOT NULL,            -- told apart from a repeated request by this
    generation INTEGER NOT NULL,    -- the store's generation then
    why TEXT NOT NULL,              -- why a cursor was raised
    previous TEXT NOT NULL,         -- hash of the entry before
    hash TEXT NOT NULL,             -- hash of this entry: the next one names it
    open INTEGER NOT NULL DEFAULT 0, -- 1: granted to us, and neither taken, held nor given up yet
    PRIMARY KEY (deliverable, line, k)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS grant_open ON grant_entry (deliverable, line) WHERE open = 1;

-- Versions this machine has taken: one for each run and deliverable. Written in the transaction of
-- the event; asked before every new number, which a projection that lags behind could not answer.
CREATE TABLE IF NOT EXISTS spent (
    deliverable TEXT NOT NULL,      -- whose numbers
    run TEXT NOT NULL,              -- the run that holds it
    line TEXT NOT NULL,             -- on which line
    number INTEGER,                 -- empty where the text is unique by construction
    text TEXT NOT NULL,             -- never used twice
    sort_key TEXT NOT NULL,         -- neither is its place in the order
    how TEXT NOT NULL,              -- online, reserve, lent, suffix
    lineage TEXT NOT NULL,          -- the store that granted it; empty for none
    PRIMARY KEY (deliverable, run)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS spent_number ON spent (deliverable, line, number);
CREATE UNIQUE INDEX IF NOT EXISTS spent_sort_key ON spent (deliverable, sort_key);

-- Lines this machine has released on, and the reserve it wants to hold for each.
CREATE TABLE IF NOT EXISTS reserve_wish (
    id INTEGER PRIMARY KEY,         -- the most recent line has the highest
    deliverable TEXT NOT NULL,      -- whose numbers
    line TEXT NOT NULL,             -- on which line
    count INTEGER NOT NULL,         -- numbers to hold
    ahead INTEGER NOT NULL,         -- how far above the online numbers
    UNIQUE (deliverable, line)
);

-- Numbers granted to this machine that it will never use, so that no process of it does.
CREATE TABLE IF NOT EXISTS given_up (
    deliverable TEXT NOT NULL,      -- whose numbers
    line TEXT NOT NULL,             -- on which line
    lo INTEGER NOT NULL,            -- first number
    hi INTEGER NOT NULL,            -- last number
    why TEXT NOT NULL,              -- what explain says
    PRIMARY KEY (deliverable, line, lo)
) WITHOUT ROWID;
"""

EXCHANGE = """
-- The store this journal belongs to, and how far we have it. One row, absent before the first
-- contact.
CREATE TABLE IF NOT EXISTS store_state (
    id INTEGER PRIMARY KEY CHECK (id = 1), -- one row
    url TEXT NOT NULL,              -- as last reached
    lineage TEXT NOT NULL,          -- random id of the store's life
    generation INTEGER NOT NULL,    -- raised by each recovery of the store
    position INTEGER NOT NULL,      -- cursor: last item of the store that we have
    hash TEXT NOT NULL              -- the store's running hash there; a restored store has another
);

-- The contact token of each of our node ids, and the proposal that all processes share.
CREATE TABLE IF NOT EXISTS contact (
    node TEXT PRIMARY KEY,          -- the chain of events
    token_count INTEGER NOT NULL,   -- how many contacts the token has seen
    token TEXT NOT NULL,            -- what the store expects next
    proposal_count INTEGER NOT NULL,-- count of the token proposed
    proposal TEXT NOT NULL,         -- the token proposed; stored before it is sent
    hint TEXT NOT NULL,             -- where the journal lay at the last accepted contact
    accepted INTEGER NOT NULL       -- contacts accepted so far
) WITHOUT ROWID;

-- How far the store has the events of each node. What the store says counts, also when it goes
-- back. An acknowledgement is never permission to delete.
CREATE TABLE IF NOT EXISTS ack (
    node TEXT NOT NULL,             -- the chain of events
    branch INTEGER NOT NULL DEFAULT 0, -- 0, or which second history of it
    sequence INTEGER NOT NULL,      -- last event the store has
    hash TEXT NOT NULL,             -- hash of this entry: the next one names it
    generation INTEGER NOT NULL,    -- the store's generation then
    PRIMARY KEY (node, branch)
) WITHOUT ROWID;

-- When we learned that the store has a chain of ours up to where: says when a number was confirmed.
-- One row for each contact that brought something there.
CREATE TABLE IF NOT EXISTS ack_step (
    node TEXT NOT NULL,             -- the chain of events
    generation INTEGER NOT NULL,    -- the store's generation then
    sequence INTEGER NOT NULL,      -- the store has the chain up to here
    at TEXT NOT NULL,               -- since when we know (UTC)
    PRIMARY KEY (node, generation, sequence)
) WITHOUT ROWID;

-- A store that did not answer is left alone for a minute, or as long as it asked for: then a second row
-- says how many seconds. A remembered time in the future is void.
CREATE TABLE IF NOT EXISTS breaker (
    url TEXT PRIMARY KEY,           -- which store
    failed_at_ms INTEGER NOT NULL,  -- when it last did not answer, milliseconds since 1970 (UTC)
    why TEXT NOT NULL               -- what was seen
) WITHOUT ROWID;
"""

BUNDLES = """
-- Chains of other machines that came in a bundle, and all we have after a recovery of the store:
-- whatever it lacks of them, we bring.
CREATE TABLE IF NOT EXISTS relayed (
    node TEXT NOT NULL,             -- the chain of events
    branch INTEGER NOT NULL,        -- 0, or which second history of it
    lineage TEXT NOT NULL,          -- the store it belongs to; empty for none yet
    arrived_at TEXT NOT NULL,       -- when the last of it came in a bundle (UTC); else empty
    refused TEXT NOT NULL DEFAULT '', -- why the store does not take it; empty while it may
    PRIMARY KEY (node, branch)
) WITHOUT ROWID;

-- What a machine without a network asks of the store, in a bundle: carried there when a receipt is
-- written for it.
CREATE TABLE IF NOT EXISTS carried (
    node TEXT PRIMARY KEY,          -- the machine that asks
    ask TEXT NOT NULL,              -- random id of the question
    request TEXT NOT NULL,          -- the message, without events (JSON)
    arrived_at TEXT NOT NULL        -- when it came (UTC)
) WITHOUT ROWID;

-- What this machine asked of the store in bundles. An answer counts only to a question that stands
-- here, and only where the journal still lies.
CREATE TABLE IF NOT EXISTS asked (
    ask TEXT PRIMARY KEY,           -- random id of the question
    request TEXT NOT NULL,          -- the message, without events (JSON)
    hint TEXT NOT NULL,             -- where the journal lay then
    asked_at TEXT NOT NULL          -- when (UTC)
) WITHOUT ROWID;
"""

RUNS = """
-- Runs whose process lives on this machine; a row whose process is dead is an orphan.
CREATE TABLE IF NOT EXISTS process (
  run TEXT PRIMARY KEY, -- The run.
  pid INTEGER NOT NULL, -- Process id of the runner.
  started TEXT NOT NULL, -- Start time of that process as the system tells it; pids are reused.
  boot TEXT NOT NULL, -- Boot id of the machine; after a reboot every row is an orphan.
  command TEXT NOT NULL, -- What was typed, for messages.
  pieces INTEGER NOT NULL DEFAULT 0 -- 1: a run made of single commands; no process holds it open.
);
"""

TURNS = """
-- Where the store has each word about a turn in its order of all events: the lowest comes first.
CREATE TABLE IF NOT EXISTS turn_position (
    node TEXT NOT NULL,             -- the chain of the event
    sequence INTEGER NOT NULL,      -- its position in that chain
    position INTEGER NOT NULL,      -- its position in the store's feed
    PRIMARY KEY (node, sequence)
) WITHOUT ROWID;
"""

SINKS = """
-- How far each sink has what each chain of events holds. Moved back by 'cxlocal sinks --replay'.
CREATE TABLE IF NOT EXISTS sink_cursor (
    sink TEXT NOT NULL,             -- what it takes, and its address
    deliverable TEXT NOT NULL,      -- whose records; empty: of all
    node TEXT NOT NULL,             -- the chain of events
    sequence INTEGER NOT NULL,      -- the last event that it has all of
    line INTEGER NOT NULL DEFAULT 0, -- of the log of the next one: lines it has whole
    piece INTEGER NOT NULL DEFAULT 0, -- of the line after them: pieces it has
    offset INTEGER NOT NULL DEFAULT 0, -- byte of that log that comes next
    counted INTEGER NOT NULL DEFAULT 0, -- last event that is in the totals: sent again, it counts once
    totals TEXT NOT NULL DEFAULT '{}', -- what counts, by series (JSON)
    sent INTEGER NOT NULL DEFAULT 0, -- records that it has taken
    refused INTEGER NOT NULL DEFAULT 0, -- records that it refused for good
    why TEXT NOT NULL DEFAULT '',   -- what it said of the last one of those
    at TEXT NOT NULL DEFAULT '',    -- when it last took something (UTC); empty: never
    PRIMARY KEY (sink, deliverable, node)
) WITHOUT ROWID;
"""

ALL = f"{NUMBERS}\n{EXCHANGE}\n{BUNDLES}\n{RUNS}\n{TURNS}\n{SINKS}"
"""In the order in which they are made."""
