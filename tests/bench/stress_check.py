"""What must hold after ``reserve_stress.py``: every number accounted for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.exchange.store import Store
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.numbers.ledger import Span, ledger

DELIVERABLE, LINE = "webshop", "2.7"

ROUNDS = 6
"""All bring what they have, all take what the others brought and gave up, and so on until nothing
moves; a store that has just been killed may let one round go by."""

UNEXPLAINED = ("conflicted", "in use, not yet confirmed")


class Printed(NamedTuple):
    """A number as a process reported it; from the moment it asked to the moment it had it, in
    nanoseconds of the one monotonic clock of this computer."""

    number: int
    run: str
    how: str
    asked: int
    had: int


def open_journal(home: Path) -> Journal:
    home.mkdir(exist_ok=True)
    return Journal.open(home / "journal.db", clock=SystemClock(), ids=SystemIds())


def printed(report: Path) -> list[Printed]:
    """What the processes of one machine reported."""
    lines = [line.split() for line in report.read_text().splitlines()] if report.exists() else []
    return [Printed(int(n), run, how, int(asked), int(had)) for n, run, how, asked, had in lines]


def levelled(journals: Sequence[Journal], stores: Sequence[Store]) -> list[str]:
    """Synchronise until nothing moves; why that did not come to pass."""
    faults: list[str] = []
    for _ in range(ROUNDS):
        reports = [
            synchronise(journal, store, use_breaker=False, budget_seconds=600)
            for journal, store in zip(journals, stores, strict=True)
        ]
        faults = [
            f"sync: {report}" for report in reports
            if not report.reached or report.pending or report.stopped or report.to_relay
        ]  # fmt: skip
        if not faults and not any(report.pushed or report.pulled for report in reports):
            return []
    return faults or ["sync: after every round there is something left to say"]


def out_of_order(online: Sequence[Printed]) -> Iterator[str]:
    """Who asked after another had an answer, and did not get a higher number than that one."""
    ended = iter(sorted(online, key=lambda each: each.had))
    latest = next(ended, None)
    highest = -1
    for each in sorted(online, key=lambda each: each.asked):
        while latest is not None and latest.had < each.asked:
            highest = max(highest, latest.number)
            latest = next(ended, None)
        if each.number <= highest:
            yield f"{each.number} was asked for when {highest} had been handed out"


def machine_faults(journal: Journal, reported: Sequence[Printed]) -> Iterator[str]:
    """What one machine printed and what its journal holds."""
    spent = dict(journal.connection.execute("SELECT number, run FROM spent").fetchall())
    for each in reported:
        if spent.get(each.number) != each.run:
            yield f"{each.number} was printed and is not in the journal"
    own = journal.connection.execute(
        "SELECT number FROM version WHERE node = ? ORDER BY sequence", (journal.node,)
    ).fetchall()
    yield from (f"{b} after {a} on one machine" for (a,), (b,) in pairwise(own) if a >= b)


def grants_of(journal: Journal) -> list[tuple[Any, ...]]:
    """The log of grants: k, kind, lo, hi, node, run, hash."""
    return [
        tuple(row)
        for row in journal.connection.execute(
            "SELECT k, kind, lo, hi, node, run, hash FROM grant_entry"
            " WHERE deliverable = ? AND line = ? ORDER BY k",
            (DELIVERABLE, LINE),
        )
    ]


def grant_faults(
    grants: Sequence[tuple[Any, ...]], reported: Sequence[tuple[str, Printed]]
) -> Iterator[str]:
    """Grants overlap nowhere, online ones rise, and what was printed (node, number) was granted."""
    if [grant[0] for grant in grants] != list(range(1, len(grants) + 1)):
        yield "the log of grants has a gap"
    given = sorted((grant for grant in grants if grant[1] != "raise"), key=lambda grant: grant[2])
    yield from (f"grants overlap: {a} {b}" for a, b in pairwise(given) if a[3] >= b[2])
    online = [grant for grant in grants if grant[1] == "online"]
    yield from (f"{b[2]} was granted after {a[2]}" for a, b in pairwise(online) if a[2] >= b[2])
    run_of = {grant[2]: (grant[4], grant[5]) for grant in online}
    held = {
        number: grant[4] for grant in given if grant[1] == "reserve"
        for number in range(grant[2], grant[3] + 1)
    }  # fmt: skip
    for node, each in reported:
        if each.how == "online" and run_of.get(each.number) != (node, each.run):
            yield f"{each.number} was printed as online and not granted to {each.run}"
        if each.how == "reserve" and held.get(each.number) != node:
            yield f"{each.number} was printed from a reserve that {node[:8]} does not hold"


def ledger_faults(spans: Sequence[Span], states: dict[str, int]) -> Iterator[str]:
    """Every number from 0 on has one state, and one that says what became of it. Counts them."""
    following = 0
    for span in spans:
        if span.lo != following:
            yield f"no state, or two, before {span.lo}"
        following = span.hi + 1
        states[span.state.value] = states.get(span.state.value, 0) + span.hi - span.lo + 1
        if span.state.value == "reserved" and not span.why.startswith("held by"):
            yield f"{span.lo} to {span.hi}: {span.why}"
    if set(states) & set(UNEXPLAINED):
        yield f"states: {states}"


def accounted(
    homes: Sequence[Path], reports: Sequence[Path], stores: Sequence[Store]
) -> tuple[dict[str, Any], list[str]]:
    """Findings and faults. The last home is that of a witness, which took no number and learns all
    it knows from the store: where the others agree with it, they agree with the store."""
    journals = [open_journal(home) for home in homes]
    try:
        faults = levelled(journals, stores)
        parts = [printed(report) for report in reports]
        every = [each for part in parts for each in part]
        numbers = [each.number for each in every]
        if len(numbers) != len(set(numbers)):
            faults.append("a number was printed twice")
        spent = [
            row[0]
            for journal in journals
            for row in journal.connection.execute("SELECT number FROM spent")
        ]
        if len(spent) != len(set(spent)):
            faults.append("two journals hold one number")
        online = [each for each in every if each.how == "online"]
        faults += out_of_order(online)
        named: list[tuple[str, Printed]] = []
        for journal, part in zip(journals, parts, strict=False):
            faults += machine_faults(journal, part)
            named += [(journal.node, each) for each in part]
        grants = grants_of(journals[-1])
        faults += grant_faults(grants, named)
        spans = ledger(journals[-1], DELIVERABLE, LINE)
        states: dict[str, int] = {}
        faults += ledger_faults(spans, states)
        for journal in journals[:-1]:
            if grants_of(journal) != grants:
                faults.append("a machine knows other grants than the store")
            if ledger(journal, DELIVERABLE, LINE) != spans:
                faults.append("a machine and the store explain a number differently")
        unknown = set(spent) - {
            row[0] for row in journals[-1].connection.execute("SELECT number FROM version")
        }
        if unknown:
            faults.append(f"the store does not know of {sorted(unknown)[:9]}")
    finally:
        for journal in journals:
            journal.close()
    return {
        "numbers": len(numbers),
        "online": len(online),
        "offline": len(numbers) - len(online),
        "grants": len(grants),
        "highest": spans[-1].hi if spans else -1,
        "states": states,
    }, faults
