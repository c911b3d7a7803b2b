"""A stage from its first attempt to its last: start, watch, collect, record.

An attempt is recorded in two commits, one when it starts and one when all it brought is known.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from cxlocal.domain import Outcome
from cxlocal.errors import CxError
from cxlocal.events.traces import trace_variables
from cxlocal.hooks.stage_view import StageResult, StageView
from cxlocal.plan.types import Stage
from cxlocal.processes.child import Child, End
from cxlocal.processes.log import StageLog
from cxlocal.processes.start import shell
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner import caches
from cxlocal.runner.admission import admit, admit_to_target, begin
from cxlocal.runner.gates import require
from cxlocal.runner.outcomes import REASON_CHARACTERS, judge
from cxlocal.runner.run_version import stamp
from cxlocal.runner.stage_outputs import Collected, collect, marks
from cxlocal.runner.untouched import refuse_changed
from cxlocal.runner.voice import Ending
from cxlocal.runner.work import Around, Launch, Program, Work, Worked
from cxlocal.text import shorten, utc_text
from cxlocal.values import NamedTuple


class At(NamedTuple):
    """One attempt of one stage."""

    work: Work
    stage: Stage
    attempt: int
    log: StageLog
    variables: dict[str, str]
    """Variables that wrappers of stages added."""
    said: list[str]
    """Lines to be shown with the end."""


def run_stage(work: Work, stage: Stage) -> Program:
    """All attempts of a stage. Raises Refused, Undecided and Conflict before the first."""
    let_in(work, stage)
    first = work.first_attempt.get(stage.name, 1)
    last = first + stage.retries
    outcome = Outcome.ERROR
    for attempt in range(first, last + 1):
        outcome = yield from _attempt(work, stage, attempt, is_last=attempt == last)
        if outcome in (Outcome.SUCCESS, Outcome.CANCEL):
            break
    return outcome


def let_in(work: Work, stage: Stage) -> None:
    """Raise Refused, Undecided or Conflict where a stage may not begin: promotions, gates, and what is newer where it
    would go."""
    if not work.repair:
        require(work, stage)
    admit(work.record, stage, work.way_of(stage))
    admit_to_target(work.record, stage, work.way_of(stage))


def _attempt(work: Work, stage: Stage, attempt: int, *, is_last: bool) -> Program:
    record, clock = work.record, work.record.journal.clock
    environment = work.environment_of(stage)
    instance = "" if environment is None else environment.instance(record.run)
    ready_ms = work.ready_at.get(stage.name) or clock.now_ms()
    record.stage_started(stage, attempt, ready_at_ms=ready_ms, instance=instance)
    work.voice.started(stage.name, attempt)
    began, started_ms = clock.monotonic(), clock.now_ms()
    variables = trace_variables(record.run, work.stage_run(stage.name, attempt))
    opened = work.manager.open_stage(
        StageView(
            work.plan.deliverable, record.version, record.run, stage.name, attempt,
            stage.tool or "command", stage.verb, stage.environment, utc_text(started_ms), variables,
        )
    )  # fmt: skip
    log = StageLog.create(
        work.log_folder, stage.name, masker=work.masker, echo=work.voice.echo(stage.name),
        now_ms=clock.now_ms,
    )  # fmt: skip
    at = At(work, stage, attempt, log, variables, [])
    worked, collected = yield from _tried(at, started_ms)
    reason = _record_end(at, worked, collected)
    seconds = clock.monotonic() - began
    opened.close(StageResult(collected.outcome, reason, seconds))
    over = is_last or collected.outcome in (Outcome.SUCCESS, Outcome.CANCEL)
    work.voice.ended(
        Ending(
            stage.name,
            collected.outcome,
            seconds,
            collected.tested if collected.outcome == Outcome.SUCCESS else reason,
            attempt,
            over,
            str(log.path),
            tuple(at.said),
        )
    )
    if worked.refused is not None:
        raise worked.refused
    return collected.outcome


def _tried(at: At, started_ms: int) -> Generator[Launch, End, tuple[Worked, Collected]]:
    """Do the work and collect what it left. Whatever goes wrong becomes the outcome."""
    work, stage = at.work, at.stage
    worked = Worked(Outcome.ERROR, "", started_ms, started_ms)
    seen = work.seen_by(stage).values()
    try:
        refuse_changed(work.untouched.changed(seen))
        folder = _folder(at)
        hits = caches.bring_in(work, stage, folder)
        before, earlier = marks(folder, stage), work.left_files.before(stage)
        worked = yield from work_on(at, folder)
        if hits:
            told = [one.as_json() for one in hits]
            worked = worked._replace(details={**worked.details, "caches": told})
        around = Around(lambda: work.surroundings(stage, at.variables), at.log)
        collected = yield from collect(work, stage, at.attempt, worked, folder, before, around)
        if collected.outcome == Outcome.SUCCESS:
            if stage.kind != "deploy":  # what is live is not unsaid; the next stage finds it
                refuse_changed(work.untouched.changed(seen))
            caches.keep(work, stage, folder, hits)
            left = work.left_files.after(stage, earlier)
            if left is not None:
                worked = worked._replace(details={**worked.details, "left": left.as_json()})
        at.said.extend(caches.told(folder, hits))
    except (CxError, OSError) as problem:
        worked = worked._replace(finished_ms=work.record.journal.clock.now_ms())
        collected = Collected(Outcome.ERROR, words_of(problem), {}, [])
    return worked, collected


def _record_end(at: At, worked: Worked, collected: Collected) -> str:
    """One commit with everything the attempt brought; its reason as recorded."""
    work, outcome = at.work, collected.outcome
    reason = shorten(work.masker.text(collected.reason), REASON_CHARACTERS)
    if reason:
        at.log.note(f"{outcome}: {reason}")
    entry = at.log.close()
    extra = list(collected.drafts)
    if outcome == Outcome.SUCCESS:
        extra += worked.drafts
        work.artifacts.update(collected.artifacts)
        work.untouched.believe(collected.artifacts.values())
    work.record.stage_finished(
        at.stage,
        at.attempt,
        outcome,
        reason,
        started_ms=worked.started_ms,
        finished_ms=max(worked.finished_ms, worked.started_ms),
        seconds=worked.seconds,
        exit_code=worked.exit_code,
        log=entry,
        tool_version=worked.tool_version,
        details={**worked.details, **({"log_problem": entry.problem} if entry.problem else {})},
        extra=extra,
    )
    return reason


def _folder(at: At) -> Path:
    """Where the stage works: beside the other stages, or in a checkout of its own."""
    work = at.work
    if not at.stage.isolated:
        return work.workspace.project
    folder = work.workspace.isolated(work.plan, at.stage, at.attempt)
    stamp(work.plan, folder, work.record.version)
    return folder


def words_of(problem: CxError | OSError) -> str:
    """What went wrong around a stage."""
    if isinstance(problem, CxError):
        return ": ".join(part for part in (problem.what, problem.why) if part)
    return f"{problem.strerror or problem}: {problem.filename or ''}".rstrip(": ")


def work_on(at: At, folder: Path) -> Generator[Launch, End, Worked]:
    """Let the tool or the command of a stage do its work in ``folder``."""
    work, stage = at.work, at.stage
    if stage.rotates:
        from cxlocal.runner.component_deployment import Deployment
        from cxlocal.runner.site import Site

        site = Site(work, stage, at.attempt, folder, at.log, at.variables)
        return (yield from Deployment(site).carry_out())
    if not stage.tool:
        return (yield from _command(at, folder))
    from cxlocal.hooks.tool import Published
    from cxlocal.runner.products import published_drafts
    from cxlocal.runner.publication import publish
    from cxlocal.runner.tool_stage import as_worked, ask, open_tool

    scratch = work.workspace.scratch(stage.name, at.attempt)
    tool = open_tool(work, stage, at.attempt, folder, scratch, at.log, at.variables)
    if stage.publishes_to:
        return (yield from publish(tool))
    found, end = yield from ask(tool, stage.verb)
    worked = as_worked(found, end)
    if isinstance(found.result, Published) and found.result.locations:
        drafts = published_drafts(work.record, work.seen_by(stage), found.result.locations)
        worked = worked._replace(drafts=tuple(drafts))
    return worked


def _command(at: At, folder: Path) -> Generator[Launch, End, Worked]:
    """A plain command: a text through the shell, a list without one."""
    work, stage = at.work, at.stage
    command = stage.command
    assert command is not None
    argv = shell(command) if isinstance(command, str) else list(command)
    env = work.surroundings(stage, at.variables)
    env.update({name: work.secrets[name] for name in stage.secrets})

    def launch(supervisor: Supervisor, tag: object) -> Child:
        return supervisor.start(
            argv, cwd=folder, env=env, sink=at.log, timeout_seconds=stage.timeout_seconds, tag=tag
        )

    begin(work.record, stage, at.attempt, work.way_of(stage))
    end = yield launch
    outcome, reason = judge(end)
    if end.held_open:
        at.log.note("a process it left in the background kept its output open")
    worked = Worked(outcome, reason, end.started_ms, end.finished_ms, end.code, seconds=end.seconds)
    if stage.kind == "deploy" and outcome == Outcome.SUCCESS:
        from cxlocal.runner.deployment import command_deployed

        work.check_turn(stage)
        worked = worked._replace(drafts=tuple(command_deployed(work, stage, at.attempt)))
    return worked
