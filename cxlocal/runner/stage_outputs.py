"""What a stage left behind: found, judged, kept. One way, whoever ran the stage."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from cxlocal.domain import Outcome
from cxlocal.errors import Conflict
from cxlocal.files import fresh_folder
from cxlocal.hooks.carried import carried_version
from cxlocal.runner.stage_verdict import (
    Left,
    Made,
    Mark,
    Read,
    judge_left,
    suite_outcome,
    words_of_problem,
    words_of_tests,
    written,
)
from cxlocal.runner.workspace import inside, matches
from cxlocal.text import clean_text
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.events.document import Draft
    from cxlocal.hooks.registered import FoundReader
    from cxlocal.hooks.tool import ArtifactRef, Produced, ReportFile
    from cxlocal.plan.free import AnyStage
    from cxlocal.processes.child import End
    from cxlocal.processes.mask import Masker
    from cxlocal.runner.record import RunRecord
    from cxlocal.runner.work import Around, Launch, Work, Worked

Care = Callable[[str], AbstractContextManager[None]]
"""What becomes of trouble while something is kept; the argument says what that was."""


class Named(NamedTuple):
    """What the tool, or whoever called, says that the stage leaves, beside the plan."""

    produced: Sequence[Produced] = ()
    reports: Sequence[ReportFile] = ()


def confine(folder: Path, named: Named) -> Named:
    """What a caller names, links followed. Whoever types the path of another folder means it; one of
    the checkout that leads out of it by a link is somebody else's doing: Trouble."""

    def found(path: Path) -> Path:
        typed = Path(os.path.normpath(path.absolute()))
        if any(typed.is_relative_to(one) for one in (folder.absolute(), folder.resolve())):
            return inside(folder, str(path.absolute()))
        return path

    return Named(
        [replace(one, path=found(one.path)) for one in named.produced],
        [replace(one, path=found(one.path)) for one in named.reports],
    )


class Collected(NamedTuple):
    """What is to be recorded with the end of an attempt."""

    outcome: Outcome
    reason: str
    artifacts: dict[str, ArtifactRef]
    drafts: list[Draft]
    tested: str = ""
    """How many tests passed, in words; empty where no report says so."""


def marks(folder: Path, stage: AnyStage, named: Sequence[ReportFile] = ()) -> dict[Path, Mark]:
    """The files that lie where reports of the stage are to be."""
    files = [path for rule in stage.reports for path in matches(folder, rule.path)]
    files += [path for one in named if (path := one.path.resolve()).is_file()]
    return {path: _mark(path) for path in files}


def _mark(path: Path) -> Mark:
    status = os.stat(path)
    return status.st_ino, status.st_mtime_ns, status.st_size


def collect(
    work: Work,
    stage: AnyStage,
    attempt: int,
    worked: Worked,
    folder: Path,
    before: Mapping[Path, Mark],
    around: Around,
) -> Generator[Launch, End, Collected]:
    """Read, judge and keep what the plan and the tool name. A success that lacks an output is none.

    Raises Trouble where the disk does not take it.
    """
    named = Named(worked.produced, worked.reports)
    left = yield from find_left(stage, named, folder, before, work.readers, work.masker, around)
    verdict = judge_left(stage, (worked.outcome, worked.reason), left, released(work.record))
    if verdict[0] == Outcome.SUCCESS and left.made:
        from cxlocal.runner.final import take_over

        for words in take_over(work.record, left.made):
            work.voice.note(words)
    return keep(work.record, work.masker, stage, attempt, left, verdict)


def released(record: RunRecord) -> str:
    """The version that artifacts must not contradict; empty for a run that releases none."""
    return record.version if record.kind == "release" else ""


def find_left(
    stage: AnyStage,
    named: Named,
    folder: Path,
    before: Mapping[Path, Mark],
    readers: Mapping[str, FoundReader],
    masker: Masker,
    around: Around,
) -> Generator[Launch, End, Left]:
    """Look into ``folder``: which reports are new, what they say, which artifacts are there.

    Raises Trouble for a path of the plan that leads out of the folder, and where no worker can be started.
    """
    new = written(before, marks(folder, stage, named.reports))
    files = [
        (rule.format, path, "", rule.path)
        for rule in stage.reports
        for path in matches(folder, rule.path)
        if path in new
    ]
    known = {path for _, path, _, _ in files}
    unwritten = []
    for one in named.reports:
        path = one.path.resolve()
        if path not in new:
            unwritten.append(_shown(folder, path))
        elif path not in known:
            files.append((one.format, path, one.suite, ""))
    reports, cancelled = [], ""
    if files:
        from cxlocal.runner.stage_reports import File, read_all

        suites = _suites(stage, folder, [(path, suite) for _, path, suite, _ in files])
        wanted = [
            File(form, path, masker.text(suite))
            for (form, path, _, _), suite in zip(files, suites, strict=True)
        ]
        found, cancelled = yield from read_all(wanted, readers, masker, folder, around)
        reports = [
            (Read(report, masker.text(_shown(folder, path)), promised), path)
            for (_, path, _, promised), report in zip(files, found, strict=True)
            if report is not None
        ]
    allow_empty = stage.allow_empty or any(one.may_be_empty for one in named.reports)
    made = list(_made(stage, named.produced, folder))
    return Left(reports, unwritten, made, allow_empty, cancelled)


