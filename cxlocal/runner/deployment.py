"""Deployments: ask the environment what it runs, deploy or undo, say what runs now.

A run does this at its deploy stages; ``cxlocal deploy`` and ``cxlocal rollback`` do the same for a
version that was built before (``cxlocal.runner.redeploy``).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from cxlocal.domain import Outcome
from cxlocal.events.document import Draft
from cxlocal.events.runs import run_observed
from cxlocal.hooks.tool import ArtifactRef, Deployed, Observed, Previous, verbs_of
from cxlocal.plan.placeholders import used_artifacts
from cxlocal.plan.types import Environment, Stage
from cxlocal.processes.child import End
from cxlocal.runner.admission import Way, begin, service_of_command
from cxlocal.runner.placements import deployed_drafts, instance_of, live, unfinished
from cxlocal.runner.record import RunRecord
from cxlocal.runner.resources import cutover_drafts, handle_of
from cxlocal.runner.tool_stage import ToolStage, as_worked, ask
from cxlocal.runner.work import Launch, Work, Worked


def deploy(at: ToolStage) -> Generator[Launch, End, Worked]:
    """Observe what runs there (where the tool can), then deploy with what ran before.

    A stage whose verb is ``undo`` lets the tool put back what it had before.
    """
    work, stage = at.work, at.stage
    environment = work.plan.environment(stage.environment)
    instance = instance_of(work.record, environment)
    known = known_of(work.record, instance, stage)
    serving = known[-1]["deployment"] if known else ""
    handle = handle_of(work.record.journal, work.plan.deliverable, instance, stage, serving)
    if environment.lifetime == "lasting" and "observe" in verbs_of(at.tool, at.options):
        found, end = yield from ask(at, "observe", handle=handle)
        if found.outcome == Outcome.CANCEL:
            return as_worked(found, end)
        note_observed(work, environment, known, found.result, found.reason)
    previous = None
    if known:
        last = known[-1]
        previous = Previous(version=last["version"], run=last["version_run"], handle=handle)
    begin(work.record, stage, at.attempt, work.way_of(stage))
    found, end = yield from ask(at, stage.verb, previous=previous, handle=handle)
    worked = as_worked(found, end)
    if isinstance(found.result, Deployed):
        elsewhere = _undone_to_another(at, found.result)
        if elsewhere:
            return worked._replace(outcome=Outcome.ERROR, reason=elsewhere)
        work.check_turn(stage)
        if found.result.uri:
            work.uris[environment.name] = found.result.uri
        drafts = deployed_drafts(
            work.record,
            environment,
            service=found.result.service,
            artifact=deployed_artifact(work.seen_by(stage), stage),
            uri=found.result.uri,
            stage_run=at.stage_run,
            actor=work.record.actor,
            kind=work.deployment_kind,
            reason=work.deployment_reason,
            details=found.result.details,
        )
        deployment = str(drafts[-1].id)
        drafts += cutover_drafts(
            work.record, instance, stage, at.tool, stage_run=at.stage_run, deployment=deployment
        )
        worked = worked._replace(drafts=tuple(drafts))
    return worked


def known_of(record: RunRecord, instance: str, stage: Stage) -> list[dict[str, Any]]:
    """What is live in an environment by the stage ``stage``, the newest last. Where no other stage of the
    plan deploys there, whatever is live is its."""
    rows = live(record, instance)
    beside = [
        one
        for one in record.plan.stages_in(stage.environment)
        if one.kind == "deploy" and one.name != stage.name
    ]
    if not beside:
        return rows
    made = "SELECT 1 FROM deployment d JOIN stage_run s ON s.id = d.stage_run WHERE d.id = ? AND s.stage = ?"
    return [
        row for row in rows if record.journal.one(made, (row["deployment"], stage.name)) is not None
    ]


def _undone_to_another(at: ToolStage, result: Deployed) -> str:
    """Why an undo did not come to the version it was meant to; empty when it did, or does not say."""
    said = str(result.details.get("version", ""))
    if at.stage.verb != "undo" or not said or said == at.work.record.version:
        return ""
    return (
        f"the tool went back to {said}, and {at.work.record.version} was meant;"
        f" 'cxlocal deploy' puts a version there by its bytes"
    )


def deployed_artifact(seen: Mapping[str, ArtifactRef], stage: Stage) -> ArtifactRef | None:
    """What a deploy stage deploys: the artifact its options name, else the only one it sees."""
    named = [name for name in used_artifacts(stage.options) if name in seen]
    if not named and len(seen) == 1:
        named = list(seen)
    return seen[named[0]] if named else None


def note_observed(
    work: Work,
    environment: Environment,
    known: list[dict[str, Any]],
    observed: object,
    problem: str,
) -> bool | None:
    """Record what the environment said, and show it where it differs from what we know; whether it
    agrees, None when it could not be asked."""
    if not isinstance(observed, Observed):
        work.voice.warn(f"{environment.name} could not be asked what it runs: {problem}")
        return None
    versions = [row["version"] for row in known]
    # What we tried there and did not finish may run there, too: nobody else changed that.
    tried = [
        one["version"] for one in unfinished(work.record, instance_of(work.record, environment))
    ]
    expected = ", ".join([*versions, *tried])
    agrees = observed.version in [*(versions or [""]), *tried]
    work.record.record(
        run_observed(
            work.record.ref,
            environment=environment.name,
            expected=expected,
            observed=observed.version,
            agrees=agrees,
            details={**observed.details, "healthy": observed.healthy, "uri": observed.uri},
        )
    )
    if not agrees:
        work.voice.warn(
            f"{environment.name} was changed outside: it runs {observed.version or 'nothing'},"
            f" the journal says {expected or 'nothing'}"
        )
    return agrees


def command_deployed(work: Work, stage: Stage, attempt: int) -> list[Draft]:
    """What a plain command of kind ``deploy`` did, in the words every deployment has."""
    environment = work.environment_of(stage)
    if environment is None:
        return []
    uri = work.uri_of(environment)
    return told_deployed(
        work.record, environment, stage, attempt, work.seen_by(stage), uri, work.way_of(stage)
    )


def told_deployed(
    record: RunRecord,
    environment: Environment,
    stage: Stage,
    attempt: int,
    seen: Mapping[str, ArtifactRef],
    uri: str,
    way: Way,
) -> list[Draft]:
    """The same, where nothing but its success is known. ``seen``: the artifacts it could use."""
    return deployed_drafts(
        record,
        environment,
        service=service_of_command(record.plan, environment, stage),
        artifact=deployed_artifact(seen, stage),
        uri=uri,
        stage_run=record.ref.stage_run(stage.name, attempt),
        actor=record.actor,
        kind="rolledback" if way.back else "",
        reason=way.reason,
    )
