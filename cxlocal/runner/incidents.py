"""What a person says was wrong with what is live, and that it was put right."""

from __future__ import annotations

from typing import Any

from cxlocal.domain import Actor
from cxlocal.errors import Conflict, UsageError
from cxlocal.events.belonging import mark_id
from cxlocal.events.incidents import incident_detected, incident_resolved
from cxlocal.journal.file import Journal
from cxlocal.projection.figures import LIVE_ENVIRONMENT
from cxlocal.runner.record import RunRecord
from cxlocal.runner.review import spoken_of

# sql: a constant of the projection
LIVE = f"""
SELECT n.version_run AS run, n.version, n.environment FROM deployments_now n
WHERE n.deliverable = :deliverable AND n.environment = {LIVE_ENVIRONMENT.format(of=":deliverable")}
ORDER BY n.since DESC
"""
OPEN = """
SELECT id, run, version, environment, words, opened_at, actor FROM incident
WHERE deliverable = :deliverable AND opened_at IS NOT NULL AND closed_at IS NULL
  AND :run IN ('', run) ORDER BY opened_at, id
"""


def live_version(journal: Journal, deliverable: str) -> dict[str, Any]:
    """Run, version and environment of what is live. Raises UsageError where that is nothing, Conflict
    where it is not one thing. Call after ``catch_up``."""
    found = {row["run"]: row for row in journal.query(LIVE, {"deliverable": deliverable})}
    if len(found) > 1:
        versions = ", ".join(str(row["version"]) for row in found.values())
        raise Conflict(
            f"several versions of {deliverable} are live: {versions}",
            why="an incident is about one",
            hint="name it: cxlocal incident open VERSION -m TEXT",
            name="several-live",
        )
    if not found:
        raise UsageError(
            f"no version of {deliverable} is live, as far as is known here",
            why="an incident is about a version",
            hint="name it: cxlocal incident open VERSION -m TEXT",
            name="nothing-live",
        )
    return next(iter(found.values()))


def open_incident(
    journal: Journal, run: str, version: str, environment: str, actor: Actor, words: str
) -> str:
    """Record that the version of a run is at fault; the id of the incident. Raises UsageError, Refused."""
    record = _record(journal, run, words)
    incident = mark_id(journal.ids.uuid(), record.ref.deliverable)
    record.record(
        incident_detected(
            record.ref, incident=incident, version=version, environment=environment,
            actor=actor._asdict(), words=words,
        )
    )  # fmt: skip
    return incident


def open_incidents(journal: Journal, deliverable: str, run: str = "") -> list[dict[str, Any]]:
    """Those that are not over, oldest first; of the version of a run where one is named. Call after
    ``catch_up``."""
    return journal.query(OPEN, {"deliverable": deliverable, "run": run})


def close_incident(journal: Journal, found: dict[str, Any], actor: Actor, words: str) -> None:
    """Record that an incident is over. Raises UsageError, Refused."""
    record = _record(journal, found["run"], words)
    record.record(
        incident_resolved(
            record.ref, incident=found["id"], environment=found["environment"] or "unknown",
            actor=actor._asdict(), words=words,
        )
    )  # fmt: skip


def _record(journal: Journal, run: str, words: str) -> RunRecord:
    if not words.strip():
        raise UsageError(
            "an incident needs words",
            why="somebody will ask what was wrong, and what put it right",
            hint="say so: -m 'payments fail'",
            name="no-words",
        )
    return spoken_of(journal, run)
