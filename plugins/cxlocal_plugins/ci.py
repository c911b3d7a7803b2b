"""Recognises the CI server a process runs on, by its environment alone.

One table, in an order that keeps look-alikes apart: Gitea also sets what GitHub sets, TeamCity
shares a variable with Jenkins. ``CXLOCAL_CI_*`` variables win over all of it, for servers that
export nothing (Buildbot, Tekton, Argo); ``CI=false`` means that a person is at work. ``act`` runs
GitHub workflows on a laptop and is none. An environment without any mark is a laptop, too:
``CI=true`` alone says nothing about where. Sources: the servers' own lists of variables, and the
tables of watson/ci-info, semantic-release/env-ci and DataDog/datadog-ci.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cxlocal.hooks.place import Place
from cxlocal.hooks.specs import hookimpl
from cxlocal.text import clean_text
from cxlocal.values import NamedTuple

Environ = Mapping[str, str]


class Server(NamedTuple):
    """How one CI server shows itself. Fields name variables; the first that is set counts."""

    name: str
    marks: tuple[str, ...]
    """All must be set; ``NAME=value`` must have that value."""
    run_id: tuple[str, ...] | Callable[[Environ], str]
    """The same in all jobs of a run, and in no other run of that server."""
    number: tuple[str, ...] = ()
    url: tuple[str, ...] | Callable[[Environ], str] = ()
    revision: tuple[str, ...] | Callable[[Environ], str] = ()
    branch: tuple[str, ...] | Callable[[Environ], str] = ()
    attempt: tuple[str, ...] = ()
    """Of the run: a number that rises, or a name that each has of its own."""
    actor: tuple[str, ...] = ()
    job: tuple[str, ...] | Callable[[Environ], str] = ()
    """Its name, the same whenever it is tried again."""
    job_id: tuple[str, ...] = ()
    """One execution of it."""
    job_attempt: tuple[str, ...] | Callable[[Environ], str] = ()
    """A number that rises with every try of the job of that name."""
    part: tuple[str, ...] | Callable[[Environ], str] = ()
    parts: tuple[str, ...] = ()
    """How many parts there are: only where all of them are jobs of one kind."""


def _github_url(environ: Environ) -> str:
    server, repository = environ.get("GITHUB_SERVER_URL"), environ.get("GITHUB_REPOSITORY")
    if not (server and repository and environ.get("GITHUB_RUN_ID")):
        return ""
    url = f"{server}/{repository}/actions/runs/{environ['GITHUB_RUN_ID']}"
    attempt = environ.get("GITHUB_RUN_ATTEMPT", "")
    return f"{url}/attempts/{attempt}" if attempt else url


def _github_branch(environ: Environ) -> str:
    """What was pushed may be a tag."""
    tagged = environ.get("GITHUB_REF_TYPE") == "tag"
    return environ.get("GITHUB_HEAD_REF") or ("" if tagged else environ.get("GITHUB_REF_NAME", ""))


def _gitlab_branch(environ: Environ) -> str:
    """What a pipeline is for may be a tag."""
    return "" if environ.get("CI_COMMIT_TAG") else environ.get("CI_COMMIT_REF_NAME", "")


def _jenkins_branch(environ: Environ) -> str:
    """Of a change request the name is that of the job; without a multibranch job the plugin for git
    tells the branch of a remote."""
    if environ.get("TAG_NAME"):
        return ""
    named = environ.get("CHANGE_BRANCH") or environ.get("BRANCH_NAME")
    return named or environ.get("GIT_BRANCH", "").removeprefix("origin/")


def _azure_branch(environ: Environ) -> str:
    """The whole name is a ref; the short one is the last word of ``feature/cart``."""
    ref = environ.get("SYSTEM_PULLREQUEST_SOURCEBRANCH") or environ.get("BUILD_SOURCEBRANCH", "")
    plain = ref.removeprefix("refs/heads/")
    return "" if plain.startswith("refs/") else plain or environ.get("BUILD_SOURCEBRANCHNAME", "")


def _azure_url(environ: Environ) -> str:
    collection, project = environ.get("SYSTEM_COLLECTIONURI"), environ.get("SYSTEM_TEAMPROJECT")
    if not (collection and project):
        return ""
    base = f"{collection.rstrip('/')}/{project}"
    return f"{base}/_build/results?buildId={environ.get('BUILD_BUILDID', '')}"


def _bitbucket_url(environ: Environ) -> str:
    name = environ.get("BITBUCKET_REPO_FULL_NAME")
    number = environ.get("BITBUCKET_BUILD_NUMBER")
    return f"https://bitbucket.org/{name}/pipelines/results/{number}" if name else ""


def _gocd_url(environ: Environ) -> str:
    names = ("GO_PIPELINE_NAME", "GO_PIPELINE_COUNTER", "GO_STAGE_NAME", "GO_STAGE_COUNTER")
    server = environ.get("GO_SERVER_URL", "").rstrip("/")
    if not server or not all(environ.get(name) for name in names):
        return ""
    return "/".join([server, "pipelines", *(environ[name] for name in names)])


def _gocd_run(environ: Environ) -> str:
    """The counter counts the runs of one pipeline only."""
    name, counter = environ.get("GO_PIPELINE_NAME", ""), environ.get("GO_PIPELINE_COUNTER", "")
    return f"{name}/{counter}" if name else counter


def _gocd_job(environ: Environ) -> str:
    """Stages count their attempts apart, and may have jobs of one name."""
    return "/".join(filter(None, (environ.get("GO_STAGE_NAME"), environ.get("GO_JOB_NAME"))))


def _bamboo_run(environ: Environ) -> str:
    """The key of a result holds the job's key; that of the plan is the same in all jobs."""
    plan, number = environ.get("bamboo_planKey", ""), environ.get("bamboo_buildNumber", "")
    if plan and number:
        return f"{plan}-{number}"
    return environ.get("bamboo_buildResultKey") or number


