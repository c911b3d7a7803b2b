"""``cxlocal log``: the runs this machine knows of, newest first."""

from __future__ import annotations

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import Output, rows_options, write_rows
from cxlocal.commands.status import named_here
from cxlocal.commands.terminal import say
from cxlocal.errors import UsageError
from cxlocal.journal.rebuild import catch_up
from cxlocal.text import duration_text

COLUMNS = (
    "version", "outcome", "number", "deliverable", "place", "started", "duration", "subject", "run",
)  # fmt: skip

_RUNS = """
SELECT * FROM run_board WHERE (:kinds OR kind = 'release' OR kind IS NULL)
  AND (:outcome IS NULL OR outcome = :outcome)
"""
_NEWEST = " ORDER BY queued_at DESC, run LIMIT :limit"
RUNS = _RUNS + _NEWEST
# A query of its own: runs of one deliverable are found by another index than those of all.
RUNS_OF = _RUNS + " AND deliverable = :deliverable" + _NEWEST

NAMED = """SELECT 1 FROM deliverable WHERE id = :name
UNION ALL SELECT 1 FROM run WHERE deliverable = :name LIMIT 1"""


@command(
    examples=[
        ("cxlocal log", "the last 20 releases"),
        ("cxlocal log --all -n 5", "the last 5 runs of all, rehearsals included"),
        ("cxlocal log --contains 4f2a91c", "the runs whose commit has this one in its history"),
        ("cxlocal log --json", "the same for a program"),
    ]
)
@click.option(
    "-n", "limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many runs."
)
@click.option("-d", "--deliverable", help="Only runs of this deliverable.")
@click.option(
    "--outcome",
    type=click.Choice(["success", "failure", "cancel", "error", "open"]),
    help="Only runs that ended so.",
)
@click.option(
    "--all", "with_rehearsals", is_flag=True, help="Rehearsals, drills and other deliverables, too."
)
@click.option(
    "--contains", metavar="COMMIT", help="Only runs of commits that have this one in their history."
)
@rows_options
@pass_app
def log(
    app: App,
    limit: int,
    deliverable: str | None,
    outcome: str | None,
    with_rehearsals: bool,
    contains: str | None,
    output: Output,
) -> None:
    """Show the runs this machine knows of, newest first.

    In a project those of its deliverable; --all shows everything that this machine knows. What a run
    brought is something else: 'cxlocal show' says that.
    """
    chosen, named_at_all = deliverable, False
    if deliverable is None and not with_rehearsals:
        deliverable = named_here(app)
    asked = {
        "kinds": with_rehearsals, "deliverable": deliverable, "outcome": outcome,
        "limit": limit if contains is None else -1,
    }  # fmt: skip
    known: dict[object, dict[str, object]] = {}
    named = app.journals()
    for store, path in named:
        with app.journal(create=False, path=path) as journal:
            catch_up(journal)
            rows = journal.query(RUNS if deliverable is None else RUNS_OF, asked)
            named_at_all = named_at_all or bool(rows or journal.query(NAMED, {"name": chosen}))
        # What moved to another store is in both journals: the later one is where it is counted now.
        known |= {row["run"]: {**row, **({"store": store} if store else {})} for row in rows}
    if chosen is not None and not named_at_all:
        raise UsageError(
            f"no deliverable is known here as {chosen!r}",
            why="the journal of this machine does not hold it",
            hint="'cxlocal log --all' lists the runs of all; 'cxlocal sync' fetches others",
            name="no-such-deliverable",
        )
    found = sorted(known.values(), key=lambda row: str(row["queued_at"] or ""), reverse=True)
    if contains is not None:
        found = _containing(app, contains, found)
    columns = COLUMNS if len(named) == 1 else (*COLUMNS, "store")
    write_rows([_row(run) for run in found[:limit]], columns, output)
    if not found and output.for_people:
        whose = f" of {deliverable}" if deliverable else ""
        say(
            f"No such run{whose} has been recorded here. 'cxlocal log --all' lists all that are known."
        )


def _containing(app: App, commit: str, runs: list[dict[str, object]]) -> list[dict[str, object]]:
    """Those whose commit has ``commit`` in its history, as the clone here knows it. Raises UsageError."""
    # Only who asks for it pays for git.
    from cxlocal.revision.containing import having

    revisions = {str(run["revision"]) for run in runs if run["revision"]}
    inside = having(app.directory, commit, revisions)
    return [run for run in runs if run["revision"] in inside]


def _row(run: dict[str, object]) -> dict[str, object]:
    seconds = run["duration_seconds"]
    return {
        **run,
        "number": run["number_state"],
        "started": run["started_at"] or run["queued_at"],
        "duration": duration_text(seconds) if isinstance(seconds, float | int) else None,
        "subject": run["revision_subject"],
    }
