"""Deployments that did not come to run, as this machine can tell them: a view knows what was recorded,
only a look at the environment's lock tells whether somebody is still at it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.processes import locks
from cxlocal.projection.views import ENDINGS
from cxlocal.text import quoted

ALL = """
SELECT u.*, (SELECT group_concat(version, ' or ') FROM (SELECT n.version FROM deployments_now n
    WHERE n.deliverable = u.deliverable AND n.instance = u.instance AND n.service = u.service
    GROUP BY n.version ORDER BY min(n.since))) AS live,
  (SELECT max(n.disputed) FROM deployments_now n WHERE n.deliverable = u.deliverable
    AND n.instance = u.instance AND n.service = u.service) AS disputed,
  u.state IN ('failed', 'cancelled') AND EXISTS (SELECT 1 FROM deployment_attempt a
    WHERE a.id = u.deployment AND a.turn > 0)
  AND EXISTS (SELECT 1 FROM resource r WHERE r.run = u.run AND r.deployment = u.deployment)
  AND NOT EXISTS (SELECT 1 FROM resource r WHERE r.run = u.run AND r.deployment = u.deployment
    AND r.gone_at IS NULL) AS taken_back
FROM deployments_unfinished u WHERE (:name IS NULL OR u.deliverable = :name)
  AND (:place IS NULL OR u.instance = :place) ORDER BY u.deliverable, u.environment, u.since
"""


def unfinished(
    journal: Journal, deliverable: str | None = None, environment: str | None = None
) -> list[dict[str, Any]]:
    """What stands as the last word of an environment without running there.

    What began on this machine and has not ended is under way while its environment is locked, and was
    cut off otherwise: the lock goes with its process.
    """
    catch_up(journal)
    rows = journal.query(ALL, {"name": deliverable, "place": environment})
    for row in rows:
        if row["state"] == "not ended" and row["watched"] and row["node"] == journal.node:
            path = locks.environment_lock(journal.home, row["deliverable"], row["instance"])
            row["state"] = "under way" if locks.is_held(path) else "cut off"
            row["words"] = f"{row['version']} {ENDINGS[row['state']]}"
    return rows


def add_to(rows: Iterable[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    """Say it with the rows of ``services_now`` (or ``release_board``) it belongs to."""
    for row in rows:
        here = [
            one
            for one in found
            if (one["deliverable"], one["environment"], one["service"])
            == (row["deliverable"], row["environment"], row["service"])
        ]
        row["after_it"] = "; ".join(map(_words, here)) or None


def _words(one: dict[str, Any]) -> str:
    after = " after it" if one["live"] and one["state"] != "under way" else ""
    return f"{one['words']}{after}"


def telling(found: list[dict[str, Any]]) -> list[str]:
    """A line for each, with why and with the way out."""
    lines = []
    for one in found:
        why = f": {one['why']}" if one["why"] else ""
        place = one["environment"]
        if one["service"] != one["deliverable"]:
            place += f", {one['service']}"
        live = f"{one['live']} is live" if one["live"] else "nothing is live"
        disputed = "it is disputed whether " if one["disputed"] else ""
        lines.append(f"{place}: {disputed}{live}, {_words(one)}, {one['since']}{why}")
        if one["taken_back"] and one["live"] and not one["disputed"]:
            lines.append(f"  all that it made was taken away; {one['live']} serves on")
        elif one["state"] != "under way":
            lines.append(
                f"  'cxlocal rollback {quoted(one['environment'])}' puts back what was well;"
                f" 'cxlocal deploy {quoted(one['version'])} --to {quoted(one['environment'])}' tries again"
            )
    return lines
