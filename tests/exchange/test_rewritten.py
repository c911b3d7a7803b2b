"""What was pushed cannot be rewritten unseen, in the journal or in the store.

Whoever changes an event and computes every hash after it anew leaves a chain that is sound in itself;
the hash that the store acknowledged is another one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numbers_kit import open_journal, request
from rewriting_kit import rewrite, rewrite_store

from cxlocal.allocation.allocator import obtain_number
from cxlocal.domain import Actor, Outcome
from cxlocal.events.runs import RunRef, run_finished, run_queued
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.settling import questions, settle
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up, rebuild

ADA = Actor("Ada <ada@example.org>", "git config")
REF = RunRef("webshop", "run-1", "webshop", "urn:uuid:1")


@pytest.fixture
def pushed(machine: Callable[..., Journal], store: Any) -> Journal:
    """A release that failed, and that the store knows of."""
    journal = machine()
    obtain_number(journal, store, request("run-1"))
    journal.append(run_queued(REF, {"kind": "release", "actor": {"id": "ada", "how": "t"}}))
    journal.append(
        run_finished(
            REF, outcome=Outcome.FAILURE, reason="1 of 10 failed", version="2.7.0", seconds=1.0,
            stopped_before="",
        )
    )  # fmt: skip
    assert synchronise(journal, store, use_breaker=False).pending == 0
    return journal


@pytest.mark.parametrize("goes_on", [False, True], ids=["as-it-was", "gone-on"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"outcome":"failure"', '"outcome":"success"'),
        ("1 of 10 failed", "0 of 10 failed"),
        ('"number":0', '"number":7'),
        ('"id":"ada"', '"id":"bob"'),
    ],
    ids=["the-last-event", "a-reason", "an-early-event", "who-it-was"],
)
def test_p15_an_acknowledged_event_that_was_rewritten_is_noticed(
    pushed: Journal, cx: Any, tmp_path: Path, old: str, new: str, goes_on: bool
) -> None:
    assert verify(pushed).findings == []
    pushed.close()
    assert rewrite(pushed.path, old, new) > 0
    with open_journal(pushed.home) as journal:
        if goes_on:
            journal.append(run_queued(REF._replace(run="run-2"), {"kind": "release"}))
        rebuild(journal)
        found = verify(journal).findings
        assert {each.kind for each in found} - {"held", "untrue"} == {"acknowledged"}
        assert "was rewritten after a store acknowledged it" in found[0].what
        assert found[0].where.startswith(journal.node[:8])
    home = {"CXLOCAL_HOME": str(pushed.home)}
    told = cx("verify", cwd=tmp_path, env=home)
    assert told.code == 7 and "every machine that was in contact" in told.err
    # Recovering the file would mend nothing.
    assert "nothing is to be recovered" in cx.ok("journal", "recover", cwd=tmp_path, env=home).err


def test_what_the_store_never_saw_is_not_called_rewritten(pushed: Journal) -> None:
    pushed.append(run_queued(REF._replace(run="run-2"), {"kind": "release", "reason": "a fix"}))
    pushed.close()
    assert rewrite(pushed.path, '"reason":"a fix"', '"reason":"no fix"') == 1
    with open_journal(pushed.home) as journal:
        rebuild(journal)
        assert verify(journal).findings == []


def told(journal: Journal) -> list[str]:
    catch_up(journal)
    rows = journal.query(
        "SELECT kind, text FROM open_flags WHERE kind IN ('two-histories', 'store-changed')"
    )
    return [f"{row['kind']}: {row['text']}" for row in rows]


def outcome(journal: Journal) -> str:
    catch_up(journal)
    return str((journal.one("SELECT outcome FROM run WHERE id = 'run-1'") or {})["outcome"])


def level(store: Any, *journals: Journal) -> list[str]:
    words: list[str] = []
    for _ in range(3):
        for journal in journals:
            report = synchronise(journal, store, use_breaker=False, budget_seconds=20)
            assert report.reached
            words += report.rewritten
    return words


TO_SUCCESS = ('"outcome":"failure"', '"outcome":"success"')


@pytest.mark.parametrize("goes_on", [False, True], ids=["as-it-was", "gone-on"])
@pytest.mark.parametrize("knew", [False, True], ids=["came-later", "knew-the-first"])
def test_a_rewritten_journal_is_noticed_at_the_next_contact_and_flagged_everywhere(
    pushed: Journal, store: Any, machine: Callable[..., Journal], goes_on: bool, knew: bool
) -> None:
    other = machine("other")
    if knew:
        assert level(store, other) == []
    pushed.close()
    assert rewrite(pushed.path, *TO_SUCCESS) > 0
    with open_journal(pushed.home) as laptop:
        rebuild(laptop)
        assert outcome(laptop) == "success"
        if goes_on:
            laptop.append(run_queued(REF._replace(run="run-2"), {"kind": "release"}))
        (words,) = level(store, laptop, other)
        assert "the journal here was rewritten" in words
        for journal in (laptop, other):
            (flag,) = told(journal)
            assert "has two histories from position" in flag
            assert outcome(journal) == "failure"
            (question,) = questions(journal)
            first = acknowledged_first(store, question.histories)
            assert f"the store had {first} first" in flag
        assert level(store, laptop, other) == [], "it is said once"
        settle(other, question.node, first, "the log of the server", ADA)
        level(store, other, laptop)
        for journal in (laptop, other):
            assert told(journal) == []
            assert outcome(journal) == "failure"
            assert verify(journal).findings == []


def acknowledged_first(store: Any, names: list[str]) -> str:
    """Of two histories the one whose events the store has on its first branch."""
    with sqlite3.connect(store.inner.path) as direct:
        found = [
            name
            for name in names
            for (branch,) in direct.execute(
                "SELECT branch FROM event WHERE lower(hex(substr(hash, 1, 8))) = ?", (name,)
            )
            if branch == 0
        ]
    direct.close()
    (name,) = found
    return name


def test_the_second_history_may_be_the_right_one(
    pushed: Journal, store: Any, machine: Callable[..., Journal]
) -> None:
    other = machine("other")
    pushed.close()
    rewrite(pushed.path, *TO_SUCCESS)
    with open_journal(pushed.home) as laptop:
        rebuild(laptop)
        level(store, laptop, other)
        (question,) = questions(laptop)
        first = acknowledged_first(store, question.histories)
        (second,) = set(question.histories) - {first}
        settle(laptop, question.node[:8], second[:8], "the run was repeated by hand", ADA)
        level(store, laptop, other)
        assert (outcome(laptop), outcome(other)) == ("success", "success")
        assert told(laptop) == told(other) == []


@pytest.mark.parametrize("running", [False, True], ids=["events", "events-and-feed"])
def test_a_store_that_was_rewritten_is_named_as_that(
    pushed: Journal, store: Any, machine: Callable[..., Journal], running: bool
) -> None:
    witness, late = machine("witness"), machine("late")
    level(store, witness)
    rewrite_store(store.inner.path, *TO_SUCCESS, running=running)
    words = level(store, pushed, witness, late)
    assert len(words) == 1
    assert "the store's history was changed, or it was put back and went on" in words[0]
    stopped = synchronise(late, store, use_breaker=False).stopped
    assert "the store's history was changed" in stopped
    assert "lost part of its memory" not in stopped
    for journal in (pushed, witness, late):
        assert any(text.startswith("store-changed") for text in told(journal))
    for journal in (pushed, late):
        assert any(text.startswith("two-histories") for text in told(journal))
        assert outcome(journal) == "failure"
    # The machine that was told otherwise does not take the store's word for which was first.
    (question,) = questions(pushed)
    (flag,) = [text for text in told(pushed) if text.startswith("two-histories")]
    ours = [name for name in question.histories if f"the store had {name} first" in flag]
    settle(pushed, question.node, ours[0], "our receipt", ADA)
    assert told(pushed) == []
    assert outcome(pushed) == "failure"


@pytest.mark.parametrize("running", [False, True], ids=["events", "events-and-feed"])
def test_journal_acknowledgements_and_store_rewritten_together(
    pushed: Journal, store: Any, machine: Callable[..., Journal], running: bool
) -> None:
    """Who writes all of it anew meets no witness but the machines that were in contact before."""
    before = machine("before")
    level(store, before)
    pushed.close()
    assert rewrite(pushed.path, *TO_SUCCESS) > 0
    with sqlite3.connect(pushed.path) as direct:
        direct.execute(
            "UPDATE ack SET hash = (SELECT lower(hex(e.hash)) FROM event e JOIN node_lookup n"
            " ON n.id = e.node WHERE n.name = ack.node AND e.sequence = ack.sequence)"
        )
    direct.close()
    rewrite_store(store.inner.path, *TO_SUCCESS, running=running)
    with open_journal(pushed.home) as laptop:
        rebuild(laptop)
        assert verify(laptop).findings == []
        late = machine("late")
        for journal in (laptop, late):
            assert level(store, journal) == told(journal) == []
            assert outcome(journal) == "success", "what was forged is believed"
        # One that had been told otherwise stops the store, and keeps what it was told.
        level(store, before)
        assert (
            "the store's history was changed" in synchronise(late, store, use_breaker=False).stopped
        )
        assert outcome(before) == "failure"
        assert [text.partition(":")[0] for text in told(before)] == ["two-histories"] * running
