"""Which stages a ``cxlocal run`` carries out now, and which remain.

Without ``--to`` a run stops before the first protected environment or target: no stage runs that works in
one, or that waits for a stage that does. ``--to production`` lifts the protection of that
place and of those its stages pass through; ``--to STAGE`` runs that stage and what it waits
for. A rehearsal touches no lasting environment and publishes nothing: neither by a stage of that kind
nor by a command of another kind that is seen to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cxlocal.config.problems import suggestion
from cxlocal.errors import Refused, UsageError
from cxlocal.plan.graph import before, edges, order
from cxlocal.plan.types import Plan, Stage
from cxlocal.values import NamedTuple


class Selection(NamedTuple):
    """What runs now, and what could follow."""

    now: tuple[str, ...]
    """Stages to run, each after those it waits for."""
    later: tuple[str, ...]
    """Stages that remain, in the same order."""
    stopped_by: str
    """The protected environment or target the run stops before; empty if none holds it back."""
    asked: str = ""
    """The stage the run was asked to end with, where more would follow."""
    withheld: tuple[tuple[str, str], ...] = ()
    """What a rehearsal leaves out: stages and why, in the order of ``later``."""

    def as_asked(self, to: str | None) -> dict[str, Any]:
        """What a run was asked for, as its event says it: ``--to``, and the stages that are to be
        carried out."""
        return {"to": to or "", "stages": list(self.now)}

    def arguments(self, run: str) -> tuple[str, ...]:
        """The command line that continues ``run``; empty when it has come to its end."""
        if self.asked:
            return ("cxlocal", "run", "--resume", run)
        if not self.stopped_by:
            return ()
        return ("cxlocal", "run", "--resume", run, "--to", self.stopped_by)


def select(plan: Plan, *, to: str | None = None, rehearsal: bool = False) -> Selection:
    """Choose the stages. ``to`` names a stage, an environment, a target or a promotion.

    Raises UsageError for an unknown name, Refused for a rehearsal that should go to a lasting place.
    """
    graph = edges(plan)
    behind = {name: before(graph, [name]) for name in graph}
    protected = plan.protected
    place = {stage.name: stage.place for stage in plan.stages}
    barred = (
        {stage.name for stage in plan.stages if _not_in_rehearsal(plan, stage)}
        if rehearsal
        else {name for name in graph if place[name] in protected}
    )
    wanted: frozenset[str] = frozenset()
    if to is None:
        chosen = frozenset(graph)
    else:
        chosen, wanted = _wanted(plan, to)
        if rehearsal:
            _refuse_rehearsal(plan, chosen & barred if not wanted else wanted & barred, to)
        else:
            lifted = {place[name] for name in before(graph, wanted or chosen)}
            barred = {name for name in barred if place[name] not in lifted}
    now = frozenset(name for name in chosen if not behind[name] & barred)
    sequence = order(graph)
    later = tuple(name for name in sequence if name not in now)
    # A protected place of the same name is a way point, as places are; what lies behind it remains.
    asked = to if to in graph and later and not (rehearsal or wanted) else ""
    held = [] if rehearsal or asked else [place[n] for n in later if place[n] in protected]
    return Selection(
        now=tuple(name for name in sequence if name in now),
        later=later,
        stopped_by=held[0] if held else "",
        asked=asked or "",
        withheld=tuple(_withheld(plan, later)) if rehearsal else (),
    )


def _not_in_rehearsal(plan: Plan, stage: Stage) -> bool:
    publishes = "publish" in (stage.kind, stage.verb) or bool(sends(stage))
    return publishes or _is_lasting(plan, stage.environment)


def _is_lasting(plan: Plan, environment: str) -> bool:
    return bool(environment) and plan.environment(environment).lifetime == "lasting"


def sends(stage: Stage) -> str:
    """The words by which a stage that is no deployment sends something outside, though nothing says
    that it publishes; empty for none."""
    from cxlocal.config.outward import sends_outside

    return "" if stage.kind in ("publish", "deploy") else sends_outside(stage.command)


def _withheld(plan: Plan, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for stage in map(plan.stage, names):
        if stage.publishes_to:
            yield stage.name, _would_publish(stage)
        elif "publish" in (stage.kind, stage.verb):
            yield stage.name, "publishes"
        elif words := sends(stage):
            yield stage.name, f"{words} leaves something outside, though its kind is {stage.kind}"
        elif _is_lasting(plan, stage.environment):
            yield stage.name, f"works in {stage.environment}"
        else:
            yield stage.name, "waits for one of these"


def _would_publish(stage: Stage) -> str:
    """What a stage would publish, and where."""
    what = f" {', '.join(stage.artifacts)}" if stage.artifacts else ""
    return f"publishes{what} to {stage.publishes_to}"


def _wanted(plan: Plan, to: str) -> tuple[frozenset[str], frozenset[str]]:
    """The stages that ``--to`` leaves in play, and those it asks for where these are all."""
    graph = edges(plan)
    environments = {one.name: one for one in plan.environments}
    targets = {one.name: one for one in plan.published_to}
    promotions = {one.name: one for one in plan.promotions}
    asked: set[str] = set()
    if to in graph:
        asked.add(to)
    if to in environments:
        inside = frozenset(stage.name for stage in plan.stages_in(to))
        if not inside:
            raise UsageError(
                f"no stage works in the environment {to!r}",
                why="there is nothing to do on the way there",
                hint=f'give a stage environment = "{to}"',
                name="empty-environment",
            )
        if environments[to].protected:
            return frozenset(graph), inside | asked
        asked |= inside
    if to in targets:
        publishing = frozenset(one.name for one in plan.stages if one.publishes_to == to)
        if not publishing:
            raise UsageError(
                f"no stage publishes to the target {to!r}",
                why="it is published to outside of runs",
                hint="cxlocal publish VERSION --to " + to,
                name="no-stage",
            )
        if targets[to].protected:
            return frozenset(graph), publishing | asked
        asked |= publishing
    if to in promotions and not asked:
        asked.update(promotions[to].after)
        if not asked:
            raise UsageError(
                f"no stage earns the promotion {to!r}",
                why="a person gives it",
                hint="cxlocal promote VERSION " + to,
                name="no-stage",
            )
    if not asked:
        known = [*graph, *environments, *targets, *promotions]
        raise UsageError(
            f"--to {to}: there is no stage, environment, target or promotion of this name",
            why="--to goes to something that cx.toml names",
            hint=suggestion(to, known, what="name"),
            name="unknown-target",
        )
    return before(graph, asked), frozenset()


def _refuse_rehearsal(plan: Plan, names: frozenset[str], to: str) -> None:
    for stage in plan.stages:
        if stage.name in names:
            raise Refused(
                f"a rehearsal cannot go to {to}",
                why=f'stage "{stage.name}" {dict(_withheld(plan, names))[stage.name]}',
                hint="push the commit and use: cxlocal run --to " + to,
                name="rehearsal",
            )
