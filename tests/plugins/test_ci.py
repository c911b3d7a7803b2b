"""Each CI server by the variables it sets, and those that look like another."""

from __future__ import annotations

import pytest
from cxlocal_plugins.ci import SERVERS, cxlocal_identify_ci

from cxlocal.hooks.place import Place

GITHUB = {
    "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_REPOSITORY": "shop/web", "GITHUB_RUN_ID": "77", "GITHUB_RUN_NUMBER": "5",
    "GITHUB_RUN_ATTEMPT": "2", "GITHUB_SHA": "abc", "GITHUB_REF_NAME": "main",
    "GITHUB_ACTOR": "dev", "GITHUB_JOB": "build", "GITHUB_HEAD_REF": "",
}  # fmt: skip
AT_GITHUB = {
    "name": "github-actions", "run_id": "77", "number": "5", "attempt": "2", "revision": "abc",
    "branch": "main", "actor": "dev", "job": "build",
    "run_url": "https://github.example/shop/web/actions/runs/77/attempts/2",
}  # fmt: skip

KNOWN = [
    (GITHUB, AT_GITHUB),
    ({**GITHUB, "GITHUB_HEAD_REF": "fix"}, {"name": "github-actions", "branch": "fix"}),
    ({**GITHUB, "GITEA_ACTIONS": "true"}, {**AT_GITHUB, "name": "gitea-actions"}),
    ({"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1"}, {"name": "github-actions", "run_url": ""}),
    ({"GITLAB_CI": "true", "CI_PIPELINE_URL": "https://g/p/9", "CI_JOB_URL": "https://g/j/1",
      "CI_PIPELINE_IID": "4", "CI_PIPELINE_ID": "900", "CI_COMMIT_SHA": "abc",
      "CI_JOB_NAME": "unit", "GITLAB_USER_LOGIN": "dev"},
     {"name": "gitlab", "run_url": "https://g/p/9", "number": "4", "run_id": "900",
      "revision": "abc", "job": "unit", "actor": "dev"}),
    ({"TEAMCITY_VERSION": "2025.1", "BUILD_NUMBER": "12", "BUILD_VCS_NUMBER": "abc",
      "BUILD_URL": "https://tc/1", "JENKINS_URL": "https://j", "BUILD_ID": "88"},
     {"name": "teamcity", "number": "12", "run_id": "88", "revision": "abc"}),
    ({"JENKINS_URL": "https://j/", "BUILD_ID": "12", "BUILD_NUMBER": "12", "GIT_COMMIT": "abc",
      "BUILD_TAG": "jenkins-web-12", "BUILD_URL": "https://j/job/web/12/"},
     {"name": "jenkins", "run_id": "jenkins-web-12", "run_url": "https://j/job/web/12/",
      "number": "12", "revision": "abc"}),
    ({"JENKINS_HOME": "/var/jenkins", "BUILD_ID": "12"}, {"name": "jenkins", "run_id": "12"}),
    ({"TF_BUILD": "True", "SYSTEM_COLLECTIONURI": "https://dev.azure.example/org/",
      "SYSTEM_TEAMPROJECT": "web", "BUILD_BUILDID": "31", "BUILD_BUILDNUMBER": "20261123.4",
      "BUILD_SOURCEVERSION": "merge", "SYSTEM_PULLREQUEST_SOURCECOMMITID": "abc"},
     {"name": "azure-pipelines", "run_id": "31", "number": "20261123.4", "revision": "abc",
      "run_url": "https://dev.azure.example/org/web/_build/results?buildId=31"}),
    ({"BUILDKITE": "true", "BUILDKITE_BUILD_URL": "https://b/1", "BUILDKITE_BUILD_NUMBER": "3",
      "BUILDKITE_BUILD_ID": "u-u", "BUILDKITE_COMMIT": "abc", "BUILDKITE_PULL_REQUEST": "false"},
     {"name": "buildkite", "run_id": "u-u", "number": "3", "revision": "abc"}),
    ({"CIRCLECI": "true", "CIRCLE_BUILD_URL": "https://c/1", "CIRCLE_BUILD_NUM": "7",
      "CIRCLE_WORKFLOW_ID": "w-w", "CIRCLE_SHA1": "abc"},
     {"name": "circleci", "run_id": "w-w", "number": "7", "revision": "abc"}),
    ({"BITBUCKET_BUILD_NUMBER": "6", "BITBUCKET_PIPELINE_UUID": "{u-u}",
      "BITBUCKET_REPO_FULL_NAME": "shop/web", "BITBUCKET_COMMIT": "abc"},
     {"name": "bitbucket", "run_id": "u-u", "number": "6",
      "run_url": "https://bitbucket.org/shop/web/pipelines/results/6"}),
    ({"bamboo_planKey": "WEB", "bamboo_buildResultKey": "WEB-4", "bamboo_buildNumber": "4",
      "bamboo_buildResultsUrl": "https://b/WEB-4", "bamboo_planRepository_1_revision": "abc"},
     {"name": "bamboo", "run_id": "WEB-4", "run_url": "https://b/WEB-4", "revision": "abc"}),
    ({"bamboo_agentId": "1", "bamboo_buildNumber": "4"}, {"name": "bamboo", "number": "4"}),
    ({"GO_PIPELINE_LABEL": "9", "GO_SERVER_URL": "https://go/go/", "GO_PIPELINE_NAME": "web",
      "GO_PIPELINE_COUNTER": "9", "GO_STAGE_NAME": "unit", "GO_STAGE_COUNTER": "2",
      "GO_REVISION_WEB": "abc", "GO_TRIGGER_USER": "dev"},
     {"name": "gocd", "run_id": "web/9", "job_attempt": "2", "revision": "abc", "actor": "dev",
      "run_url": "https://go/go/pipelines/web/9/unit/2"}),
    ({"GO_PIPELINE_LABEL": "9", "GO_REVISION_A": "1", "GO_REVISION_B": "2"},
     {"name": "gocd", "revision": ""}),
    ({"DRONE": "true", "DRONE_BUILD_LINK": "https://d/1", "DRONE_BUILD_NUMBER": "8",
      "DRONE_COMMIT_SHA": "abc"}, {"name": "drone", "number": "8", "run_url": "https://d/1"}),
    ({"CI": "woodpecker", "CI_PIPELINE_URL": "https://w/1", "CI_PIPELINE_NUMBER": "8",
      "CI_COMMIT_SHA": "abc"}, {"name": "woodpecker", "number": "8", "run_url": "https://w/1"}),
    ({"TRAVIS": "true", "TRAVIS_BUILD_WEB_URL": "https://t/1", "TRAVIS_BUILD_NUMBER": "8",
      "TRAVIS_BUILD_ID": "800", "TRAVIS_COMMIT": "abc"},
     {"name": "travis", "number": "8", "run_id": "800"}),
    ({"APPVEYOR": "True", "APPVEYOR_ACCOUNT_NAME": "shop", "APPVEYOR_PROJECT_SLUG": "web",
      "APPVEYOR_BUILD_ID": "55", "APPVEYOR_BUILD_NUMBER": "8", "APPVEYOR_REPO_COMMIT": "abc"},
     {"name": "appveyor", "run_url": "https://ci.appveyor.com/project/shop/web/builds/55"}),
    ({"CODEBUILD_BUILD_ARN": "arn:x", "CODEBUILD_BUILD_ID": "web:1",
      "CODEBUILD_BUILD_URL": "https://a/1", "CODEBUILD_RESOLVED_SOURCE_VERSION": "abc"},
     {"name": "codebuild", "run_id": "web:1", "revision": "abc"}),
    ({"CODEBUILD_CI": "true", "CODEBUILD_BUILD_ID": "web:1"},
     {"name": "codebuild", "run_id": "web:1"}),
    ({"CF_BUILD_ID": "c1", "CF_BUILD_URL": "https://c/1", "CF_REVISION": "abc"},
     {"name": "codefresh", "run_id": "c1", "revision": "abc"}),
    ({"SEMAPHORE": "true", "SEMAPHORE_JOB_ID": "j1", "SEMAPHORE_GIT_SHA": "abc"},
     {"name": "semaphore", "run_id": "j1", "revision": "abc"}),
    ({"BITRISE_IO": "true", "BITRISE_BUILD_NUMBER": "8", "BITRISE_BUILD_URL": "https://b/1",
      "BITRISE_GIT_COMMIT": "abc"}, {"name": "bitrise", "number": "8", "run_url": "https://b/1"}),
    ({"CIRRUS_CI": "true", "CIRRUS_BUILD_ID": "5", "CIRRUS_CHANGE_IN_REPO": "abc"},
     {"name": "cirrus", "run_id": "5", "run_url": "https://cirrus-ci.com/build/5"}),
    ({"HARNESS_BUILD_ID": "4"}, {"name": "harness", "run_id": "4"}),
    ({"PROW_JOB_ID": "p", "BUILD_ID": "9"}, {"name": "prow", "run_id": "p", "number": "9"}),
    ({"BUILDER_OUTPUT": "/builder/outputs"}, {"name": "cloud-build"}),
    ({"ATC_EXTERNAL_URL": "https://atc", "BUILD_ID": "70", "BUILD_NAME": "3",
      "BUILD_TEAM_NAME": "t", "BUILD_PIPELINE_NAME": "p", "BUILD_JOB_NAME": "j"},
     {"name": "concourse", "run_id": "70", "number": "3",
      "run_url": "https://atc/teams/t/pipelines/p/jobs/j/builds/3"}),
]  # fmt: skip


