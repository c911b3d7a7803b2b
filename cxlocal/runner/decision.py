"""A promotion decided by a person: checked, recorded with who and why, never taken for another.

An override is a decision of its own kind: it lets the version pass, and is nowhere counted as
passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxlocal.config.problems import near
from cxlocal.domain import Verdict
from cxlocal.errors import CxError, Refused, Undecided, UsageError
from cxlocal.events.belonging import is_shared
from cxlocal.events.runs import run_judged
from cxlocal.exchange.open import is_own
from cxlocal.exchange.standing import require
from cxlocal.hooks.stage_view import GateAnswer
from cxlocal.journal.machine import goes_away
from cxlocal.journal.rebuild import catch_up
from cxlocal.projection.standing import words_of
from cxlocal.runner.contact import meet
from cxlocal.runner.gate_question import data_age_seconds
from cxlocal.runner.gates import (
    PERSON,
    ask_gates,
    denied_by_person,
    refuse_conflicted,
    refuse_disputed,
)
from cxlocal.runner.nesting import refuse_in_rehearsal
from cxlocal.runner.products import artifacts
from cxlocal.runner.promotions import promotion_draft
from cxlocal.runner.source import load_own_plugins, open_store
from cxlocal.runner.work import Work
from cxlocal.runner.workspace import Workspace
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.plan.types import Promotion
    from cxlocal.runner.record import RunRecord
    from cxlocal.runner.source import Machine, Source


class Decision(NamedTuple):
    """What was recorded."""

    run: str
    deliverable: str
    version: str
    name: str
    decision: str
    """granted, denied, undecided or overridden."""
    reason: str
    actor: str
    refusal: CxError | None = None
    """What the command ends in, where the answer was not yes."""


class PromotionRequest(NamedTuple):
    """What the person wants."""

    name: str
    reason: str = ""
    deny: bool = False
    override: bool = False
    run_named: bool = False
    offline: bool = False
    """Do not ask the store what other machines know."""


def decide(
    machine: Machine, source: Source, record: RunRecord, asked: PromotionRequest
) -> Decision:
    """Decide about the version of a run and record it.

    Raises what keeps the question from being asked: UsageError, Conflict; and Refused for a
    promotion whose stages have not succeeded (nothing is recorded then, as nothing was decided).
    """
    refuse_in_rehearsal(machine)
    require(record.journal, record.ref.deliverable, "push")
    promotion = find_promotion(record, asked.name)
    alone = promotion.after and not asked.deny and _left_alone(machine, source, record, asked)
    work = work_to_judge(machine, source, record, run_named=asked.run_named)
    standings = record.standings()
    if not asked.deny:
        refuse_disputed(work)
    refuse_conflicted(work)
    _check_override(record, asked)
    if asked.deny:
        no = GateAnswer(PERSON, Verdict.DENY, asked.reason)
        return _record(work, promotion, "denied", asked.reason, [no])
    denied = denied_by_person(record, promotion.name)
    if denied is not None and not asked.override:
        raise Refused(
            f"{promotion.name} was denied to {record.version}",
            why=denied,
            hint="--override --reason WHY passes over it, and is recorded as an override",
            name="denied",
        )
    missing = [name for name in promotion.after if name not in work.succeeded]
    if missing and not asked.override:
        raise Refused(
            f"{record.version} has not earned {promotion.name}",
            why=f"these have not succeeded in run {record.run[:8]}:"
            f" {'; '.join(words_of(name, standings.get(name)) for name in missing)}",
            hint="run them, or say --override --reason WHY; that is recorded as an override",
            name="not-earned",
            missing=missing,
        )
    if not missing and all(standings[one].complete for one in promotion.after):
        alone = ""
    unheard = (
        f"jobs of this run have journals of their own, and what they say could not be had: {alone}"
    )
    if alone and not asked.override:
        words = unheard
        decision = _record(work, promotion, "undecided", words, [])
        return decision._replace(refusal=_undecided(record, promotion, words))
    load_own_plugins(machine, source, None)
    work.reason = asked.reason
    answers = ask_gates(work, "promotion", "", promotion.name)
    against = [one for one in answers if one.verdict != Verdict.ALLOW]
    words = "; ".join(f"{one.gate}: {one.reason}" for one in against)
    passed_over = _against(missing, denied, unheard if alone else "", words)
    if asked.override and passed_over:  # nothing against it: a grant like any other
        reason = f"{asked.reason} (passed over: {'; '.join(passed_over)})"
        return _record(work, promotion, "overridden", reason, answers)
    if not against:
        return _record(work, promotion, "granted", asked.reason, answers)
    refused = any(one.verdict == Verdict.DENY for one in against)
    kind = Refused if refused else Undecided
    decision = _record(work, promotion, "denied" if refused else "undecided", words, answers)
    refusal = kind(
        f"{promotion.name} for {record.version} "
        + ("was refused" if refused else "could not be decided"),
        why=words,
        hint="settle what it says and ask again; --override --reason WHY passes over it",
        name="gate-denied" if refused else "gate-undecided",
    )
    return decision._replace(refusal=refusal)


def work_to_judge(
    machine: Machine, source: Source, record: RunRecord, *, run_named: bool = False, again: str = ""
) -> Work:
    """What gates are told of a run that this process does not carry out."""
    work = Work(
        record=record, manager=source.manager, workspace=_nowhere(source, record),
        environ=machine.environ, voice=machine.voice, secrets={}, readers={},
        run_named=run_named, again=again,
    )  # fmt: skip
    work.succeeded = record.succeeded()
    return work


def _undecided(record: RunRecord, promotion: Promotion, words: str) -> Undecided:
    return Undecided(
        f"{promotion.name} for {record.version} could not be decided",
        why=words,
        hint="ask again when it answers; or say how many parts a stage has (parts in cx.toml), so"
        " that it can be decided without it once all are here",
        name="parts-unknown",
    )


def _left_alone(
    machine: Machine, source: Source, record: RunRecord, asked: PromotionRequest
) -> str:
    """Have what other machines say of the run. Why that cannot be had, where some report to it; empty
    when it was had, or nobody else does."""
    try:
        store = open_store(source, machine, record.journal, offline=asked.offline)
        try:
            reached, why = meet(record.journal, store, source)
        finally:
            if store is not None:
                store.close()
    except CxError as problem:
        reached, why = False, problem.what
    if is_own(source.settings.store_url):
        reached, why = False, "this project names none that these jobs share"
    catch_up(record.journal)
    begun = record.journal.one("SELECT node FROM run WHERE id = ?", (record.run,))
    # A machine that is made for a job knows of no other one, and there may be many.
    alone = begun is not None and begun["node"] == record.journal.node
    alone = alone and not (is_shared(record.run) and goes_away(record.journal))
    others = not alone or any(
        one.id != record.ref.stage_run(name, one.attempt)
        for name, attempts in record.attempts().items()
        for one in attempts
    )
    return why if others and not reached else ""


def find_promotion(record: RunRecord, name: str) -> Promotion:
    """The promotion in the plan of the run. Raises UsageError, Refused for a rehearsal."""
    if record.kind != "release" or not record.version:
        raise Refused(
            f"run {record.run[:8]} has no version to promote",
            why="only releases are promoted",
            hint="'cxlocal log' lists the releases; 'cxlocal run' makes one",
            name="not-a-release",
        )
    for promotion in record.plan.promotions:
        if promotion.name == name:
            return promotion
    known = ", ".join(one.name for one in record.plan.promotions) or "none"
    raise UsageError(
        f"{record.version} knows no promotion {name!r}",
        why=f"the plan of its run has {known}",
        hint=f"did you mean {close!r}?"
        if (close := near(name, [one.name for one in record.plan.promotions]))
        else "add it to [promotions] of cx.toml, and release again",
        name="no-such-promotion",
    )


def _against(missing: list[str], denied: str | None, unheard: str, gates: str) -> list[str]:
    """What an override passes over, in words."""
    found = [f"{name} has not succeeded" for name in missing]
    found += [f"it was denied: {denied}"] if denied is not None else []
    return found + [one for one in (unheard, gates) if one]


def _check_override(record: RunRecord, asked: PromotionRequest) -> None:
    if not (asked.override or asked.deny):
        return
    what = "an override" if asked.override else "a denial"
    if not asked.reason.strip():
        raise UsageError(
            f"{what} needs a reason",
            why="what a person decides is kept with the reason for it",
            hint="--reason WHY",
            name="no-reason",
        )
    if asked.override:
        record.actor.require_named(what)


def _record(
    work: Work,
    promotion: Promotion,
    decision: str,
    reason: str,
    answers: tuple[GateAnswer, ...] | list[GateAnswer],
) -> Decision:
    record, age = work.record, data_age_seconds(work)
    standings = record.standings()
    drafts = record.restricted_drafts(work.manager.left_out)
    drafts += [
        run_judged(
            record.ref,
            gate=one.gate, verdict=one.verdict, reason=one.reason, promotion=promotion.name,
            data_age_seconds=age,
        )
        for one in answers
    ]  # fmt: skip
    drafts.append(
        promotion_draft(
            record,
            promotion.name,
            decision,
            digests={name: one.sha256 for name, one in artifacts(record, check=False).items()},
            automatic=False,
            actor=record.actor,
            reason=reason,
            evidence=[
                one.id
                for name in promotion.after
                if name in standings
                for one in standings[name].counting
            ],
            data_age_seconds=age,
        )
    )
    record.record(*drafts)
    return Decision(
        record.run, record.ref.deliverable, record.version, promotion.name, decision, reason,
        record.actor.id,
    )  # fmt: skip


def _nowhere(source: Source, record: RunRecord) -> Workspace:
    """No folders: deciding touches no files."""
    root = source.repository.root
    return Workspace(source.repository, record.revision, root, root)
