"""What hooks see of stages and gates."""

from __future__ import annotations

from typing import Any

from cxlocal.values import NamedTuple


class StageView(NamedTuple):
    """A stage about to run."""

    deliverable: str
    """Name of the product."""
    version: str
    """The version of the run."""
    run: str
    """Id of the run."""
    name: str
    """Name of the stage."""
    attempt: int
    """1 for the first time, one more for each retry."""
    tool: str
    """Name of its tool; empty for a command."""
    verb: str
    """What the tool is asked to do; empty for a command."""
    environment: str
    """Where it works; empty where it has no environment."""
    started_at: str
    """When it began (UTC)."""
    variables: dict[str, str]
    """Environment variables for the stage; a wrapper may add some (TRACEPARENT)."""


class StageResult(NamedTuple):
    """How a stage run ended."""

    outcome: str
    """How it ended."""
    reason: str
    """Why, in words; empty after success."""
    seconds: float
    """How long it worked."""


class Replaced(NamedTuple):
    """What runs in an environment before a deployment."""

    service: str
    """Name of the service."""
    version: str
    """The version that runs."""
    run: str
    """The run that made that version."""


class GateQuestion(NamedTuple):
    """What is about to happen, and what is known here."""

    kind: str
    """``stage``, ``deploy``, ``publish`` or ``promotion``."""
    deliverable: str
    """Name of the product."""
    version: str
    """The version that is to be deployed or promoted, or that the stage works on."""
    run: str
    """Id of the run that made that version."""
    environment: str
    """Where the stage works; empty where it has no environment."""
    promotion: str
    """The promotion that is to be given; empty for a stage."""
    data_age_seconds: float | None
    """How old our copy of other machines' history is; None when nothing was ever synced."""
    facts: dict[str, Any]
    """``stages``: those that have succeeded; ``actor``: who gave the command."""
    rollback: bool = False
    """Whether this deployment puts back a version that is older than one that is live there."""
    replaces: tuple[Replaced, ...] = ()
    """Before a deployment: what the journal says is live there, as service, version and run."""
    lifetime: str = ""
    """Of the environment: ``per-run`` or ``lasting``; empty where there is none."""
    protected: bool = False
    """Whether ``cxlocal run`` stops before the environment unless told to go on."""
    planned: bool = True
    """False for a hotfix or an emergency (``--unplanned``)."""
    reason: str = ""
    """Why, as the person said, secrets masked; empty where nobody said."""
    target: str = ""
    """What it is to be published to; empty for anything else."""
    asked_at: str = ""
    """When it is asked, in UTC as ``2026-11-30T20:17:22.000Z``: the clock to decide by."""


class GateAnswer(NamedTuple):
    """A verdict and its reason. ``gate`` names who says so."""

    gate: str
    """Who says so: a name people recognise."""
    verdict: str
    """allow, deny or undecided."""
    reason: str
    """Why, in words; kept with the decision."""
