"""``cxlocal prepare``: fetch what an outage needs, while there is a network."""

from __future__ import annotations

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.doctor import COLUMNS, add_own_plugins, project_checks
from cxlocal.commands.frame import command
from cxlocal.commands.output import Output, rows_options, write_rows
from cxlocal.commands.project import Project, load_project, open_project_store
from cxlocal.commands.sync import describe
from cxlocal.commands.terminal import say, warn
from cxlocal.doctor.check import readiness
from cxlocal.doctor.machine import check_disk, check_journal
from cxlocal.exchange.blobs import Carried, carry
from cxlocal.exchange.followed import include
from cxlocal.exchange.open import reserve_size
from cxlocal.exchange.sync import ReserveWish, SyncReport, synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.machine import goes_away
from cxlocal.journal.rebuild import catch_up
from cxlocal.numbers.holdings import highest_known
from cxlocal.plan.resolve import resolve
from cxlocal.plan.types import Plan
from cxlocal.runner.source import today
from cxlocal.runner.waiting import ready_artifacts
from cxlocal.text import counted

SECONDS = 60.0
"""For history and numbers, and again for artifacts."""


@command(
    examples=[
        ("cxlocal prepare", "before the train, the move, the maintenance night"),
        ("cxlocal prepare --json", "the same for a program"),
    ]
)
@rows_options
@pass_app
def prepare(app: App, output: Output) -> int:
    """Fetch what an outage needs: history, numbers, artifacts.

    Artifacts come from the store, where 'cxlocal sync' of another machine brought them. Ends with
    what 'cxlocal doctor' says of a release without the store: exit code 0 only if it would work.
    """
    project = load_project(app, needed=True)
    own = add_own_plugins(app, project)
    with app.journal() as journal:
        report, carried = _fetch(app, project, journal)
        _tell(report, carried)
        checks = [check_disk(app.home()), check_journal(journal), *own]
        checks += project_checks(app, project, journal, passing=goes_away(journal))
    write_rows([check._asdict() for check in checks], COLUMNS, output)
    ready = readiness(checks)
    say(ready.sentence())
    return 0 if ready.ready else 1


def _fetch(app: App, project: Project, journal: Journal) -> tuple[SyncReport, Carried]:
    assert project.config is not None
    plan = resolve(project.config, today=today(app.clock))
    include(journal, plan.deliverable)
    store = open_project_store(app, project)
    try:
        report = synchronise(journal, store, use_breaker=False, budget_seconds=SECONDS)
        catch_up(journal)
        wanted = wanted_reserve(plan, journal, reserve_size(project.config, project.settings))
        if report.reached and wanted:
            more = synchronise(
                journal, store, use_breaker=False, budget_seconds=SECONDS, wanted=wanted
            )
            report = more._replace(
                pushed=report.pushed + more.pushed, pulled=report.pulled + more.pulled,
                reserves=report.reserves + more.reserves,
            )  # fmt: skip
            catch_up(journal)
        carried = Carried()
        if report.reached:
            carried = carry(journal, store, ready_artifacts(journal, plan.deliverable), SECONDS)
    finally:
        store.close()
    return report, carried


def wanted_reserve(plan: Plan, journal: Journal, count: int) -> list[ReserveWish]:
    """A reserve of the line, if it is counted already: the first number of all is to come from the
    store, which looks at tags and at ``from``. A machine that goes away holds none, others ``count``."""
    rules = plan.version
    counted = highest_known(journal.connection, plan.deliverable, rules.line) >= 0
    if not counted or count < 1 or goes_away(journal):
        return []
    return [ReserveWish(plan.deliverable, rules.line, count, rules.ahead)]


def _tell(report: SyncReport, carried: Carried) -> None:
    say(describe(report))
    if carried.fetched or carried.sent:
        say(f"{counted(carried.fetched, 'artifact')} fetched, {carried.sent} sent.")
    if carried.lacking:
        warn(
            f"{counted(len(carried.lacking), 'artifact is', 'artifacts are')} neither here nor at the store: run 'cxlocal sync'"
            " on a machine that has them"
        )
    for why in carried.problems:
        warn(f"an artifact was not moved: {why}")
