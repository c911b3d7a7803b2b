"""A stage that the plan guards begins with its promotion and its gates, whoever drives it."""

from __future__ import annotations

from typing import Any

import pytest

import cxlocal
from cxlocal.errors import Refused

GATE = """
import os
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.stage_view import GateAnswer

@hookimpl
def cxlocal_gate(question):
    if question.kind == "deploy":
        assert question.environment == "production"
        return GateAnswer("freeze", {"a": "allow", "d": "deny", "u": "undecided"}[os.environ["SAY"]], "x")
"""
WORDS = ("--", "touch", "went")
WAYS: dict[str, tuple[str, ...]] = {
    "a command": WORDS, "called a task": ("--kind", "task", *WORDS), "told": ("--began",),
}  # fmt: skip
BUILT = "cxlocal stage build -- touch app.bin; cxlocal stage unit -- true"


def began(desk: Any) -> int:
    """How often the deployment began, by what it left and by the journal."""
    rows = desk.rows("SELECT 1 FROM stage_run WHERE stage = 'deploy'")
    return max(len(rows), (desk.tree / "went").exists())


def test_without_its_promotion_a_stage_does_not_begin(desk: Any) -> None:
    desk.start()
    for how, way in WAYS.items():
        done = desk("stage", "deploy", *way)
        assert (done.code, "READY was not given" in done.err) == (3, True), how
    assert began(desk) == 0
    assert desk.shell(f"{BUILT}; cxlocal promote READY; cxlocal stage deploy --began").code == 0
    assert began(desk) == 1


def test_what_was_done_unasked_is_recorded_and_flagged(desk: Any) -> None:
    desk.start()
    assert desk("stage", "deploy", "--began").code == 3
    done = desk("stage", "deploy", "--ended", "success")
    assert done.code == 0 and "neither its promotion nor gates were asked" in done.err, done.err
    flags = desk.rows("SELECT kind FROM open_flags WHERE kind = 'not-asked'")
    assert len(flags) == 1
    assert desk.shell(f"{BUILT}; cxlocal promote READY; cxlocal stage deploy --began").code == 0
    assert desk("stage", "deploy", "--ended", "success").code == 0
    assert len(desk.rows("SELECT 1 FROM flag WHERE kind = 'not-asked'")) == 1


@pytest.mark.parametrize(
    ("env", "code"),
    [
        ({"SAY": "d"}, 3), ({"SAY": "u"}, 8), ({"SAY": "broken"}, 8),
        ({"SAY": "a", "CXLOCAL_TRUST": None}, 3), ({"SAY": "a"}, 0),
    ],
)  # fmt: skip
def test_against_a_gate_of_the_project_a_stage_does_not_begin(
    desk: Any, env: dict[str, str | None], code: int
) -> None:
    desk.write({".cx/plugins/gate.py": GATE, ".gitignore": ".cx/run\nwent\n*.bin\n"})
    desk.environ["CXLOCAL_TRUST"] = desk("trust", "--digest").out.strip()
    desk.start()
    assert desk.shell(f"{BUILT}; cxlocal promote READY").code == 0
    # What is taken away in the tree is asked all the same: the gates are those of the commit.
    (desk.tree / ".cx/plugins/gate.py").unlink()
    done = desk("stage", "deploy", *WORDS, env=env)
    assert done.code == code, done.err
    assert began(desk) == (code == 0)


def test_a_python_program_is_held_to_the_same(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.tree)
    for name, value in desk.environ.items():
        monkeypatch.setenv(name, value)
    with cxlocal.open_run(strict=False) as run:
        with pytest.raises(Refused, match="deploy was refused"), run.stage("deploy"):
            raise AssertionError("it began")
        assert began(desk) == 0
        with run.stage("build") as stage:
            stage.exec(["touch", "app.bin"])
        with run.stage("unit"):
            pass
        run.promote("READY")
        with run.stage("deploy"):
            pass
    assert began(desk) == 1


GUARDS = """
[stages.gated]
kind = "deploy"
command = "true"
environment = "scratch"

[stages.required]
command = "true"
requires = ["APPROVED"]

[stages.inside]
command = "true"
environment = "production"

[stages.beside]
command = "true"
environment = "staging"
[environments.scratch]
lifetime = "per-run"
[environments.staging]
protected = false
"""


@pytest.mark.parametrize("recorded", ["no run", "another commit", "a run that is over"])
def test_what_is_guarded_does_not_begin_outside_of_a_run(desk: Any, recorded: str) -> None:
    config = (desk.tree / "cx.toml").read_text()
    desk.write({"cx.toml": config + GUARDS, ".gitignore": ".cx/run\nwent\n"})
    env = {}
    if recorded != "no run":
        env = {"CXLOCAL_RUN": desk.start()}
    if recorded == "another commit":
        desk.write({"more": "of it"})
    elif env:
        assert desk("run", "finish").code == 0
    for stage in ("deploy", "gated", "required", "inside"):
        for how in (WORDS, ("--strict", *WORDS), ("--kind", "task", *WORDS)):
            done = desk("stage", stage, *how, env=env)
            assert (done.code, f"stage {stage} is guarded" in done.err) == (3, True), done.err
            assert not (desk.tree / "went").exists(), (stage, how)
    for stage in ("beside", "unit", "unknown"):
        done = desk("stage", stage, "--", "touch", "went", env=env)
        assert (done.code, done.err.count("Warning")) == (0, 1), done.err
        assert "cxlocal run start" in done.err
        (desk.tree / "went").unlink()
    if env:
        assert desk.stages() == []
