"""Where a person can look on: addresses made of the templates of a deliverable."""

from __future__ import annotations

import json
from typing import Any

from cxlocal.address import stage_link
from cxlocal.journal.file import Journal

STAGES = """
SELECT stage, part, attempt, environment, started_at, finished_at FROM stage_run
WHERE run = ? AND finished_at IS NOT NULL ORDER BY started_at, id
"""


def links_of(journal: Journal, run: dict[str, Any]) -> dict[str, Any]:
    """The templates of the deliverable of a run, by kind."""
    found = journal.one("SELECT links FROM deliverable WHERE id = ?", (run["deliverable"],)) or {}
    told = json.loads(found.get("links") or "{}")
    return told if isinstance(told, dict) else {}


def elsewhere(journal: Journal, run: dict[str, Any]) -> list[dict[str, Any]]:
    """For each stage of a run that has ended the addresses of its log and its figures, as far as there
    are templates for them."""
    links = links_of(journal, run)
    if not links.keys() & {"log", "metric"}:
        return []
    found = [
        {**row, "log": stage_link(links, "log", run, row),
         "figures": stage_link(links, "metric", run, row)}
        for row in journal.query(STAGES, (run["run"],))
    ]  # fmt: skip
    return [row for row in found if row["log"] or row["figures"]]
