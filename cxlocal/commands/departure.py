"""``cxlocal env release`` and ``env forget``: what stands somewhere and is nobody's here any more; ``env settle``: what is
whole again; and a mutable component that is to go."""

from __future__ import annotations

import sys

import click

from cxlocal.commands.at_place import at_place, place_doors
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import Command
from cxlocal.commands.project import load_project, make_machine, plan_of
from cxlocal.commands.terminal import say
from cxlocal.errors import Trouble, UsageError
from cxlocal.exchange.standing import require
from cxlocal.journal.file import Journal
from cxlocal.runner import component_departure, reaping
from cxlocal.runner.environments import closed_words
from cxlocal.runner.placements import stands
from cxlocal.runner.recovery import destroy_environment
from cxlocal.runner.resources import standing_in
from cxlocal.runner.source import find_actor_at
from cxlocal.text import quoted


@click.command(
    "release",
    cls=Command,
    examples=[
        ("cxlocal env release production db -m 'the data team has it'", "it stays, and is not ours")
    ],
)
@click.argument("environment")
@click.argument("component")
@click.option("-m", "--reason", required=True, metavar="TEXT", help="Why; kept with it.")
@pass_app
def release(app: App, environment: str, component: str, reason: str) -> None:
    """Say that a component that is changed in place belongs to others from now on.

    Nothing touches it any more: it is not changed, not destroyed with its environment, and not owed. For a component
    that left the file, or that is given there (url); a deployment stops until somebody says what becomes of it.
    """
    project = load_project(app, needed=True)
    assert project.root is not None
    project.manager.add_project(project.root, app.home())  # only a tool says what rotates itself
    name = str(project.deliverable)
    component_departure.refuse_present(plan_of(app, project), environment, component)
    with (
        app.journal(create=False) as journal,
        at_place(app, journal, name, environment, "env release"),
    ):
        component_departure.release(journal, name, environment, component, reason)
    say(f"{component} of {environment} is released: nothing here touches it any more")


@click.command(
    "settle",
    cls=Command,
    examples=[("cxlocal env settle production db -m 'finished 0008 by hand'", "it is whole again")],
)
@click.argument("environment")
@click.argument("component")
@click.option("-m", "--reason", required=True, metavar="TEXT", help="Why; kept with it.")
@pass_app
def settle(app: App, environment: str, component: str, reason: str) -> None:
    """Say that a component that was changed in part is whole again.

    A change in place that stopped halfway is flagged as half applied until the next deployment there, which applies it
    again. Where somebody has finished it by hand, or taken it back, this says so before that; it changes nothing else.
    """
    name = str(load_project(app, needed=True).deliverable)
    actor = find_actor_at(app.directory, app.environ)
    with (
        app.journal(create=False) as journal,
        at_place(app, journal, name, environment, "env settle"),
    ):
        component_departure.settle(journal, name, environment, component, who=actor.id, why=reason)
    say(f"{component} in {environment} counts as whole again")


@click.command(
    "forget",
    cls=Command,
    examples=[("cxlocal env forget 4f1c22aa -m 'the host was scrapped'", "nobody can remove it")],
)
@click.argument("resource")
@click.option("-m", "--reason", required=True, metavar="TEXT", help="Why; kept with it.")
@pass_app
def forget(app: App, resource: str, reason: str) -> None:
    """Say that nobody will ever take away something that a tool made.

    It is recorded as given up, never as destroyed, and is not owed any more.
    """
    name = str(load_project(app, needed=True).deliverable)
    with app.journal(create=False) as journal:
        require(journal, name, "push")
        with place_doors(app, journal, "env forget") as doors:
            made = reaping.find_made(journal, resource)
            with doors.at(made.deliverable, made.instance):
                gone = reaping.forget(journal, resource, reason)
    say(f"{gone.words} is given up.")


@click.command(
    "destroy",
    cls=Command,
    examples=[
        ("cxlocal env destroy staging", "take it down, after asking"),
        ("cxlocal env destroy production db", "one component that is changed in place"),
    ],
)
@click.argument("environment")
@click.argument("component", default="")
@click.option("-m", "--reason", default="", metavar="TEXT", help="Why; kept with it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def destroy(app: App, environment: str, component: str, reason: str, yes: bool) -> None:
    """Take down a lasting environment, or one mutable component of it.

    The tools that made it destroy what they made, by the handles they made durable, on whatever
    machine that was; what lives on the machine that made it is destroyed there alone. What plain
    commands made no tool can destroy: take it down yourself; it is recorded as closed, not destroyed.
    It is gone from the board afterwards; its history stays.
    """
    name = str(load_project(app, needed=True).deliverable)
    what = f"{component} of {environment}" if component else environment
    with app.journal(create=False) as journal:
        require(journal, name, "push")
        with place_doors(app, journal, "env destroy") as doors:
            _require_standing(journal, name, environment)
            _ask(what, yes)
            with doors.at(name, environment) as door:
                _require_standing(journal, name, environment)
                machine = make_machine(app, False, anywhere=True)
                if component:
                    unpaid = component_departure.destroy(
                        journal, machine, name, environment, component, door
                    )
                else:
                    reason = reason or "destroyed by command"
                    unpaid = destroy_environment(journal, machine, name, environment, reason, door)
        left = "" if component else closed_words(journal, name, environment)
    if unpaid:
        again = f"cxlocal env destroy {quoted(environment)}" + f" {quoted(component)}" * bool(
            component
        )
        raise Trouble(
            f"{what} could not be destroyed",
            why="; ".join(f"{one.component or one.tool}: {why}" for one, why in unpaid[:3]),
            hint=f"put right what they say, then again: {again}",
            name="not-destroyed",
        )
    say(left or f"{what} is gone.")


def _require_standing(journal: Journal, deliverable: str, environment: str) -> None:
    """Raise UsageError where nothing is there to be taken down: neither the environment nor what was left of it."""
    if stands(journal, deliverable, environment) or standing_in(journal, deliverable, environment):
        return
    raise UsageError(
        f"{environment} does not stand",
        why=f"the journal knows no such environment of {deliverable}, or it was destroyed",
        hint="cxlocal env list shows those that do",
        name="no-environment",
    )


def _ask(what: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"destroying {what} needs a yes",
            why="nobody is there to be asked",
            hint="say it in the command: --yes",
            name="needs-yes",
        )
    click.confirm(f"Destroy {what} and everything that runs there?", abort=True, err=True)
