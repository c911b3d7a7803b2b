"""Each CI server is recognised by what it sets, and nothing else is."""

from __future__ import annotations

import pytest
from cxlocal_plugins.ci import SERVERS, cxlocal_identify_ci

from cxlocal.hooks.place import Place

COMMIT = "c" * 40
GITHUB = {
    "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://git.example.org",
    "GITHUB_REPOSITORY": "team/shop", "GITHUB_RUN_ID": "1658821493", "GITHUB_RUN_NUMBER": "7",
    "GITHUB_RUN_ATTEMPT": "2", "GITHUB_SHA": COMMIT, "GITHUB_REF_NAME": "main",
    "GITHUB_ACTOR": "releaser", "GITHUB_JOB": "release",
}  # fmt: skip
EXAMPLES: list[tuple[str, dict[str, str], str, str]] = [
    # name, what it sets, run id, run URL
    ("gitea-actions", {**GITHUB, "GITEA_ACTIONS": "true"}, "1658821493",
     "https://git.example.org/team/shop/actions/runs/1658821493/attempts/2"),
    ("github-actions", GITHUB, "1658821493",
     "https://git.example.org/team/shop/actions/runs/1658821493/attempts/2"),
    ("gitlab", {"GITLAB_CI": "true", "CI_PIPELINE_ID": "900", "CI_PIPELINE_IID": "12",
     "CI_PIPELINE_URL": "https://gl.example.org/p/900", "CI_COMMIT_SHA": COMMIT}, "900",
     "https://gl.example.org/p/900"),
    ("teamcity", {"TEAMCITY_VERSION": "2026.1", "BUILD_NUMBER": "33", "BUILD_URL": "https://tc/33",
     "BUILD_VCS_NUMBER": COMMIT, "JENKINS_URL": ""}, "33", "https://tc/33"),
    ("jenkins", {"JENKINS_URL": "https://j/", "BUILD_ID": "5", "BUILD_TAG": "jenkins-shop-5",
     "BUILD_NUMBER": "5", "BUILD_URL": "https://j/5", "GIT_COMMIT": COMMIT}, "jenkins-shop-5",
     "https://j/5"),
    ("jenkins", {"JENKINS_HOME": "/var/j", "BUILD_ID": "6", "BUILD_NUMBER": "6"}, "6", ""),
    ("azure-pipelines", {"TF_BUILD": "True", "BUILD_BUILDID": "77", "BUILD_BUILDNUMBER": "20261123.1",
     "SYSTEM_COLLECTIONURI": "https://dev.example.org/org/", "SYSTEM_TEAMPROJECT": "shop",
     "BUILD_SOURCEVERSION": COMMIT}, "77",
     "https://dev.example.org/org/shop/_build/results?buildId=77"),
    ("buildkite", {"BUILDKITE": "true", "BUILDKITE_BUILD_ID": "uuid", "BUILDKITE_BUILD_NUMBER": "4",
     "BUILDKITE_BUILD_URL": "https://bk/4", "BUILDKITE_COMMIT": COMMIT,
     "BUILDKITE_PULL_REQUEST": "false"}, "uuid", "https://bk/4"),
    ("circleci", {"CIRCLECI": "true", "CIRCLE_WORKFLOW_ID": "wf", "CIRCLE_BUILD_NUM": "8",
     "CIRCLE_BUILD_URL": "https://cc/8", "CIRCLE_SHA1": COMMIT}, "wf", "https://cc/8"),
    ("bitbucket", {"BITBUCKET_BUILD_NUMBER": "3", "BITBUCKET_PIPELINE_UUID": "{ab-cd}",
     "BITBUCKET_REPO_FULL_NAME": "team/shop", "BITBUCKET_COMMIT": COMMIT}, "ab-cd",
     "https://bitbucket.org/team/shop/pipelines/results/3"),
    ("bamboo", {"bamboo_planKey": "SHOP", "bamboo_buildNumber": "2",
     "bamboo_buildResultsUrl": "https://b/2", "bamboo_planRepository_1_revision": COMMIT}, "2",
     "https://b/2"),
    ("gocd", {"GO_PIPELINE_LABEL": "9", "GO_PIPELINE_NAME": "shop", "GO_PIPELINE_COUNTER": "9",
     "GO_STAGE_NAME": "build", "GO_STAGE_COUNTER": "1", "GO_SERVER_URL": "https://go/go/",
     "GO_REVISION": COMMIT, "GO_TRIGGER_USER": "timer"}, "9",
     "https://go/go/pipelines/shop/9/build/1"),
    ("drone", {"DRONE": "true", "DRONE_BUILD_NUMBER": "1", "DRONE_BUILD_LINK": "https://d/1",
     "DRONE_COMMIT_SHA": COMMIT, "CI": "true"}, "1", "https://d/1"),
    ("woodpecker", {"CI": "woodpecker", "CI_PIPELINE_NUMBER": "6", "CI_PIPELINE_URL": "https://w/6",
     "CI_COMMIT_SHA": COMMIT}, "6", "https://w/6"),
    ("travis", {"TRAVIS": "true", "TRAVIS_BUILD_ID": "10", "TRAVIS_BUILD_WEB_URL": "https://t/10",
     "TRAVIS_COMMIT": COMMIT}, "10", "https://t/10"),
    ("appveyor", {"APPVEYOR": "True", "APPVEYOR_BUILD_ID": "11", "APPVEYOR_ACCOUNT_NAME": "team",
     "APPVEYOR_PROJECT_SLUG": "shop", "APPVEYOR_URL": "https://av.example.org",
     "APPVEYOR_REPO_COMMIT": COMMIT}, "11", "https://av.example.org/project/team/shop/builds/11"),
    ("codebuild", {"CODEBUILD_BUILD_ARN": "arn", "CODEBUILD_BUILD_ID": "shop:1",
     "CODEBUILD_BUILD_URL": "https://cb/1", "CODEBUILD_RESOLVED_SOURCE_VERSION": COMMIT}, "shop:1",
     "https://cb/1"),
    ("codefresh", {"CF_BUILD_ID": "f1", "CF_BUILD_URL": "https://cf/f1", "CF_REVISION": COMMIT}, "f1",
     "https://cf/f1"),
    ("semaphore", {"SEMAPHORE": "true", "SEMAPHORE_WORKFLOW_ID": "s1", "SEMAPHORE_JOB_ID": "j",
     "SEMAPHORE_GIT_SHA": COMMIT}, "s1", ""),
    ("bitrise", {"BITRISE_IO": "true", "BITRISE_BUILD_NUMBER": "5",
     "BITRISE_BUILD_URL": "https://br/5", "BITRISE_GIT_COMMIT": COMMIT}, "5", "https://br/5"),
    ("cirrus", {"CIRRUS_CI": "true", "CIRRUS_BUILD_ID": "c9", "CIRRUS_CHANGE_IN_REPO": COMMIT}, "c9",
     "https://cirrus-ci.com/build/c9"),
    ("harness", {"HARNESS_BUILD_ID": "h1"}, "h1", ""),
    ("prow", {"PROW_JOB_ID": "p1", "BUILD_ID": "2"}, "p1", ""),
    ("cloud-build", {"BUILDER_OUTPUT": "/builder/outputs", "BUILD_ID": "g1"}, "g1", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "environ", "run_id", "url"), EXAMPLES, ids=[row[0] for row in EXAMPLES]
)
def test_each_server(name: str, environ: dict[str, str], run_id: str, url: str) -> None:
    place = cxlocal_identify_ci(environ)
    assert place is not None and (place.kind, place.name) == ("ci", name)
    assert (place.run_id, place.run_url) == (run_id, url)
    if COMMIT in environ.values():
        assert place.revision == COMMIT


