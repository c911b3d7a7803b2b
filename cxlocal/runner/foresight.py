"""What deployments would do and refuse, asked beforehand by the very questions that they ask themselves.

Nothing is recorded, no turn is drawn and nothing is changed. What asks an environment are commands and tools of the
commit, so these are asked in a checkout of it, and only where this machine has run stages of the product already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from cxlocal.config.agreement import secrets_agreed
from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Refused
from cxlocal.events.belonging import mark_id
from cxlocal.events.runs import RunRef, run_uri
from cxlocal.exchange.standing import require
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.select import Selection
from cxlocal.plan.types import Plan, Stage
from cxlocal.processes.log import StageLog
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner.admission import lasting_place
from cxlocal.runner.attempt import let_in, words_of
from cxlocal.runner.bump import refuse_nothing
from cxlocal.runner.component_departure import refuse_departed
from cxlocal.runner.component_deployment import Deployment
from cxlocal.runner.component_look import Halt
from cxlocal.runner.component_preview import Foreseen
from cxlocal.runner.decision import work_to_judge
from cxlocal.runner.driver import drive
from cxlocal.runner.facts import left_out
from cxlocal.runner.lent_checkouts import check_out_apart
from cxlocal.runner.nesting import refuse_in_rehearsal
from cxlocal.runner.opening import make_work, refuse_empty, works_in_place
from cxlocal.runner.outcomes import outcome_error
from cxlocal.runner.record import RunRecord
from cxlocal.runner.request import Request
from cxlocal.runner.site import Site
from cxlocal.runner.source import (
    Machine,
    Source,
    find_secrets,
    open_store,
    require_variables,
)
from cxlocal.runner.targets import require_agreed
from cxlocal.runner.work import Work
from cxlocal.runner.workspace import Workspace, discard
from cxlocal.values import NamedTuple

NEVER_RAN = "no stage of it has run on this machine yet"
RAN_HERE = """
SELECT 1 FROM run r JOIN stage_run s ON s.run = r.id
WHERE r.deliverable = ? AND r.node = ? AND s.started_at IS NOT NULL LIMIT 1
"""


class Ahead(NamedTuple):
    """What deployments would come to."""

    changes: tuple[Foreseen, ...] = ()
    """Of mutable components."""
    again: Mapping[str, int] = MappingProxyType({})
    """How many instances that served before would serve again, by component."""
    agrees: bool = False
    """Of a repair: what serves is what the record says, so that it would change nothing."""
    refusal: CxError | None = None
    """What would refuse it, or end it before anything is changed; None where nothing is known to."""
    not_asked: str = ""
    """Why tools were not asked; empty where they were, or there is nothing to ask."""


def not_run_yet(journal: Journal, source: Source, plan: Plan) -> RunRecord:
    """A run that nobody began, to ask on behalf of."""
    run = mark_id(journal.ids.uuid(), plan.deliverable)
    ref = RunRef(plan.deliverable, run, plan.title or plan.deliverable, run_uri(run, ""))
    return RunRecord(journal, ref, plan, "release", source.actor, source.revision.commit)


def look_ahead(
    machine: Machine, source: Source, judged: Work, stages: Sequence[Stage],
    prepare: Callable[[Workspace], Work],
) -> Ahead:  # fmt: skip
    """Ask whatever ``stages`` would ask before they change anything. ``judged``: the run as gates are told of it;
    ``prepare``: all that the stages need, in a checkout."""
    record = judged.record
    record.muted = True
    why = not_asked(machine, source, record) if stages else ""
    try:
        if why or not stages:
            _ask_record(judged, stages)
            return Ahead(not_asked=why if any(_rotates(record, one) for one in stages) else "")
        workspace = check_out_apart(machine, source, record, "preview")
        try:
            work = prepare(workspace)
            with Supervisor(machine.clock) as supervisor:
                return _ask_all(work, stages, supervisor)
        finally:
            discard(workspace)
    except CxError as refusal:
        return Ahead(refusal=refusal)


def look_ahead_of_run(
    machine: Machine, source: Source, record: RunRecord, stages: Sequence[Stage], *,
    allow_older: bool = False, run_named: bool = False,
) -> Ahead:  # fmt: skip
    """The same for a run: the deploy stages of one that nobody began, where promotions are still to be earned; of
    another those of ``stages`` that it begins with."""
    begun, done = bool(record.version), record.succeeded()
    wanted = [
        one
        for one in stages
        if (done.issuperset(one.waits_for) if begun else _rotates(record, one))
    ]

    def told(work: Work) -> Work:
        work.allow_older = allow_older
        return work

    def prepare(workspace: Workspace) -> Work:
        names = [one.name for one in wanted]
        return told(make_work(machine, source, record, workspace, names, needs_bytes=begun))

    judged = told(work_to_judge(machine, source, record, run_named=run_named))
    return look_ahead(machine, source, judged, wanted, prepare)


def refusal_to_begin(
    machine: Machine, journal: Journal | None, source: Source, plan: Plan, selection: Selection,
    request: Request,
) -> CxError | None:  # fmt: skip
    """What keeps a new run from beginning, by the questions that it asks itself; None for nothing. ``journal``: None
    where there is none yet. Raises NothingToRelease."""
    try:
        if works_in_place(source, request):
            # Elsewhere changes are only named, and git may start what belongs to the checkout.
            left_out(source, in_place=True, rehearsal=False)
        refuse_empty(plan, selection)
        require_agreed(machine, plan, selection.now)
        require_variables(machine, plan, frozenset(selection.now))
        if secrets_agreed(source.config, machine.root, machine.home, machine.environ):
            find_secrets(machine, source, plan, frozenset(selection.now))
        if journal is not None and plan.bump and not (request.anyway or request.final_of):
            refuse_nothing(journal, source, plan)
        if problem := refusal_of_store(machine, journal, source, request):
            return problem
        if journal is not None:
            require(journal, plan.deliverable, "take", "push")
    except CxError as refusal:
        return refusal
    return None


def refusal_of_store(
    machine: Machine, journal: Journal | None, source: Source, request: Request
) -> CxError | None:
    """What keeps a run from the store that it is to ask; None for nothing. It is not asked here."""
    try:
        store = open_store(source, machine, journal, offline=request.offline)
    except CxError as refusal:
        return refusal
    if store is not None:
        store.close()
    return None


def not_asked(machine: Machine, source: Source, record: RunRecord) -> str:
    """Why a checkout is not to be let do anything, now or yet; empty where it may."""
    try:
        refuse_in_rehearsal(machine)
    except Refused as refused:
        return refused.what
    catch_up(record.journal)
    if record.journal.one(RAN_HERE, (record.ref.deliverable, record.journal.node)) is None:
        return NEVER_RAN
    if not secrets_agreed(source.config, machine.root, machine.home, machine.environ):
        return "nobody agreed to the secrets of this checkout yet (cxlocal trust)"
    return ""


def _ask_record(work: Work, stages: Iterable[Stage]) -> None:
    """What the record alone refuses, where nothing of the checkout may be asked."""
    for stage in stages:
        if work.record.version:
            let_in(work, stage)
        if _rotates(work.record, stage) and not work.back:
            refuse_departed(work.record, stage)


def _ask_all(work: Work, stages: Sequence[Stage], supervisor: Supervisor) -> Ahead:
    changes: tuple[Foreseen, ...] = ()
    again: dict[str, int] = {}
    agrees = True
    for stage in stages:
        refusal: CxError | None = None
        found = _site(work, stage) if _rotates(work.record, stage) else None
        try:
            if work.record.version:
                let_in(work, stage)
            if found is not None:
                refusal = _ask_one(found, supervisor)
        except CxError as problem:
            refusal = problem
        if found is not None:
            found.site.log.close()
            changes += tuple(found.foreseen)
            again |= {name: len(made) for name, made in found.former.items()}
        agrees = agrees and found is not None and found.agrees
        if refusal is not None:
            return Ahead(changes, again, refusal=refusal)
    return Ahead(changes, again, agrees=agrees)


def _rotates(record: RunRecord, stage: Stage) -> bool:
    return stage.rotates and lasting_place(record.plan, stage) is not None


def _site(work: Work, stage: Stage) -> Deployment:
    log = StageLog.create(work.workspace.folder / "logs", stage.name, masker=work.masker)
    return Deployment(Site(work, stage, 1, work.workspace.project, log, {}))


def _ask_one(found: Deployment, supervisor: Supervisor) -> CxError | None:
    """What would end a deployment before it changes anything, as that would end; None for nothing."""
    try:
        drive(found.prepare(), supervisor)
        return None
    except Refused as refusal:
        return refusal
    except Halt as halt:
        outcome, reason = halt.outcome, halt.reason
    except (CxError, OSError) as problem:
        outcome, reason = Outcome.ERROR, words_of(problem)
    work = found.site.work
    return outcome_error(
        outcome, f"{found.site.stage.name} would not succeed: {work.masker.text(reason)}",
        why="nothing would be changed", hint="put right what it says, and ask again",
        run=work.record.run,
    )  # fmt: skip
