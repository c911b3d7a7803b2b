"""Over every kind of store: a journal that was rewritten after a push is noticed at the next contact, both
histories reach every machine, and a person's word closes the question on all of them (docs/faults.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numbers_kit import open_journal, request
from rewriting_kit import rewrite

from cxlocal.allocation.allocator import obtain_number
from cxlocal.domain import Actor, Outcome
from cxlocal.events.runs import RunRef, run_finished, run_queued
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.settling import questions, settle
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import rebuild

Machine = Callable[..., Journal]
REF = RunRef("webshop", "run-1", "webshop", "urn:uuid:1")
ADA = Actor("Ada <ada@example.org>", "git config")


def level(store: Any, *journals: Journal) -> list[str]:
    words: list[str] = []
    for _ in range(3):
        for journal in journals:
            report = synchronise(journal, store, use_breaker=False, budget_seconds=20)
            assert report.reached
            words += report.rewritten
    return words


def seen(journal: Journal) -> tuple[int, str]:
    """How many flags of two histories are open, and how the run ended."""
    flags = journal.query("SELECT text FROM open_flags WHERE kind = 'two-histories'")
    row = journal.one("SELECT outcome FROM run WHERE id = 'run-1'") or {}
    return len(flags), row["outcome"]


def test_p15_a_rewritten_journal_is_disputed_everywhere_until_it_is_settled(
    open_any: Any, machine: Machine
) -> None:
    laptop, other, late = machine(), machine("other"), machine("late")
    stores = {journal.home: open_any() for journal in (laptop, other, late)}

    def sync(*journals: Journal) -> list[str]:
        return [each for _ in range(3) for one in journals for each in level(stores[one.home], one)]

    obtain_number(laptop, stores[laptop.home], request("run-1"))
    laptop.append(run_queued(REF, {"kind": "release"}))
    laptop.append(
        run_finished(
            REF, outcome=Outcome.FAILURE, reason="", version="2.7.0", seconds=1.0, stopped_before=""
        )
    )
    sync(laptop, other)
    laptop.close()
    assert rewrite(laptop.path, '"outcome":"failure"', '"outcome":"success"') > 0
    with open_journal(laptop.home) as again:
        rebuild(again)
        (words,) = sync(again, other, late)
        assert "the journal here was rewritten" in words
        assert {seen(journal) for journal in (again, other, late)} == {(1, "failure")}
        (question,) = questions(late)
        (flag,) = late.query("SELECT text FROM open_flags WHERE kind = 'two-histories'")
        (first,) = [name for name in question.histories if f"had {name} first" in flag["text"]]
        (second,) = set(question.histories) - {first}
        # The store acknowledged the failure first; a person may know better.
        settle(late, question.node, second, "it was repeated by hand", ADA)
        sync(late, other, again)
        assert {seen(journal) for journal in (again, other, late)} == {(0, "success")}
        assert [verify(journal).findings for journal in (again, other, late)] == [[], [], []]
