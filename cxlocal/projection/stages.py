"""What is stated about stages, their parts, and the promotions they earn."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from cxlocal.projection.facts import Fact, Said, as_json, digest_of, run_stub
from cxlocal.text import parse_utc

COUNTED_DIGITS = 18
"""Of a count by a CI server. More is no number that SQLite holds."""


def plan_facts(digest: str, text: str) -> list[Fact]:
    """What a plan says of its promotions, stages and environments; of each nothing where it is none."""
    found: list[Fact] = []
    for read in (_promotion_rules, _plan_stages, _plan_environments, _plan_targets):
        with suppress(ValueError, TypeError, AttributeError, KeyError, RecursionError):
            found += read(digest, json.loads(text))
    return found


def _promotion_rules(digest: str, plan: dict[str, Any]) -> list[Fact]:
    return [
        Fact("promotion_rule", (digest, str(one["name"]), str(stage)), "", {})
        for one in plan.get("promotions") or []
        for stage in one.get("after") or []
    ]


def _plan_stages(digest: str, plan: dict[str, Any]) -> list[Fact]:
    return [
        Fact("plan_stage", (digest, str(one["name"])), "planned", {
            "position": position, "kind": one.get("kind"),
            "environment": one.get("environment") or "",
            "waits_for": names_json(one.get("waits_for")), "requires": names_json(one.get("requires")),
        })
        for position, one in enumerate(plan.get("stages") or [], 1)
    ]  # fmt: skip


def _plan_environments(digest: str, plan: dict[str, Any]) -> list[Fact]:
    return [
        Fact("plan_environment", (digest, str(one["name"])), "planned", {
            "position": position, "title": one.get("title") or "",
            "lifetime": one.get("lifetime") or "lasting",
            "protected": int(bool(one.get("protected"))),
            "live": 1 if one.get("live") is True else None,
        })
        for position, one in enumerate(plan.get("environments") or [], 1)
    ]  # fmt: skip


def _plan_targets(digest: str, plan: dict[str, Any]) -> list[Fact]:
    return [
        Fact("plan_target", (digest, str(one["name"])), "planned", {
            "position": position, "title": one.get("title") or "", "tool": one.get("tool") or "",
            "protected": int(bool(one.get("protected"))),
        })
        for position, one in enumerate(plan.get("targets") or [], 1)
    ]  # fmt: skip


def names_json(names: Any) -> str:
    """A list of names as JSON; what is no name is left out."""
    return as_json([one for one in names or [] if isinstance(one, str)])


def asked(said: Said, *, resumed: bool) -> list[Fact]:
    """What a run was asked to carry out. At its beginning nothing where that was not recorded."""
    custom = said.custom
    told = custom.get("asked")
    if not told and not resumed:
        return []
    values = {
        "run": said.run, "resumed": int(resumed), "up_to": (told or {}).get("to"),
        "stages": names_json(told.get("stages")) if told else None,
        "kept": names_json(custom.get("after")), "actor": (custom.get("actor") or {}).get("id"),
        "reason": custom.get("reason"), "asked_at": said.at,
    }  # fmt: skip
    return [Fact("run_asked", (said.id,), "asked", values)]


def redacted(said: Said) -> list[Fact]:
    """Bytes of the run are to be nowhere any more."""
    custom = said.custom
    told = custom.get("sha256")
    values = {
        "deliverable": said.event.deliverable, "run": said.run, "stage": custom.get("stage") or None,
        "actor": (custom.get("actor") or {}).get("id"), "reason": custom.get("reason"),
        "redacted_at": said.at,
    }  # fmt: skip
    digests = [digest_of(one) for one in told] if isinstance(told, list) else []
    facts = [Fact("redaction", (said.id, one), "redacted", values) for one in digests if one]
    return [*facts, run_stub(said)] if facts else []


def reviewed(said: Said) -> list[Fact]:
    """Somebody answered for a run."""
    custom = said.custom
    values = {
        "deliverable": said.event.deliverable, "run": said.run,
        "actor": (custom.get("actor") or {}).get("id"), "words": custom.get("words"),
        "reviewed_at": said.at, "received_at": said.received_at,
    }  # fmt: skip
    return [Fact("review", (said.id,), "reviewed", values), run_stub(said)]


def stage_started(said: Said) -> list[Fact]:
    """An attempt of a stage began."""
    custom = said.custom
    ready = custom.get("ready_at")
    waiting = (parse_utc(said.at) - parse_utc(ready)) / 1000 if ready else None
    values = {
        "run": said.run, "stage": custom["stage"], "attempt": custom["attempt"],
        "kind": custom.get("kind"), "tool": custom.get("tool"), "verb": custom.get("verb"),
        "environment": custom.get("environment"), "ready_at": ready, "started_at": said.at,
        "waiting_seconds": waiting, "host": custom.get("host"), "revision": custom.get("revision"), **_part(custom),
    }  # fmt: skip
    return [Fact("stage_run", (said.subject,), "started", values), run_stub(said)]


def _part(custom: dict[str, Any]) -> dict[str, Any]:
    """What a single command says of the part it is, and of the job that reports it."""
    place = custom.get("place") or {}
    return {
        "part": custom.get("part"), "parts_total": counted(custom.get("parts")),
        "place": place.get("name"), "job": place.get("job"), "job_id": place.get("job_id"),
        "run_attempt": counted(place.get("attempt")),
        "job_attempt": counted(place.get("job_attempt")),
        "replaces": _ids(custom.get("replaces")), "beside": _ids(custom.get("beside")),
    }  # fmt: skip


def _ids(found: Any) -> str | None:
    return None if found is None else as_json([one for one in found if isinstance(one, str)])


def counted(value: Any) -> int | None:
    """What a CI server counts, written as it may be; None where it counts nothing."""
    text = str(value) if isinstance(value, str | int) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= COUNTED_DIGITS else None


def stage_finished(said: Said) -> list[Fact]:
    """It ended."""
    custom, log = said.custom, said.custom.get("log") or {}
    tail = custom.get("tail") or {}
    values = {
        "tool_version": custom.get("tool_version"), "outcome": said.content.get("outcome"),
        "reason": custom.get("reason"), "exit_code": custom.get("exit_code"),
        "finished_at": said.at, "duration_seconds": custom.get("seconds"),
        "log": log.get("path"), "log_bytes": log.get("size"), "log_sha256": digest_of(log.get("sha256")),
        "tail_sha256": digest_of(tail.get("sha256")),
        "details": as_json(custom["details"]) if custom.get("details") else None,
    }  # fmt: skip
    return [Fact("stage_run", (said.subject,), "finished", values)]
