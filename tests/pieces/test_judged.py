"""A stage is judged alike whoever ran it: a journey for each way. The rule is in test_judge.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cxlocal

CONFIG = """\
cx = 1
[deliverable]
name = "shop"
[version]
line = "1.0"
[secrets]
TOKEN = { env = "THE_TOKEN" }
[stages.build]
kind = "build"
command = "cp source.txt app.txt"
produces = { app = "app.txt" }
[stages.unit]
kind = "test"
command = "sh unit.sh"
needs = ["build"]
reports = { junit = "unit.xml" }
secrets = ["TOKEN"]
environment = "house"
[stages.ship]
kind = "deploy"
command = "sh ship.sh"
needs = ["build"]
reports = { junit = "ship.xml" }
environment = "house"
[promotions]
TESTED = { after = ["unit"] }
SHIPPED = { after = ["ship"] }
[environments]
house = { lifetime = "lasting", uri = "https://house.example" }
"""
RED = '<testsuite name="u"><testcase classname="a" name="t"><failure message="no"/></testcase></testsuite>'
GREEN = '<testsuite name="u"><testcase classname="a" name="t"/></testsuite>'
TELL = "env | grep -E '^(CXLOCAL_|TOKEN=)' | sed 's/RUN=.*/RUN=/' | sort >> \"{told}\"; "
NO = "the report says 1 test case failed, though the program did not"


@pytest.fixture
def judged(desk: Any) -> Any:
    """A project whose tests say whatever the file ``says`` outside of it holds."""
    desk.says, desk.told = desk.root / "says", desk.root / "told"
    desk.says.write_text(RED)
    desk.environ["THE_TOKEN"] = "s3cret-value-of-this-test"
    copy = f'cat "{desk.says}" > '
    desk.write(
        {
            "cx.toml": CONFIG,
            "source.txt": "bytes\n",
            "unit.sh": TELL.format(told=desk.told) + copy + "unit.xml\n",
            "ship.sh": copy + "ship.xml\n",
            ".gitignore": ".cx/run\n*.xml\napp.txt\n",
        }
    )
    return desk


def outcomes(desk: Any) -> list[tuple[str, str, str]]:
    """Stage, outcome and reason of every attempt."""
    rows = desk.rows("SELECT stage, outcome, reason FROM stage_run ORDER BY rowid")
    return [(one["stage"], one["outcome"], one["reason"] or "") for one in rows]


def decisions(desk: Any) -> list[str]:
    """The promotions that were decided."""
    return [f"{one['name']} {one['decision']}" for one in desk.rows("SELECT * FROM promotion")]


def told(desk: Any) -> list[str]:
    """What the tests were told, and forget it."""
    text = desk.told.read_text().replace(str(desk.home), "HOME")
    desk.told.unlink()
    return [
        line
        for line in text.splitlines()
        # Where the person keeps the journal and who it is: the caller's own.
        if not line.startswith(("CXLOCAL_HOME=", "CXLOCAL_ACTOR="))
    ]


def in_python(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process works in the project."""
    monkeypatch.chdir(desk.tree)
    for name, value in desk.environ.items():
        monkeypatch.setenv(name, value)


def test_the_single_command(judged: Any) -> None:
    run = judged.start()
    assert judged("stage", "build", "--", "cp", "source.txt", "app.txt").code == 0
    done = judged("stage", "unit", "--", "sh", "unit.sh")
    assert done.code == 1 and f"stage unit: {NO}" in done.err
    assert f"failure: {NO}" in (judged.home / "logs" / run / "unit.log").read_text()
    refused = judged("promote", "TESTED")
    assert (refused.code, decisions(judged)) == (3, [])
    old = judged("stage", "unit", "--", "true")
    assert old.code == 9 and "report missing: unit.xml was not written" in old.err
    assert judged("stage", "unit", "--", "sh", "-c", "sh unit.sh; exit 7").code == 7
    said = judged("stage", "unit", "--ended", "success")
    assert said.code == 1 and NO in said.err
    assert judged("promote", "TESTED").code == 3
    judged.says.write_text(GREEN)
    assert judged("stage", "unit", "--", "sh", "unit.sh").code == 0
    assert judged("promote", "TESTED").code == 0
    assert [one[1] for one in outcomes(judged)] == [
        "success", "failure", "error", "failure", "failure", "success"
    ]  # fmt: skip
    assert decisions(judged) == ["TESTED granted"]


