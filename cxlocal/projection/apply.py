"""Facts written to tables: one upsert each, the same for every table (see ``tables``)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from cxlocal.projection.facts import Fact
from cxlocal.projection.parts import Attempt, counting
from cxlocal.projection.tables import TABLES
from cxlocal.text import clean_text

# sql: a constant of this module
ATTEMPTS = """
SELECT id, attempt, outcome, part, parts_total, place, job, job_id, run_attempt, job_attempt,
  replaces, counts, beside, revision, (SELECT revision FROM run WHERE run.id = stage_run.run), stage
FROM stage_run
"""
# sql: the same
BESIDE = ATTEMPTS + "WHERE (run, stage) = (SELECT run, stage FROM stage_run WHERE id = ?)"
"""All attempts of the stage of one."""
MADE_BEFORE = "SELECT min(id) FROM stage_run WHERE run = ? AND revision <> '' GROUP BY stage"
"""One attempt of each stage that says which commit it was made from."""


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
            columns = TABLES[table].groups[group]
            row = (*map(plain, key), *map(plain, map(values.get, columns)), stamp)
        else:
            row = tuple(map(plain, key))
        connection.execute(upsert_sql(table, group), row)
        if table == "stage_run":
            count_attempts(connection, row[0])
        elif table == "run" and group == "queued":
            for (one,) in connection.execute(MADE_BEFORE, row[:1]).fetchall():
                count_attempts(connection, one)


def count_attempts(connection: sqlite3.Connection, stage_run: object) -> None:
    """Say anew which attempts of the stage of ``stage_run`` count. It follows from the rows alone, in
    whatever order they came."""
    rows = connection.execute(BESIDE, (stage_run,)).fetchall()
    attempts = [read_attempt(row) for row in rows]
    if len(rows) == 1 and rows[0][10] is None:
        counted = {rows[0][0]}  # the only one, which replaces none
    else:
        counted = {one.id for one in counting(attempts)}
    for row, one in zip(rows, attempts, strict=True):
        counts = -1 if one.other else int(one.id in counted)
        if row[11] != counts:
            connection.execute("UPDATE stage_run SET counts = ? WHERE id = ?", (counts, one.id))


def read_attempt(row: Sequence[Any]) -> Attempt:
    """An attempt out of the columns of ``ATTEMPTS``."""
    id, attempt, outcome, part, total, place, job, job_id, run_attempt, job_attempt, replaces = row[
        :11
    ]
    beside, made_from, commit = row[12], row[13] or "", row[14] or ""
    return Attempt(
        id, attempt if isinstance(attempt, int) else 0, outcome, part or "", total or 0,
        place or "", job or "", job_id or "", run_attempt or 0, job_attempt or 0,
        None if replaces is None else tuple(json.loads(replaces)),
        tuple(json.loads(beside)) if beside else (),
        made_from if commit and made_from != commit else "",
    )  # fmt: skip


def plain(value: object) -> object:
    """A value SQLite can hold. Documents come from other machines and may hold anything."""
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, str):
        return value if value.isascii() else clean_text(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    return clean_text(json.dumps(value, ensure_ascii=False, sort_keys=True))
