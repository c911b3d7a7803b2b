"""A machine whose clock is ahead: its events are kept, ours do not follow, and somebody is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cxlocal.clock import SystemIds
from cxlocal.events.hybrid import AHEAD_MS_MAX, COUNTER_BITS, IS_AHEAD_SQL
from cxlocal.events.runs import run_flagged
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.receive import take_event
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.journal.rebuild import catch_up

NOW_MS = 1_795_400_000_000
YEAR_MS = 365 * 86_400_000
AHEAD = "SELECT raised_at, text, subject FROM open_flags WHERE kind = 'clock-ahead'"


class Clock:
    def __init__(self, ms: int) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


@pytest.fixture
def open_journal(tmp_path: Path) -> Iterator[Callable[[str, Clock], Journal]]:
    opened: list[Journal] = []

    def open_(name: str, clock: Clock) -> Journal:
        path = tmp_path / name / "journal.db"
        opened.append(Journal.open(path, clock=clock, ids=SystemIds()))
        return opened[-1]

    yield open_
    for journal in opened:
        journal.close()


def speak(journal: Journal) -> None:
    journal.append(run_flagged(kind="note", subject="s", text="t"))


def pull(journal: Journal, other: Journal) -> None:
    with journal.write() as transaction:
        for _, event in all_events(other):
            take_event(transaction, event, 1)
    assert catch_up(journal)


def test_a_clock_ahead_is_shown_until_it_was_set_right(
    open_journal: Callable[[str, Clock], Journal],
) -> None:
    wrong = Clock(NOW_MS + YEAR_MS)
    here, there = open_journal("here", Clock(NOW_MS)), open_journal("there", wrong)
    speak(here)
    speak(there)
    pull(here, there)
    (row,) = here.query(AHEAD)
    assert row["subject"] == there.node and row["raised_at"] == "2026-11-23T02:13:20.000Z"
    assert "365 days ahead" in row["text"]
    speak(here)
    clocks = here.query("SELECT max(clock) AS clock FROM event e, node_lookup n"
                        " WHERE n.id = e.node AND n.name = ?", (here.node,))  # fmt: skip
    assert clocks[0]["clock"] >> COUNTER_BITS == NOW_MS, "ours does not follow"
    assert verify(here).findings == [] and there.query(AHEAD) == []
    # The hybrid clock there stays a year ahead; the times it writes are right again.
    wrong.ms = NOW_MS
    speak(there)
    pull(here, there)
    assert here.query(AHEAD) == []


@pytest.mark.parametrize(("ahead_ms", "flags"), [(0, 0), (AHEAD_MS_MAX, 0), (AHEAD_MS_MAX + 1, 1)])
def test_a_clock_may_be_ahead_by_a_little(
    open_journal: Callable[[str, Clock], Journal], ahead_ms: int, flags: int
) -> None:
    here, there = open_journal("here", Clock(NOW_MS)), open_journal("there", Clock(NOW_MS))
    speak(here)
    there.clock.ms += ahead_ms  # type: ignore[attr-defined]
    speak(there)
    pull(here, there)
    assert len(here.query(AHEAD)) == flags


def test_a_clock_of_our_own_that_was_set_back_is_no_news_from_elsewhere(
    open_journal: Callable[[str, Clock], Journal],
) -> None:
    clock = Clock(NOW_MS + YEAR_MS)
    here = open_journal("here", clock)
    speak(here)
    clock.ms = NOW_MS
    speak(here)
    assert here.query(AHEAD) == []


def test_nobody_reads_all_events_to_find_those_ahead(
    open_journal: Callable[[str, Clock], Journal],
) -> None:
    """Status asks for flags every time."""
    here = open_journal("here", Clock(NOW_MS))
    plan = here.query(f"EXPLAIN QUERY PLAN SELECT node FROM event WHERE {IS_AHEAD_SQL}")
    assert "event_ahead" in plan[0]["detail"]
    plan = here.query("EXPLAIN QUERY PLAN SELECT * FROM open_flags")
    whole = [row["detail"] for row in plan if row["detail"].startswith("SCAN event")]
    assert all("event_ahead" in detail for detail in whole), whole
