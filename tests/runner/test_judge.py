"""The one judge of what a stage left behind: the rule alone, and how its evidence is found."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any, cast

import pytest

from cxlocal.clock import SystemClock
from cxlocal.domain import Outcome
from cxlocal.errors import Trouble
from cxlocal.hooks.load import PluginPlace
from cxlocal.hooks.registered import FoundReader
from cxlocal.hooks.report import Case, Report
from cxlocal.hooks.tool import Produced, ReportFile
from cxlocal.plan.types import Output, ReportRule, Stage
from cxlocal.processes.child import Sink
from cxlocal.processes.mask import Masker
from cxlocal.runner.driver import drive_apart
from cxlocal.runner.stage_outputs import Named, find_left, marks
from cxlocal.runner.stage_verdict import Left, Made, Read, judge_left, written
from cxlocal.runner.work import Around

KINDS = ("build", "test", "deploy", "publish", "task")
UNIT = (ReportRule(format="junit", path="unit.xml"),)


def read(*outcomes: str, problem: str = "", promised: str = "unit.xml") -> tuple[Read, Path]:
    cases = tuple(Case("s", str(at), one, None, "") for at, one in enumerate(outcomes))
    return Read(Report("junit", "s", cases, problem), "unit.xml", promised), Path("unit.xml")


def app(count: int = 1, *versions: str, wanted: str = "*.zip") -> Made:
    return Made("app", wanted, [Path(f"{at}.zip") for at in range(count)], versions)


GREEN, RED, BROKEN = read("passed"), read("passed", "failed"), read(problem="cut off")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("left", "outcome", "words"),
    [
        (Left([GREEN]), "success", ""),
        (Left([GREEN], made=[app()]), "success", ""),
        (Left([RED]), "failure", "1 test case failed, though the program did not"),
        (Left([GREEN, RED, RED]), "failure", "2 test cases failed"),
        (Left([RED], made=[app(0)]), "failure", "1 test case"),
        (Left([read("error")]), "failure", "1 test case"),
        (Left([BROKEN]), "error", "unit.xml could not be read: cut off"),
        (Left([read()]), "failure", "holds no test"),
        (Left([read()], allow_empty=True), "success", ""),
        (Left([]), "error", "report missing: unit.xml was not written"),
        (Left([GREEN], ["more.xml"]), "error", "report missing: more.xml was not written"),
        (Left([GREEN], made=[app(0)]), "error", "artifact app: *.zip names no file"),
        (Left([GREEN], made=[app(2)]), "error", "2 files (0.zip, 1.zip) where one is wanted"),
        (Left([GREEN], made=[app(0, wanted="")]), "error", "artifact app: was not made"),
        (Left([GREEN], made=[app(1, "1.2.0")]), "success", ""),
        (Left([GREEN], made=[app(1, "1.2")]), "success", ""),
        (Left([GREEN], made=[app(1, "1.1.9")]), "failure", "carries version 1.1.9, not 1.2.0"),
        (Left([GREEN], made=[app(1, "1.2.0", "nine")]), "failure", "carries version nine"),
        (Left([GREEN], cancelled="cancelled: SIGINT"), "cancel", "SIGINT"),
        (Left([RED], cancelled="cancelled: SIGTERM"), "cancel", "SIGTERM"),
    ],
)
def test_a_success_is_one_only_if_all_says_so(
    kind: str, left: Left, outcome: str, words: str
) -> None:
    stage = Stage(name="unit", kind=kind, reports=UNIT)
    found, reason = judge_left(stage, (Outcome.SUCCESS, ""), left, "1.2.0")
    assert found == outcome and words in reason and bool(reason) == (outcome != "success")


@pytest.mark.parametrize("ended", ["failure", "error", "cancel"])
@pytest.mark.parametrize("left", [Left([GREEN]), Left([RED]), Left([]), Left(made=[app(0)])])
def test_what_is_left_makes_nothing_better_or_worse_of_what_went_wrong(
    ended: str, left: Left
) -> None:
    stage = Stage(name="unit", kind="test", reports=UNIT)
    said = (Outcome(ended), "exit code 3")
    assert judge_left(stage, said, left, "1.2.0") == said


def test_where_nothing_is_released_no_version_is_asked_for() -> None:
    said = (Outcome.SUCCESS, "")
    assert judge_left(Stage(name="a"), said, Left(made=[app(1, "9")]), "") == said


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({}, {}, set()),
        ({}, {"a": (1, 1, 1)}, {"a"}),
        ({"a": (1, 1, 1)}, {"a": (1, 1, 1)}, set()),
        ({"a": (1, 1, 1)}, {"a": (2, 1, 1)}, {"a"}),
        ({"a": (1, 1, 1)}, {"a": (1, 2, 1)}, {"a"}),
        ({"a": (1, 1, 1)}, {"a": (1, 1, 2)}, {"a"}),
        ({"a": (1, 1, 1)}, {}, set()),
        ({"a": (1, 1, 1)}, {"a": (1, 1, 1), "b": (1, 1, 1)}, {"b"}),
    ],
)
def test_only_what_was_written_counts(before: Any, after: Any, found: set[str]) -> None:
    assert written(before, after) == found


# the evidence


class Words:
    """A reader of files that hold the outcomes of cases, one a line."""

    format = "words"

    def read(self, path: Path, *, suite: str) -> Report:
        lines = path.read_text().split()
        if "raise" in lines:
            raise ValueError("no such word")
        return Report("words", suite, tuple(Case(suite, one, one, None, "") for one in lines))


NOTHING = Named()
STAGE = Stage(
    name="unit",
    reports=(ReportRule(format="words", path="out/*.words"),),
    produces=(Output(name="app", path="out/*.whl"),),
)


def wheel(path: Path, version: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("app-1.dist-info/METADATA", f"Name: app\nVersion: {version}\n\nwords")
    return path


def found(stage: Stage, named: Named, folder: Path, before: Any, reader: Any) -> Left:
    readers = {"words": FoundReader(reader, PluginPlace("none"), shipped=True)}
    around = Around(dict, cast(Sink, None))
    left: Left = drive_apart(
        find_left(stage, named, folder, before, readers, Masker(["s3cret"]), around), SystemClock()
    )
    return left


def verdict(
    folder: Path, stage: Stage = STAGE, named: Named = NOTHING, before: Any = None
) -> tuple[str, str]:
    left = found(stage, named, folder, before or {}, Words())
    return judge_left(stage, (Outcome.SUCCESS, ""), left, "1.2.0")


def write(folder: Path, name: str, words: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(words)
    return path


def test_a_report_that_lay_there_before_is_not_this_stages(tmp_path: Path) -> None:
    wheel(tmp_path / "out" / "app.whl", "1.2.0")
    old = write(tmp_path, "out/a.words", "passed")
    before = marks(tmp_path, STAGE)
    assert verdict(tmp_path, before=before) == (
        "error", "report missing: out/*.words was not written"
    )  # fmt: skip
    os.utime(old, ns=(1, 1))  # written again, with the same bytes
    assert verdict(tmp_path, before=before) == ("success", "")
    write(tmp_path, "out/b.words", "passed")
    assert verdict(tmp_path, before=marks(tmp_path, STAGE))[0] == "error"


def test_a_report_that_the_caller_named_is_held_to_the_same(tmp_path: Path) -> None:
    stage = Stage(name="unit")
    path = write(tmp_path, "mine", "passed")
    named = Named(reports=[ReportFile(path=path, format="words")])
    assert verdict(tmp_path, stage, named) == ("success", "")
    before = marks(tmp_path, stage, named.reports)
    assert verdict(tmp_path, stage, named, before) == (
        "error", "report missing: mine was not written"
    )  # fmt: skip
    path.write_text("passed failed")
    assert verdict(tmp_path, stage, named, before)[0] == "failure"
    path.unlink()
    assert verdict(tmp_path, stage, named)[0] == "error"


def test_a_report_that_plan_and_caller_name_is_read_once(tmp_path: Path) -> None:
    stage = Stage(name="unit", reports=STAGE.reports)
    path = write(tmp_path, "out/a.words", "passed failed")
    named = Named(reports=[ReportFile(path=path, format="words")])
    assert "says 1 test case" in verdict(tmp_path, stage, named)[1]
    before = marks(tmp_path, stage)
    assert verdict(tmp_path, stage, named, before)[0] == "error", "old by either name"


def test_readers_may_fail(tmp_path: Path) -> None:
    stage = Stage(name="unit", reports=STAGE.reports)
    write(tmp_path, "out/a.words", "raise")
    assert "the reader of words failed: ValueError: no such word" in verdict(tmp_path, stage)[1]
    other = Stage(name="unit", reports=(ReportRule(format="acme", path="out/a.words"),))
    assert "no plugin reads the format 'acme'" in verdict(tmp_path, other)[1]


@pytest.mark.parametrize(
    ("version", "outcome"),
    [("1.2.0", "success"), ("1.2", "success"), ("1.1.9", "failure"), ("", "success")],
)
def test_a_wheel_says_its_version_whoever_made_it(
    tmp_path: Path, version: str, outcome: str
) -> None:
    path = wheel(tmp_path / "out" / "app.whl", version)
    planned = Stage(name="build", produces=STAGE.produces)
    assert verdict(tmp_path, planned)[0] == outcome
    named = Named([Produced(name="app", path=path)])
    assert verdict(tmp_path, Stage(name="free"), named)[0] == outcome
    said = Named([Produced(name="app", path=path, version="3")])
    assert verdict(tmp_path, planned, said)[0] == "failure"
    path.write_bytes(b"no wheel at all")
    assert verdict(tmp_path, planned) == ("success", ""), "it says nothing"


def test_a_named_artifact_must_be_there(tmp_path: Path) -> None:
    named = Named([Produced(name="app", path=tmp_path / "app.zip")])
    assert verdict(tmp_path, Stage(name="a"), named) == (
        "error", "artifact app: app.zip names no file"
    )  # fmt: skip


def test_nothing_outside_of_the_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "in" / "out").mkdir(parents=True)
    outside = write(tmp_path, "a.words", "passed")
    (tmp_path / "in" / "out" / "a.words").symlink_to(outside)
    with pytest.raises(Trouble, match="leads out of"):
        verdict(tmp_path / "in")


def test_no_secret_of_a_report_goes_further(tmp_path: Path) -> None:
    class Leak(Words):
        def read(self, path: Path, *, suite: str) -> Report:
            case = Case("in s3cret", "of s3cret", "failed", None, "is s3cret")
            return Report("words", suite, (case,), "about s3cret")

    for name in ("s3cret", "other"):
        write(tmp_path, f"out/{name}.words", "s3cret")
    left = found(STAGE, Named(), tmp_path, {}, Leak())
    assert len(left.reports) == 2
    assert "s3cret" not in str([one for one, _ in left.reports])
