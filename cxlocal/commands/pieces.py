"""``cxlocal run start`` and ``run finish``: a run made of single commands; and how they find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import Command
from cxlocal.commands.output import after_work, json_option, put, write_document
from cxlocal.commands.project import (
    bytes_here_alone,
    leave,
    make_machine,
    not_sent,
    send_copies,
)
from cxlocal.commands.run import say_nothing
from cxlocal.commands.terminal import say, warn
from cxlocal.domain import Outcome
from cxlocal.errors import CxError, ExitCode, UsageError
from cxlocal.processes.stdout import data
from cxlocal.text import counted

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal
    from cxlocal.runner.pieces_run import Started
    from cxlocal.runner.request import Request

END_SCRIPT = "case $- in *i*) false ;; *) exit 0 ;; esac"
"""A script has nothing more to do; a person's shell stays."""
OUTCOMES = ("success", "failure", "cancel", "error")


@click.command(
    "start",
    cls=Command,
    examples=[
        ('eval "$(cxlocal run start)"', "begin a run; later commands of this shell belong to it"),
        ("cxlocal run start --json", "the same for a program"),
        ("cxlocal run start --no-number", "leave the number to cxlocal version next"),
    ],
)
@click.option("-m", "--reason", default="", metavar="TEXT", help="Why; kept with the run.")
@click.option("--unplanned", is_flag=True, help="Record it as unplanned: a hotfix, an emergency.")
@click.option(
    "--fixes", default="", metavar="VERSION", help="The version at fault that it repairs."
)
@click.option("--offline", is_flag=True, help="Ask neither store nor remote.")
@click.option("--no-number", is_flag=True, help="Take no number yet; 'version next' does.")
@click.option(
    "--allow-uncommitted", is_flag=True, help="Begin although files differ from the commit."
)
@click.option("--new", is_flag=True, help="Join no run that this CI run has begun already.")
@click.option(
    "--anyway", is_flag=True, help="Begin also where only [bump] wrote since the last release."
)
@json_option
@pass_app
def start(
    app: App,
    reason: str,
    unplanned: bool,
    fixes: str,
    offline: bool,
    no_number: bool,
    allow_uncommitted: bool,
    new: bool,
    anyway: bool,
    as_json: bool,
) -> int:
    """Begin a run that single commands carry out, and print what later ones need.

    The commit must be pushed, as for every run. In a CI server every job of one CI run may call it:
    the first begins the run, the others join it, if they are of the same commit and it is open. One
    that the server runs again goes on with its run. Where nothing but what [bump] wrote was pushed, it
    begins none, and a script that evaluates what it prints ends there, in 0.
    """
    from cxlocal.revision.early import ask_about_head, early_questions
    from cxlocal.runner.request import NothingToRelease

    try:
        with early_questions():
            ask_about_head(app.project())
            from cxlocal.runner.request import Request, repaired

            request = Request(
                reason=reason,
                planned=not unplanned,
                fixes=repaired(fixes),
                offline=offline,
                anyway=anyway,
                pieces=True,
            )
            found = _start(
                app, request, number=not no_number, allow_uncommitted=allow_uncommitted, new=new
            )
        _tell_start(found, as_json=as_json)
    except NothingToRelease as nothing:
        if not as_json:
            put(END_SCRIPT)
        return say_nothing(nothing, "cxlocal run start --anyway", as_json=as_json)
    except CxError as problem:
        if not as_json and not data().isatty():
            # The shell evaluates what we print, and an empty text would be a success to it.
            put(f"(exit {int(problem.exit_code)})")
        raise
    return ExitCode.DONE


def _start(
    app: App, request: Request, *, number: bool, allow_uncommitted: bool, new: bool
) -> Started:
    """The run that is open now."""
    from cxlocal.journal.machine import goes_away, is_new
    from cxlocal.runner import pieces
    from cxlocal.runner import pieces_run as starting

    with app.journal() as journal:
        machine = make_machine(app, is_new(journal) or goes_away(journal))
        before = pieces.run_of_folder(machine.root)
        found = starting.start(
            machine, journal, request, number=number, allow_uncommitted=allow_uncommitted, new=new
        )
        _warn_of_open_run(journal, before, found.run)
    try:
        pieces.remember_run(machine.root, found.run)
    except OSError as problem:
        warn(f".cx/run could not be written: {problem.strerror}; set {pieces.RUN_VARIABLE}")
    return found


