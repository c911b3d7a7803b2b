"""Placeholders in tool options, and the variables of stages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.config.load import parse
from cxlocal.config.problems import Where
from cxlocal.errors import ConfigError
from cxlocal.plan.placeholders import (
    Artifact,
    Values,
    check_options,
    resolve_options,
    used_artifacts,
)  # fmt: skip
from cxlocal.plan.resolve import resolve
from cxlocal.plan.variables import stage_variables

WHEEL = Artifact("/checkout/dist/shop.whl", "pkg:pypi/shop@2.7.14", "sha256:abc")
VALUES = Values("2.7.14", "r1", "3f2a", {"wheel": WHEEL, "a.b": WHEEL}, {"REGION": "eu"})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{version}", "2.7.14"),
        ("v{version}-{run}-{revision}", "v2.7.14-r1-3f2a"),
        ("{artifact.wheel.path}", "/checkout/dist/shop.whl"),
        ("{artifact.wheel.ref}", "pkg:pypi/shop@2.7.14"),
        ("{artifact.wheel.digest}", "sha256:abc"),
        ("{artifact.a.b.digest}", "sha256:abc"),
        ("{env.REGION}", "eu"),
        ("{{version}}", "{version}"),
        ("{{{version}}}", "{2.7.14}"),
        ("nothing", "nothing"),
        ("", ""),
    ],
)
def test_what_they_stand_for(text: str, value: str) -> None:
    assert resolve_options({"a": text}, VALUES) == {"a": value}


def test_they_are_found_in_lists_and_tables_and_in_texts_only() -> None:
    options: dict[str, Any] = {"a": ["{version}", 1, {"b": "{run}", "{run}": True}], "c": None}
    assert resolve_options(options, VALUES) == {
        "a": ["2.7.14", 1, {"b": "r1", "{run}": True}],
        "c": None,
    }


def test_a_value_is_not_looked_at_again() -> None:
    values = VALUES._replace(environ={"REGION": "{version}"})
    assert resolve_options({"a": "{env.REGION}"}, values) == {"a": "{version}"}


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    assert resolve_options({"a": escaped}, VALUES) == {"a": text}
    check_options({"a": escaped}, artifacts=(), made_by={}, pass_env=(), where=Where("cx.toml"))


@pytest.mark.parametrize("kind", ["stage", "target", "environment"])
@pytest.mark.parametrize("text", ["{secret.KEY}", "https://u:{secret.KEY}@h", "{env.KEY}"])
def test_a_secret_does_not_stand_in_an_option(kind: str, text: str) -> None:
    where = Where("cx.toml", kind, "x")
    with pytest.raises(ConfigError) as caught:
        check_options(
            {"a": [text]}, artifacts=(), made_by={}, pass_env=(), where=where, secrets=["KEY"]
        )
    assert caught.value.hint.startswith(
        "take it out: the tool has the secrets that stand in secrets"
    )


def test_a_value_that_is_missing() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_options({"a": "{artifact.image.path}"}, VALUES)
    assert caught.value.why == "this run has no artifact 'image' yet"
    with pytest.raises(ConfigError) as caught:
        resolve_options({"a": "{env.NOWHERE}"}, VALUES)
    assert caught.value.why == "the variable NOWHERE is not set here"
    assert caught.value.hint.startswith("export NOWHERE=")


BAD = [
    ("{verson}", "there is no placeholder {verson}", "write {{ and }} for braces themselves"),
    ("{}", "there is no placeholder {}", "write {{ and }} for braces themselves"),
    ("{artifact.wheel}", "there is no placeholder {artifact.wheel}", None),
    ("{artifact.wheel.size}", "there is no placeholder {artifact.wheel.size}", None),
    ("{artifact..path}", "there is no placeholder {artifact..path}", None),
    ("{env.}", "there is no placeholder {env.}", None),
    ("{version", "with.a: a lone '{' in '{version'", "write {{ and }} for braces themselves"),
    ("version}", "with.a: a lone '}' in 'version}'", "write {{ and }} for braces themselves"),
    ("{artifact.weel.path}", "{artifact.weel.path}: no stage makes it", "did you mean 'wheel'?"),
    (
        "{artifact.image.path}",
        '{artifact.image.path}: stage "image" makes it, and this one does not wait for it',
        "add needs = ['image']",
    ),
    (
        "{artifact.own.path}",
        "{artifact.own.path}: this stage makes it itself",
        "use the path in the checkout",
    ),
    (
        "{env.HOME}",
        "{env.HOME} needs HOME in pass_env",
        "add pass_env = [\"HOME\"]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "what", "hint"), BAD, ids=[one[0] for one in BAD])
def test_what_cannot_be_resolved_is_refused_before_anything_runs(
    text: str, what: str, hint: str | None
) -> None:
    stages = f"""
cx = 1
[deliverable]
name = "shop"
[stages]
build = {{ tool = "wheel", produces = ["wheel"] }}
image = {{ tool = "image", produces = ["image"] }}
ship = {{ tool = "ship", needs = ["build"], produces = ["own"], with = {{ a = '{text}' }}, pass_env = ["REG*"] }}
"""
    with pytest.raises(ConfigError) as caught:
        resolve(parse(stages))
    assert caught.value.what == f'cx.toml, stage "ship": {what}'
    assert caught.value.hint == (hint or "write {{ and }} for braces themselves")
    resolve(parse(stages.replace(f"'{text}'", "['{version} {artifact.wheel.ref} {env.REGION}']")))


def test_which_artifacts_are_used() -> None:
    assert used_artifacts({"a": ["{artifact.b.path}", {"x": "{artifact.a.b.ref}{run}"}]}) == (
        "a.b",
        "b",
    )


def test_the_variables_of_a_stage() -> None:
    assert stage_variables(version="1.2.3", run="r1", revision="3f2a", stage="unit") == {
        "CXLOCAL_VERSION": "1.2.3",
        "CXLOCAL_RUN": "r1",
        "CXLOCAL_REVISION": "3f2a",
        "CXLOCAL_STAGE": "unit",
    }
    found = stage_variables(
        version="1.2.3", run="r1", revision="3f2a", stage="up", environment="test",
        environment_uri="http://127.0.0.1:8080", artifacts={"my-wheel": WHEEL},
    )  # fmt: skip
    assert found["CXLOCAL_ENVIRONMENT"] == "test"
    assert found["CXLOCAL_ENVIRONMENT_URI"] == "http://127.0.0.1:8080"
    assert found["CXLOCAL_ARTIFACT_MY_WHEEL"] == WHEEL.path
    assert found["CXLOCAL_ARTIFACT_MY_WHEEL_DIGEST"] == WHEEL.digest
    assert found["CXLOCAL_ARTIFACT_MY_WHEEL_REF"] == WHEEL.ref
