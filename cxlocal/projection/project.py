"""The projector: one event in, the facts it states out. Pure; knows no SQL and no clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cxlocal.events import types
from cxlocal.events.document import Event
from cxlocal.projection import incident_tables as incidents
from cxlocal.projection import publication_tables as publications
from cxlocal.projection import resource_tables as resources
from cxlocal.projection import turn_tables as turns
from cxlocal.projection.attempts import attempt_failed, attempt_refused, attempt_started
from cxlocal.projection.facts import Fact, Said, as_json, digest_of, replaces, run_stub
from cxlocal.projection.number_facts import reserved, skipped, used
from cxlocal.projection.stages import (
    asked,
    counted,
    plan_facts,
    redacted,
    reviewed,
    stage_finished,
    stage_started,
)
from cxlocal.projection.truth import (
    UNTRUE,
    Untrue,
    check_event,
    check_facts,
    check_plan,
    plan_text,
)
from cxlocal.text import is_hexadecimal, parse_utc, utc_text


def project(event: Event, document: dict[str, Any] | None = None) -> list[Fact]:
    """The facts an event states; empty for types this version does not know.

    Never raises for content: a document from elsewhere that lacks a field states less, and one
    that makes no sense states nothing but a flag.
    """
    handler = HANDLERS.get(event.type)
    try:
        check_event(event)
        if handler is None:
            return []
        said = _take_apart(event, document if document is not None else event.parsed())
        facts = handler(said)
        for fact in facts:
            for part in fact.key:
                # Anything else is no name, and what is not a number is NULL to SQLite.
                if not isinstance(part, str | int):
                    raise TypeError("it does not name what it is about")
        check_facts(said, facts)
        return facts
    except Untrue as problem:
        text = f"an event of type {event.type} is not believed: {problem}"[:1024]
        values = _flag(UNTRUE, event.node, event.deliverable, None, text, "")
        return [Fact("flag", (event.hash.hex(),), "raised", values)]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as problem:
        text = f"an event of type {event.type} could not be read: {problem!r}"[:1024]
        values = _flag("unreadable-event", event.node, event.deliverable, event.run, text, "")
        return [Fact("flag", (event.hash.hex(),), "raised", values)]


def untruth(event: Event, facts: list[Fact] | None = None) -> str:
    """What an event says that cannot be so, in a sentence; empty where it may be taken. ``facts``: what
    it projects to, where the caller has that."""
    for fact in (project(event) if facts is None else facts)[:1]:
        if fact.values.get("kind") == UNTRUE and fact.key == (event.hash.hex(),):
            return str(fact.values["text"])
    return ""


def stamp(event: Event) -> str:
    """Which event wrote a group: comparable, the same on every machine.

    Several machines may say something about one run or environment, and their sequences do not
    compare; the turn in the event does (decision 11).
    """
    return f"{_turn_of(event):06d}.{event.sequence:010d}.{event.hash[:8].hex()}"


TURN_MAX = 999_999


def _turn_of(event: Event) -> int:
    # Few events have one; the look into the text saves parsing all others a second time.
    if '"turn":' not in event.document:
        return 0
    try:
        turn = event.parsed()["customData"]["cxlocal"]["turn"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return 0
    return turn if type(turn) is int and 0 <= turn <= TURN_MAX else 0


def _take_apart(event: Event, document: dict[str, Any]) -> Said:
    custom = document.get("customData", {}).get("cxlocal", {})
    subject = document["subject"]
    context = document["context"]
    at = context["timestamp"]
    if len(at) != 24 or at[-1] != "Z":
        at = utc_text(parse_utc(at))
    received = utc_text(event.received_at_ms)
    return Said(event, subject["id"], subject["content"], custom, context["id"], at, received)


def _queued(said: Said) -> list[Fact]:
    custom, place = said.custom, said.custom.get("place") or {}
    revision, proof = custom.get("revision") or {}, custom.get("proof") or {}
    changes, actor = custom.get("changes") or {}, custom.get("actor") or {}
    repository = custom.get("repository") or {}
    deliverable = said.event.deliverable
    run = {
        "deliverable": deliverable, "kind": custom.get("kind"), "actor": actor.get("id"),
        "actor_how": actor.get("how"), "reason": custom.get("reason"),
        "trigger": custom.get("trigger"), "planned": _flag_value(custom.get("planned")),
        "fixes": custom.get("fixes"), "place_kind": place.get("kind"), "place": place.get("name"),
        "place_url": place.get("run_url"), "place_number": place.get("number"),
        "place_run": place.get("run_id"), "place_attempt": counted(place.get("attempt")),
        "host": custom.get("host"), "online": _flag_value(custom.get("online")),
        "revision": revision.get("commit"), "revision_subject": revision.get("subject"),
        "revision_author": revision.get("author"), "revision_at": revision.get("committed_at"),
        "branch": revision.get("branch"), "tags": as_json(revision.get("tags") or []),
        "proof": proof.get("kind"), "proof_remote": proof.get("remote"),
        "proof_age_seconds": proof.get("age_seconds"), "plan_sha256": custom.get("plan_sha256"),
        "changes_total": changes.get("total"), "changes_since": changes.get("since_version"),
        "uncommitted_total": custom.get("uncommitted_total"),
        "final_of": (custom.get("final_of") or {}).get("run"),
        "cxlocal_version": custom.get("cxlocal_version"), "queued_at": said.at,
        "node": said.event.node, "received_at": said.received_at,
    }  # fmt: skip
    facts = [Fact("run", (said.subject,), "queued", run), *asked(said, resumed=False)]
    if deliverable:
        facts.append(
            Fact(
                "deliverable",
                (deliverable,),
                "said",
                {
                    "title": custom.get("deliverable_title") or deliverable,
                    "owner": custom.get("owner"),
                    "links": as_json(custom["links"]) if custom.get("links") else None,
                    "repository": repository.get("url"),
                    "path": repository.get("path"),
                    "repository_root": repository.get("root"),
                },
            )
        )
    if custom.get("plan") and custom.get("plan_sha256"):
        plan = {"plan": plan_text(custom["plan"])}
        check_plan(custom["plan_sha256"], plan["plan"])
        facts.append(Fact("plan", (custom["plan_sha256"],), "frozen", plan))
        facts += plan_facts(custom["plan_sha256"], plan["plan"])
    for position, commit in enumerate(changes.get("listed") or [], 1):
        values = {
            "position": position,
            "subject": commit.get("subject"),
            "author": commit.get("author"),
            "committed_at": commit.get("committed_at"),
        }
        facts.append(Fact("run_change", (said.subject, commit["commit"]), "listed", values))
    return facts


def _started(said: Said) -> list[Fact]:
    custom = said.custom
    values = {
        "version": custom.get("version"),
        "line": custom.get("line"),
        "number": custom.get("number"),
        "number_how": custom.get("how"),
        "started_at": said.at,
    }
    return [Fact("run", (said.subject,), "started", values)]


def _finished(said: Said) -> list[Fact]:
    values = {
        "outcome": said.content.get("outcome"),
        "outcome_reason": said.custom.get("reason"),
        "stopped_before": said.custom.get("stopped_before"),
        "finished_at": said.at,
        "duration_seconds": said.custom.get("seconds"),
    }
    return [Fact("run", (said.subject,), "finished", values)]


def _resumed(said: Said) -> list[Fact]:
    """It is open again. One without a turn is older than that meaning."""
    opened = [Fact("run", (said.subject,), "finished", {})] if said.custom.get("turn") else []
    return [*opened, *asked(said, resumed=True), run_stub(said)]


def _reverified(said: Said) -> list[Fact]:
    agrees = said.custom.get("agrees")
    facts = [Fact("run", (said.subject,), "reverified", {"reverified": _flag_value(agrees)})]
    if agrees is False:
        text = "the remote does not hold the commit this run was made from"
        facts.append(_flag_fact(said, "revision-gone", text))
    return facts


def _packaged(said: Said) -> list[Fact]:
    custom = said.custom
    values = {
        "deliverable": said.event.deliverable, "version": custom.get("version"),
        "purl": said.subject, "size_bytes": custom.get("size"),
        "file_name": custom.get("file_name"), "media_type": custom.get("media_type"),
        "stage": custom.get("stage"), "stage_run": custom.get("stage_run"), "revision": said.content["change"]["id"],
        "packaged_at": said.at,
    }  # fmt: skip
    key = (said.run, custom["name"], digest_of(custom["sha256"]))
    facts = [Fact("artifact", key, "packaged", values), run_stub(said), *_locations(said)]
    if custom.get("replaces"):
        former = (said.run, custom["name"], digest_of(custom["replaces"]))
        facts.append(Fact("artifact", former, "replaced", {"replaced_at": said.at}))
        # These bytes may have had the name before, and lost it meanwhile.
        facts.append(Fact("artifact", key, "replaced", {"replaced_at": None}))
    return facts


def _locations(said: Said) -> list[Fact]:
    return [
        Fact(
            "artifact_location",
            (said.event.deliverable or "", digest_of(said.custom["sha256"]), place),
            "stated",
            {"since": said.at},
        )
        for place in said.custom.get("locations") or []
    ]


def _suite_started(said: Said) -> list[Fact]:
    custom = said.custom
    values = {
        "run": said.run,
        "stage_run": said.subject.removesuffix(f"/{custom['suite']}"),
        "stage": custom["stage"],
        "suite": custom["suite"],
        "environment": custom.get("environment"),
        "started_at": said.at,
    }
    return [Fact("report", (said.subject,), "started", values), run_stub(said)]


def _suite_finished(said: Said) -> list[Fact]:
    custom, raw = said.custom, said.custom.get("report") or {}
    counts = ("total", "passed", "failed", "errors", "skipped", "flaky")
    values = {
        "format": custom.get("format"),
        "outcome": said.content.get("outcome"),
        **{name: custom.get(name) for name in counts},
        "duration_seconds": custom.get("seconds"),
        "problem": custom.get("problem"),
        "sha256": digest_of(raw.get("sha256")),
        "size_bytes": raw.get("size"),
        "finished_at": said.at,
    }
    facts = [Fact("report", (said.subject,), "finished", values)]
    for case in custom.get("cases") or []:
        key = (said.subject, case.get("suite") or "", case["name"])
        listed = {
            "outcome": case.get("outcome"),
            "message": case.get("message"),
            "duration_seconds": case.get("seconds"),
        }
        facts.append(Fact("report_case", key, "listed", listed))
    return facts


def _environment_created(said: Said) -> list[Fact]:
    custom = said.custom
    values = {
        "name": custom.get("name"), "title": custom.get("title"),
        "lifetime": custom.get("lifetime"), "protected": _flag_value(custom.get("protected")),
        "uri": custom.get("uri"), "spec_sha256": custom.get("spec_sha256"),
        "tool": custom.get("tool"), "created_by_run": said.run, "created_at": said.at,
    }  # fmt: skip
    key = (said.event.deliverable or "", said.subject)
    return [Fact("environment", key, "created", values), run_stub(said)]


def _environment_deleted(said: Said) -> list[Fact]:
    values = {"deleted_at": said.at, "deleted_why": said.custom.get("reason"),
              "deleted_how": "destroyed"}  # fmt: skip
    key = (said.event.deliverable or "", said.subject)
    return [Fact("environment", key, "deleted", values), *replaces(said, said.id)]


def _deployed(said: Said) -> list[Fact]:
    custom, artifact = said.custom, said.custom.get("artifact") or {}
    values = {
        "deliverable": said.event.deliverable, "environment": custom.get("environment"),
        "instance": custom.get("instance"), "service": custom.get("service"),
        "kind": custom.get("kind"), "version": custom.get("version"),
        "number": custom.get("number"), "version_run": custom.get("version_run"),
        "run": said.run, "stage_run": custom.get("task"),
        "artifact_sha256": digest_of(artifact.get("sha256")), "uri": custom.get("uri"),
        "actor": (custom.get("actor") or {}).get("id"), "reason": custom.get("reason"),
        "deployed_at": said.at, "received_at": said.received_at,
    }  # fmt: skip
    facts = [Fact("deployment", (said.id,), "deployed", values), run_stub(said)]
    if custom.get("version_run"):
        facts.append(Fact("run", (custom["version_run"],), "", {}))
    place = (said.event.deliverable or "", custom.get("instance") or "")
    return [*facts, Fact("environment", place, "", {}), *replaces(said, said.id)]


def _removed(said: Said) -> list[Fact]:
    values = {"removed_at": said.at, "removed_received_at": said.received_at}
    return [
        Fact("deployment", (deployment,), "removed", values)
        for deployment in said.custom.get("deployments") or []
    ]


def _promotion(said: Said) -> list[Fact]:
    custom = said.custom
    values = {
        "deliverable": said.event.deliverable, "run": said.run, "version": custom.get("version"),
        "number": custom.get("number"), "name": custom.get("name"), "title": custom.get("title"),
        "decision": custom.get("decision"), "automatic": _flag_value(custom.get("automatic")),
        "turn": custom.get("turn") or 0,
        "actor": (custom.get("actor") or {}).get("id"), "reason": custom.get("reason"),
        "data_age_seconds": custom.get("data_age_seconds"), "decided_at": said.at,
        "received_at": said.received_at,
    }  # fmt: skip
    facts = [Fact("promotion", (said.id,), "decided", values), run_stub(said)]
    for name, digest in sorted((custom.get("digests") or {}).items()):
        facts.append(
            Fact("promotion_artifact", (said.id, name), "decided", {"sha256": digest_of(digest)})
        )
    return facts


def _judged(said: Said) -> list[Fact]:
    names = ("gate", "verdict", "reason", "stage", "environment", "promotion", "data_age_seconds")
    values = {"run": said.run, **{name: said.custom.get(name) for name in names}}
    return [Fact("verdict", (said.id,), "judged", {**values, "judged_at": said.at})]


def _restricted(said: Said) -> list[Fact]:
    return [
        Fact(
            "left_out",
            (said.id, plugin["name"], plugin.get("distribution") or ""),
            "restricted",
            {
                "run": said.run,
                "version": plugin.get("version"),
                "how": plugin.get("how"),
                "at": said.at,
            },
        )
        for plugin in said.custom.get("plugins") or []
    ]


def _began(said: Said) -> list[Fact]:
    custom = said.custom
    if said.subject != said.event.node:
        raise ValueError("a machine begins its own history, and no other's")
    parent = custom.get("parent") or {}
    values = {
        "host": custom.get("host"),
        "platform": custom.get("platform"),
        "kept": _flag_value(custom.get("kept")),
        "cxlocal_version": custom.get("cxlocal_version"),
        "parent": parent.get("node"),
        "cause": custom.get("cause"),
        "began_at": said.at,
    }
    return [Fact("machine", (said.subject,), "began", values)]


def _settled(said: Said) -> list[Fact]:
    custom = said.custom
    ends = {}
    for name in ("kept", "dropped"):
        for sequence, value in custom[name]:
            if type(sequence) is not int or not is_hexadecimal(value, 64):
                raise ValueError(f"{str(value)[:80]!r} is no place in a chain")
        ends[name] = as_json(custom[name])
    values = {
        "node": custom["node"], "deliverable": said.event.deliverable, "first": int(custom["first"]),
        **ends, "runs": as_json([str(run) for run in custom["runs"]]),
        "actor": (custom.get("actor") or {}).get("id"), "reason": custom.get("reason"),
        "settled_at": said.at,
    }  # fmt: skip
    return [Fact("settlement", (said.id,), "settled", values)]


def _observed(said: Said) -> list[Fact]:
    custom = said.custom
    if custom.get("agrees") is not False:
        return []
    text = (
        f"{custom.get('environment')} was changed outside: it runs"
        f" {custom.get('observed') or 'nothing'}, the journal says"
        f" {custom.get('expected') or 'nothing'}"
    )
    return [_flag_fact(said, "changed-outside", text, subject=str(custom.get("environment") or ""))]


def _flag_fact(said: Said, kind: str, text: str, subject: str = "") -> Fact:
    subject = subject or str(said.custom.get("subject") or said.subject)
    values = _flag(kind, subject, said.event.deliverable, said.event.run, text, said.at)
    return Fact("flag", (said.id,), "raised", values)


def _flag(
    kind: str, subject: str, deliverable: str | None, run: str | None, text: str, at: str
) -> dict[str, Any]:
    return {
        "kind": kind,
        "subject": subject,
        "deliverable": deliverable,
        "run": run,
        "text": text,
        "raised_at": at or None,
    }


def _flag_value(value: Any) -> int | None:
    return None if value is None else int(bool(value))


HANDLERS: dict[str, Callable[[Said], list[Fact]]] = {
    types.PIPELINE_QUEUED: _queued,
    types.PIPELINE_STARTED: _started,
    types.PIPELINE_FINISHED: _finished,
    types.TASK_STARTED: stage_started,
    types.TASK_FINISHED: stage_finished,
    types.ARTIFACT_PACKAGED: _packaged,
    types.ARTIFACT_PUBLISHED: _locations,
    types.SUITE_STARTED: _suite_started,
    types.SUITE_FINISHED: _suite_finished,
    types.ENVIRONMENT_CREATED: _environment_created,
    types.ENVIRONMENT_MODIFIED: lambda said: (
        replaces(said, said.custom["deployment"]) if "deployment" in said.custom else []
    ),
    types.ENVIRONMENT_DELETED: _environment_deleted,
    types.SERVICE_DEPLOYED: _deployed,
    types.SERVICE_UPGRADED: _deployed,
    types.SERVICE_ROLLEDBACK: _deployed,
    types.SERVICE_REMOVED: _removed,
    types.DEPLOYMENT_STARTED: attempt_started,
    types.DEPLOYMENT_FAILED: attempt_failed,
    types.DEPLOYMENT_REFUSED: attempt_refused,
    **{kind: _promotion for kind in (
        types.PROMOTION_GRANTED, types.PROMOTION_DENIED,
        types.PROMOTION_UNDECIDED, types.PROMOTION_OVERRIDDEN,
    )},
    types.PUBLICATION_BEGUN: publications.publication_begun,
    types.PUBLICATION_FOUND: publications.publication_found,
    types.PUBLICATION_WITHDRAWN: publications.publication_withdrawn,
    types.RUN_INTENDED: resources.intended,
    types.RUN_RESOURCEGONE: resources.gone,
    types.INCIDENT_DETECTED: incidents.detected,
    types.INCIDENT_RESOLVED: incidents.resolved,
    types.RUN_TURNASKED: turns.turn_asked,
    types.RUN_TURNENDED: turns.turn_ended,
    types.RUN_GIVENUP: resources.given_up,
    types.RUN_CUTOVER: resources.cutover,
    types.RUN_CLOSED: resources.environment_closed,
    types.RUN_JUDGED: _judged,
    types.RUN_RESTRICTED: _restricted,
    types.RUN_REVERIFIED: _reverified,
    types.RUN_RESUMED: _resumed,
    types.RUN_OBSERVED: _observed,
    types.RUN_FLAGGED: lambda said: [
        _flag_fact(said, said.custom.get("kind") or "flag", said.custom.get("text") or "")
    ],
    types.RUN_REVIEWED: reviewed,
    types.RUN_REDACTED: redacted,
    types.VERSION_USED: used,
    types.VERSION_RESERVED: reserved,
    types.VERSION_SKIPPED: skipped,
    types.NODE_BEGAN: _began,
    types.NODE_SETTLED: _settled,
}  # fmt: skip
