"""``cxlocal prune``: remove what need not be kept on this machine."""

from __future__ import annotations

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import Output, rows_options, write_rows
from cxlocal.commands.project import Project, load_project, outlets_of
from cxlocal.commands.terminal import say, warn
from cxlocal.config.types import Keep
from cxlocal.errors import Trouble
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.retention import NO_HOLD, Hold, Rules, find_removals, remove
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

    [keep] of cx.toml says what stays, of reports, too. A log that a sink still awaits stays for
    [sinks] hold. What is live, what was live before it, and
    what is still open always stay. Every removal is recorded.
    """
    project = load_project(app, needed=True)
    assert project.config is not None
    with app.journal(create=False) as journal:
        name = project.config.deliverable.name
        hold = held(app, journal, project)
        kept = rules(project.config.keep)
        found = find_removals(journal, name, kept, app.clock.now_ms(), hold)
        failed = [] if dry_run else remove(journal, found)
    rows = [one._asdict() for one in found]
    write_rows(rows, COLUMNS if output.for_people else None, output)
    left = [one for one, _ in failed]
    freed = sum(one.size for one in found if one not in left)
    verb = "could be freed" if dry_run else "freed"
    say(f"{freed / 1_000_000:.1f} MB {verb}, {len(found) - len(left)} things")
    for one in found:
        if one.awaited:
            verb = "would be" if dry_run else "was"
            warn(
                f"the log of run {one.run[:8]} {verb} given up: {one.awaited} has not got all of it"
            )
    if failed:
        raise Trouble(
            f"{len(failed)} things could not be removed",
            why="; ".join(f"{one.path}: {why}" for one, why in failed[:3]),
            hint="see who owns them, then run it again",
            name="not-removed",
        )


def held(app: App, journal: Journal, project: Project) -> Hold:
    """What sinks still await: nothing where none takes logs."""
    if "logs" not in project.settings.sinks:
        return NO_HOLD
    from cxlocal.sinks.delivery import Around
    from cxlocal.sinks.handing import awaited

    around = Around(*outlets_of(app, project))
    catch_up(journal)
    since = around.since_ms(journal)
    found = {
        one.run: target.to
        for target in around.targets
        if not target.idle
        for one in awaited(journal, target, 0, own=True)
    }
    return Hold(found, since)


def rules(keep: Keep) -> Rules:
    """``[keep]`` in numbers. Raises ConfigError where it was not checked before."""
    return Rules(
        int(parse_duration(keep.logs) * 1000),
        int(parse_duration(keep.reports) * 1000),
        keep.artifacts,
        keep.checkouts,
    )