def _warn_of_open_run(journal: Journal, before: str, now: str) -> None:
    from cxlocal.runner.pieces import how_to_finish

    if before == now:
        return
    row = journal.one("SELECT version FROM run WHERE id = ? AND finished_at IS NULL", (before,))
    if row is not None:
        name = row["version"] or before[:8]
        warn(f"run {name} was started here before and stays open: {how_to_finish(before)}")


def _tell_start(found: Started, *, as_json: bool) -> None:
    if found.note:
        warn(found.note)
    if as_json:
        write_document(found._asdict())
        return
    for name, value in (
        ("CXLOCAL_RUN", found.run),
        ("CXLOCAL_VERSION", found.version),
        ("CXLOCAL_REVISION", found.revision),
    ):
        if value:
            put(f"export {name}={_quoted(value)}")
    verb = "Joined" if found.joined else "Began"
    say(f"{verb} run {found.run[:8]} of {found.deliverable} {found.version}".rstrip())
    if found.uncommitted:
        warn(
            f"{counted(len(found.uncommitted), 'file differs', 'files differ')} from the commit; that is recorded"
        )


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


@click.command(
    "finish",
    cls=Command,
    examples=[
        ("cxlocal run finish", "end the run; its outcome follows from its stages"),
        ("cxlocal run finish --outcome cancel", "say yourself how it ended"),
    ],
)
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Not what follows from the stages.")
@click.option("-m", "--reason", default="", metavar="TEXT", help="Why it ended so.")
@click.option("--offline", is_flag=True, help="Do not ask the store.")
@click.option("--require-sync", is_flag=True, help="Exit with 6 unless the store has everything.")
@json_option
@pass_app
def finish(
    app: App, outcome: str | None, reason: str, offline: bool, require_sync: bool, as_json: bool
) -> int:
    """End the run that single commands carried out, and send what was recorded.

    The exit code says whether the end was recorded, not how the run ended: the stages said that.
    """
    from cxlocal.commands.joined import open_piece, piece_journal
    from cxlocal.journal.machine import goes_away
    from cxlocal.runner import pieces
    from cxlocal.runner import pieces_run as starting

    with piece_journal(app) as journal:
        record = open_piece(app, journal, ends=True)
        if record.ended:
            raise UsageError(
                f"run {record.run[:8]} was finished before",
                why="the end of a run is recorded once",
                hint="cxlocal show tells how it ended",
                name="run-over",
            )
        if not record.known:
            raise UsageError(
                f"run {record.run[:8]} began on another machine that has not sent it yet",
                why="its beginning is not in the journal here",
                hint="cxlocal sync, or finish it where it was started",
                name="no-such-run",
            )
        found = starting.finish(record, Outcome(outcome) if outcome else None, reason)
        pieces.forget_run(app.find_project(), record.run)
        if found.outcome == Outcome.SUCCESS and not offline and starting.has_bump(record):
            starting.follow(make_machine(app, fresh=False), journal, record)
        pending = send_copies(app, journal, offline=offline)
        bundle = leave(journal, app.find_project() or app.directory)
        must = require_sync or goes_away(journal)
        alone = bytes_here_alone(app, journal, "the run is recorded", must=must)
    with after_work():
        if as_json:
            write_document({**found._asdict(), "not_sent_events": pending, "bundle": bundle})
        elif bundle:
            put(bundle)
    why = f" ({found.reason})" if found.reason else ""
    say(f"{found.version or found.run[:8]}: {found.outcome}{why}")
    if pending and must:
        raise not_sent("the run is recorded", pending, bundle)
    if alone is not None:
        raise alone
    return ExitCode.DONE
