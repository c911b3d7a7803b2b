"""From a configuration to a plan: defaults applied, names looked up, the graph closed.

Pure. Every name in the file is checked here, so that a run cannot meet an unknown one half way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import UNSET, structs

from cxlocal.config import types as config
from cxlocal.config.given import links_of, source_of
from cxlocal.config.problems import Where, problem, suggestion
from cxlocal.domain import deliverable_id
from cxlocal.numbers.schemes import (
    SCHEMES,
    SUFFIX_SCHEMES,
    first_number,
    is_version,
    number_in,
    resolve_line,
)
from cxlocal.plan import types as plan
from cxlocal.plan.components import check_stages, resolve_components, resolve_differences
from cxlocal.plan.graph import before, refuse_cycle
from cxlocal.plan.placeholders import check_options
from cxlocal.plan.variables import artifact_variables
from cxlocal.text import parse_duration

DEFAULT_LINES = {"calver": "YYYY.MM", "counter": ""}
"""What is counted on when the file names no line; every other scheme starts at ``0.1``."""


def resolve(
    source: config.Config,
    *,
    file: str = "cx.toml",
    today: tuple[int, int, int] | None = None,
) -> plan.Plan:
    """The plan of a configuration.

    ``today`` (year, month, day in UTC) fills in a calendar line such as ``YYYY.MM``; without it
    the pattern stays. Raises ConfigError for unknown names, cycles and collisions.
    """
    _check_references(source, file)
    waits = {name: _waits_for(source, name) for name in source.stages}
    refuse_cycle(waits, _through(source), file=file)
    _refuse_two_makers(source, file)
    _refuse_collisions([name for stage in source.stages.values() for name in stage.produces], file)
    components = resolve_components(source, file)
    check_stages(source, file)
    stages = tuple(_stage(source, name, waits, file) for name in source.stages)
    return plan.Plan(
        format=plan.FORMAT if components else plan.PLAIN_FORMAT,
        components=components or UNSET,
        deliverable=_deliverable(source.deliverable.name),
        title=source.deliverable.title or source.deliverable.name,
        owner=source.deliverable.owner,
        paths=tuple(path.rstrip("/") for path in source.deliverable.paths),
        version=_version(source.version, file, today),
        remotes=tuple(source.scm.remotes),
        filters=tuple(source.scm.filters),
        workspace=source.defaults.workspace,
        stages=stages,
        promotions=tuple(
            plan.Promotion(name=name, title=one.title or name, after=tuple(one.after))
            for name, one in source.promotions.items()
        ),
        environments=tuple(
            _environment(source, name, one, file) for name, one in source.environments.items()
        ),
        secrets={name: source_of(one) for name, one in source.secrets.items()},
        tail=UNSET if source.keep.tail == plan.LAST_LINES else source.keep.tail,
        links=links_of(source.links) or UNSET,
        targets=tuple(_target(source, name, file) for name in source.targets) or UNSET,
        bump=UNSET if source.bump is None else _bump(source, source.bump, file),
    )


def _deliverable(name: str) -> str:
    return deliverable_id(name)


def required(stage: config.Stage | config.Target) -> tuple[str, ...]:
    """The promotions a stage or a target requires, always as a list."""
    return (stage.requires,) if isinstance(stage.requires, str) else tuple(stage.requires)


def _required(source: config.Config, stage: config.Stage) -> tuple[str, ...]:
    """The same, with those of its target."""
    if stage.target is None:
        return required(stage)
    return tuple(dict.fromkeys([*required(stage), *required(source.targets[stage.target])]))


def _waits_for(source: config.Config, name: str) -> tuple[str, ...]:
    stage = source.stages[name]
    wanted = set(stage.needs)
    for promotion in _required(source, stage):
        wanted.update(source.promotions[promotion].after)
    return tuple(one for one in source.stages if one in wanted)


def _through(source: config.Config) -> dict[tuple[str, str], str]:
    """Which promotion stands between two stages, where no plain ``needs`` does."""
    return {
        (name, earner): promotion
        for name, stage in source.stages.items()
        for promotion in _required(source, stage)
        for earner in source.promotions[promotion].after
        if earner not in stage.needs
    }


def _check_references(source: config.Config, file: str) -> None:
    """Every name of a stage, promotion, environment or secret stands in the file."""
    for name, stage in source.stages.items():
        where = Where(file, "stage", name)
        _known(stage.needs, source.stages, where, "needs", "stage")
        _known(required(stage), source.promotions, where, "requires", "promotion")
        _known(stage.secrets, source.secrets, where, "secrets", "secret")
        if stage.target is not None:
            _known([stage.target], source.targets, where, "target", "target")
        if stage.environment is not None:
            _known([stage.environment], source.environments, where, "environment", "environment")
        _no_secrets(source, stage.pass_env, where)
    _check_targets(source, file)
    for name, promotion in source.promotions.items():
        where = Where(file, "promotion", name)
        _known(promotion.after, source.stages, where, "after", "stage")
    for name, environment in source.environments.items():
        where = Where(file, "environment", name)
        _known(environment.secrets, source.secrets, where, "secrets", "secret")
    live = [name for name, one in source.environments.items() if one.live]
    if len(live) > 1:
        raise problem(
            Where(file, "environment", live[1]),
            f"{live[0]} is live already",
            why="what is live is counted in one environment",
            hint="write live = true in one of them",
            key="live",
        )


def _no_secrets(source: config.Config, pass_env: Sequence[str], where: Where) -> None:
    hidden = [one for one in pass_env if one in source.secrets]
    if hidden:
        raise problem(
            where,
            f"{hidden[0]} is a secret and cannot be in pass_env",
            why="it would reach the stage without being masked",
            hint=f"write secrets = [{hidden[0]!r}]",
            key="pass_env",
        )


def _check_targets(source: config.Config, file: str) -> None:
    """What targets name is there, and each has one stage at most."""
    made = [name for stage in source.stages.values() for name in stage.produces]
    for name, target in source.targets.items():
        where = Where(file, "target", name)
        _known(required(target), source.promotions, where, "requires", "promotion")
        _known(target.secrets, source.secrets, where, "secrets", "secret")
        _known(target.artifacts, made, where, "artifacts", "artifact")
        _no_secrets(source, target.pass_env, where)
        if name in source.environments:
            raise problem(
                where,
                f"an environment has the name {name!r}, too",
                why="--to could mean either",
                hint="give one of them another name",
            )
        stages = [one for one, stage in source.stages.items() if stage.target == name]
        if len(stages) > 1:
            raise problem(
                Where(file, "stage", stages[1]),
                f"stage {stages[0]!r} publishes to {name!r}, too",
                why="a version is published to a target once",
                hint="keep one of them, or describe another target",
                key="target",
            )


def _known(names: Sequence[str], known: Iterable[str], where: Where, key: str, word: str) -> None:
    known = list(known)
    for index, name in enumerate(names):
        if name not in known:
            raise problem(
                where,
                f"{key} names the {word} {name!r}, which is not in the file",
                hint=_unknown_hint(name, known, word),
                key=key,
                name=f"unknown-{word}",
            )
        if name in names[:index]:
            raise problem(where, f"{key} names {name!r} twice", key=key)


def _unknown_hint(name: str, known: list[str], word: str) -> str:
    if known:
        return suggestion(name, known, what=word)
    table = {"stage": "stages", "promotion": "promotions", "secret": "secrets", "target": "targets"}
    form = {"secret": f'{name} = {{ env = "{name}" }}', "promotion": f"{name} = {{}}"}
    if word in ("environment", "target"):
        return f"add [{word}s.{name}]"
    if word == "artifact":
        return f"a stage has to make it: produces = [{name!r}]"
    return f"add [{table[word]}] with {form.get(word, name + ' = { … }')}"


def _refuse_collisions(artifacts: Iterable[str], file: str) -> None:
    """Raise ConfigError when two artifacts would share a variable.

    ``web-app`` and ``web_app`` both become ``…_WEB_APP``; ``app`` and ``app.ref`` share
    ``…_APP_REF``.
    """
    taken: dict[str, str] = {}
    for name in artifacts:
        for variable in artifact_variables(name):
            other = taken.setdefault(variable, name)
            if other != name:
                raise problem(
                    Where(file, "stages"),
                    f"artifacts {other!r} and {name!r} would share the variable {variable}",
                    why="upper case and '_' are all that variables can hold",
                    hint="rename one of them",
                    key="produces",
                )


def _refuse_two_makers(source: config.Config, file: str) -> None:
    makers: dict[str, str] = {}
    for name, stage in source.stages.items():
        for artifact in stage.produces:
            other = makers.setdefault(artifact, name)
            if other != name:
                raise problem(
                    Where(file, "stage", name),
                    f'artifact {artifact!r} is already made by stage "{other}"',
                    why="an artifact is built once",
                    hint="give one of them another name",
                    key="produces",
                )


def _version(
    source: config.Version, file: str, today: tuple[int, int, int] | None
) -> plan.VersionRule:
    line = source.line
    if line is None:
        line = DEFAULT_LINES.get(source.scheme, "0.1")
    if source.scheme in SCHEMES:
        SCHEMES[source.scheme].check_line(line)
    if source.when_empty == "suffix" and source.scheme not in SUFFIX_SCHEMES:
        raise problem(
            Where(file, "version"),
            f'when_empty = "suffix" does not go with the scheme {source.scheme!r}',
            why="its texts have no place for a suffix",
            hint=f'use when_empty = "stop", or the scheme {" or ".join(SUFFIX_SCHEMES)}',
            key="when_empty",
        )
    if today is not None and source.scheme == "calver":
        line = resolve_line(line, *today)
    usual = plan.VersionRule()
    return plan.VersionRule(
        scheme=source.scheme,
        line=line,
        first=_first(source, line, file),
        reserve=usual.reserve if source.reserve is None else source.reserve,
        ahead=source.ahead,
        when_empty=source.when_empty,
        stamp=tuple(
            plan.Stamp(file=one.file, key=one.key or "", pattern=one.pattern or "")
            for one in source.stamp
        ),
    )


def _first(source: config.Version, line: str, file: str) -> int:
    """Where ``line`` starts. A version of another line says nothing of this one."""
    said = source.first
    if isinstance(said, int):
        return said
    usual = first_number(source.scheme, line)
    if said is None:
        return usual
    scheme = SCHEMES.get(source.scheme)
    if scheme is None or not is_version(scheme, said):
        raise problem(
            Where(file, "version"),
            f"from {said!r} is not a version of the scheme {source.scheme!r}",
            why="it names the first version, or its number",
            hint="write a number, as in from = 14",
            key="from",
        )
    number = number_in(scheme, line, said)
    return usual if number is None else number


def _environment(
    source: config.Config, name: str, one: config.Environment, file: str
) -> plan.Environment:
    where = Where(file, "environment", name)
    check_options(
        one.options, artifacts=(), made_by={}, pass_env=(), where=where, secrets=one.secrets
    )
    lasting = one.lifetime == "lasting"
    if one.secrets and one.tool is None and not source.components:
        raise problem(where, "secrets are given to the tool, and there is none", key="secrets")
    if one.check and not source.components:
        raise problem(
            where, "check judges components, and there are none",
            hint="write it as a stage that needs the one that deploys here", key="check",
        )  # fmt: skip
    return plan.Environment(
        components=resolve_differences(source, name, one, file) or UNSET,
        name=name,
        title=one.title or name,
        lifetime=one.lifetime,
        protected=lasting if one.protected is None else one.protected,
        live=True if one.live else UNSET,
        tool=one.tool or "",
        options=one.options,
        uri=one.uri,
        secrets=tuple(one.secrets),
        check=one.check or UNSET,
        timeout_seconds=_seconds(source.defaults.timeout, Where(file, "defaults")),
        expires_seconds=UNSET if one.expires is None else _seconds(one.expires, where, "expires"),
    )


def _bump(source: config.Config, one: config.Bump, file: str) -> plan.Bump:
    from cxlocal.plan.bump import resolve_bump

    return resolve_bump(source, one, file)


def _target(source: config.Config, name: str, file: str) -> plan.Target:
    one, where = source.targets[name], Where(file, "target", name)
    made_by = {made: maker for maker, stage in source.stages.items() for made in stage.produces}
    artifacts = one.artifacts or list(made_by)
    pass_env = tuple(dict.fromkeys([*source.defaults.pass_env, *one.pass_env]))
    check_options(
        one.options, artifacts=artifacts, made_by=made_by, pass_env=pass_env, where=where,
        secrets=one.secrets,
    )  # fmt: skip
    return plan.Target(
        name=name,
        title=one.title or name,
        tool=one.tool,
        options=one.options,
        secrets=tuple(one.secrets),
        pass_env=pass_env,
        artifacts=tuple(sorted(artifacts)),
        requires=required(one),
        protected=one.protected,
        timeout_seconds=_seconds(source.defaults.timeout, Where(file, "defaults")),
    )


def _seconds(text: str, where: Where, key: str = "timeout") -> int:
    seconds = parse_duration(text)
    if not seconds:
        raise problem(where, f"{key} must be longer than nothing", key=key)
    return seconds


def _stage(
    source: config.Config, name: str, waits: dict[str, tuple[str, ...]], file: str
) -> plan.Stage:
    stage, defaults = _with_target(source, source.stages[name]), source.defaults
    where = Where(file, "stage", name)
    made_by = {one: maker for maker, other in source.stages.items() for one in other.produces}
    upstream = before(waits, waits[name])
    artifacts = sorted(one for one, maker in made_by.items() if maker in upstream)
    if not artifacts and required(stage):
        # A promotion is about the version's artifacts: what requires one comes after them.
        later = {one for one in waits if name in (one, *before(waits, waits[one]))}
        artifacts = sorted(one for one, maker in made_by.items() if maker not in later)
    artifacts = _published(source, stage, artifacts, where) or artifacts
    pass_env = tuple(dict.fromkeys([*defaults.pass_env, *stage.pass_env]))
    check_options(
        stage.options, artifacts=artifacts, made_by=made_by, pass_env=pass_env, where=where,
        secrets=stage.secrets,
    )  # fmt: skip
    command = tuple(stage.command) if isinstance(stage.command, list) else stage.command
    paths = (
        stage.produces if isinstance(stage.produces, dict) else dict.fromkeys(stage.produces, "")
    )
    timeout = (
        (stage.timeout, where) if stage.timeout else (defaults.timeout, Where(file, "defaults"))
    )
    return plan.Stage(
        name=name,
        kind=stage.kind or "task",
        command=command,
        tool=stage.tool or "",
        verb=(stage.kind or "") if stage.tool and stage.kind != "task" else "",
        options=stage.options,
        needs=tuple(stage.needs),
        requires=required(stage),
        waits_for=waits[name],
        environment=stage.environment or "",
        produces=tuple(plan.Output(name=one, path=path) for one, path in paths.items()),
        artifacts=tuple(artifacts),
        reports=_reports(stage.reports),
        allow_empty=stage.allow_empty,
        parts=tuple(stage.parts) if isinstance(stage.parts, list) else (),
        parts_total=stage.parts if isinstance(stage.parts, int) else len(stage.parts),
        retries=defaults.retries if stage.retries is None else stage.retries,
        timeout_seconds=_seconds(*timeout),
        secrets=tuple(stage.secrets),
        pass_env=pass_env,
        isolated=defaults.isolated if stage.isolated is None else stage.isolated,
        caches=tuple(
            plan.Cache(path=one.path, key_files=tuple(one.key_files)) for one in stage.caches
        ),
        target=UNSET if stage.target is None else stage.target,
    )


def _with_target(source: config.Config, stage: config.Stage) -> config.Stage:
    """A stage with all that its target says."""
    if stage.target is None:
        return stage
    target = source.targets[stage.target]
    return structs.replace(
        stage, kind="publish", tool=target.tool, options=target.options, secrets=target.secrets,
        pass_env=[*stage.pass_env, *target.pass_env], requires=list(_required(source, stage)),
    )  # fmt: skip


def _published(
    source: config.Config, stage: config.Stage, seen: Sequence[str], where: Where
) -> list[str]:
    """The artifacts that the target of a stage names; none where it takes all that the stage sees."""
    if stage.target is None:
        return []
    named = sorted(source.targets[stage.target].artifacts)
    lacking = [one for one in named if one not in seen]
    if lacking:
        raise problem(
            where,
            f"the artifact {lacking[0]!r} of target {stage.target!r} is not made before it",
            why="a stage sees what is made by the stages it waits for",
            hint="add the stage that makes it to needs",
            key="needs",
            name="unknown-artifact",
        )
    return named


def _reports(reports: dict[str, str | list[str]]) -> tuple[plan.ReportRule, ...]:
    return tuple(
        plan.ReportRule(format=kind, path=path)
        for kind, paths in reports.items()
        for path in ([paths] if isinstance(paths, str) else paths)
    )
