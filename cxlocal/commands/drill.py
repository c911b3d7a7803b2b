"""``cxlocal drill``: what an outage of the store would be like, now and on this machine."""

from __future__ import annotations

from typing import Any

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.doctor import (
    add_own_plugins,
    checks_without_store,
    is_passing_here,
)
from cxlocal.commands.frame import command
from cxlocal.commands.output import json_option, write_document
from cxlocal.commands.project import load_project, make_machine, plan_of
from cxlocal.commands.terminal import say
from cxlocal.doctor.check import Check, readiness
from cxlocal.doctor.machine import check_disk, check_journal, check_plugins
from cxlocal.domain import Outcome
from cxlocal.errors import ExitCode
from cxlocal.journal.machine import goes_away, is_new
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner import release
from cxlocal.runner.request import Request, Summary
from cxlocal.text import duration_text, shorten

REASON_MAX = 1000
"""Of what is kept with the run."""


@command(
    examples=[
        ("cxlocal drill", "a rehearsal without the store; ends with 1 where a release would fail"),
        ("cxlocal drill --to unit", "as far as this stage"),
        ("cxlocal drill --json", "for a job that does it every week"),
        ("cxlocal log --all", "shows the drills that were"),
    ]
)
@click.option("--to", metavar="NAME", help="Go as far as this stage, environment or promotion.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Stages at the same time.")
@json_option
@pass_app
def drill(app: App, to: str | None, jobs: int | None, as_json: bool) -> int:
    """Rehearse an outage: time it, and say what would have failed.

    What a release without the store needs is tried, then the working tree goes through the process as in
    a rehearsal, and neither store nor remote is asked. No number is taken and nothing leaves this machine. The run
    is kept as a drill, with what would have failed.
    """
    began = app.clock.monotonic()
    checks = _tried(app)
    tried_seconds = app.clock.monotonic() - began
    failing = list(readiness(checks).because)
    found = f"would have failed: {'; '.join(failing)}" if failing else "nothing would have failed"
    request = Request(
        to=to, jobs=jobs, reason=shorten(f"outage drill before its stages: {found}", REASON_MAX),
        rehearsal=True, drill=True, offline=True,
    )  # fmt: skip
    with app.journal() as journal:
        machine = make_machine(app, is_new(journal) or goes_away(journal))
        summary = release.carry_out(machine, journal, request)
    failing += [
        f"stage {name}: {outcome}"
        for name, outcome in summary.stages.items()
        if outcome != Outcome.SUCCESS
    ]
    if as_json:
        write_document(_document(summary, checks, failing, tried_seconds))
    else:
        _say(summary, failing, tried_seconds)
    well = not failing and summary.outcome == Outcome.SUCCESS
    return ExitCode.DONE if well else ExitCode.FAILURE


def _tried(app: App) -> list[Check]:
    """What a release needs here without the store."""
    project = load_project(app)
    checks = [check_disk(app.home()), *check_plugins(project.manager)]
    checks += add_own_plugins(app, project)
    passing = is_passing_here(app, project)
    with app.journal() as journal:
        journal.passing = passing
        catch_up(journal)
        checks.append(check_journal(journal))
        if project.config is not None:
            plan = plan_of(app, project)
            checks += checks_without_store(app, project, journal, plan, passing=passing)
    return checks


def _document(
    summary: Summary, checks: list[Check], failing: list[str], tried_seconds: float
) -> dict[str, Any]:
    return {
        "ready": not failing and summary.outcome == Outcome.SUCCESS,
        "would_have_failed": failing,
        "run": summary.run,
        "outcome": summary.outcome,
        "stages": dict(summary.stages),
        "tried_seconds": round(tried_seconds, 3),
        "run_seconds": round(summary.seconds, 3),
        "checks": [check._asdict() for check in checks],
    }


def _say(summary: Summary, failing: list[str], tried_seconds: float) -> None:
    took = f"{duration_text(summary.seconds)}, and {duration_text(tried_seconds)} for what it needs"
    if not failing and summary.outcome == Outcome.SUCCESS:
        say(f"Drill: an outage now would stop no release. It took {took}.")
        return
    say(f"Drill: an outage now would stop a release. It took {took}. It would have failed:")
    for each in failing or [f"the run: {summary.reason or summary.outcome}"]:
        say(f"  {each}")
    say("'cxlocal doctor' says what to do about each; 'cxlocal prepare' fetches what is missing.")
