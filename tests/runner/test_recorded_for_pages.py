"""What nobody can ask later: which stages a run was asked for, and in which order its plan has them."""

from __future__ import annotations

import json
from typing import Any

PROJECT = """
[stages]
build = { command = "true" }
test = { kind = "deploy", command = "true", needs = ["build"], environment = "staging" }
live = { kind = "deploy", command = "true", needs = ["test"], environment = "production" }
[environments]
staging = { protected = false }
production = { title = "Live" }
"""


def test_what_a_run_was_asked_for_and_the_plan_in_order(shop: Any) -> None:
    shop.write(PROJECT)
    assert shop.run("--to", "build").code == 0
    assert shop.run("--resume", shop.last(), "-m", "now to staging").code == 0
    assert shop.run("--resume", shop.last(), "--to", "production").code == 0
    found = shop.query(
        "SELECT resumed, up_to, stages, kept, reason FROM run_asked ORDER BY asked_at"
    )
    assert [(row[0], row[1], json.loads(row[2]), json.loads(row[3])) for row in found] == [
        (0, "build", ["build"], []),
        (1, "", ["build", "test"], ["build"]),
        (1, "production", ["build", "test", "live"], ["build", "test"]),
    ]
    assert found[1][4] == "now to staging"
    stages = "SELECT stage, kind, environment, waits_for FROM plan_stage ORDER BY position"
    assert shop.query(stages) == [
        ("build", "task", "", "[]"),
        ("test", "deploy", "staging", '["build"]'),
        ("live", "deploy", "production", '["test"]'),
    ]
    assert shop.query(
        "SELECT name, position, title, lifetime, protected FROM plan_environment ORDER BY position"
    ) == [("staging", 1, "staging", "lasting", 0), ("production", 2, "Live", "lasting", 1)]
    # By name production would come first; as the plan has it, it comes last.
    live = shop.command("sql", "-q", "live-now", "--json").json()
    assert [row["environment"] for row in live] == ["staging", "production"]
    went_on = "SELECT name, words FROM run_timeline WHERE what = 'run' ORDER BY at"
    assert [row[0] for row in shop.query(went_on)] == ["", "production"]
