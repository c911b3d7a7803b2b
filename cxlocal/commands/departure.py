"""``cxlocal env release`` and ``env forget``: what stands somewhere and is nobody's here any more; ``env settle``: what is
whole again; and a mutable component that is to go."""

from __future__ import annotations

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import Command
from cxlocal.commands.project import load_project, make_machine, send_copies
from cxlocal.commands.terminal import say
from cxlocal.errors import Trouble
from cxlocal.exchange.standing import require
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.resolve import resolve
from cxlocal.runner import component_departure, reaping
from cxlocal.runner.source import find_actor_at


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
    assert project.config is not None
    name = project.config.deliverable.name
    component_departure.refuse_present(resolve(project.config), environment, component)
    with app.journal(create=False) as journal:
        require(journal, name, "push")
        catch_up(journal)
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
    with app.journal(create=False) as journal:
        require(journal, name, "push")
        send_copies(app, journal, patient=False)
        catch_up(journal)
        component_departure.settle(journal, name, environment, component, who=actor.id, why=reason)
        send_copies(app, journal, patient=False)
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
        catch_up(journal)
        gone = reaping.forget(journal, resource, reason)
    say(f"{gone.component or gone.tool} {gone.id[:8]} in {gone.instance} is given up.")


def destroy_component(
    app: App, journal: Journal, deliverable: str, environment: str, component: str
) -> None:
    """Take one mutable component away. Raises UsageError where no tool can, Trouble where its tool did not."""
    require(journal, deliverable, "push")
    machine = make_machine(app, False, anywhere=True)
    unpaid = component_departure.destroy(journal, machine, deliverable, environment, component)
    if unpaid:
        raise Trouble(
            f"{component} of {environment} could not be destroyed",
            why="; ".join(f"{one.tool}: {why}" for one, why in unpaid[:3]),
            hint="put right what they say, then run it again",
            name="not-destroyed",
        )
    say(f"{component} of {environment} is gone.")
