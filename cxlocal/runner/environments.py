"""Per-run environments: created before their first stage, destroyed after their last.

What a tool created is owed from the moment its handle is durable, whoever created it: the
environment's own tool, or a tool that deployed into an environment without one. It is taken away by
the tool's verb ``destroy``, with the handle alone, in this run or by a later command (``resources``).
"""

from __future__ import annotations

import shutil
from collections.abc import Generator

from cxlocal.domain import Outcome
from cxlocal.errors import CxError
from cxlocal.events.document import Draft
from cxlocal.events.resources import resource_gone
from cxlocal.hooks.messages import Fields
from cxlocal.hooks.registered import find_tool
from cxlocal.hooks.tool_worker import ToolOutcome, ToolRequest, ToolWorker
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.placeholders import Values, resolve_options
from cxlocal.plan.types import Environment, Stage
from cxlocal.processes.child import Child, End
from cxlocal.processes.environment import stage_environment
from cxlocal.processes.log import StageLog
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner.leftovers import end_place
from cxlocal.runner.payer import HURRIED_SECONDS, Payer, held
from cxlocal.runner.placements import (
    environment_closed_draft,
    environment_created_draft,
    environment_deleted_draft,
    instance_of,
    removed_drafts,
)
from cxlocal.runner.record import RunRecord
from cxlocal.runner.resources import Made, Maker, standing_in, unaccounted
from cxlocal.runner.voice import Ending
from cxlocal.runner.work import Launch, Program, Work, environment_folder

CLOSED = """
SELECT f.text FROM environment e JOIN flag f ON f.deliverable = e.deliverable AND f.subject = e.name
WHERE e.deliverable = ? AND e.instance = ? AND e.deleted_how = 'closed, not destroyed'
  AND f.kind = 'closed-not-destroyed' ORDER BY f.raised_at DESC LIMIT 1
"""


def provision(work: Work, environment: Environment) -> Program:
    """Create a per-run environment; without a tool of its own it is just a name and a folder."""
    record = work.record
    if not environment.tool:
        record.record(environment_created_draft(record, environment, tool="", stage=""))
        return Outcome.SUCCESS
    name = f"{environment.name} (create)"
    clock = record.journal.clock
    began = clock.monotonic()
    work.voice.started(name, 1)
    log = StageLog.create(
        work.log_folder, f"provision-{environment.name}", masker=work.masker, echo=None
    )
    try:
        found = yield from _provision(work, environment, log)
    except CxError as problem:
        outcome, reason = Outcome.ERROR, work.masker.text(problem.what)
    else:
        outcome, reason = Outcome(found.outcome), found.reason
    if outcome == Outcome.SUCCESS:
        draft = environment_created_draft(record, environment, tool=environment.tool, stage="")
    else:
        log.note(f"{outcome}: {reason}")
        text = f"{environment.name} could not be created: {reason}"
        draft = record.flag_draft("not-provisioned", text)
    entry = log.close()
    record.record(draft)
    seconds = clock.monotonic() - began
    work.voice.ended(Ending(name, outcome, seconds, reason, 1, True, str(entry.path)))
    return outcome


def _provision(
    work: Work, environment: Environment, log: StageLog
) -> Generator[Launch, End, ToolOutcome]:
    record = work.record
    tool = find_tool(work.manager, environment.tool)
    values = Values(record.version, record.run, record.revision, {}, {})
    options = resolve_options(environment.options, values)
    owner = Stage(
        name=f"provision-{environment.name}", tool=environment.tool, verb="provision",
        options=environment.options,
    )  # fmt: skip
    instance = instance_of(record, environment)
    maker = Maker(record, owner, environment, instance=instance, first=work.send_first)
    fields = Fields(
        checkout=work.workspace.project,
        scratch=work.workspace.scratch(owner.name, 1),
        version=record.version,
        run=record.run,
        revision=record.revision,
        deliverable=work.plan.deliverable,
        environment=work.place_of(environment),
        resource=maker.resource,
    )

    names = dict.fromkeys((*environment.secrets, *tool.secrets))
    secrets = {name: work.secrets[name] for name in names}
    request = ToolRequest(tool, "provision", options, fields, secrets)
    worker = ToolWorker(request, on_intend=maker.intend, on_progress=log.note_amid)
    env = stage_environment(work.environ, extra=work.mark_in(environment))

    def launch(supervisor: Supervisor, tag: object) -> Child:
        return worker.start(
            supervisor, env=env, sink=log, timeout_seconds=environment.timeout_seconds, tag=tag
        )

    end = yield launch
    return worker.outcome(end)


