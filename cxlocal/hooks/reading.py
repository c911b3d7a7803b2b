"""One report read by a plugin's reader: limited, caught, and its answer checked.

Every way to a report leads through here. What a reader answers decides whether red tests release
green, so an answer that is not what the types promise makes the report an unreadable one.
"""

from __future__ import annotations

from pathlib import Path

from cxlocal.hooks.calls import guarded
from cxlocal.hooks.implementations import Mistake, shown
from cxlocal.hooks.report import OUTCOMES, Case, Report, ReportReader
from cxlocal.text import clean_text, cut_name, shorten

READ_SECONDS = 60.0
"""For reading one report; the largest a reader takes are read in a few seconds."""
TEXT_CHARACTERS_MAX = 1024
"""Of a name, a message and a problem: what becomes part of events is bounded."""
SECONDS_MAX = 1e9
"""Thirty years: no test took longer."""


def read_report(reader: ReportReader, form: str, path: Path, suite: str) -> Report:
    """The report in ``path`` as the reader of ``form`` understands it. Whatever the reader does
    wrong is said in ``problem``; nothing is raised."""
    try:
        return guarded(
            READ_SECONDS, lambda: checked(reader.read(path, suite=suite), form, suite), heeds=True
        )
    except Mistake as mistake:
        problem = shorten(clean_text(str(mistake)), TEXT_CHARACTERS_MAX)
        return Report(form, suite, (), f"its reader failed: {problem}")


def checked(answer: object, form: str, suite: str) -> Report:
    """The answer of a reader made of plain values. What is wrong with it stands in ``problem``;
    the cases that are right stay, so that a failure among them is one. Pure."""
    if not isinstance(answer, Report):
        return Report(form, suite, (), f"its reader gave {shown(answer)}, which is no Report")
    wrong: list[str] = []
    cases: list[Case] = []
    if isinstance(answer.cases, tuple | list):
        for case in answer.cases:
            _take(case, cases, wrong)
    else:
        wrong.append(f"cases are a tuple of Case, not {shown(answer.cases)}")
    problem = _text(answer.problem, "problem is a text", wrong)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        problem = "; ".join([*filter(None, [problem]), f"its reader is wrong: {wrong[0]}{more}"])
    return Report(form, suite, tuple(cases), shorten(problem, TEXT_CHARACTERS_MAX))


def _take(case: object, cases: list[Case], wrong: list[str]) -> None:
    if not isinstance(case, Case):
        wrong.append(f"a case is a cxlocal.hooks.report.Case, not {shown(case)}")
        return
    name = _text(case.name, "name of a case is a text", wrong)
    if not isinstance(case.outcome, str) or case.outcome not in OUTCOMES:
        known = ", ".join(OUTCOMES)
        wrong.append(f"the outcome of {name!r} is {shown(case.outcome)}, not one of {known}")
        return
    cases.append(
        Case(
            _text(case.suite, f"suite of {name!r} is a text", wrong),
            name,
            str(case.outcome),
            _seconds(case.seconds, name, wrong),
            _text(case.message, f"message of {name!r} is a text", wrong),
        )
    )


def _text(value: object, must: str, wrong: list[str]) -> str:
    if isinstance(value, str):
        return cut_name(clean_text(str(value)), TEXT_CHARACTERS_MAX)
    wrong.append(f"{must}, not {shown(value)}")
    return ""


def _seconds(value: object, name: str, wrong: list[str]) -> float | None:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and 0 <= value < SECONDS_MAX:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    wrong.append(f"seconds of {name!r} are a number from 0 or None, not {shown(value)}")
    return None
