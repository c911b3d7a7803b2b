"""What is live by a stage, what an environment says of itself, and what a plain command deployed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxlocal.events.document import Draft
from cxlocal.events.runs import run_observed
from cxlocal.hooks.tool import ArtifactRef, Observed
from cxlocal.plan.placeholders import used_artifacts
from cxlocal.plan.types import Environment, Stage
from cxlocal.runner.admission import Way
from cxlocal.runner.placements import deployed_drafts, instance_of, live, unfinished
from cxlocal.runner.record import RunRecord
from cxlocal.runner.work import Work


def known_of(record: RunRecord, instance: str, stage: Stage) -> list[dict[str, Any]]:
    """What is live in an environment, the newest last, without what stages beside ``stage`` deploy."""
    beside = record.plan.beside(stage)
    if not beside:
        return live(record, instance)
    made = "SELECT s.stage FROM deployment d JOIN stage_run s ON s.id = d.stage_run WHERE d.id = ?"
    return [
        row for row in live(record, instance)
        if (by := record.journal.one(made, (row["deployment"],))) is None or by["stage"] not in beside
    ]  # fmt: skip


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
        service=record.plan.service_of(stage),
        artifact=deployed_artifact(seen, stage),
        uri=uri,
        stage_run=record.ref.stage_run(stage.name, attempt),
        actor=record.actor,
        kind="rolledback" if way.back else "",
        reason=way.reason,
    )
