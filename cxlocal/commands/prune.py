"""``cxlocal prune``: remove what need not be kept on this machine."""

from __future__ import annotations

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import Output, rows_options, write_rows
from cxlocal.commands.project import load_project
from cxlocal.commands.terminal import say
from cxlocal.config.types import Keep
from cxlocal.errors import Trouble
from cxlocal.runner.retention import Rules, find_removals, remove
from cxlocal.text import parse_duration

COLUMNS = ("kind", "run", "path", "size")


@command(
    examples=[
        ("cxlocal prune --dry-run", "show what would go"),
        ("cxlocal prune", "remove it; events stay for ever"),
    ]
)
@click.option("--dry-run", is_flag=True, help="Show what would go and remove nothing.")
@rows_options
@pass_app
def prune(app: App, dry_run: bool, output: Output) -> None:
    """Remove checkouts, logs and artifacts not to be kept.

    [keep] of cx.toml says what stays, of reports, too. What is live, what was live before it, and
    what is still open always stay. Every removal is recorded.
    """
    project = load_project(app, needed=True)
    assert project.config is not None
    with app.journal(create=False) as journal:
        name = project.config.deliverable.name
        found = find_removals(journal, name, rules(project.config.keep), app.clock.now_ms())
        failed = [] if dry_run else remove(journal, found)
    rows = [one._asdict() for one in found]
    write_rows(rows, COLUMNS if output.for_people else None, output)
    left = [one for one, _ in failed]
    freed = sum(one.size for one in found if one not in left)
    verb = "could be freed" if dry_run else "freed"
    say(f"{freed / 1_000_000:.1f} MB {verb}, {len(found) - len(left)} things")
    if failed:
        raise Trouble(
            f"{len(failed)} things could not be removed",
            why="; ".join(f"{one.path}: {why}" for one, why in failed[:3]),
            hint="see who owns them, then run it again",
            name="not-removed",
        )


def rules(keep: Keep) -> Rules:
    """``[keep]`` in numbers. Raises ConfigError where it was not checked before."""
    return Rules(
        int(parse_duration(keep.logs) * 1000),
        int(parse_duration(keep.reports) * 1000),
        keep.artifacts,
        keep.checkouts,
    )
