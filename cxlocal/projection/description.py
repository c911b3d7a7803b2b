"""How a projected table is described."""

from __future__ import annotations

from functools import cached_property

from cxlocal.values import NamedTuple


class Column(NamedTuple):
    """One column: SQL type, the group it is written with, what it means (with its unit)."""

    type: str
    group: str
    meaning: str


class Table:
    """One projected table. Its columns are read when first asked for: one event writes few tables."""

    def __init__(self, meaning: str, rule: str, key: str, columns: str) -> None:
        """``rule``: owned, union or replaces. ``key``: the names of key columns, as words.
        ``columns``: ``name TYPE group | meaning`` a line, group ``-`` for key columns."""
        self.meaning = meaning
        self.rule = rule
        self.key = tuple(key.split())
        self._text = columns

    @cached_property
    def columns(self) -> dict[str, Column]:
        """By name, in order."""
        columns = {}
        for line in self._text.strip().splitlines():
            head, meaning = line.split("|", 1)
            name, sql_type, group = head.split()
            columns[name] = Column(sql_type, "" if group == "-" else group, meaning.strip())
        return columns

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Columns by group, in order."""
        found: dict[str, list[str]] = {}
        for name, column in self.columns.items():
            if column.group:
                found.setdefault(column.group, []).append(name)
        return {group: tuple(names) for group, names in found.items()}
