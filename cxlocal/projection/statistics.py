"""``median(x)`` and ``percentile(x, p)`` for SQL: what a mean hides. Pure."""

from __future__ import annotations

import sqlite3
from typing import Any

VALUES_MAX = 5_000_000
"""Numbers of one group that are kept to be sorted: some 200 MB."""


class Percentile:
    """An aggregate: the value below which ``p`` of a hundred lie, between two values in proportion. Empty
    ones do not count; of none it is empty."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._share: float | None = None

    def step(self, value: object, share: object) -> None:
        """Take one value in. Raises TypeError for what is no number, and ValueError for a share beyond 0 to
        100 or one that changes."""
        if not isinstance(share, int | float) or not isinstance(value, int | float | None):
            raise TypeError("value and share are numbers")
        if not 0 <= share <= 100 or self._share not in (None, share):
            raise ValueError("the share lies between 0 and 100, and is one for all rows")
        self._share = float(share)
        if value is None:
            return
        if len(self._values) >= VALUES_MAX:
            raise ValueError(f"{VALUES_MAX} values at most")
        self._values.append(float(value))

    def finalize(self) -> float | None:
        """The result."""
        if not self._values or self._share is None:
            return None
        ordered = sorted(self._values)
        place = (len(ordered) - 1) * self._share / 100
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


class Median(Percentile):
    """The value in the middle."""

    def step(self, value: object, share: object = 50) -> None:
        """Take one value in."""
        super().step(value, share)


def add_statistics(connection: sqlite3.Connection) -> None:
    """Make both known to a connection. An SQLite that has them itself keeps them under these names all the
    same: one answer everywhere."""
    aggregates: tuple[tuple[str, int, Any], ...] = (
        ("median", 1, Median),
        ("percentile", 2, Percentile),
    )
    for name, arguments, aggregate in aggregates:
        connection.create_aggregate(name, arguments, aggregate)
