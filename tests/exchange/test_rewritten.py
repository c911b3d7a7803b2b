"""What was pushed cannot be rewritten in the journal without ``verify`` noticing.

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

from cxlocal.allocation.allocator import obtain_number
from cxlocal.domain import Outcome
from cxlocal.events.document import event_hash, header_bytes
from cxlocal.events.runs import RunRef, run_finished, run_queued
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import rebuild
from cxlocal.journal.verify import verify

REF = RunRef("webshop", "run-1", "webshop", "urn:uuid:1")


def rewrite(path: Path, old: str, new: str) -> int:
    """Replace ``old`` in every document of every chain, so that all hashes fit again; how many."""
    changed = 0
    with sqlite3.connect(path) as direct:
        triggers = direct.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            direct.execute(f"DROP TRIGGER {name}")
        heads: dict[Any, bytes] = {}
        rows = direct.execute(
            "SELECT e.id, n.name, e.branch, e.sequence, d.name, e.deliverable_sequence, t.name, e.clock,"
            " e.previous, e.previous_in_deliverable, e.document FROM event e"
            " JOIN node_lookup n ON n.id = e.node JOIN type_lookup t ON t.id = e.type"
            " LEFT JOIN deliverable_lookup d ON d.id = e.deliverable ORDER BY e.node, e.branch, e.sequence"
        ).fetchall()
        for (
            key,
            node,
            branch,
            sequence,
            deliverable,
            within,
            kind,
            clock,
            before,
            inside,
            text,
        ) in rows:
            fresh = text.replace(old, new)
            changed += fresh != text
            before = heads.get((node, branch), before)
            inside = heads.get((node, branch, deliverable), inside) if deliverable else inside
            header = header_bytes(node, sequence, deliverable, within, kind, clock)
            value = event_hash(before, inside, header, fresh)
            heads[node, branch] = value
            if deliverable:
                heads[node, branch, deliverable] = value
            direct.execute(
                "UPDATE event SET document = ?, previous = ?, previous_in_deliverable = ?, hash = ?"
                " WHERE id = ?",
                (fresh, before, inside, value, key),
            )
        for _, sql in triggers:
            direct.execute(sql)
    direct.close()
    return changed


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
        assert [each.kind for each in found] == ["acknowledged"]
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
