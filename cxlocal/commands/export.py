"""``cxlocal export``: events for other programs."""

from __future__ import annotations

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command


@command(
    examples=[
        ("cxlocal export --format cdevents", "every event as a CDEvents document, one a line"),
        ("cxlocal export --format cdevents --run 2.7.14", "the events of one run"),
        ("cxlocal export --format cloudevents", "the same in CloudEvents envelopes"),
        ("cxlocal export --format journal", "with coordinates and hashes, as kept here"),
    ]
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["cdevents", "cloudevents", "journal"]),
    default="cdevents",
    show_default=True,
    help="The form of each line.",
)
@click.option("--run", "wanted", help="Only events of this run (id or version).")
@click.option("-d", "--deliverable", help="Only events of this deliverable.")
@pass_app
def export(app: App, form: str, wanted: str | None, deliverable: str | None) -> None:
    """Print events, one JSON document a line."""
    from cxlocal.commands.find_run import find_run
    from cxlocal.events.export import FORMS
    from cxlocal.journal.read import all_events, run_events
    from cxlocal.journal.rebuild import catch_up

    with app.journal(create=False) as journal:
        if wanted is not None:
            catch_up(journal)
            found = run_events(journal, find_run(journal, wanted, deliverable)["run"])
            events = iter(found)
        else:
            events = (event for _, event in all_events(journal))
        for event in events:
            if deliverable is None or event.deliverable == deliverable:
                click.echo(FORMS[form](event))
