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

MAY_DIFFER = (
    "count", "hosts", "min_hosts", "rollout", "drain_seconds", "keep_old_seconds", "timeout_seconds", "secrets",
    "pass_env",
)  # fmt: skip
"""Of a component in one environment, while image and spec are the same all the same: how many, where, how slowly,
with which secrets. Of its options only ``ADDRESS`` may."""
ADDRESS = "url"
"""The option that says that a component is given."""


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
    host: str = ""
    """Where it is made; empty where the component names no hosts. This and what follows: of components."""
    address: str = ""
    """Where it answers, once that is known."""
    version: str = ""
    """What it runs."""
    spec_sha256: str = ""
    """Digest of what is shared of its component."""
    differences: Mapping[str, Any] | None = None
    """What its environment says differently of the component."""
    keep_seconds: int = 0
    """How long it stays once it serves no more."""
    turn: int = 0
    """Number of the turn in which it is made."""


_OF_COMPONENTS = (
    "host", "address", "version", "spec_sha256", "differences", "keep_seconds", "turn",
)  # fmt: skip


def run_intended(ref: RunRef, intent: Intent) -> Draft:
    """A tool is about to change something outside."""
    custom = intent._asdict()
    for name in _OF_COMPONENTS:
        if not custom[name]:
            del custom[name]
    custom["task"] = custom.pop("stage_run")
    custom["options"] = dict(intent.options)
    return Draft(types.RUN_INTENDED, ref.run, {}, custom, ref.deliverable, ref.run)


def resource_gone(ref: RunRef, *, resource: str, how: str, why: str = "") -> Draft:
    """A resource exists no more, for good. ``how``: removed (its tool did it), taken over (its tool made
    a later one of it), released (it stands, and others have it), left (it stands, as no tool can take it
    away), or given up (a person said so)."""
    custom = {"resource": resource, "how": how, "why": shorten(why, WHY_CHARACTERS_MAX)}
    return Draft(types.RUN_RESOURCEGONE, ref.run, {}, custom, ref.deliverable, ref.run)


def run_given_up(ref: RunRef, *, how: str, why: str, actor: Mapping[str, str] | None) -> Draft:
    """Nobody will end a run any more: what was made for it is to be taken away. ``how``: asked (by
    ``actor``), or expired."""
    custom = {"how": how, "why": shorten(why, WHY_CHARACTERS_MAX), "actor": dict(actor or {})}
    return Draft(types.RUN_GIVENUP, ref.run, {}, custom, ref.deliverable, ref.run)


class Turned(NamedTuple):
    """One component at the cutover: what served, and what serves from now on, in percent."""

    component: str
    deployment: str
    """The deployment that its resources serve from now on."""
    before: Mapping[str, int]
    after: Mapping[str, int]


def run_cutover(ref: RunRef, turned: Sequence[Turned], *, turn: int = 0) -> Draft:
    """From now on these resources serve: the commit point of a deployment, in one commit with its
    ``service`` events. ``turn``: number of the turn in which that was done."""
    custom: dict[str, Any] = {
        "deployment": turned[0].deployment,
        "components": [
            {
                "component": one.component, "before": dict(one.before), "after": dict(one.after),
                **({"deployment": one.deployment} if one.deployment != turned[0].deployment else {}),
            }
            for one in turned
        ],
    }  # fmt: skip
    if turn:
        custom["turn"] = turn
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
