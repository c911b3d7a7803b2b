"""SQL functions for durations and the clock of events."""

from __future__ import annotations

import sqlite3

from cxlocal.text import duration_text, utc_text

CLOCK_COUNTER_BITS = 16
"""The lower bits of ``event.clock`` are a counter; the rest is milliseconds since 1970."""


def human_duration(seconds: object) -> str | None:
    """``human_duration(185)`` is ``3 min 5 s``; NULL for what is not a number."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return ("-" if seconds < 0 else "") + duration_text(abs(seconds))


def hlc_time(clock: object) -> str | None:
    """The UTC time in a value of ``event.clock``; NULL for what cannot be one."""
    if not isinstance(clock, int) or clock < 0:
        return None
    try:
        return utc_text(clock >> CLOCK_COUNTER_BITS)
    except (ValueError, OverflowError, OSError):
        return None


def register_functions(connection: sqlite3.Connection) -> None:
    """Make both known to a connection."""
    connection.create_function("human_duration", 1, human_duration, deterministic=True)
    connection.create_function("hlc_time", 1, hlc_time, deterministic=True)
