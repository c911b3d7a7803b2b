"""Builders for turns: who may change a lasting environment now."""

from __future__ import annotations

from collections.abc import Mapping

from cxlocal.events import types
from cxlocal.events.document import Draft
from cxlocal.events.runs import RunRef
from cxlocal.text import shorten
from cxlocal.values import NamedTuple

WHY_CHARACTERS_MAX = 1024


class Asked(NamedTuple):
    """A turn that is asked for."""

    turn: str
    """Its id."""
    environment: str
    instance: str
    stage: str
    version: str
    host: str
    granted: bool
    """False where the store did not answer: nobody knows whether others deploy there now."""


def turn_asked(ref: RunRef, asked: Asked) -> Draft:
    """Somebody is about to change an environment. The store's order of these events says whose turn it is."""
    return Draft(types.RUN_TURNASKED, ref.run, {}, asked._asdict(), ref.deliverable, ref.run)


def turn_ended(
    ref: RunRef, *, turn: str, how: str, why: str = "", actor: Mapping[str, str] | None = None
) -> Draft:
    """A turn is over. ``how``: given back, stood back (another one was first), cut off, or taken
    (by ``actor``)."""
    custom = {
        "turn": turn, "how": how, "why": shorten(why, WHY_CHARACTERS_MAX),
        "actor": dict(actor or {}),
    }  # fmt: skip
    return Draft(types.RUN_TURNENDED, ref.run, {}, custom, ref.deliverable, ref.run)
