"""Asking an environment what it runs, outside of any deployment."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from cxlocal.config.agreement import secrets_agreed
from cxlocal.errors import CxError, OutcomeFailure, Refused, Trouble, UsageError
from cxlocal.hooks.registered import find_tool
from cxlocal.hooks.tool import Observed, verbs_of
from cxlocal.plan.types import Stage
from cxlocal.private import make_folder
from cxlocal.processes.log import StageLog
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner.component_look import what_serves
from cxlocal.runner.deployment import known_of, note_observed
from cxlocal.runner.driver import drive
from cxlocal.runner.lent_checkouts import LentCheckouts
from cxlocal.runner.nesting import handed_on
from cxlocal.runner.placements import instance_of
from cxlocal.runner.products import artifacts
from cxlocal.runner.record import RunRecord
from cxlocal.runner.site import Site
from cxlocal.runner.source import Machine, Source, find_secrets, load_own_plugins
from cxlocal.runner.work import Work, environment_folder
from cxlocal.runner.workspace import Workspace
from cxlocal.text import quoted
from cxlocal.values import NamedTuple


class Seen(NamedTuple):
    """What a tool said, beside what the journal says."""

    environment: str
    expected: tuple[str, ...]
    observed: str
    """The version that runs there; empty for none."""
    healthy: bool | None
    uri: str
    agrees: bool | None
    """None when the tool could not tell."""
    problem: str
    """What is not as the journal says, or why it could not be asked."""
    details: dict[str, Any]


def observe(machine: Machine, source: Source, record: RunRecord, environment: str) -> Seen:
    """Ask the tool that deploys into ``environment``; the answer is recorded with the run of the
    version that is live there. Raises UsageError when no tool can tell, Refused for secrets that
    nobody agreed to."""
    load_own_plugins(machine, source, machine.root)
    stage = _observer(source, record, environment)
    _require_agreed(machine, source)
    secrets = find_secrets(machine, source, record.plan, frozenset([stage.name]), alone=True)
    home = record.journal.home
    place = record.plan.environment(environment)
    instance = instance_of(record, place)
    scratch = (
        environment_folder(home, record.ref.deliverable, instance)
        / f".observe-{machine.ids.token()[:8]}"
    )
    make_folder(scratch)
    workspace = Workspace(source.repository, record.revision, scratch, scratch)
    work = Work(
        record=record, manager=source.manager, workspace=workspace,
        environ=handed_on(machine, source, record),
        voice=machine.voice, secrets=secrets, readers={},
    )  # fmt: skip
    work.artifacts = artifacts(record, check=False)
    known = known_of(record, instance, stage)
    log = StageLog.create(work.log_folder, f"observe-{environment}", masker=work.masker)
    try:
        with LentCheckouts(machine) as lent, Supervisor(machine.clock) as supervisor:
            site = Site(work, stage, 1, scratch, log, {})
            if any(site.tool(one).shell for one in site.components):
                site = Site(work, stage, 1, lent.of(record) or scratch, log, {})
            result, reason = drive(what_serves(site), supervisor)
        agrees = note_observed(work, place, known, result, reason)
        if agrees is not None and reason:
            agrees = False
            text = f"{environment} is not as the journal says: {reason}"
            record.record(record.flag_draft("changed-outside", text, environment))
    finally:
        log.close()
        shutil.rmtree(scratch, ignore_errors=True)
    said = result if isinstance(result, Observed) else Observed()
    return Seen(
        environment, tuple(row["version"] for row in known), said.version, said.healthy, said.uri,
        agrees, reason or (_otherwise(known, said) if agrees is False else ""), dict(said.details),
    )  # fmt: skip


def problem_of(seen: Seen, live: str) -> CxError | None:
    """What a command ends in that asked; None where all is as the journal says. ``live``: the version by that."""
    if seen.agrees is None:
        return Trouble(
            f"{seen.environment} could not be asked",
            why=seen.problem,
            hint="see that its tool and its address are up, then: cxlocal env observe "
            + quoted(seen.environment),
            name="not-observed",
        )
    if seen.agrees:
        return None
    return OutcomeFailure(
        f"{seen.environment} is not as the journal says",
        why=seen.problem,
        hint=f"cxlocal deploy {quoted(live)} --to {quoted(seen.environment)} puts it right",
        name="changed-outside",
    )


def _otherwise(known: Sequence[dict[str, Any]], said: Observed) -> str:
    versions = ", ".join(row["version"] for row in known) or "nothing"
    return f"it runs {said.version or 'nothing'}, the journal says {versions}"


def _require_agreed(machine: Machine, source: Source) -> None:
    """Only commands that run stages read secrets unasked."""
    if secrets_agreed(source.config, machine.root, machine.home, machine.environ):
        return
    raise Refused(
        "nobody agreed to the secrets of this checkout yet",
        why="a command that runs no stages reads secrets only from where somebody agreed to",
        hint="cxlocal trust",
        name="secrets-not-agreed",
    )


def _observer(source: Source, record: RunRecord, environment: str) -> Stage:
    stages = [one for one in record.plan.stages_in(environment) if one.kind == "deploy"]
    for stage in stages:
        if stage.by_components:
            return stage
        if stage.tool and "observe" in verbs_of(
            find_tool(source.manager, stage.tool), stage.options
        ):
            return stage
    tools = ", ".join(one.tool or "a plain command" for one in stages) or "nothing"
    raise UsageError(
        f"{environment} cannot be asked what it runs",
        why=f"it is deployed by {tools}, which cannot observe",
        hint="cxlocal env show tells what the journal knows",
        name="cannot-observe",
    )
