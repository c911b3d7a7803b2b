"""``cxlocal run start`` and ``run finish``: a run made of single commands; and how they find it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import Command
from cxlocal.commands.output import after_work, json_option, put, write_document
from cxlocal.commands.terminal import say, warn
from cxlocal.domain import Outcome
from cxlocal.errors import CxError, ExitCode, NotSynced, Refused, UsageError
from cxlocal.processes.stdout import data

if TYPE_CHECKING:
    from pathlib import Path

    from cxlocal.hooks.place import Place
    from cxlocal.journal.file import Journal
    from cxlocal.runner.pieces import PieceRecord
    from cxlocal.runner.pieces_run import Started
    from cxlocal.runner.request import Request

OUTCOMES = ("success", "failure", "cancel", "error")

UUID = r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"


def open_piece(app: App, journal: Journal, *, reports: bool = False) -> PieceRecord:
    """The run this process belongs to: ``CXLOCAL_RUN``, the CI server's run, ``.cx/run``.

    One that was finished goes on where the CI server runs this job again. What ``reports`` to a run
    joins none that is over. Raises UsageError when there is none, and Refused where there is one that
    is not to be joined.
    """
    from cxlocal.runner import pieces

    named, place = pieces.named_run(app.environ), None
    if pieces.in_ci(app.environ):
        place = place_of(app)
    if named:
        record = pieces.attach(journal, named, deliverable=_deliverable(app, journal, named))
        if place is not None:
            from cxlocal.runner.pieces_join import go_on

            go_on(record, place)
        return record
    if place is not None and place.run_id and app.find_project() is not None:
        return _of_ci(app, journal, place, reports=reports)
    run = pieces.run_of_folder(app.find_project())
    if not run:
        raise UsageError(
            "no run has been started here",
            why=f"{pieces.RUN_VARIABLE} is not set and there is no .cx/run",
            hint='eval "$(cxlocal run start)"',
            name="no-run",
        )
    record = pieces.attach(journal, run)
    if place is not None and (root := app.find_project()) is not None:
        # This CI server gives its runs no id, and a checkout may hold the file of an earlier one.
        commit = _commit_of(root)
        if commit and record.revision not in ("", commit):
            from cxlocal.runner.pieces_join import CiRun, refuse_other

            raise refuse_other(CiRun(run, record.revision, record.version, False), commit, place)
    return record


def run_here(app: App) -> str:
    """The run that ``CXLOCAL_RUN`` or ``.cx/run`` names, whose journal is known by it; empty for
    none."""
    from cxlocal.runner import pieces

    return pieces.named_run(app.environ) or pieces.run_of_folder(app.find_project())


def place_of(app: App) -> Place | None:
    """The CI server that this process runs in, None outside of one."""
    from cxlocal.hooks.manager import load
    from cxlocal.runner.source import find_place

    place = find_place(load(app.environ, no=app.blocked, warn=warn), app.environ)
    return place if place.kind == "ci" else None


def _of_ci(app: App, journal: Journal, place: Place, *, reports: bool) -> PieceRecord:
    """The run that was begun for the CI run this process belongs to, and nothing else: a checkout may
    hold the file of another one."""
    from cxlocal.runner import pieces
    from cxlocal.runner.pieces_join import find_joined, go_on, refuse_other

    root = app.find_project()
    assert root is not None
    commit = _commit_of(root)
    # One CI run may release several deliverables of one repository.
    found = find_joined(journal, _name_in(root), place, commit, begins=False)
    if found.run is None:
        if found.other is not None:
            raise refuse_other(found.other, commit, place)
        raise Refused(
            f"no run has been started for this {place.name} run",
            why=f"the journal here has none for its id {place.run_id}",
            hint=f'eval "$(cxlocal run start)" begins one; where each job has a journal of its own,'
            f" give it {pieces.RUN_VARIABLE}",
            name="no-run",
        )
    record = pieces.attach(journal, found.run.id)
    go_on(record, place, again=found.again)
    if reports and record.ended:
        raise Refused(
            f"run {found.run.shown} of this {place.name} run was finished",
            why="a run that is over is joined only where its CI server runs a job again",
            hint='eval "$(cxlocal run start)" begins another one;'
            f" {pieces.RUN_VARIABLE}={record.run} adds to this one",
            name="run-over",
        )
    return record


def _commit_of(root: Path) -> str:
    """The commit that is checked out; empty where there is no repository."""
    from cxlocal.revision.repository import open_repository, resolve

    try:
        return resolve(open_repository(root)).commit
    except CxError:
        return ""


def _name_in(root: Path) -> str:
    from cxlocal.config.load import read

    return read(str(root / "cx.toml")).deliverable.name


def _deliverable(app: App, journal: Journal, run: str) -> str:
    """For a run that began on another machine: whose it is, by the cx.toml here. Empty when the run
    is known, or when its id is none that ``run start`` gives."""
    known = journal.one("SELECT 1 FROM run WHERE id = ? AND queued_at IS NOT NULL", (run,))
    if known is not None:
        return ""
    root = app.find_project()
    if root is None or not re.fullmatch(UUID, run):
        return ""
    return _name_in(root)


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
@click.option("--offline", is_flag=True, help="Ask neither store nor remote.")
@click.option("--no-number", is_flag=True, help="Take no number yet; 'version next' does.")
@click.option(
    "--allow-uncommitted", is_flag=True, help="Begin although files differ from the commit."
)
@click.option("--new", is_flag=True, help="Join no run that this CI run has begun already.")
@json_option
@pass_app
def start(
    app: App,
    reason: str,
    unplanned: bool,
    offline: bool,
    no_number: bool,
    allow_uncommitted: bool,
    new: bool,
    as_json: bool,
) -> int:
    """Begin a run that single commands carry out, and print what later ones need.

    The commit must be pushed, as for every run. In a CI server every job of one CI run may call it:
    the first begins the run, the others join it, if they are of the same commit and it is open. One
    that the server runs again goes on with its run.
    """
    from cxlocal.revision.early import ask_about_head, early_questions

    try:
        with early_questions():
            ask_about_head(app.project())
            from cxlocal.runner.request import Request

            request = Request(reason=reason, planned=not unplanned, offline=offline, pieces=True)
            found = _start(
                app, request, number=not no_number, allow_uncommitted=allow_uncommitted, new=new
            )
        _tell_start(found, as_json=as_json)
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
    from cxlocal.commands.project import make_machine
    from cxlocal.runner import pieces
    from cxlocal.runner import pieces_run as starting

    fresh = not app.journal_paths()
    with app.journal() as journal:
        machine = make_machine(app, fresh)
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
        warn(f"{len(found.uncommitted)} files differ from the commit; that is recorded")


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
    from cxlocal.commands.project import how_to_send, leave
    from cxlocal.runner import pieces
    from cxlocal.runner import pieces_run as starting
    from cxlocal.runner.handover import goes_away

    with app.journal(create=False, run=run_here(app)) as journal:
        record = open_piece(app, journal)
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
        pending = send_copies(app, journal, offline=offline)
        bundle = leave(journal, app.find_project() or app.directory)
        must = require_sync or goes_away(journal)
    with after_work():
        if as_json:
            write_document({**found._asdict(), "not_sent_events": pending, "bundle": bundle})
        elif bundle:
            put(bundle)
    why = f" ({found.reason})" if found.reason else ""
    say(f"{found.version or found.run[:8]}: {found.outcome}{why}")
    if pending and must:
        raise NotSynced(
            f"the run is recorded, and {pending} events are not at the store yet",
            why="the store could not be reached",
            hint=how_to_send(bundle),
            pending=pending,
            bundle=bundle,
        )
    return ExitCode.DONE


def send_copies(app: App, journal: Journal, *, offline: bool = False, patient: bool = True) -> int:
    """One bounded exchange; how many events the store still lacks. A passing machine waits for
    the store as long as its patience lasts, if ``patient``."""
    from cxlocal.commands.project import load_project, open_project_store
    from cxlocal.exchange.sync import pending
    from cxlocal.runner import pieces_run as starting

    if not offline:
        try:
            project = load_project(app)
            store = open_project_store(app, project, journal=journal)
            try:
                patience = project.settings.store_patience_seconds if patient else 0
                starting.send(journal, store, patience)
            finally:
                store.close()
        except CxError as problem:
            warn(f"nothing was sent: {problem.what}")
    return pending(journal)
