"""What must hold before a stage may start, and promotions that stages earn.

Every verdict is recorded. *Undecided* is never taken for *allow*.
"""

from __future__ import annotations

from cxlocal.domain import Verdict
from cxlocal.errors import Conflict, Refused, Undecided
from cxlocal.events.runs import run_judged
from cxlocal.hooks.stage_view import GateAnswer
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.types import Promotion, Stage
from cxlocal.runner.promotions import contradictions, promotion_draft, promotions
from cxlocal.runner.record import RunRecord
from cxlocal.runner.work import Work
from cxlocal.text import quoted
from cxlocal.values import NamedTuple

GRANTED = ("granted", "overridden")


class Judged(NamedTuple):
    """A verdict and the promotion it is about, if any."""

    answer: GateAnswer
    promotion: str


def require(work: Work, stage: Stage) -> None:
    """Let a stage start, or raise Refused (a verdict *deny*), Undecided, or Conflict.

    In a rehearsal nothing is promoted, so nothing is required.
    """
    if work.record.kind != "release":
        return
    kind = "deploy" if stage.kind == "deploy" else "publish" if stage.publishes_to else "stage"
    if not stage.requires and kind == "stage":
        return
    refuse_disputed(work)
    refuse_conflicted(work)
    from cxlocal.runner.gate_question import data_age_seconds

    held = promotions(work.record) if stage.requires else {}
    judged = [Judged(_standing(work, name, held.get(name)), name) for name in stage.requires]
    answers = ask_gates(work, kind, stage.environment, "", stage.publishes_to)
    judged += [Judged(answer, "") for answer in answers]
    age = data_age_seconds(work)
    work.record.record(
        *(
            run_judged(
                work.record.ref,
                gate=answer.gate,
                verdict=answer.verdict,
                reason=work.masker.text(answer.reason),
                stage=stage.name,
                environment=stage.place,
                promotion=promotion,
                data_age_seconds=age,
            )
            for answer, promotion in judged
        )
    )
    _raise_first(work, stage, judged)


def _standing(work: Work, name: str, decision: str | None) -> GateAnswer:
    """Whether a required promotion was given."""
    gate = f"promotion {name}"
    if decision in GRANTED and (by := contradictions(work.record).get(name)):
        words = f"{name} was granted and is contradicted: {by} did not succeed"
        return GateAnswer(gate, Verdict.DENY, words)
    if decision in GRANTED:
        return GateAnswer(gate, Verdict.ALLOW, f"{name} is {decision}")
    if decision is None and _left_undecided(work, name):
        return GateAnswer(gate, Verdict.UNDECIDED, f"{name} could not be decided")
    reason = f"{name} was {decision}" if decision else f"{name} was not given"
    if denied := denied_by_person(work.record, name):
        reason += f" by {denied}"
    return GateAnswer(gate, Verdict.DENY, reason)


def _left_undecided(work: Work, name: str) -> bool:
    found = work.record.journal.one(
        "SELECT 1 FROM promotion WHERE run = ? AND name = ? AND decision = 'undecided'",
        (work.record.run, name),
    )
    return found is not None


def _raise_first(work: Work, stage: Stage, judged: list[Judged]) -> None:
    for wanted, kind, words, slug in (
        (Verdict.DENY, Refused, "was refused", "gate-denied"),
        (Verdict.UNDECIDED, Undecided, "could not be decided", "gate-undecided"),
    ):
        for answer, promotion in judged:
            if answer.verdict == wanted:
                raise kind(
                    f"stage {stage.name} {words}",
                    why=f"{answer.gate}: {work.masker.text(answer.reason)}",
                    hint=_way_out(work, stage, promotion),
                    name=slug,
                    gate=answer.gate,
                )


def _way_out(work: Work, stage: Stage, promotion: str) -> str:
    again = work.again or f"cxlocal run --resume {work.record.run[:8]}"
    if not work.again and stage.place in work.plan.protected:
        again += f" --to {stage.place}"
    if not promotion:
        return f"settle what it says, then: {again}"
    decide = f"cxlocal promote {quoted(work.record.version)} {quoted(promotion)}"
    override = f"{decide} --override --reason WHY"
    if denied_by_person(work.record, promotion) is not None:
        return f"{override}, then: {again}"
    after = [one.after for one in work.plan.promotions if one.name == promotion]
    missing = [name for names in after for name in names if name not in work.succeeded]
    if missing:
        return f"let {', '.join(missing)} succeed, or: {override}; then: {again}"
    return f"{decide}, then: {again}"


PERSON = "person"
"""Stands for the gate where a person refused a promotion."""


def denied_by_person(record: RunRecord, name: str) -> str | None:
    """Who refused a promotion of this run for good, and why; None where nobody did, or somebody
    passed over it since. What a gate refused can be asked again when its reason is gone."""
    row = record.journal.one(
        "SELECT decision, actor, reason FROM promotion WHERE run = ? AND name = ?"
        " ORDER BY turn DESC, decision = 'denied' DESC LIMIT 1",
        (record.run, name),
    )
    if row is None or row["decision"] != "denied":
        return None
    by_person = record.journal.one(
        "SELECT 1 FROM verdict WHERE run = ? AND promotion = ? AND gate = ?"
        # Both texts may have been shortened, to different lengths.
        " AND substr(reason, 1, 100) = substr(?, 1, 100)",
        (record.run, name, PERSON, row["reason"]),
    )
    return None if by_person is None else f"{row['actor']}: {row['reason']}"