def _teamcity_run(environ: Environ) -> str:
    """Each build configuration counts from 1; the id of a build is only there where it is handed on."""
    if environ.get("BUILD_ID"):
        return environ["BUILD_ID"]
    names = ("TEAMCITY_PROJECT_NAME", "TEAMCITY_BUILDCONF_NAME", "BUILD_NUMBER")
    return "/".join(filter(None, (environ.get(name) for name in names)))


def _azure_job(environ: Environ) -> str:
    """Each leg of a matrix has a name of its own, and a job without one that of all such jobs: what
    they are legs of stands behind it, as jobs of two stages may have one name."""
    name, stage = environ.get("SYSTEM_JOBNAME", ""), environ.get("SYSTEM_STAGENAME", "")
    whole = [stage, environ.get("SYSTEM_PHASENAME", "")]
    group = "/".join(one for one in whole if one not in ("", "__default"))
    if name in ("", "__default"):
        return group or name
    return f"{name} ({group})" if group and group != name else name


def _azure_attempt(environ: Environ) -> str:
    """Jobs are counted in each attempt of their stage."""
    stage, job = environ.get("SYSTEM_STAGEATTEMPT", ""), environ.get("SYSTEM_JOBATTEMPT", "")
    if not (stage.isdecimal() and job.isdecimal()):
        return job
    return str((int(stage) - 1) * 1000 + int(job))


def _buildkite_attempt(environ: Environ) -> str:
    """It counts retries: none is the first attempt."""
    count = environ.get("BUILDKITE_RETRY_COUNT", "")
    return str(int(count) + 1) if count.isdecimal() else ""


def _buildkite_job(environ: Environ) -> str:
    """Two steps may have one label; a step has one key, or one id, in all its tries."""
    label = environ.get("BUILDKITE_LABEL", "")
    step = environ.get("BUILDKITE_STEP_KEY") or environ.get("BUILDKITE_STEP_ID", "")
    return f"{label} ({step})" if label and step else label or step


def _travis_part(environ: Environ) -> str:
    """Job 12.3 is the third of build 12."""
    return environ.get("TRAVIS_JOB_NUMBER", "").partition(".")[2]


def _gocd_revision(environ: Environ) -> str:
    """With several materials each has its own; only a single one is beyond doubt."""
    if environ.get("GO_REVISION"):
        return environ["GO_REVISION"]
    found = {value for name, value in environ.items() if name.startswith("GO_REVISION_")}
    return found.pop() if len(found) == 1 else ""


def _concourse_url(environ: Environ) -> str:
    base = environ["ATC_EXTERNAL_URL"].rstrip("/")
    parts = ("BUILD_TEAM_NAME", "BUILD_PIPELINE_NAME", "BUILD_JOB_NAME", "BUILD_NAME")
    if not all(environ.get(part) for part in parts):
        return f"{base}/builds/{environ['BUILD_ID']}"
    team, pipeline, job, build = (environ[part] for part in parts)
    return f"{base}/teams/{team}/pipelines/{pipeline}/jobs/{job}/builds/{build}"


def _appveyor_url(environ: Environ) -> str:
    account, slug = environ.get("APPVEYOR_ACCOUNT_NAME"), environ.get("APPVEYOR_PROJECT_SLUG")
    if not (account and slug):
        return ""
    base = environ.get("APPVEYOR_URL", "https://ci.appveyor.com")
    return f"{base}/project/{account}/{slug}/builds/{environ.get('APPVEYOR_BUILD_ID', '')}"


