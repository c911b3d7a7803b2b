"""The tool ``pytest``: outcomes by exit code, a report in every case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.pytest_tool import Pytest
from cxlocal_plugins.wheel import Wheel

from cxlocal.hooks.tool import ArtifactRef

Run = Callable[..., Any]
OURS = {"paths": ["tests"]}


def test_passing_tests_leave_a_report(run_verb: Run, checkout: Path) -> None:
    before = sorted(checkout.rglob("*"))
    ran = run_verb(Pytest, "test", OURS)
    assert ran.outcome.outcome == "success", ran.log
    (report,) = ran.outcome.result.reports
    assert b"test_a_basket_is_added_up" in report.path.read_bytes()
    assert sorted(checkout.rglob("*")) == before, "the checkout stays as it came"


def test_a_failing_test_is_a_failure_and_its_report_is_kept(run_verb: Run, checkout: Path) -> None:
    (checkout / "tests" / "test_red.py").write_text("def test_red():\n    assert 1 == 2\n")
    ran = run_verb(Pytest, "test", OURS)
    assert ran.outcome.outcome == "failure"
    assert "1 failed, 3 passed" in ran.outcome.reason
    (report,) = ran.outcome.result.reports
    assert b"test_red" in report.path.read_bytes()


def test_finding_nothing_is_a_failure_unless_allowed(run_verb: Run, checkout: Path) -> None:
    (checkout / "empty").mkdir()
    assert run_verb(Pytest, "test", {"paths": ["empty"]}).outcome.outcome == "failure"
    allowed = {"paths": ["empty"], "allow_empty": True}
    assert run_verb(Pytest, "test", allowed).outcome.outcome == "success"


@pytest.mark.parametrize(
    ("file", "content"),
    [("test_broken.py", "import nothing_of_that_name\n"), ("conftest.py", "raise ValueError\n")],
)
def test_what_cannot_be_collected_is_an_error(
    run_verb: Run, checkout: Path, file: str, content: str
) -> None:
    (checkout / "tests" / file).write_text(content)
    assert run_verb(Pytest, "test", OURS).outcome.outcome == "error"


def test_wrong_arguments_are_an_error(run_verb: Run) -> None:
    ran = run_verb(Pytest, "test", {"args": ["--no-such-option"]})
    assert ran.outcome.outcome == "error" and "called wrongly" in ran.outcome.reason


def test_the_wheel_itself_can_be_tested(run_verb: Run, checkout: Path) -> None:
    wheel = run_verb(Wheel, "build").outcome.result.artifacts[0].path
    (checkout / "src" / "webshop" / "__init__.py").write_text("raise ImportError('the sources')\n")
    artifacts = {"wheel": ArtifactRef(name="wheel", path=wheel, sha256="a" * 64, size=1)}
    tested = run_verb(Pytest, "test", {**OURS, "install": ["wheel"]}, artifacts=artifacts)
    assert tested.outcome.outcome == "success", tested.log
    assert run_verb(Pytest, "test", OURS).outcome.outcome == "error"
    missing = run_verb(Pytest, "test", {**OURS, "install": ["nothing"]}, artifacts=artifacts)
    assert missing.outcome.outcome == "failure" and "'nothing'" in missing.outcome.reason
