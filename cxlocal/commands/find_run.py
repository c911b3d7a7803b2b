"""Which run a person means: an id, the beginning of one, a version, or the latest."""

from __future__ import annotations

from typing import Any

from cxlocal.errors import Conflict, UsageError
from cxlocal.journal.file import Journal

SHORTEST_PREFIX = 4
"""A shorter beginning of an id is more likely a version."""


def find_run(
    journal: Journal, wanted: str, deliverable: str | None = None, *, here: str | None = None
) -> dict[str, Any]:
    """The row of ``run_board`` that ``wanted`` means. Call after ``catch_up``.

    ``latest`` (or nothing) is the newest release of ``deliverable``. ``here`` is the deliverable one
    stands in: its own are meant where those of others fit as well. Raises UsageError when
    nothing fits, and Conflict when several runs do: two runs that hold one version must be told
    apart by their ids.
    """
    narrowed = " AND (:deliverable IS NULL OR deliverable = :deliverable)"
    newest = wanted in ("", "latest")
    if newest:
        where = "kind = 'release'" + narrowed
        newest_first = where + " ORDER BY queued_at DESC LIMIT 1"
        rows = _rows(journal, newest_first, wanted, deliverable or here)
    else:
        rows = _rows(journal, "run = :wanted" + narrowed, wanted, deliverable)
        # A rehearsal may bear plain numbers, which are nobody's: a release comes first.
        rows = rows or _rows(
            journal, "version = :wanted AND kind = 'release'" + narrowed, wanted, deliverable
        )
        rows = rows or _rows(journal, "version = :wanted" + narrowed, wanted, deliverable)
        if not rows and len(wanted) >= SHORTEST_PREFIX:
            # The first two say where in the index to look; only the third may say that it fits.
            where = (
                "run >= :wanted AND run <= :wanted || char(1114111)"
                " AND substr(run, 1, length(:wanted)) = :wanted" + narrowed
            )
            rows = _rows(journal, where, wanted, deliverable)
    rows = [row for row in rows if row["deliverable"] == here] or rows
    if len(rows) > 1:
        raise Conflict(
            f"{wanted!r} fits {len(rows)} runs",
            why="; ".join(
                f"{row['run'][:8]} is {row['version'] or 'without a version'} of"
                f" {row['deliverable']}, {row['queued_at']}"
                for row in rows[:5]
            ),
            hint="name the run by more of its id ('cxlocal log' lists them)",
            name="several-runs",
            runs=[row["run"] for row in rows],
        )
    if not rows:
        raise UsageError(
            "no release is known here yet" if newest else f"no run is known here as {wanted!r}",
            why="the journal of this machine does not hold it",
            hint="'cxlocal run' makes a release; 'cxlocal log --all' lists the runs known here;"
            " 'cxlocal sync' fetches others",
            name="no-such-run",
        )
    return rows[0]


def _rows(
    journal: Journal, where: str, wanted: str, deliverable: str | None
) -> list[dict[str, Any]]:
    # sql: `where` is one of the fixed texts above
    return journal.query(
        "SELECT * FROM run_board WHERE " + where, {"wanted": wanted, "deliverable": deliverable}
    )
