"""On whose behalf a run happens, and where: recorded from the first day, with how it is known."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cxlocal.domain import Actor
from cxlocal.errors import UsageError
from cxlocal.hooks.place import Place

if TYPE_CHECKING:
    from cxlocal.hooks.manager import Manager

LAPTOP = Place("laptop")


def find_actor(
    environ: Mapping[str, str], place: Place, git_user: Callable[[], str] = lambda: ""
) -> Actor:
    """``CXLOCAL_ACTOR``, then what the CI server says, then git's user, then the login.

    ``git_user`` is only called where it is needed; it returns ``Name <mail>`` or nothing.
    """
    named = environ.get("CXLOCAL_ACTOR", "").strip()
    if named:
        return Actor(named, "CXLOCAL_ACTOR")
    if place.kind == "ci" and place.actor:
        return Actor(place.actor, f"said by {place.name}")
    user = git_user()
    if user:
        return Actor(user, "git config")
    return Actor(login(environ), "operating system")


def login(environ: Mapping[str, str]) -> str:
    """The login name of this process, else its user id."""
    for variable in ("LOGNAME", "USER"):
        if environ.get(variable):
            return environ[variable]
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def find_place(manager: Manager, environ: Mapping[str, str]) -> Place:
    """Which CI server this is, as the hook ``cxlocal_identify_ci`` says; else a laptop."""
    found = manager.first("cxlocal_identify_ci", environ=environ)
    return found if isinstance(found, Place) else LAPTOP


def is_passing(environ: Mapping[str, str], place: Place, fresh: bool) -> bool:
    """Whether this machine is a passing one: a recognised CI job with a fresh home, or told so.

    Raises UsageError for a value of ``CXLOCAL_NODE`` other than ``kept`` and ``passing``.
    """
    told = environ.get("CXLOCAL_NODE", "")
    if told not in ("", "kept", "passing"):
        raise UsageError(
            f"CXLOCAL_NODE is {told!r}",
            why="it says whether this machine keeps its journal: 'kept' or 'passing'",
            hint="set it to one of the two, or unset it",
            name="bad-node",
        )
    return told == "passing" if told else place.kind == "ci" and fresh
