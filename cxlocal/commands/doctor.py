"""``cxlocal doctor``: does this machine have what a release needs, also without the store?"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.journals import words_for
from cxlocal.commands.output import Output, rows_options, write_rows
from cxlocal.commands.project import (
    Project,
    access_of,
    load_project,
    make_machine,
    open_project_store,
    plan_of,
)
from cxlocal.commands.terminal import say
from cxlocal.config.agreement import secrets_agreed
from cxlocal.doctor.check import BAD, Check, Readiness, readiness
from cxlocal.doctor.machine import check_disk, check_git, check_journal, check_plugins, check_sqlite
from cxlocal.doctor.project import (
    check_artifacts,
    check_caches,
    check_deployments,
    check_disputes,
    check_kinds,
    check_lender,
    check_process,
    check_reserve,
    check_revision,
    check_secrets,
    check_store,
    check_test_needs,
    check_tools,
    refused_by_store,
)
from cxlocal.errors import CxError
from cxlocal.exchange.open import is_own, open_lender, reserve_size
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.machine import goes_away
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.types import Plan
from cxlocal.projection.oversight_questions import READINESS
from cxlocal.runner.source import find_place, is_passing
from cxlocal.text import utc_text

COLUMNS = ("state", "name", "found", "to_do")
STORE_SECONDS = 3.0


@command(
    examples=[
        ("cxlocal doctor", "try everything a release needs"),
        ("cxlocal doctor --json", "the same for a program"),
    ]
)
@rows_options
@pass_app
def doctor(app: App, output: Output) -> int:
    """Try everything a release needs, also one without the store."""
    # A broken plugin must not keep doctor from saying so; it is loaded like any other and named.
    project = load_project(app)
    own = add_own_plugins(app, project)
    passing = is_passing_here(app, project)
    checks: list[Check] = [check_disk(app.home()), check_sqlite(), *check_plugins(project.manager)]
    checks += own
    for where, path in app.journals():
        with app.journal(path=path) as journal:
            journal.passing = passing
            checked = check_journal(journal)
            checks.append(
                checked._replace(name=f"journal of {words_for(where)}" if where else checked.name)
            )
            if project.config is not None:
                checks += project_checks(app, project, journal, passing=passing)
                if checked.state != BAD:
                    remember(journal, project.config.deliverable.name, readiness(checks))
    write_rows([check._asdict() for check in checks], COLUMNS, output)
    if project.config is None:
        say("No cx.toml here: 'cxlocal init' writes one. Only the machine was looked at.")
    elif output.for_people:
        say(readiness(checks).sentence())
    return 1 if any(check.state == BAD for check in checks) else 0


def remember(journal: Journal, deliverable: str, found: Readiness) -> None:
    """Keep what was found, for pages: whoever is asked in an outage looks there first."""
    told = {"at": utc_text(journal.clock.now_ms()), "ready": found.ready, "because": found.because}
    with journal.write() as transaction:
        transaction.set_value(READINESS + deliverable, json.dumps(told))


def add_own_plugins(app: App, project: Project) -> list[Check]:
    """Load the plugins of the working tree, as a run would, and look for those that the project
    requires; what keeps one out is a finding."""
    if project.root is None:
        return []
    try:
        project.manager.add_project(project.root, app.home())
        if project.config is not None:
            project.manager.require(project.config.plugins.require)
    except CxError as problem:
        name = "required plugins" if problem.name == "plugin-required" else "own plugins"
        return [Check(name, BAD, problem.what, problem.hint, offline=True)]
    return []


def is_passing_here(app: App, project: Project) -> bool:
    """Whether this machine goes away. Looked at before a journal is made here."""
    for _, path in app.journals() if app.journal_paths() else []:
        with app.journal(path=path) as journal:
            return goes_away(journal)
    return is_passing(app.environ, find_place(project.manager, app.environ), fresh=True)


def project_checks(app: App, project: Project, journal: Journal, *, passing: bool) -> list[Check]:
    """Everything a release of this project needs, tried."""
    assert project.root is not None
    try:
        plan = plan_of(app, project)
    except CxError as problem:
        return [Check("cx.toml", BAD, problem.what, problem.hint, offline=True)]
    try:
        store = open_project_store(app, project)
        try:
            report = synchronise(journal, store, budget_seconds=STORE_SECONDS, use_breaker=False)
        finally:
            store.close()
        answered = check_store(report, own=is_own(project.settings.store_url))
    except CxError as problem:
        answered = refused_by_store(problem)
    catch_up(journal)
    return [
        *checks_without_store(app, project, journal, plan, passing=passing),
        answered,
        *check_lender(plan, _lender_of(app, project), passing=passing),
        *check_deployments(make_machine(app, fresh=False), journal),
    ]


def checks_without_store(
    app: App, project: Project, journal: Journal, plan: Plan, *, passing: bool
) -> list[Check]:
    """What a release needs while the store is away; it is not asked."""
    assert project.root is not None
    assert project.config is not None
    wanted = reserve_size(project.config, project.settings)
    invents = plan.version.when_empty == "suffix"
    return [
        check_git(project.root),
        *check_tools(plan, project.manager),
        *check_test_needs(plan, project.root),
        *check_secrets(project.settings, app.environ, project.root, _agreed_secrets(app, project)),
        *check_kinds(plan),
        *check_process(project.root),
        check_revision(plan, project.root, journal.home, app.clock),
        *([] if passing and not invents else [check_reserve(plan, journal, wanted=wanted)]),
        *check_artifacts(plan, journal),
        *check_caches(plan, project.root, journal.home),
        *check_disputes(journal, plan.deliverable),
    ]


def _agreed_secrets(app: App, project: Project) -> bool:
    assert project.config is not None
    assert project.root is not None
    return secrets_agreed(project.config, project.root, app.home(), app.environ)


def _lender_of(app: App, project: Project) -> Callable[[], Any] | None:
    if not project.settings.store_lender:
        return None
    return lambda: open_lender(access_of(app, project))