@pytest.mark.parametrize(("environ", "facts"), KNOWN)
def test_each_server_is_known(environ: dict[str, str], facts: dict[str, str]) -> None:
    place = cxlocal_identify_ci(environ)
    assert place is not None and place.kind == "ci"
    assert {name: getattr(place, name) for name in facts} == facts


def test_every_row_of_the_table_is_tried() -> None:
    tried = {facts["name"] for _, facts in KNOWN}
    assert tried == {server.name for server in SERVERS}


AT_JENKINS = {"JENKINS_URL": "https://j/", "BUILD_ID": "12"}


@pytest.mark.parametrize(
    ("environ", "branch"),
    [
        ({**GITHUB, "GITHUB_REF_NAME": "v1.2", "GITHUB_REF_TYPE": "tag"}, ""),
        ({**GITHUB, "GITHUB_REF_NAME": "5/merge", "GITHUB_HEAD_REF": "feature/cart"}, "feature/cart"),
        ({"GITLAB_CI": "true", "CI_COMMIT_REF_NAME": "feature/cart"}, "feature/cart"),
        ({"GITLAB_CI": "true", "CI_COMMIT_REF_NAME": "v1.2", "CI_COMMIT_TAG": "v1.2"}, ""),
        ({**AT_JENKINS, "GIT_BRANCH": "origin/feature/cart"}, "feature/cart"),
        ({**AT_JENKINS, "BRANCH_NAME": "PR-3", "CHANGE_BRANCH": "feature/cart"}, "feature/cart"),
        ({**AT_JENKINS, "BRANCH_NAME": "v1.2", "TAG_NAME": "v1.2"}, ""),
        ({"TF_BUILD": "True", "BUILD_SOURCEBRANCH": "refs/heads/feature/cart",
          "BUILD_SOURCEBRANCHNAME": "cart"}, "feature/cart"),
        ({"TF_BUILD": "True", "BUILD_SOURCEBRANCH": "refs/tags/v1.2",
          "BUILD_SOURCEBRANCHNAME": "v1.2"}, ""),
        ({"TF_BUILD": "True", "BUILD_SOURCEBRANCH": "refs/pull/1/merge",
          "SYSTEM_PULLREQUEST_SOURCEBRANCH": "refs/heads/feature/cart"}, "feature/cart"),
    ],
)  # fmt: skip
def test_a_branch_is_told_whole_and_a_tag_is_none(environ: dict[str, str], branch: str) -> None:
    place = cxlocal_identify_ci(environ)
    assert place is not None and place.branch == branch


