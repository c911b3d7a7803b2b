"""Bytes of a run that are neither here nor at the store: asked of the tools that brought them somewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence

from cxlocal.domain import Outcome
from cxlocal.errors import CxError
from cxlocal.hooks.manager import Manager
from cxlocal.hooks.registered import find_tool
from cxlocal.hooks.tool import Done, verbs_of
from cxlocal.journal.blobs import keep_file
from cxlocal.plan.types import Stage
from cxlocal.processes.child import End
from cxlocal.processes.log import StageLog
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner.driver import drive
from cxlocal.runner.needed import lacking
from cxlocal.runner.payer import words_of
from cxlocal.runner.products import artifacts
from cxlocal.runner.publication import ledger_of
from cxlocal.runner.record import RunRecord
from cxlocal.runner.source import Machine, Source, find_secrets
from cxlocal.runner.tool_stage import ToolStage, ask, open_tool
from cxlocal.runner.work import Launch, Work

FETCH = "fetch"


def holders(record: RunRecord, manager: Manager) -> list[Stage]:
    """The stages that brought artifacts of the run to a target or a registry, and whose tools can bring them
    back; none where all bytes are here."""
    plan = record.plan
    if not lacking(record.journal, record.run):
        return []
    there = [
        one.name for one in plan.published_to if ledger_of(record, one.name).row.get("files_there")
    ]
    done = record.succeeded()
    found = [plan.publishing(name) for name in there]
    found += [
        one for one in plan.stages
        if one.tool and one.kind == "publish" and not one.publishes_to and one.name in done
    ]  # fmt: skip
    return [one for one in found if _can_fetch(manager, one)]


def bring_back(machine: Machine, source: Source, work: Work, *, needed: bool) -> None:
    """Give ``work`` what holders need, and all artifacts of the run if they are ``needed`` now. Raises Trouble
    for what is still missing."""
    work.add_secrets(_secrets_of(machine, source, work.record))
    if not needed:
        return
    if holders(work.record, work.manager):
        with Supervisor(machine.clock) as supervisor:
            drive(fetch_missing(work), supervisor, notes=work.notes)
    work.artifacts = artifacts(work.record)


def _secrets_of(machine: Machine, source: Source, record: RunRecord) -> dict[str, str]:
    """Nothing where some of it is missing: only who has all of theirs is asked."""
    holding = holders(record, source.manager)
    stages = frozenset(one.name for one in holding if not one.publishes_to)
    targets = [one.publishes_to for one in holding if one.publishes_to]
    try:
        return find_secrets(machine, source, record.plan, stages, targets=targets)
    except CxError:
        return {}


def _can_fetch(manager: Manager, stage: Stage) -> bool:
    try:
        return FETCH in verbs_of(find_tool(manager, stage.tool), stage.options)
    except CxError:
        return False  # that tool is not installed here


def fetch_missing(work: Work) -> Generator[Launch, End, None]:
    """Have what can be had. Who needs the rest says what is missing."""
    record = work.record
    for stage in holders(record, work.manager):
        work.artifacts = artifacts(record, check=False)
        absent = {one.name for one in lacking(record.journal, record.run)}
        names = [name for name in stage.artifacts if name in absent]
        wanted = (*stage.secrets, *find_tool(work.manager, stage.tool).secrets)
        if not names or not all(name in work.secrets for name in wanted):
            continue
        log = StageLog.create(work.log_folder, f"{FETCH} {stage.name}", masker=work.masker)
        try:
            attempt = work.first_attempt.get(stage.name, 1)
            scratch = work.workspace.scratch(f"{FETCH} {stage.name}", attempt)
            folder = work.workspace.project
            why = yield from _fetch(
                open_tool(work, stage, attempt, folder, scratch, log, {}), names
            )
        except (CxError, OSError) as problem:
            why = words_of(problem)
        finally:
            log.close()
        if why:
            work.voice.warn(f"{stage.tool} could not bring {', '.join(names)}: {why}")
        work.artifacts = artifacts(record, check=False)


def _fetch(at: ToolStage, names: Sequence[str]) -> Generator[Launch, End, str]:
    """Keep what a tool gives; why it gave nothing, or something else. It is believed by its digest alone."""
    found, _ = yield from ask(at, FETCH, put=tuple(names))
    made = found.result.artifacts if isinstance(found.result, Done) else ()
    other = []
    for one in made:
        with one.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if one.name in names and digest == at.work.artifacts[one.name].sha256:
            keep_file(at.work.home, one.path)
        else:
            other.append(one.name)
    if other:
        return f"what it has as {', '.join(other)} is something else"
    return "" if found.outcome == Outcome.SUCCESS else found.reason or str(found.outcome)
