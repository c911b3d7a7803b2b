"""A plan as rows for people and programs: ``cxlocal run --dry-run``."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from typing import Any

from cxlocal.plan.graph import edges, order
from cxlocal.plan.select import Selection
from cxlocal.plan.types import Plan, Stage
from cxlocal.text import duration_text

COLUMNS = (
    "order", "stage", "kind", "runs", "waits_for", "environment", "requires", "attempts", "timeout",
    "when",
)  # fmt: skip
"""The columns of ``render``, in order."""


def render(plan: Plan, selection: Selection, done: Collection[str] = ()) -> list[dict[str, Any]]:
    """One row a stage, in the order in which stages can start at the earliest.

    ``when`` is ``now``, ``later`` or, for those that are ``done``, ``done``.
    """
    return [
        {
            "order": index,
            "stage": name,
            "kind": plan.stage(name).kind,
            "runs": what_runs(plan.stage(name)),
            "waits_for": ", ".join(plan.stage(name).waits_for),
            "environment": place(plan, plan.stage(name)),
            "requires": ", ".join(plan.stage(name).requires),
            "attempts": plan.stage(name).retries + 1,
            "timeout": duration_text(plan.stage(name).timeout_seconds),
            "when": "done" if name in done else "now" if name in selection.now else "later",
        }
        for index, name in enumerate(order(edges(plan)), 1)
    ]


def what_runs(stage: Stage) -> str:
    """The command as one would type it, or the tool and its verb."""
    if stage.by_components:
        return "components"
    if stage.tool:
        return f"{stage.tool} ({stage.kind})" if stage.verb else stage.tool
    if isinstance(stage.command, str):
        lines = stage.command.strip().splitlines()
        return lines[0] + (" …" if len(lines) > 1 else "")
    return shlex.join(stage.command or ())


def place(plan: Plan, stage: Stage) -> str:
    """The environment or target, with what is special about it."""
    if stage.publishes_to:
        return (
            f"{stage.publishes_to} (protected)"
            if stage.publishes_to in plan.protected
            else stage.publishes_to
        )
    if not stage.environment:
        return ""
    environment = plan.environment(stage.environment)
    if environment.protected:
        return f"{environment.name} (protected)"
    return (
        f"{environment.name} (per run)" if environment.lifetime == "per-run" else environment.name
    )
