"""``cxlocal store``: what the store says, and recovering one that lost part of its memory."""

from __future__ import annotations

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import group
from cxlocal.commands.output import json_option, write_document
from cxlocal.commands.terminal import say


@group(
    examples=[
        ("cxlocal store recover", "go on handing out numbers after a store was restored or moved"),
    ]
)
def store() -> None:
    """Recover a store that was restored, copied, moved or lost."""


@store.command(
    examples=[
        ("cxlocal store recover", "continue 1000 numbers above everything that may be in use"),
        ("cxlocal store recover --margin 5000", "more, where many machines released meanwhile"),
    ]
)
@click.option(
    "--margin",
    type=click.IntRange(1, 10**9),
    default=1000,
    show_default=True,
    help="Numbers to leave free above the highest one known.",
)
@json_option
@pass_app
def recover(app: App, margin: int, as_json: bool) -> None:
    """Let a store that stopped handing out numbers go on, above all that may be in use."""
    from cxlocal.commands.project import load_project, open_project_store
    from cxlocal.commands.sync import describe
    from cxlocal.exchange.sync import recover_store

    opened = open_project_store(app, load_project(app))
    try:
        with app.journal() as journal:
            report = recover_store(journal, opened, margin=margin)
    finally:
        opened.close()
    if as_json:
        write_document(report._asdict())
    else:
        say(f"The store goes on above everything that may be in use. {describe(report)}")