# reports


def _suites(stage: AnyStage, folder: Path, files: Sequence[tuple[Path, str]]) -> list[str]:
    """A name for each: the stage's for a single one, else what tells them apart."""
    if len(files) == 1:
        return [files[0][1] or stage.name]
    return [suite or f"{stage.name}: {_shown(folder, path)}" for path, suite in files]


def _shown(folder: Path, path: Path) -> str:
    try:
        return clean_text(str(path.relative_to(folder.resolve())))
    except ValueError:
        return clean_text(path.name)


# artifacts


def _made(stage: AnyStage, produced: Sequence[Produced], folder: Path) -> Iterator[Made]:
    named = {one.name for one in produced}
    for output in stage.produces:
        if output.name not in named:
            paths = matches(folder, output.path) if output.path else ()
            yield Made(output.name, output.path, paths, _carried(paths))
    for one in produced:
        paths = [one.path] if one.path.is_file() else []
        versions = [*_carried(paths), *filter(None, [one.version])]
        said = {"purl": one.purl, "version": one.version, "media_type": one.media_type}
        yield Made(one.name, _shown(folder, one.path.resolve()), paths, versions, said)


def _carried(paths: Sequence[Path]) -> list[str]:
    return [version for path in paths if (version := carried_version(path))]


# keeping


def keep(
    record: RunRecord,
    masker: Masker,
    stage: AnyStage,
    attempt: int,
    left: Left,
    verdict: tuple[Outcome, str],
    care: Care = lambda what: nullcontext(),
) -> Collected:
    """Keep the bytes of what was found and say so: reports always, artifacts of a success only. One
    whose name has other bytes already in this run makes it an error."""
    outcome, reason = verdict
    drafts: list[Draft] = []
    if left.reports or left.made:
        from cxlocal.runner.products import artifact_drafts, report_drafts
    for one, path in left.reports:
        said = suite_outcome(one, [read for read, _ in left.reports], allow_empty=left.allow_empty)
        with care(f"report {one.shown}: "), _without_secrets(masker, path) as raw:
            drafts += report_drafts(record, stage, attempt, one.report, raw, said)
            if raw is None:
                text = f"report {one.shown} was read and is not kept: no secret can be found in its encoding"
                drafts.append(record.flag_draft("unreadable-report", text))
        if one.report.problem:
            about = record.ref.stage_run(stage.name, attempt)
            drafts.append(record.flag_draft("unreadable-report", words_of_problem(one), about))
    found: dict[str, ArtifactRef] = {}
    packaged: list[Draft] = []
    try:
        for made in left.made if outcome == Outcome.SUCCESS else ():
            with care(f"artifact {made.name}: "):
                path = made.paths[0]
                found[made.name], more = artifact_drafts(
                    record, stage, attempt, made.name, path, masker.text(path.name), **made.said
                )
                packaged += more
    except Conflict as problem:
        return Collected(Outcome.ERROR, f"{problem.what}: {problem.why}", {}, drafts)
    tested = words_of_tests([one for one, _ in left.reports])
    return Collected(outcome, reason, found, packaged + drafts, tested)


@contextmanager
def _without_secrets(masker: Masker, path: Path) -> Iterator[Path | None]:
    """The file, or a copy without secrets where there may be some; None, so that it is not kept, where
    they could not be found in it: in UTF-16 and its like each letter stands beside a zero byte."""
    if not masker:
        yield path
        return
    with fresh_folder() as folder:
        raw = folder / "report"
        with path.open("rb") as source, raw.open("wb") as target:
            masker.copy(source, target)
        with path.open("rb") as source:
            wide = any(b"\0" in chunk for chunk in iter(lambda: source.read(1 << 20), b""))
        yield None if wide else raw


def put_back(work: Work, stages: Collection[str]) -> None:
    """The artifacts of ``stages``, which do not run again, lie in the checkout where those left
    them: all stages share it, and a later one may look for them there."""
    from cxlocal.plan.working_files import puts_back

    for stage in work.plan.stages:
        for output in stage.produces if stage.name in stages else ():
            reference = work.artifacts.get(output.name)
            if reference is None or not puts_back(output.path):
                continue
            folder, pattern = os.path.split(output.path)
            if not fnmatchcase(reference.path.name, pattern):
                continue  # another machine calls it something else than the plan does
            target = work.workspace.project / folder / reference.path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            # A copy, as a stage may change it; the kept bytes may not be.
            shutil.copy(reference.path, target)
            target.chmod(target.stat().st_mode | stat.S_IWUSR)
