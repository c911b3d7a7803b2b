"""The command ``cxlocal`` itself: global options, and what happens without a command."""

from __future__ import annotations

import os

import click

from cxlocal.commands.frame import CONTEXT_SETTINGS, RootGroup
from cxlocal.commands.table import COMMANDS
from cxlocal.errors import UsageError
from cxlocal.processes.environment import WITHIN
from cxlocal.version import VERSION

EXAMPLES = (
    ("cxlocal demo", "see a whole release, online and offline"),
    ("cxlocal init", "describe the release of this repository"),
    ("cxlocal run", "make a release"),
    ("cxlocal status", "what is live where"),
)


def _enter(directory: str | None) -> None:
    if directory is None:
        return
    try:
        os.chdir(directory)
    except OSError as error:
        raise UsageError(
            f"-C {directory}: cannot go there",
            why=error.strerror or "",
            hint="name a folder that you may enter",
            name="no-directory",
        ) from error


def _blocked_names(values: tuple[str, ...]) -> tuple[str, ...]:
    """The names in ``-p no:NAME``. Raises UsageError for any other form."""
    for value in values:
        if not value.startswith("no:") or len(value) == len("no:"):
            raise UsageError(
                f"-p {value} is not understood",
                why="-p only leaves plugins out",
                hint="write -p no:NAME to leave a plugin out",
            )
    return tuple(value.removeprefix("no:") for value in values)


@click.command(
    "cxlocal",
    cls=RootGroup,
    invoke_without_command=True,
    context_settings={**CONTEXT_SETTINGS, "max_content_width": 100},
    examples=tuple(example for example in EXAMPLES if example[0].split()[1] in COMMANDS),
)
@click.option("-C", "directory", metavar="DIR", help="Start in DIR.")
@click.option("--debug", is_flag=True, help="Show the trace of an error.")
@click.option("-q", "--quiet", count=True, help="Say less.")
@click.option("-v", "--verbose", count=True, help="Say more.")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="Colours in words.",
)
@click.option(
    "--progress",
    type=click.Choice(["auto", "plain"]),
    default="auto",
    help="Lines drawn over, or one after the other.",
)
@click.option("-p", "plugins", metavar="no:NAME", multiple=True, help="Leave out a plugin.")
@click.version_option(VERSION, message="%(prog)s %(version)s")
@click.pass_context
def cli(
    ctx: click.Context,
    directory: str | None,
    debug: bool,
    quiet: int,
    verbose: int,
    color: str,
    progress: str,
    plugins: tuple[str, ...],
) -> None:
    """A release process you carry with you: the same run on a laptop and on any CI.

    Without a command: the status of the project you stand in.
    """
    # Not needed for --help, which never comes here.
    from cxlocal.commands.context import App

    if WITHIN in os.environ:
        from cxlocal.runner.nesting import disown

        disown(os.environ)
    del progress  # read from the context by cxlocal.commands.terminal
    _enter(directory)
    ctx.color = None if color == "auto" else color == "always"
    ctx.obj = App(
        environ=os.environ,
        verbosity=verbose - quiet,
        debug=debug,
        blocked=_blocked_names(plugins),
    )
    if ctx.invoked_subcommand is None:
        _without_command(ctx)


def _without_command(ctx: click.Context) -> None:
    """``status`` inside a project, the help elsewhere."""
    from cxlocal.config.locate import find_config

    status = "status" if "status" in COMMANDS and find_config(os.getcwd()) else None
    found = cli.get_command(ctx, status) if status else None
    if found is None:
        click.echo(ctx.get_help())
        return
    with found.make_context(status, [], parent=ctx) as below:
        found.invoke(below)
