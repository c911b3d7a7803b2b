"""What is stated about stages, their parts, and the promotions they earn."""

from __future__ import annotations

import json
from typing import Any

from cxlocal.projection.facts import Fact, Said, as_json, digest_of, run_stub
from cxlocal.text import parse_utc

COUNTED_DIGITS = 18
"""Of a count by a CI server. More is no number that SQLite holds."""


def promotion_rules(digest: str, plan: str) -> list[Fact]:
    """What the plan says about promotions; nothing where it is none."""
    try:
        promotions = json.loads(plan).get("promotions") or []
        return [
            Fact("promotion_rule", (digest, str(one["name"]), str(stage)), "", {})
            for one in promotions
            for stage in one.get("after") or []
        ]
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return []


def stage_started(said: Said) -> list[Fact]:
    """An attempt of a stage began."""
    custom = said.custom
    ready = custom.get("ready_at")
    waiting = (parse_utc(said.at) - parse_utc(ready)) / 1000 if ready else None
    values = {
        "run": said.run, "stage": custom["stage"], "attempt": custom["attempt"],
        "kind": custom.get("kind"), "tool": custom.get("tool"), "verb": custom.get("verb"),
        "environment": custom.get("environment"), "ready_at": ready, "started_at": said.at,
        "waiting_seconds": waiting, "host": custom.get("host"), **_part(custom),
    }  # fmt: skip
    return [Fact("stage_run", (said.subject,), "started", values), run_stub(said)]


def _part(custom: dict[str, Any]) -> dict[str, Any]:
    """What a single command says of the part it is, and of the job that reports it."""
    place, replaces = custom.get("place") or {}, custom.get("replaces")
    return {
        "part": custom.get("part"), "parts_total": counted(custom.get("parts")),
        "place": place.get("name"), "job": place.get("job"), "job_id": place.get("job_id"),
        "run_attempt": counted(place.get("attempt")),
        "job_attempt": counted(place.get("job_attempt")),
        "replaces": None if replaces is None else as_json([one for one in replaces if isinstance(one, str)]),
    }  # fmt: skip


def counted(value: Any) -> int | None:
    """What a CI server counts, written as it may be; None where it counts nothing."""
    text = str(value) if isinstance(value, str | int) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= COUNTED_DIGITS else None


def stage_finished(said: Said) -> list[Fact]:
    """It ended."""
    custom, log = said.custom, said.custom.get("log") or {}
    values = {
        "tool_version": custom.get("tool_version"), "outcome": said.content.get("outcome"),
        "reason": custom.get("reason"), "exit_code": custom.get("exit_code"),
        "finished_at": said.at, "duration_seconds": custom.get("seconds"),
        "log": log.get("path"), "log_bytes": log.get("size"), "log_sha256": digest_of(log.get("sha256")),
        "details": as_json(custom["details"]) if custom.get("details") else None,
    }  # fmt: skip
    return [Fact("stage_run", (said.subject,), "finished", values)]
