"""What nobody can ask later: which stages a run was asked for, and in which order its plan has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

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


LOUD = """
[stages]
build = { command = "seq 1 90; echo token is $TOKEN; exit 3", secrets = ["TOKEN"] }
[secrets]
TOKEN = { env = "MY_TOKEN" }
"""


@pytest.mark.parametrize(
    ("keep", "lines"), [("", 40), ("[keep]\ntail = 2\n", 2), ("[keep]\ntail = 0\n", 0)]
)
def test_the_last_lines_of_a_failed_stage_are_kept_as_a_file(
    shop: Any, keep: str, lines: int
) -> None:
    shop.write(LOUD + keep)
    assert shop.run(env={"MY_TOKEN": "hunter2-secret-value"}).code == 1
    [(digest, plan)] = shop.query(
        "SELECT t.tail_sha256, p.plan FROM stage_run t, run r JOIN plan p ON p.sha256 = r.plan_sha256"
    )
    assert ("tail" in json.loads(plan)) == bool(keep), "a plan as before has the digest as before"
    if not lines:
        assert digest is None
        return
    kept = shop.home / "blobs" / digest[:2] / digest
    assert kept.stat().st_mode & 0o077 == 0
    found = kept.read_text().splitlines()
    assert len(found) == lines
    assert found[-2:] == ["token is ***", "[cxlocal] failure: exit code 3"]
    # What events say goes everywhere and stays for ever: the lines are not in them.
    assert shop.query("SELECT count(*) FROM event WHERE document LIKE '%token is ***%'") == [0]


def test_single_commands_keep_last_lines_and_what_succeeds_keeps_none(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n')
    assert shop.command("run", "start").code == 0
    assert shop.command("stage", "build", "--", "true").code == 0
    assert shop.command("stage", "build", "--", "sh", "-c", "echo broken; exit 4").code != 0
    found = shop.query("SELECT outcome, tail_sha256 IS NOT NULL FROM stage_run ORDER BY started_at")
    assert found == [("success", 0), ("failure", 1)]


def test_last_lines_travel_and_go_as_reports_do(shop: Any, tmp_path: Path) -> None:
    shop.write(LOUD)
    assert shop.run(env={"MY_TOKEN": "hunter2-secret-value"}).code == 1
    [digest] = shop.query("SELECT tail_sha256 FROM stage_run")
    bundle = tmp_path / "history.bundle"
    assert shop.command("export", "--bundle", str(bundle), "--all", "--reports").code == 0
    elsewhere = {"CXLOCAL_HOME": str(tmp_path / "elsewhere")}
    assert shop.command("import", str(bundle), env=elsewhere).code in (0, 6)
    assert (tmp_path / "elsewhere" / "blobs" / digest[:2] / digest).is_file()
    shop.write(LOUD + '[keep]\nreports = "0s"\n')
    assert shop.command("prune").code == 0
    assert not (shop.home / "blobs" / digest[:2] / digest).exists()


def test_where_the_pages_lead_to_is_recorded_with_the_run(shop: Any) -> None:
    links = {
        "commit": "https://git.example.org/c/{commit}",
        "log": "https://logs.example.org/?q={run}",
    }
    table = "".join(f'{kind} = "{address}"\n' for kind, address in links.items())
    shop.write(f'[links]\n{table}[stages]\nbuild = {{ command = "true" }}\n')
    assert shop.run().code == 0
    [found] = shop.query("SELECT links FROM deliverable")
    assert json.loads(found) == links
