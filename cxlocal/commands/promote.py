"""``cxlocal promote``: a decision about a version, recorded with who took it and why."""

from __future__ import annotations

import click

from cxlocal.commands.choose_run import choose_run
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.joined import piece_journal, send_passing
from cxlocal.commands.output import json_option, write_document
from cxlocal.commands.project import bytes_here_alone, make_machine
from cxlocal.commands.terminal import say
from cxlocal.errors import UsageError
from cxlocal.journal.machine import goes_away
from cxlocal.runner.decision import PromotionRequest, decide
from cxlocal.runner.opening import find_run


@command(
    examples=[
        ("cxlocal promote 2.7.14 READY", "give the promotion READY to version 2.7.14"),
        ("cxlocal promote READY", "to the version of the run that is going on here"),
        ("cxlocal promote 2.7.14 READY --deny -m 'too slow'", "refuse it, for good"),
        ("cxlocal promote 2.7.14 READY --override -m WHY", "although something speaks against it"),
    ]
)
@click.argument("words", metavar="[VERSION|RUN] NAME", nargs=-1, required=True)
@click.option("--run", "run", default="", metavar="RUN", help="The run whose version it is.")
@click.option("--version", "version", default="", metavar="VERSION", help="The version.")
@click.option("-m", "--reason", default="", metavar="TEXT", help="Why; kept with the decision.")
@click.option("--deny", is_flag=True, help="Decide against it, until an override.")
@click.option("--override", is_flag=True, help="Pass over what is missing; never counts as passed.")
@click.option("--offline", is_flag=True, help="Do not ask the store what other machines know.")
@json_option
@pass_app
def promote(
    app: App,
    words: tuple[str, ...],
    run: str,
    version: str,
    reason: str,
    deny: bool,
    override: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Decide about a version: give it a promotion, or refuse it.

    The stages that earn the promotion must have succeeded, every part of them, and no gate may speak against it. A
    sha256: digest of an artifact names a version, too.
    """
    *before, name = words
    named = [one for one in (*before, run, version) if one]
    if len(named) > 1:
        raise UsageError(
            "name the version once, and the promotion last",
            why="two different versions may be meant",
            hint="cxlocal promote VERSION PROMOTION",
            name="bad-options",
        )
    if deny and override:
        raise UsageError(
            "--deny and --override exclude each other",
            why="one refuses, the other grants",
            hint="give one of them, with --reason WHY",
            name="bad-options",
        )
    which = named[0] if named else ""
    with piece_journal(app, which) as journal:
        machine = make_machine(app, goes_away(journal))
        chosen = choose_run(app, journal, which, None, offline=offline)
        source, record = find_run(machine, journal, chosen.run)
        asked = PromotionRequest(name, reason, deny, override, chosen.named, offline)
        decision = decide(machine, source, record, asked)
        if not offline:
            send_passing(app, journal)
        alone = bytes_here_alone(
            app, journal, f"{decision.version} is {decision.decision}", must=False
        )
    if as_json:
        found = decision._asdict()
        found["refusal"] = decision.refusal.as_json() if decision.refusal else None
        write_document(found)
    else:
        say(f"{decision.version}: {decision.name} {decision.decision} by {decision.actor}")
    if decision.refusal is not None:
        raise decision.refusal
    if alone is not None:
        raise alone
