"""``cxlocal review``: somebody answers for a run that was out of the ordinary."""

from __future__ import annotations

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.find_run import find_run
from cxlocal.commands.frame import command
from cxlocal.commands.status import named_here
from cxlocal.commands.terminal import say
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.review import answer_for
from cxlocal.runner.source import find_actor_at


@command(
    examples=[
        ("cxlocal sql -q unusual", "what nobody has answered for stands first"),
        ("cxlocal review 2.7.106 -m 'right: payments were down'", "answer for that release"),
    ]
)
@click.argument("run")
@click.option("-m", "--reason", "words", required=True, metavar="TEXT", help="What you found.")
@click.option("-d", "--deliverable", help="Where several deliverables have that version.")
@pass_app
def review(app: App, run: str, words: str, deliverable: str | None) -> None:
    """Answer for a run that was out of the ordinary.

    Emergencies, releases without the store, decisions passed over: who looked at it afterwards, and
    what they found, stays with the run on every machine. RUN is a version or the beginning of an id.
    """
    with app.journal(create=False) as journal:
        catch_up(journal)
        found = find_run(journal, run, deliverable, here=named_here(app))
        actor = find_actor_at(app.find_project() or app.directory, app.environ)
        answer_for(journal, found["run"], actor, words)
    say(
        f"{found['deliverable']} {found['version'] or found['run'][:8]}: {actor.id} answers for it."
    )
