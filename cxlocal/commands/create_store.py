"""``cxlocal store create``: begin a store in a shared folder, a bucket or a file."""

from __future__ import annotations

import click

from cxlocal.allocation.request import known_node
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import json_option, write_document
from cxlocal.commands.project import agreed, load_project, open_project_store
from cxlocal.commands.terminal import say
from cxlocal.errors import UsageError
from cxlocal.exchange.state import store_state
from cxlocal.journal.file import Journal


@command(
    examples=[
        ("cxlocal store create folder:///mnt/team/releases", "in a folder all machines mount"),
        ("cxlocal store create sqlite:///srv/cx/store.db", "in a file, for homes of this machine"),
        ("cxlocal store create 's3://builds/releases?region=eu-west-1'", "in a bucket"),
        ("cxlocal store create folder:///home/ada/Dropbox/cx --synced", "this machine grants"),
        ("cxlocal store create --again", "what [store] url names was lost; then 'store recover'"),
    ]
)
@click.argument("url", required=False)
@click.option(
    "--synced",
    is_flag=True,
    help="A sync program carries the folder: this machine alone hands out numbers.",
)
@click.option(
    "--again",
    is_flag=True,
    help="What this journal's store was kept in is empty: make it anew for its machines.",
)
@json_option
@pass_app
def create(app: App, url: str | None, synced: bool, again: bool, as_json: bool) -> None:
    """Begin a store in a shared folder, a bucket or a file.

    Needed once, by one machine: an empty place is never taken for a new store, because that is what
    an unmounted share looks like. Of a folder or bucket it is tried first whether two machines can
    ever be given one number there.
    """
    opened = open_project_store(app, load_project(app), url)
    try:
        make = getattr(opened, "create", None)
        if make is None:
            raise UsageError(
                f"the store {opened.url} needs no creating",
                why="it is made at the first use, or by whoever serves it",
                hint="run 'cxlocal sync'",
                name="no-creating",
            )
        with app.journal() as journal:
            lineage = make(
                _own_node(journal) if synced else "",
                lineage=_own_lineage(journal) if again else "",
            )
    finally:
        opened.close()
    if url:
        agreed(app, url, "store create")
    if as_json:
        write_document({"url": opened.url, "lineage": lineage, "synced": synced})
        return
    say(f"There is a store at {opened.url} now.")
    if again:
        say("'cxlocal store recover' lets it hand out numbers, above all that may be in use.")
    else:
        say(f'Set it in cx.toml, [store] url = "{opened.url}"; then run "cxlocal sync".')


def _own_node(journal: Journal) -> str:
    with journal.write() as transaction:
        return known_node(transaction)


def _own_lineage(journal: Journal) -> str:
    lineage = store_state(journal.connection).lineage
    if not lineage:
        raise UsageError(
            "this journal belongs to no store yet",
            why="it was never in contact with one, so none can be made anew for it",
            hint="leave out --again: 'cxlocal store create URL'",
            name="no-store-yet",
        )
    return lineage
