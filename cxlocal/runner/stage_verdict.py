"""How a stage ended, judged from how its program ended and from what it left behind. Pure.

This is the one judge: of ``cxlocal run`` and ``deploy``, of the single command ``stage``, of the
Python API.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cxlocal.domain import Outcome
from cxlocal.hooks.carried import same_version
from cxlocal.text import clean_text, counted
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.hooks.report import Report
    from cxlocal.plan.free import AnyStage
    from cxlocal.plan.types import ReportRule

Mark = tuple[int, int, int]
"""Inode, time of the last change in nanoseconds, size in bytes: another one is another writing."""

File = TypeVar("File")


class Read(NamedTuple):
    """A report that was read."""

    report: Report
    shown: str
    """The file, as messages name it."""
    promised: str = ""
    """The path in the plan that it keeps the promise of; empty for one that the tool named."""


class Made(NamedTuple):
    """What is there of an artifact that the plan, the tool or the caller names."""

    name: str
    wanted: str
    """Where it is to be, as messages name it; empty where the plan leaves that to the tool."""
    paths: Sequence[Path]
    versions: Collection[str] = ()
    """Those that its bytes and its maker say it has."""
    said: Mapping[str, str] = {}
    """What its maker says of it: ``purl``, ``version``, ``media_type``."""


class Left(NamedTuple):
    """What a stage left behind."""

    reports: Sequence[tuple[Read, Path]] = ()
    unwritten: Sequence[str] = ()
    """Reports that somebody named and that the stage has not written."""
    made: Sequence[Made] = ()
    allow_empty: bool = False
    cancelled: str = ""
    """Why not all of its reports were read, in words; empty where they were."""


def written(before: Mapping[File, Mark], after: Mapping[File, Mark]) -> set[File]:
    """The files that a stage wrote: what lies there as it lay before must not speak for it."""
    return {file for file, mark in after.items() if before.get(file) != mark}


def judge_left(
    stage: AnyStage, ended: tuple[Outcome, str], left: Left, version: str
) -> tuple[Outcome, str]:
    """Outcome and reason of a stage whose program ``ended`` so. Only a success can still change.

    ``version`` is what artifacts must not contradict; empty where nothing is released.
    """
    if ended[0] != Outcome.SUCCESS:
        return ended
    if left.cancelled:
        return Outcome.CANCEL, left.cancelled
    reports = [one for one, _ in left.reports]
    outcome, reason = judge_reports(stage.reports, reports, allow_empty=left.allow_empty)
    if outcome != Outcome.SUCCESS:
        return outcome, reason
    if left.unwritten:
        return Outcome.ERROR, f"report missing: {', '.join(left.unwritten)} was not written"
    for made in left.made:
        if len(made.paths) != 1:
            where = f"{made.wanted} names {_count(made.paths)}" if made.wanted else "was not made"
            return Outcome.ERROR, f"artifact {made.name}: {where}"
    for made in left.made:
        for one in made.versions if version else ():
            if not same_version(one, version):
                return Outcome.FAILURE, f"artifact {made.name} carries version {one}, not {version}"
    return Outcome.SUCCESS, ended[1]


def _count(paths: Sequence[Path]) -> str:
    if not paths:
        return "no file"
    names = ", ".join(clean_text(path.name) for path in paths[:3])
    return f"{len(paths)} files ({names}{', …' if len(paths) > 3 else ''}) where one is wanted"


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


def words_of_tests(reports: Iterable[Read]) -> str:
    """``41 tests passed, 2 skipped``; empty where the reports hold none. Those that failed are the
    reason of a failure."""
    counts = Counter(case.outcome for one in reports for case in one.report.cases)
    if not counts:
        return ""
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    return f"{counted(counts['passed'] + counts['flaky'], 'test')} passed{skipped}"


def _missing(rules: Iterable[ReportRule], reports: Sequence[Read]) -> list[str]:
    """Promised paths where nothing was written. What a tool leaves elsewhere keeps its promise."""
    kept = {one.promised for one in reports}
    by_tool = {one.report.format for one in reports if not one.promised}
    return [rule.path for rule in rules if rule.path not in kept and rule.format not in by_tool]
