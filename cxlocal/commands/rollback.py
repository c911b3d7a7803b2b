"""``cxlocal rollback``: put the version before back into an environment."""

from __future__ import annotations

from typing import Any

import click

from cxlocal.commands.choose_run import choose_run
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.deploy import carry_out, deploy_options, one_environment, show_outlook
from cxlocal.commands.frame import command
from cxlocal.commands.project import load_project, send_copies
from cxlocal.commands.status import lasting_here
from cxlocal.commands.terminal import say
from cxlocal.config.problems import near
from cxlocal.errors import Conflict, UsageError
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.deployment_chain import goal_of, services_of
from cxlocal.runner.redeploy import Order
from cxlocal.text import quoted


@command(
    examples=[
        ("cxlocal rollback", "back to the version that was live before"),
        ("cxlocal rollback --env production --to 2.7.11", "back to this version"),
        ("cxlocal rollback -m 'orders fail'", "and say why"),
        ("cxlocal rollback --dry-run", "where it leads, and what would keep it from that"),
    ]
)
@click.argument("environment", default="")
@click.option("--env", "env", default="", metavar="NAME", help="The environment.")
@click.option("--to", "which", default="", metavar="VERSION", help="Not simply the one before.")
@click.option("--anyway", is_flag=True, help="Also to what was taken back from a target.")
@click.option("--dry-run", is_flag=True, help="Say what it would do and refuse; deploy nothing.")
@click.option("--unobserved", is_flag=True, help="Also where components cannot be asked; flagged.")
@deploy_options
@pass_app
def rollback(
    app: App,
    environment: str,
    env: str,
    which: str,
    anyway: bool,
    dry_run: bool,
    unobserved: bool,
    reason: str,
    offline: bool,
    require_sync: bool,
    as_json: bool,
) -> None:
    """Put the version before back, or the one that is named.

    An environment need not be named where cx.toml has one that lasts. Where a deployment failed, was cut
    off, or reached some services only, that is the last version that was well there. Instances of it that
    still stand (keep_old) serve again; otherwise it is deployed again from its own bytes. Either is recorded as a rollback, with what it replaces.
    """
    known = lasting_here(app)
    name = one_environment(environment, env, known=known, example="cxlocal rollback")
    project = load_project(app, needed=True)
    with app.journal(create=False) as journal:
        if not offline:
            # What is live, and what was before it, may have changed on other machines.
            send_copies(app, journal, patient=False)
        order = plan_rollback(app, journal, str(project.deliverable), name, which)
        order = order._replace(reason=reason, anyway=anyway, unobserved=unobserved)
        act = show_outlook if dry_run else carry_out
        act(app, journal, order, offline=offline, as_json=as_json, require_sync=require_sync)


def plan_rollback(
    app: App, journal: Journal, deliverable: str, environment: str, which: str
) -> Order:
    """Where to go back to. Raises UsageError when there is nothing before, Conflict when it is
    disputed what is live."""
    catch_up(journal)
    rows = journal.query(
        "SELECT * FROM deployments_now WHERE deliverable = ? AND instance = ? ORDER BY since",
        (deliverable, environment),
    )
    services = services_of(journal, deliverable, environment)
    if not services:
        close = near(environment, lasting_here(app))
        raise UsageError(
            f"nothing of {deliverable} is live in {environment}",
            why="as far as the journal here knows",
            hint=f"did you mean {close!r}?"
            if close and close != environment
            else "cxlocal status shows what is live; 'cxlocal sync' fetches what others did",
            name="nothing-live",
        )
    if any(row["disputed"] for row in rows):
        versions = ", ".join(row["version"] for row in rows)
        raise Conflict(
            f"it is disputed what is live in {environment}: {versions}",
            why="two deployments there do not know of each other",
            hint=f"cxlocal env confirm {quoted(environment)} --live VERSION --reason WHY",
            name="disputed",
        )
    goal = goal_of(services)
    if which:
        chosen = choose_run(app, journal, which, deliverable, offline=True)
        return Order(chosen.run, environment, "", chosen.named, True, True)
    if goal is None:
        raise _nothing_before(journal, deliverable, environment, rows[-1] if rows else None)
    failed = [one.version for service in services for one in service.tried]
    now = ", ".join(dict.fromkeys(failed or [row["version"] for row in reversed(rows)]))
    say(f"Going back from {now} to {goal.version}")
    return Order(goal.version_run, environment, "", True, True, True)


def _nothing_before(
    journal: Journal, deliverable: str, environment: str, live: dict[str, Any] | None
) -> UsageError:
    if live is None:
        return UsageError(
            f"there is no version to go back to in {environment}",
            why="what failed there was the first one the journal knows there",
            hint="cxlocal deploy VERSION --to " + environment,
            name="nothing-before",
        )
    others = [row["version"] for row in _others(journal, live)]
    was_or_were = "was" if len(others) == 1 else "were"
    return UsageError(
        f"there is no version before {live['version']} in {environment}",
        why=f"{' and '.join(others)} came after it and {was_or_were} taken back"
        if others
        else "it is the first one the journal knows there",
        hint=f"cxlocal rollback {quoted(environment)} --to {quoted(others[-1])}"
        if others
        else f"release what is right and deploy that ('cxlocal log' lists what there is), or take it"
        f" down: cxlocal env destroy {quoted(environment)}",
        name="nothing-before",
    )


def _others(journal: Journal, live: dict[str, Any]) -> list[dict[str, Any]]:
    """Other versions that were live in the same place."""
    return journal.query(
        "SELECT version FROM deployment WHERE deliverable = :deliverable AND instance = :instance"
        " AND version <> :version GROUP BY version ORDER BY min(deployed_at)",
        live,
    )
