"""What the page of a run's story begins with: which run it is, and how it ended."""

from __future__ import annotations

import sqlite3
from typing import Any

from datasette_cxlocal.cells import CellPlace, show_cell
from datasette_cxlocal.journals import may_view, story_address

STORY = "story"
"""The stored query whose page this is."""
# The run is found as the stored query finds it: the two stand on one page.
HEAD_SQL = """
SELECT run, deliverable, version, outcome, outcome_reason, kind, revision, revision_subject, actor,
  place, queued_at, finished_at, duration_seconds, number_state, stopped_before FROM run_board
WHERE run = (SELECT id FROM run WHERE version = :run OR id LIKE :run || '%'
  ORDER BY queued_at DESC LIMIT 1)
"""
LABELS = (
    ("outcome", "Outcome"),
    ("outcome_reason", "Because"),
    ("kind", "Kind"),
    ("revision", "Commit"),
    ("revision_subject", "Subject"),
    ("actor", "By"),
    ("place", "At"),
    ("queued_at", "Asked for"),
    ("finished_at", "Ended"),
    ("duration_seconds", "Took"),
    ("number_state", "Number"),
    ("stopped_before", "Stopped before"),
    ("run", "Run"),
)


async def story_of(datasette: Any, name: str, actor: Any, asked: str) -> dict[str, Any] | None:
    """What ``cxlocal_story.html`` needs; None where this person may not see it.

    ``asked`` is a version, the beginning of a run's id, or empty for the newest run.
    """
    if not await may_view(datasette, actor, name, "run_board"):
        return None
    database = datasette.get_database(name)
    try:
        found = (await database.execute(HEAD_SQL, {"run": asked})).first()
    except sqlite3.Error:
        return None  # busy or damaged: the page below still says what can be said
    runs = datasette.urls.table(name, "run_board") + "?_sort_desc=queued_at"
    if found is None:
        return {"asked": asked, "runs": runs, "title": None, "facts": []}
    row = dict(found)
    place = CellPlace("", None, None, await story_address(datasette, name))
    return {
        "asked": asked,
        "runs": runs,
        "title": f"{row['deliverable']} {row['version'] or '(no version)'}",
        "facts": [
            (label, show_cell(row[column], place._replace(column=column)) or row[column])
            for column, label in LABELS
            if row[column] not in (None, "")
        ],
    }
