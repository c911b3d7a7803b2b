"""``cxlocal store move`` and ``store backup``: a store where it lies, on the machine that serves it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from cxlocal.address import argument_address, public_address
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import json_option, write_document
from cxlocal.commands.project import load_project, open_project_store
from cxlocal.commands.terminal import say
from cxlocal.exchange.destination import EMBEDDED
from cxlocal.text import duration_text, quoted

_STORE = click.option("--store", "url", metavar="URL", help="The store; else that of [store] url.")


def _relocation() -> Any:
    """The work itself, which is the stores' matter: the core imports none of the packages beside it."""
    return importlib.import_module("cxlocal_sync.relocation")


@command(
    examples=[
        (
            "cxlocal store move postgresql://cx@db.example.org/cx --store sqlite:///srv/cx/store.db",
            "from a file into a database",
        ),
        ("cxlocal store move sqlite:///new/store.db --store sqlite:///srv/cx/store.db", "disks"),
    ]
)
@click.argument("new", metavar="NEW")
@_STORE
@json_option
@pass_app
def move(app: App, new: str, url: str | None, as_json: bool) -> None:
    """Move a store to another place or database, as the same store.

    Numbers, history, blobs, members and their tokens go along. Given on the machine that serves it, also
    while it does: the old place ends when everything is copied, and machines release from their reserves until
    the server is started before the new one. Cut off, it is given again.
    """
    project = load_project(app)
    old = argument_address(url) or project.settings.store_url or EMBEDDED
    argument_address(new)
    relocation = _relocation()
    for each in (old, new):
        relocation.place_at(
            each, app.home()
        ).close()  # a wrong address is said before anything is opened
    stores = (open_project_store(app, project, old), open_project_store(app, project, new))
    try:
        moved = relocation.move(old, new, app.home(), stores, app.clock)
    finally:
        for store in stores:
            store.close()
    shown = public_address(new)
    members = relocation.members_path(new, app.home())
    placed = str(members) if members.is_file() else ""
    if as_json:
        write_document(
            {"from": public_address(old), "to": shown, **moved._asdict(), "members": placed}
        )
        return
    say(
        f"The store is at {shown} now: {moved.copied} events and grants and {moved.blobs} blobs were copied;"
        f" nobody was answered for {duration_text(moved.held_seconds)}."
    )
    if placed:
        say(f"Its members are in {placed}, for a server whose CXLOCAL_HOME is {app.home()}.")
    say(f"Where it is served: cxlocal serve --store {quoted(shown)}")
    say(f"Machines that name it themselves, without a server: cxlocal store moved {quoted(shown)}")


@command(
    examples=[
        ("cxlocal store backup /backup/cx --store sqlite:///srv/cx/store.db", "on the server"),
        ("cxlocal store backup /backup/cx --store postgresql://cx@db/cx", "members only"),
    ]
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@_STORE
@json_option
@pass_app
def backup(app: App, folder: Path, url: str | None, as_json: bool) -> None:
    """Copy a store in a file into FOLDER, while it is in use: file, members, blobs.

    Into the same folder again it brings it up to date. A database is backed up by its own means; of it the members,
    which are a file beside it, are copied, after it was backed up. Health says how old the last backup is.
    """
    project = load_project(app)
    chosen = argument_address(url) or project.settings.store_url or EMBEDDED
    relocation = _relocation()
    relocation.place_at(chosen, app.home()).close()
    made = relocation.back_up(chosen, app.home(), folder.absolute(), app.clock)
    if as_json:
        write_document(made._asdict())
        return
    said = ", ".join(made.files) or "nothing: nobody serves this database here"
    say(f"Backed up into {made.folder}: {said}; {made.blobs} new blobs.")
    if made.files:
        lies = relocation.members_path(chosen, app.home()).parent
        say(
            f"To be put back, where the server is stopped: cp -a {quoted(made.folder)}/. {quoted(str(lies))}/"
        )
