"""Builders for incidents: something was wrong with what is live, and was put right. Each returns a Draft;
nothing is written."""

from __future__ import annotations

from typing import Any

from cxlocal.events import types
from cxlocal.events.document import Draft
from cxlocal.events.runs import MESSAGE_CHARACTERS_MAX, RunRef
from cxlocal.text import shorten


def incident_detected(
    ref: RunRef, *, incident: str, version: str, environment: str, actor: dict[str, str], words: str
) -> Draft:
    """The version of a run is said to be at fault, in an environment (the name of a lasting one)."""
    custom = {"version": version, "environment": environment, **_said(actor, words)}
    return _draft(types.INCIDENT_DETECTED, ref, incident, environment, words, custom)


def incident_resolved(
    ref: RunRef, *, incident: str, environment: str, actor: dict[str, str], words: str
) -> Draft:
    """It is over."""
    custom = _said(actor, words)
    return _draft(types.INCIDENT_RESOLVED, ref, incident, environment, words, custom)


def _said(actor: dict[str, str], words: str) -> dict[str, Any]:
    return {"actor": actor, "words": shorten(words, MESSAGE_CHARACTERS_MAX)}


def _draft(
    kind: str, ref: RunRef, incident: str, environment: str, words: str, custom: dict[str, Any]
) -> Draft:
    content = {
        "description": shorten(words, MESSAGE_CHARACTERS_MAX),
        "environment": {"id": environment},
    }
    return Draft(kind, incident, content, custom, ref.deliverable, ref.run)
