"""What a deployment would change in place, asked beforehand: of the tools of an environment's mutable components.

Nothing is recorded, no turn is drawn and nothing is changed. Previews are commands and tools of the commit, so they
are asked in a checkout of it, and only where this machine has run stages of the product already.
"""

from __future__ import annotations

from collections.abc import Sequence

from cxlocal.config.agreement import secrets_agreed
from cxlocal.errors import Refused
from cxlocal.events.belonging import mark_id
from cxlocal.events.runs import RunRef, run_uri
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.components import components_of
from cxlocal.plan.types import Plan, Stage
from cxlocal.processes.log import StageLog
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner.component_preview import Foreseen, preview
from cxlocal.runner.driver import drive
from cxlocal.runner.nesting import refuse_in_rehearsal
from cxlocal.runner.opening import check_out_again, make_work
from cxlocal.runner.record import RunRecord
from cxlocal.runner.site import Site
from cxlocal.runner.source import Machine, Source
from cxlocal.runner.workspace import discard

NEVER_RAN = "no stage of it has run on this machine yet"
RAN_HERE = """
SELECT 1 FROM run r JOIN stage_run s ON s.run = r.id
WHERE r.deliverable = ? AND r.node = ? AND s.started_at IS NOT NULL LIMIT 1
"""


def not_run_yet(journal: Journal, source: Source, plan: Plan) -> RunRecord:
    """A run that nobody began, to ask on behalf of."""
    run = mark_id(journal.ids.uuid(), plan.deliverable)
    ref = RunRef(plan.deliverable, run, plan.title or plan.deliverable, run_uri(run, ""))
    return RunRecord(journal, ref, plan, "release", source.actor, source.revision.commit)


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


def foresee(
    machine: Machine, source: Source, record: RunRecord, stages: Sequence[Stage]
) -> list[Foreseen]:
    """What the deploy stages ``stages`` would change in place, each in its lasting environment."""
    wanted = [one for one in stages if _previews(record.plan, one)]
    if not wanted:
        return []
    workspace = check_out_again(machine, source, record, name=f"{record.run}.preview")
    try:
        names = [one.name for one in wanted]
        work = make_work(machine, source, record, workspace, names, needs_bytes=False)
        found: list[Foreseen] = []
        with Supervisor(machine.clock) as supervisor:
            for stage in wanted:
                log = StageLog.create(workspace.folder / "logs", stage.name, masker=work.masker)
                try:
                    site = Site(work, stage, 1, workspace.project, log, {})
                    found += drive(preview(site), supervisor)
                finally:
                    log.close()
        return found
    finally:
        discard(workspace)


def _previews(plan: Plan, stage: Stage) -> bool:
    if not stage.rotates or plan.environment(stage.environment).lifetime != "lasting":
        return False
    return any(one.mutable for one in components_of(plan, stage))