def test_without_a_run_a_red_report_is_red_all_the_same(judged: Any) -> None:
    words = ["--report", "junit=unit.xml", "--", "sh", "unit.sh"]
    done = judged("stage", "smoke", *words)
    assert done.code == 1 and "is not recorded" in done.err and NO in done.err
    judged.says.write_text(GREEN)
    assert judged("stage", "smoke", *words).code == 0


def test_the_python_way(judged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    in_python(judged, monkeypatch)
    with cxlocal.open_run() as run:
        with run.stage("build") as stage:
            stage.exec(["cp", "source.txt", "app.txt"])
        with pytest.raises(cxlocal.OutcomeFailure, match=NO), run.stage("unit") as stage:
            assert stage.exec(["sh", "unit.sh"]) == 0
        with pytest.raises(cxlocal.Refused):
            run.promote("TESTED")
        old = pytest.raises(cxlocal.Trouble, match=r"unit\.xml was not written")
        with old, run.stage("unit") as stage:
            stage.report("junit", "unit.xml")
        with pytest.raises(ValueError, match="mine"), run.stage("unit") as stage:
            stage.exec(["sh", "unit.sh"])
            raise ValueError("mine")
        with pytest.raises(cxlocal.OutcomeFailure, match=NO), run.stage("free") as stage:
            stage.report("junit", "unit.xml")
        judged.says.write_text(GREEN)
        with run.stage("unit") as stage:
            stage.exec(["sh", "unit.sh"])
        run.promote("TESTED")
    assert [one[1] for one in outcomes(judged)] == [
        "success", "failure", "error", "error", "failure", "success"
    ]  # fmt: skip
    assert judged.rows("SELECT name, stage FROM artifact") == [{"name": "app", "stage": "build"}]
    assert decisions(judged) == ["TESTED granted"]


def test_a_run_and_a_later_deployment(judged: Any) -> None:
    done = judged("run", "--to", "unit")
    assert (done.code, decisions(judged)) == (1, [])
    assert ("unit", "failure", NO) in outcomes(judged)
    judged.says.write_text(GREEN)
    assert judged("run", "--to", "unit").code == 0
    assert decisions(judged) == ["TESTED granted"]
    judged.says.write_text(RED)
    done = judged("deploy", "1.0.1", "--to", "house")
    assert done.code == 1 and "ship did not succeed" in done.err
    assert outcomes(judged)[-1] == ("ship", "failure", NO)
    assert decisions(judged) == ["TESTED granted"]
    assert judged.rows("SELECT * FROM deployments_now") == []
    judged.says.write_text(GREEN)
    assert judged("deploy", "1.0.1", "--to", "house").code == 0
    assert decisions(judged) == ["TESTED granted", "SHIPPED granted"]


def test_a_stage_is_told_the_same_whoever_runs_it(
    judged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged.says.write_text(GREEN)
    assert judged("run", "--to", "unit").code == 0
    by_run = told(judged)
    assert "TOKEN=s3cret-value-of-this-test" in by_run
    assert "CXLOCAL_ENVIRONMENT_URI=https://house.example" in by_run
    assert any(line.startswith("CXLOCAL_ARTIFACT_APP=") for line in by_run)
    same = [line.replace("1.0.0", "1.0.1") for line in by_run]
    judged.start()
    assert judged("stage", "build", "--", "cp", "source.txt", "app.txt").code == 0
    assert judged("stage", "unit", "--", "sh", "unit.sh").code == 0
    assert _shape(told(judged)) == _shape(same)
    in_python(judged, monkeypatch)
    (judged.tree / ".cx" / "run").unlink()
    with cxlocal.open_run() as run:
        with run.stage("build") as stage:
            stage.exec(["cp", "source.txt", "app.txt"])
        with run.stage("unit") as stage:
            stage.exec(["sh", "unit.sh"])
    assert _shape(told(judged)) == _shape([line.replace("1.0.1", "1.0.2") for line in same])
    value = b"s3cret-value-of-this-test"
    kept = [path for path in judged.home.rglob("*") if path.is_file()]
    assert [path for path in kept if value in path.read_bytes()] == []


def _shape(lines: list[str]) -> list[str]:
    """Without the id of the run in the path of an artifact, and without what tells a stage of which run
    and machine it is a part: a command wrapped in somebody else's process has that already."""
    own = ("CXLOCAL_MARK=", "CXLOCAL_WITHIN=", "CXLOCAL_HOME=", "CXLOCAL_NODE=")
    return [
        f"CXLOCAL_ARTIFACT_APP={Path(line).name}" if "_APP=" in line else line
        for line in lines
        if not line.startswith(own)
    ]
