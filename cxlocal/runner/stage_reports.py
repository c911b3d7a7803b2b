"""The reports of a stage, read: those of shipped formats here while they are small, all others in workers.

A stage is a generator that says what it wants started (``runner.work.Program``), so while its reports are read other
stages begin and end, limits are kept and signals obeyed.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.hooks.reading import read_in_place
from cxlocal.hooks.report import Report
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.hooks.registered import FoundReader
    from cxlocal.processes.child import End
    from cxlocal.processes.mask import Masker
    from cxlocal.runner.work import Around, Launch


class File(NamedTuple):
    """A report that a stage has written."""

    form: str
    path: Path
    suite: str


class ReadReports(NamedTuple):
    """What stands in the reports of a stage."""

    reports: Sequence[Report | None]
    """In the order of the files; None for those that nobody got to."""
    cancelled: str = ""
    """Why some were not read; empty when all were."""


def read_all(
    files: Sequence[File],
    readers: Mapping[str, FoundReader],
    masker: Masker,
    folder: Path,
    around: Around,
) -> Generator[Launch, End, ReadReports]:
    """Read each file. Raises Trouble where a worker cannot be started."""
    done: dict[int, Report] = {}
    apart: dict[str, list[int]] = {}
    for at, (form, path, suite) in enumerate(files):
        found = readers.get(form)
        if found is None:
            done[at] = Report(form, suite, (), f"no plugin reads the format {form!r}")
            continue
        here = read_in_place(found.reader, form, path, suite) if found.shipped else None
        if here is None:
            apart.setdefault(form, []).append(at)
        else:
            done[at] = here
    cancelled = ""
    if apart:
        from cxlocal.hooks.report_worker import ReportWorker, Wanted
    for form, places in apart.items():
        wanted = [Wanted(files[at].path, files[at].suite) for at in places]
        read: list[Report] = []
        while len(read) < len(wanted) and not cancelled:
            worker = ReportWorker(form, readers[form], wanted[len(read) :])
            end = yield partial(worker.start, folder, around.environ(), around.sink)
            cancelled = worker.ended(end)
            read += worker.reports
        done |= zip(places, read, strict=False)
    return ReadReports(
        [_masked(masker, done[at]) if at in done else None for at in range(len(files))], cancelled
    )


def _masked(masker: Masker, report: Report) -> Report:
    """The report without secrets in what becomes part of events."""
    if not masker:
        return report
    hide = masker.text
    return report._replace(
        problem=hide(report.problem),
        cases=tuple(
            case._replace(suite=hide(case.suite), name=hide(case.name), message=hide(case.message))
            for case in report.cases
        ),
    )
