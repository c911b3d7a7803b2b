"""What became of every number: exactly one state each, and why.

``account`` is pure: it paints what is known of a line, weakest statement first. A number in a
cursor's way is passed over; a grant over it says who got it; a machine's word that it will never
be used is stronger; a run that uses it is strongest, and two runs make it conflicted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cxlocal.domain import NumberState
from cxlocal.journal.file import Journal
from cxlocal.numbers import holdings, log


class Span(NamedTuple):
    """Consecutive numbers with one fate."""

    lo: int
    hi: int
    state: NumberState
    why: str
    run: str | None = None
    node: str | None = None
    text: str | None = None


class Use(NamedTuple):
    """A run that uses a number, as projected from events."""

    number: int
    run: str
    text: str
    how: str
    state: str
    node: str


class Skip(NamedTuple):
    """Numbers a machine said it will never use."""

    lo: int
    hi: int
    why: str
    node: str


class Explained(NamedTuple):
    """The state of one number, and why."""

    number: int
    state: NumberState
    why: str
    run: str | None
    node: str | None
    text: str | None


_HOW = {"reserve": "from the reserve", "lent": "from the reserve of another machine, which lent it"}
FREE_WHY = "no machine has it yet"


def account(
    entries: Sequence[log.Entry],
    uses: Iterable[Use],
    skips: Iterable[Skip],
    names: dict[str, str] | None = None,
) -> list[Span]:
    """Every number from 0 up to the highest one known, in spans, each number exactly once.

    ``names`` gives readable names of machines by node id.
    """
    layers = [
        *_passed(entries), *_grants(entries, names or {}), *_skips(skips, names or {}),
        *_uses(uses),
    ]  # fmt: skip
    if not layers:
        return []
    top = max(span.hi for span in layers)
    edges = sorted({0, top + 1} | {span.lo for span in layers} | {span.hi + 1 for span in layers})
    fates: list[Span | None] = [None] * len(edges)
    for span in layers:
        for index in range(bisect_left(edges, span.lo), bisect_left(edges, span.hi + 1)):
            fates[index] = span
    cursor = max((entry.hi for entry in entries if entry.kind != log.RESERVE), default=-1)
    pieces = []
    for index, lo in enumerate(edges[:-1]):
        fate = fates[index] or _unknown(lo, cursor)
        pieces.append(fate._replace(lo=lo, hi=edges[index + 1] - 1))
    return _joined(pieces)


def _unknown(number: int, cursor: int) -> Span:
    if number <= cursor:
        why = "granted to another machine whose history has not arrived here yet"
        return Span(number, number, NumberState.RESERVED, why)
    return Span(number, number, NumberState.FREE, FREE_WHY)


def _passed(entries: Iterable[log.Entry]) -> list[Span]:
    return [
        Span(entry.lo, entry.hi, NumberState.SKIPPED, f"passed over: {entry.why}")
        for entry in entries
        if entry.kind == log.RAISE
    ]


def _grants(entries: Iterable[log.Entry], names: dict[str, str]) -> list[Span]:
    spans = []
    for entry in entries:
        if entry.kind == log.RAISE:
            continue
        name = names.get(entry.node, entry.node[:8])
        if entry.kind == log.RESERVE:
            why = f"held by {name} for the day the store cannot be reached"
        else:
            why = f"granted to a run on {name}; its use has not been reported yet"
        spans.append(
            Span(entry.lo, entry.hi, NumberState.RESERVED, why, entry.run or None, entry.node)
        )
    return spans


def _skips(skips: Iterable[Skip], names: dict[str, str]) -> list[Span]:
    return [
        Span(
            skip.lo, skip.hi, NumberState.SKIPPED,
            f"{names.get(skip.node, skip.node[:8])} gave it up: {skip.why}", None, skip.node,
        )
        for skip in skips
    ]  # fmt: skip


def _uses(uses: Iterable[Use]) -> list[Span]:
    by_number: dict[int, list[Use]] = {}
    for use in uses:
        by_number.setdefault(use.number, []).append(use)
    spans = []
    for number, holders in by_number.items():
        first = holders[0]
        if len({use.run for use in holders}) > 1:
            runs = " and ".join(sorted(use.run for use in holders))
            why = f"two runs hold it: {runs}; name a run or a digest instead"
            spans.append(Span(number, number, NumberState.CONFLICTED, why, None, None, first.text))
            continue
        why = f"taken {_HOW.get(first.how, 'online')}"
        state = NumberState(first.state)
        spans.append(Span(number, number, state, why, first.run, first.node, first.text))
    return spans


def _joined(pieces: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for piece in pieces:
        if joined and joined[-1][2:] == piece[2:]:
            joined[-1] = joined[-1]._replace(hi=piece.hi)
        else:
            joined.append(piece)
    return joined


def ledger(journal: Journal, deliverable: str, line: str) -> list[Span]:
    """``account`` of what this journal knows of a line."""
    here = (deliverable, line)
    uses = journal.connection.execute(
        "SELECT number, run, version, how, state, node FROM number_uses"
        " WHERE deliverable = ? AND line = ? AND number >= 0",
        here,
    ).fetchall()
    skips = journal.connection.execute(
        "SELECT lo, hi, coalesce(why, ''), coalesce(node, '') FROM number_skip"
        " WHERE deliverable = ? AND line = ? AND why IS NOT NULL",
        here,
    ).fetchall()
    names = dict(
        journal.connection.execute(
            "SELECT node, host FROM machine WHERE host IS NOT NULL"
        ).fetchall()
    )
    return account(
        holdings.log_entries(journal.connection, *here),
        [Use._make(row) for row in uses],
        [Skip._make(row) for row in skips],
        names,
    )


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
