"""What commands do that change an environment beside a deployment: hear what others did, come in by the door of
the place, and tell what was done there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cxlocal.commands.context import App
from cxlocal.commands.project import load_project, open_project_store, send_copies
from cxlocal.commands.terminal import say, warn
from cxlocal.errors import CxError
from cxlocal.exchange.open import is_own
from cxlocal.exchange.standing import require
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.place_doors import PlaceDoors
from cxlocal.runner.turns import Door, Turns
from cxlocal.text import counted


@contextmanager
def place_doors(app: App, journal: Journal, who: str) -> Iterator[PlaceDoors]:
    """The doors of environments, for the command ``who``. Others are asked what they did before, and told in the
    end, also where it failed: it may have changed something."""
    send_copies(app, journal, patient=False)
    catch_up(journal)
    project = load_project(app)
    store = None
    if not is_own(project.settings.store_url):
        try:
            store = open_project_store(app, project, journal=journal)
        except CxError as problem:
            warn(f"the store cannot be asked whose turn it is: {problem.what}")
    turns = None if is_own(project.settings.store_url) else Turns(journal, store, warn)
    try:
        yield PlaceDoors(journal, turns, who, warn)
    finally:
        if turns is not None:
            turns.close()
        if waiting := send_copies(app, journal):
            events = counted(waiting, "event is", "events are")
            say(f"{events} not with the store yet; 'cxlocal sync' sends them")


@contextmanager
def at_place(
    app: App, journal: Journal, deliverable: str, environment: str, who: str
) -> Iterator[Door | None]:
    """Have an environment to ourselves, for a word that is pushed. Raises Refused where somebody else has it."""
    require(journal, deliverable, "push")
    with place_doors(app, journal, who) as doors, doors.at(deliverable, environment) as door:
        yield door
