"""Placeholders in the options of tools: ``{version}``, ``{artifact.wheel.path}`` and the like.

::

    {version} {run} {revision}          of this run
    {artifact.NAME.path|ref|digest}     an artifact of a stage this one waits for
    {env.NAME}                          a variable listed in pass_env
    {component.NAME.KEY}                of components: what one that it needs said
    {secret.NAME}                       in env of components: a secret that it lists
    {{ and }}                           braces themselves

They are resolved in texts only, nested in lists and tables, just before a tool is started, and
never in commands: a shell gets variables (``CXLOCAL_VERSION``) instead, so that no value can turn
into shell code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from cxlocal.config.problems import Where, problem, suggestion
from cxlocal.errors import ConfigError
from cxlocal.patterns import compile_late
from cxlocal.text import clean_text, names_one, shorten
from cxlocal.values import NamedTuple

_TOKEN = compile_late(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PLAIN = ("version", "run", "revision")
_FORMS = "{version}, {run}, {revision}, {artifact.NAME.path|ref|digest} and {env.NAME}"
_FACETS = ("path", "ref", "digest")


class Artifact(NamedTuple):
    """What a placeholder or a variable can say of an artifact."""

    path: str
    """Absolute path of the local file."""
    ref: str
    """How other systems name it: a package URL or a location."""
    digest: str
    """``sha256:`` and hexadecimal digits."""


class Values(NamedTuple):
    """What placeholders stand for in one run."""

    version: str
    run: str
    revision: str
    artifacts: Mapping[str, Artifact]
    environ: Mapping[str, str]
    components: Mapping[str, Mapping[str, str]] | None = {}
    """What components said, by name. None: nobody knows any more, so these texts are empty."""
    secrets: Mapping[str, str] = {}
    """Those of the component whose instances get them; texts of options have none."""


def resolve_options(options: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """Options with every placeholder replaced.

    Raises ConfigError where a value is missing: an artifact not made yet, an unset variable.
    """

    def value_of(name: str) -> str:
        kind, _, rest = name.partition(".")
        if kind == "artifact":
            artifact, _, facet = rest.rpartition(".")
            if artifact not in values.artifacts:
                raise _missing(name, f"this run has no artifact {artifact!r} yet")
            return str(getattr(values.artifacts[artifact], facet))
        if kind == "env":
            if rest not in values.environ:
                raise unset(rest)
            return values.environ[rest]
        if kind == "component":
            component, _, key = rest.partition(".")
            if values.components is None:
                return ""
            if key not in values.components.get(component, {}):
                said = ", ".join(values.components.get(component, {})) or "nothing"
                raise _missing(name, f"the component {component} said {said}")
            return values.components[component][key]
        if kind == "secret":
            return values.secrets[rest]
        return str(getattr(values, name))

    return {key: _mapped(value, value_of) for key, value in options.items()}


def unset(variable: str) -> ConfigError:
    """A variable that a placeholder stands for is not there."""
    return _missing(
        f"env.{variable}", f"the variable {variable} is not set here",
        hint=f"export {variable}=…, or take the placeholder out of cx.toml",
    )  # fmt: skip


def _missing(name: str, why: str, hint: str = "correct the placeholder in cx.toml") -> ConfigError:
    return ConfigError(
        f"{{{name}}} has no value", why=why, hint=hint, name="no-value", placeholder=name
    )


def check_options(
    options: Mapping[str, Any],
    *,
    artifacts: Collection[str],
    made_by: Mapping[str, str],
    pass_env: Sequence[str],
    where: Where,
    components: Collection[str] = (),
    secrets: Collection[str] = (),
    of_instances: bool = False,
) -> None:
    """Refuse every placeholder that could not be resolved when the stage starts.

    ``components`` are those that a component needs, ``secrets`` those it lists. ``of_instances``: these are
    variables of instances, where secrets may stand: an option may end in an argument list.

    ``artifacts`` are those of the stages this one waits for, ``made_by`` names the stage of every
    artifact of the file.
    """

    def check(name: str) -> str:
        kind, _, rest = name.partition(".")
        if kind == "artifact" and rest:
            artifact, _, facet = rest.rpartition(".")
            if facet not in _FACETS or not artifact:
                raise _unknown(name, where)
            if artifact not in artifacts:
                raise _out_of_reach(name, artifact, made_by, where)
        elif kind == "env" and rest:
            if not names_one(pass_env, rest):
                raise _not_passed(rest, where, secrets, of_instances=of_instances)
        elif kind == "secret" and rest:
            if not of_instances:
                raise _secret_in_option(rest, where)
            if rest not in secrets:
                raise problem(
                    where,
                    f"{{{name}}} needs {rest} in secrets",
                    why="instances get only the secrets that their component lists",
                    hint=f'add secrets = ["{rest}"]', key="env", name="unknown-secret",
                )  # fmt: skip
        elif kind == "component" and rest.partition(".")[2] and where.kind == "component":
            if rest.partition(".")[0] not in components:
                raise problem(
                    where,
                    f"{{{name}}}: it does not need {rest.partition('.')[0]!r}",
                    why="only what comes before it has said anything by then",
                    hint=f"add needs = [{rest.partition('.')[0]!r}]",
                    key="needs",
                )
        elif name not in _PLAIN:
            raise _unknown(name, where)
        return ""

    for key, value in options.items():
        try:
            _mapped(value, check)
        except ValueError as error:
            raise problem(
                where,
                f"with.{clean_text(key)}: {error}",
                why=f"braces enclose placeholders: {_FORMS}",
                hint="write {{ and }} for braces themselves",
                key="with",
                name="bad-placeholder",
            ) from None


def _not_passed(
    name: str, where: Where, secrets: Collection[str], *, of_instances: bool
) -> ConfigError:
    if name in secrets:
        what = f"{{env.{name}}}: {name} is a secret here, and no variable"
        why = "a variable may be shown, a secret is not"
        hint = f'write {name} = "{{secret.{name}}}"' if of_instances else _kept_apart(name, where)
    else:
        what, why = (
            f"{{env.{name}}} needs {name} in pass_env",
            "only variables that it names are seen",
        )
        hint = f'add pass_env = ["{name}"]'
        if where.kind == "component":
            hint += (
                f'; for a secret: secrets = ["{name}"] and env = {{ {name} = "{{secret.{name}}}" }}'
            )
    key = "env" if of_instances else "with"
    return problem(where, what, why=why, hint=hint, key=key, name="not-passed")


def _kept_apart(name: str, where: Where) -> str:
    hint = "take it out: the tool has the secrets that stand in secrets, by their names"
    if where.kind == "component":
        hint += f'; its instances get them by env = {{ {name} = "{{secret.{name}}}" }}'
    return hint


def _secret_in_option(name: str, where: Where) -> ConfigError:
    return problem(
        where,
        f"{{secret.{name}}} stands in an option",
        why="an option may end in an argument list or a file that others read; secrets stand in env of a"
        " component alone",
        hint=_kept_apart(name, where), key="with", name="secret-in-option",
    )  # fmt: skip


def _unknown(name: str, where: Where) -> ConfigError:
    return problem(
        where,
        f"there is no placeholder {{{shorten(clean_text(name), 60)}}}",
        why=f"there are {_FORMS}",
        hint="write {{ and }} for braces themselves",
        key="with",
        name="bad-placeholder",
    )


def _out_of_reach(
    name: str, artifact: str, made_by: Mapping[str, str], where: Where
) -> ConfigError:
    maker = made_by.get(artifact)
    if maker is None:
        what, hint = "no stage makes it", suggestion(artifact, made_by, what="artifact")
    elif maker == where.name:
        what, hint = "this stage makes it itself", "use the path in the checkout"
    else:
        what = f'stage "{maker}" makes it, and this one does not wait for it'
        hint = f"add needs = [{maker!r}]"
    return problem(where, f"{{{name}}}: {what}", hint=hint, key="with", name="unknown-artifact")


def _mapped(value: Any, value_of: Callable[[str], str]) -> Any:
    """``value`` with each placeholder in its texts replaced. ValueError for a lone brace."""
    if isinstance(value, str):
        return _text(value, value_of) if "{" in value or "}" in value else value
    if isinstance(value, list | tuple):
        return [_mapped(one, value_of) for one in value]
    if isinstance(value, dict):
        return {key: _mapped(one, value_of) for key, one in value.items()}
    return value


def _text(text: str, value_of: Callable[[str], str]) -> str:
    def replaced(match: re.Match[str]) -> str:
        token = match[0]
        if token in ("{{", "}}"):
            return token[0]
        if token in ("{", "}"):
            raise ValueError(f"a lone {token!r} in {shorten(clean_text(text), 60)!r}")
        return value_of(match[1])

    return _TOKEN.sub(replaced, text)


def used_in(text: str) -> str:
    """The first placeholder in a text; empty for none."""
    found: list[str] = []

    def note(name: str) -> str:
        found.append(name)
        return ""

    _mapped(text, note)
    return found[0] if found else ""


def used_variables(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The variables of the calling environment that placeholders in ``options`` stand for, sorted."""
    return tuple(sorted(_used(options, "env.")))


def used_components(options: Mapping[str, Any]) -> set[str]:
    """The components of which placeholders in ``options`` want what they said."""
    return {component for component, _ in used_outputs(options)}


def used_outputs(options: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Components that placeholders in ``options`` name, each with what of it they stand for, sorted."""
    found = (one.partition(".") for one in sorted(_used(options, "component.")))
    return tuple((component, key) for component, _, key in found)


def used_artifacts(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The artifacts that placeholders in ``options`` name, sorted."""
    found = _used(options, "artifact.")
    return tuple(sorted({name.rpartition(".")[0] for name in found}))


def _used(options: Mapping[str, Any], kind: str) -> set[str]:
    """What follows ``kind`` in the placeholders of ``options``."""
    found: set[str] = set()

    def note(name: str) -> str:
        if name.startswith(kind):
            found.add(name.removeprefix(kind))
        return ""

    for value in options.values():
        _mapped(value, note)
    return found
