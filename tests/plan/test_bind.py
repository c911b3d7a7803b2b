"""Tools into the plan: verbs, options, and errors that name the stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import pytest

from cxlocal.config.load import parse
from cxlocal.errors import ConfigError
from cxlocal.hooks.tool import Applied, Context, Created, Done, Tool
from cxlocal.plan.bind import bind
from cxlocal.plan.resolve import resolve
from cxlocal.plan.types import Plan

HEAD = 'cx = 1\n[deliverable]\nname = "shop"\n'


class Wheel(Tool):
    """Builds and publishes."""

    name: ClassVar[str] = "wheel"

    def build(self, ctx: Context) -> Done:
        return Done()

    def publish(self, ctx: Context) -> Done:
        return Done()


class Service(Tool):
    """Deploys, and makes places."""

    name: ClassVar[str] = "service"

    class Options(Tool.Options, frozen=True, forbid_unknown_fields=True):
        module: str = ""

    def provision(self, ctx: Context) -> Done:
        return Done()

    def destroy(self, ctx: Context) -> Done:
        return Done()

    def apply(self, ctx: Context) -> Applied:
        return Applied()


class Instances(Tool):
    """Replaces what runs."""

    name: ClassVar[str] = "instances"

    def create(self, ctx: Context) -> Created:
        return Created()

    def remove(self, ctx: Context) -> Done:
        return Done()

    def apply(self, ctx: Context) -> Applied:
        return Applied()


class Shell(Tool):
    """Reads its options as a shell does."""

    name: ClassVar[str] = "sh"
    shell: ClassVar[bool] = True

    class Options(Tool.Options, frozen=True, forbid_unknown_fields=True):
        build: str | list[str] = ""
        apply: str | list[str] = ""

    def build(self, ctx: Context) -> Done:
        return Done()

    def apply(self, ctx: Context) -> Applied:
        return Applied()


TOOLS: dict[str, type[Tool]] = {
    "wheel": Wheel, "service": Service, "sh": Shell, "instances": Instances,
}  # fmt: skip


def find(name: str) -> type[Tool]:
    if name not in TOOLS:
        raise ConfigError(f"no tool is called {name!r}", hint="cxlocal plugins", name="no-tool")
    return TOOLS[name]


def check(tool: type[Tool], options: Mapping[str, Any]) -> object:
    try:
        return msgspec.convert(options, tool.Options)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error)) from error


def bound(text: str) -> Plan:
    return bind(resolve(parse(HEAD + text)), find, check)


def test_the_verb_is_what_the_tool_can_do() -> None:
    plan = bound(
        "[stages]\na = { tool = 'wheel' }\nb = { tool = 'wheel', kind = 'publish' }\n"
        "c = { tool = 'service', environment = 'e' }\nd = { command = 'x' }\n"
        "f = { tool = 'instances', environment = 'e' }\n"
        "g = { tool = 'service', kind = 'deploy', environment = 'e' }\n[environments.e]"
    )
    assert [(one.kind, one.verb) for one in plan.stages] == [
        ("build", "build"), ("publish", "publish"), ("deploy", "apply"), ("task", ""),
        ("deploy", "create"), ("deploy", "apply"),
    ]  # fmt: skip
    assert bind(plan, find, check) == plan


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[stages]\na = { tool = 'weel' }", "cx.toml, stage \"a\": no tool is called 'weel'"),
        (
            "[stages]\na = { tool = 'wheel', with = { x = 1 } }",
            'cx.toml, stage "a": Object contains unknown field `x`',
        ),
        (
            "[stages]\na = { tool = 'wheel', kind = 'test' }",
            "cx.toml, stage \"a\": the tool 'wheel' cannot test",
        ),
        (
            "[stages]\na = { tool = 'wheel', kind = 'deploy', environment = 'e' }\n[environments.e]",
            "cx.toml, stage \"a\": the tool 'wheel' cannot deploy",
        ),
        (
            "[stages]\na = { tool = 'service' }",
            'cx.toml, stage "a": a deploy needs an environment',
        ),
        (
            "[environments.e]\nlifetime = 'per-run'\ntool = 'wheel'",
            "cx.toml, environment \"e\": the tool 'wheel' cannot provision and cannot destroy",
        ),
    ],
)
def test_what_does_not_fit_is_said_with_the_stage(text: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bound(text)
    assert caught.value.what == what
    assert caught.value.data["entry"] in ("a", "e")


def test_an_environment_with_its_own_tool() -> None:
    plan = bound(
        "[environments.e]\nlifetime = 'per-run'\ntool = 'service'\nwith = { module = '{version}' }"
    )
    assert plan.environment("e").options == {"module": "{version}"}


SHELL = {
    "cat {version}": "CXLOCAL_VERSION", "cat '{run}'": "CXLOCAL_RUN",
    "echo {revision} {{x}}": "CXLOCAL_REVISION", "cat {artifact.a.path}": "CXLOCAL_ARTIFACT_A",
    "cat {artifact.a.digest}": "CXLOCAL_ARTIFACT_A_DIGEST", "cat {env.TOKEN}": "TOKEN",
}  # fmt: skip


@pytest.mark.parametrize("text", SHELL)
def test_no_placeholder_reaches_a_shell(text: str) -> None:
    """A value may come from history, where others say what a file is called."""
    stages = (
        '[stages]\na = { command = "x", produces = { a = "a" } }\n'
        'b = { tool = "sh", needs = ["a"], pass_env = ["TOKEN"], with = { build = WHAT } }\n'
    )
    with pytest.raises(ConfigError) as refused:
        bound(stages.replace("WHAT", f'"{text}"'))
    assert "a command for the shell holds {" in refused.value.what
    assert f'"${SHELL[text]}"' in refused.value.hint
    bound(stages.replace("WHAT", '"cat ${{X}} $CXLOCAL_ARTIFACT_A"'))
    bound(stages.replace("WHAT", f'["cat", "{text}"]'))


@pytest.mark.parametrize("said", ["url", "direct-url"])
def test_what_a_component_said_reaches_a_shell_as_a_variable(said: str) -> None:
    """A list takes it, as no shell reads that."""
    components = (
        '[components.my-db]\nmutable = true\ntool = "service"\n'
        '[components.web]\nmutable = true\ntool = "sh"\nneeds = ["my-db"]\nwith = { apply = WHAT }\n'
    )
    placeholder = f"{{component.my-db.{said}}}"
    with pytest.raises(ConfigError) as refused:
        bound(components.replace("WHAT", f'"psql {placeholder}"'))
    variable = f"CXLOCAL_COMPONENT_MY_DB_{said.upper().replace('-', '_')}"
    assert f'"${variable}"' in refused.value.hint
    bound(components.replace("WHAT", f'["psql", "{placeholder}"]'))
