"""``cxlocal store follow``: whose history this machine holds."""

from __future__ import annotations

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import json_option, write_document
from cxlocal.commands.terminal import say
from cxlocal.domain import deliverable_id
from cxlocal.errors import UsageError
from cxlocal.exchange.followed import choose, chosen


@command(
    examples=[
        ("cxlocal store follow", "show whose history this machine holds"),
        ("cxlocal store follow webshop engine", "fetch the history of these two from now on"),
        ("cxlocal store follow --all", "of every deliverable again"),
    ]
)
@click.argument("deliverables", nargs=-1, metavar="[DELIVERABLE]...")
@click.option("--all", "everything", is_flag=True, help="Follow every deliverable.")
@json_option
@pass_app
def follow(app: App, deliverables: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Choose whose history this machine fetches from the store.

    Without a choice it is that of every deliverable. What is here stays here. Deliverables that this
    machine takes numbers of are always followed, and one that is worked on here is added by itself.
    """
    if deliverables and everything:
        raise UsageError(
            "name deliverables or give --all",
            why="both were given",
            hint="cxlocal store follow --all",
            name="bad-options",
        )
    names = [deliverable_id(name) for name in deliverables]
    with app.journal() as journal:
        before = chosen(journal)
        if names or everything:
            choose(journal, names or None)
        now = chosen(journal)
    if as_json:
        write_document({"follows": None if now is None else sorted(now)})
        return
    if now is None:
        say("This machine holds the history of every deliverable.")
    else:
        say(f"This machine follows {', '.join(sorted(now))}.")
    if now != before:
        say("'cxlocal sync' fetches what is missing; what is here stays.")
