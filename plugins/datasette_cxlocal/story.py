"""What the page of a run's story begins with: which run it is, and how it ended."""

from __future__ import annotations

from typing import Any

from cxlocal.projection.asked import CHOSEN_RUN
from datasette_cxlocal.cells import CellPlace, show_cell
from datasette_cxlocal.journals import may_view, rows_of, run_addresses

STORY = "story"
"""The stored query whose page this is."""
# The run is found as the stored query finds it: the two stand on one page.
HEAD_SQL = f"""
SELECT run, deliverable, version, outcome, outcome_reason, kind, revision, revision_subject, actor,
  place, queued_at, finished_at, duration_seconds, number_state, stopped_before,
  trouble FROM run_board
WHERE run = {CHOSEN_RUN}
"""
# A version text is unique within its deliverable only.
OTHERS_SQL = f"""
SELECT deliverable, id AS run FROM run WHERE version = :run AND :deliverable = ''
  AND id <> {CHOSEN_RUN} ORDER BY queued_at DESC LIMIT 20
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
    ("trouble", "Deployments that failed"),
    ("run", "Run"),
)


async def story_of(
    datasette: Any, name: str, actor: Any, asked: dict[str, str]
) -> dict[str, Any] | None:
    """What ``cxlocal_story.html`` needs; None where this person may not see it.

    ``asked``: the parameters of the stored query. ``run`` is a version, the beginning of a run's id,
    or empty for the newest run.
    """
    if not await may_view(datasette, actor, name, "run_board"):
        return None
    found = await rows_of(datasette, name, HEAD_SQL, asked)
    others = await rows_of(datasette, name, OTHERS_SQL, asked) if found else []
    runs = datasette.urls.table(name, "run_board") + "?_sort_desc=queued_at"
    if found is None:
        return {"asked": asked["run"], "runs": runs, "title": None, "facts": [], "late": True}
    if not found:
        return {"asked": asked["run"], "runs": runs, "title": None, "facts": []}
    row = found[0]
    story = run_addresses(datasette, name)
    place = CellPlace("", None, None, story)
    return {
        "asked": asked["run"],
        "runs": runs,
        "others": [(story(other["run"]), other["deliverable"]) for other in others or ()],
        "title": f"{row['deliverable']} {row['version'] or '(no version)'}",
        "facts": [
            (label, show_cell(row[column], place._replace(column=column)) or row[column])
            for column, label in LABELS
            if row[column] not in (None, "")
        ],
    }
