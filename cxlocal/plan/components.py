"""Components: from the tables of the file to the plan, what differs in one environment, and what is the same. Pure.

What an environment does not list is shared by construction: ``spec_sha256`` is the digest of the shared table, so
"did test and production get the same spec?" is a question about two columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from cxlocal.config import component_types
from cxlocal.config import types as config
from cxlocal.config.problems import Where, problem, suggestion
from cxlocal.plan import types as plan
from cxlocal.plan.graph import before, order, refuse_cycle
from cxlocal.plan.placeholders import check_options, used_artifacts
from cxlocal.text import parse_duration

_encoder = msgspec.json.Encoder(order="sorted")


def components_in(found: plan.Plan, environment: str) -> tuple[plan.Component, ...]:
    """The components as one environment has them, each after those it needs: those of the file, or one for each
    stage that deploys there with a tool of its own."""
    own = tuple(one for one in found.stages_in(environment) if one.rotates and one.tool)
    return tuple(implied(found, one) for one in own) or _differing(found, environment)


def components_of(found: plan.Plan, stage: plan.Stage) -> tuple[plan.Component, ...]:
    """Those that one stage deploys."""
    return (implied(found, stage),) if stage.tool else components_in(found, stage.environment)


def implied(found: plan.Plan, stage: plan.Stage) -> plan.Component:
    """The component that a deploy stage with a tool of its own is short for: replaced where the tool creates
    instances; else one that rotates itself, and without an artifact one that is changed in place."""
    applied, runs = stage.verb == "apply", _runs(stage)
    return plan.Component(
        name=found.service_of(stage), tool=stage.tool, options=stage.options,
        mutable=applied and not runs, itself=True if applied and runs else UNSET, artifact=runs,
        secrets=stage.secrets, pass_env=stage.pass_env, timeout_seconds=stage.timeout_seconds,
    )  # fmt: skip


def _runs(stage: plan.Stage) -> str:
    """The artifact that a stage deploys: the one its options name, else the only one it sees."""
    named = [*used_artifacts(stage.options), stage.options.get("artifact")]
    return next(
        (one for one in named if one in stage.artifacts),
        stage.artifacts[0] if len(stage.artifacts) == 1 else "",
    )


def _differing(found: plan.Plan, environment: str) -> tuple[plan.Component, ...]:
    components = found.shared_components
    differences = found.environment(environment).components
    if differences is UNSET:
        return components
    return tuple(differing(one, differences.get(one.name)) for one in components)


def differing(shared: plan.Component, difference: plan.Difference | None) -> plan.Component:
    """A component with what one environment says of it."""
    if difference is None:
        return shared
    given = {
        name: value
        for name in difference.__struct_fields__
        if (value := getattr(difference, name)) is not UNSET
    }
    if "options" in given:
        given["options"] = {**shared.options, **given["options"]}
    return msgspec.structs.replace(shared, **given)


def spec_sha256(shared: plan.Component) -> str:
    """The digest of what is shared of a component."""
    return hashlib.sha256(_encoder.encode(shared)).hexdigest()


def differences_of(found: plan.Plan, environment: str, component: str) -> dict[str, object]:
    """What one environment says differently of a component, as JSON values; secrets by name."""
    differences = found.environment(environment).components
    one = None if differences is UNSET else differences.get(component)
    return {} if one is None else msgspec.to_builtins(one)


def departed(
    now: Iterable[plan.Component], standing: Iterable[str], before: Iterable[plan.Component],
    accounted: Collection[str],
) -> list[str]:  # fmt: skip
    """Mutable components that stand somewhere and that ``now`` has no more, under whatever name: those that a tool
    made (``standing``), and those of the plan ``before`` that were not given, but for what is ``accounted`` for."""
    here = {name for one in now if one.in_place for name in (one.name, one.was or "")}
    made = list(standing)
    kept = [
        one.name for one in before if one.mutable and not one.is_given and one.name not in accounted
    ]
    return [one for one in dict.fromkeys([*made, *kept]) if one not in here]


def turning_order(components: Iterable[plan.Component]) -> list[plan.Component]:
    """Components in the order in which they come to their new version once all are ready: each after those it needs,
    and what rotates itself after all that need none such, as its way back is the longest."""
    late: set[str] = set()
    first, then = [], []
    for one in components:  # each after those it needs
        if one.rotates_itself or late.intersection(one.needs):
            late.add(one.name)
            then.append(one)
        else:
            first.append(one)
    return [*first, *then]


def may_go_without(one: plan.Component, lost: Collection[str]) -> bool:
    """Whether a component is whole enough where nothing can be made on the hosts ``lost``: some are left, as many
    as it must have, and instances are meant for one of them."""
    left = [host for host in dict.fromkeys(one.hosts) if host not in lost]
    least = len(set(one.hosts)) if one.min_hosts is UNSET else one.min_hosts
    meant = {one.hosts[at % len(one.hosts)] for at in range(one.count)} if one.hosts else set()
    return bool(meant.difference(lost)) and len(left) >= least


# from the file


def resolve_components(source: config.Config, file: str) -> tuple[plan.Component, ...]:
    """The components of a file, each after those it needs. Raises ConfigError for unknown names and
    circles, and for placeholders that nothing will have a value for."""
    names = list(source.components)
    made = {one for stage in source.stages.values() for one in stage.produces}
    for name, one in source.components.items():
        where = Where(file, "component", name)
        _known(one.needs, names, where, "needs")
        _known([one.behind] if one.behind else [], names, where, "behind")
        _known_secrets(one.secrets, source, where)
        _refuse_twice(one.hosts, where)
        if one.was in names:
            raise problem(
                where, f'was = "{one.was}" names '
                + ("itself" if one.was == name else "a component that is still in the file"),
                why="it is the name that this component had before, and has no more", key="was",
                hint=f"take was out, or [components.{one.was}]" if one.was != name else "take was out",
                name="not-former",
            )  # fmt: skip
        if one.behind and not source.components[one.behind].mutable:
            raise problem(
                where, f'"{one.behind}" is replaced itself, so nothing can stand behind it',
                hint=f"add mutable = true to [components.{one.behind}]", key="behind",
            )  # fmt: skip
        if one.artifact and one.artifact not in made:
            raise problem(
                where, f"no stage makes the artifact {one.artifact!r}", key="artifact",
                hint=suggestion(one.artifact, made, what="artifact"), name="unknown-artifact",
            )  # fmt: skip
    graph = {name: _waits(one) for name, one in source.components.items()}
    refuse_cycle(graph, {}, file=file, word="components")
    found = []
    for name in order(graph):
        one, where = source.components[name], Where(file, "component", name)
        reach = before(graph, graph[name])
        passed = [*source.defaults.pass_env, *one.pass_env]
        _check_texts(one.options, one.env or {}, one.secrets, passed, reach, source, where)
        found.append(_component(source, name, one, where))
    return tuple(found)


def resolve_differences(
    source: config.Config, name: str, one: config.Environment, file: str
) -> dict[str, plan.Difference]:
    """What an environment says of its components. Raises ConfigError."""
    where = Where(file, "environment", name)
    found = {}
    graph = {key: _waits(each) for key, each in source.components.items()}
    _known(list(one.components), list(source.components), where, "components")
    for key, each in one.components.items():
        shared = source.components[key]
        inner = Where(file, "component", f"{key} in {name}")
        _known_secrets(each.secrets or [], source, inner)
        _refuse_twice(each.hosts or [], inner)
        # What is shared may stand for what is not given here.
        env = shared.env if each.env is None else each.env
        secrets = shared.secrets if each.secrets is None else each.secrets
        passed = [*source.defaults.pass_env, *shared.pass_env]
        passed = passed if each.pass_env is None else each.pass_env
        options, reach = {**shared.options, **each.options}, before(graph, graph[key])
        _check_texts(options, env, secrets, passed, reach, source, inner)
        found[key] = _difference(each, inner)
    return found


def check_stages(source: config.Config, file: str) -> None:
    """A deploy stage without command and tool deploys the components of its environment, and is the only one
    that deploys there. Raises ConfigError."""
    deploying: dict[str, list[str]] = {}
    for name, stage in source.stages.items():
        if stage.kind == "deploy" and stage.environment:
            deploying.setdefault(stage.environment, []).append(name)
    for name, stage in source.stages.items():
        if stage.kind != "deploy" or stage.command is not None or stage.tool is not None:
            continue
        where = Where(file, "stage", name)
        if not source.components:
            raise problem(
                where, "there is nothing to deploy",
                why="a deploy stage has a command, a tool, or components of its environment",
                hint='add command = "…" or tool = "…", or [components] (docs/environments.md)',
                key="command",
            )  # fmt: skip
        others = [one for one in deploying.get(str(stage.environment), ()) if one != name]
        if others:
            raise problem(
                where, f'stage "{others[0]}" deploys into {stage.environment}, too',
                why="an environment has either components, all deployed by one stage, or stages that"
                " deploy by themselves",
                hint=f'write what "{others[0]}" does as [components.{others[0]}]',
                key="environment", name="two-ways",
            )  # fmt: skip
        _check_reach(source, name, file)


def _check_reach(source: config.Config, name: str, file: str) -> None:
    """The stage waits for whoever makes what components run. One that requires a promotion comes after all."""
    stage = source.stages[name]
    if stage.requires:
        return
    graph = {one: tuple(each.needs) for one, each in source.stages.items()}
    reach = before(graph, graph[name])
    for component, one in source.components.items():
        maker = next(
            (key for key, each in source.stages.items() if one.artifact in each.produces), ""
        )
        if one.artifact and maker not in reach:
            raise problem(
                Where(file, "stage", name),
                f'component "{component}" runs the artifact {one.artifact!r}, which "{maker}" makes',
                why="this stage does not wait for it",
                hint=f"add needs = [{maker!r}]", key="needs",
            )  # fmt: skip


def _waits(one: component_types.Component) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*one.needs, *([one.behind] if one.behind else [])]))


def _known(names: Iterable[str], known: list[str], where: Where, key: str) -> None:
    for name in names:
        if name not in known:
            raise problem(
                where, f"{key} names the component {name!r}, which is not in the file", key=key,
                hint=suggestion(name, known, what="component"), name="unknown-component",
            )  # fmt: skip


def _refuse_twice(hosts: list[str], where: Where) -> None:
    for one in hosts:
        if hosts.count(one) > 1:
            raise problem(
                where, f"hosts names {one!r} twice", key="hosts", name="host-twice",
                hint="name each once; count is spread over them in order",
            )  # fmt: skip


def _known_secrets(names: Iterable[str], source: config.Config, where: Where) -> None:
    for name in names:
        if name not in source.secrets:
            raise problem(
                where, f"secrets names the secret {name!r}, which is not in the file",
                hint=f'add [secrets] with {name} = {{ env = "{name}" }}', key="secrets",
                name="unknown-secret",
            )  # fmt: skip


def _check_texts(
    options: Mapping[str, object], env: Mapping[str, str], secrets: Collection[str],
    pass_env: Sequence[str], reach: Iterable[str], source: config.Config, where: Where,
) -> None:  # fmt: skip
    made_by = {name: key for key, stage in source.stages.items() for name in stage.produces}
    for texts in (options, env):
        check_options(
            texts, artifacts=tuple(made_by), made_by=made_by,
            pass_env=pass_env, where=where, components=list(reach), secrets=secrets,
            of_instances=texts is env,
        )  # fmt: skip


def _component(
    source: config.Config, name: str, one: component_types.Component, where: Where
) -> plan.Component:
    limit = one.timeout or source.defaults.timeout
    return plan.Component(
        name=name, tool=one.tool, options=one.options, mutable=one.mutable, artifact=one.artifact,
        count=one.count, hosts=tuple(one.hosts), needs=_waits(one), behind=one.behind,
        env=one.env, secrets=tuple(one.secrets),
        pass_env=tuple(dict.fromkeys([*source.defaults.pass_env, *one.pass_env])),
        health=one.health, check=one.check, rollout=_rollout(one.rollout),
        drain_seconds=_seconds(one.drain), keep_old_seconds=_seconds(one.keep_old),
        timeout_seconds=_positive(limit, where), was=one.was or UNSET,
        min_hosts=UNSET if one.min_hosts is None else one.min_hosts,
        overlap=UNSET if one.overlap else False,
    )  # fmt: skip


def _difference(one: component_types.Difference, where: Where) -> plan.Difference:
    seconds = {
        "drain_seconds": one.drain, "keep_old_seconds": one.keep_old, "timeout_seconds": one.timeout,
    }  # fmt: skip
    given: dict[str, Any] = {
        "options": one.options or None, "count": one.count, "env": one.env, "health": one.health,
        "hosts": None if one.hosts is None else tuple(one.hosts), "min_hosts": one.min_hosts,
        "secrets": None if one.secrets is None else tuple(one.secrets),
        "pass_env": None if one.pass_env is None else tuple(one.pass_env),
        "check": one.check,
        "rollout": None if one.rollout is None else _rollout(one.rollout),
        **{key: None if text is None else _seconds(text) for key, text in seconds.items()},
    }  # fmt: skip
    if one.timeout is not None:
        _positive(one.timeout, where)
    return plan.Difference(**{key: value for key, value in given.items() if value is not None})


def _rollout(steps: list[component_types.RolloutStep]) -> tuple[plan.RolloutStep, ...]:
    return tuple(
        plan.RolloutStep(weight=one.weight, hold_seconds=_seconds(one.hold)) for one in steps
    )


def _seconds(text: str) -> int:
    return parse_duration(text)


def _positive(text: str, where: Where) -> int:
    seconds = parse_duration(text)
    if not seconds:
        raise problem(where, "timeout must be longer than nothing", key="timeout")
    return seconds
