"""Runs made of single commands: found again by every process, open until they are finished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

import pytest

from cxlocal.processes.identity import identity

GITHUB = {
    "CI": "true", "CXLOCAL_NODE": "kept", "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "8123456789",
    "GITHUB_RUN_ATTEMPT": "1", "GITHUB_RUN_NUMBER": "42", "GITHUB_REPOSITORY": "o/r",
    "GITHUB_SERVER_URL": "https://github.example", "GITHUB_ACTOR": "octo",
}  # fmt: skip
GITLAB = {
    "CI": "true", "CXLOCAL_NODE": "kept", "GITLAB_CI": "true", "CI_PIPELINE_ID": "777", "CI_PIPELINE_IID": "7",
    "CI_PIPELINE_URL": "https://gitlab.example/p/777", "GITLAB_USER_LOGIN": "lab",
}  # fmt: skip
JENKINS = {
    "CXLOCAL_NODE": "kept", "JENKINS_URL": "https://jenkins.example/", "BUILD_TAG": "jenkins-shop-12", "BUILD_ID": "12",
    "BUILD_NUMBER": "12", "BUILD_URL": "https://jenkins.example/job/shop/12/", "JOB_NAME": "shop",
}  # fmt: skip


def test_a_release_made_of_five_separate_shells(desk: Any) -> None:
    begun = desk.shell("cxlocal run start").out
    run = desk.rows("SELECT id FROM run")[0]["id"]
    assert f"export CXLOCAL_RUN={run}\n" in begun
    assert "export CXLOCAL_VERSION=2.7.0\n" in begun
    for script in (
        "cxlocal stage build -- sh -c 'echo $CXLOCAL_VERSION > app.bin'",
        "cxlocal stage unit -- grep -q 2.7.0 app.bin",
        "cxlocal promote READY",
        "cxlocal deploy --to production",
        "cxlocal run finish",
    ):
        done = desk.shell(script)
        assert done.code == 0, f"{script}\n{done.err}"
    assert (desk.live / "app.bin").read_text() == "2.7.0\n"
    row = desk.rows("SELECT outcome, version, proof, actor FROM run")[0]
    assert tuple(row.values()) == ("success", "2.7.0", "confirmed", "Ann <ann@example.org>")
    promotion = desk.rows("SELECT name, decision, automatic FROM promotion")
    assert promotion == [{"name": "READY", "decision": "granted", "automatic": 0}]
    deployment = desk.rows("SELECT version, kind, run FROM deployment")
    assert deployment == [{"version": "2.7.0", "kind": "deployed", "run": run}]
    assert not (desk.tree / ".cx" / "run").exists()
    assert desk("verify").code == 0
    assert desk.rows("SELECT * FROM process") == []


def test_a_release_driven_by_make(desk: Any) -> None:
    desk.write(
        {
            "Makefile": (
                'release: ; eval "$$(cxlocal run start)" && $(MAKE) -s stages; cxlocal run finish\n'
                "stages: build unit\n"
                "build: ; cxlocal stage build -- $(MAKE) -s app.bin\n"
                "app.bin: ; echo $$CXLOCAL_VERSION > app.bin\n"
                "unit: ; cxlocal stage unit -- grep -q 2.7 app.bin\n"
                'broken: ; eval "$$(cxlocal run start)" && cxlocal stage unit -- false\n'
            )
        }
    )
    done = desk.shell("make -s release")
    assert done.code == 0, done.err
    assert desk.stages() == [("build", 1, "success", 0), ("unit", 1, "success", 0)]
    assert (desk.tree / "app.bin").read_text() == "2.7.0\n"
    done = desk.shell("make -s broken")
    assert done.code == 2  # make's own: a recipe failed
    open_run = desk.rows("SELECT version, outcome FROM run ORDER BY queued_at")[1]
    assert tuple(open_run.values()) == ("2.7.1", None)


@pytest.mark.parametrize("ci", [GITHUB, GITLAB, JENKINS])
def test_jobs_of_one_ci_run_find_each_other(desk: Any, ci: dict[str, str]) -> None:
    assert desk.shell("cxlocal run start", env=ci).code == 0
    # Another job: another checkout, so no .cx/run.
    (desk.tree / ".cx" / "run").unlink()
    assert desk.shell("cxlocal stage unit -- true", env=ci).code == 0
    (desk.tree / ".cx" / "run").unlink(missing_ok=True)
    joined = desk("run", "start", "--json", env=ci).json()
    assert joined["joined"] is True
    (desk.tree / ".cx" / "run").unlink()
    assert desk.shell("cxlocal run finish", env=ci).code == 0
    rows = desk.rows("SELECT id, outcome, place_kind FROM run")
    assert [tuple(row.values()) for row in rows] == [(joined["run"], "success", "ci")]
    assert desk.stages() == [("unit", 1, "success", 0)]
    if ci is GITHUB:
        again = desk("run", "start", "--json", env={**ci, "GITHUB_RUN_ATTEMPT": "2"}).json()
        assert (again["joined"], again["version"]) == (True, "2.7.0"), "under its own number"


def test_the_file_of_another_ci_run_is_not_believed(desk: Any) -> None:
    desk.shell("cxlocal run start", env=GITHUB)
    other = {**GITHUB, "GITHUB_RUN_ID": "9000000000"}
    assert desk("run", "start", "--json", env=other).json()["joined"] is False
    first, second = (row["id"] for row in desk.rows("SELECT id FROM run ORDER BY queued_at"))
    assert (desk.tree / ".cx" / "run").read_text().strip() == second
    desk.shell("cxlocal stage unit -- true", env=GITHUB)
    assert [row["run"] for row in desk.rows("SELECT run FROM stage_run")] == [first]


def test_only_pushed_and_committed_files_begin_a_run(desk: Any) -> None:
    (desk.tree / "deploy.sh").write_text("true\n")
    done = desk("run", "start")
    assert (done.code, done.out) == (3, "(exit 3)\n")
    # What the shell evaluates is a failure, so that nothing is built without a version.
    assert desk.shell('set -e; eval "$(cxlocal run start)"; touch went-on').code == 3
    assert desk.shell('eval "$(cxlocal run start)" && touch went-on').code == 3
    assert not (desk.tree / "went-on").exists()
    found = desk("run", "start", "--json", "--allow-uncommitted").json()
    assert found["uncommitted"] == ["deploy.sh"]
    assert desk.rows("SELECT kind FROM flag") == [{"kind": "uncommitted-changes"}]
    desk.git("commit", "-qam", "not pushed")
    assert desk("run", "start").code == 3


def test_the_number_can_come_later_and_is_the_same_again(desk: Any) -> None:
    desk.start("--no-number")
    assert desk.rows("SELECT version FROM run") == [{"version": None}]
    assert desk("version", "next", "--plain").out == "2.7.0\n"
    again = desk("version", "next", "--plain", "--offline")
    assert (again.out, again.err) == ("2.7.0\n", "")
    assert desk("version", "next", "--json").json()["number"] == 0
    assert desk("run", "finish").code == 0
    assert desk("version", "next").code == 3  # no run any more


def test_offline_the_number_comes_from_the_reserve(desk: Any) -> None:
    desk.release()
    found = desk("run", "start", "--offline", "--json").json()
    assert (found["how"], found["version"]) == ("reserve", "2.7.100")


@pytest.mark.parametrize(
    ("steps", "outcome"),
    [
        ("", "success"),
        ("cxlocal stage a -- true; cxlocal stage b -- true;", "success"),
        ("cxlocal stage a -- false || true; cxlocal stage a -- true;", "success"),
        ("cxlocal stage a -- false || true; cxlocal stage b -- true;", "failure"),
        ("cxlocal stage a -- no-such-program || true;", "error"),
        ("cxlocal stage a --began;", "error"),
        ("cxlocal stage a --ended cancel; cxlocal stage b -- false || true;", "cancel"),
    ],
)
def test_the_outcome_follows_from_the_last_attempts(desk: Any, steps: str, outcome: str) -> None:
    done = desk.shell(f'eval "$(cxlocal run start)"; {steps} cxlocal run finish --json')
    assert done.code == 0, done.err
    assert json.loads(done.out)["outcome"] == outcome
    assert desk.rows("SELECT outcome FROM run") == [{"outcome": outcome}]


def test_a_run_is_finished_once(desk: Any) -> None:
    run = desk.start()
    assert desk("run", "finish", "--outcome", "cancel", "-m", "changed our mind").code == 0
    row = desk.rows("SELECT outcome, outcome_reason FROM run")[0]
    assert tuple(row.values()) == ("cancel", "changed our mind")
    done = desk("run", "finish", env={"CXLOCAL_RUN": run})
    assert (done.code, "finished before" in done.err) == (2, True)
    late = desk("stage", "late", "--", "true", env={"CXLOCAL_RUN": run})
    assert (late.code, "was finished: a run that is over" in late.err) == (0, True)
    assert desk("stage", "late", "--strict", "--", "true", env={"CXLOCAL_RUN": run}).code == 3
    assert desk.stages() == []


def test_an_open_run_is_open_and_the_next_command_does_not_end_it(desk: Any) -> None:
    run = desk.start()
    assert desk("env", "reap").code == 0
    assert desk.rows("SELECT outcome FROM run") == [{"outcome": None}]
    done = desk("run", "start")
    assert "stays open" in done.err
    # The file in the project names the second run now: what is said of the first ends the first.
    finish = f"CXLOCAL_RUN={run} cxlocal run finish"
    for said in (done.err, desk("status").out, desk("run", "--resume", run).err):
        assert finish in said
    assert desk.shell(finish).code == 0
    assert [row["outcome"] for row in desk.rows("SELECT outcome FROM run ORDER BY queued_at")] == [
        "success", None,
    ]  # fmt: skip


@pytest.mark.parametrize("run", ["../../etc", "a b", "x" * 300, "$(id)"])
def test_nonsense_in_the_variable_is_refused(desk: Any, run: str) -> None:
    desk.start()
    done = desk("stage", "a", "--strict", "--", "true", env={"CXLOCAL_RUN": run})
    assert (done.code, "does not hold the id of a run" in done.err) == (2, True)


def test_nonsense_in_the_file_is_no_run(desk: Any) -> None:
    desk.start()
    (desk.tree / ".cx" / "run").write_bytes(b"\xff../../etc\n")
    assert desk("stage", "a", "--strict", "--", "true").code == 3


def test_a_run_of_another_machine_can_be_reported_to(desk: Any, tmp_path: Any) -> None:
    run = desk.start()
    other = {"CXLOCAL_HOME": str(tmp_path / "other"), "CXLOCAL_RUN": run}
    done = desk("stage", "elsewhere", "--", "true", env=other)
    assert (done.code, done.err) == (0, "")
    script = "SELECT run, stage, outcome FROM stage_run"
    found = desk("sql", script, "--json", env=other).json()
    assert found == [{"run": run, "stage": "elsewhere", "outcome": "success"}]
    assert desk("run", "finish", env=other).code == 2


def test_kill_9_of_a_stage_leaves_the_run_open_and_the_journal_whole(desk: Any) -> None:
    desk.start()
    script = "kill -9 $PPID; sleep 0.2"
    process = subprocess.run(
        [desk.cx.program, "stage", "work", "--", "sh", "-c", script],
        cwd=desk.tree, env={**os.environ, **desk.environ}, capture_output=True, check=False,
    )  # fmt: skip
    assert process.returncode == -9
    assert desk("verify").code == 0
    assert desk.stages() == [("work", 1, None, None)]
    assert desk("stage", "work", "--", "true").code == 0
    assert desk("run", "finish", "--json").json()["outcome"] == "success"


NEXT = {
    "the same stage": ("stage", "work", "--", "true"),
    "another stage": ("stage", "other", "--", "true"),
    "the end": ("run", "finish"),
    "a decision": ("promote", "APPROVED", "-m", "seen"),
    "a new run": ("run", "--to", "build"),
}


@pytest.mark.parametrize("following", NEXT)
def test_what_a_killed_stage_left_running_is_ended_by_the_next_command(
    desk: Any, following: str
) -> None:
    desk.start()
    script = (
        "echo $$ > own.xml; setsid sh -c 'echo $$ > away.xml; exec sleep 60' &"
        " until test -s away.xml; do sleep 0.01; done; kill -9 $PPID; sleep 60"
    )
    process = subprocess.run(
        [desk.cx.program, "stage", "work", "--", "sh", "-c", script], cwd=desk.tree,
        env={**os.environ, **desk.environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip
    assert process.returncode == -9
    pids = [int((desk.tree / name).read_text()) for name in ("own.xml", "away.xml")]
    assert None not in [identity(pid) for pid in pids]
    done = desk(*NEXT[following])
    assert [identity(pid) for pid in pids] == [None, None]
    assert "could not be ended" not in done.err
    assert not list((desk.home / "locks" / "stages").glob("*.processes"))


def test_what_a_stage_that_ended_left_running_stays(desk: Any) -> None:
    desk.start()
    script = "setsid sh -c 'echo $$ > away.xml; exec sleep 60' & until test -s away.xml; do :; done"
    assert desk("stage", "work", "--", "sh", "-c", f"exec >&- 2>&-; {script}").code == 0
    pid = int((desk.tree / "away.xml").read_text())
    assert desk("stage", "other", "--", "true").code == 0
    assert identity(pid) is not None
    os.kill(pid, signal.SIGKILL)


def test_a_run_in_which_nothing_was_done_says_so(desk: Any) -> None:
    desk.start()
    done = desk("run", "finish")
    assert "success (no stage was reported)" in done.err
    assert desk.rows("SELECT outcome_reason FROM run") == [
        {"outcome_reason": "no stage was reported"}
    ]
