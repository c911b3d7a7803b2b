"""What became of every number of a line: exactly one state each, and why.

The view ``number_ledger`` holds the rule; this asks its statement about one line, and says of the
numbers between that nobody has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from cxlocal.domain import NumberState
from cxlocal.journal.file import Journal
from cxlocal.projection.number_ledger import ledger_sql
from cxlocal.values import NamedTuple

FREE_WHY = "no machine has it yet"
# sql: a statement of ours, with marks for deliverable and line
LINE = (
    "SELECT lo, hi, state, why, run, node, version AS text FROM ("
    + ledger_sql("deliverable = :deliverable AND line = :line")
    + ") ORDER BY lo, run"
)


class Span(NamedTuple):
    """Consecutive numbers with one fate."""

    lo: int
    hi: int
    state: NumberState
    why: str
    run: str | None = None
    node: str | None = None
    text: str | None = None


class Explained(NamedTuple):
    """The state of one number, and why."""

    number: int
    state: NumberState
    why: str
    run: str | None
    node: str | None
    text: str | None


def ledger(journal: Journal, deliverable: str, line: str) -> list[Span]:
    """Every number from 0 up to the highest one known, in spans, each number exactly once."""
    return list(spans(journal.query(LINE, {"deliverable": deliverable, "line": line})))


def spans(rows: Iterable[dict[str, Any]]) -> Iterator[Span]:
    """The spans out of rows ordered by ``lo``. What two runs hold is said once, of neither."""
    following = 0
    for lo, group in groupby(rows, key=lambda row: row["lo"]):
        held = [Span(**{**row, "state": NumberState(row["state"])}) for row in group]
        if lo > following:
            yield Span(following, lo - 1, NumberState.FREE, FREE_WHY)
        yield held[0] if len(held) == 1 else held[0]._replace(run=None, node=None)
        following = held[0].hi + 1


def explain(journal: Journal, deliverable: str, line: str, number: int) -> Explained:
    """The state of one number and why (``cxlocal version explain``)."""
    for span in ledger(journal, deliverable, line):
        if span.lo <= number <= span.hi:
            return Explained(number, span.state, span.why, span.run, span.node, span.text)
    return Explained(number, NumberState.FREE, FREE_WHY, None, None, None)


def lines_of(journal: Journal, deliverable: str) -> list[str]:
    """The lines of a deliverable that this journal knows of."""
    rows = journal.connection.execute(
        "SELECT line FROM grant_entry WHERE deliverable = :d"
        " UNION SELECT line FROM spent WHERE deliverable = :d"
        " UNION SELECT line FROM version WHERE deliverable = :d AND line IS NOT NULL ORDER BY 1",
        {"d": deliverable},
    ).fetchall()
    return [row[0] for row in rows]
