"""Jobs of a CI run that have a home each: one run, one number, found by way of the store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

GITHUB = {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "900", "GITHUB_JOB": "unit",
          "GITHUB_RUN_ATTEMPT": "1", "GITHUB_SERVER_URL": "https://github.com",
          "GITHUB_REPOSITORY": "acme/shop"}  # fmt: skip
AGAIN = {**GITHUB, "GITHUB_RUN_ATTEMPT": "2"}


def jenkins(url: str) -> dict[str, str]:
    return {"JENKINS_URL": "https://ci.example.org/", "BUILD_ID": "1", "BUILD_TAG": "jenkins-shop-1",
            "BUILD_URL": url}  # fmt: skip


def test_the_second_job_joins_the_run_of_the_first(server: Any) -> None:
    first = server.job("a").start()
    second = server.job("b").start()
    assert (first["joined"], second["joined"]) == (False, True)
    assert (second["run"], second["version"]) == (first["run"], first["version"]) != ("", "")
    assert server.runs() == [("2.7.0", None)]


@pytest.mark.parametrize("kind", ["sqlite", "folder"])
def test_jobs_that_begin_at_the_same_moment_have_one_number(make_server: Any, kind: str) -> None:
    server = make_server(kind)
    jobs = [server.job(f"job{count}") for count in range(4)]
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda job: job.start(), jobs))
    assert {(one["run"], one["version"]) for one in told} == {(told[0]["run"], "2.7.0")}
    # What each of them reports is told apart, whoever believes that it began the run.
    for count, job in enumerate(jobs):
        command = "false" if count == 2 else "true"
        assert job("stage", "unit", "--part", f"p{count}", "--", command).code == (count == 2)
    refused = server.job("end")
    refused.start()
    done = refused("promote", "READY")
    assert (done.code, "unit (p2: failure)" in done.err) == (3, True), done.err
    assert server.runs() == [("2.7.0", None)]
    assert server.desk("verify", env=server.environ).code == 0


def test_failed_jobs_that_are_run_again_go_on_with_the_run(server: Any) -> None:
    build = server.job("build")
    begun = build.start()
    assert build("stage", "build", "--", "touch", "app.bin").code == 0
    legs = [server.job(f"leg{count}") for count in range(2)]
    for leg, command in zip(legs, ("true", "false"), strict=True):
        # No run start: the first command of a job finds the run by itself.
        assert leg("stage", "unit", "--", command).code == (command == "false")
    end = server.job("end")
    assert end("promote", "READY").code == 3
    assert end("run", "finish", "--json").json()["outcome"] == "failure"
    # The failed job, and those that need it, in homes of their own.
    again = server.job("leg1-again", AGAIN)
    resumed = again.start()
    assert (resumed["run"], resumed["version"], resumed["joined"]) == (
        begun["run"], "2.7.0", True,
    )  # fmt: skip
    assert "goes on" in resumed["said"]
    assert again("stage", "unit", "--", "true").code == 0
    end = server.job("end-again", AGAIN)
    assert end("promote", "READY").code == 0
    assert end("run", "finish", "--json").json()["outcome"] == "success"
    assert server.runs() == [("2.7.0", "success")]
    # All of it once more, as a new run of the server.
    other = server.job("other", {**GITHUB, "GITHUB_RUN_ID": "901"}).start()
    assert (other["joined"], other["version"]) == (False, "2.7.1")


def test_without_the_store_it_is_said_what_to_set(server: Any) -> None:
    first = server.job("a").start()
    kept = server.job("kept", {**GITHUB, "CXLOCAL_NODE": "kept"})
    assert kept("sync").code == 0 and kept("prepare").code in (0, 1)
    server.away()
    apart = kept.start("--new")
    told = server.job("kept2", {**GITHUB, "GITHUB_RUN_ID": "903", "CXLOCAL_NODE": "kept"})
    told.environ["CXLOCAL_HOME"] = kept.environ["CXLOCAL_HOME"]
    begun = told.start()
    assert "the store was not asked" in begun["said"], begun["said"]
    assert f"CXLOCAL_RUN={begun['run']}" in begun["said"]
    late = server.job("late", {**GITHUB, "GITHUB_RUN_ID": "903"})
    done = late("run", "start")
    assert (done.code, "no version number" in done.err) == (5, True), done.err
    late = server.job("stage", {**GITHUB, "GITHUB_RUN_ID": "903"})
    found = late("stage", "unit", "--strict", "--", "true")
    assert (found.code, "give each job CXLOCAL_RUN" in found.err) == (3, True), found.err
    server.back()
    assert apart["run"] != first["run"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        # Two servers for one commit, of two kinds and of one kind with the same numbers.
        (GITHUB, {"GITLAB_CI": "true", "CI_PIPELINE_ID": "900", "CI_JOB_ID": "5"}, False),
        (GITHUB, {**GITHUB, "GITHUB_SERVER_URL": "https://git.example.org"}, False),
        (GITHUB, {**GITHUB, "GITHUB_JOB": "lint"}, True),
        (jenkins("https://ci.example.org/a/job/shop/1/"), jenkins("https://ci.example.org/b/job/shop/1/"),
         False),
        (jenkins("ci-a.example.org/job/shop/1/"), jenkins("ci-b.example.org/job/shop/1/"), False),
        (jenkins("https://ci.example.org/a/job/shop/1/"), jenkins("http://ci.example.org/a/job/shop/2/"),
         True),
    ],
)  # fmt: skip
def test_only_the_same_run_of_the_same_server_is_joined(
    server: Any, one: dict[str, str], other: dict[str, str], same: bool
) -> None:
    first, second = server.job("a", one).start(), server.job("b", other).start()
    assert second["joined"] is same
    assert (first["version"] == second["version"]) is same


def test_another_commit_in_a_home_of_its_own_is_refused(server: Any) -> None:
    began = server.job("a").start()
    server.desk.write({"more": "of it"})
    newer = server.job("b")
    done = newer("run", "start")
    commit = server.desk.head()
    assert done.code == 3, done.err
    assert began["revision"][:12] in done.err and commit[:12] in done.err
    done = newer("stage", "deploy", "--", "touch", "went")
    assert (done.code, (newer.tree / "went").exists()) == (3, False), done.err
    assert newer.start("--new")["version"] == "2.7.1"


def test_a_laptop_joins_by_name_only_and_what_it_reports_counts(server: Any) -> None:
    run = server.job("a").start()["run"]
    desk = server.desk
    alone = desk("stage", "unit", "--strict", "--", "true", env=server.environ)
    assert (alone.code, "no run has been started" in alone.err) == (3, True)
    laptop = {**server.environ, "CXLOCAL_RUN": run}
    assert desk("stage", "unit", "--part", "mac", "--", "false", env=laptop).code == 1
    assert desk("sync", env=laptop).code == 0
    refused = server.job("end")("promote", "READY")
    assert (refused.code, "unit (mac: failure)" in refused.err) == (3, True), refused.err


def test_without_the_store_a_job_does_not_decide_for_the_others(server: Any) -> None:
    job = server.job("a")
    job.start()
    assert job("stage", "unit", "--", "true").code == 0
    server.away()
    undecided = job("promote", "READY")
    assert (undecided.code, "journals of their own" in undecided.err) == (8, True), undecided.err
    server.back()
    assert job("promote", "READY").code == 0
    assert job("run", "finish").code == 0
    assert server.runs() == [("2.7.0", "success")]


def test_what_one_job_built_another_deploys(server: Any) -> None:
    build = server.job("build")
    version = build.start()["version"]
    words = ("sh", "-c", "echo $CXLOCAL_VERSION > app.bin")
    assert build("stage", "build", "--", *words).code == 0
    see = 'cp "$CXLOCAL_ARTIFACT_APP" seen.bin'
    test = server.job("test")
    assert test("stage", "unit", "--strict", "--", "sh", "-c", see).code == 0
    assert (test.tree / "seen.bin").read_text() == f"{version}\n"
    end = server.job("end")
    assert end("promote", "READY").code == 0
    done = end("deploy", "--to", "production")
    assert done.code == 0, done.err
    assert (server.desk.live / "app.bin").read_text() == f"{version}\n"
