"""Facts written to tables: one upsert each, the same for every table (see ``tables``)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from functools import lru_cache

from cxlocal.projection.facts import Fact
from cxlocal.projection.tables import TABLES
from cxlocal.text import clean_text


@lru_cache(maxsize=256)
def upsert_sql(table: str, group: str) -> str:
    """The statement for one group of a table. Names come from ``TABLES`` alone, never from data.

    The WHERE clause is the merge rule: a group is only overwritten by a greater ``_from``.
    """
    spec = TABLES[table]
    keys = ", ".join(spec.key)
    if not group:
        marks = ", ".join("?" * len(spec.key))
        # sql: names out of TABLES; values are marks
        return f"INSERT INTO {table} ({keys}) VALUES ({marks}) ON CONFLICT DO NOTHING"
    columns = (*spec.groups[group], f"{group}_from")
    names = ", ".join(f'"{name}"' for name in (*spec.key, *columns))
    marks = ", ".join("?" * (len(spec.key) + len(columns)))
    updates = ", ".join(f'"{name}" = excluded."{name}"' for name in columns)
    # sql: names out of TABLES; values are marks
    return (
        f"INSERT INTO {table} ({names}) VALUES ({marks})"
        f" ON CONFLICT ({keys}) DO UPDATE SET {updates}"
        f" WHERE excluded.{group}_from > coalesce({table}.{group}_from, '')"
    )


def apply_facts(connection: sqlite3.Connection, facts: Iterable[Fact], stamp: str) -> None:
    """Write facts of one event. ``stamp`` says which event (``project.stamp``)."""
    for table, key, group, values in facts:
        if group:
            columns = _columns(table, group)
            row = (*map(_plain, key), *(_plain(values.get(name)) for name in columns), stamp)
        else:
            row = tuple(map(_plain, key))
        connection.execute(upsert_sql(table, group), row)


@lru_cache(maxsize=256)
def _columns(table: str, group: str) -> tuple[str, ...]:
    return TABLES[table].groups[group]


def _plain(value: object) -> object:
    """A value SQLite can hold. Documents come from other machines and may hold anything."""
    if isinstance(value, str):
        return value if value.isascii() else clean_text(value)
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    return clean_text(json.dumps(value, ensure_ascii=False, sort_keys=True))
