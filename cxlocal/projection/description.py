"""How a projected table is described."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """One column: SQL type, the group it is written with, what it means (with its unit)."""

    type: str
    group: str
    meaning: str


class Table(NamedTuple):
    """One projected table."""

    meaning: str
    rule: str
    """owned, union or replaces."""
    key: tuple[str, ...]
    columns: dict[str, Column]

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Columns by group, in order."""
        found: dict[str, list[str]] = {}
        for name, column in self.columns.items():
            if column.group:
                found.setdefault(column.group, []).append(name)
        return {group: tuple(names) for group, names in found.items()}


def _parse(text: str) -> dict[str, Column]:
    """``name TYPE group | meaning`` a line; group ``-`` for key columns."""
    columns = {}
    for line in text.strip().splitlines():
        head, meaning = line.split("|", 1)
        name, sql_type, group = head.split()
        columns[name] = Column(sql_type, "" if group == "-" else group, meaning.strip())
    return columns


def describe(meaning: str, rule: str, key: str, columns: str) -> Table:
    """A table, its key as words, its columns as ``name TYPE group | meaning`` a line."""
    return Table(meaning, rule, tuple(key.split()), _parse(columns))