def ask_gates(
    work: Work, kind: str, environment: str, promotion: str, target: str = ""
) -> list[GateAnswer]:
    """Every opinion of the hook ``cxlocal_gate``."""
    from cxlocal.runner.gate_question import gate_question

    question = gate_question(work, kind, environment, promotion)
    return work.manager.gate(question._replace(target=target))


def refuse_conflicted(work: Work) -> None:
    """Raise Conflict when another run holds our number and nobody named this run by its id; where somebody
    did, say so, once."""
    record = work.record
    if record.number is None or work.told_of_conflict:
        return
    row = record.journal.one(
        "SELECT state FROM number_uses WHERE deliverable = ? AND run = ?",
        (record.ref.deliverable, record.run),
    )
    if row is None or row["state"] != "conflicted":
        return
    if not work.run_named:
        raise Conflict(
            f"two runs hold the version {record.version}",
            why="nothing is promoted or deployed by a number that is in doubt",
            hint=f"cxlocal version explain {record.number}; to go on with this one, name it:"
            f" cxlocal run --resume {record.run[:8]}",
            name="number-conflicted",
            run=record.run,
        )
    work.told_of_conflict = True
    work.voice.warn(
        f"two runs hold the version {record.version}; this goes on with the one that was named,"
        f" {record.run[:8]} (cxlocal version explain {record.number})"
    )


_DISPUTED = """
SELECT d.node, coalesce(m.host, substr(d.node, 1, 8)) AS machine, d.one, d.other, d.position,
  d.what, d.field, d.one_value, d.other_value FROM disputed d LEFT JOIN machine m ON m.node = d.node
WHERE d.run = ? ORDER BY d.field = 'outcome' DESC, d.field = 'decision' DESC, d.what, d.field LIMIT 1
"""


def refuse_disputed(work: Work) -> None:
    """Raise Conflict when two histories of a machine disagree about the run, however it was named."""
    record = work.record
    catch_up(record.journal)
    row = record.journal.one(_DISPUTED, (record.run,))
    if row is None:
        return
    values = [f"{row[name]} has {row[name + '_value'] or 'nothing'}" for name in ("one", "other")]
    raise Conflict(
        f"what is known of {record.version} is disputed",
        why=f"{row['machine']} has two histories from position {row['position']} on, and they differ in"
        f" {row['field'] or 'what they say'} of {row['what']}: {', '.join(values)}; nothing is promoted or"
        " deployed on it",
        hint=f"find out which is right, then: cxlocal journal settle {row['node'][:8]} --keep HISTORY"
        " --reason WHY ('cxlocal status' says which of them the store had first)",
        name="disputed",
        run=record.run,
        flag="two-histories",
        node=row["node"],
        histories=[row["one"], row["other"]],
    )


def grant_earned(work: Work, held: dict[str, str]) -> list[str]:
    """Record promotions whose stages have all succeeded in this run; their names.

    ``held`` are the decisions so far; new ones are added.
    """
    if work.record.kind != "release":
        return []
    given = []
    for promotion in work.plan.promotions:
        earned = promotion.after and set(promotion.after) <= work.succeeded
        if earned and promotion.name not in held:
            held[promotion.name] = _decide(work, promotion)
            if held[promotion.name] == "granted":
                given.append(promotion.name)
    return given


def _decide(work: Work, promotion: Promotion) -> str:
    from cxlocal.runner.gate_question import data_age_seconds

    refuse_disputed(work)
    refuse_conflicted(work)
    answers = ask_gates(work, "promotion", "", promotion.name)
    verdicts = {answer.verdict for answer in answers}
    decision = "granted"
    if Verdict.DENY in verdicts:
        decision = "denied"
    elif Verdict.UNDECIDED in verdicts:
        decision = "undecided"
    against = [answer for answer in answers if answer.verdict != Verdict.ALLOW]
    reason = "; ".join(f"{one.gate}: {one.reason}" for one in against)
    age = data_age_seconds(work)
    drafts = [
        run_judged(
            work.record.ref,
            gate=answer.gate, verdict=answer.verdict, reason=work.masker.text(answer.reason),
            promotion=promotion.name, data_age_seconds=age,
        )
        for answer in answers
    ]  # fmt: skip
    drafts.append(
        promotion_draft(
            work.record,
            promotion.name,
            decision,
            digests={name: found.sha256 for name, found in work.artifacts.items()},
            automatic=True,
            actor=work.record.actor,
            reason=work.masker.text(reason) or f"earned by {', '.join(promotion.after)}",
            evidence=promotion.after,
            data_age_seconds=age,
        )
    )
    work.record.record(*drafts)
    if decision != "granted":
        work.voice.warn(f"{promotion.name} was {decision}: {work.masker.text(reason)}")
    return decision
