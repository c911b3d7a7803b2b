"""``cxlocal store``: beginning one, who takes part, what it knows, and recovering one that lost its
memory."""

from __future__ import annotations

import sys

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.create_store import create
from cxlocal.commands.follow import follow
from cxlocal.commands.frame import group
from cxlocal.commands.members import invite, join, revoke, status
from cxlocal.commands.output import json_option, write_document
from cxlocal.commands.project import load_project, open_project_store
from cxlocal.commands.store_adopt import adopt
from cxlocal.commands.store_moved import moved
from cxlocal.commands.sync import describe
from cxlocal.commands.terminal import say
from cxlocal.errors import UsageError
from cxlocal.exchange.store import Store
from cxlocal.exchange.sync import recover_store
from cxlocal.numbers.log import AHEAD_MAX, COUNT_MAX


@group(
    examples=[
        ("cxlocal store status", "machines, last contacts, reserves, what waits"),
        ("cxlocal store follow webshop engine", "hold the history of these deliverables only"),
        ("cxlocal store join https://store.example.org:8377 --code CODE", "enrol this machine"),
        ("cxlocal store create folder:///mnt/team", "begin a store in a shared folder"),
        ("cxlocal store adopt https://store.example.org:8377", "move to a shared store"),
        ("cxlocal store moved URL", "the same store has another address now"),
        ("cxlocal store recover", "go on handing out numbers after a store was restored or moved"),
    ]
)
def store() -> None:
    """Look after the store: begin one, members, status, recovery."""


for _member in (status, follow, create, adopt, moved, join, invite, revoke):
    store.add_command(_member)


@store.command(
    examples=[
        ("cxlocal store recover", "continue 1000 numbers above everything that may be in use"),
        ("cxlocal store recover --margin 5000", "more, where many machines released meanwhile"),
    ]
)
@click.option(
    "--margin",
    type=click.IntRange(AHEAD_MAX + COUNT_MAX, 10**9),  # above any reserve that may be lost
    default=1000,
    show_default=True,
    help="Numbers to leave free above the highest one known.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def recover(app: App, margin: int, yes: bool, as_json: bool) -> None:
    """Let a store that stopped handing out numbers go on, above all that may be in use.

    Where its file is not there, a new one is made in its place: make sure first that the disk it
    lies on is really gone, and not only unmounted.
    """
    opened = open_project_store(app, load_project(app))
    _ask(opened, margin, yes)
    try:
        with app.journal() as journal:
            report = recover_store(journal, opened, margin=margin)
    finally:
        opened.close()
    if as_json:
        write_document(report._asdict())
    else:
        say(f"The store goes on above everything that may be in use. {describe(report)}")


def _ask(opened: Store, margin: int, yes: bool) -> None:
    """Skipping numbers for good, perhaps beside a store that is only away, wants a yes."""
    path = getattr(opened, "path", None)
    gone = path is not None and not path.exists()
    what = f"A NEW store is made at {path}, which is not there" if gone else "The store goes on"
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "recovering a store needs a yes",
            why=f"{what}; {margin} numbers of each line are skipped for good, and nobody is there"
            " to be asked",
            hint=f"cxlocal store recover --margin {margin} --yes",
            name="needs-yes",
        )
    click.confirm(
        f"{what}, {margin} numbers of each line are skipped. Go on?", abort=True, err=True
    )
