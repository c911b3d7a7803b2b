"""Which journal of the home a command works with, and all of them for commands outside of a project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.commands.terminal import harmless
from cxlocal.config.settings import settings
from cxlocal.errors import UsageError
from cxlocal.exchange.destination import EMBEDDED
from cxlocal.exchange.journals import Place, Wanted, look, open_for, wanted_by
from cxlocal.journal.home import journal_file

if TYPE_CHECKING:
    from cxlocal.commands.context import App
    from cxlocal.journal.file import Journal


def place_of(app: App) -> Place:
    """The home of this command."""
    return Place(app.home(), app.environ, app.clock, app.ids)


def wanted_here(app: App) -> Wanted | None:
    """What the project around the working directory asks for; None outside of one. Raises
    ConfigError."""
    root = app.find_project()
    if root is None:
        return None
    return wanted_by(root, app.local(), app.environ, app.home())


def open_here(app: App, *, create: bool) -> Journal:
    """The journal of the project, or outside of one the only one, or that of the store the settings
    name. Raises as ``Journal.open``, ConfigError, and UsageError where nothing says which."""
    wanted = wanted_here(app)
    if wanted is not None:
        return open_for(place_of(app), wanted, create=create)
    return app.open_path(_outside(app), create=create)


def _outside(app: App) -> Path:
    place = place_of(app)
    found = look(place)
    if len(found) <= 1:
        return found[0].path if found else journal_file(place.home)
    url = settings(None, local=None, environ=app.environ).store_url
    of_store = [one.path for one in found if url and one.address == place.address(url)]
    if of_store:
        return of_store[0]
    raise UsageError(
        "there are several journals here, one for each store",
        why="they belong to " + ", ".join(_words(one.url) for one in found),
        hint="call it in a project, or name a store: CXLOCAL_STORE=URL cxlocal ...",
        name="several-journals",
    )


def several(app: App) -> list[tuple[str, Path | None]]:
    """``App.journals`` where there are several."""
    if app.find_project() is not None or app.environ.get("CXLOCAL_STORE"):
        return [("", None)]
    return [(_words(one.url), one.path) for one in look(place_of(app))]


def words_for(store: str) -> str:
    """How people are told of a store among several: its address, of this machine's own a name."""
    return "this machine alone" if store == EMBEDDED else store


def journal_named(app: App, store: str) -> Path:
    """The journal whose store's address holds ``store``. Raises UsageError where not one fits."""
    found = [one for one in look(place_of(app)) if store in one.url]
    if len(found) == 1:
        return found[0].path
    raise UsageError(
        f"{store!r} names {len(found) or 'no'} journals here",
        why="they belong to " + ", ".join(_words(one.url) for one in look(place_of(app))),
        hint="name one by a part of its store's address",
        name="no-such-journal",
    )


def _words(url: str) -> str:
    return harmless(url) if url else "no store yet"
