"""``cxlocal env``: what is where, disputes, and what is left to destroy."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import group
from cxlocal.commands.output import (
    Output,
    json_option,
    put,
    rows_options,
    write_document,
    write_rows,
)
from cxlocal.commands.project import load_project, make_machine, send_copies
from cxlocal.commands.terminal import say, warn
from cxlocal.errors import Refused, Trouble, UsageError
from cxlocal.exchange.standing import require
from cxlocal.journal.rebuild import catch_up
from cxlocal.processes import locks
from cxlocal.runner.unfinished import add_to, telling, unfinished
from cxlocal.text import counted, quoted

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal
    from cxlocal.runner.reaping import Reaped

LIST = """
SELECT e.deliverable, e.name AS environment, e.instance, e.lifetime, n.service, n.version, n.since,
  n.actor, n.disputed, n.partly, n.after_it, coalesce(nullif(n.uri, ''), e.uri) AS uri,
  (SELECT count(*) FROM resources_now r WHERE r.deliverable = e.deliverable
    AND r.instance = e.instance AND r.due) AS owed,
  (SELECT count(*) FROM resource r WHERE r.deliverable = e.deliverable AND r.instance = e.instance
    AND r.gone_how = 'removed' AND (r.verb = 'provision' AND r.gone_at > n.since
      OR r.id IN (SELECT x.resource FROM deployment_resource x WHERE x.deployment = n.deployment))) AS lost
FROM environment e LEFT JOIN services_now n
  ON n.deliverable = e.deliverable AND n.instance = e.instance
WHERE (? IS NULL OR e.deliverable = ?) AND e.created_from > coalesce(e.deleted_from, '')
ORDER BY e.deliverable, e.lifetime, e.name, n.since
"""
COLUMNS = ("environment", "lifetime", "service", "version", "since", "actor", "state", "uri")
HISTORY = """
SELECT d.deployed_at, d.version, d.kind, d.service, d.actor, s.host, d.reason, d.uri, d.id AS deployment,
  d.run
