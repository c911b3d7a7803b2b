"""What its reports say about a stage whose program succeeded. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cxlocal.domain import Outcome
from cxlocal.hooks.report import Report
from cxlocal.plan.types import ReportRule


class Read(NamedTuple):
    """A report that was read."""

    report: Report
    shown: str
    """The file, as messages name it."""
    promised: str = ""
    """The path in the plan that it keeps the promise of; empty for one that the tool named."""


def judge_reports(
    rules: Sequence[ReportRule], reports: Sequence[Read], *, allow_empty: bool
) -> tuple[Outcome, str]:
    """The outcome, and its reason where it is no success.

    Tests that did not pass are a failure, whatever kind of stage it is. A promised report that is
    missing or could not be read is an error: nobody knows what it would have said. Reports without
    a test are a failure unless ``allow_empty``: nothing was tested. Those of one promise (a path
    may match many files) are taken together.
    """
    bad = sum(one.report.count("failed") + one.report.count("error") for one in reports)
    if bad:
        cases = "test case" if bad == 1 else "test cases"
        reason = f"the report says {bad} {cases} failed, though the program did not"
        return Outcome.FAILURE, reason
    missing = _missing(rules, reports)
    if missing:
        return Outcome.ERROR, f"report missing: {', '.join(missing)} was not written"
    for one in reports:
        if one.report.problem:
            return Outcome.ERROR, words_of_problem(one)
    for one in reports:
        if suite_outcome(one, reports, allow_empty=allow_empty) == Outcome.FAILURE:
            what = one.promised or one.shown
            reason = f"the report {what} holds no test (allow_empty = true lets that pass)"
            return Outcome.FAILURE, reason
    return Outcome.SUCCESS, ""


def suite_outcome(one: Read, reports: Iterable[Read], *, allow_empty: bool) -> Outcome:
    """What one of the reports says by itself. Without a test it says no, unless ``allow_empty`` or
    another report of its promise holds some."""
    outcome = Outcome(one.report.outcome)
    if outcome != Outcome.SUCCESS or one.report.cases or allow_empty:
        return outcome
    together = [other for other in reports if one.promised and other.promised == one.promised]
    return outcome if any(other.report.cases for other in together) else Outcome.FAILURE


def words_of_problem(one: Read) -> str:
    """What is said of a report that could not be read."""
    return f"report {one.shown} could not be read: {one.report.problem}"


def _missing(rules: Iterable[ReportRule], reports: Sequence[Read]) -> list[str]:
    """Promised paths where nothing was written. What a tool leaves elsewhere keeps its promise."""
    kept = {one.promised for one in reports}
    by_tool = {one.report.format for one in reports if not one.promised}
    return [rule.path for rule in rules if rule.path not in kept and rule.format not in by_tool]
