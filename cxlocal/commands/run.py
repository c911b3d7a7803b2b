"""``cxlocal run``: carry out the release process as the pushed revision describes it."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import group
from cxlocal.commands.output import after_work, json_option, put, write_document
from cxlocal.commands.project import bytes_here_alone, leave, make_machine, not_sent
from cxlocal.commands.terminal import say
from cxlocal.errors import CxError, ExitCode, UsageError
from cxlocal.extras import import_lean
from cxlocal.runner.outcomes import outcome_error
from cxlocal.text import counted, duration_text, quoted

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal
    from cxlocal.runner.request import NothingToRelease, Request, Summary
    from cxlocal.runner.source import Machine


@group(
    invoke_without_command=True,
    mistaken="cxlocal run --to {word} for a stage, an environment or a promotion, --revision {word}"
    " for a commit, --resume {word} for a run",
    later={"start": "pieces:start", "finish": "pieces:finish"},
    examples=[
        ("cxlocal run", "release HEAD; stops before the first protected environment"),
        ("cxlocal run --to production", "the same, and on into production"),
        ("cxlocal run --dry-run", "show the plan, run nothing"),
        ("cxlocal run --resume", "go on with the newest run after its last success"),
        ("cxlocal run --final 3.2.0rc2", "make 3.2.0 of what was tested as 3.2.0rc2"),
        ("cxlocal run --offline", "do not ask the store: take the number from the reserve"),
    ],
)
@click.option("--to", metavar="NAME", help="Go as far as this stage, environment or promotion.")
@click.option("--revision", default="HEAD", metavar="COMMIT", help="What to release.")
@click.option(
    "--resume", is_flag=False, flag_value="latest", metavar="[RUN]",
    help="Go on with a run: an id, its start, a version; the newest release.",
)  # fmt: skip
@click.option("--final", metavar="RUN", help="Make the final version of this pre-release.")
@click.option("--offline", is_flag=True, help="Ask neither store nor remote.")
@click.option("--dry-run", is_flag=True, help="Show the plan and run nothing.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Stages at the same time.")
@click.option("-m", "--reason", default="", metavar="TEXT", help="Why; kept with the run.")
@click.option("--unplanned", is_flag=True, help="Record it as unplanned: a hotfix, an emergency.")
@click.option(
    "--fixes", default="", metavar="VERSION", help="The version at fault that it repairs."
)
@click.option("--allow-older", is_flag=True, help="Deploy also where something newer is live.")
@click.option(
    "--anyway", is_flag=True, help="Release also where only [bump] wrote since the last one."
)
@click.option("--require-sync", is_flag=True, help="Exit with 6 unless the store has everything.")
@click.option("--no-input", is_flag=True, help="Never ask; without a terminal that is so anyway.")
@click.option(
    "--journal-was-moved", "moved", default="", metavar="REASON",
    help="Say that the journal was moved, not copied: its reserve may be used.",
)  # fmt: skip
@json_option
@click.pass_context
@pass_app
def run(
    app: App,
    ctx: click.Context,
    to: str | None,
    revision: str,
    resume: str | None,
    final: str | None,
    offline: bool,
    dry_run: bool,
    jobs: int | None,
    reason: str,
    unplanned: bool,
    fixes: str,
    allow_older: bool,
    anyway: bool,
    require_sync: bool,
    no_input: bool,
    moved: str,
    as_json: bool,
) -> int:
    """Release a pushed revision, as far as it may go.

    Only pushed commits run, in a clean checkout, by the process that the commit itself describes.
    Uncommitted changes stay out and are named. At a terminal it asks whether to push what was not.
    Everything is recorded on this machine first.
    """
    if ctx.invoked_subcommand is not None:
        return ExitCode.DONE
    from cxlocal.revision.early import ask_about_head, early_questions

    if sum(map(bool, (resume, final, revision != "HEAD"))) > 1:
        raise UsageError(
            "--resume, --final and --revision exclude each other",
            why="a run keeps its revision, and a final version that of its pre-release",
            hint="give one of them",
            name="bad-options",
        )
    if final and offline:
        raise UsageError(
            "--final and --offline exclude each other",
            why="the store alone can give a certain number",
            hint="leave --offline out",
            name="bad-options",
        )
    if resume:
        _refuse_what_is_settled(fixes, unplanned)
    with early_questions():
        if revision == "HEAD" and not (resume or final or dry_run):
            ask_about_head(app.project())
        import_lean("msgspec", beside="typing_extensions")
        from cxlocal.runner.request import Request, repaired

        request = Request(
            to=to, revision=revision, offline=offline, jobs=jobs, reason=reason,
            planned=not unplanned, fixes=repaired(fixes), moved=moved, allow_older=allow_older, anyway=anyway,
        )  # fmt: skip
        if dry_run:
            return _look_ahead(app, request, resume or "", final or "", as_json=as_json)
        options = {"as_json": as_json, "require_sync": require_sync, "ask": not no_input}
        return carry_out(app, request, resume or "", final or "", **options)


def _look_ahead(app: App, request: Request, resume: str, final: str, *, as_json: bool) -> int:
    """``--dry-run``."""
    from cxlocal.commands.foreseen import show_plan
    from cxlocal.runner.request import NothingToRelease

    with ExitStack() as stack:
        journal = None
        if app.journal_paths() or resume or final:
            journal = stack.enter_context(app.journal(create=False))
        if journal and resume:
            request = _resumed(app, journal, request, resume)
        elif journal and final:
            row = _known(app, journal, final)
            request = request._replace(final_of=row["run"], revision=row["revision"])
        try:
            show_plan(app, journal, request, as_json=as_json)
        except NothingToRelease as nothing:
            return say_nothing(nothing, "cxlocal run --anyway", as_json=as_json)
    return ExitCode.DONE


def _refuse_what_is_settled(fixes: str, unplanned: bool) -> None:
    """A run that goes on keeps what was recorded when it began. Raises UsageError."""
    if fixes:
        raise UsageError(
            "--fixes and --resume exclude each other",
            why="what a run repairs is recorded when it begins",
            hint="leave --fixes out; 'cxlocal incident' tells what was at fault",
            name="bad-options",
        )
    if unplanned:
        raise UsageError(
            "--unplanned and --resume exclude each other",
            why="whether a run was planned is recorded when it begins, and gates are told that",
            hint="cxlocal run --anyway --unplanned --reason WHY   releases the commit anew",
            name="bad-options",
        )


def carry_out(
    app: App,
    request: Request,
    resume: str = "",
    final: str = "",
    *,
    as_json: bool,
    require_sync: bool = False,
    ask: bool = False,
) -> int:
    """Carry out a request, say how it went, and end in its exit code."""
    from cxlocal.journal.machine import goes_away, is_new
    from cxlocal.runner import release
    from cxlocal.runner.request import NothingToRelease

    with app.journal() as journal:
        machine = make_machine(app, is_new(journal) or goes_away(journal))
        if resume:
            request = _resumed(app, journal, request, resume)
        elif final:
            row = _known(app, journal, final)
            request = request._replace(final_of=row["run"], revision=row["revision"])
        try:
            summary = _released(app, machine, journal, request, ask=ask and not as_json)
            while ask and _wants_to_go_on(summary, as_json):
                say()
                request = request._replace(
                    resume=summary.run, run_named=True, to=summary.stopped_before
                )
                summary = release.carry_out(machine, journal, request)
        except NothingToRelease as nothing:
            return say_nothing(nothing, "cxlocal run --anyway", as_json=as_json)
        except BaseException:
            if not request.rehearsal:
                leave(journal, machine.root)
            raise
        if summary.kind == "release":
            summary = summary._replace(bundle=leave(journal, machine.root))
        alone = bytes_here_alone(app, journal, f"{summary.version} is done", must=require_sync)
    with after_work():
        if as_json:
            write_document(summary.as_json())
        elif summary.bundle:
            put(summary.bundle)
    _say_ending(summary)
    _end(summary, require_sync=require_sync)
    if alone is not None:
        raise alone
    return ExitCode.DONE


def say_nothing(nothing: NothingToRelease, anyway: str, *, as_json: bool) -> int:
    """A commit that says what was released is none to release: all is well. ``anyway``: the command that
    releases it."""
    if as_json:
        write_document(
            {"outcome": "nothing", "revision": nothing.commit, "released": nothing.version or None}
        )
    known = nothing.version or "what it names"
    say(f"Nothing to release: commit {nothing.commit[:12]} only says that {known} was released")
    say(f"  {anyway}  releases it all the same")
    return ExitCode.DONE


def _released(
    app: App, machine: Machine, journal: Journal, request: Request, *, ask: bool
) -> Summary:
    """Carry the request out; a person at a terminal is asked whether to push what was forgotten."""
    from cxlocal.processes.start import run_attached
    from cxlocal.revision.git import forget_early
    from cxlocal.runner import release

    try:
        return release.carry_out(machine, journal, request)
    except CxError as problem:
        push = problem.data.get("push")
        if not (ask and isinstance(push, list) and push and request.revision == "HEAD"):
            raise
        if not _says_yes(f"{problem.what}.\nPush it now: {' '.join(push)}?"):
            raise
        if run_attached(push, cwd=app.project(), env=app.environ) != 0:
            raise
    forget_early()  # What the remote said before is old.
    return release.carry_out(machine, journal, request)


def _known(app: App, journal: Journal, wanted: str) -> dict[str, Any]:
    from cxlocal.commands.find_run import find_run
    from cxlocal.commands.status import named_here
    from cxlocal.journal.rebuild import catch_up
    from cxlocal.runner.own_words import run_row

    catch_up(journal)
    row = find_run(journal, wanted, here=named_here(app))
    # Which commit it is of, as whoever began it here recorded.
    return {**row, "revision": (run_row(journal, row["run"]) or row)["revision"]}


def _resumed(app: App, journal: Journal, request: Request, wanted: str) -> Request:
    row = _known(app, journal, wanted)
    named = str(row["run"]).startswith(wanted)
    return request._replace(resume=row["run"], run_named=named)


def _wants_to_go_on(summary: Summary, as_json: bool) -> bool:
    """Ask a person at a terminal whether to go on into the protected environment."""
    if as_json or not summary.stopped_before or summary.outcome != "success":
        return False
    return _says_yes(f"{summary.version} is ready. Go on into {summary.stopped_before} now?")


def _says_yes(question: str) -> bool:
    """Whether a person at a terminal says yes; without one nobody does."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return click.confirm(question, default=False, err=True)
    except (click.Abort, OSError):
        return False  # Whoever leaves at the question, or whose terminal has gone, said no.