def destroy(work: Work, environment: Environment, *, hurried: bool) -> Program:
    """Destroy a per-run environment and everything that tools created in it."""
    instance = instance_of(work.record, environment)
    owed = standing_in(work.record.journal, work.plan.deliverable, instance)
    limit = HURRIED_SECONDS if hurried else float(environment.timeout_seconds)
    payer = Payer(
        work.record, work.manager, work.environ, held(work), limit,
        checkout=lambda record: work.workspace.project, leaves=True,
    )  # fmt: skip
    unpaid = yield from payer.pay(owed)
    for one, reason in unpaid:
        work.voice.warn(
            f"{environment.name}: {one.tool} could not destroy what {one.stage} created:"
            f" {reason}. It stays owed; the next 'cxlocal run' tries again"
        )
    if unpaid:
        return Outcome.ERROR
    left = close_environment(
        work.record, environment.name, instance, "its last stage has ended", hurried=hurried
    )
    if left:
        work.voice.warn(f"{environment.name}: {still_running(left)}. It stays owed")
        return Outcome.ERROR
    return Outcome.SUCCESS


def still_running(left: tuple[str, ...]) -> str:
    """Why an environment is not gone."""
    return f"what runs in it could not be ended: {', '.join(left)}"


def close_environment(
    record: RunRecord, name: str, instance: str, reason: str, *, hurried: bool = False
) -> tuple[str, ...]:
    """End what still runs in an environment, say that it is gone, and remove its folder. In words what
    could not be ended: then it is flagged and stays. Where plain commands deployed, and nothing of
    that could be ended here, or a tool made what it cannot take away, it is closed and not destroyed."""
    journal, deliverable = record.journal, record.ref.deliverable
    ended = end_place(journal.home, deliverable, instance, journal.clock, hurried=hurried)
    if ended.left:
        record.record(record.flag_draft("not-destroyed", still_running(ended.left), instance))
        return ended.left
    run = record.run if instance != name else ""
    found = {} if ended.ran else unaccounted(journal, deliverable, name, instance, run)
    # A deployment of components says what it is about to make, so one that failed before that made nothing.
    rotates = {one.name for one in record.plan.stages if one.rotates}
    stages = [one for one, succeeded in found.items() if succeeded or one not in rotates]
    stand = [one for one in standing_in(journal, deliverable, instance) if one.in_place]
    if stages or stand:
        record.record(*_closed_drafts(record, name, instance, reason, stages, stand))
    else:
        drafts = removed_drafts(record, name, instance)
        drafts.append(environment_deleted_draft(record, name, instance, tool="", reason=reason))
        record.record(*drafts)
    shutil.rmtree(environment_folder(journal.home, deliverable, instance), ignore_errors=True)
    return ()


def _closed_drafts(
    record: RunRecord, name: str, instance: str, reason: str, stages: list[str], stand: list[Made]
) -> list[Draft]:
    """Plain commands deployed there, and nothing that they made could be found, or tools made what they cannot take
    away: nobody destroyed that."""
    whys = [f"nothing can tell what {', '.join(stages)} made in it, or take that away"] * bool(
        stages
    )
    kinds = dict.fromkeys((one.component or one.tool, one.tool) for one in stand)
    whys += [f"{what} stands: {tool} has no destroy" for what, tool in kinds]
    text = f"{instance} was closed and not destroyed: {'; '.join(whys)}"
    return [
        *(resource_gone(record.ref, resource=one.id, how="left", why=reason) for one in stand),
        environment_closed_draft(record, name, instance, reason=reason),
        record.flag_draft("closed-not-destroyed", text, name),
    ]


def closed_words(journal: Journal, deliverable: str, instance: str) -> str:
    """What to say of an environment that was closed and not destroyed; empty for any other."""
    catch_up(journal)
    row = journal.one(CLOSED, (deliverable, instance))
    return (row and row["text"]) or ""
