"""Stages whose work a tool does: the verb in a worker of its own, its handles durable first."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from cxlocal.domain import Outcome
from cxlocal.errors import CxError
from cxlocal.hooks.messages import Fields
from cxlocal.hooks.options import check_options
from cxlocal.hooks.registered import find_tool
from cxlocal.hooks.tool import Done, Tool
from cxlocal.hooks.tool_worker import ToolOutcome, ToolRequest, ToolWorker
from cxlocal.notes.text import markdown, plain
from cxlocal.plan.placeholders import resolve_options
from cxlocal.plan.types import Stage
from cxlocal.processes.child import Child, End
from cxlocal.processes.log import StageLog
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner.notes import notes_of
from cxlocal.runner.placements import instance_of
from cxlocal.runner.resources import Maker
from cxlocal.runner.source import find_scheme
from cxlocal.runner.work import Launch, Work, Worked
from cxlocal.values import NamedTuple


class ToolStage(NamedTuple):
    """One attempt of a tool at its stage."""

    work: Work
    stage: Stage
    attempt: int
    tool: type[Tool]
    options: dict[str, Any]
    folder: Path
    scratch: Path
    log: StageLog
    env: dict[str, str]

    @property
    def stage_run(self) -> str:
        """The id of this attempt."""
        return self.work.stage_run(self.stage.name, self.attempt)


def open_tool(
    work: Work,
    stage: Stage,
    attempt: int,
    folder: Path,
    scratch: Path,
    log: StageLog,
    extra: Mapping[str, str],
) -> ToolStage:
    """Find the tool and resolve its options. Raises ConfigError."""
    tool = find_tool(work.manager, stage.tool)
    env = work.surroundings(stage, extra)
    options = resolve_options(stage.options, work.values(stage, env))
    check_options(tool, options, where=f"stage {stage.name}")
    return ToolStage(work, stage, attempt, tool, options, folder, scratch, log, env)


def ask(
    at: ToolStage,
    verb: str,
    *,
    put: tuple[str, ...] = (),
) -> Generator[Launch, End, tuple[ToolOutcome, End]]:
    """Carry out one verb."""
    work, stage = at.work, at.stage
    environment = work.environment_of(stage)
    maker = _maker(at, verb)
    fields = Fields(
        checkout=at.folder,
        scratch=at.scratch,
        version=work.record.version,
        run=work.record.run,
        revision=work.record.revision,
        stage=stage.name,
        deliverable=work.plan.deliverable,
        environment=None if environment is None else work.place_of(environment),
        artifacts=work.seen_by(stage),
        turn=work.turn_at(stage),
        put=put,
        notes=_notes(work) if verb == "publish" and stage.publishes_to else {},
    )
    names = dict.fromkeys((*stage.secrets, *at.tool.secrets))
    request = ToolRequest(
        at.tool, verb, at.options, fields, {name: work.secrets[name] for name in names}
    )
    worker = ToolWorker(request, on_intend=maker.intend, on_progress=at.log.note_amid)

    def launch(supervisor: Supervisor, tag: object) -> Child:
        return worker.start(
            supervisor, env=at.env, sink=at.log, timeout_seconds=stage.timeout_seconds, tag=tag
        )

    end = yield launch
    found = worker.outcome(end)
    if found.trace:
        at.log.write(found.trace.encode("utf-8", "backslashreplace") + b"\n")
    return found, end


def _notes(work: Work) -> dict[str, str]:
    """The texts of the notes; none where the repository or the journal cannot tell."""
    try:
        found = notes_of(
            work.record, work.workspace.repository, find_scheme(work.manager, work.plan)
        )
    except CxError as problem:
        work.voice.warn(f"there are no notes: {problem.what}")
        return {}
    masked = {"markdown": markdown(found), "plain": plain(found)}
    return {form: work.masker.text(text) for form, text in masked.items()}


def _maker(at: ToolStage, verb: str) -> Maker:
    work, stage = at.work, at.stage
    environment = work.environment_of(stage)
    instance = "" if environment is None else instance_of(work.record, environment)
    return Maker(
        work.record, stage, environment, instance=instance, stage_run=at.stage_run, verb=verb,
        first=work.send_first,
    )  # fmt: skip


def as_worked(found: ToolOutcome, end: End) -> Worked:
    """The result of a verb in the form every attempt has."""
    result = found.result
    details: dict[str, Any] = {}
    if found.daemons:
        details["daemons"] = [list(one) for one in found.daemons]
    done = result if isinstance(result, Done) else Done()
    details = {**done.details, **details}
    return Worked(
        Outcome(found.outcome),
        found.reason,
        end.started_ms,
        end.finished_ms,
        tool_version=done.tool_version,
        details=details,
        produced=done.artifacts,
        reports=done.reports,
        seconds=end.seconds,
    )
