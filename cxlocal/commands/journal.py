"""``cxlocal journal``: where the journal is, and making its tables anew."""

from __future__ import annotations

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import group
from cxlocal.commands.terminal import say


@group(
    examples=[
        ("cxlocal journal path", "the file that holds the history of this machine"),
        ("cxlocal journal rebuild", "make all tables anew from the events"),
    ]
)
def journal() -> None:
    """Find the journal of this machine, or rebuild its tables."""


@journal.command(examples=[("sqlite-utils tables $(cxlocal journal path)", "open it elsewhere")])
@pass_app
def path(app: App) -> None:
    """Print where the journal of this machine is."""
    click.echo(app.journal_path())


@journal.command(examples=[("cxlocal journal rebuild", "after 'cxlocal verify' asked for it")])
@pass_app
def rebuild(app: App) -> None:
    """Make all tables anew from the events; no event is touched."""
    from cxlocal.journal.rebuild import rebuild as make_anew

    with app.journal(create=False) as opened:
        events = make_anew(opened)
    say(f"All tables were made anew from {events} events.")
