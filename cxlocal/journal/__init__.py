"""The journal: an append-only log of events in one SQLite file on this machine.

Not here: what the events mean (projection), who else has them (exchange).
"""
