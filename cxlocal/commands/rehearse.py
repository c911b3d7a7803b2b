"""``cxlocal rehearse``: try the process on the working tree, without leaving a trace in releases."""

from __future__ import annotations

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import json_option
from cxlocal.commands.run import carry_out
from cxlocal.runner.request import Request


@command(
    examples=[
        ("cxlocal rehearse", "try the whole process as far as it may go without a release"),
        ("cxlocal rehearse --to unit", "only this stage and what it needs"),
    ]
)
@click.option("--to", metavar="NAME", help="Go as far as this stage, environment or promotion.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Stages at the same time.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with the run.")
@json_option
@pass_app
def rehearse(app: App, to: str | None, jobs: int | None, reason: str, as_json: bool) -> int:
    """Try the process on the working tree, without a release.

    It works on a copy of the tree, uncommitted changes included. It takes no number, promotes and
    publishes nothing, and touches no lasting environment: those stages are left out.
    """
    request = Request(to=to, jobs=jobs, reason=reason, rehearsal=True)
    return carry_out(app, request, as_json=as_json)
