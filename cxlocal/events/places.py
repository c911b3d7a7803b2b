"""Builders for environments, deployments and promotions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cxlocal.events import types
from cxlocal.events.document import Draft
from cxlocal.events.runs import RunRef
from cxlocal.text import shorten
from cxlocal.values import NamedTuple


def environment_created(
    ref: RunRef,
    *,
    name: str,
    instance: str,
    lifetime: str,
    title: str,
    protected: bool,
    uri: str,
    spec_sha256: str,
    tool: str,
    stage: str,
    turn: int = 0,
) -> Draft:
    """An environment exists from now on. ``instance`` is its id: per run, or the name itself.

    ``turn`` counts the creations and destructions of it that were known: the greatest holds,
    whichever machine says it (decision 11).
    """
    content = {"name": name}
    if "://" in uri:
        content["uri"] = uri
    custom = {
        "name": name,
        "instance": instance,
        "lifetime": lifetime,
        "title": title,
        "protected": protected,
        "uri": uri,
        "spec_sha256": spec_sha256,
        "tool": tool,
        "stage": stage,
        "turn": turn,
    }
    return Draft(types.ENVIRONMENT_CREATED, instance, content, custom, ref.deliverable, ref.run)


def environment_deleted(
    ref: RunRef,
    *,
    name: str,
    instance: str,
    tool: str,
    reason: str,
    turn: int = 0,
    replaces: Sequence[str] = (),
) -> Draft:
    """An environment is gone, and what was made in it was taken away. ``turn`` as at its creation.

    ``replaces`` names deployments that had failed there: they went with it.
    """
    custom: dict[str, Any] = {
        "name": name, "instance": instance, "tool": tool, "reason": reason, "turn": turn,
    }  # fmt: skip
    if replaces:
        custom["replaces"] = list(replaces)
    return Draft(
        types.ENVIRONMENT_DELETED, instance, {"name": name}, custom, ref.deliverable, ref.run
    )


def environment_confirmed(
    *,
    deliverable: str,
    run: str,
    name: str,
    instance: str,
    deployment: str,
    replaces: list[str],
    actor: dict[str, str],
    reason: str,
) -> Draft:
    """A person names the deployment that is live where two were disputed."""
    custom = {
        "name": name,
        "instance": instance,
        "deployment": deployment,
        "replaces": replaces,
        "actor": actor,
        "reason": reason,
    }
    return Draft(types.ENVIRONMENT_MODIFIED, instance, {"name": name}, custom, deliverable, run)


def service_deployed(
    ref: RunRef,
    *,
    kind: str,
    event_id: str,
    service: str,
    environment: str,
    instance: str,
    artifact: dict[str, Any],
    version: str,
    number: int | None,
    version_run: str,
    replaces: list[str],
    uri: str,
    stage_run: str,
    actor: dict[str, str],
    reason: str,
    details: dict[str, Any],
) -> Draft:
    """A version runs in an environment. ``kind``: deployed (first), upgraded, rolledback.

    ``event_id`` is the deployment's id. ``version_run`` is the run that made the version,
    ``artifact`` its {name, purl, sha256}; ``replaces`` the deployments live there until now, as
    far as this machine knew: that, and no clock, decides what is live.
    """
    event_type = {
        "deployed": types.SERVICE_DEPLOYED,
        "upgraded": types.SERVICE_UPGRADED,
        "rolledback": types.SERVICE_ROLLEDBACK,
    }[kind]
    content = {
        "environment": {"id": instance},
        "artifactId": artifact.get("purl") or f"pkg:generic/{service}@{version}",
    }
    custom = {
        "deployment": event_id,
        "kind": kind,
        "service": service,
        "environment": environment,
        "instance": instance,
        "artifact": artifact,
        "version": version,
        "number": number,
        "version_run": version_run,
        "replaces": replaces,
        "uri": uri,
        "task": stage_run,
        "actor": actor,
        "reason": reason,
        "details": details,
    }
    subject = f"{instance}/{service}"
    return Draft(event_type, subject, content, custom, ref.deliverable, ref.run, id=event_id)


class Attempt(NamedTuple):
    """A deployment on its way: what is to run where, and who wants that."""

    deployment: str
    """Its id; that of the deployment where it comes to be one."""
    kind: str
    """deploy or rollback."""
    service: str
    """As it is called there; before a tool has answered, as far as is known."""
    environment: str
    instance: str
    version: str
    stage: str
    stage_run: str
    """Empty where it was refused before its stage began."""
    actor: dict[str, str]
    reason: str
    watched: bool
    """One process sees it through, and keeps the environment locked meanwhile."""
    turn: int = 0
    """Number of the turn in which components are changed."""


def deployment_started(ref: RunRef, attempt: Attempt, *, replaces: list[str]) -> Draft:
    """An environment is about to be changed: durable before it is.

    ``replaces`` names earlier attempts there that failed and that this one makes up for.
    """
    custom = {**_tried(attempt), "replaces": replaces}
    return Draft(types.DEPLOYMENT_STARTED, attempt.deployment, {}, custom, ref.deliverable, ref.run)


def deployment_failed(
    ref: RunRef, *, deployment: str, outcome: str, cut_off: bool, reason: str
) -> Draft:
    """What had begun to change an environment did not come to its end: what runs there now nobody
    knows. ``outcome``: failure, error or cancel; ``cut_off``: nobody saw how it ended."""
    custom = {
        "deployment": deployment,
        "outcome": outcome,
        "cut_off": cut_off,
        "reason": shorten(reason, 1024),
    }
    return Draft(types.DEPLOYMENT_FAILED, deployment, {}, custom, ref.deliverable, ref.run)


def deployment_refused(ref: RunRef, attempt: Attempt, *, newer: str, why: str) -> Draft:
    """A version was not let into an environment; ``newer`` is live there. Nothing was changed."""
    custom = {**_tried(attempt), "newer": newer, "why": why}
    return Draft(types.DEPLOYMENT_REFUSED, attempt.deployment, {}, custom, ref.deliverable, ref.run)


def _tried(attempt: Attempt) -> dict[str, Any]:
    found = attempt._asdict()
    found["task"] = found.pop("stage_run")
    if not attempt.turn:
        del found["turn"]
    return found


def service_removed(
    ref: RunRef, *, service: str, environment: str, instance: str, deployments: list[str]
) -> Draft:
    """A service no longer runs; names the deployments this ends."""
    custom = {
        "service": service,
        "environment": environment,
        "instance": instance,
        "deployments": deployments,
    }
    content = {"environment": {"id": instance}}
    return Draft(
        types.SERVICE_REMOVED, f"{instance}/{service}", content, custom, ref.deliverable, ref.run
    )


PROMOTION_TYPES = {
    "granted": types.PROMOTION_GRANTED,
    "denied": types.PROMOTION_DENIED,
    "undecided": types.PROMOTION_UNDECIDED,
    "overridden": types.PROMOTION_OVERRIDDEN,
}


def promotion_decided(
    *,
    deliverable: str,
    run: str,
    name: str,
    title: str,
    decision: str,
    version: str,
    number: int | None,
    digests: dict[str, str],
    automatic: bool,
    actor: dict[str, str],
    reason: str,
    evidence: list[str],
    data_age_seconds: float | None,
    event_id: str = "",
    turn: int = 0,
) -> Draft:
    """A decision about a version: granted, denied, undecided, or overridden by a named person.

    ``digests`` names the artifacts decided about; ``evidence`` the stage runs it rests on; ``turn``
    counts the decisions about it that were known.
    """
    custom = {
        "name": name,
        "title": title,
        "decision": decision,
        "version": version,
        "number": number,
        "digests": digests,
        "automatic": automatic,
        "actor": actor,
        "reason": shorten(reason, 1024),
        "evidence": evidence,
        "data_age_seconds": data_age_seconds,
        "turn": turn,
    }
    subject = f"{run}/{name}"
    return Draft(
        PROMOTION_TYPES[decision], subject, {"name": name}, custom, deliverable, run, id=event_id
    )
