"""``cxlocal mirror``: remotes of this machine, for the night the git host is down."""

from __future__ import annotations

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import group
from cxlocal.commands.output import Output, rows_options, write_rows
from cxlocal.commands.terminal import say
from cxlocal.revision.mirrors import add_mirror, list_mirrors, remove_mirror
from cxlocal.revision.repository import Repository, open_repository, repository_key, resolve

COLUMNS = ("location", "added_at")


@group(
    examples=[
        ("cxlocal mirror add /media/usb/webshop.git", "make it, push to it, release from it"),
        ("cxlocal mirror list", "the mirrors of this repository"),
    ]
)
def mirror() -> None:
    """Keep a remote of this machine for when the git host is down.

    A mirror is a bare repository in a folder, or an address git can push to. A commit that only a
    mirror holds may be released; the run says "mirror only" until the usual remote holds it too.
    """


@mirror.command(
    examples=[
        ("cxlocal mirror add /media/usb/webshop.git", "a folder, made if it is not there"),
        ("cxlocal mirror add ssh://backup/webshop.git", "another git server"),
    ]
)
@click.argument("location")
@pass_app
def add(app: App, location: str) -> None:
    """Push this repository to LOCATION and remember it as a mirror.

    All branches and tags and the commit checked out here are pushed, and looked for afterwards. Do
    it again after each new commit while the git host is down.
    """
    repository = _repository(app)
    revision = resolve(repository)
    home, commit = app.home(), revision.commit
    done = add_mirror(repository, home, location, clock=app.clock, commit=commit)
    if done.created:
        say(f"Made a bare repository in {done.mirror.location}.")
    say(f"It holds {revision.commit[:12]} ({revision.subject}) on {done.ref}.")
    write_rows([_row(done.mirror.location, done.mirror.added_at)], COLUMNS)


@mirror.command(name="list", examples=[("cxlocal mirror list --json", "the same for a program")])
@rows_options
@pass_app
def list_(app: App, output: Output) -> None:
    """List the mirrors of this repository on this machine."""
    found = list_mirrors(app.home(), _key(_repository(app)))
    write_rows([_row(known.location, known.added_at) for known in found], COLUMNS, output)
    if not found and output.for_people:
        say("This repository has no mirror here. cxlocal mirror add PATH makes one.")


@mirror.command(
    examples=[("cxlocal mirror remove /media/usb/webshop.git", "what it holds stays there")]
)
@click.argument("location")
@pass_app
def remove(app: App, location: str) -> None:
    """Forget a mirror; what it holds stays there."""
    gone = remove_mirror(app.home(), _key(_repository(app)), location)
    say(f"{gone.location} is no mirror of this repository any more.")


def _repository(app: App) -> Repository:
    return open_repository(app.directory)


def _key(repository: Repository) -> str:
    return repository_key(repository, resolve(repository).commit)


def _row(location: str, added_at: str) -> dict[str, object]:
    return {"location": location, "added_at": added_at}
