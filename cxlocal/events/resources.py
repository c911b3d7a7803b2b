"""Builders for what tools make: instances of components, and which of them serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxlocal.events import types
from cxlocal.events.document import Draft
from cxlocal.events.runs import RunRef
from cxlocal.text import shorten
from cxlocal.values import NamedTuple

WHY_CHARACTERS_MAX = 1024
EXPIRES_SECONDS = 24 * 3600
"""For how long nothing may be heard of a run before what it made counts as left behind."""


class Intent(NamedTuple):
    """What a tool is about to make, change or take in use."""

    resource: str
    """Its id, drawn before it is made."""
    component: str
    """The piece of the environment that it is an instance of: the stage that deploys it; empty for the
    environment itself, made by its own tool."""
    environment: str
    instance: str
    lifetime: str
    """per-run or lasting."""
    stage: str
    stage_run: str
    tool: str
    verb: str
    options: Mapping[str, Any]
    """As they stand in the plan, with their placeholders."""
    handle: Any
    """All that its clean-up will get."""
    machine: str = ""
    """Mark of the machine that makes it; empty where it has none."""
    deployment: str = ""
    """The deployment that makes it, where it is made for one."""
    expires_seconds: int = EXPIRES_SECONDS
    """For how long nothing may be heard of its run before it counts as given up; per-run only."""


def run_intended(ref: RunRef, intent: Intent) -> Draft:
    """A tool is about to change something outside."""
    custom = intent._asdict()
    custom["task"] = custom.pop("stage_run")
    custom["options"] = dict(intent.options)
    return Draft(types.RUN_INTENDED, ref.run, {}, custom, ref.deliverable, ref.run)


def resource_gone(ref: RunRef, *, resource: str, how: str, why: str = "") -> Draft:
    """A resource exists no more, for good. ``how``: removed (its tool did it), taken over (its tool made
    a later one of it), or given up (a person said so)."""
    custom = {"resource": resource, "how": how, "why": shorten(why, WHY_CHARACTERS_MAX)}
    return Draft(types.RUN_RESOURCEGONE, ref.run, {}, custom, ref.deliverable, ref.run)


def run_given_up(ref: RunRef, *, how: str, why: str, actor: Mapping[str, str] | None) -> Draft:
    """Nobody will end a run any more: what was made for it is to be taken away. ``how``: asked (by
    ``actor``), or expired."""
    custom = {"how": how, "why": shorten(why, WHY_CHARACTERS_MAX), "actor": dict(actor or {})}
    return Draft(types.RUN_GIVENUP, ref.run, {}, custom, ref.deliverable, ref.run)


def run_cutover(
    ref: RunRef,
    *,
    deployment: str,
    component: str,
    before: Mapping[str, int],
    after: Mapping[str, int],
) -> Draft:
    """From now on these resources serve: the commit point of a deployment, in one commit with its
    ``service`` event. ``before`` and ``after`` give each resource its weight in percent."""
    components = [{"component": component, "before": dict(before), "after": dict(after)}]
    custom = {"deployment": deployment, "components": components}
    return Draft(types.RUN_CUTOVER, ref.run, {}, custom, ref.deliverable, ref.run)


def environment_closed(
    ref: RunRef,
    *,
    name: str,
    instance: str,
    reason: str,
    turn: int,
    replaces: Sequence[str],
    deployments: Sequence[str],
) -> Draft:
    """An environment is used no more, and nothing could destroy what was made in it. ``deployments``
    were live there, ``replaces`` had failed there; ``turn`` as in ``environment_created``."""
    custom = {
        "name": name, "instance": instance, "reason": reason, "turn": turn,
        "replaces": list(replaces), "deployments": list(deployments),
    }  # fmt: skip
    return Draft(types.RUN_CLOSED, instance, {}, custom, ref.deliverable, ref.run)
