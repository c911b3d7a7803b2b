"""Which run a job of a CI server joins, goes on with, or is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.ci import SERVERS, cxlocal_identify_ci
from hypothesis import given
from hypothesis import strategies as st

import cxlocal
from cxlocal.clock import SystemClock, SystemIds
from cxlocal.errors import Refused
from cxlocal.exchange.receive import take_event
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.runner.pieces import in_ci
from cxlocal.runner.pieces_join import (
    CiRun,
    Joined,
    Tried,
    choose,
    is_higher,
    server_of,
    tried_by,
)

KEPT = {"CI": "true", "CXLOCAL_NODE": "kept"}
GITHUB = {**KEPT, "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "900", "GITHUB_RUN_ATTEMPT": "1"}
AGAIN = {**GITHUB, "GITHUB_RUN_ATTEMPT": "2"}
JENKINS = {**KEPT, "JENKINS_URL": "http://j/", "BUILD_ID": "1", "BUILD_TAG": "jenkins-shop-1"}

OPEN, OVER = CiRun("open", "aaa", "1.0.1", False), CiRun("over", "aaa", "1.0.0", True)
OTHER_OPEN, OTHER_OVER = CiRun("other", "bbb", "1.0.2", False), CiRun("past", "bbb", "", True)


@pytest.mark.parametrize(
    ("found", "again", "begins", "wanted"),
    [
        ([], False, True, Joined(None)),
        ([OPEN], False, True, Joined(OPEN)),
        ([OPEN], True, True, Joined(OPEN)),
        ([OVER], False, True, Joined(None, other=OVER)),
        ([OVER], True, True, Joined(OVER, again=True)),
        ([OVER], False, False, Joined(OVER)),
        ([OVER], True, False, Joined(OVER, again=True)),
        ([OPEN, OVER], True, True, Joined(OPEN)),
        ([OTHER_OPEN], True, True, Joined(None, other=OTHER_OPEN)),
        ([OTHER_OVER], True, True, Joined(None, other=OTHER_OVER)),
        ([OTHER_OPEN, OPEN], False, True, Joined(OPEN)),
        ([OTHER_OVER, OVER], False, False, Joined(OVER)),
        # A clock that is ahead, or a run that was finished elsewhere, hides no open one.
        ([OVER, OPEN], False, True, Joined(OPEN)),
        ([OVER, OPEN], True, True, Joined(OPEN)),
        ([OVER, OTHER_OPEN, OPEN], False, False, Joined(OPEN)),
    ],
)
def test_choices(found: list[CiRun], again: bool, begins: bool, wanted: Joined) -> None:
    assert choose(found, "aaa", lambda run: again, begins=begins) == wanted


RUNS = st.lists(
    st.builds(
        CiRun, st.uuids().map(str), st.sampled_from(["aaa", "bbb"]), st.just(""), st.booleans()
    )
)


@given(found=RUNS, again=st.booleans(), begins=st.booleans())
def test_what_is_joined_is_this_run(found: list[CiRun], again: bool, begins: bool) -> None:
    chosen = choose(found, "aaa", lambda run: again, begins=begins)
    open_here = [one for one in found if one.revision == "aaa" and not one.ended]
    if chosen.run is not None:
        assert chosen.run.revision == "aaa"
        assert not chosen.run.ended or again or not begins
        assert chosen.again == (chosen.run.ended and again)
    assert (chosen.run in open_here) == bool(open_here)
    other_open = [one for one in found if one.revision == "bbb" and not one.ended]
    if chosen.run is None and other_open:
        assert chosen.other in other_open, "which refuses"


@pytest.mark.parametrize(
    ("now", "before", "higher"),
    [
        (Tried("a", 0, 0), [], False),
        (Tried("a", 1, 0), [Tried("a", 1, 0)], False),
        (Tried("a", 2, 0), [Tried("b", 1, 0)], True),
        (Tried("a", 2, 0), [Tried("b", 1, 0), Tried("b", 2, 0)], False),
        (Tried("a", 0, 2), [Tried("a", 0, 1)], True),
        (Tried("a", 0, 2), [Tried("b", 0, 1)], False),
        (Tried("a", 0, 1), [Tried("a", 0, 2)], False),
        (Tried("a", 0, 2), [Tried("a", 0, 0)], False),
    ],
)
def test_what_is_tried_again(now: Tried, before: list[Tried], higher: bool) -> None:
    assert is_higher(now, before) == higher


def test_every_known_server_is_seen_at_a_glance() -> None:
    for server in SERVERS:
        marks = dict.fromkeys(server.marks, "x")
        marks = {name.partition("=")[0]: name.partition("=")[2] or "x" for name in marks}
        assert in_ci(marks), server


SAME = [
    # Jobs of one run of a server, each with what tells it from another run.
    ({"bamboo_planKey": "P-X", "bamboo_buildNumber": "8", "bamboo_buildResultKey": "P-X-J1-8"},
     {"bamboo_buildResultKey": "P-X-J2-8"}, {"bamboo_buildNumber": "9"}),
    ({"GO_PIPELINE_LABEL": "5", "GO_PIPELINE_NAME": "shop", "GO_PIPELINE_COUNTER": "5",
      "GO_STAGE_NAME": "build", "GO_STAGE_COUNTER": "2"},
     {"GO_STAGE_NAME": "test", "GO_STAGE_COUNTER": "1"}, {"GO_PIPELINE_COUNTER": "6"}),
    ({"TF_BUILD": "True", "BUILD_BUILDID": "77", "SYSTEM_JOBATTEMPT": "1"},
     {"SYSTEM_JOBATTEMPT": "2"}, {"BUILD_BUILDID": "78"}),
    ({"TEAMCITY_VERSION": "2023.11", "BUILD_NUMBER": "12", "TEAMCITY_BUILDCONF_NAME": "shop"},
     {}, {"TEAMCITY_BUILDCONF_NAME": "other"}),
    ({"GITLAB_CI": "true", "CI_PIPELINE_ID": "44", "CI_JOB_ID": "1"}, {"CI_JOB_ID": "2"},
     {"CI_PIPELINE_ID": "45"}),
    ({"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "1"},
     {"GITHUB_RUN_ATTEMPT": "2"}, {"GITHUB_RUN_ID": "8"}),
    ({"CXLOCAL_CI_NAME": "tekton", "CXLOCAL_CI_RUN_ID": "a", "CXLOCAL_CI_JOB": "x"},
     {"CXLOCAL_CI_JOB": "y", "CXLOCAL_CI_JOB_ATTEMPT": "3"}, {"CXLOCAL_CI_RUN_ID": "b"}),
]  # fmt: skip


@pytest.mark.parametrize(("environ", "sister", "other"), SAME)
def test_jobs_of_one_run_have_one_id(
    environ: dict[str, str], sister: dict[str, str], other: dict[str, str]
) -> None:
    places = [cxlocal_identify_ci({**environ, **more}) for more in ({}, sister, other)]
    first, second, third = (place.run_id if place else "" for place in places)
    assert first == second != third and first


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        # Each list holds servers, each with addresses that jobs of its run 77 may say.
        ("jenkins", [["https://ci.example.org/a/job/shop/77/", "https://CI.example.org:443/a/job/shop/78/",
                      "http://ci.example.org:80/a/job/shop/job/main/77", "ci.example.org/a/job/x/77",
                      "https://ann:word@ci.example.org/a/job/shop/77/?x=/b#y"],
                     ["https://ci.example.org/b/job/shop/77/"], ["https://ci.example.org/job/shop/77/"],
                     ["https://ci.example.org/job-b/job/shop/77/"],
                     ["https://ci.example.org:8443/a/job/shop/77/"], ["//other/a/job/shop/77/"],
                     ["ci-a.example.org/a/job/shop/77"], ["[::1]:8080/a/job/shop/77"]]),
        ("gitlab", [["https://g/gitlab/grp/shop/-/pipelines/77", "https://g/gitlab/grp/shop/-/jobs/5"],
                    ["https://g/other/grp/shop/-/pipelines/77"], ["https://g/grp/shop/-/pipelines/77"]]),
        ("github-actions", [["https://h/gh/o/r/actions/runs/77", "https://h/gh/o/r/actions/runs/77/attempts/2"],
                            ["https://h/gitea/o/r/actions/runs/77"]]),
        ("bamboo", [["https://b/one/browse/P-X-J1-77", "https://b/one/browse/P-X-J2-77"],
                    ["https://b/two/browse/P-X-J1-77"], ["https://b/browse/P-X-J1-77"]]),
        ("teamcity", [["https://t/a/buildConfiguration/Shop_Build/77", "https://t/a/viewLog.html?buildId=78",
                       "https://t/a/build/77"], ["https://t/b/build/77"]]),
        ("concourse", [["https://c/a/teams/t/pipelines/p/jobs/j/builds/3", "https://c/a/builds/77"],
                       ["https://c/b/builds/77"]]),
        ("circleci", [["https://circleci.com/gh/o/r/70", "https://circleci.com/jobs/github/o/r/71"],
                      ["https://circle.example.org/gh/o/r/70"]]),
        ("buildkite", [["https://k.com/o/shop/builds/3", "https://k.com/o/shop/builds/4#job"],
                       ["https://other.com/o/shop/builds/3"]]),
        ("buildbot", [["https://b/a/#/builders/1/builds/77", "https://b/a/#/builders/2/builds/78"],
                      ["https://b/z/#/builders/1/builds/77"], ["https://b:8010/#/builders/1/builds/77"],
                      ["https://b/#/builders/1/builds/77"]]),
        ("azure-pipelines", [["https://z/org/web/_build/results?buildId=77"],
                             ["https://z/tfs/org/web/_build/results?buildId=77"]]),
        ("loom", [["https://l/a/p/77", "https://l/a/p/77/job/unit", "l/a/p/77/", "https://l/a/p/78/lint",
                   "https://l//a/p/77"],
                  ["https://l/b/p/77"], ["https://l/team-2/p/77"], ["https://l/team-3/p/77"],
                  ["https://m/a/p/77"], ["m:8080/a/p/77"], ["/z/p/77"]]),
    ],
)  # fmt: skip
def test_servers_are_told_apart_by_the_addresses_of_their_runs(
    name: str, addresses: list[list[str]]
) -> None:
    servers = [{server_of(name, url, "77") for url in urls} for urls in addresses]
    assert all(len(one) == 1 and "" not in one for one in servers), servers
    assert len(set[str]().union(*servers)) == len(servers)


@pytest.mark.parametrize("url", ["", "https://", "run 77", "77", "#77", "https:///?x"])
def test_what_is_no_address_tells_nothing(url: str) -> None:
    assert server_of("loom", url, "77") == ""


@given(st.text(st.sampled_from("htps:/@?#[].7a "), max_size=30))
def test_no_address_raises(url: str) -> None:
    assert server_of("gocd", url, "77") == ""
    assert "77" not in server_of("loom", url, "77").split("/")[1:]


CIRCLE = {
    "CIRCLECI": "true", "CIRCLE_WORKFLOW_WORKSPACE_ID": "w1", "CIRCLE_WORKFLOW_ID": "w1",
    "CIRCLE_JOB": "unit", "CIRCLE_BUILD_NUM": "70",
}  # fmt: skip
AZURE = {"TF_BUILD": "True", "BUILD_BUILDID": "7", "SYSTEM_JOBNAME": "unit",
         "SYSTEM_STAGEATTEMPT": "1", "SYSTEM_JOBATTEMPT": "1"}  # fmt: skip
BUILDKITE = {"BUILDKITE": "true", "BUILDKITE_BUILD_ID": "b", "BUILDKITE_LABEL": "unit",
             "BUILDKITE_RETRY_COUNT": "0"}  # fmt: skip
GITLAB = {"GITLAB_CI": "true", "CI_PIPELINE_ID": "9", "CI_JOB_NAME": "unit", "CI_JOB_ID": "10"}
GOCD = {"GO_PIPELINE_LABEL": "5", "GO_PIPELINE_NAME": "shop", "GO_PIPELINE_COUNTER": "5",
        "GO_STAGE_NAME": "test", "GO_JOB_NAME": "unit", "GO_STAGE_COUNTER": "1"}  # fmt: skip
BITBUCKET = {"BITBUCKET_BUILD_NUMBER": "6", "BITBUCKET_STEP_UUID": "{s1}",
             "BITBUCKET_STEP_RUN_NUMBER": "1"}  # fmt: skip
OWN = {"CXLOCAL_CI_NAME": "tekton", "CXLOCAL_CI_RUN_ID": "1", "CXLOCAL_CI_JOB": "unit"}
ONE_RUN, AGAIN_BY_JOB, AGAIN_BY_RUN, NEW_RUN = "one run", "job", "run", "new run"


@pytest.mark.parametrize(
    ("first", "second", "is_"),
    [
        (GITHUB, {"GITHUB_RUN_ATTEMPT": "2"}, AGAIN_BY_RUN),
        (GITHUB, {"GITHUB_JOB": "lint"}, ONE_RUN),
        ({**GITHUB, "GITEA_ACTIONS": "true"}, {"GITHUB_RUN_ATTEMPT": "2"}, AGAIN_BY_RUN),
        (GITLAB, {"CI_JOB_ID": "11"}, AGAIN_BY_JOB),
        (GITLAB, {"CI_JOB_ID": "11", "CI_JOB_NAME": "lint"}, ONE_RUN),
        (GITLAB, {"CI_PIPELINE_ID": "10", "CI_JOB_ID": "12"}, NEW_RUN),
        (AZURE, {"SYSTEM_JOBATTEMPT": "2"}, AGAIN_BY_JOB),
        (AZURE, {"SYSTEM_STAGEATTEMPT": "2"}, AGAIN_BY_JOB),
        ({**AZURE, "SYSTEM_JOBATTEMPT": "3"}, {"SYSTEM_STAGEATTEMPT": "2"}, AGAIN_BY_JOB),
        (BUILDKITE, {"BUILDKITE_RETRY_COUNT": "1"}, AGAIN_BY_JOB),
        (BUILDKITE, {"BUILDKITE_LABEL": "lint", "BUILDKITE_RETRY_COUNT": "1"}, ONE_RUN),
        (BUILDKITE, {"BUILDKITE_BUILD_ID": "c"}, NEW_RUN),
        (CIRCLE, {"CIRCLE_WORKFLOW_ID": "w2", "CIRCLE_BUILD_NUM": "81"}, AGAIN_BY_RUN),
        (
            CIRCLE,
            {"CIRCLE_WORKFLOW_ID": "w2", "CIRCLE_BUILD_NUM": "82", "CIRCLE_JOB": "end"},
            AGAIN_BY_RUN,
        ),
        (CIRCLE, {"CIRCLE_BUILD_NUM": "71", "CIRCLE_JOB": "lint"}, ONE_RUN),
        (CIRCLE, {"CIRCLE_WORKFLOW_WORKSPACE_ID": "w3", "CIRCLE_WORKFLOW_ID": "w3"}, NEW_RUN),
        (GOCD, {"GO_STAGE_COUNTER": "2"}, AGAIN_BY_JOB),
        (GOCD, {"GO_STAGE_NAME": "live", "GO_STAGE_COUNTER": "2"}, ONE_RUN),
        (BITBUCKET, {"BITBUCKET_STEP_RUN_NUMBER": "2"}, AGAIN_BY_JOB),
        # Nothing tells a build that these make anew from any other.
        (JENKINS, {"BUILD_ID": "2", "BUILD_TAG": "jenkins-shop-2"}, NEW_RUN),
        ({"TEAMCITY_VERSION": "2025", "BUILD_NUMBER": "12"}, {"BUILD_NUMBER": "13"}, NEW_RUN),
        ({"DRONE": "true", "DRONE_BUILD_NUMBER": "8"}, {"DRONE_BUILD_NUMBER": "9"}, NEW_RUN),
        # Said by hand, counted or named.
        ({**OWN, "CXLOCAL_CI_ATTEMPT": "1"}, {"CXLOCAL_CI_ATTEMPT": "2"}, AGAIN_BY_RUN),
        ({**OWN, "CXLOCAL_CI_ATTEMPT": "a"}, {"CXLOCAL_CI_ATTEMPT": "b"}, AGAIN_BY_RUN),
        (OWN, {"CXLOCAL_CI_JOB_ATTEMPT": "2"}, ONE_RUN),
    ],
)
def test_what_each_server_does_to_try_again(
    first: dict[str, str], second: dict[str, str], is_: str
) -> None:
    one, two = cxlocal_identify_ci(first), cxlocal_identify_ci({**first, **second})
    assert one is not None and two is not None and one.run_id
    if is_ == NEW_RUN:
        assert one.run_id != two.run_id
        return
    assert one.run_id == two.run_id
    again = is_higher(tried_by(two), [tried_by(one)])
    assert again is (is_ != ONE_RUN)
    # Whoever was told of that attempt already is not tried again by it.
    assert not is_higher(tried_by(two), [tried_by(one), tried_by(two)])


def test_a_path_that_is_the_same_in_every_build_is_no_id() -> None:
    place = cxlocal_identify_ci({"BUILDER_OUTPUT": "/builder/outputs"})
    assert place is not None and not place.run_id


@pytest.fixture
def job(desk: Any) -> Any:
    """A command of a job, in a checkout of its own: no run is remembered."""

    def run(environ: Mapping[str, str], *words: str) -> Any:
        (desk.tree / ".cx" / "run").unlink(missing_ok=True)
        return desk(*words, env=environ)

    return run


def runs(desk: Any) -> list[tuple[Any, ...]]:
    rows = desk.rows("SELECT version, outcome FROM run ORDER BY queued_at")
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize(("environ", "sister", "other"), SAME[:3])
def test_one_run_of_a_server_is_one_run_with_one_number(
    desk: Any, job: Any, environ: dict[str, str], sister: dict[str, str], other: dict[str, str]
) -> None:
    assert job({**KEPT, **environ}, "run", "start").code == 0
    second = {**KEPT, **environ, **sister}
    assert job(second, "stage", "build", "--strict", "--", "touch", "app.bin").code == 0
    assert job(second, "run", "start", "--json").json()["joined"] is True
    assert runs(desk) == [("2.7.0", None)]


def test_a_matrix_is_as_bad_as_its_worst_job(desk: Any, job: Any) -> None:
    assert job(GITHUB, "run", "start").code == 0
    assert job(GITHUB, "stage", "unit", "--", "false").code == 1
    beside = job(GITHUB, "stage", "unit", "--", "true")
    assert (beside.code, "--part NAME" in beside.err, "--retry" in beside.err) == (0, True, True)
    refused = job(GITHUB, "promote", "READY")
    assert (refused.code, "--part NAME" in refused.err) == (3, True), refused.err
    assert job(GITHUB, "deploy", "--to", "production").code == 3
    # The failed job is run again, and only it.
    assert job(AGAIN, "stage", "unit", "--", "true").code == 0
    assert job(AGAIN, "promote", "READY").code == 0
    assert job(AGAIN, "run", "finish", "--json").json()["outcome"] == "success"
    assert runs(desk) == [("2.7.0", "success")]


def test_parts_are_named_shown_and_expected(desk: Any, job: Any) -> None:
    config = (desk.tree / "cx.toml").read_text()
    desk.write({"cx.toml": config.replace(
        'needs = ["build"] }', 'needs = ["build"], parts = ["py311", "py312"] }'
    )})  # fmt: skip
    assert job(GITHUB, "run", "start").code == 0
    assert job(GITHUB, "stage", "build", "--", "touch", "app.bin").code == 0
    assert job(GITHUB, "stage", "unit", "--part", "py311", "--", "true").code == 0
    refused = job(GITHUB, "promote", "READY")
    assert (refused.code, "unit (py312 is missing)" in refused.err) == (3, True), refused.err
    named = {**GITHUB, "CXLOCAL_PART": "py312"}
    assert job(named, "stage", "unit", "--", "false").code == 1
    refused = job(GITHUB, "promote", "READY")
    assert (refused.code, "unit (py312: failure)" in refused.err) == (3, True), refused.err
    assert job(named, "stage", "unit", "--retry", "--", "true").code == 0
    assert job(GITHUB, "promote", "READY").code == 0
    shown = job(GITHUB, "show").out
    assert "unit (py311)" in shown and "unit (py312)" in shown and "replaced by a retry" in shown
    parts = job(GITHUB, "show", "--json").json()["parts"]
    assert [(one["part"], one["outcome"], one["counts"]) for one in parts] == [
        ("", "success", 1), ("py311", "success", 1), ("py312", "failure", 0),
        ("py312", "success", 1),
    ]  # fmt: skip
    assert job(GITHUB, "verify").code == 0


def test_what_still_runs_is_missing(desk: Any) -> None:
    desk.start()
    script = (
        "cxlocal stage unit -- sh -c 'until test -e go; do sleep 0.05; done; exit 1' &"
        " until cxlocal sql -q story --json | grep -q running; do :; done;"
        " cxlocal stage unit -- true; cxlocal promote READY || echo refused $?; touch go; wait;"
        " cxlocal promote READY || echo refused $?; cxlocal run finish --json"
    )
    done = desk.shell(script)
    assert done.out.count("refused 3") == 2, done.out + done.err
    assert "has not ended" in done.err and '"outcome": "failure"' in done.out


def test_a_finished_run_goes_on_where_its_server_runs_it_again(desk: Any, job: Any) -> None:
    assert job(GITHUB, "run", "start").code == 0
    assert job(GITHUB, "stage", "unit", "--", "false").code == 1
    assert job(GITHUB, "run", "finish").code == 0
    late = job(GITHUB, "stage", "unit", "--", "true")
    assert (late.code, "was finished" in late.err) == (0, True)
    assert job(GITHUB, "stage", "unit", "--strict", "--", "true").code == 3
    assert runs(desk) == [("2.7.0", "failure")]
    assert job(AGAIN, "stage", "unit", "--strict", "--", "true").code == 0
    assert runs(desk) == [("2.7.0", None)], "it is open again"
    assert job(AGAIN, "run", "start", "--json").json()["joined"] is True
    assert job(AGAIN, "run", "finish").code == 0
    assert runs(desk) == [("2.7.0", "success")]
    # Nothing is tried again: another run, and it is said.
    fresh = job(AGAIN, "run", "start", "--json")
    assert (fresh.json()["version"], "was finished" in fresh.err) == ("2.7.1", True)
    assert desk("journal", "rebuild").code == 0 and desk("verify").code == 0
    assert runs(desk) == [("2.7.0", "success"), ("2.7.1", None)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (CIRCLE, {"CIRCLE_WORKFLOW_ID": "w2", "CIRCLE_BUILD_NUM": "81"}),
        (BUILDKITE, {"BUILDKITE_RETRY_COUNT": "1"}),
        (AZURE, {"SYSTEM_STAGEATTEMPT": "2"}),
    ],
)
def test_a_job_that_is_tried_again_replaces_itself_in_its_run(
    desk: Any, job: Any, first: dict[str, str], second: dict[str, str]
) -> None:
    one, again = {**KEPT, **first}, {**KEPT, **first, **second}
    assert job(one, "run", "start").code == 0
    assert job(one, "stage", "unit", "--", "false").code == 1
    assert job(one, "run", "finish").code == 0
    assert job(again, "stage", "unit", "--strict", "--", "true").code == 0
    assert job(again, "promote", "READY").code == 0
    assert job(again, "run", "finish", "--json").json()["outcome"] == "success"
    assert runs(desk) == [("2.7.0", "success")]


@pytest.mark.parametrize("environ", [GITHUB, JENKINS])
def test_another_commit_is_not_this_run(desk: Any, job: Any, environ: dict[str, str]) -> None:
    began = job(environ, "run", "start", "--json").json()
    desk.write({"more": "of it"})
    commit = desk.head()
    for words in (("run", "start"), ("stage", "unit", "--strict", "--", "true"),
                  ("deploy", "--to", "production"), ("promote", "READY")):  # fmt: skip
        done = job(environ, *words)
        assert (done.code, began["revision"][:12] in done.err, commit[:12] in done.err) == (
            3, True, True,
        ), done.err  # fmt: skip
    done = job(environ, "stage", "unit", "--", "sh", "-c", "exit 4")
    assert (done.code, "is not recorded" in done.err) == (4, True)
    assert desk.stages() == []
    new = job(environ, "run", "start", "--new", "--json").json()
    assert (new["joined"], new["version"], new["revision"]) == (False, "2.7.1", commit)
    assert job(environ, "stage", "unit", "--strict", "--", "true").code == 0


def test_a_reused_id_begins_another_run_and_says_so(desk: Any, job: Any) -> None:
    job(JENKINS, "run", "start")
    assert job(JENKINS, "run", "finish").code == 0
    desk.write({"more": "of it"})
    done = job(JENKINS, "run", "start", "--json")
    assert (done.json()["version"], "was finished" in done.err) == ("2.7.1", True)


def test_a_run_is_joined_by_what_may_begin_one(desk: Any, job: Any) -> None:
    assert job(GITHUB, "run", "start").code == 0
    (desk.tree / "deploy.sh").write_text("true\n")
    assert job(GITHUB, "run", "start").code == 3
    joined = job(GITHUB, "run", "start", "--allow-uncommitted", "--json").json()
    assert (joined["joined"], joined["uncommitted"]) == (True, ["deploy.sh"])
    assert desk.rows("SELECT kind FROM flag") == [{"kind": "uncommitted-changes"}]


def test_no_other_command_begins_a_run(desk: Any, job: Any) -> None:
    desk.start()
    (desk.tree / ".cx" / "run").rename(desk.root / "kept")
    done = job(GITHUB, "stage", "unit", "--", "sh", "-c", "exit 4")
    assert (done.code, done.err.count("Warning")) == (4, 1)
    for words in (("stage", "unit", "--strict", "--", "true"), ("promote", "READY"),
                  ("deploy", "--to", "production")):  # fmt: skip
        done = job(GITHUB, *words)
        assert (done.code, "no run has been started" in done.err) == (3, True), done.err
    # The file of another run, left in a checkout that is used again, is no run of this one.
    (desk.root / "kept").rename(desk.tree / ".cx" / "run")
    assert desk("stage", "unit", "--strict", "--", "true", env=GITHUB).code == 3
    assert desk.stages() == []


def _tell(home: Path, other: Path) -> None:
    """Bring what the journal in ``home`` holds to the one in ``other``."""
    paths = [folder / "journal.db" for folder in (home, other)]
    source, target = (Journal.open(one, clock=SystemClock(), ids=SystemIds()) for one in paths)
    with source, target, target.write() as transaction:
        for _, event in all_events(source):
            take_event(transaction, event, None)


def test_jobs_with_journals_of_their_own(desk: Any, job: Any) -> None:
    run = job(GITHUB, "run", "start", "--json").json()["run"]
    assert job(GITHUB, "stage", "build", "--", "touch", "app.bin").code == 0
    legs = {
        part: {**GITHUB, "CXLOCAL_RUN": run, "CXLOCAL_PART": part,
               "CXLOCAL_HOME": str(desk.root / part)}
        for part in ("a", "b")
    }  # fmt: skip
    for part, command in (("a", "true"), ("b", "false")):
        job(legs[part], "stage", "unit", "--", command)
    _tell(desk.root / "a", desk.home)
    undecided = job(GITHUB, "promote", "READY")
    assert (undecided.code, "journals of their own" in undecided.err) == (8, True), undecided.err
    override = ("--override", "-m", "only a is needed")
    assert desk.rows("SELECT decision FROM promotion") == [{"decision": "undecided"}]
    config = (desk.tree / "cx.toml").read_text()
    assert "parts" not in config
    _tell(desk.root / "b", desk.home)
    assert job(GITHUB, "promote", "READY").code == 3
    assert job(GITHUB, "promote", "READY", *override).code == 0
    assert job(GITHUB, "deploy", "--to", "production").code == 0


def test_a_failure_that_comes_after_a_promotion_contradicts_it(desk: Any, job: Any) -> None:
    run = job(GITHUB, "run", "start", "--json").json()["run"]
    assert job(GITHUB, "stage", "build", "--", "touch", "app.bin").code == 0
    assert job(GITHUB, "stage", "unit", "--part", "a", "--", "true").code == 0
    assert job(GITHUB, "promote", "READY").code == 0
    away = {**GITHUB, "CXLOCAL_RUN": run, "CXLOCAL_HOME": str(desk.root / "b")}
    assert job(away, "stage", "unit", "--part", "b", "--", "false").code == 1
    _tell(desk.root / "b", desk.home)
    done = job(GITHUB, "deploy", "--to", "production")
    assert (done.code, "contradicted: unit (b) did not succeed" in done.err) == (3, True), done.err
    assert "--override --reason WHY" in done.err
    assert "contradicted" in job(GITHUB, "show").out
    checked = {row["name"]: row for row in desk("doctor", "--json").json()}
    assert (checked["contradicted"]["state"], "unit (b)" in checked["contradicted"]["found"]) == (
        "note", True,
    )  # fmt: skip
    assert "did not succeed: unit (b)" in desk("sql", "-q", "look-at").out
    # The other machine sees the same once it has the same events.
    _tell(desk.home, desk.root / "b")
    sql = "SELECT contradicted_by FROM promotion_board"
    assert desk("sql", sql, "--json", env=away).json() == [{"contradicted_by": "unit (b)"}]
    assert job(GITHUB, "promote", "READY", "--override", "-m", "b is not shipped").code == 0
    assert job(GITHUB, "deploy", "--to", "production").code == 0
    assert desk("verify").code == 0


@pytest.mark.parametrize("how", ["variable", "file"])
def test_outside_of_ci_another_commit_is_not_this_run(
    desk: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, began = desk.start(), desk.head()
    named = {"CXLOCAL_RUN": run} if how == "variable" else {}
    if named:
        (desk.tree / ".cx" / "run").unlink()
    desk.write({"more": "of it"})
    commit = desk.head()
    for words in (("stage", "unit", "--strict", "--", "true"), ("stage", "unit", "--began"),
                  ("version", "next"), ("promote", "READY"), ("deploy", "--to", "production"),
                  ("stage", "deploy", "--", "touch", "went")):  # fmt: skip
        done = desk(*words, env=named)
        assert (done.code, began[:12] in done.err, commit[:12] in done.err) == (3, True, True), (
            words, done.err,
        )  # fmt: skip
    done = desk("stage", "unit", "--", "sh", "-c", "exit 4", env=named)
    assert (done.code, done.err.count("Warning"), "run start" in done.err) == (4, 1, True)
    assert desk.stages() == []
    for name, value in {**desk.environ, "CXLOCAL_RUN": run}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Refused, match=began[:12]), cxlocal.open_run(desk.tree):
        raise AssertionError("it was joined")
    # By its name it is decided about from anywhere, and ended.
    assert desk("promote", "2.7.0", "APPROVED", "-m", "seen").code == 0
    assert desk("run", "finish", env=named).code == 0


def test_a_python_program_joins_what_is_open_and_clean(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = desk.start()
    for name, value in {**desk.environ, "CXLOCAL_RUN": run}.items():
        monkeypatch.setenv(name, value)
    (desk.tree / "deploy.sh").write_text("true\n")
    with pytest.raises(Refused, match=r"deploy\.sh"), cxlocal.open_run(desk.tree):
        raise AssertionError("it was joined")
    with cxlocal.open_run(desk.tree, allow_uncommitted=True) as joined:
        assert joined.id == run
    # The stages before may have changed files: a program of a stage belongs to it.
    monkeypatch.setenv("CXLOCAL_STAGE", "build")
    with cxlocal.open_run(desk.tree) as joined:
        assert joined.id == run
    desk.git("checkout", "-q", "deploy.sh")
    assert desk("run", "finish").code == 0
    with pytest.raises(Refused, match="was finished"), cxlocal.open_run(desk.tree):
        raise AssertionError("it was joined")


def test_another_project_may_report_to_the_run(desk: Any) -> None:
    """A make that calls make in a repository of its own."""
    run = desk.start()
    inner = desk.root / "inner"
    inner.mkdir()
    (inner / "cx.toml").write_text('cx = 1\n[deliverable]\nname = "parts"\n')
    desk.shell(
        "git init -q . && git add . && git commit -qm x && cxlocal stage parts --strict -- true",
        env={"CXLOCAL_RUN": run}, cwd=inner,
    )  # fmt: skip
    assert desk.stages() == [("parts", 1, "success", 0)]