KINDS = {"rehearsal": "Rehearsal", "drill": "Drill"}
"""What has no version worth naming."""
LOOKS = {
    "status": "shows what is live", "artifact": "copies out what was made",
    "show": "tells the story of it", "publish": "brings it to its targets",
}  # fmt: skip
"""What the command does that shows what a release came to."""


def _say_ending(summary: Summary) -> None:
    words = {
        "success": "done", "failure": "failed", "error": "ended in error", "cancel": "cancelled",
    }  # fmt: skip
    what = KINDS.get(summary.kind, summary.version)
    line = f"{what} {words[summary.outcome]} in {duration_text(summary.seconds)}"
    if summary.skipped and summary.outcome != "success":
        line += f"; not run: {', '.join(summary.skipped)}"
    say(line)
    if summary.untested and summary.outcome == "success":
        say('  not tested  no stage of cx.toml tests anything (kind = "test")')
    if summary.promotions:
        given = [f"{name} ({decision})" for name, decision in summary.promotions.items()]
        say(f"  promotions  {', '.join(given)}")
    if summary.kind == "release" and summary.pending:
        say(
            f"  to be sent  {counted(summary.pending, 'event waits', 'events wait')} here; 'cxlocal sync' sends them"
        )
    if summary.kind == "release" and summary.bytes_here_alone:
        size = f"{summary.bytes_here_alone / 1_000_000:.1f} MB"
        say(f"  to be sent  {size} of what waits are here alone; 'cxlocal sync' sends them")
    for left in summary.undelivered:
        say(f"  to be delivered  {left}")
    following = summary.next.replace(summary.run, summary.run[:8])
    if summary.stopped_before:
        say(f"  {summary.stopped_before} is protected. To go on:")
        say(f"    {following}")
    elif following:
        ended = "it ended where it was asked to. To go on:"
        again = "to try this commit again after its last success:"
        say(f"  {ended if summary.outcome == 'success' else again}")
        say(f"    {following}")
    elif summary.kind == "release":
        say(f"  {summary.look}  {LOOKS[summary.look.split()[1]]}")


def _end(summary: Summary, *, require_sync: bool) -> None:
    """Raise what the exit code needs."""
    problem = (
        summary.unpublished
        or summary.refused
        or outcome_error(
            summary.outcome, summary.reason, why=_why(summary), hint=_look(summary), run=summary.run
        )
    )
    if problem is not None:
        raise problem
    if summary.kind == "release" and summary.pending and (require_sync or not summary.kept):
        raise not_sent(f"{summary.version} is done", summary.pending, summary.bundle)


def _why(summary: Summary) -> str:
    if summary.outcome == "failure":
        return "the work itself says no; the log of the stage has its words"
    return "something around the work went wrong; the line of the stage says what"


def _look(summary: Summary) -> str:
    """Where the words of what went wrong stand: in the log of a stage, else in the story."""
    bad = [name for name, outcome in summary.stages.items() if outcome == summary.outcome]
    log = f" --log {quoted(bad[0])} prints all that it said" if bad else " tells the story"
    return f"cxlocal show {summary.run[:8]}{log}"