_GITHUB = {
    "run_id": ("GITHUB_RUN_ID",), "number": ("GITHUB_RUN_NUMBER",), "url": _github_url,
    "revision": ("GITHUB_SHA",), "branch": _github_branch,
    "attempt": ("GITHUB_RUN_ATTEMPT",), "actor": ("GITHUB_ACTOR",), "job": ("GITHUB_JOB",),
    # Nothing else tells the jobs of a matrix apart, and it may be empty.
    "job_id": ("RUNNER_TRACKING_ID",),
}  # fmt: skip

_CODEBUILD = {
    "run_id": ("CODEBUILD_BUILD_ID",), "number": ("CODEBUILD_BUILD_NUMBER",),
    "url": ("CODEBUILD_BUILD_URL",), "revision": ("CODEBUILD_RESOLVED_SOURCE_VERSION",),
    "actor": ("CODEBUILD_INITIATOR",),
}  # fmt: skip

# In the order of asking.
SERVERS = (
    Server("gitea-actions", ("GITEA_ACTIONS",), **_GITHUB),  # type: ignore[arg-type]
    Server("github-actions", ("GITHUB_ACTIONS",), **_GITHUB),  # type: ignore[arg-type]
    Server("gitlab", ("GITLAB_CI",), ("CI_PIPELINE_ID",), ("CI_PIPELINE_IID",),
           ("CI_PIPELINE_URL", "CI_JOB_URL"), ("CI_COMMIT_SHA",), _gitlab_branch,
           (), ("GITLAB_USER_LOGIN",), ("CI_JOB_NAME",), ("CI_JOB_ID",),
           # A job that is tried again is a new one with the same name and a greater id.
           ("CI_JOB_ID",), ("CI_NODE_INDEX",), ("CI_NODE_TOTAL",)),
    Server("teamcity", ("TEAMCITY_VERSION",), _teamcity_run, ("BUILD_NUMBER",),
           ("BUILD_URL",), ("BUILD_VCS_NUMBER",), ("TEAMCITY_BUILD_BRANCH",)),
    Server("jenkins", ("JENKINS_URL", "BUILD_ID"), ("BUILD_TAG", "BUILD_ID"), ("BUILD_NUMBER",),
           ("BUILD_URL",), ("GIT_COMMIT",), _jenkins_branch, (),
           ("BUILD_USER_ID", "CHANGE_AUTHOR"), ("STAGE_NAME", "JOB_NAME")),
    Server("jenkins", ("JENKINS_HOME", "BUILD_ID"), ("BUILD_TAG", "BUILD_ID"), ("BUILD_NUMBER",),
           ("BUILD_URL",), ("GIT_COMMIT",), _jenkins_branch, (),
           ("BUILD_USER_ID", "CHANGE_AUTHOR"), ("STAGE_NAME", "JOB_NAME")),
    Server("azure-pipelines", ("TF_BUILD",), ("BUILD_BUILDID",), ("BUILD_BUILDNUMBER",),
           _azure_url, ("SYSTEM_PULLREQUEST_SOURCECOMMITID", "BUILD_SOURCEVERSION"),
           _azure_branch, (), ("BUILD_REQUESTEDFOR",),
           _azure_job, ("SYSTEM_JOBID",), _azure_attempt,
           ("SYSTEM_JOBPOSITIONINPHASE",), ("SYSTEM_TOTALJOBSINPHASE",)),
    Server("buildkite", ("BUILDKITE",), ("BUILDKITE_BUILD_ID",), ("BUILDKITE_BUILD_NUMBER",),
           ("BUILDKITE_BUILD_URL",), ("BUILDKITE_COMMIT",), ("BUILDKITE_BRANCH",),
           (), ("BUILDKITE_BUILD_CREATOR",), _buildkite_job, ("BUILDKITE_JOB_ID",),
           _buildkite_attempt, ("BUILDKITE_PARALLEL_JOB",),
           ("BUILDKITE_PARALLEL_JOB_COUNT",)),
    # What is run again is a new workflow that takes over the workspace, and its jobs have greater
    # numbers.
    Server("circleci", ("CIRCLECI",), ("CIRCLE_WORKFLOW_WORKSPACE_ID", "CIRCLE_WORKFLOW_ID"),
           ("CIRCLE_BUILD_NUM",), ("CIRCLE_BUILD_URL",), ("CIRCLE_SHA1",), ("CIRCLE_BRANCH",),
           ("CIRCLE_WORKFLOW_ID",), ("CIRCLE_USERNAME",), ("CIRCLE_JOB",),
           ("CIRCLE_WORKFLOW_JOB_ID",), ("CIRCLE_BUILD_NUM",),
           ("CIRCLE_NODE_INDEX",), ("CIRCLE_NODE_TOTAL",)),
    Server("bitbucket", ("BITBUCKET_BUILD_NUMBER",),
           ("BITBUCKET_PIPELINE_UUID", "BITBUCKET_BUILD_NUMBER"), ("BITBUCKET_BUILD_NUMBER",),
           _bitbucket_url, ("BITBUCKET_COMMIT",), ("BITBUCKET_BRANCH",), (), (), (),
           ("BITBUCKET_STEP_UUID",), ("BITBUCKET_STEP_RUN_NUMBER",),
           # Steps side by side may differ in what they do: their number is none of parts.
           ("BITBUCKET_PARALLEL_STEP",)),
    Server("bamboo", ("bamboo_planKey",), _bamboo_run,
           ("bamboo_buildNumber",), ("bamboo_buildResultsUrl",),
           ("bamboo_planRepository_1_revision",), ("bamboo_planRepository_1_branchName",),
           (), (), ("bamboo_shortJobName",), ("bamboo_buildResultKey",)),
    Server("bamboo", ("bamboo_agentId",), _bamboo_run,
           ("bamboo_buildNumber",), ("bamboo_buildResultsUrl",),
           ("bamboo_planRepository_1_revision",), ("bamboo_planRepository_1_branchName",),
           (), (), ("bamboo_shortJobName",), ("bamboo_buildResultKey",)),
    Server("gocd", ("GO_PIPELINE_LABEL",), _gocd_run, ("GO_PIPELINE_COUNTER",),
           _gocd_url, _gocd_revision, (), (), ("GO_TRIGGER_USER",), _gocd_job, (),
           ("GO_STAGE_COUNTER",), ("GO_JOB_RUN_INDEX",), ("GO_JOB_RUN_COUNT",)),
    Server("drone", ("DRONE",), ("DRONE_BUILD_NUMBER",), ("DRONE_BUILD_NUMBER",),
           ("DRONE_BUILD_LINK",), ("DRONE_COMMIT_SHA",), ("DRONE_BRANCH",), (),
           ("DRONE_COMMIT_AUTHOR",), ("DRONE_STEP_NAME",)),
    Server("woodpecker", ("CI=woodpecker",), ("CI_PIPELINE_NUMBER",), ("CI_PIPELINE_NUMBER",),
           ("CI_PIPELINE_URL",), ("CI_COMMIT_SHA",), ("CI_COMMIT_BRANCH",), (),
           ("CI_COMMIT_AUTHOR",), ("CI_STEP_NAME",)),
    Server("travis", ("TRAVIS",), ("TRAVIS_BUILD_ID", "TRAVIS_BUILD_NUMBER"),
           ("TRAVIS_BUILD_NUMBER",), ("TRAVIS_BUILD_WEB_URL",), ("TRAVIS_COMMIT",),
           ("TRAVIS_BRANCH",), (), (), ("TRAVIS_JOB_NAME",), ("TRAVIS_JOB_ID",), (), _travis_part),
    Server("appveyor", ("APPVEYOR",), ("APPVEYOR_BUILD_ID",), ("APPVEYOR_BUILD_NUMBER",),
           _appveyor_url, ("APPVEYOR_REPO_COMMIT",), ("APPVEYOR_REPO_BRANCH",), (), (),
           ("APPVEYOR_JOB_NAME",), ("APPVEYOR_JOB_ID",)),
    Server("codebuild", ("CODEBUILD_BUILD_ARN",), **_CODEBUILD),
    Server("codebuild", ("CODEBUILD_CI",), **_CODEBUILD),
    Server("codefresh", ("CF_BUILD_ID",), ("CF_BUILD_ID",), (), ("CF_BUILD_URL",),
           ("CF_REVISION",), ("CF_BRANCH",), (), ("CF_BUILD_INITIATOR",)),
    Server("semaphore", ("SEMAPHORE",), ("SEMAPHORE_WORKFLOW_ID", "SEMAPHORE_JOB_ID"),
           ("SEMAPHORE_WORKFLOW_NUMBER",), (), ("SEMAPHORE_GIT_SHA",),
           ("SEMAPHORE_GIT_BRANCH",), (), (), ("SEMAPHORE_JOB_NAME",),
           ("SEMAPHORE_JOB_ID",), (), ("SEMAPHORE_JOB_INDEX",), ("SEMAPHORE_JOB_COUNT",)),
    Server("bitrise", ("BITRISE_IO",), ("BITRISE_BUILD_SLUG", "BITRISE_BUILD_NUMBER"),
           ("BITRISE_BUILD_NUMBER",), ("BITRISE_BUILD_URL",), ("BITRISE_GIT_COMMIT",),
           ("BITRISE_GIT_BRANCH",)),
    Server("cirrus", ("CIRRUS_CI",), ("CIRRUS_BUILD_ID",), (),
           lambda environ: f"https://cirrus-ci.com/build/{environ['CIRRUS_BUILD_ID']}",
           ("CIRRUS_CHANGE_IN_REPO",), ("CIRRUS_BRANCH",), (), ("CIRRUS_USER_COLLABORATOR",),
           ("CIRRUS_TASK_NAME",), ("CIRRUS_TASK_ID",)),
    Server("harness", ("HARNESS_BUILD_ID",), ("HARNESS_BUILD_ID",)),
    Server("prow", ("PROW_JOB_ID",), ("PROW_JOB_ID",), ("BUILD_ID",), (), ("PULL_PULL_SHA",)),
    # BUILDER_OUTPUT is the same path in every build.
    Server("cloud-build", ("BUILDER_OUTPUT",), ("BUILD_ID",)),
    # Only in get and put steps; a task of Concourse cannot know where it runs.
    Server("concourse", ("ATC_EXTERNAL_URL", "BUILD_ID"), ("BUILD_ID",), ("BUILD_NAME",),
           _concourse_url),
)  # fmt: skip

