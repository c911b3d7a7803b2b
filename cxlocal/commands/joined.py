"""Which run a process belongs to: ``CXLOCAL_RUN``, the CI server's run, ``.cx/run``.

A run is joined only if it is this run. Whichever way it was found, its commit is the one that is
checked out, and what reports to it finds it open; else nothing is joined, and both commits are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cxlocal.commands.terminal import warn, warn_once
from cxlocal.errors import CxError, ExitCode, Refused
from cxlocal.journal.machine import goes_away, is_new
from cxlocal.revision.head import commit_of
from cxlocal.runner import pieces

if TYPE_CHECKING:
    from pathlib import Path

    from cxlocal.commands.context import App
    from cxlocal.hooks.place import Place
    from cxlocal.journal.file import Journal
    from cxlocal.runner.pieces import PieceRecord
    from cxlocal.runner.pieces_join import Joined

UUID = r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"

BEGINS = 'eval "$(cxlocal run start)" begins one'


@contextmanager
def piece_journal(app: App, named: str = "") -> Iterator[Journal]:
    """The journal for a command of a run of pieces. A job on another machine may be the first to say
    anything there, and a version that was ``named`` may be known to the store; elsewhere no journal
    means no run, which raises Refused."""
    in_ci, fresh = pieces.in_ci(app.environ), not app.journal_paths()
    if fresh and not (named or in_ci or app.environ.get(pieces.RUN_VARIABLE)):
        raise _no_run("this machine has no journal yet")
    with app.journal(run=run_here(app)) as journal:
        if in_ci and is_new(journal):
            from cxlocal.runner.source import LAPTOP, is_passing

            journal.passing = is_passing(app.environ, place_of(app) or LAPTOP, fresh=True)
        yield journal


def run_here(app: App) -> str:
    """The run that ``CXLOCAL_RUN`` or ``.cx/run`` names, whose journal is known by it; empty for
    none."""
    return pieces.named_run(app.environ) or pieces.run_of_folder(app.find_project())


def open_piece(
    app: App, journal: Journal, *, reports: bool = False, ends: bool = False
) -> PieceRecord:
    """The run this process belongs to.

    One that was finished goes on where the CI server runs this job again. What ``reports`` to a run
    joins none that is over; what ``ends`` one may do so from anywhere. Raises Refused when there is
    none, and where there is one that is not to be joined.
    """
    pieces.end_left(journal.home, app.clock, warn)
    named, place = pieces.named_run(app.environ), None
    if pieces.in_ci(app.environ):
        place = place_of(app)
    root = app.find_project()
    if named:
        record = _named(app, journal, named)
    elif place is not None and place.run_id and root is not None:
        record = _of_ci(app, journal, place, root)
    else:
        record = _of_folder(journal, root)
    if not ends:
        _refuse_another_commit(record, root)
    if named and place is not None:
        from cxlocal.runner.pieces_join import go_on

        go_on(record, place)
    if reports and record.ended:
        from cxlocal.runner.pieces_join import run_over

        raise run_over(record)
    return record


def place_of(app: App) -> Place | None:
    """The CI server that this process runs in, None outside of one."""
    from cxlocal.hooks.manager import load
    from cxlocal.runner.source import find_place

    place = find_place(load(app.environ, no=app.blocked, warn=warn_once), app.environ)
    return place if place.kind == "ci" else None


def send_passing(app: App, journal: Journal | None) -> None:
    """What a machine that goes away does not send is lost, and the failure of a part or a decision
    with it: sent at once, if it can be."""
    if journal is not None and goes_away(journal):
        from cxlocal.commands.project import send_copies

        send_copies(app, journal, patient=False)


def fetch_for(app: App, record: PieceRecord) -> None:
    """A machine that is made for a job has nothing of what the jobs before it made."""
    if not goes_away(record.journal):
        return
    from cxlocal.commands.project import send_copies
    from cxlocal.runner.needed import lacking

    if lacking(record.journal, record.run):
        send_copies(app, record.journal, patient=False, run=record.run)


def refuse_guarded(app: App, stage: str, problem: BaseException) -> None:
    """Raise Refused where cx.toml lets ``stage`` begin by a promotion or a gate only, or in a
    protected environment: without a run nobody can be asked, as ``problem`` says. Raises ConfigError
    for a cx.toml that cannot be read, as nobody knows what it guards."""
    root = app.find_project()
    if root is None:
        return
    from cxlocal.config.load import read
    from cxlocal.plan.resolve import resolve
    from cxlocal.runner.source import today

    plan = resolve(read(str(root / "cx.toml")), today=today(app.clock))
    for one in plan.stages:
        if one.name != stage:
            continue
        guards = [f"it requires {name}" for name in one.requires]
        guards += ["it deploys, so that gates are asked"] if one.kind == "deploy" else []
        if one.environment and plan.environment(one.environment).protected:
            guards.append(f"{one.environment} is protected")
        if guards:
            known = problem if isinstance(problem, CxError) else None
            if known is not None and known.exit_code == ExitCode.JOURNAL_DAMAGED:
                raise known
            raise Refused(
                f"stage {stage} is guarded and does not begin: {'; '.join(guards)}",
                why=f"no run tells whether it may: {known.what if known else problem}",
                hint=known.hint if known and known.hint else BEGINS,
                name="guarded",
            ) from problem


def _named(app: App, journal: Journal, run: str) -> PieceRecord:
    record = pieces.attach(journal, run, deliverable=_deliverable(app, journal, run))
    if not record.known and _ask_store(app, journal):
        record = pieces.attach(journal, run, deliverable=record.ref.deliverable)
    return record


def _no_run(why: str) -> Refused:
    return Refused("no run has been started here", why=why, hint=BEGINS, name="no-run")


def _of_folder(journal: Journal, root: Path | None) -> PieceRecord:
    run = pieces.run_of_folder(root)
    if not run:
        raise _no_run(f"{pieces.RUN_VARIABLE} is not set and there is no .cx/run")
    return pieces.attach(journal, run)


def _of_ci(app: App, journal: Journal, place: Place, root: Path) -> PieceRecord:
    """The run that was begun for the CI run this process belongs to, and nothing else: a checkout may
    hold the file of another one."""
    from cxlocal.runner.pieces_join import find_joined, go_on, refuse_other

    commit = commit_of(root)

    def look() -> Joined:
        # One CI run may release several deliverables of one repository.
        return find_joined(journal, _name_in(root), place, commit, begins=False)

    found = look()
    if found.run is None and found.other is None and _ask_store(app, journal):
        found = look()
    if found.run is None:
        if found.other is not None:
            raise refuse_other(found.other, commit, place)
        raise Refused(
            f"no run has been started for this {place.name} run",
            why=f"neither the journal here nor the store has one for its id {place.run_id}",
            hint=f"{BEGINS}; where the store cannot be asked, give each job {pieces.RUN_VARIABLE}",
            name="no-run",
        )
    record = pieces.attach(journal, found.run.id)
    go_on(record, place, again=found.again)
    return record


def _ask_store(app: App, journal: Journal) -> bool:
    """One bounded exchange with the store that other machines use; whether there is one."""
    from cxlocal.commands.project import load_project, send_copies
    from cxlocal.exchange.followed import include
    from cxlocal.exchange.open import is_own

    project = load_project(app)
    if project.deliverable is None or is_own(project.settings.store_url):
        return False
    include(journal, project.deliverable)
    send_copies(app, journal, patient=False)
    return True


def _refuse_another_commit(record: PieceRecord, root: Path | None) -> None:
    """Raises Refused where something else is checked out than the run is of. Where nobody knows of what
    it is, what is recorded says what was checked out."""
    commit = "" if root is None else commit_of(root)
    # A stage of it may also be carried out in another project: tests of the whole, for one.
    record.made_from = commit
    if root is None or commit in ("", record.revision):
        return
    if _name_in(root) != record.ref.deliverable:
        record.made_from = ""
        return
    if not record.revision:
        return
    from cxlocal.runner.pieces_join import CiRun, refuse_other

    raise refuse_other(CiRun(record.run, record.revision, record.version, record.ended), commit)


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
