"""The tables of a file of members and why they are as they are."""

from __future__ import annotations

APPLICATION_ID = 0x63784D42
"""``cxMB`` in the file header."""

SCHEMA = """
-- Credential holders. A revoked one stays, so that its machines stay refused.
CREATE TABLE IF NOT EXISTS member (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    token_sha256 TEXT NOT NULL DEFAULT '',  -- empty: revoked
    rights TEXT NOT NULL,                   -- JSON
    joined_at TEXT NOT NULL,
    revoked_at TEXT NOT NULL DEFAULT ''
);
-- One-time codes. A used one stays until it would have ended, so that the same machine may ask again.
CREATE TABLE IF NOT EXISTS code (
    sha256 TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    rights TEXT NOT NULL,
    until_ms INTEGER NOT NULL,
    used_by TEXT NOT NULL DEFAULT ''        -- token_sha256 of who used it
);
-- Machines (chains of events) and the member that first spoke as them.
CREATE TABLE IF NOT EXISTS machine (
    node TEXT PRIMARY KEY,
    member INTEGER NOT NULL,               -- 0: its member was revoked
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL
);
-- Lineage of the store behind, the address machines use, counters.
CREATE TABLE IF NOT EXISTS value (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
