"""Promotions: decisions recorded about a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cxlocal.domain import Actor
from cxlocal.events.document import Draft
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.record import RunRecord


def promotion_draft(
    record: RunRecord,
    name: str,
    decision: str,
    *,
    digests: Mapping[str, str],
    automatic: bool,
    actor: Actor,
    reason: str = "",
    evidence: Sequence[str] = (),
    data_age_seconds: float | None = None,
) -> Draft:
    """A decision about the version of this run. ``digests``: artifact name to SHA-256."""
    from cxlocal.events import places

    titles = {promotion.name: promotion.title for promotion in record.plan.promotions}
    catch_up(record.journal)
    last = record.journal.one(
        "SELECT max(turn) AS turn FROM promotion WHERE run = ? AND name = ?", (record.run, name)
    )
    return places.promotion_decided(
        deliverable=record.ref.deliverable,
        run=record.run,
        name=name,
        title=titles.get(name) or name,
        decision=decision,
        version=record.version,
        number=record.number,
        digests=dict(digests),
        automatic=automatic,
        actor=actor._asdict(),
        reason=reason,
        evidence=list(evidence),
        data_age_seconds=data_age_seconds,
        turn=0 if last is None or last["turn"] is None else last["turn"] + 1,
    )


def contradictions(record: RunRecord) -> dict[str, str]:
    """Promotions that were granted although a stage that earns them has not succeeded, as is known
    by now: by name, which stages and parts."""
    catch_up(record.journal)
    rows = record.journal.query(
        "SELECT name, contradicted_by FROM promotion_board"
        " WHERE run = ? AND contradicted_by IS NOT NULL",
        (record.run,),
    )
    return {row["name"]: row["contradicted_by"] for row in rows}


def promotions(record: RunRecord) -> dict[str, str]:
    """The decisions about this run by name: the one made in knowledge of all others of each.

    Of decisions by several machines that did not know of each other the strictest counts: denied
    before overridden and granted; so it is where two histories of a machine disagree. No clock takes
    part.
    """
    catch_up(record.journal)
    rows = record.journal.query(
        "SELECT name, decision FROM promotion WHERE run = ? AND decision <> 'undecided'"
        " ORDER BY iif(EXISTS (SELECT 1 FROM disputed x WHERE x.run = promotion.run"
        "   AND x.what = 'promotion'), 0, turn),"
        " decision = 'denied', decision = 'overridden', id",
        (record.run,),
    )
    return {row["name"]: row["decision"] for row in rows}
