"""The tables of this machine that belong to numbers. They stand in the journal file, outside the
events: what they hold is this machine's own, or a copy of what the store can tell again."""

from __future__ import annotations

SCHEMA = """
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
