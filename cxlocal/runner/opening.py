"""How a run begins: everything is checked before the first event, the number is taken last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Refused
from cxlocal.events.runs import run_stamped
from cxlocal.exchange.copies import journal_was_moved
from cxlocal.exchange.followed import include
from cxlocal.exchange.open import is_own
from cxlocal.exchange.sync import synchronise, why_no_numbers
from cxlocal.plan.select import Selection, select
from cxlocal.processes.mask import Masker
from cxlocal.revision.early import early_questions
from cxlocal.runner import orphans
from cxlocal.runner.facts import facts_of, left_out, prove_revision, words_of_changes
from cxlocal.runner.record import RunRecord
from cxlocal.runner.run_version import Version, check, rehearsed, stamp, take_number
from cxlocal.runner.source import (
    Machine,
    Source,
    find_readers,
    find_secrets,
    make_plan,
    open_source,
    open_store,
    refuse_stranger,
)
from cxlocal.runner.voice import Opening
from cxlocal.runner.work import Work
from cxlocal.runner.workspace import Workspace, discard, open_workspace

if TYPE_CHECKING:
    from cxlocal.exchange.store import Store
    from cxlocal.exchange.sync import SyncReport
    from cxlocal.journal.file import Journal
    from cxlocal.plan.types import Plan
    from cxlocal.revision.proof import Proof
    from cxlocal.runner.request import Request

START_SYNC_SECONDS = 2.0
END_SYNC_SECONDS = 1.0
"""Together they are what an absent store may cost a run: 3 s (promise P17). One that did not answer
at the start is not asked again within a minute."""


class Begun(NamedTuple):
    """A run that has its version and its checkout."""

    record: RunRecord
    work: Work
    source: Source
    selection: Selection
    kept: frozenset[str]
    """Stages that need not run again."""
    store: Store | None
    how: str
    proof: str


def begin(machine: Machine, journal: Journal, request: Request, began: float) -> Begun:
    """A new run. Raises what keeps it from beginning; what goes wrong after its first event is
    recorded as its outcome before it is raised."""
    rehearsal = request.rehearsal
    in_place, source, proof, root, missing = _ask_git(machine, journal, request)
    run = machine.ids.uuid()
    commit = source.revision.commit
    workspace = open_workspace(
        machine.home, source.repository, commit, run, in_place=in_place, overlay=rehearsal
    )
    try:
        plan, secrets, selection = _check_out(machine, source, workspace, request)
        _check_owner(journal, plan, root)
        readers = find_readers(source.manager, plan)
        store = None if request.offline or rehearsal else open_store(source, machine)
        online, why_offline = meet(journal, store, source)
        request = request._replace(reason=Masker(secrets.values()).text(request.reason))
        facts = facts_of(journal, source, plan, request, proof, root, missing, online)
        listen(journal, source)
        record = RunRecord.begin(
            journal, plan, facts, run=run,
            beside=lambda t: orphans.register(t, run, machine.command),
        )  # fmt: skip
    except BaseException:
        discard(workspace)
        raise
    work = Work(
        record=record, manager=source.manager, workspace=workspace, environ=machine.environ,
        voice=machine.voice, secrets=secrets, readers=readers,
    )  # fmt: skip
    version = number_and_stamp(machine, journal, work, source, store, began)
    shown = "" if proof is None else f"{proof.kind} at {proof.remote}".removesuffix(" at ")
    opening = opening_of(work, source, version, why_offline, selection)
    machine.voice.opening(
        opening._replace(
            proof=shown, uncommitted=missing, changes=words_of_changes(facts.changes or {})
        )
    )
    kind = "" if proof is None else proof.kind
    return Begun(record, work, source, selection, frozenset(), store, version.how, kind)


def _ask_git(
    machine: Machine, journal: Journal, request: Request
) -> tuple[bool, Source, Proof | None, str, tuple[str, ...]]:
    """Whether the run works in place; what is to be run, the proof that it was pushed, the first
    commit of its repository, and what is left out of it."""
    rehearsal, online = request.rehearsal, not request.offline
    push = "" if rehearsal else "online" if online else "offline"
    with early_questions():
        source = open_source(
            machine, request.revision, {"jobs": request.jobs}, tree=rehearsal, push=push
        )
        journal.passing = not source.kept
        if request.moved:
            journal_was_moved(journal, request.moved, source.actor._asdict())
        proof, root = prove_revision(machine, source, online=online, rehearsal=rehearsal)
        in_place = source.config.defaults.workspace == "in-place" and not rehearsal
        missing = left_out(source, in_place=in_place, rehearsal=rehearsal)
    return in_place, source, proof, root, missing


def _check_out(
    machine: Machine, source: Source, workspace: Workspace, request: Request
) -> tuple[Plan, dict[str, str], Selection]:
    """Bring the files, make the plan out of them, and look for all it needs."""
    if not workspace.in_place:
        paths = tuple(path.rstrip("/") for path in source.config.deliverable.paths)
        workspace.make(paths, workspace.source)
    plan = make_plan(machine, source, workspace.project)
    selection = select(plan, to=request.to, rehearsal=request.rehearsal)
    _refuse_empty(plan, selection)
    secrets = find_secrets(machine, source, plan, frozenset(selection.now))
    check(plan, workspace.project)
    return plan, secrets, selection


def _refuse_empty(plan: Plan, selection: Selection) -> None:
    if selection.now:
        return
    raise Refused(
        "there is nothing to run",
        why="every stage works in a protected environment or waits for one that does"
        if plan.stages
        else "cx.toml has no stages",
        hint=f"cxlocal run --to {selection.stopped_by}"
        if selection.stopped_by
        else "add one to [stages]",
        name="nothing-to-run",
    )


def _check_owner(journal: Journal, plan: Plan, root: str) -> None:
    row = journal.one("SELECT repository_root FROM deliverable WHERE id = ?", (plan.deliverable,))
    refuse_stranger((row and row["repository_root"]) or "", root, plan.deliverable)


def meet(journal: Journal, store: Store | None, source: Source) -> tuple[bool | None, str]:
    """The first, bounded exchange: whether the store answered, and why not."""
    if store is None:
        return False, "not reached: it was not to be asked"
    include(journal, source.config.deliverable.name)
    report = sync_shortly(journal, store, START_SYNC_SECONDS, source)
    if report is None:
        return False, "answers, and refuses us; 'cxlocal sync' says why"
    if report.stopped:
        return True, f"hands out no numbers: {why_no_numbers(report)}"
    return report.reached, report.why and f"not reached: {report.why}"


def sync_shortly(
    journal: Journal, store: Store, seconds: float, source: Source
) -> SyncReport | None:
    """One bounded exchange; None where the store answered and refused."""
    budget = seconds if source.kept else float(source.settings.store_patience_seconds)
    try:
        return synchronise(journal, store, budget_seconds=budget, use_breaker=source.kept)
    except CxError:
        # What a store refuses (another lineage, another protocol) 'sync' and 'status' show in
        # full; a run that can be carried out is carried out.
        return None


def listen(journal: Journal, source: Source) -> None:
    """Tell observers (hook cxlocal_event_recorded) what becomes durable."""

    def tell(events: list[Any]) -> None:
        for event in events:
            source.manager.event_recorded(event)

    journal.listeners.append(tell)


def number_and_stamp(
    machine: Machine,
    journal: Journal,
    work: Work,
    source: Source,
    store: Store | None,
    began: float,
) -> Version:
    """The version, in the journal and in the files; a run that fails here has ended before it
    raises. One that a signal meets is ended by the caller (``orphans.end_own``)."""
    record = work.record
    try:
        if record.kind == "rehearsal":
            version = rehearsed(record.plan, record.run)
        else:
            version = take_number(machine, journal, store, source, record.plan, record.run)
        drafts = [record.started_draft(version.text, version.line, version.number, version.how)]
        stamps = stamp(record.plan, work.workspace.project, version.text)
        if stamps:
            drafts.append(run_stamped(record.ref, stamps=[one._asdict() for one in stamps]))
        record.record(*drafts)
        return version
    except Exception as problem:
        outcome = Outcome.FAILURE if isinstance(problem, Refused) else Outcome.ERROR
        reason = problem.what if isinstance(problem, CxError) else repr(problem)
        seconds = machine.clock.monotonic() - began
        orphans.finish_run(record, outcome, reason, seconds=seconds)
        discard(work.workspace)
        raise


def opening_of(
    work: Work,
    source: Source,
    version: Version,
    why_offline: str,
    selection: Selection,
    kept: tuple[str, ...] = (),
    *,
    resumed: bool = False,
) -> Opening:
    """What is said when the work begins."""
    return Opening(
        title=work.plan.title or work.plan.deliverable,
        kind=work.record.kind,
        version=version.text,
        how=version.how,
        own_store=is_own(source.settings.store_url),
        why_offline=why_offline,
        run=work.record.run,
        commit=source.revision.commit,
        branch=source.revision.branch,
        subject=source.revision.subject,
        proof="",
        uncommitted=(),
        changes="",
        stages=selection.now,
        kept=kept,
        resumed=resumed,
    )
