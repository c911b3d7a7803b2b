"""The hybrid logical clock: for display order only.

A value is milliseconds shifted left by 16 bits plus a counter. It never goes back on one machine
and follows what was seen from others, so that a list sorted by it reads naturally. No projected
value, gate or number ever uses it. Idea: Kulkarni et al., "Logical Physical Clocks",
2014.
"""

from __future__ import annotations

COUNTER_BITS = 16
AHEAD_MS_MAX = 5 * 60 * 1000
"""A value further ahead of our wall clock than this is kept and flagged (view ``open_flags``), and
does not move ours: one machine with a wrong clock must not drag all others into the future."""

# sql: two constants of this module. An index serves a view only where both say the same words.
IS_AHEAD_SQL = f"clock >> {COUNTER_BITS} > received + {AHEAD_MS_MAX}"
"""``is_ahead`` of an event at the time it arrived, as SQL over the event table."""


def next_value(last: int, now_ms: int) -> int:
    """The next value of our own clock: above ``last`` and not below the wall clock."""
    return max(last + 1, now_ms << COUNTER_BITS)


def is_ahead(value: int, now_ms: int) -> bool:
    """True where a value from elsewhere lies too far in our future to be followed."""
    return (value >> COUNTER_BITS) > now_ms + AHEAD_MS_MAX


def merge_value(last: int, seen: int, now_ms: int) -> int:
    """Our clock after an event with clock value ``seen`` arrived."""
    return last if is_ahead(seen, now_ms) else max(last, seen)


def wall_ms(value: int) -> int:
    """The wall-clock part of a value, in milliseconds since the epoch."""
    return value >> COUNTER_BITS
