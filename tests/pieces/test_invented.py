"""CI servers that nobody has built, against what docs/pieces.md says: parts are not attempts of each
other, one CI run is one run with one number, and nothing is promoted on what failed or is missing.

Every job has a home and a clone of its own, as on machines that are made for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

GITHUB = {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "900", "GITHUB_JOB": "unit",
          "GITHUB_RUN_ATTEMPT": "1", "GITHUB_SERVER_URL": "https://github.com",
          "GITHUB_REPOSITORY": "acme/shop"}  # fmt: skip
BUILDKITE = {"CI": "true", "BUILDKITE": "true", "BUILDKITE_BUILD_ID": "b-1", "BUILDKITE_LABEL": "unit",
             "BUILDKITE_RETRY_COUNT": "0"}  # fmt: skip
OWN = {"CI": "true", "CXLOCAL_CI_NAME": "loom", "CXLOCAL_CI_RUN_ID": "77"}


def leg(
    server: Any, name: str, command: str, environ: Mapping[str, str], *more: str
) -> tuple[Any, Any]:
    """A job of a matrix, from its beginning to its end."""
    job = server.job(name, environ)
    assert job("run", "start").code == 0
    return job, job("stage", "unit", *more, "--", "sh", "-c", command)


def promoted(server: Any, name: str, environ: Mapping[str, str]) -> tuple[int, str]:
    done = server.job(name, environ)("promote", "READY")
    return done.code, done.err


def test_a_loom_weaves_its_threads_again_and_again(server: Any) -> None:
    """Named attempts of the run; threads that cannot be told apart."""
    first = {**OWN, "CXLOCAL_CI_ATTEMPT": "monday", "CXLOCAL_CI_JOB": "thread"}
    for count, command in enumerate(("true", "false", "false")):
        _, done = leg(server, f"one{count}", command, {**first, "CXLOCAL_CI_JOB_ATTEMPT": "1"})
        assert done.code == (command == "false")
    assert promoted(server, "p1", first)[0] == 3
    end = server.job("e1", first)
    assert end("run", "finish", "--json").json()["outcome"] == "failure"
    again = {**first, "CXLOCAL_CI_ATTEMPT": "tuesday", "CXLOCAL_CI_JOB_ATTEMPT": "2"}
    leg(server, "two1", "true", again)
    code, words = promoted(server, "p2", again)
    assert (code, "unit (" in words) == (3, True), "two failed, and one was tried again"
    leg(server, "two2", "true", again)
    assert promoted(server, "p3", again)[0] == 0
    assert server.job("e2", again)("run", "finish").code == 0
    assert server.runs() == [("2.7.0", "success")]


def test_shards_are_counted_by_the_server(server: Any) -> None:
    shards = [
        {**BUILDKITE, "BUILDKITE_PARALLEL_JOB": str(count), "BUILDKITE_PARALLEL_JOB_COUNT": "3",
         "BUILDKITE_JOB_ID": f"j{count}"} for count in range(3)
    ]  # fmt: skip
    gate = {**BUILDKITE, "BUILDKITE_LABEL": "gate", "BUILDKITE_JOB_ID": "g"}
    leg(server, "a", "true", shards[0])
    leg(server, "b", "false", shards[1])
    code, words = promoted(server, "g1", gate)
    assert (code, "2 of 3 parts" in words) == (3, True), words
    leg(server, "c", "true", shards[2])
    code, words = promoted(server, "g2", gate)
    assert (code, "unit (1: failure)" in words) == (3, True), words
    leg(server, "b2", "true", {**shards[1], "BUILDKITE_RETRY_COUNT": "1", "BUILDKITE_JOB_ID": "x"})
    assert promoted(server, "g3", gate)[0] == 0
    assert server.runs() == [("2.7.0", None)]


def test_a_machine_that_dies_in_the_middle_is_missed(server: Any) -> None:
    leg(server, "a", "true", GITHUB)
    lost = server.job("b", GITHUB)
    assert lost("stage", "unit", "--began").code == 0
    code, words = promoted(server, "g", GITHUB)
    assert (code, "has not ended" in words) == (3, True), words
    # The server tries that job again on another machine.
    leg(server, "b2", "true", {**GITHUB, "GITHUB_RUN_ATTEMPT": "2"})
    code, words = promoted(server, "g2", {**GITHUB, "GITHUB_RUN_ATTEMPT": "2"})
    assert code == 0, words


@pytest.mark.parametrize(
    ("bytes_then", "code", "outcome"), [("one", 0, "success"), ("two", 9, "error")]
)
def test_everything_run_again_keeps_number_and_bytes(
    server: Any, bytes_then: str, code: int, outcome: str
) -> None:
    def build(name: str, environ: Mapping[str, str], bytes: str) -> Any:
        job = server.job(name, environ)
        job.start()
        return job("stage", "build", "--", "sh", "-c", f"echo {bytes} > app.bin")

    assert build("b1", GITHUB, "one").code == 0
    leg(server, "u1", "false", GITHUB)
    assert server.job("e1", GITHUB)("run", "finish").code == 0
    again = {**GITHUB, "GITHUB_RUN_ATTEMPT": "2"}
    built = build("b2", again, bytes_then)
    assert (built.code, "--new" in built.err) == (code, code == 9), built.err
    leg(server, "u2", "true", again)
    assert server.job("e2", again)("run", "finish").code == 0
    assert server.runs() == [("2.7.0", outcome)]


def test_two_jobs_of_one_name_and_one_of_two_products(server: Any) -> None:
    leg(server, "a", "true", GITHUB)
    leg(server, "b", "false", GITHUB)
    assert promoted(server, "g", GITHUB)[0] == 3
    config = server.desk.tree / "cx.toml"
    server.desk.write({
        "parts/cx.toml": config.read_text().replace('"shop"', '"parts"'),
    })  # fmt: skip
    parts = server.job("d", GITHUB)
    parts.tree /= "parts"
    assert parts.start("--new")["version"] == "2.7.0", "its own line"
    assert len(server.runs()) == 2


def test_without_ids_a_run_is_handed_on_by_name(server: Any) -> None:
    nameless = {"CI": "true", "BUILDER_OUTPUT": "/builder/outputs"}
    first = server.job("a", nameless)
    run = first.start()["run"]
    apart = server.job("b", nameless)
    done = apart("stage", "unit", "--strict", "--", "false")
    assert (done.code, "no run has been started" in done.err) == (3, True)
    told = server.job("c", {**nameless, "CXLOCAL_RUN": run})
    assert told("stage", "unit", "--", "false").code == 1
    assert first("promote", "READY").code == 3
    # Another commit does not belong to it, whatever the variable says.
    server.desk.write({"more": "of it"})
    late = server.job("d", {**nameless, "CXLOCAL_RUN": run})
    done = late("stage", "unit", "--strict", "--", "true")
    assert (done.code, "is checked out here" in done.err) == (3, True), done.err


def test_a_decision_in_a_run_that_is_tried_again(server: Any) -> None:
    leg(server, "a", "true", GITHUB)
    assert server.job("e", GITHUB)("run", "finish").code == 0
    again = {**GITHUB, "GITHUB_RUN_ATTEMPT": "2"}
    assert promoted(server, "g", again)[0] == 0
    guarded = server.job("h", again)("stage", "deploy", "--", "touch", "went")
    assert guarded.code == 0, guarded.err
    assert server.job("e2", again)("run", "finish").code == 0
    assert server.runs() == [("2.7.0", "success")]
