"""Parts of one stage: told apart, judged together, retried one by one, on several CI servers."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cxlocal_plugins.ci import cxlocal_identify_ci
from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.domain import Outcome
from cxlocal.exchange.receive import take_event
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.projection.apply import ATTEMPTS, apply_facts, read_attempt
from cxlocal.projection.parts import Attempt, counting
from cxlocal.projection.project import project, stamp
from cxlocal.projection.standing import Expected, Standing, stand
from cxlocal.projection.tables import create_sql
from cxlocal.runner.pieces import PieceRecord, Reporter, attach, free_stage

RUN = "3e0b2c4e-0000-4000-8000-000000000001"
ANY = Expected()
UNIT = free_stage("unit", "test")


class Job(NamedTuple):
    """One attempt that a job reports."""

    environ: Mapping[str, str]
    outcome: str | None
    part: str = ""
    retry: bool = False

    @property
    def by(self) -> Reporter:
        return Reporter(cxlocal_identify_ci(self.environ), self.part, self.retry)


def open_record(folder: Path) -> PieceRecord:
    journal = Journal.open(folder / "journal.db", clock=SystemClock(), ids=SystemIds())
    return attach(journal, RUN, deliverable="shop")


@pytest.fixture
def record(tmp_path: Path) -> Iterator[PieceRecord]:
    found = open_record(tmp_path)
    yield found
    found.journal.close()


def report(record: PieceRecord, *jobs: Job, expected: Expected = ANY) -> Standing:
    """One after the other."""
    for job in jobs:
        attempt = record.begin_stage(UNIT, job.by)
        if job.outcome is not None:
            record.stage_finished(UNIT, attempt, Outcome(job.outcome), "", started_ms=1)
    return stand(record.attempts()["unit"], expected)


def github(attempt: int = 1, job_id: str = "") -> dict[str, str]:
    return {
        "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "55", "GITHUB_RUN_ATTEMPT": str(attempt),
        "GITHUB_JOB": "unit", "RUNNER_TRACKING_ID": job_id,
    }  # fmt: skip


def gitlab(index: int, total: int, job_id: int) -> dict[str, str]:
    return {
        "GITLAB_CI": "true", "CI_PIPELINE_ID": "9", "CI_JOB_NAME": f"unit {index}/{total}",
        "CI_JOB_ID": str(job_id), "CI_NODE_INDEX": str(index), "CI_NODE_TOTAL": str(total),
    }  # fmt: skip


def buildkite(index: int, retry: int = 0) -> dict[str, str]:
    return {
        "BUILDKITE": "true", "BUILDKITE_BUILD_ID": "b", "BUILDKITE_LABEL": "unit",
        "BUILDKITE_JOB_ID": f"{index}-{retry}", "BUILDKITE_RETRY_COUNT": str(retry),
        "BUILDKITE_PARALLEL_JOB": str(index), "BUILDKITE_PARALLEL_JOB_COUNT": "2",
    }  # fmt: skip


def step(id: str, retry: int = 0) -> dict[str, str]:
    return {
        "BUILDKITE": "true", "BUILDKITE_BUILD_ID": "b", "BUILDKITE_LABEL": "unit",
        "BUILDKITE_STEP_ID": id, "BUILDKITE_JOB_ID": f"{id}-{retry}",
        "BUILDKITE_RETRY_COUNT": str(retry),
    }  # fmt: skip


def azure(position: int, attempt: int = 1) -> dict[str, str]:
    return {
        "TF_BUILD": "True", "BUILD_BUILDID": "7", "SYSTEM_JOBNAME": f"leg{position}",
        "SYSTEM_JOBPOSITIONINPHASE": str(position), "SYSTEM_TOTALJOBSINPHASE": "2",
        "SYSTEM_JOBATTEMPT": str(attempt),
    }  # fmt: skip


def circle(index: int) -> dict[str, str]:
    return {"CIRCLECI": "true", "CIRCLE_WORKFLOW_ID": "w", "CIRCLE_JOB": "unit",
            "CIRCLE_NODE_INDEX": str(index), "CIRCLE_NODE_TOTAL": "2"}  # fmt: skip


def workflow(id: str, number: int, job: str = "unit", index: int = -1) -> dict[str, str]:
    parallel = {"CIRCLE_NODE_INDEX": str(index), "CIRCLE_NODE_TOTAL": "2"} if index >= 0 else {}
    return {"CIRCLECI": "true", "CIRCLE_WORKFLOW_WORKSPACE_ID": "w1", "CIRCLE_WORKFLOW_ID": id,
            "CIRCLE_JOB": job, "CIRCLE_BUILD_NUM": str(number), **parallel}  # fmt: skip


def gocd(index: int, counter: int = 1) -> dict[str, str]:
    return {
        "GO_PIPELINE_LABEL": "5", "GO_PIPELINE_NAME": "shop", "GO_PIPELINE_COUNTER": "5",
        "GO_STAGE_NAME": "test", "GO_JOB_NAME": "unit", "GO_STAGE_COUNTER": str(counter),
        "GO_JOB_RUN_INDEX": str(index), "GO_JOB_RUN_COUNT": "2",
    }  # fmt: skip


def leg(part: object, parts: int, attempt: int = 1) -> dict[str, str]:
    return {**OWN, "CXLOCAL_CI_JOB": "u", "CXLOCAL_CI_PART": str(part), "CXLOCAL_CI_PARTS": str(parts),
            "CXLOCAL_CI_ATTEMPT": str(attempt)}  # fmt: skip


BAMBOO = {"bamboo_planKey": "P-X", "bamboo_buildNumber": "8", "bamboo_buildResultKey": "P-X-J1-8"}
JENKINS = {"JENKINS_URL": "http://j/", "BUILD_ID": "1", "BUILD_TAG": "jenkins-shop-1"}
TRAVIS = {"TRAVIS": "true", "TRAVIS_BUILD_ID": "1"}
OWN = {"CXLOCAL_CI_NAME": "tekton", "CXLOCAL_CI_RUN_ID": "1"}
DESK: dict[str, str] = {}
BITBUCKET = {"BITBUCKET_BUILD_NUMBER": "6"}
SEMAPHORE = {"SEMAPHORE": "true", "SEMAPHORE_WORKFLOW_ID": "w", "SEMAPHORE_JOB_COUNT": "2"}

GOOD, BAD = "success", "failure"


@pytest.mark.parametrize(
    ("jobs", "outcome"),
    [
        # At a desk: run it again, the last one counts.
        ([Job(DESK, BAD), Job(DESK, GOOD)], GOOD),
        ([Job(DESK, GOOD), Job(DESK, BAD)], BAD),
        ([Job(DESK, BAD, "a"), Job(DESK, GOOD, "b")], BAD),
        ([Job(DESK, BAD, "a"), Job(DESK, GOOD, "b"), Job(DESK, GOOD, "a")], GOOD),
        ([Job(DESK, None), Job(DESK, GOOD)], None),
        # GitHub: nothing names the legs of a matrix.
        ([Job(github(), BAD), Job(github(), GOOD)], BAD),
        ([Job(github(), GOOD), Job(github(), BAD)], BAD),
        ([Job(github(1, "x"), BAD), Job(github(1, "x"), GOOD)], GOOD),
        ([Job(github(1, "x"), BAD), Job(github(1, "y"), GOOD)], BAD),
        ([Job(github(), BAD), Job(github(), GOOD), Job(github(2), GOOD)], GOOD),
        ([Job(github(), BAD), Job(github(), BAD), Job(github(2), GOOD)], BAD),
        ([Job(github(), BAD)] * 2 + [Job(github(2), GOOD)] * 2, GOOD),
        ([Job(github(), GOOD), Job(github(2), BAD)], BAD),
        ([Job(github(), None), Job(github(2), GOOD)], GOOD),
        ([Job(github(), BAD, "a"), Job(github(2), GOOD, "b")], BAD),
        ([Job(github(), BAD, "a"), Job(github(), GOOD, "a", retry=True)], GOOD),
        ([Job(github(), BAD, "a"), Job(github(), GOOD, "b", retry=True)], BAD),
        # GitLab: a job that is tried again has its name and a greater id.
        ([Job(gitlab(1, 2, 10), BAD), Job(gitlab(2, 2, 11), GOOD)], BAD),
        ([Job(gitlab(1, 2, 10), BAD), Job(gitlab(2, 2, 11), GOOD), Job(gitlab(1, 2, 12), GOOD)],
         GOOD),
        ([Job(gitlab(1, 2, 10), GOOD)], None),
        ([Job({**gitlab(1, 1, 10), "CI_JOB_NAME": "a"}, BAD),
          Job({**gitlab(1, 1, 11), "CI_JOB_NAME": "b"}, GOOD)], BAD),
        ([Job(buildkite(0), BAD), Job(buildkite(1), GOOD)], BAD),
        ([Job(buildkite(0), BAD), Job(buildkite(1), GOOD), Job(buildkite(0, 1), GOOD)], GOOD),
        ([Job(buildkite(0), BAD), Job(buildkite(0, 1), GOOD)], None),
        # CircleCI: jobs of a workflow that is run again have its workspace, and greater numbers.
        ([Job(workflow("w1", 70), BAD), Job(workflow("w2", 81), GOOD)], GOOD),
        ([Job(workflow("w1", 70), GOOD), Job(workflow("w2", 81), BAD)], BAD),
        ([Job(workflow("w1", 70), BAD), Job(workflow("w1", 71, "unit-3.12"), GOOD)], BAD),
        ([Job(workflow("w1", 70, index=0), BAD), Job(workflow("w1", 70, index=1), GOOD),
          Job(workflow("w2", 81, index=0), GOOD)], GOOD),
        # Buildkite: two steps may have one label.
        ([Job(step("s1"), BAD), Job(step("s2", retry=1), GOOD)], BAD),
        ([Job(step("s1"), BAD), Job(step("s1", retry=1), GOOD)], GOOD),
        ([Job({**step("s1"), "BUILDKITE_STEP_KEY": "a"}, BAD),
          Job({**step("s1", retry=1), "BUILDKITE_STEP_KEY": "b"}, GOOD)], BAD),
        ([Job(azure(1), BAD), Job(azure(2), GOOD)], BAD),
        ([Job(azure(1), BAD), Job(azure(2), GOOD), Job(azure(1, 2), GOOD)], GOOD),
        ([Job(circle(0), GOOD)], None),
        ([Job(circle(0), GOOD), Job(circle(1), BAD)], BAD),
        ([Job(circle(0), GOOD), Job(circle(1), GOOD)], GOOD),
        ([Job(gocd(1), BAD), Job(gocd(2), GOOD)], BAD),
        ([Job(gocd(1), BAD), Job(gocd(2), GOOD), Job(gocd(1, 2), GOOD)], GOOD),
        ([Job(BAMBOO, BAD), Job(BAMBOO, GOOD)], GOOD),
        ([Job(BAMBOO, BAD), Job({**BAMBOO, "bamboo_buildResultKey": "P-X-J2-8"}, GOOD)], BAD),
        ([Job(JENKINS, BAD), Job(JENKINS, GOOD)], BAD),
        ([Job(JENKINS, BAD), Job(JENKINS, GOOD, retry=True)], GOOD),
        ([Job({**TRAVIS, "TRAVIS_JOB_NUMBER": "1.1"}, BAD),
          Job({**TRAVIS, "TRAVIS_JOB_NUMBER": "1.2"}, GOOD)], BAD),
        ([Job({**TRAVIS, "TRAVIS_JOB_ID": "4"}, BAD), Job({**TRAVIS, "TRAVIS_JOB_ID": "4"}, GOOD)],
         GOOD),
        # Steps side by side that do something else are no parts that are missing.
        ([Job({**BITBUCKET, "BITBUCKET_PARALLEL_STEP": "1",
               "BITBUCKET_PARALLEL_STEP_COUNT": "3"}, GOOD)], GOOD),
        # A server that nobody knows.
        ([Job(OWN, BAD), Job(OWN, GOOD)], BAD),
        ([Job(OWN, BAD), Job({**OWN, "CXLOCAL_CI_ATTEMPT": "2"}, GOOD)], GOOD),
        ([Job({**OWN, "CXLOCAL_CI_JOB_ID": "j"}, BAD), Job({**OWN, "CXLOCAL_CI_JOB_ID": "j"}, GOOD)],
         GOOD),
        ([Job({**OWN, "CXLOCAL_CI_PART": "1", "CXLOCAL_CI_PARTS": "2"}, GOOD)], None),
        ([Job({**OWN, "CXLOCAL_CI_JOB_ATTEMPT": "x" * 40}, BAD), Job(OWN, GOOD)], BAD),
    ],
)  # fmt: skip
def test_parts_on_servers(record: PieceRecord, jobs: list[Job], outcome: str | None) -> None:
    assert report(record, *jobs).outcome == outcome


@pytest.mark.parametrize(
    ("expected", "jobs", "missing"),
    [
        (Expected(("a", "b")), [Job(github(), GOOD, "a")], ("b is missing",)),
        (Expected(("a", "b")), [Job(github(), GOOD, "a"), Job(github(), GOOD, "b")], ()),
        (Expected(("a", "b")), [Job(github(), GOOD)] * 2, ("a is missing", "b is missing")),
        (Expected((), 3), [Job(github(), GOOD)] * 2, ("2 of 3 parts are here",)),
        (Expected((), 3), [Job(github(), GOOD)] * 3, ()),
        (Expected((), 1), [Job(circle(0), GOOD)], ()),
        # A server that says less later has not fewer.
        (ANY, [Job(leg(1, 3), GOOD), Job(leg(1, 1, attempt=2), GOOD)], ("1 of 3 parts are here",)),
        (ANY, [Job(leg(1, 3), GOOD), Job(leg(2, 0), GOOD)], ("2 of 3 parts are here",)),
        (ANY, [Job(leg(1, 2), GOOD), Job(leg(7, 2), GOOD)], ("1 of 2 parts are here",)),
        (ANY, [Job(leg(1, 2), GOOD), Job(leg("9" * 20, 2), GOOD)], ("1 of 2 parts are here",)),
        (ANY, [Job(leg(1, 2), GOOD), Job(leg("01", 2), GOOD)], ("1 of 2 parts are here",)),
        (ANY, [Job(leg(0, 2), GOOD), Job(leg(1, 2), GOOD)], ()),
        (ANY, [Job(leg(1, 2), GOOD), Job(leg(2, 2), GOOD)], ()),
        (ANY, [Job(DESK, GOOD), Job(DESK, None)], ("attempt 2 has not ended",)),
    ],
)
def test_parts_that_are_missing(
    record: PieceRecord, expected: Expected, jobs: list[Job], missing: tuple[str, ...]
) -> None:
    found = report(record, *jobs, expected=expected)
    assert (found.missing, found.succeeded) == (missing, not missing)


def kiln(job: str, id: str, attempt: int = 1) -> dict[str, str]:
    """A job of a server that numbers its jobs anew in each attempt of a run."""
    return {
        **OWN,
        "CXLOCAL_CI_JOB": job,
        "CXLOCAL_CI_JOB_ID": id,
        "CXLOCAL_CI_ATTEMPT": str(attempt),
    }


@pytest.mark.parametrize(
    ("jobs", "outcome"),
    [
        ([Job(kiln("linux", "1"), BAD), Job(kiln("mac", "1"), GOOD)], BAD),
        ([Job(kiln("linux", "1"), BAD), Job(kiln("mac", "2"), BAD), Job(kiln("mac", "1", 2), GOOD)],
         BAD),
        ([Job(kiln("linux", "1"), BAD), Job(kiln("mac", "1", 2), GOOD)], BAD),
        ([Job(kiln("linux", "1"), BAD), Job(kiln("", "1"), GOOD)], BAD),
        ([Job(kiln("", "1"), BAD), Job(kiln("mac", "1"), GOOD)], BAD),
        ([Job(kiln("linux", "1"), BAD), Job({**kiln("linux", "1"), "CXLOCAL_CI_NAME": "oven"}, GOOD)],
         BAD),
        ([Job(kiln("linux", "1"), BAD, "a"), Job(kiln("linux", "1"), GOOD, "b")], BAD),
        # Two of one name failed, and one of them was tried again: it has the id of either.
        ([Job(kiln("u", "1"), BAD), Job(kiln("u", "2"), BAD), Job(kiln("u", "1", 2), GOOD)], BAD),
        ([Job(kiln("u", "1"), BAD), Job(kiln("u", "2"), GOOD), Job(kiln("u", "2", 2), GOOD)], GOOD),
        ([Job(kiln("linux", "1"), BAD), Job(kiln("mac", "2"), BAD), Job(kiln("mac", "1", 2), GOOD),
          Job(kiln("linux", "2", 2), GOOD)], GOOD),
        ([Job(kiln("linux", "1"), BAD), Job(kiln("linux", "1"), GOOD)], GOOD),
        ([Job(kiln("linux", "1"), GOOD), Job(kiln("linux", "1"), BAD)], BAD),
        ([Job(kiln("linux", "1"), BAD), Job(kiln("linux", "7", 2), GOOD)], GOOD),
        ([Job(kiln("linux", "1"), BAD), Job(kiln("mac", "1", 2), GOOD, retry=True)], GOOD),
    ],
)  # fmt: skip
def test_an_id_is_one_of_a_job_and_of_an_attempt(
    record: PieceRecord, jobs: list[Job], outcome: str
) -> None:
    assert report(record, *jobs).outcome == outcome


def loom(job: str, part: object = "", parts: object = 4) -> dict[str, str]:
    """A job of a server that nobody knows: a part of a job that it splits, or one that is not split."""
    split = {"CXLOCAL_CI_PART": str(part), "CXLOCAL_CI_PARTS": str(parts)} if part != "" else {}
    return {**OWN, "CXLOCAL_CI_JOB": job, "CXLOCAL_CI_JOB_ID": f"{job}-{part}", **split}


def split(job: str, parts: str, total: int = 4) -> list[Job]:
    """Parts of one job that succeeded."""
    return [Job(loom(job, part, total), GOOD) for part in parts]


THREE = split("unit", "123")
BY_HAND = [Job(loom("unit"), GOOD, part) for part in "123"]
ORDINARY = Job(loom("browser"), GOOD)
FOUR = Expected((), 4)


@pytest.mark.parametrize(
    ("expected", "jobs", "missing"),
    [
        # What has no number, or another name, is no part that has one.
        (ANY, [*THREE, ORDINARY], ["3 of 4 parts are here"]),
        (FOUR, [*THREE, ORDINARY], ["3 of 4 parts are here"]),
        (FOUR, [*THREE, Job(loom("browser"), GOOD, "browser")], ["3 of 4 parts are here"]),
        (ANY, [*THREE, Job(loom("unit"), GOOD, "browser")], ["3 of 4 parts are here"]),
        (ANY, [*split("", "123"), Job(loom(""), GOOD)], ["3 of 4 parts are here"]),
        (ANY, [*THREE, Job(github(), GOOD)], ["3 of 4 parts are here"]),
        (ANY, [*THREE, Job(DESK, GOOD)], ["3 of 4 parts are here"]),
        (ANY, [*split("unit", "012"), ORDINARY], ["3 of 4 parts are here"]),
        (FOUR, [*BY_HAND, ORDINARY], ["3 of 4 parts are here"]),
        (FOUR, [*BY_HAND, Job(DESK, GOOD)], ["3 of 4 parts are here"]),
        (FOUR, [*BY_HAND, Job(loom("unit"), GOOD, "four")], ["3 of 4 parts are here"]),
        (ANY, [Job(gitlab(one, 4, 10 + one), GOOD) for one in (1, 2, 4)] + [
            Job({"GITLAB_CI": "true", "CI_JOB_NAME": "lint", "CI_JOB_ID": "9"}, GOOD)],
         ["3 of 4 parts are here"]),
        (ANY, [*split("unit", "1234"), ORDINARY], []),
        (FOUR, [*split("unit", "1234"), ORDINARY], []),
        (Expected((), 5), split("unit", "1234"), ["4 of 5 parts are here"]),
        (Expected((), 5), [*split("unit", "1234"), ORDINARY], []),
        (FOUR, [Job(loom(f"job{one}"), GOOD) for one in range(4)], []),
        (FOUR, [Job(loom("unit"), GOOD, part) for part in ("a", "b", "c")], ["3 of 4 parts are here"]),
        (FOUR, [Job(loom("unit"), GOOD, part) for part in ("a", "b", "c", "d")], []),
        # A number that somebody gives fills the hole of that number, wherever it is given.
        (ANY, [*THREE, Job(DESK, GOOD, "4")], []),
        (ANY, [*THREE, Job(loom("again"), GOOD, "4")], []),
        (ANY, [*THREE, Job(DESK, GOOD, "3")], ["3 of 4 parts are here"]),
        (FOUR, [*BY_HAND, Job(DESK, GOOD, "4")], []),
        (ANY, [*THREE, Job(loom("unit", 4), BAD),
               Job(DESK, GOOD, "4", retry=True)], []),
        # Jobs that are split are complete each by itself.
        (ANY, [*split("linux", "1234"), *split("mac", "1234")], []),
        (ANY, [*split("linux", "1234"), *split("mac", "123")], ["mac: 3 of 4 parts are here"]),
        (FOUR, [*split("linux", "1234"), *split("mac", "123")], ["mac: 3 of 4 parts are here"]),
        (Expected((), 8), [*split("linux", "1234"), *split("mac", "1234")], []),
        (Expected((), 8), [*split("linux", "1234")], ["4 of 8 parts are here"]),
        (ANY, [*split("linux", "123"), *split("mac", "4")],
         ["linux: 3 of 4 parts are here", "mac: 1 of 4 parts are here"]),
        (ANY, [*split("linux", "1", 2), *split("mac", "2", 2)],
         ["linux: 1 of 2 parts are here", "mac: 1 of 2 parts are here"]),
        (ANY, [*split("linux", "1234"), *split("mac", "12", 2)], []),
        (ANY, [*split("linux", "1234"), *split("mac", "1", 2)], ["mac: 1 of 2 parts are here"]),
        (ANY, [*split("linux", "123"), *split("mac", "123"), Job(DESK, GOOD, "4")],
         ["mac: 3 of 4 parts are here"]),
        (ANY, [*split("", "1234"), *(one._replace(environ={**one.environ, "CXLOCAL_CI_JOB_ID": ""})
                                     for one in split("", "123"))], ["7 of 8 parts are here"]),
        # Servers that give each part a name of its own.
        (ANY, [Job({**gitlab(one, 2, 10 + one), "CI_JOB_NAME": f"unit: [{os}]"}, GOOD)
               for one, os in enumerate(("linux", "mac"), 1)], []),
        (ANY, [Job({**gitlab(one, 2, 10 + one), "CI_JOB_NAME": f"{os} {one}/2"}, GOOD)
               for one, os in ((1, "linux"), (2, "mac"))],
         ["linux: 1 of 2 parts are here", "mac: 1 of 2 parts are here"]),
        (ANY, [Job({**gocd(one), "GO_JOB_NAME": f"unit-runInstance-{one}"}, GOOD) for one in (1, 2)], []),
        (ANY, [Job({**gocd(1), "GO_JOB_NAME": "linux-runInstance-1"}, GOOD),
               Job({**gocd(2), "GO_JOB_NAME": "mac-runInstance-2"}, GOOD)],
         ["test/linux: 1 of 2 parts are here", "test/mac: 1 of 2 parts are here"]),
        (ANY, [Job({**buildkite(one), "BUILDKITE_LABEL": f"unit {one}", "BUILDKITE_STEP_ID": "s"}, GOOD)
               for one in (0, 1)], []),
        (ANY, [Job({**buildkite(one), "BUILDKITE_STEP_KEY": f"s{one}"}, GOOD) for one in (0, 1)],
         ["s0: 1 of 2 parts are here", "s1: 1 of 2 parts are here"]),
        (ANY, [Job({**azure(one), "SYSTEM_PHASENAME": "unit"}, GOOD) for one in (1, 2)], []),
        (ANY, [Job({**azure(one), "SYSTEM_PHASENAME": f"p{one}", "SYSTEM_STAGENAME": "test"}, GOOD)
               for one in (1, 2)],
         ["test/p1: 1 of 2 parts are here", "test/p2: 1 of 2 parts are here"]),
        (ANY, [Job(azure(one), GOOD) for one in (1, 2)], []),
        (ANY, [Job({**SEMAPHORE, "SEMAPHORE_JOB_INDEX": str(one),
                    "SEMAPHORE_JOB_NAME": f"unit - {one}/2"}, GOOD) for one in (1, 2)], []),
        # Names in cx.toml are names, whatever the server counts.
        (Expected(("310", "311")), [Job(loom("u", 1), GOOD), Job(loom("u"), GOOD, "310"),
                                    Job(loom("u"), GOOD, "311")], []),
    ],
)  # fmt: skip
def test_a_part_that_is_lost_is_missed_whatever_else_reports_the_stage(
    record: PieceRecord, expected: Expected, jobs: list[Job], missing: list[str]
) -> None:
    found = report(record, *jobs, expected=expected)
    assert (list(found.missing), found.succeeded) == (missing, not missing)


@pytest.mark.parametrize("environ", [DESK, github(1, "x"), JENKINS])
def test_attempts_at_once_are_never_retries(
    record: PieceRecord, environ: Mapping[str, str]
) -> None:
    by = Job(environ, None, retry=True).by
    first, second = record.begin_stage(UNIT, by), record.begin_stage(UNIT, by)
    record.stage_finished(UNIT, second, Outcome.SUCCESS, "", started_ms=1)
    assert stand(record.attempts()["unit"], ANY).outcome is None
    record.stage_finished(UNIT, first, Outcome.FAILURE, "", started_ms=1)
    assert stand(record.attempts()["unit"], ANY).outcome == BAD
    assert report(record, Job(environ, GOOD, retry=True)).outcome == GOOD


@pytest.mark.parametrize("again", [{"CXLOCAL_CI_ATTEMPT": "2"}, {"CXLOCAL_CI_JOB_ATTEMPT": "2"}])
def test_a_later_attempt_of_a_server_is_no_retry_of_what_still_runs(
    record: PieceRecord, again: dict[str, str]
) -> None:
    runs = record.begin_stage(UNIT, Job({**OWN, "CXLOCAL_CI_JOB": "u"}, None).by, alive=True)
    assert report(record, Job({**OWN, "CXLOCAL_CI_JOB": "u", **again}, GOOD)).outcome is None
    record.stage_finished(UNIT, runs, Outcome.FAILURE, "", started_ms=1)
    record.let_go("unit", runs)
    assert stand(record.attempts()["unit"], ANY).outcome == BAD
    last = {**OWN, "CXLOCAL_CI_JOB": "u", **dict.fromkeys(again, "3")}
    assert report(record, Job(last, GOOD), Job(last, GOOD)).outcome == GOOD


def test_a_beginning_that_was_recorded_late_is_no_retry(record: PieceRecord) -> None:
    began_ms = record.journal.clock.now_ms() - 5000
    assert report(record, Job(DESK, BAD)).outcome == BAD
    late = record.begin_stage(UNIT, Job(DESK, None).by, since_ms=began_ms)
    record.stage_finished(UNIT, late, Outcome.SUCCESS, "", started_ms=began_ms)
    assert stand(record.attempts()["unit"], ANY).outcome == BAD


def test_machines_that_do_not_know_of_each_other_hide_nothing(tmp_path: Path) -> None:
    records = [open_record(tmp_path / name) for name in ("one", "two", "third")]
    legs = [Job(github(), BAD), Job(github(), GOOD), Job(github(2), GOOD)]
    for record, leg in zip(records, legs, strict=True):
        report(record, leg)
    events = [event for record in records for _, event in all_events(record.journal)]
    for seed in range(4):
        random.Random(seed).shuffle(events)
        journal = Journal.open(
            tmp_path / str(seed) / "journal.db", clock=SystemClock(), ids=SystemIds()
        )
        with journal.write() as transaction:
            waiting = sorted(events, key=lambda event: event.sequence)
            for event in waiting:
                take_event(transaction, event, None)
        found = attach(journal, RUN, deliverable="shop").standings()["unit"]
        assert found.succeeded and len(found.counting) == 2, "the two legs, one of them tried again"
        journal.close()
    for record in records:
        record.journal.close()


attempt_facts = st.fixed_dictionaries(
    {
        "outcome": st.sampled_from([None, "success", "failure", "error", "cancel"]),
        "part": st.sampled_from(["", "a", "b"]),
        "place": st.sampled_from(["", "ci"]),
        "job": st.sampled_from(["", "j"]),
        "run_attempt": st.integers(0, 2),
        "job_attempt": st.integers(0, 2),
    }
)


@st.composite
def attempts(draw: st.DrawFn) -> list[Attempt]:
    """Attempts that may be retries of any before them."""
    found: list[Attempt] = []
    for number, facts in enumerate(draw(st.lists(attempt_facts, min_size=1, max_size=7)), 1):
        ended = [one.id for one in found if one.outcome is not None and one.part == facts["part"]]
        again = draw(st.lists(st.sampled_from(ended), unique=True)) if ended else []
        found.append(Attempt(f"r/s/{number}", number, replaces=tuple(again), **facts))
    return found


@settings(deadline=None, max_examples=200)
@given(attempts(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(found: list[Attempt], chance: Any) -> None:
    wanted = stand(found, ANY)
    chance.shuffle(found)
    assert stand(found, ANY) == wanted


@settings(deadline=None, max_examples=200)
@given(attempts())
def test_nothing_succeeds_while_a_part_that_nobody_tried_again_has_not(
    found: list[Attempt],
) -> None:
    alone = Attempt("r/s/99", 99, "failure", "another", replaces=())
    standing = stand([*found, alone], ANY)
    assert not standing.succeeded and "another: failure" in standing.failed
    for one in found:
        others = [other for other in found if other.part == one.part and other.id != one.id]
        if one.outcome != "success" and not others:
            assert not stand(found, ANY).succeeded


@settings(deadline=None, max_examples=200)
@given(attempts())
def test_one_try_of_a_server_speaks_for_one_job(found: list[Attempt]) -> None:
    found = [one._replace(replaces=(), place="ci", part="", job="") for one in found]
    first = [one for one in found if one.level == min(other.level for other in found)]
    assert len(counting(found)) >= len(first)
    bad = sum(one.outcome != "success" for one in first)
    later = len(found) - len(first)
    if bad > later:
        assert not stand(found, ANY).succeeded


def test_tables_say_the_same_in_any_order(record: PieceRecord) -> None:
    report(
        record, Job(github(), BAD), Job(github(), GOOD, "a"), Job(github(), BAD, "a", retry=True),
        Job(github(2), GOOD), Job(DESK, BAD, "b"), Job(DESK, GOOD, "b"), Job(DESK, None, "c"),
    )  # fmt: skip
    events = [event for _, event in all_events(record.journal)]
    wanted = None
    for seed in range(20):
        random.Random(seed).shuffle(events)
        connection = sqlite3.connect(":memory:")
        connection.executescript(create_sql())
        for event in events:
            apply_facts(connection, project(event), stamp(event))
        rows = connection.execute(f"{ATTEMPTS} ORDER BY id").fetchall()  # sql: a constant
        counted = {one.id for one in counting([read_attempt(row) for row in rows])}
        assert {row[0] for row in rows if row[11]} == counted
        assert wanted in (None, rows)
        wanted = rows
