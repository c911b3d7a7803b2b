"""What reports say about a stage whose program succeeded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxlocal.domain import Outcome
from cxlocal.hooks.report import OUTCOMES, Case, Report
from cxlocal.plan.types import ReportRule
from cxlocal.runner.stage_verdict import Read, judge_reports, suite_outcome, words_of_tests

JUNIT = ReportRule(format="junit", path="a/*.xml")
OTHER = ReportRule(format="junit", path="b.xml")
TAP = ReportRule(format="tap", path="c.tap")


def read(*outcomes: str, promised: str = "a/*.xml", form: str = "junit", problem: str = "") -> Read:
    cases = tuple(Case("s", str(at), one, None, "") for at, one in enumerate(outcomes))
    return Read(Report(form, "s", cases, problem), promised or "report.xml", promised)


@pytest.mark.parametrize(
    ("rules", "reports", "outcome", "words"),
    [
        ([], [], "success", ""),
        ([JUNIT], [read("passed", "skipped", "flaky")], "success", ""),
        ([JUNIT], [read("skipped")], "success", ""),
        ([JUNIT], [read("passed", "failed")], "failure", "says 1 test case failed"),
        ([JUNIT], [read("error"), read("failed")], "failure", "says 2 test cases failed"),
        ([], [read("failed", promised="")], "failure", "1 test case"),
        # A promise that was not kept, each of several.
        ([JUNIT], [], "error", "report missing: a/*.xml"),
        ([JUNIT, OTHER], [read("passed")], "error", "report missing: b.xml"),
        ([JUNIT, OTHER, TAP], [], "error", "a/*.xml, b.xml, c.tap"),
        ([JUNIT, TAP], [read("passed", promised="")], "error", "report missing: c.tap"),
        ([JUNIT], [read("passed", promised="")], "success", ""),
        # Unreadable: nobody knows; what did fail is known all the same.
        ([JUNIT], [read("passed", problem="cut off")], "error", "a/*.xml could not be read: cut"),
        ([JUNIT], [read("failed", problem="cut off")], "failure", "1 test case"),
        ([JUNIT, OTHER], [read("failed")], "failure", "1 test case"),
        ([JUNIT], [read(problem="cut off")], "error", "could not be read"),
        # Empty: those of one path together, each other one by itself.
        ([JUNIT], [read()], "failure", "a/*.xml holds no test (allow_empty = true"),
        ([JUNIT], [read(), read("passed")], "success", ""),
        ([JUNIT], [read(), read()], "failure", "holds no test"),
        ([JUNIT, OTHER], [read("passed"), read(promised="b.xml")], "failure", "b.xml holds no"),
        ([], [read(promised="")], "failure", "report.xml holds no test"),
    ],
)  # fmt: skip
def test_verdicts(rules: list[ReportRule], reports: list[Read], outcome: str, words: str) -> None:
    found, reason = judge_reports(rules, reports, allow_empty=False)
    assert found == outcome and words in reason and bool(words) == bool(reason)
    allowed, _ = judge_reports(rules, reports, allow_empty=True)
    assert allowed == (Outcome.SUCCESS if "holds no" in words else outcome)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], ""), ([[]], ""), ([["passed"]], "1 test passed"),
        ([["passed", "flaky"], ["passed"]], "3 tests passed"),
        ([["passed", "skipped"], ["skipped"]], "1 test passed, 2 skipped"),
        ([["skipped"]], "0 tests passed, 1 skipped"),
    ],
)  # fmt: skip
def test_what_passed_is_said_beside_a_stage(files: list[list[str]], words: str) -> None:
    assert words_of_tests([read(*outcomes) for outcomes in files]) == words


@given(st.lists(st.lists(st.sampled_from(OUTCOMES)), max_size=4), st.booleans())
def test_success_means_that_no_test_went_wrong(files: list[list[str]], allow: bool) -> None:
    reports = [read(*outcomes) for outcomes in files]
    found, _ = judge_reports([JUNIT] if files else [], reports, allow_empty=allow)
    bad = {"failed", "error"} & {one for outcomes in files for one in outcomes}
    empty = bool(files) and not any(files) and not allow
    assert (found == Outcome.SUCCESS) == (not bad and not empty)


def test_an_empty_report_is_none_that_succeeded() -> None:
    """By itself; a path that matches many files may have one without a test."""
    empty, full, other = read(), read("passed"), read(promised="b.xml")
    alone = read(promised="")
    for one, reports, outcome in (
        (empty, [empty], "failure"),
        (empty, [empty, full], "success"),
        (other, [full, other], "failure"),
        (alone, [alone, read("passed", promised="")], "failure"),
        (full, [full], "success"),
        (read("error"), [], "error"),
        (read(problem="cut off"), [], "error"),
    ):
        assert suite_outcome(one, reports, allow_empty=False) == outcome, one
        allowed = "success" if outcome == "failure" else outcome
        assert suite_outcome(one, reports, allow_empty=True) == allowed
