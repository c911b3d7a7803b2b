"""What of two plans is compared before one that came from elsewhere is carried out."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from cxlocal.config.load import parse
from cxlocal.plan.executed import first_difference
from cxlocal.plan.freeze import freeze, thaw
from cxlocal.plan.resolve import resolve
from cxlocal.plan.types import Plan

FILE = b"""
cx = 1
[deliverable]
name = "shop"
paths = ["src"]
[version]
line = "2.7"
stamp = [{ file = "v.txt", pattern = "v=(.*)" }]
[stages]
build = { kind = "build", command = "make", produces = { app = "app.zip" }, pass_env = ["TERM"] }
unit = { kind = "test", command = ["make", "test"], needs = ["build"], reports = { junit = "r.xml" } }
live = { kind = "deploy", tool = "ssh", with = { host = "h" }, environment = "production", requires = ["READY"], secrets = ["KEY"] }
[promotions]
READY = { after = ["unit"] }
[environments]
production = { lifetime = "lasting" }
[secrets]
KEY = { env = "KEY" }
"""
PLAN = resolve(parse(FILE, file="cx.toml"))

DONE_OTHERWISE = {
    "a command": ("build", {"command": "make; id"}),
    "a word of one": ("unit", {"command": ("make", "test", "-k")}),
    "no shell": ("build", {"command": ("make",)}),
    "a tool": ("live", {"tool": "kubectl"}),
    "what it is asked to do": ("live", {"verb": "publish"}),
    "an option of a tool": ("live", {"options": {"host": "evil"}}),
    "what it waits for": ("live", {"waits_for": (), "requires": ()}),
    "what it needs": ("unit", {"needs": ()}),
    "where to": ("live", {"environment": "staging"}),
    "a secret": ("build", {"secrets": ("KEY",)}),
    "what it sees of the environment": ("build", {"pass_env": ("TERM", "AWS_SECRET_ACCESS_KEY")}),
    "what it makes": ("build", {"produces": ()}),
    "its reports": ("unit", {"reports": ()}),
    "its kind": ("unit", {"kind": "task"}),
    "a report without a test": ("unit", {"allow_empty": True}),
}  # fmt: skip


@pytest.mark.parametrize("kind", DONE_OTHERWISE)
def test_a_stage_that_does_something_else_is_named(kind: str) -> None:
    name, change = DONE_OTHERWISE[kind]
    other = replace(
        PLAN,
        stages=tuple(replace(one, **change) if one.name == name else one for one in PLAN.stages),
    )
    found = first_difference(other, PLAN)
    assert found is not None and found[0].startswith(f"stage {name}: "), found


OF_THE_PLAN: dict[str, dict[str, Any]] = {
    "a stage more": {"stages": (*PLAN.stages, replace(PLAN.stages[0], name="more"))},
    "a stage less": {"stages": PLAN.stages[1:]},
    "another order": {"stages": PLAN.stages[::-1]},
    "a promotion that is earned by nothing": {
        "promotions": (replace(PLAN.promotions[0], after=()),)
    },
    "an environment for each run": {
        "environments": (replace(PLAN.environments[0], lifetime="per-run"),)
    },
    "an environment that is not protected": {
        "environments": (replace(PLAN.environments[0], protected=False),)
    },
    "a file that is written": {
        "version": replace(PLAN.version, stamp=(replace(PLAN.version.stamp[0], file="../x"),))
    },
    "the working tree": {"workspace": "in-place"},
    "a filter": {"filters": ("evil",)},
    "other files": {"paths": ()},
}


@pytest.mark.parametrize("kind", OF_THE_PLAN)
def test_a_plan_that_does_something_else_is_noticed(kind: str) -> None:
    assert first_difference(replace(PLAN, **OF_THE_PLAN[kind]), PLAN) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"title": "x", "owner": "y", "links": {"commit": "https://x"}, "tail": 3},
        {"version": replace(PLAN.version, line="3.0", first=7, reserve=9, ahead=1)},
        {"stages": tuple(replace(one, retries=3, timeout_seconds=1) for one in PLAN.stages)},
        {"environments": tuple(replace(one, title="x", timeout_seconds=1) for one in PLAN.environments)},
    ],
)  # fmt: skip
def test_how_long_how_often_and_how_it_is_called_is_left_aside(change: dict[str, Any]) -> None:
    assert first_difference(replace(PLAN, **change), PLAN) is None


def test_a_plan_that_was_frozen_does_the_same() -> None:
    assert first_difference(thaw(freeze(PLAN)[0]), PLAN) is None
    assert isinstance(PLAN, Plan)
