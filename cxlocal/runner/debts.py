"""Debts: what was made for a while and must be taken down again, whoever made it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cxlocal.events import runs
from cxlocal.events.document import Draft
from cxlocal.journal.file import Journal
from cxlocal.plan.types import Stage
from cxlocal.runner.record import RunRecord


class Debt(NamedTuple):
    """Something a tool created that has to be destroyed one day."""

    id: int
    run: str
    deliverable: str
    environment: str
    instance: str
    stage: str
    tool: str
    options: dict[str, Any]
    handle: Any
    lifetime: str


def intended(
    record: RunRecord,
    stage: Stage,
    *,
    stage_run: str,
    environment: str,
    instance: str,
    handle: Any,
    lifetime: str,
    tool: str = "",
    verb: str = "",
    options: Mapping[str, Any] | None = None,
) -> None:
    """Make a tool's handle durable before its side effect, with the debt it may become."""
    text = json.dumps(handle)
    with record.journal.write() as transaction:
        transaction.append(
            runs.run_intended(
                record.ref,
                stage_run=stage_run,
                stage=stage.name,
                tool=tool or stage.tool,
                verb=verb or stage.verb,
                environment=environment,
                handle=json.loads(text),
            )
        )
        transaction.connection.execute(
            "INSERT INTO owed (run, deliverable, environment, instance, stage, tool, options,"
            " handle, lifetime, since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.run,
                record.ref.deliverable,
                environment,
                instance,
                stage.name,
                tool or stage.tool,
                json.dumps(dict(options if options is not None else stage.options)),
                text,
                lifetime,
                record.journal.clock.now_ms(),
            ),
        )


def debts(journal: Journal, run: str | None = None, *, lasting: bool = False) -> list[Debt]:
    """Unpaid debts, newest first: what was made last is destroyed first.

    Lasting environments are never owed at a run's end; ``lasting`` lists them too (for the last
    handle of a tool).
    """
    rows = journal.query(
        "SELECT id, run, deliverable, environment, instance, stage, tool, options, handle, lifetime"
        " FROM owed WHERE paid IS NULL AND (? IS NULL OR run = ?) AND (? OR lifetime = 'per-run')"
        " ORDER BY id DESC",
        (run, run, lasting),
    )
    return [
        Debt(**{**row, "options": json.loads(row["options"]), "handle": json.loads(row["handle"])})
        for row in rows
    ]


def handle_of(journal: Journal, deliverable: str, instance: str, tool: str) -> Any:
    """The last handle a tool made durable for an environment on this machine; None if none."""
    row = journal.one(
        "SELECT handle FROM owed WHERE deliverable = ? AND instance = ? AND tool = ?"
        " AND paid IS NULL ORDER BY id DESC LIMIT 1",
        (deliverable, instance, tool),
    )
    return json.loads(row["handle"]) if row else None


def paid(journal: Journal, debt_ids: Sequence[int], *drafts: Draft) -> None:
    """Debts are paid; ``drafts`` say so in the same commit."""
    with journal.write() as transaction:
        for debt in debt_ids:
            transaction.connection.execute(
                "UPDATE owed SET paid = ? WHERE id = ?", (journal.clock.now_ms(), debt)
            )
        for draft in drafts:
            transaction.append(draft)
