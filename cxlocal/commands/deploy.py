"""``cxlocal deploy``: bring a version that was built before into a lasting environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from cxlocal.commands.choose_run import choose_run
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.foreseen import outlook
from cxlocal.commands.frame import command
from cxlocal.commands.joined import piece_journal
from cxlocal.commands.output import after_work, json_option, put, write_document
from cxlocal.commands.project import leave, make_machine, not_sent, send_copies
from cxlocal.commands.status import lasting_here
from cxlocal.commands.terminal import say, warn
from cxlocal.errors import UsageError
from cxlocal.journal.file import Journal
from cxlocal.runner.redeploy import (
    Order,
    Shipped,
    as_error,
    deploy_stages,
    foresee,
    ship,
    versions_live,
)
from cxlocal.text import counted, quoted


def deploy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of commands that deploy what was built before: where ``run`` has them, they mean the
    same. Nothing is asked anyway, so ``--no-input`` changes nothing."""
    for option in reversed((
        click.option("-m", "--reason", default="", metavar="TEXT", help="Why; kept with it."),
        click.option("--offline", is_flag=True, help="Ask neither store nor remote."),
        click.option(
            "--require-sync", is_flag=True, help="Exit with 6 unless the store has everything."
        ),
        click.option(
            "--no-input", is_flag=True, expose_value=False,
            help="Never ask; without a terminal that is so anyway.",
        ),
        json_option,
    )):  # fmt: skip
        function = option(function)
    return function


@command(
    examples=[
        ("cxlocal deploy 2.7.14 --env production", "the very bytes that were built and tested"),
        ("cxlocal deploy 4f1c22aa", "the version of that run, where there is one environment"),
        ("cxlocal deploy --env staging", "of the run that single commands carry out here"),
        ("cxlocal deploy 2.7.14 --dry-run", "what it would change in place, and how it would turn"),
    ]
)
@click.argument("which", metavar="[VERSION|RUN]", default="")
@click.argument("environment", default="")
@click.option("--env", "env", default="", metavar="NAME", help="The environment.")
@click.option("--to", "also", default="", metavar="NAME", help="The same, as 'run' has it.")
@click.option("--allow-older", is_flag=True, help="Deploy also where something newer is live.")
@click.option("--anyway", is_flag=True, help="Deploy also what was taken back from a target.")
@click.option(
    "--schema-ahead",
    is_flag=True,
    help="Also where a database has migrations of a newer version, unknown to this one; recorded.",
)
@click.option("--dry-run", is_flag=True, help="Say what it would do and refuse; deploy nothing.")
@click.option(
    "--unobserved",
    is_flag=True,
    help="Also where components cannot be asked, or instances are in no record; flagged.",
)
@deploy_options
@pass_app
def deploy(
    app: App,
    which: str,
    environment: str,
    env: str,
    also: str,
    allow_older: bool,
    anyway: bool,
    schema_ahead: bool,
    dry_run: bool,
    unobserved: bool,
    reason: str,
    offline: bool,
    require_sync: bool,
    as_json: bool,
) -> None:
    """Deploy a version that was built before; nothing is built again.

    An environment need not be named where cx.toml has one that lasts. What its deploy stage requires is checked as in a run. The environment is asked what it runs
    first, where its tool can tell.
    """
    known = lasting_here(app)
    example = f"cxlocal deploy {quoted(which or 'VERSION')}"
    environment = one_environment(environment, env, also, known=known, example=example)
    with piece_journal(app, which) as journal:
        chosen = choose_run(app, journal, which, None, offline=offline)
        order = Order(
            chosen.run, environment, reason, chosen.named, allow_older, anyway=anyway,
            unobserved=unobserved, schema_ahead=schema_ahead,
        )  # fmt: skip
        act = show_outlook if dry_run else carry_out
        act(app, journal, order, offline=offline, as_json=as_json, require_sync=require_sync)


def show_outlook(
    app: App, journal: Journal, order: Order, *, offline: bool, as_json: bool, require_sync: bool
) -> None:
    """``--dry-run``: what ``carry_out`` would replace and change in place. Raises what would refuse it."""
    machine = make_machine(app, fresh=False)
    _learn(app, journal, order, offline=offline)
    record, ahead = foresee(machine, journal, order._replace(offline=offline))
    stages = deploy_stages(record, order.environment)
    now = list(versions_live(record, order.environment))
    found = outlook(record.plan, stages, record, ahead)
    if as_json:
        write_document(
            {"version": record.version, "environment": order.environment, "live": now}
            | found.as_json()
        )
    else:
        instead = f" in place of {', '.join(now)}" if now else ""
        what = "put back" if order.back else "deployed"
        say(f"{record.version} would be {what} into {order.environment}{instead}")
        found.show()
    if ahead.refusal is not None:
        raise ahead.refusal


def _learn(app: App, journal: Journal, order: Order, *, offline: bool) -> None:
    """What others deployed meanwhile decides what this replaces; and what they built is deployed."""
    if not offline:
        send_copies(app, journal, patient=False, run=order.run)


def one_environment(*named: str, known: Sequence[str], example: str) -> str:
    """The environment that a command is about, however it was named; unnamed it is the only one of
    ``known``. Raises UsageError for none, and for two; ``example`` is the command without it."""
    found = {name for name in named if name} or (set(known) if len(known) == 1 else set())
    if len(found) == 1:
        return found.pop()
    raise UsageError(
        "name one environment" if found else "which environment is meant?",
        why="each environment has versions of its own",
        hint=" or ".join(f"{example} --env {quoted(name)}" for name in known)
        or f"{example} --env NAME; 'cxlocal env list' shows them",
        name="no-environment",
    )


def carry_out(
    app: App, journal: Journal, order: Order, *, offline: bool, as_json: bool, require_sync: bool
) -> None:
    """Do it, say what came of it, send it, and end in its exit code."""
    machine = make_machine(app, fresh=False)
    _learn(app, journal, order, offline=offline)
    shipped = ship(machine, journal, order._replace(offline=offline))
    pending = send_copies(app, journal, offline=offline)
    bundle = leave(journal, machine.root)
    with after_work():
        if as_json:
            write_document({**shipped._asdict(), "not_sent_events": pending, "bundle": bundle})
        elif bundle:
            put(bundle)
    if order.repair and shipped.outcome == "success":
        say(f"{shipped.version} serves in {shipped.environment}, and is recorded as live there")
    else:
        _tell(shipped, pending)
    error = as_error(shipped, f"cxlocal show {shipped.run[:8]} tells the story")
    if error is not None:
        raise error
    if bundle or (pending and require_sync):
        raise not_sent(f"{shipped.version} is deployed", pending, bundle)


def _tell(shipped: Shipped, pending: int) -> None:
    if shipped.outcome != "success":
        return
    where = f" at {shipped.uri}" if shipped.uri else ""
    others = [version for version in shipped.before if version != shipped.version]
    before = f", before it {', '.join(others)}" if others else ""
    if shipped.before and not others:
        before = "; it was before, too, and was deployed anew"
    say(f"{shipped.version} is live in {shipped.environment}{where}{before}")
    if pending:
        warn(
            f"{counted(pending, 'event is', 'events are')} not with the store yet; 'cxlocal sync' sends them"
        )
