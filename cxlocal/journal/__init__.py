"""The journal: an append-only log of events in one SQLite file on this machine."""
