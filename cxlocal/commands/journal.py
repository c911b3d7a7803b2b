"""``cxlocal journal``: where the journal is, making its tables anew, going on after damage, and taking
out what should not be there."""

from __future__ import annotations

from pathlib import Path

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import group
from cxlocal.commands.output import put
from cxlocal.commands.terminal import say
from cxlocal.errors import JournalDamaged, Trouble
from cxlocal.journal.home import journal_file
from cxlocal.text import counted, utc_text

SOUND = {"projection", "acknowledged", "uncompared", "untrue"}
"""Kinds of findings of 'cxlocal verify' that a recovery of the file mends nothing of."""


@group(
    examples=[
        ("cxlocal journal path", "the file that holds the history of this machine"),
        ("cxlocal journal rebuild", "make all tables anew from the events"),
        ("cxlocal journal recover", "go on with what a damaged file still holds"),
        (
            "cxlocal journal settle buildbox --keep 9c1d77ab -m WHY",
            "say which of two histories of a machine counts",
        ),
        ("cxlocal journal redact 2.7.14 unit -m WHY", "remove what a stage printed"),
    ]
)
def journal() -> None:
    """Find the journal of this machine, rebuild, recover or redact it."""


@journal.command(examples=[("sqlite-utils tables $(cxlocal journal path)", "open it elsewhere")])
@pass_app
def path(app: App) -> None:
    """Print where the journal is: of the project; outside of one all of them, a line each."""
    if len(found := app.journal_paths()) <= 1:
        put(found[0] if found else journal_file(app.home()))
        return
    for _, path in app.journals():
        with app.journal(create=False, path=path) as opened:
            put(opened.path)


@journal.command(examples=[("cxlocal journal rebuild", "after 'cxlocal verify' asked for it")])
@pass_app
def rebuild(app: App) -> None:
    """Make all tables anew from the events; no event is touched.

    The events are checked as 'cxlocal verify' does: tables made of events that were changed say what
    was changed, too. Exit code 7 says so.
    """
    import sqlite3

    from cxlocal.commands.verify import counting, raise_findings
    from cxlocal.exchange.own_tables import verify
    from cxlocal.journal.rebuild import rebuild as make_anew

    for _, path in app.journals():
        with app.journal(create=False, path=path) as opened:
            try:
                with counting("projected") as tell:
                    events = make_anew(opened, tell)
            except (sqlite3.DatabaseError, TypeError, ValueError, ArithmeticError):
                # What no journal would have written may be no text, no number, or too large a one.
                raise_findings(verify(opened).findings)
                raise
            say(f"All tables were made anew from {counted(events, 'event')}.")
            with counting("checked") as tell:
                findings = verify(opened, tell).findings
            raise_findings(findings)


@journal.command(examples=[("cxlocal journal recover", "after 'cxlocal verify' found damage")])
@pass_app
def recover(app: App) -> None:
    """Go on with what a damaged journal still holds.

    The damaged file is kept beside the new one. This machine goes on under a new id and gives up the
    numbers it held: what cannot be read may have used them. 'cxlocal sync' brings back what the store
    has.
    """
    if not app.journal_paths():
        raise Trouble(
            "there is no journal yet",
            why=f"there is none in {app.home()}",
            hint="the first 'cxlocal run' makes it",
            name="no-journal",
        )
    damaged = [path for path in app.journal_paths() if _is_damaged(app, path)]
    if not damaged:
        say("The file is whole; nothing is to be recovered.")
    for path in damaged:
        _recover(app, path)


def _recover(app: App, path: Path) -> None:
    from cxlocal.exchange.salvage import recover_journal

    label = utc_text(app.clock.now_ms())[:19].replace(":", "").replace("-", "")
    salvaged = recover_journal(path, clock=app.clock, ids=app.ids, label=label)
    say(
        f"{counted(salvaged.events, 'event was', 'events were')} taken over. The damaged file is kept: {salvaged.aside}"
    )
    if salvaged.left or salvaged.unread:
        say(
            f"{counted(salvaged.left, 'event follows', 'events follow')} something that cannot be read, and {salvaged.unread}"
            " rows cannot be read; what of them the store has comes back with 'cxlocal sync'."
        )
    say("This machine goes on under a new id and holds no numbers until 'cxlocal sync'.")


@journal.command(
    examples=[
        (
            "cxlocal journal settle buildbox --keep 9c1d77ab -m 'restored from the CI log'",
            "what 'cxlocal status' names is settled on every machine",
        )
    ]
)
@click.argument("machine")
@click.option(
    "--keep", required=True, metavar="HISTORY", help="Which one counts, as status names it."
)
@click.option("-m", "--reason", required=True, metavar="TEXT", help="How that is known.")
@pass_app
def settle(app: App, machine: str, keep: str, reason: str) -> None:
    """Say which of two histories of a machine counts.

    What they disagree about follows the one that is kept, here and, after 'cxlocal sync', on every machine.
    Both stay in every journal, and so does who said this, and why.
    """
    from cxlocal.exchange.settling import settle as name_one
    from cxlocal.journal.rebuild import catch_up
    from cxlocal.runner.source import find_actor_at

    with app.journal(create=False) as opened:
        catch_up(opened)
        actor = find_actor_at(app.find_project() or app.directory, app.environ)
        question = name_one(opened, machine, keep, reason, actor)
    say(f"Settled: of the histories of {question.host} ({question.node[:8]}) {keep} counts.")


@journal.command(
    examples=[
        (
            "cxlocal journal redact 2.7.14 unit -m 'a password, changed since'",
            "what a stage printed",
        ),
        ("cxlocal journal redact 9f86d081884c… -m WHY", "a report, by its digest (show --json)"),
    ]
)
@click.argument("what", metavar="RUN|DIGEST")
@click.argument("stage", default="")
@click.option("-m", "--reason", required=True, metavar="TEXT", help="Why; without the secret.")
@click.option("-d", "--deliverable", help="Where several deliverables have that version.")
@pass_app
def redact(app: App, what: str, stage: str, reason: str, deliverable: str | None) -> None:
    """Remove a log or report with a secret in it, here, at the store and on every machine.

    That it was removed, by whom and why, stays, and so does its digest: 'cxlocal verify' finds nothing wrong. What
    sinks have is named. A secret that was printed is to be changed first: others may have read it.
    """
    from cxlocal.commands.redact import carry_out

    carry_out(app, what, stage, reason, deliverable)


def _is_damaged(app: App, path: Path) -> bool:
    """Raises CxError for a file that is none of ours."""
    import sqlite3

    from cxlocal.exchange.own_tables import verify

    try:
        with app.journal(path=path) as opened:
            (answer,) = opened.connection.execute("PRAGMA quick_check(1)").fetchone()
            kinds = {finding.kind for finding in verify(opened).findings}
    except JournalDamaged as problem:
        if problem.name == "not-a-journal":
            raise
        return True
    except sqlite3.DatabaseError:
        return True
    if "acknowledged" in kinds:  # what was rewritten disagrees with what is held, too
        kinds.discard("held")
    return answer != "ok" or not kinds <= SOUND