@pytest.mark.parametrize(
    "environ",
    [{}, {"CI": "true"}, {**GITHUB, "ACT": "true"}, {**GITHUB, "CI": "false"},
     {**GITHUB, "GITHUB_ACTIONS": "false"}, {"CI_PIPELINE_URL": "https://w/1"},
     {"BUILD_ID": "3", "BUILD_NUMBER": "3"}, {"JENKINS_URL": "https://j"},
     {"BUILDKITE": "false"}, {"GITHUB_SHA": "abc"}],
)  # fmt: skip
def test_a_desk_is_no_server(environ: dict[str, str]) -> None:
    assert cxlocal_identify_ci(environ) is None


def test_what_is_said_outright_wins() -> None:
    own = {"CXLOCAL_CI_RUN_ID": "1", "CXLOCAL_CI_REVISION": "def"}
    place = cxlocal_identify_ci({**GITHUB, **own})
    assert place is not None
    assert (place.name, place.run_id, place.revision) == ("github-actions", "1", "def")
    assert place.number == "5", "what was not said stays as it was found"
    named = {"CXLOCAL_CI_NAME": "tekton", **own}
    for environ in ({}, {"CI": "false"}, {**GITHUB, "ACT": "true"}):
        expected = Place("ci", "tekton", run_id="1", revision="def")
        assert cxlocal_identify_ci({**environ, **named}) == expected
    assert cxlocal_identify_ci(own) is None, "facts without a name make no server of a laptop"


def test_values_that_are_not_utf_8_can_be_recorded() -> None:
    place = cxlocal_identify_ci({**GITHUB, "GITHUB_REF_NAME": "gr\udcfcn"})
    assert place is not None and place.branch == "gr\\xfcn"