FROM deployment d LEFT JOIN stage_run s ON s.id = d.stage_run
WHERE d.deliverable = :name AND d.instance = :place AND d.deployed_at IS NOT NULL
UNION ALL SELECT a.ended_at, a.version, a.outcome, a.service, a.actor, s.host, a.why, '', a.id, a.run
FROM deployment_attempt a LEFT JOIN stage_run s ON s.id = a.stage_run
WHERE a.deliverable = :name AND a.instance = :place AND a.ended_at IS NOT NULL
ORDER BY deployed_at DESC, deployment LIMIT :limit
"""
HISTORY_ROWS = 20


@group(
    later={
        "destroy": "departure:destroy",
        "forget": "departure:forget",
        "release": "departure:release",
        "settle": "departure:settle",
    },
    examples=[
        ("cxlocal env list", "what is where"),
        ("cxlocal env show production", "and what was there before"),
        ("cxlocal env observe production", "ask the environment itself"),
        ("cxlocal env confirm production --live 2.7.14 -m WHY", "settle what is disputed"),
        ("cxlocal env reap", "destroy what runs that were cut off left behind"),
    ],
)
def env() -> None:
    """Show what is where, settle disputes, clear what is left."""


@env.command(name="list", examples=[("cxlocal env list", "the environments that exist now")])
@click.option("--all", "everything", is_flag=True, help="Of every deliverable.")
@rows_options
@pass_app
def list_environments(app: App, everything: bool, output: Output) -> None:
    """List the environments that exist, and what runs there."""
    name = None if everything or app.find_project() is None else _deliverable(app)
    rows: list[dict[str, Any]] = []
    for _, path in app.journals():
        with app.journal(create=False, path=path) as journal:
            catch_up(journal)
            found = journal.query(LIST, (name, name))
            add_to(found, unfinished(journal, name))
        rows += found
    for row in rows:
        row["state"] = _state(row)
        if output.for_people and row["after_it"]:
            row["state"] += f"; {row['after_it']}"
    columns = COLUMNS if name is not None else ("deliverable", *COLUMNS)
    write_rows(rows, columns if output.for_people else None, output)
    if not rows and output.for_people:
        say("No environment stands, as far as is known here. cxlocal run makes them.")


def _state(row: dict[str, Any]) -> str:
    if row["disputed"]:
        return "disputed"
    if row["lost"] and row["lifetime"] == "lasting":
        return "partly destroyed"
    if row["partly"]:
        return "partly"
    if row["owed"]:
        return "to be destroyed"
    return "live" if row["version"] else "nothing runs there"


@env.command(examples=[("cxlocal env show production", "its newest deployments")])
@click.argument("environment")
@click.option("-n", "limit", default=HISTORY_ROWS, show_default=True, help="How many.")
@rows_options
@pass_app
def show(app: App, environment: str, limit: int, output: Output) -> None:
    """Show what was deployed into an environment, newest first."""
    name = _deliverable(app)
    with app.journal(create=False) as journal:
        catch_up(journal)
        rows = journal.query(HISTORY, {"name": name, "place": environment, "limit": limit})
        stands = journal.query(LIST, (name, name))
        found = unfinished(journal, name, environment)
        live = {row["deployment"] for row in _live(journal, name, environment)}
    here = [row for row in stands if environment in (row["instance"], row["environment"])]
    for row in rows:
        row["live"] = row["deployment"] in live
    columns = ("deployed_at", "version", "kind", "live", "service", "actor", "host", "reason")
    write_rows(rows, columns if output.for_people else None, output)
    if output.for_people:
        for line in telling(found):
            say(line)
        if any(_state(row) == "partly destroyed" for row in here):
            say(f"{environment} is partly destroyed: 'cxlocal env destroy {quoted(environment)}' goes on, and a"
                " deployment makes what is gone anew.")  # fmt: skip
    if not rows and not found and not here:
        known = ", ".join(dict.fromkeys(row["environment"] for row in stands)) or "none"
        raise UsageError(
            f"nothing of {name} was ever deployed into {environment}, as far as is known here",
            why=f"environments that stand: {known}",
            hint="'cxlocal env list' shows them; 'cxlocal sync' brings what others recorded",
            name="no-such-environment",
        )


@env.command(
    examples=[
        ("cxlocal env confirm production --live 2.7.14 -m 'asked the load balancer'", "settle it")
    ]
)
@click.argument("environment")
@click.option("--live", "which", required=True, metavar="VERSION|DEPLOYMENT", help="What is live.")
@click.option("-m", "--reason", required=True, metavar="TEXT", help="How that is known.")
@pass_app
def confirm(app: App, environment: str, which: str, reason: str) -> None:
    """Say what is live: which of two disputed deployments, or the one before a failed one."""
    from cxlocal.commands.at_place import at_place
    from cxlocal.events.places import environment_confirmed
    from cxlocal.runner.source import open_source

    name = _deliverable(app)
    with (
        app.journal(create=False) as journal,
        at_place(app, journal, name, environment, "env confirm"),
    ):
        rows = _live(journal, name, environment)
        chosen = _chosen(rows, environment, which)
        others = [
            row["deployment"]
            for row in [*rows, *unfinished(journal, name, environment)]
            if row["deployment"] != chosen["deployment"]
            and row["service"] == chosen["service"]
            and row.get("state") != "under way"
        ]
        if not others:
            say(f"{chosen['version']} is live in {environment}; nothing is disputed.")
            return
        source = open_source(make_machine(app, fresh=False), "HEAD", {})
        journal.append(
            environment_confirmed(
                deliverable=name,
                run=chosen["run"],
                name=environment,
                instance=environment,
                deployment=chosen["deployment"],
                replaces=others,
                actor=source.actor._asdict(),
                reason=reason,
            )
        )
    say(f"{chosen['version']} is live in {environment}")


@env.command(
    examples=[("cxlocal env take production -m 'the runner was lost'", "let others deploy there")]
)
@click.argument("environment")
@click.option("-m", "--reason", required=True, metavar="TEXT", help="Why; kept with it.")
@pass_app
def take(app: App, environment: str, reason: str) -> None:
    """End the turn of a machine that is gone, so that others may deploy into a lasting environment.

    A machine that deploys through a shared store has the turn there until it is done. If it died, its
    turn stays. If it only looks dead and comes back, what it deployed is not recorded as live.
    """
    from cxlocal.runner import turns
    from cxlocal.runner.source import find_actor_at

    name = _deliverable(app)
    with app.journal(create=False) as journal:
        require(journal, name, "push")
        send_copies(app, journal, patient=False)
        found = turns.open_turns(journal, name, environment)
        lock = locks.environment_lock(journal.home, name, environment)
        if locks.is_held(lock):
            raise Refused(
                f"this machine changes {environment} now",
                why=locks.holder(lock),
                hint="end it with Ctrl-C there",
                name="environment-busy",
            )
        actor = find_actor_at(app.directory, app.environ)._asdict()
        for row in found:
            turns.take(journal, row, reason, actor)
        waiting = send_copies(app, journal)
    if not found:
        say(f"Nobody changes {environment}, as far as is known here.")
    for row in found:
        say(f"Taken from {turns.holder(row)}. What it was doing there nobody knows: cxlocal env show"
            f" {quoted(environment)}")  # fmt: skip
    if waiting:
        warn(
            f"{waiting} events are not with the store yet: that machine does not know; cxlocal sync"
        )


def _chosen(rows: list[dict[str, Any]], environment: str, which: str) -> dict[str, Any]:
    found = [
        row
        for row in rows
        if which == row["version"]
        or (len(which) >= 4 and str(row["deployment"]).startswith(which))
        or (len(which) >= 4 and str(row["run"]).startswith(which))
    ]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{row['version']} ({row['deployment'][:8]})" for row in rows) or "nothing"
    if found:
        raise UsageError(
            f"{which} fits {len(found)} deployments that may be live in {environment}",
            why=known,
            hint="name the deployment by its id",
            name="several-deployments",
        )
    raise UsageError(
        f"{which} is not among what may be live in {environment}",
        why=f"the journal knows {known}",
        hint=f"cxlocal deploy {quoted(which)} --to {quoted(environment)} puts it there, and records that",
        name="not-live",
    )


@env.command(
    examples=[
        ("cxlocal env reap", "destroy what runs that are over left"),
        ("cxlocal env reap --run 4f1c22aa -m 'its machine is gone'", "and what that one left"),
    ]
)
@click.option("--run", "which", default="", metavar="RUN", help="Give this run up first.")
@click.option("-m", "--reason", default="", metavar="TEXT", help="Why it is given up.")
@click.option("--dry-run", is_flag=True, help="Show what is owed and destroy nothing.")
@rows_options
@pass_app
def reap(app: App, which: str, reason: str, dry_run: bool, output: Output) -> None:
    """Destroy environments that runs left behind, on this machine or another one.

    A tool gets the handle it made durable before it created anything, and nothing else. Runs of this
    machine whose process was cut off are recorded as ended first. A run of a machine that is gone is
    over when nothing was heard of it for a day (expires in cx.toml), or when you say so.
    """
    from cxlocal.commands.at_place import place_doors
    from cxlocal.runner import reaping

    if bool(which) != bool(reason) or (which and dry_run):
        raise UsageError(
            "--run and -m belong together, and --dry-run gives nothing up",
            why="that a run is over is recorded, with the reason",
            hint="cxlocal env reap --run RUN -m 'its machine is gone'",
            name="bad-options",
        )
    with (
        app.journal(create=False) as journal,
        nullcontext() if dry_run else place_doors(app, journal, "env reap") as doors,
    ):
        catch_up(journal)
        machine = make_machine(app, False, anywhere=True)
        given_up = ""
        if which:
            from cxlocal.commands.find_run import find_run
            from cxlocal.commands.status import named_here
            from cxlocal.runner.source import find_actor_at

            actor = find_actor_at(machine.root, app.environ)
            given_up = find_run(journal, which, here=named_here(app))["run"]
            reaping.give_up(journal, given_up, reason, actor)
        found = reaping.reap(journal, machine, doors)
        after = reaping.next_there(journal, found.unpaid)
        elsewhere = reaping.untold(journal, given_up, found) if given_up else ""
    _show_reaped(found, output, dry_run=dry_run, elsewhere=elsewhere)
    if found.unpaid:
        raise Trouble(
            f"{len(found.unpaid)} of {len(found.owed)} could not be destroyed",
            why="; ".join(f"{one.instance}: {why}" for one, why in found.unpaid[:3]),
            hint=f"put right what they say, then run it again{after}",
            name="not-destroyed",
        )


@env.command(
    examples=[
        ("cxlocal env repair production", "what serves is what the journal says"),
        (
            "cxlocal env repair production --live 2.7.14 -m 'its machine burnt'",
            "this version serves",
        ),
    ]
)
@click.argument("environment")
@click.option("--live", "which", default="", metavar="VERSION", help="The version that serves.")
@click.option("-m", "--reason", default="", metavar="TEXT", help="Why; kept with it.")
@pass_app
def repair(app: App, environment: str, which: str, reason: str) -> None:
    """Record what serves in an environment of components, where the record of who made it is lost.

    Instances are found by their labels. Those of the version that get traffic, or run where nothing spreads it,
    are recorded as live and get all of it, the others are taken away; nothing is made. Where what serves is what
    the record says, nothing is changed.
    """
    from cxlocal.commands.choose_run import choose_run
    from cxlocal.commands.deploy import carry_out
    from cxlocal.runner.redeploy import Order, foresee

    name = _deliverable(app)
    with app.journal(create=False) as journal:
        # What serves is what the last machine deployed, whichever that was.
        send_copies(app, journal, patient=False)
        catch_up(journal)
        rows = _live(journal, name, environment)
        if not rows and not which:
            raise UsageError(
                f"nothing of {name} is live in {environment}, as far as is known here",
                why="so it has to be said which version serves",
                hint=f"cxlocal env repair {quoted(environment)} --live VERSION",
                name="nothing-live",
            )
        chosen = choose_run(app, journal, which, name, offline=True) if which else None
        run = rows[-1]["version_run"] if chosen is None else chosen.run
        order = Order(run, environment, reason or "repaired", True, True, repair=True)
        record, ahead = foresee(make_machine(app, fresh=False), journal, order)
        if ahead.agrees:
            say(
                f"{record.version} serves in {environment}, as the record says; nothing was changed"
            )
            return
        carry_out(app, journal, order, offline=False, as_json=False, require_sync=False)


def _show_reaped(found: Reaped, output: Output, *, dry_run: bool, elsewhere: str) -> None:
    problems = {one.id: why for one, why in found.unpaid}
    rows = [
        {
            "run": one.run, "environment": one.environment, "instance": one.instance,
            "tool": one.tool,
            "state": "owed" if dry_run or one.id in problems else "destroyed",
            "problem": problems.get(one.id, ""),
        }
        for one in found.owed
    ]  # fmt: skip
    write_rows(rows, None, output)
    if not output.for_people:
        return
    done = dict.fromkeys(
        one.instance if one.lifetime == "per-run" else one.words
        for one in found.owed
        if one.id not in problems
    )
    if dry_run and found.cut_off:
        cut_off = counted(len(found.cut_off), "run was", "runs were")
        say(f"{cut_off} cut off, to be recorded as ended.")
    elif not dry_run and done:
        say(f"Taken away: {', '.join(done)}.")
    elif elsewhere:
        say(elsewhere)
    elif not rows:
        say("Nothing is left behind, as far as is known here.")
    for instance, run in dict.fromkeys((one.instance, one.run) for one in found.in_use):
        say(f"{instance} is of run {run[:8]}, which has not ended as far as is known here. If its machine"
            f" is gone: cxlocal env reap --run {run[:8]} -m 'its machine is gone'")  # fmt: skip


@env.command(examples=[("cxlocal env observe production", "what it says it runs")])
@click.argument("environment")
@json_option
@pass_app
def observe(app: App, environment: str, as_json: bool) -> None:
    """Ask an environment what it runs, by the tool that deploys there.

    Ends with 1 where that is not as the journal says: another version, an
    instance that is not there, a balancer that does not run.
    """
    from cxlocal.runner.observation import observe as ask
    from cxlocal.runner.observation import problem_of
    from cxlocal.runner.opening import find_run

    name = _deliverable(app)
    with app.journal(create=False) as journal:
        catch_up(journal)
        rows = _live(journal, name, environment)
        if not rows:
            raise UsageError(
                f"nothing of {name} is live in {environment}, as far as is known here",
                why="the journal here knows of no deployment there",
                hint="cxlocal env list shows what is where",
                name="nothing-live",
            )
        machine = make_machine(app, False, anywhere=True)
        source, record = find_run(machine, journal, rows[-1]["version_run"])
        seen = ask(machine, source, record, environment)
    if as_json:
        write_document(seen._asdict())
    elif seen.agrees is not None:
        health = {True: ", healthy", False: ", not healthy", None: ""}[seen.healthy]
        put(f"{environment} runs {seen.observed or 'nothing'}{health}")
    if problem := problem_of(seen, rows[-1]["version"]):
        raise problem


def _deliverable(app: App) -> str:
    """The deliverable of this folder. Raises UsageError without one."""
    return str(load_project(app, needed=True).deliverable)


def _live(journal: Journal, deliverable: str, environment: str) -> list[dict[str, Any]]:
    return journal.query(
        "SELECT * FROM deployments_now WHERE deliverable = ? AND instance = ? ORDER BY since",
        (deliverable, environment),
    )
