"""What is stated about deployments that did not come to be one."""

from __future__ import annotations

from typing import Any

from cxlocal.projection.facts import Fact, Said, replaces, run_stub


def attempt_started(said: Said) -> list[Fact]:
    """A deployment began to change an environment."""
    place = (said.event.deliverable or "", said.custom.get("instance") or "")
    return [
        Fact("deployment_attempt", (said.custom["deployment"],), "tried", _tried(said)),
        run_stub(said),
        Fact("environment", place, "", {}),
        *replaces(said, said.custom["deployment"]),
    ]


def attempt_failed(said: Said) -> list[Fact]:
    """It did not come to its end."""
    custom = said.custom
    outcome = "cancelled" if custom.get("outcome") == "cancel" else "failed"
    values = {
        "outcome": "cut off" if custom.get("cut_off") else outcome,
        "why": custom.get("reason"),
        "ended_at": said.at,
    }
    return [Fact("deployment_attempt", (custom["deployment"],), "ended", values)]


def attempt_refused(said: Said) -> list[Fact]:
    """A version was not let in."""
    ended = {"outcome": "refused", "why": said.custom.get("why"), "ended_at": said.at}
    key = (said.custom["deployment"],)
    return [
        Fact("deployment_attempt", key, "tried", _tried(said)),
        Fact("deployment_attempt", key, "ended", ended),
        run_stub(said),
    ]


def _tried(said: Said) -> dict[str, Any]:
    custom = said.custom
    names = ("environment", "instance", "service", "kind", "version", "stage", "reason")
    return {
        "deliverable": said.event.deliverable, **{name: custom.get(name) for name in names},
        "run": said.run, "stage_run": custom.get("task"),
        "actor": (custom.get("actor") or {}).get("id"), "tried_at": said.at,
        "watched": int(bool(custom.get("watched"))), "node": said.event.node,
        "turn": custom.get("turn", 0),
    }  # fmt: skip
