"""What a gate is told: what is about to happen, and what is known here."""

from __future__ import annotations

from cxlocal.hooks.stage_view import GateQuestion, Replaced
from cxlocal.runner.placements import deployment_kind, instance_of, live
from cxlocal.runner.work import Work
from cxlocal.text import parse_utc, utc_text


def gate_question(work: Work, kind: str, environment: str, promotion: str) -> GateQuestion:
    """The question of ``kind`` (stage, deploy or promotion) as the journal knows it now."""
    record = work.record
    place = work.plan.environment(environment) if environment else None
    question = GateQuestion(
        kind,
        work.plan.deliverable,
        record.version,
        record.run,
        environment,
        promotion,
        data_age_seconds(work),
        {"stages": sorted(work.succeeded), "actor": record.actor.id},
    )
    row = record.journal.one("SELECT planned, reason FROM run WHERE id = ?", (record.run,)) or {}
    question = question._replace(
        lifetime="" if place is None else place.lifetime,
        protected=place is not None and place.protected,
        planned=row.get("planned") != 0,
        reason=work.masker.text(work.reason or row.get("reason") or ""),
        asked_at=utc_text(record.journal.clock.now_ms()),
    )
    if kind != "deploy" or place is None:
        return question
    before = live(record, instance_of(record, place))
    runs = [row["version_run"] for row in before]
    chosen = work.deployment_kind or deployment_kind(record.journal, record.run, runs)
    return question._replace(
        rollback=chosen == "rolledback",
        replaces=tuple(
            Replaced(row["service"] or "", row["version"] or "", row["version_run"] or "")
            for row in before
        ),
    )


def data_age_seconds(work: Work) -> float | None:
    """How old our copy of other machines' history is; None when nothing was ever synced."""
    row = work.record.journal.one("SELECT max(at) AS at FROM ack_step")
    if row is None or row["at"] is None:
        return None
    return max(0.0, (work.record.journal.clock.now_ms() - parse_utc(row["at"])) / 1000)
