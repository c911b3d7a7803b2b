"""The page of a run in sentences: how it ended, and what was out of the ordinary. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasette_cxlocal.words import brief, listed, moment_text, person

Row = Mapping[str, Any]


def sentences(run: Row, stages: Sequence[Row], went: Sequence[Row], decisions: Sequence[Row]) -> list[str]:  # fmt: skip
    """The answer first, then what explains it."""
    return [
        one
        for one in (_ended(run, stages, went), _unusual(run), _decided(decisions), _brought(run))
        if one
    ]


def _ended(run: Row, stages: Sequence[Row], went: Sequence[Row]) -> str:
    at = moment_text(run["finished_at"] or run["queued_at"])
    outcome = run["outcome"]
    places = listed(
        list(dict.fromkeys(
            brief(one["environment"]) for one in went
            if one["lifetime"] != "per-run" and one["run"] == run["run"]
        ))
    )  # fmt: skip
    if outcome == "success":
        text = f"Went to {places}, {at}." if places else f"Went well, {at}."
        if run["stopped_before"]:
            text += f" It stopped before {brief(run['stopped_before'])}, as it should."
    elif outcome == "failure":
        text = f"Failed, {at}{_because(run, stages)}"
    elif outcome == "cancel":
        text = f"Was stopped, {at}{_because(run, stages)}"
    elif outcome == "error":
        text = f"Did not come to its end, {at}: something around it broke{_because(run, stages)}"
    elif outcome == "open":
        now = listed([brief(one["stage"]) for one in stages if one["result"] == "running"])
        text = f"Is under way since {at}{', now at ' + now if now else ''}."
        if not run["heard_of"]:
            text = f"Began {at} and has not ended, as far as this machine knows."
    else:
        text = "Others speak of this run; it has not been heard of itself yet."
    if outcome not in ("success", "open") and places:
        text += f" Before that it went to {places}."
    if run["trouble"]:
        text += f" A deployment did not succeed ({brief(run['trouble'])})."
    return text


def _because(run: Row, stages: Sequence[Row]) -> str:
    bad = next(
        (
            one
            for one in stages
            if one["result"] in ("failure", "error", "cancel") and one["counts"]
        ),
        None,
    )
    if bad is None:
        return f": {brief(run['outcome_reason'])}." if run["outcome_reason"] else "."
    why = f" ({brief(bad['words'])})" if bad["words"] else ""
    return f", at its stage {brief(bad['stage'])}{why}."


def _unusual(run: Row) -> str:
    kind = {"rehearsal": "A rehearsal", "drill": "A drill"}.get(run["kind"], "")
    if run["kind"] == "release" and run["planned"] == 0:
        kind = "An emergency release"
    parts = []
    if kind:
        parts.append(f"{kind} by {person(run['actor'])}")
    if run["online"] == 0:
        parts.append("the store could not be reached")
    if not parts:
        return ""
    text = "; ".join(parts)
    reason = f" Reason given: “{brief(run['reason'])}”." if run["reason"] else ""
    return f"{text[0].upper()}{text[1:]}.{reason}"


def _decided(decisions: Sequence[Row]) -> str:
    said = []
    for one in decisions:
        if one["automatic"] == 0 and one["decision"] in ("granted", "overridden", "denied"):
            verb = {"granted": "given", "denied": "refused", "overridden": "passed over"}
            why = f" (“{brief(one['reason'])}”)" if one["reason"] else ""
            said.append(f"{brief(one['decision_about'])} was {verb[one['decision']]} by {person(one['by_whom'])}{why}")  # fmt: skip
    return "; ".join(said) + "." if said else ""


def _brought(run: Row) -> str:
    total, since = run["changes_total"], run["changes_since"]
    if not isinstance(total, int) or total < 0:
        return ""
    commits = "1 commit" if total == 1 else f"{total} commits"
    return f"{commits} since {brief(since, 40)}." if since else f"{commits}."