OWN = {
    "run_url": "CXLOCAL_CI_RUN_URL", "run_id": "CXLOCAL_CI_RUN_ID",
    "attempt": "CXLOCAL_CI_ATTEMPT", "number": "CXLOCAL_CI_NUMBER",
    "revision": "CXLOCAL_CI_REVISION", "branch": "CXLOCAL_CI_BRANCH",
    "actor": "CXLOCAL_CI_ACTOR", "job": "CXLOCAL_CI_JOB",
    "job_id": "CXLOCAL_CI_JOB_ID", "job_attempt": "CXLOCAL_CI_JOB_ATTEMPT",
    "part": "CXLOCAL_CI_PART", "parts": "CXLOCAL_CI_PARTS",
}  # fmt: skip
"""Fields of a place and the variables that set them, whatever was recognised."""


@hookimpl
def cxlocal_identify_ci(environ: Mapping[str, str]) -> Place | None:
    """The CI server, or None at a person's desk."""
    named = environ.get("CXLOCAL_CI_NAME", "")
    found = None if _is_desk(environ) else _recognise(environ)
    if found is None and not named:
        return None
    base = found or Place("ci")
    own = {field: clean_text(environ[name]) for field, name in OWN.items() if environ.get(name)}
    return base._replace(name=clean_text(named) or base.name, **own)


