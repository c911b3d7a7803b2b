"""``cxlocal incident``: something was wrong with what is live, and when that was over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.find_run import find_run
from cxlocal.commands.frame import group
from cxlocal.commands.output import Output, rows_options, write_rows
from cxlocal.commands.status import named_here
from cxlocal.commands.terminal import say
from cxlocal.domain import Actor
from cxlocal.errors import Conflict, UsageError
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.projection.queries import QUERIES
from cxlocal.runner.incidents import close_incident, live_version, open_incident, open_incidents
from cxlocal.runner.source import find_actor_at

COLUMNS = ("opened_at", "deliverable", "version", "words", "closed_at", "closed_words")


@group(
    examples=[
        ("cxlocal incident open -m 'payments fail'", "the version that is live is at fault"),
        ("cxlocal incident close -m 'rolled back'", "it is over"),
        ("cxlocal incident list", "all of them, newest first"),
    ]
)
def incident() -> None:
    """Say that what is live is at fault, and when it is over.

    What is said is counted: which releases went wrong, and how long it took to put them right
    ('cxlocal browse', Figures). A release that repairs one says so by 'cxlocal run --fixes VERSION'.
    """


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("-d", "--deliverable", help="Of which product; else the one of this folder."),
        click.option("-m", "--reason", "words", required=True, metavar="TEXT", help="What it is."),
        click.argument("version", default=""),
    ):
        function = option(function)
    return function


@incident.command(
    name="open",
    examples=[
        ("cxlocal incident open -m 'payments fail'", "the version that is live"),
        ("cxlocal incident open 2.7.106 -m 'payments fail'", "that version"),
    ],
)
@_options
@pass_app
def open_(app: App, version: str, words: str, deliverable: str | None) -> None:
    """Say that a version is at fault; without VERSION the one that is live."""
    with app.journal(create=False) as journal:
        catch_up(journal)
        name = deliverable or named_here(app)
        if version:
            found = find_run(journal, version, deliverable, here=name)
            about = {"run": found["run"], "version": found["version"] or "", "environment": ""}
            name = found["deliverable"]
        else:
            name = _named(name)
            about = live_version(journal, name)
        place = about["environment"] or _place(journal, name)
        open_incident(journal, about["run"], about["version"], place, _actor(app), words)
    say(
        f"{name} {about['version']} is at fault: {words}. When it is over: cxlocal incident close -m TEXT"
    )


@incident.command(
    examples=[("cxlocal incident close -m 'rolled back to 2.7.105'", "the only one that is open")]
)
@_options
@pass_app
def close(app: App, version: str, words: str, deliverable: str | None) -> None:
    """Say that an incident is over; VERSION says which, where several are open."""
    with app.journal(create=False) as journal:
        catch_up(journal)
        name, run = deliverable or named_here(app), ""
        if version:
            row = find_run(journal, version, deliverable, here=name)
            name, run = row["deliverable"], row["run"]
        found = open_incidents(journal, _named(name), run)
        if len({one["run"] for one in found}) > 1:
            raise Conflict(
                "several incidents are open: "
                + ", ".join(str(one["version"] or one["run"][:8]) for one in found),
                why="each is over by itself",
                hint="name the version: cxlocal incident close VERSION -m TEXT",
                name="several-incidents",
            )
        if not found:
            raise UsageError(
                "no incident is open" + (f" about {version}" if version else ""),
                why="the journal of this machine holds none that is not over",
                hint="'cxlocal incident list' shows them; 'cxlocal sync' fetches those of others",
                name="no-incident",
            )
        for one in found:
            close_incident(journal, one, _actor(app), words)
    say(f"{_named(name)} {found[0]['version']}: it is over: {words}")


@incident.command(name="list", examples=[("cxlocal incident list --json", "for a program")])
@click.option("-d", "--deliverable", default="", help="Only those of this product.")
@rows_options
@pass_app
def list_(app: App, deliverable: str, output: Output) -> None:
    """List incidents, those that are open first."""
    with app.journal(create=False) as journal:
        catch_up(journal)
        rows = journal.query(QUERIES["incidents"].sql, {"deliverable": deliverable})
    write_rows(rows, COLUMNS, output)
    if not rows and output.for_people:
        say("No incident is known here. cxlocal incident open -m TEXT records one.")


def _named(name: str | None) -> str:
    if name:
        return name
    raise UsageError(
        "which product is meant?",
        why="this folder belongs to none",
        hint="go to its folder, or name it: -d PRODUCT",
        name="no-deliverable",
    )


def _place(journal: Journal, deliverable: str) -> str:
    try:
        return str(live_version(journal, deliverable)["environment"])
    except (UsageError, Conflict):
        return "unknown"


def _actor(app: App) -> Actor:
    return find_actor_at(app.find_project() or app.directory, app.environ)
