"""Placeholders in the options of tools: ``{version}``, ``{artifact.wheel.path}`` and the like.

::

    {version} {run} {revision}          of this run
    {artifact.NAME.path|ref|digest}     an artifact of a stage this one waits for
    {env.NAME}                          a variable listed in pass_env
    {component.NAME.KEY}                of components: what one that it needs said
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
                raise _missing(name, f"the variable {rest} is not set")
            return values.environ[rest]
        if kind == "component":
            component, _, key = rest.partition(".")
            if values.components is None:
                return ""
            if key not in values.components.get(component, {}):
                said = ", ".join(values.components.get(component, {})) or "nothing"
                raise _missing(name, f"the component {component} said {said}")
            return values.components[component][key]
        return str(getattr(values, name))

    return {key: _mapped(value, value_of) for key, value in options.items()}


def _missing(name: str, why: str) -> ConfigError:
    return ConfigError(
        f"{{{name}}} has no value",
        why=why,
        hint="correct the placeholder in cx.toml, or see that it has a value by then",
        name="no-value",
        placeholder=name,
    )


def check_options(
    options: Mapping[str, Any],
    *,
    artifacts: Collection[str],
    made_by: Mapping[str, str],
    pass_env: Sequence[str],
    where: Where,
    components: Collection[str] = (),
) -> None:
    """Refuse every placeholder that could not be resolved when the stage starts.

    ``components`` are those that a component needs.

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
                raise problem(
                    where,
                    f"{{{name}}} needs {rest} in pass_env",
                    why="a stage sees only the variables it names",
                    hint=f"add pass_env = [{rest!r}]; a secret is given with secrets",
                    key="with",
                )
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


def used_artifacts(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The artifacts that placeholders in ``options`` name, sorted."""
    found = _used(options, "artifact.")
    return tuple(sorted({name.rpartition(".")[0] for name in found}))


def used_components(options: Mapping[str, Any]) -> set[str]:
    """The components of which placeholders in ``options`` want what they said."""
    return {name.partition(".")[0] for name in _used(options, "component.")}


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
