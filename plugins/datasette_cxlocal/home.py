"""What the home page of a journal begins with: what is live, how fresh that is, where to go on."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from cxlocal.projection.asked import CONFLICTED, UNCONFIRMED
from datasette_cxlocal.cells import CellPlace, show_cell, show_time
from datasette_cxlocal.journals import has_query, may_view, page_address, rows_of, run_addresses
from datasette_cxlocal.words import person, state_mark

BOARD_ROWS_MAX = 50
"""More than this is a list to search, not a board to look at; the view holds all of it."""
BOARD_SQL = """
SELECT title, environment_title, service, version, state, since, actor, run, after_it,
  count(*) OVER (PARTITION BY deliverable, environment) AS services
FROM release_board ORDER BY title, deliverable, position IS NULL, position,
  environment_title, service, since DESC LIMIT :limit
"""
LAST_SQL = "SELECT happened_at AS last FROM event_log WHERE id = (SELECT max(id) FROM event)"
COUNTED = (
    (
        "disputed deployments",
        "SELECT count(*) AS count FROM deployments_now WHERE disputed AND :deliverable IN ('', deliverable)",
        "{} deployment{s} claim{has} a place that another one claims too; 'cxlocal env confirm' ends it.",
    ),
    (
        "conflicting numbers",
        f"SELECT count(*) AS count FROM number_uses WHERE :deliverable IN ('', deliverable) AND {CONFLICTED}",
        "{} run{s} hold{has} a number that another run holds too.",
    ),
    (
        "unconfirmed numbers",
        f"SELECT count(*) AS count FROM number_uses WHERE :deliverable IN ('', deliverable) AND {UNCONFIRMED}",
        "{} number{s} in use, not yet confirmed by the store; its next answer confirms {them}.",
    ),
)
"""What somebody should look at: how it is called, its count, and the sentence."""
WAYS = (
    ("version-history", "History of one version"),
    ("failed-runs", "Runs that did not succeed"),
    ("numbers-unconfirmed", "Numbers not yet confirmed"),
    ("tests-of-version", "Tests of a version"),
    ("commits", "Commits in a run"),
    ("slowest-stages", "Slowest stages"),
)


async def home_of(datasette: Any, name: str, actor: Any) -> dict[str, Any] | None:
    """What ``cxlocal_home.html`` needs; None where this person may not see it."""
    if not await may_view(datasette, actor, name, "release_board"):
        return None
    rows = await rows_of(datasette, name, BOARD_SQL, {"limit": BOARD_ROWS_MAX})
    last = await rows_of(datasette, name, LAST_SQL)
    story = run_addresses(datasette, name)
    place = CellPlace("", None, None, story)
    return {
        "rows": None if rows is None else [_board_row(row, place) for row in rows],
        "cut": len(rows or ()) == BOARD_ROWS_MAX,
        "board": page_address(datasette, name, "board"),
        "last": show_time(last[0]["last"]) if last else None,
        "empty": last == [],
        "attention": [said for one in COUNTED if (said := await attention(datasette, name, *one))],
        "ways": [
            (datasette.urls.query(name, query), title)
            for query, title in WAYS
            if await has_query(datasette, name, query)
        ],
    }


def _board_row(row: Any, place: CellPlace) -> dict[str, Any]:
    shown = {
        key: show_cell(value, place._replace(column=key)) or value for key, value in row.items()
    }
    shown["version"] = ""
    shown["state"] = state_mark(row["state"])
    shown["actor"] = person(row["actor"])
    if row["run"]:
        address = place.story(row["run"])
        shown["version"] = Markup('<a href="{}">{}</a>').format(address, row["version"])
    if row["services"] > 1:
        parts = (shown["environment_title"], row["service"])
        shown["environment_title"] = Markup("{}, {}").format(*parts)
    if row["after_it"]:
        shown["state"] = Markup("{}; {}").format(shown["state"], row["after_it"])
    return shown


async def attention(
    datasette: Any, name: str, what: str, sql: str, sentence: str, deliverable: str = ""
) -> str:
    """One sentence about what somebody should look at; empty where there is nothing."""
    found = await rows_of(datasette, name, sql, {"deliverable": deliverable})
    if found is None:
        return f"Whether there are {what} could not be found out in time."
    count = found[0]["count"]
    several = {"s": "" if count == 1 else "s", "has": "s" if count == 1 else "",
               "them": "it" if count == 1 else "them"}  # fmt: skip
    return sentence.format(count, **several) if count else ""
