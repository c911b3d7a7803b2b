"""What the home page of a journal begins with: what is live, how fresh that is, where to go on."""

from __future__ import annotations

import sqlite3
from typing import Any

from markupsafe import Markup

from datasette_cxlocal.cells import CellPlace, show_cell, show_time
from datasette_cxlocal.journals import has_query, may_view, story_address

BOARD_ROWS_MAX = 100
"""More than this is a list to search, not a board to look at; the view holds all of it."""
BOARD_SQL = """
SELECT title, environment_title, service, version, state, since, actor, run, after_it,
  count(*) OVER (PARTITION BY deliverable, environment) AS services
FROM release_board ORDER BY title, environment_title, service, since DESC LIMIT :limit
"""
FRESH_SQL = """
SELECT (SELECT max(happened_at) FROM event_log WHERE id = (SELECT max(id) FROM event)) AS last,
  (SELECT count(*) FROM number_uses WHERE state = 'in use, not yet confirmed') AS unconfirmed,
  (SELECT count(*) FROM number_uses WHERE state = 'conflicted') AS conflicted,
  (SELECT count(*) FROM deployments_now WHERE disputed) AS disputed
"""
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
    database = datasette.get_database(name)
    try:
        rows = (await database.execute(BOARD_SQL, {"limit": BOARD_ROWS_MAX})).rows
        fresh = (await database.execute(FRESH_SQL)).first()
    except sqlite3.Error:
        return None  # busy or damaged: the page below still says what can be said
    story = await story_address(datasette, name)
    place = CellPlace("", None, None, story)
    return {
        "rows": [_board_row(row, place) for row in rows],
        "cut": len(rows) == BOARD_ROWS_MAX,
        "board": datasette.urls.table(name, "release_board"),
        "last": show_time(fresh["last"]) if fresh["last"] else None,
        "attention": _attention(dict(fresh)),
        "ways": [
            (datasette.urls.query(name, query), title)
            for query, title in WAYS
            if await has_query(datasette, name, query)
        ],
    }


def _board_row(row: Any, place: CellPlace) -> dict[str, Any]:
    shown = {
        key: show_cell(value, place._replace(column=key)) or value
        for key, value in dict(row).items()
    }
    shown["version"] = ""
    if row["run"]:
        address = place.story(row["run"])
        shown["version"] = Markup('<a href="{}">{}</a>').format(address, row["version"])
    if row["services"] > 1:
        parts = (shown["environment_title"], row["service"])
        shown["environment_title"] = Markup("{}, {}").format(*parts)
    if row["after_it"]:
        shown["state"] = Markup("{}; {}").format(shown["state"], row["after_it"])
    return shown


def _attention(facts: dict[str, Any]) -> list[str]:
    """One sentence for each thing somebody should look at."""
    said = []
    if facts["disputed"]:
        said.append(
            f"{facts['disputed']} deployments claim a place that another one claims too:"
            " 'cxlocal env confirm' says which is right."
        )
    if facts["conflicted"]:
        said.append(f"{facts['conflicted']} runs hold a number that another run holds too.")
    if facts["unconfirmed"]:
        count = facts["unconfirmed"]
        said.append(
            f"{count} number{'s' if count > 1 else ''} in use, not yet confirmed by the store."
        )
    return said
