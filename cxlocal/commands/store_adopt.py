"""``cxlocal store adopt``: from a store of one's own to a shared one."""

from __future__ import annotations

import click

from cxlocal.address import argument_address
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import json_option, write_document
from cxlocal.commands.project import agreed, load_project, open_project_store
from cxlocal.commands.sync import describe
from cxlocal.commands.terminal import say
from cxlocal.exchange.adoption import Moved, move
from cxlocal.exchange.destination import EMBEDDED
from cxlocal.exchange.state import store_state
from cxlocal.exchange.sync import SyncReport, synchronise
from cxlocal.journal.rebuild import catch_up

SYNC_SECONDS = 60.0


@command(
    examples=[
        ("cxlocal store adopt https://store.example.org:8377", "move there, after 'store join'"),
        ("cxlocal store adopt sqlite:///srv/cx/store.db", "a file that several homes share"),
    ]
)
@click.argument("url")
@click.option("--with-others", is_flag=True, help="More machines use the old store, and follow.")
@click.option(
    "--conflicts-known", is_flag=True, help="Both may have counted the same numbers: show them so."
)
@json_option
@pass_app
def adopt(app: App, url: str, with_others: bool, conflicts_known: bool, as_json: bool) -> None:
    """Move this machine's history and counters to a shared store.

    The old store hands out nothing more, the new one counts above everything it ever handed out, and
    gets all history that is here. Set [store] url to the new one afterwards, in every project of
    this machine. A move that was cut off goes on when it is given again.
    """
    argument_address(url)  # raises where it holds a password
    project = load_project(app)
    with app.journal() as journal:
        before = store_state(journal.connection).url
        old = open_project_store(app, project, before or EMBEDDED)
        new = open_project_store(app, project, url)
        try:
            catch_up(journal)
            moved = move(journal, old, new, others=with_others, conflicts=conflicts_known)
            report = synchronise(journal, new, use_breaker=False, budget_seconds=SYNC_SECONDS)
            catch_up(journal)
        finally:
            old.close()
            new.close()
    agreed(app, url, "store adopt")
    if as_json:
        write_document({**moved._asdict(), "from": before, "to": url, "sync": report._asdict()})
    else:
        _tell(moved, report, url, configured=project.settings.store_url == url)


def _tell(moved: Moved, report: SyncReport, url: str, *, configured: bool) -> None:
    if moved.already:
        say("This machine belongs to that store, or to none yet: there is nothing to move.")
    else:
        lines = f"{moved.lines} line" + ("" if moved.lines == 1 else "s")
        say(f"{url} goes on counting {lines} and gets {moved.events} events.")
    say(describe(report))
    if not configured:
        say(f'To do: [store] url = "{url}" in cx.toml or cx.local.toml of every project here')
