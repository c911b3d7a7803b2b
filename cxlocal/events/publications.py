"""Builders for publications: what is put where, what a target holds, what was taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxlocal.events import types
from cxlocal.events.document import Draft
from cxlocal.events.runs import RunRef
from cxlocal.text import shorten
from cxlocal.values import NamedTuple

WHY_CHARACTERS_MAX = 1024


class Publication(NamedTuple):
    """A version at a target."""

    target: str
    version: str
    tool: str
    turn: int
    """How often something was said of it before, as far as is known here: what is said last counts."""
    actor: Mapping[str, str]
    stage_run: str = ""
    """The stage run that did it; empty outside of a run."""


class HeldFile(NamedTuple):
    """What a target holds of one file."""

    name: str
    state: str
    wanted: str = ""
    """What it should be, in the words of the target: ``sha256:`` and digits, a commit, …"""
    held: str = ""
    location: str = ""
    why: str = ""
    published: bool = False
    """It is there, as it should be."""


def publication_begun(
    ref: RunRef, what: Publication, *, files: Sequence[str], again: bool, reason: str = ""
) -> Draft:
    """A target is about to be given ``files``; without any it is its turn after others. ``again``: also what
    was taken back."""
    custom = {
        **_about(what), "files": list(files), "again": again,
        "reason": shorten(reason, WHY_CHARACTERS_MAX),
    }  # fmt: skip
    return Draft(types.PUBLICATION_BEGUN, ref.run, {}, custom, ref.deliverable, ref.run)


def publication_found(
    ref: RunRef, what: Publication, *, state: str, trouble: str, why: str, files: Sequence[HeldFile]
) -> Draft:
    """What a target holds. ``state``: the sum of its files."""
    custom = {
        **_about(what), "state": state, "trouble": trouble,
        "why": shorten(why, WHY_CHARACTERS_MAX), "files": [one._asdict() for one in files],
    }  # fmt: skip
    return Draft(types.PUBLICATION_FOUND, ref.run, {}, custom, ref.deliverable, ref.run)


def publication_withdrawn(ref: RunRef, what: Publication, *, how: str, why: str) -> Draft:
    """A version is not to be used from a target any more. ``how``: what was done there, in words."""
    custom = {
        **_about(what), "how": shorten(how, WHY_CHARACTERS_MAX),
        "why": shorten(why, WHY_CHARACTERS_MAX),
    }  # fmt: skip
    return Draft(types.PUBLICATION_WITHDRAWN, ref.run, {}, custom, ref.deliverable, ref.run)


def _about(what: Publication) -> dict[str, Any]:
    return {**what._asdict(), "actor": dict(what.actor)}
