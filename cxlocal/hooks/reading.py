"""One report read by a reader: caught, and its answer checked.

Every way to a report leads through here. What a reader answers decides whether red tests release
green, so an answer that is not what the types promise makes the report an unreadable one. Readers of
plugins are called in workers (``report_worker``), and what comes from there is checked once more.
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.errors import Trouble
from cxlocal.hooks.calls import OutOfTime, caught, limited
from cxlocal.hooks.implementations import Mistake, marked, shown
from cxlocal.hooks.load import PluginPlace, plugin_at
from cxlocal.hooks.registered import READERS
from cxlocal.hooks.report import OUTCOMES, Case, Report, ReportReader
from cxlocal.text import clean_text, cut_name, shorten

if TYPE_CHECKING:
    from cxlocal.hooks.context import Link

READ_SECONDS = 60.0
"""For reading one report; the largest a reader takes are read in a few seconds."""
MEMORY_BYTES = 2 << 30
"""For reading reports in a worker, where the system holds programs to such limits (Linux)."""
IN_PLACE_BYTES = 1 << 20
"""Of a report that a shipped reader reads in our own process: some thousand tests."""
IN_PLACE_SECONDS = 1.0
"""For that; a file that grows meanwhile, or a machine that swaps, makes it a matter for a worker."""
TEXT_CHARACTERS_MAX = 1024
"""Of a name, a message and a problem: what becomes part of events is bounded."""
_CASES_AT_ONCE = 100
"""In one message of a worker: with the longest names and messages that is less than it may have."""
_ORPHANED_SECONDS = 5
"""After its time an alarm ends a worker whose parent is no longer there to do so."""
SECONDS_MAX = 1e9
"""Thirty years: no test took longer."""


def read_report(reader: ReportReader, form: str, path: Path, suite: str) -> Report:
    """The report in ``path`` as the reader of ``form`` understands it. Whatever the reader does
    wrong is said in ``problem``; nothing is raised. It takes as long as the reader takes."""
    try:
        return caught(lambda: checked(reader.read(path, suite=suite), form, suite))
    except Mistake as mistake:
        return _failed(mistake, form, suite)


def read_in_place(reader: ReportReader, form: str, path: Path, suite: str) -> Report | None:
    """The same of a reader of ours, in our own process; None for what would hold that up."""
    try:
        if path.stat().st_size > IN_PLACE_BYTES:
            return None
        return caught(
            lambda: limited(
                IN_PLACE_SECONDS, lambda: checked(reader.read(path, suite=suite), form, suite)
            )
        )
    except OSError:
        return None  # gone meanwhile: what a worker makes of that is said
    except Mistake as mistake:
        if isinstance(mistake.__cause__, OutOfTime):
            return None
        return _failed(mistake, form, suite)


def failed(form: str, suite: str, words: str, cases: tuple[Case, ...] = ()) -> Report:
    """A report whose reader came to no end; ``cases``: what it told before."""
    problem = shorten(clean_text(words), TEXT_CHARACTERS_MAX)
    return Report(form, suite, cases, f"the reader of {form} failed: {problem}")


def _failed(mistake: Mistake, form: str, suite: str) -> Report:
    if isinstance(mistake.__cause__, MemoryError):
        return failed(form, suite, f"it needs more than {MEMORY_BYTES >> 30} GiB of memory")
    return failed(form, suite, str(mistake))


def checked(answer: object, form: str, suite: str) -> Report:
    """The answer of a reader made of plain values. What is wrong with it stands in ``problem``;
    the cases that are right stay, so that a failure among them is one. Pure."""
    if not isinstance(answer, Report):
        words = f"the reader of {form} gave {shown(answer)}, which is no Report"
        return Report(form, suite, (), words)
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
        problem = "; ".join(
            [*filter(None, [problem]), f"the reader of {form} is wrong: {wrong[0]}{more}"]
        )
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


# inside of the worker


def read_reports(request: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Read what the request names and tell it, one report after the other. Raises what the plugin raises as it is
    loaded."""
    # Nothing is tidied up here, so nobody need wait for the next step of Python.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    signal.alarm(int(READ_SECONDS) + _ORPHANED_SECONDS)
    form = request["form"]
    reader = _reader(PluginPlace(*request["plugin"]), form)
    for path, suite in request["reports"]:
        signal.alarm(int(READ_SECONDS) + _ORPHANED_SECONDS)
        report = read_report(reader, form, Path(path), suite)
        for at in range(0, len(report.cases), _CASES_AT_ONCE):
            link.send(cases=[list(one) for one in report.cases[at : at + _CASES_AT_ONCE]])
        link.send(problem=report.problem)
    return {"result": None}


def _reader(place: PluginPlace, form: str) -> ReportReader:
    for hook, function, _ in marked(plugin_at(place)):
        if hook == READERS:
            for reader in function():
                if reader.format == form:
                    found: ReportReader = reader
                    return found
    raise Trouble(
        f"{place.target} has no reader of {form} any more",
        why="the plugin has changed since it was asked what it has",
        hint="run the command again",
        name="plugin-changed",
    )
