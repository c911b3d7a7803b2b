"""Environments, deployments, promotions of a run; and what this machine still has to destroy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cxlocal.domain import Actor
from cxlocal.events import places
from cxlocal.events.belonging import mark_id
from cxlocal.events.document import Draft
from cxlocal.events.resources import environment_closed
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.types import Environment
from cxlocal.projection.project import TURN_MAX
from cxlocal.runner.record import RunRecord

if TYPE_CHECKING:
    from cxlocal.hooks.tool import ArtifactRef

UNFINISHED = """
SELECT * FROM deployments_unfinished WHERE deliverable = ? AND instance = ? ORDER BY since
"""


def instance_of(record: RunRecord, environment: Environment) -> str:
    """The id of an environment for a run."""
    return environment.instance(record.run)


def environment_created_draft(
    record: RunRecord,
    environment: Environment,
    *,
    tool: str,
    stage: str,
    uri: str = "",
    spec_sha256: str = "",
) -> Draft:
    """An environment exists from now on."""
    return places.environment_created(
        record.ref,
        name=environment.name,
        instance=instance_of(record, environment),
        lifetime=environment.lifetime,
        title=environment.title or environment.name,
        protected=environment.protected,
        uri=uri or environment.uri,
        spec_sha256=spec_sha256,
        tool=tool,
        stage=stage,
        turn=_next_turn(record, instance_of(record, environment)),
    )


def _next_turn(record: RunRecord, instance: str) -> int:
    """The turn of what is said next about an environment: above all that is known of it."""
    catch_up(record.journal)
    row = record.journal.one(
        "SELECT max(coalesce(created_from, ''), coalesce(deleted_from, '')) AS last"
        " FROM environment WHERE deliverable = ? AND instance = ?",
        (record.ref.deliverable, instance),
    )
    return min(int(row["last"].partition(".")[0]) + 1, TURN_MAX) if row and row["last"] else 0


def environment_deleted_draft(
    record: RunRecord, environment: str, instance: str, *, tool: str, reason: str
) -> Draft:
    """An environment is gone."""
    return places.environment_deleted(
        record.ref, name=environment, instance=instance, tool=tool, reason=reason,
        turn=_next_turn(record, instance),
        replaces=[row["deployment"] for row in unfinished(record, instance)],
    )  # fmt: skip


def environment_closed_draft(
    record: RunRecord, environment: str, instance: str, *, reason: str
) -> Draft:
    """An environment is used no more, and nobody could destroy what was made there."""
    return environment_closed(
        record.ref, name=environment, instance=instance, reason=reason,
        turn=_next_turn(record, instance),
        replaces=[row["deployment"] for row in unfinished(record, instance)],
        deployments=[row["deployment"] for row in live(record, instance)],
    )  # fmt: skip


def is_known(record: RunRecord, instance: str) -> bool:
    """Whether the journal holds the environment as created and not destroyed."""
    return stands(record.journal, record.ref.deliverable, instance)


def stands(journal: Journal, deliverable: str, instance: str) -> bool:
    """The same, for whoever has no run."""
    catch_up(journal)
    row = journal.one(
        "SELECT created_from > coalesce(deleted_from, '') AS stands FROM environment"
        " WHERE deliverable = ? AND instance = ?",
        (deliverable, instance),
    )
    return bool(row and row["stands"])


def live(record: RunRecord, instance: str, service: str | None = None) -> list[dict[str, Any]]:
    """What the journal says runs in an environment; two rows of one service are disputed."""
    catch_up(record.journal)
    return record.journal.query(
        "SELECT * FROM deployments_now WHERE deliverable = ? AND instance = ?"
        " AND (? IS NULL OR service = ?) ORDER BY since",
        (record.ref.deliverable, instance, service, service),
    )


def known_uri(record: RunRecord, environment: Environment) -> str:
    """Where an environment answers: what the plan says, else what its last deployment said. An address
    from history is one that somebody recorded; what is handed to it is not for everybody."""
    if environment.uri:
        return environment.uri
    said = [row["uri"] for row in live(record, instance_of(record, environment)) if row["uri"]]
    return said[-1] if said else ""


def unfinished(record: RunRecord, instance: str) -> list[dict[str, Any]]:
    """What began in an environment, did not come to run there, and stands as the last word."""
    catch_up(record.journal)
    return record.journal.query(UNFINISHED, (record.ref.deliverable, instance))


def deployment_kind(journal: Journal, run: str, before: Sequence[str]) -> str:
    """What deploying the version of ``run`` is, where those of the runs ``before`` are live:
    deployed, upgraded, or rolledback (something newer is replaced)."""
    if not before:
        return "deployed"
    keys = {
        row["run"]: row["sort_key"]
        for row in journal.query(
            "SELECT run, sort_key FROM version WHERE run IN (SELECT value FROM json_each(?))"
            " AND sort_key IS NOT NULL",
            (json.dumps([run, *before]),),
        )
    }
    newest = max((keys[one] for one in before if one in keys), default="")
    return "rolledback" if keys.get(run, newest) < newest else "upgraded"


def deployed_drafts(
    record: RunRecord,
    environment: Environment,
    *,
    service: str,
    artifact: ArtifactRef | None,
    uri: str,
    stage_run: str,
    actor: Actor,
    kind: str = "",
    reason: str = "",
    details: Mapping[str, Any] | None = None,
    version_of: RunRecord | None = None,
    deployment: str = "",
    also_replaces: Sequence[str] = (),
) -> list[Draft]:
    """A version runs in an environment now; it replaces what the journal says was live there.

    ``version_of`` is the run that made the version, where it is not this one (rollback, deploy of
    an older run). ``kind`` is worked out: deployed the first time, rolledback where something newer is
    replaced, else upgraded. ``deployment``: its id where it has one already; ``also_replaces``: other
    deployments that end with it.
    """
    made_by = version_of or record
    instance = instance_of(record, environment)
    before = live(record, instance, service)
    chosen = kind or deployment_kind(
        record.journal, made_by.run, [row["version_run"] for row in before]
    )
    described = {} if artifact is None else _describe(artifact)
    drafts = [] if is_known(record, instance) else [
        environment_created_draft(record, environment, tool="", stage="")
    ]  # fmt: skip
    drafts.append(
        places.service_deployed(
            record.ref,
            kind=chosen,
            # It has had its id since it began; only in an environment of one run is that not said.
            event_id=deployment
            or record.open_deployment(stage_run)
            or mark_id(record.journal.ids.uuid(), record.ref.deliverable),
            service=service,
            environment=environment.name,
            instance=instance,
            artifact=described,
            version=made_by.version,
            number=made_by.number,
            version_run=made_by.run,
            replaces=[*(row["deployment"] for row in before), *also_replaces],
            uri=uri,
            stage_run=stage_run,
            actor=actor._asdict(),
            reason=reason,
            details=dict(details or {}),
        )
    )
    return drafts


def _describe(artifact: ArtifactRef) -> dict[str, Any]:
    return {"name": artifact.name, "purl": artifact.purl, "sha256": artifact.sha256}


def removed_drafts(
    record: RunRecord, environment: str, instance: str, service: str | None = None
) -> list[Draft]:
    """Every service the journal says is live in an instance runs there no longer; or the one alone."""
    by_service: dict[str, list[str]] = {}
    for row in live(record, instance, service):
        by_service.setdefault(row["service"], []).append(row["deployment"])
    return [
        places.service_removed(
            record.ref,
            service=service,
            environment=environment,
            instance=instance,
            deployments=deployments,
        )
        for service, deployments in by_service.items()
    ]
