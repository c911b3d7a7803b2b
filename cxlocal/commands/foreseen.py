"""What ``--dry-run`` tells of components: what would be changed in place, and how the others would be turned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cxlocal.commands.terminal import say, warn
from cxlocal.errors import Refused
from cxlocal.plan.components import components_in
from cxlocal.plan.types import Component, Plan, Stage
from cxlocal.runner.component_preview import Foreseen
from cxlocal.runner.foresight import NEVER_RAN, foresee, not_asked
from cxlocal.runner.record import RunRecord
from cxlocal.runner.resources import standing_in
from cxlocal.runner.source import Machine, Source
from cxlocal.text import counted, duration_text
from cxlocal.values import NamedTuple


class Outlook(NamedTuple):
    """What deploy stages would do."""

    turns: tuple[str, ...]
    """How instances would be replaced, in words."""
    changes: tuple[Foreseen, ...]
    not_asked: str
    """Why the tools were not asked what they would change; empty where they were."""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "turns": list(self.turns), "not_asked": self.not_asked,
            "changes": [one._asdict() for one in self.changes],
        }  # fmt: skip

    def show(self) -> None:
        """For people."""
        for line in (*self.turns, *(line for one in self.changes for line in one.lines())):
            say(line)
        if self.not_asked:
            warn(f"What would be changed in place was not asked: {self.not_asked}")

    @property
    def refusal(self) -> Refused | None:
        """What would refuse the deployment; None where nothing is known to."""
        return next((refused for one in self.changes if (refused := one.refusal())), None)


def look_ahead(
    machine: Machine, source: Source, plan: Plan, stages: Sequence[Stage], record: RunRecord | None
) -> Outlook:
    """What ``stages`` would do that deploy components into lasting environments; empty for others. Without a
    ``record`` nothing of the product is known here."""
    mine = [
        one for one in stages
        if one.by_components and plan.environment(one.environment).lifetime == "lasting"
    ]  # fmt: skip
    turns = tuple(line for one in mine for line in told_turns(plan, one.environment))
    if record is not None:
        turns += tuple(line for one in mine for line in told_leaving(record, one.environment))
    mutable = any(one.mutable for one in plan.shared_components)
    if not mine or not mutable:
        return Outlook(turns, (), "")
    why = NEVER_RAN if record is None else not_asked(machine, source, record)
    if record is None or why:
        return Outlook(turns, (), why)
    return Outlook(turns, tuple(foresee(machine, source, record, mine)), "")


def told_leaving(record: RunRecord, environment: str) -> list[str]:
    """What would be taken away of components that the plan has no more, a line for each."""
    plan = record.plan
    instance = plan.environment(environment).instance(record.run)
    here = {one.name for one in components_in(plan, environment)}
    standing = Counter(
        one.component
        for one in standing_in(record.journal, plan.deliverable, instance)
        if one.is_component and one.verb == "create" and one.component not in here
    )
    return [
        f"{name} in {environment} is in the file no more: {counted(count, 'instance')}, turned out and"
        " taken away once the new ones serve"
        for name, count in standing.items()
    ]


def told_turns(plan: Plan, environment: str) -> list[str]:
    """How the instances of an environment would be replaced, a line for each component. Pure."""
    return [
        f"{one.name} in {environment}: {counted(one.count, 'new instance')}, {_way(one)}"
        for one in components_in(plan, environment)
        if not one.mutable
    ]


def _way(one: Component) -> str:
    if not one.behind:
        return "beside the old ones until these are taken away"
    steps = [
        f"{step.weight} %"
        + (f" for {duration_text(step.hold_seconds)}" if step.hold_seconds else "")
        for step in one.rollout
    ]
    kept = (
        f", the old ones kept for {duration_text(one.keep_old_seconds)}"
        if one.keep_old_seconds
        else ""
    )
    return f"turned in behind {one.behind} at {', then '.join(steps) or 'once'}{kept}"
