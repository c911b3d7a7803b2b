"""``cxlocal sinks``: how far each sink is, deliver now, and send a stretch again."""

from __future__ import annotations

from typing import Any

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.find_run import find_run
from cxlocal.commands.frame import command
from cxlocal.commands.output import Output, rows_options, write_rows
from cxlocal.commands.project import load_project, outlets_of
from cxlocal.commands.status import named_here
from cxlocal.commands.terminal import say
from cxlocal.domain import SINK_KINDS
from cxlocal.errors import Trouble, UsageError
from cxlocal.journal.rebuild import catch_up
from cxlocal.sinks.chosen import Target
from cxlocal.sinks.cursor import replay as move_back
from cxlocal.sinks.cursor import standing
from cxlocal.sinks.delivery import COMMAND_SECONDS, Around, deliver, words_of
from cxlocal.text import counted

COLUMNS = ("takes", "to", "sent", "events_behind", "refused", "last", "state")


@command(
    examples=[
        ("cxlocal sinks", "how far each sink is"),
        ("cxlocal sinks --now", "deliver what waits, and say what could not be"),
        ("cxlocal sinks --replay 2.7.14 --kind logs", "send all logs since that run once more"),
    ]
)
@click.option("--now", is_flag=True, help="Deliver what waits, also to what did not answer before.")
@click.option("--replay", metavar="RUN", help="Send everything since this run once more.")
@click.option("--kind", type=click.Choice(SINK_KINDS), help="Replay: only these sinks.")
@rows_options
@pass_app
def sinks(app: App, now: bool, replay: str | None, kind: str | None, output: Output) -> None:
    """Show how far each sink is, where logs, figures and events go.

    What is recorded waits in the journal and the logs of this machine until a sink has it: 'cxlocal
    run' delivers at its end, 'cxlocal sync' whenever it is called. What is sent once more has the
    same ids as before.
    """
    project = load_project(app)
    around = Around(*outlets_of(app, project))
    wanted = around.targets
    if not wanted:
        raise UsageError(
            "no sink is named",
            why="nothing in [sinks] of cx.toml or cx.local.toml, and no CXLOCAL_SINK_LOGS or the like",
            hint='[sinks] logs = { to = "syslog+tcp://logs.example.org:601" }; docs/sinks.md',
            name="no-sinks",
        )
    with app.journal(create=False) as journal:
        catch_up(journal)
        if replay is not None:
            run = find_run(journal, replay, here=named_here(app))["run"]
            chosen = [one for one in wanted if kind in (None, one.kind)]
            moved = sum(move_back(journal, one, run) for one in chosen)
            say(
                f"{counted(moved, 'place')} moved back to run {run[:8]};"
                " 'cxlocal sinks --now' delivers from there on."
                if moved
                else f"Nothing has been delivered since run {run[:8]} that could be sent again."
            )
        left = words_of(deliver(journal, around, COMMAND_SECONDS, use_breaker=False)) if now else []
        rows = [_row(standing(journal, one), one) for one in wanted]
    write_rows(rows, COLUMNS if output.for_people else None, output)
    if left:
        raise Trouble(
            "not everything was delivered",
            why="; ".join(left),
            hint="nothing is lost: 'cxlocal sync' tries again; 'cxlocal sinks' shows how far each is",
            name="not-delivered",
        )


def _row(found: dict[str, Any], target: Target) -> dict[str, Any]:
    state = target.idle or ("waits" if found["events_behind"] else "has everything")
    if not target.idle and found["why"]:
        state = f"{state}: {found['why']}"
    return {
        "takes": target.kind, "to": target.to, "sent": found["sent"],
        "events_behind": found["events_behind"], "refused": found["refused"],
        "last": found["at"] or None, "state": state, "named_in": target.origin,
        "refused_why": found["refused_why"],
    }  # fmt: skip