def _is_desk(environ: Environ) -> bool:
    """A person says so, or ``act`` does: it invents run ids, so nothing of it is believed."""
    return environ.get("CI", "").lower() in ("false", "0") or _is_set(environ, "ACT")


def _recognise(environ: Environ) -> Place | None:
    for server in SERVERS:
        if all(_is_set(environ, mark) for mark in server.marks):
            return Place(
                kind="ci",
                name=server.name,
                run_url=_fact(environ, server.url),
                # Bitbucket writes its ids in braces.
                run_id=_fact(environ, server.run_id).strip("{}"),
                attempt=_fact(environ, server.attempt),
                number=_fact(environ, server.number),
                revision=_fact(environ, server.revision),
                branch=_fact(environ, server.branch),
                actor=_fact(environ, server.actor),
                job=_fact(environ, server.job),
                job_id=_fact(environ, server.job_id),
                job_attempt=_fact(environ, server.job_attempt),
                **_parts(environ, server),
            )
    return None


def _parts(environ: Environ, server: Server) -> dict[str, str]:
    """Which part of how many. A job that is the only one of its kind is no part."""
    part, parts = _fact(environ, server.part), _fact(environ, server.parts)
    alone = bool(server.parts) and (parts in ("", "0", "1"))
    return {} if alone else {"part": part, "parts": parts}


def _is_set(environ: Environ, mark: str) -> bool:
    name, separator, value = mark.partition("=")
    found = environ.get(name, "")
    return found == value if separator else bool(found) and found.lower() not in ("false", "0")


def _fact(environ: Environ, source: tuple[str, ...] | Callable[[Environ], str]) -> str:
    if callable(source):
        return clean_text(source(environ))
    return clean_text(next((environ[name] for name in source if environ.get(name)), ""))