def test_every_row_of_the_table_is_tried() -> None:
    assert {row[0] for row in EXAMPLES} == {server.name for server in SERVERS}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"CI": "true"},
        {**GITHUB, "CI": "false"},
        {**GITHUB, "ACT": "true", "GITHUB_RUN_ID": "1"},
        {"BUILD_NUMBER": "5", "BUILD_ID": "5", "BUILD_URL": "https://x"},
        {"CI_PIPELINE_URL": "https://x", "CI_COMMIT_SHA": COMMIT},
        {"BUILDKITE": "false"},
        {"GITHUB_ACTIONS": "false", "TRAVIS": "false"},
        {"GITHUB_ACTIONS": "", "GITLAB_CI": ""},
    ],
)
def test_what_is_no_ci_server(environ: dict[str, str]) -> None:
    assert cxlocal_identify_ci(environ) is None


def test_explicit_variables_win() -> None:
    own = {"CXLOCAL_CI_NAME": "tekton", "CXLOCAL_CI_RUN_ID": "run-1", "CXLOCAL_CI_ATTEMPT": "1"}
    assert cxlocal_identify_ci(own) == Place("ci", "tekton", run_id="run-1", attempt="1")
    both = cxlocal_identify_ci({**GITHUB, "CXLOCAL_CI_RUN_ID": "mine"})
    assert both is not None and (both.name, both.run_id) == ("github-actions", "mine")


def test_attempts_and_jobs_are_told_apart() -> None:
    first = cxlocal_identify_ci({**GITHUB, "GITHUB_RUN_ATTEMPT": "1"})
    second = cxlocal_identify_ci(GITHUB)
    assert first is not None and second is not None
    assert first.run_id == second.run_id and first.attempt != second.attempt
    assert second.actor == "releaser" and second.job == "release"
