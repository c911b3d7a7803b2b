"""``cxlocal trust``: allow the plugins of this project to run on this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import Output, put, rows_options, write_rows
from cxlocal.commands.terminal import harmless, say
from cxlocal.errors import Refused, UsageError
from cxlocal.hooks import trust as trusting
from cxlocal.hooks.trust import FOLDER, read_project
from cxlocal.text import utc_text

if TYPE_CHECKING:
    from cxlocal.hooks.trust import ProjectPlugins


@command(
    examples=[
        ("cxlocal trust", "show the files and ask"),
        ("cxlocal trust --digest", "what to put in CXLOCAL_TRUST for CI"),
        ("cxlocal trust --list", "what was trusted on this machine"),
    ]
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--digest", "only_digest", is_flag=True, help="Print the digest; change nothing.")
@click.option("--list", "listing", is_flag=True, help="List what was trusted; change nothing.")
@click.option("--remove", metavar="DIGEST", help="Take it back.")
@rows_options
@pass_app
def trust(
    app: App, yes: bool, only_digest: bool, listing: bool, remove: str | None, output: Output
) -> None:
    """Allow the plugins of this project to run on this machine.

    The files in .cx/plugins are code of the repository and run with your rights. Read them first.
    Any change to them makes another digest, and the question is asked again.
    """
    if listing:
        known = trusting.entries(app.home())
        rows = [{"digest": digest, **entry} for digest, entry in known.items()]
        write_rows(rows, ("digest", "folder", "at"), output)
        return
    if remove is not None:
        trusting.remove(app.home(), remove)
        say("It will not run here any more.")
        return
    found = _found(app)
    if only_digest:
        put(found.digest)
        return
    if found.digest in trusting.trusted(app.home(), app.environ):
        say("These plugins are trusted here already.")
        return
    _show(found)
    if not yes:
        _ask()
    at = utc_text(app.clock.now_ms())
    trusting.add(app.home(), found.digest, folder=found.folder, at=at)
    say(f"Trusted on this machine. In CI: CXLOCAL_TRUST={found.digest}")


def _found(app: App) -> ProjectPlugins:
    found = read_project(app.project() / FOLDER)
    if not found.files:
        raise UsageError(
            "this project has no plugins of its own",
            why=f"{found.folder} holds no .py file",
            hint="cxlocal plugins lists what is installed",
            name="no-project-plugins",
        )
    return found


def _show(found: ProjectPlugins) -> None:
    for file in found.files:
        lines = file.source.count(b"\n")
        say(f"  {harmless(str(file.path))}  ({lines} lines)")


def _ask() -> None:
    """Raises UsageError without a person to ask, Refused when the answer is no."""
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody is here to be asked",
            why="trusting takes a person who has read the files",
            hint="read the files, then: cxlocal trust --yes",
            name="nobody-to-ask",
        )
    if not click.confirm("Have you read them, and may they run with your rights?", err=True):
        raise Refused(
            "nothing was trusted",
            why="the question was not answered with yes",
            hint="read the files, then: cxlocal trust",
        )
