"""Every event of success, failure, cancel and error runs is valid against the official schemas."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = str(Path(sys.executable).with_name("cxlocal"))
REPORT = "<testsuite><testcase name='good'/><testcase name='bad'>{}</testcase></testsuite>"
FAILED = "<failure message='no'/>"

CX_TOML = """
cx = 1
[deliverable]
name = "shop"
[version]
line = "1.0"
[stages]
build = {{ kind = "build", command = "echo $CXLOCAL_VERSION > app.txt", produces = {{ app = "app.txt" }} }}
unit = {{ kind = "test", needs = ["build"], command = "cp unit.xml junit.xml; {unit}", reports = {{ junit = "junit.xml" }} }}
live = {{ command = {live}, environment = "production", requires = ["PASSED"], kind = "deploy" }}
[promotions]
PASSED = {{ after = ["unit"] }}
[environments.production]
lifetime = "lasting"
"""


@pytest.fixture
def release(tmp_path: Path) -> Callable[..., int]:
    """Commits and pushes a pipeline and releases it into production; the exit code."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for command in (
        ["init", "-q", "--bare", str(tmp_path / "remote.git")],
        ["init", "-q", "."], ["remote", "add", "origin", str(tmp_path / "remote.git")],
    ):  # fmt: skip
        subprocess.run(["git", *command], cwd=folder, check=True)

    def call(*, unit: str, live: str, report: str, interrupt: bool = False) -> int:
        (folder / "cx.toml").write_text(CX_TOML.format(unit=unit, live=live))
        (folder / "unit.xml").write_text(report)
        for command in (
            ["add", "-A"],
            ["commit", "-q", "-m", unit],
            ["push", "-q", "origin", "HEAD"],
        ):
            subprocess.run(["git", *command], cwd=folder, check=True)
        process = subprocess.Popen([PROGRAM, "run", "--to", "production"], cwd=folder)
        if interrupt:
            deadline = time.monotonic() + 20
            while not list(Path(os.environ["HOME"]).rglob("live.log")):
                assert time.monotonic() < deadline, "the last stage never began"
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
        return process.wait(timeout=40)

    return call


def test_runs_of_every_outcome_export_valid_events(
    release: Callable[..., int],
    problems: Callable[[dict[str, Any]], list[str]],
    tmp_path: Path,
    cx: Any,
) -> None:
    good, bad = REPORT.format(""), REPORT.format(FAILED)
    cancelled = release(unit="true", live='"sleep 30"', report=good, interrupt=True)
    assert cancelled == 130
    assert release(unit="true", live='["true"]', report=good) == 0
    assert release(unit="exit 1", live='["true"]', report=bad) == 1
    assert release(unit="true", live='["no-such-program-here"]', report=good) in (2, 9)
    # A program that is missing is found out before anything runs; this one goes missing meanwhile.
    assert release(unit="true", live='"exec /no/such/program"', report=good) == 9

    shop = tmp_path / "shop"
    outcomes = {row["outcome"] for row in json.loads(cx.ok("log", "--json", cwd=shop).out)}
    assert outcomes == {"success", "failure", "cancel", "error"}
    lines = cx.ok("export", "--format", "cdevents", cwd=shop).out.splitlines()
    documents = [json.loads(line) for line in lines]
    assert len(documents) > 40
    for document in documents:
        assert problems(document) == [], document["context"]["type"]
    seen = {
        document["context"]["type"].rsplit(".", 3)[0].split(".", 2)[2] for document in documents
    }
    assert {
        "pipelinerun.queued", "pipelinerun.started", "pipelinerun.finished", "taskrun.started",
        "taskrun.finished", "build.started", "build.finished", "artifact.packaged",
        "testsuiterun.started", "testsuiterun.finished", "testoutput.published",
        "cxlocal-version.used", "cxlocal-promotion.granted",
    } <= seen  # fmt: skip
