"""Tools into the plan: which verb each stage asks for, its options checked before anything runs.

Pure: how a tool is found and how its options are checked comes in from outside (the plugin
manager), so that a plan can be made and shown without loading a single plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from cxlocal.config.problems import Where, problem, suggestion
from cxlocal.domain import variable_part
from cxlocal.errors import ConfigError
from cxlocal.hooks.tool import Tool, verbs_of
from cxlocal.plan.components import differing
from cxlocal.plan.placeholders import used_components, used_in, used_outputs
from cxlocal.plan.types import Component, Environment, Plan, Stage, Target
from cxlocal.text import clean_text

Find = Callable[[str], type[Tool]]
Check = Callable[[type[Tool], Mapping[str, Any]], object]

DEPLOYING = (("create", "remove"), ("apply",))
"""What a tool that deploys can do: all of one of these; the first of them stands in the plan."""
STAGE_VERBS = ("build", "test", *(way[0] for way in DEPLOYING), "publish")
"""What a stage can ask of a tool. A stage without ``kind`` asks for the first the tool can do."""


def bind(plan: Plan, find: Find, check: Check, *, file: str = "cx.toml") -> Plan:
    """The plan with kind and verb of every stage that uses a tool.

    ``find`` gives a tool by name, ``check`` its validated options; both raise ConfigError, which
    is passed on with the name of the stage. Binding a bound plan changes nothing.
    """
    found = msgspec.structs.replace(
        plan,
        stages=tuple(_stage(stage, find, check, file) for stage in plan.stages),
        environments=tuple(_environment(one, find, check, file) for one in plan.environments),
        targets=tuple(_target(one, find, check, file) for one in plan.published_to) or plan.targets,
    )
    if found.components is not msgspec.UNSET:
        components = _components(found, found.components, find, check, file)
        found = msgspec.structs.replace(found, components=components)
    return found


def _stage(stage: Stage, find: Find, check: Check, file: str) -> Stage:
    if not stage.tool:
        return stage
    where = Where(file, "stage", stage.name)
    tool = _checked(stage.tool, stage.options, find, check, where)
    can = verbs_of(tool, stage.options)
    way = next((one for one in DEPLOYING if set(one) <= set(can)), ("deploy",))
    if stage.verb:
        verb = way[0] if stage.kind == "deploy" else stage.verb
    else:
        verb = next((one for one in STAGE_VERBS if one in can), "")
    if verb not in can or not verb:
        raise problem(
            where,
            f"the tool {stage.tool!r} cannot {verb or 'be used in a stage'}",
            why=f"it can {', '.join(can) or 'do nothing'}",
            hint="choose another kind, or another tool",
            key="kind",
            name="no-such-verb",
        )
    deploys = verb in (one[0] for one in DEPLOYING)
    if deploys and not stage.environment:
        raise problem(
            where, "a deploy needs an environment", hint='add environment = "…"', key="environment"
        )
    return msgspec.structs.replace(stage, kind="deploy" if deploys else verb, verb=verb)


def _environment(one: Environment, find: Find, check: Check, file: str) -> Environment:
    if one.tool:
        where = Where(file, "environment", one.name)
        can = verbs_of(_checked(one.tool, one.options, find, check, where), one.options)
        lacking = [verb for verb in ("provision", "destroy") if verb not in can]
        if lacking:
            raise problem(
                where,
                f"the tool {one.tool!r} cannot {' and cannot '.join(lacking)}",
                why="a per-run environment is created and destroyed by its tool",
                hint="choose another tool",
                key="tool",
                name="no-such-verb",
            )
    return one


def _target(one: Target, find: Find, check: Check, file: str) -> Target:
    where = Where(file, "target", one.name)
    can = verbs_of(_checked(one.tool, one.options, find, check, where), one.options)
    if "publish" not in can:
        raise problem(
            where,
            f"the tool {one.tool!r} cannot publish",
            why=f"it can {', '.join(can) or 'do nothing'}",
            hint="choose another tool",
            key="tool",
            name="no-such-verb",
        )
    return one


def _components(
    plan: Plan, components: tuple[Component, ...], find: Find, check: Check, file: str
) -> tuple[Component, ...]:
    """Those that rotate themselves are marked. The tool of each can do what is asked of it, with the options of every
    environment."""
    balancers = {one.behind for one in components}
    found = []
    says = {one.name: find(one.tool).outputs for one in components}
    for one in components:
        where = Where(file, "component", one.name)
        can = verbs_of(_checked(one.tool, one.options, find, check, where), one.options)
        ways = _ways(one, balancers)
        if _rotates_itself(one, can):
            one = msgspec.structs.replace(one, itself=True)
        elif not any(set(way) <= set(can) for way in ways):
            raise problem(
                where,
                f"the tool {one.tool!r} cannot {' and '.join(verb for verb in ways[0] if verb not in can)}",
                why=f"it can {', '.join(can) or 'do nothing'}",
                hint=_way_out(one, can),
                key="tool",
                name="no-such-verb",
            )  # fmt: skip
        _check_outputs(one, says, where)
        if one.was and not one.in_place:
            raise problem(
                where, "was is for what is changed in place, and this one is replaced",
                why="its instances go when its name does, and new ones take their place",
                hint="take was out, or add mutable = true", key="was",
            )  # fmt: skip
        for place in plan.environments:
            if place.components is not msgspec.UNSET and one.name in place.components:
                here = differing(one, place.components[one.name])
                inner = Where(file, "component", f"{one.name} in {place.name}")
                _checked(one.tool, here.options, find, check, inner)
                _check_outputs(here, says, inner)
                _refuse_for_itself(here, inner)
        _refuse_for_itself(one, where)
        found.append(one)
    _refuse_early(found, file)
    for place in plan.environments:
        if place.components is not msgspec.UNSET:
            own = place.components
            effective = [differing(one, own[one.name]) if one.name in own else one for one in found]
            _refuse_early(effective, file, f" in {place.name}")
    return tuple(found)


def _check_outputs(one: Component, says: Mapping[str, Sequence[str]], where: Where) -> None:
    """Refuse what another component will not say, as far as its tool tells what it says."""
    for component, key in used_outputs({"with": one.options, "env": one.env}):
        if (known := says.get(component)) and key not in known:
            raise problem(
                where,
                f"{{component.{component}.{key}}}: {component} says no {clean_text(key)!r}",
                why=f"it says {', '.join(known)}",
                hint=suggestion(key, known, what="output"), key="env", name="unknown-output",
            )  # fmt: skip


def _rotates_itself(one: Component, can: tuple[str, ...]) -> bool:
    """Whether its tool applies its artifact, and makes no instances that could be turned (Compose, Helm, a PaaS)."""
    return not one.mutable and bool(one.artifact) and "apply" in can and "create" not in can


def _way_out(one: Component, can: tuple[str, ...]) -> str:
    if one.mutable:
        return "choose another tool"
    if "apply" in can:
        return (
            "name the artifact that it applies, and it rotates itself; or write mutable = true where it"
            " changes things in place"
        )
    return "choose another tool, or write mutable = true where it changes things in place"


FOR_INSTANCES = (
    ("behind", "its tool turns what comes to it by itself, and a balancer has no instances to weigh"),
    ("rollout", "it is applied as a whole: there are no weights, so no steps between"),
    ("count", "how many of it there are its own tool says"),
    ("hosts", "where it runs its own tool says"),
    ("min_hosts", "where it runs its own tool says"),
    ("overlap", "whether two of it run at once its own tool says"),
    ("keep_old_seconds", "nothing of the version before stays: going back applies that version again"),
    ("drain_seconds", "what is under way its own tool lets end"),
)  # fmt: skip
"""Settings of what has instances, and why they mean nothing where a component rotates itself."""
WITHOUT = Component(name="", tool="")


def _refuse_for_itself(one: Component, where: Where) -> None:
    """Raise ConfigError for a setting that means nothing where a component rotates itself."""
    for name, why in FOR_INSTANCES if one.rotates_itself else ():
        if getattr(one, name) not in (
            getattr(WITHOUT, name),
            0 if name == "drain_seconds" else None,
        ):
            key = name.removesuffix("_seconds")
            raise problem(
                where, f"{key} is for what has instances, and this one rotates itself",
                why=f"{one.tool} has apply and no create; {why}",
                hint=f"take {key} out, or choose a tool that creates instances", key=key,
                name="rotates-itself",
            )  # fmt: skip


def _refuse_early(components: Sequence[Component], file: str, place: str = "") -> None:
    """Raise ConfigError where one wants what another says that is applied later, as that rotates itself."""
    itself = {one.name for one in components if one.rotates_itself}
    for one in components:
        early = used_components({"env": one.env, "with": one.options}) & itself
        if early and not one.rotates_itself:
            [name, *_] = sorted(early)
            raise problem(
                Where(file, "component", f"{one.name}{place}"), f"it wants what {name} says, which rotates itself",
                why=f"{name} is applied when all others are ready, so it has said nothing by then",
                hint=f"write its address, or mutable = true in [components.{name}]: then it comes"
                " first, and is not taken back", key="with", name="said-too-late",
            )  # fmt: skip


def _ways(one: Component, balancers: set[str]) -> tuple[tuple[str, ...], ...]:
    """Verbs that are asked of a component: all of one of these."""
    if one.name in balancers:
        return (("rotate",),)
    if one.mutable:
        return (("apply",), ("provision", "destroy"))
    if one.overlap is False:
        return (("create", "remove", "stop", "start"),)
    return (("create", "remove"),)


def _checked(
    name: str, options: Mapping[str, Any], find: Find, check: Check, where: Where
) -> type[Tool]:
    try:
        tool = find(name)
        check(tool, options)
        _refuse_in_shell(tool, options)
    except ConfigError as error:
        raise ConfigError(
            f"{where}: {error.what}",
            why=error.why,
            hint=error.hint,
            name=error.name,
            **{**error.data, "table": where.kind, "entry": where.name},
        ) from error
    return tool


def _refuse_in_shell(tool: type[Tool], options: Mapping[str, Any]) -> None:
    """Values come from history, too: what an artifact is called, others may have said."""
    for name, value in options.items() if tool.shell else ():
        used = used_in(value) if isinstance(value, str) else ""
        if used:
            raise ConfigError(
                f"with.{name}: a command for the shell holds {{{used}}}",
                why="no value may turn into shell code",
                hint=f'let it read the variable instead, "${_variable_of(used)}", or write the command as a'
                " list",
                name="placeholder-in-command",
            )


def _variable_of(placeholder: str) -> str:
    """The variable that says the same."""
    kind, _, rest = placeholder.partition(".")
    if kind == "env":
        return rest
    if kind == "artifact":
        name, _, facet = rest.rpartition(".")
        end = "" if facet == "path" else f"_{facet.upper()}"
        return f"CXLOCAL_ARTIFACT_{variable_part(name)}{end}"
    return "_".join(["CXLOCAL", *(variable_part(part) for part in placeholder.split(".", 2))])
