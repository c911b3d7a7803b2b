"""``cxlocal.open_run``: the same record from Python; exceptions say how blocks ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cxlocal
from cxlocal.api import outcome_of
from cxlocal.domain import Outcome


@pytest.fixture
def at_desk(desk: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """This process works in the project."""
    monkeypatch.chdir(desk.tree)
    for name, value in desk.environ.items():
        monkeypatch.setenv(name, value)
    return desk


def test_a_release_in_python(at_desk: Any) -> None:
    with cxlocal.open_run(reason="by a script") as run:
        assert run.version == "2.7.0"
        with run.stage("build", kind="build") as stage:
            assert stage.exec(["sh", "-c", "echo $CXLOCAL_VERSION > app.bin"]) == 0
            stage.exec([sys.executable, "-c", "print('two')"])
            stage.artifact("app", "app.bin")
            stage.note("compiler", {"name": "cc"})
        with run.stage("unit") as stage:
            assert stage.exec(["sh", "-c", "exit 3"], check=False) == 3
        run.promote("READY", reason="it works")
    row = at_desk.rows("SELECT outcome, version, reason FROM run")[0]
    assert tuple(row.values()) == ("success", "2.7.0", "by a script")
    assert at_desk.stages() == [("build", 1, "success", 0), ("unit", 1, "success", 3)]
    assert at_desk.rows("SELECT name FROM artifact") == [{"name": "app"}]
    details = at_desk.rows("SELECT details ->> '$.compiler.name' AS n FROM stage_run")[0]
    assert details == {"n": "cc"}
    assert at_desk.rows("SELECT decision FROM promotion") == [{"decision": "granted"}]
    log = next((at_desk.home / "logs").glob("*/build.log"))
    assert log.read_text() == "two\n"


@pytest.mark.parametrize(
    ("problem", "outcome"),
    [
        (KeyboardInterrupt(), "cancel"),
        (ValueError("a bug of the script"), "error"),
        (cxlocal.OutcomeFailure("the check says no"), "failure"),
        (cxlocal.Trouble("no network"), "error"),
        (SystemExit(1), "error"),
    ],
)
def test_exceptions_are_recorded_and_go_on(
    at_desk: Any, problem: BaseException, outcome: str
) -> None:
    with pytest.raises(type(problem)), cxlocal.open_run() as run, run.stage("work"):
        raise problem
    assert at_desk.stages()[0][2] == outcome
    assert at_desk.rows("SELECT outcome FROM run") == [{"outcome": outcome}]


def test_a_failure_that_was_dealt_with(at_desk: Any) -> None:
    with cxlocal.open_run() as run:
        with pytest.raises(cxlocal.OutcomeFailure), run.stage("work") as stage:
            stage.exec(["false"])
        with run.stage("work") as stage:
            assert stage.attempt == 2
    assert at_desk.rows("SELECT outcome FROM run") == [{"outcome": "success"}]


def test_programs_that_cannot_be_run_are_trouble(at_desk: Any) -> None:
    with cxlocal.open_run(version=False) as run:
        assert run.version == ""
        with pytest.raises(cxlocal.Trouble, match="no-such"), run.stage("work") as stage:
            stage.exec(["no-such-program"])
        with pytest.raises(cxlocal.Trouble, match="time limit"), run.stage("slow") as stage:
            stage.exec(["sleep", "30"], timeout=0.2)
        with pytest.raises(cxlocal.Trouble, match="no file"), run.stage("make") as stage:
            stage.artifact("app", "missing.bin")


def test_a_run_of_others_is_joined_and_left_open(
    at_desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = at_desk.start()
    monkeypatch.setenv("CXLOCAL_RUN", run_id)
    with cxlocal.open_run() as run, run.stage("work"):
        assert run.id == run_id
    assert at_desk.rows("SELECT outcome FROM run") == [{"outcome": None}]


def test_outside_of_its_block_nothing_is_open(at_desk: Any) -> None:
    run = cxlocal.open_run()
    with pytest.raises(cxlocal.Trouble):
        run.version  # noqa: B018 - asking is the test
    with pytest.raises(cxlocal.UsageError):
        cxlocal.open_run(at_desk.root)


def test_outcomes_of_exceptions() -> None:
    assert outcome_of(None) == (Outcome.SUCCESS, "")
    assert outcome_of(cxlocal.Interrupted("stopped")) == (Outcome.CANCEL, "stopped")
    assert outcome_of(OSError(2, "gone"))[0] == Outcome.ERROR


def test_public_names_are_those_and_cost_nothing_until_asked_for() -> None:
    assert set(cxlocal.__all__) == {
        "ConfigError", "Conflict", "CxError", "Interrupted", "JournalDamaged", "NotSignedIn",
        "NotSynced", "OutcomeFailure", "Refused", "Run", "StageWork", "StoreNeeded", "Trouble",
        "Undecided", "UsageError", "hookimpl", "open_run",
    }  # fmt: skip
    for name in cxlocal.__all__:
        assert getattr(cxlocal, name) is not None
    with pytest.raises(AttributeError):
        _ = cxlocal.no_such_name
    script = "import sys, cxlocal; print(sorted(m for m in sys.modules if m.startswith('cxlocal')))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout == "['cxlocal']\n"
    assert Path(cxlocal.__file__).name == "__init__.py"
