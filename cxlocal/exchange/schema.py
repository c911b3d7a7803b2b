"""The tables of this machine that belong to the exchange with a store. Local, not events."""

from __future__ import annotations

SCHEMA = """
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

-- A store that did not answer is left alone for a minute. A remembered time in the future is void.
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
