"""What was made from another commit than the run's does not count for the run, whichever is known
first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.domain import Outcome
from cxlocal.events.belonging import mark_id
from cxlocal.events.document import Draft, Event
from cxlocal.events.runs import RunRef, run_queued, stage_finished, stage_started
from cxlocal.exchange.receive import take_event
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.journal.rebuild import catch_up, rebuild
from cxlocal.journal.verify import verify
from cxlocal.projection.standing import words_of
from cxlocal.runner.record import RunRecord

RUN = mark_id(SystemIds().uuid(), "shop")
ONE, TWO = "1" * 40, "2" * 40


def open_journal(folder: Path) -> Journal:
    return Journal.open(folder / "journal.db", clock=SystemClock(), ids=SystemIds())


def begun(commit: str) -> list[Draft]:
    ref = RunRef("shop", RUN, "shop", "urn:uuid:x")
    return [run_queued(ref, {"kind": "release", "revision": {"commit": commit}})]


def tried(commit: str, elsewhere: str, outcome: Outcome = Outcome.SUCCESS) -> list[Draft]:
    ref = RunRef("shop", RUN, "shop", "urn:uuid:x", elsewhere)
    facts: dict[str, Any] = {"kind": "test", "part": "", "replaces": []}
    return [
        stage_started(
            ref, stage="unit", attempt=1, facts={**facts, **({"revision": commit} if commit else {})}
        ),
        stage_finished(ref, stage="unit", attempt=1, outcome=outcome, reason="", facts={}),
    ]  # fmt: skip


def told(folder: Path, *machines: Sequence[Draft]) -> list[list[Event]]:
    histories = []
    for count, drafts in enumerate(machines):
        with open_journal(folder / f"m{count}") as journal:
            journal.append(*drafts)
            histories.append([event for _, event in all_events(journal)])
    return histories


@pytest.mark.parametrize(
    ("machines", "succeeded", "counts", "flagged"),
    [
        ([begun(ONE), tried(ONE, "a")], True, [1], False),
        ([begun(ONE), tried(TWO, "a")], False, [-1], True),
        ([begun(ONE), tried("", "a")], True, [1], False),
        ([begun(ONE), tried(TWO, "a"), tried(ONE, "b")], True, [-1, 1], False),
        ([begun(ONE), tried(TWO, "a", Outcome.FAILURE), tried(ONE, "b")], True, [-1, 1], False),
        ([begun(ONE), tried(TWO, "a"), tried(ONE, "b", Outcome.FAILURE)], False, [-1, 1], False),
    ],
    ids=["its own", "another", "not recorded", "both", "another failed", "its own failed"],
)  # fmt: skip
def test_only_work_of_the_commit_counts_in_any_order(
    tmp_path: Path, machines: list[list[Draft]], succeeded: bool, counts: list[int], flagged: bool
) -> None:
    histories = told(tmp_path, *machines)
    for count, order in enumerate(itertools.permutations(histories)):
        with open_journal(tmp_path / f"order{count}") as journal:
            for history in order:
                with journal.write() as transaction:
                    for event in history:
                        take_event(transaction, event, None)
                catch_up(journal)
            for _ in range(2):
                rows = journal.query("SELECT counts FROM stage_run ORDER BY id")
                assert [row["counts"] for row in rows] == counts
                record = RunRecord.find(journal, RUN)
                assert record is not None
                assert ("unit" in record.succeeded()) is succeeded
                flags = journal.query("SELECT text FROM open_flags WHERE kind = 'other-commit'")
                assert bool(flags) is flagged
                if flagged:
                    assert "222222222222" in flags[0]["text"] and "111111111111" in flags[0]["text"]
                    words = words_of("unit", record.standings()["unit"])
                    assert "was made from another commit, 222222222222" in words
                rebuild(journal)
            assert verify(journal).findings == []


def test_a_stage_says_which_commit_it_was_made_from(desk: Any) -> None:
    """Also of a run whose beginning has not arrived."""
    assert desk("stage", "unit", "--", "true", env={"CXLOCAL_RUN": RUN}).code == 0
    assert desk.rows("SELECT run, revision FROM stage_run") == [
        {"run": RUN, "revision": desk.head()}
    ]
