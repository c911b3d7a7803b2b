"""``cxlocal stage``: the command's own exit code, whatever becomes of the record."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from hashlib import sha256
from typing import Any

import pytest

JUNIT = (
    '<testsuite name="unit" tests="2"><testcase classname="a" name="one"/>'
    '<testcase classname="a" name="two"><failure message="no"/></testcase></testsuite>'
)


@pytest.mark.parametrize(
    ("words", "code", "outcome"),
    [
        (["true"], 0, "success"),
        (["sh", "-c", "exit 3"], 3, "failure"),
        (["no-such-program-here"], 127, "error"),
        (["./cx.toml"], 126, "error"),
        (["sh", "-c", "kill -SEGV $$"], 139, "failure"),
        (["sh", "-c", "kill -KILL $$"], 137, "error"),
    ],
)
def test_the_exit_code_is_the_commands_own(
    desk: Any, words: list[str], code: int, outcome: str
) -> None:
    desk.start()
    assert desk("stage", "work", "--", *words).code == code
    assert desk.stages()[0][:3] == ("work", 1, outcome)


def test_without_a_run_the_command_runs_and_a_warning_says_so(desk: Any) -> None:
    done = desk("stage", "work", "--", "sh", "-c", "echo done; exit 4")
    assert (done.code, done.out) == (4, "done\n")
    assert "Warning: stage work is not recorded" in done.err
    strict = desk("stage", "work", "--strict", "--", "sh", "-c", "echo done")
    assert (strict.code, strict.out) == (3, "")
    assert "cxlocal run start" in done.err and "cxlocal run start" in strict.err
    desk.start()
    (desk.tree / ".cx" / "run").unlink()
    strict = desk("stage", "work", "--strict", "--", "echo", "done")
    assert (strict.code, strict.out) == (3, "")
    assert "cxlocal run start" in strict.err


def test_output_goes_through_and_into_the_log_byte_for_byte(desk: Any) -> None:
    run = desk.start()
    raw = b"caf\xe9 \x00\x1b[31m\n" * 20_000
    (desk.tree / "raw.bin").write_bytes(raw)
    done = subprocess.run(
        [desk.cx.program, "stage", "print", "--", "cat", "raw.bin"],
        cwd=desk.tree, env={**os.environ, **desk.environ}, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == raw
    assert (desk.home / "logs" / run / "print.log").read_bytes() == raw
    assert desk.rows("SELECT log_bytes FROM stage_run")[0]["log_bytes"] == len(raw)


def test_a_reader_that_goes_away_does_not_end_the_command(desk: Any) -> None:
    desk.start()
    script = "cxlocal stage long -- sh -c 'seq 1 100000; touch finished.bin' | head -1"
    assert desk.shell(script).out == "1\n"
    assert (desk.tree / "finished.bin").exists()
    assert desk.stages()[0][2] == "success"


def test_standard_input_is_handed_on(desk: Any) -> None:
    desk.start()
    assert desk("stage", "read", "--", "cat", input="a line").out == "a line"


def test_time_limits_end_the_command_and_everything_it_started(desk: Any) -> None:
    desk.start()
    done = desk("stage", "slow", "--timeout", "1s", "--", "sh", "-c", "sleep 30 & sleep 30")
    assert done.code == 124
    assert "slow: " in done.err and "time limit" in done.err
    row = desk.rows("SELECT outcome, reason FROM stage_run")[0]
    assert (row["outcome"], row["reason"]) == ("error", "time limit of 1.0 s reached")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_the_command_and_are_recorded(desk: Any, number: signal.Signals) -> None:
    desk.start()
    process = subprocess.Popen(
        [desk.cx.program, "stage", "slow", "--", "sh", "-c", "touch began.bin; exec sleep 30"],
        cwd=desk.tree, env={**os.environ, **desk.environ}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 20
    while not (desk.tree / "began.bin").exists() and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    row = desk.rows("SELECT outcome, reason FROM stage_run")[0]
    assert (row["outcome"], row["reason"]) == ("cancel", f"cancelled: {number.name}")


def test_a_busy_journal_costs_a_warning_not_the_command(desk: Any) -> None:
    desk.start()
    other = sqlite3.connect(desk.home / "journal.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        done = desk("stage", "work", "--", "sh", "-c", "echo done; exit 5")
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert (done.code, done.out) == (5, "done\n")
    assert "the journal is busy" in done.err
    assert desk.stages() == []
    assert desk("verify").code == 0


def test_a_journal_that_cannot_be_written_costs_a_warning(desk: Any) -> None:
    desk.start()
    # A folder in the place of SQLite's journal file: opening it for writing fails, for root too.
    (desk.home / "journal.db-journal").unlink(missing_ok=True)
    (desk.home / "journal.db-journal").mkdir()
    done = desk("stage", "work", "--", "sh", "-c", "echo done; exit 6")
    assert (done.code, done.out) == (6, "done\n")
    assert "Warning:" in done.err
    strict = desk("stage", "work", "--strict", "--", "sh", "-c", "echo done")
    assert (strict.code, strict.out) == (9, "")
    (desk.home / "journal.db-journal").rmdir()
    assert desk("stage", "work", "--", "true").code == 0


def test_a_log_that_cannot_be_written_costs_a_warning(desk: Any) -> None:
    desk.start()
    (desk.home / "logs").write_text("in the way")
    done = desk("stage", "work", "--", "echo", "done")
    assert (done.code, done.out) == (0, "done\n")
    assert "log" in done.err
    assert desk.stages() == [("work", 1, "success", 0)]


def test_stages_within_stages(desk: Any) -> None:
    done = desk.shell(
        'eval "$(cxlocal run start)"; cxlocal stage outer -- sh -c '
        "'cxlocal stage inner -- sh -c \"exit 2\" || cxlocal stage inner -- true'"
    )
    assert done.code == 0, done.err
    assert sorted(desk.stages()) == [
        ("inner", 1, "failure", 2), ("inner", 2, "success", 0), ("outer", 1, "success", 0)
    ]  # fmt: skip
    rows = desk.rows("SELECT details ->> '$.within' AS w FROM stage_run WHERE stage = 'inner'")
    assert [row["w"] for row in rows] == ["outer", "outer"]


def test_the_same_stage_at_once_gets_attempts_of_its_own(desk: Any) -> None:
    desk.start()
    done = desk.shell("for i in 1 2 3 4; do cxlocal stage same -- true & done; wait")
    assert done.code == 0
    assert sorted(desk.stages()) == [("same", n, "success", 0) for n in (1, 2, 3, 4)]


def test_the_plan_gives_kind_artifacts_and_environment(desk: Any) -> None:
    desk.start()
    assert desk("stage", "build", "--", "sh", "-c", "echo bytes > app.bin").code == 0
    assert desk("stage", "unit", "--", "sh", "-c", 'cat "$CXLOCAL_ARTIFACT_APP"').out == "bytes\n"
    assert desk("promote", "READY").code == 0
    done = desk("stage", "deploy", "--", "sh", "-c", "echo $CXLOCAL_ENVIRONMENT")
    assert done.out == "production\n"
    rows = desk.rows("SELECT stage, kind, environment FROM stage_run ORDER BY rowid")
    assert [tuple(row.values()) for row in rows] == [
        ("build", "build", ""), ("unit", "test", ""), ("deploy", "deploy", "production"),
    ]  # fmt: skip
    assert desk.rows("SELECT name, file_name FROM artifact") == [
        {"name": "app", "file_name": "app.bin"}
    ]


def test_an_output_that_is_missing_is_an_error_unless_the_command_failed(desk: Any) -> None:
    desk.start()
    done = desk("stage", "build", "--", "true")
    assert (done.code, "artifact app: app.bin names no file" in done.err) == (9, True)
    done = desk("stage", "build", "--strict", "--", "sh", "-c", "exit 7")
    assert (done.code, done.err) == (7, "")
    assert [one[2:] for one in desk.stages()] == [("error", 0), ("failure", 7)]


def test_artifacts_are_built_once_what_nothing_used_may_be_built_again(desk: Any) -> None:
    desk.start()

    def build(text: str, *words: str) -> Any:
        command = ["--", "sh", "-c", f"echo {text} > app.bin"]
        return desk("stage", "build", *words, *command)

    digest = {text: sha256(f"{text}\n".encode()).hexdigest()[:12] for text in ("one", "two")}
    for text in ("one", "two", "one"):
        assert build(text).code == 0
        (row,) = desk.rows("SELECT sha256 FROM artifact WHERE replaced_at IS NULL")
        assert row["sha256"].startswith(digest[text])
    done = build("two", "--part", "arm")
    assert (done.code, "is no earlier try of this" in done.err) == (9, True), done.err
    assert desk("stage", "unit", "--", "true").code == 0
    done = build("two")
    assert (done.code, "stage unit has used the former" in done.err) == (9, True), done.err
    assert all(f"sha256:{one}" in done.err for one in digest.values())
    assert "cxlocal run start --new" in done.err
    assert build("one").code == 0, "the same bytes are the same artifact"
    assert desk("verify").code == 0


def test_what_the_disk_does_not_take_is_trouble_and_no_outcome(desk: Any) -> None:
    desk.start()
    (desk.tree / "app.zip").write_text("bytes")
    (desk.home / "blobs").write_text("in the way")
    words = ["--artifact", "app=app.zip", "--", "true"]
    done = desk("stage", "free", *words)
    assert done.code == 0 and "Warning: artifact app: " in done.err, "the command did its work"
    (row,) = desk.rows("SELECT outcome, reason FROM stage_run")
    assert row["outcome"] == "success"
    assert row["reason"].startswith("not all of it could be recorded: artifact app: ")
    assert row["reason"] in desk("show").out
    assert desk("stage", "free", "--strict", *words).code == 9
    assert [one[2] for one in desk.stages()] == ["success", "error"]


@pytest.mark.parametrize(
    "named",
    ["--artifact=app=link", "--artifact=app=folder/secret", "--artifact=app=LINK",
     "--artifact=app=chain", "--report=junit=link"],
)  # fmt: skip
def test_what_leads_out_of_the_checkout_is_no_output(desk: Any, named: str) -> None:
    """As for ``produces``: neither by a link, nor by a folder that is one."""
    desk.start()
    away = desk.root / "away"
    away.mkdir()
    (away / "secret").write_text("of this machine")
    (desk.root / "secret").write_text("of this machine")
    (desk.tree / "link").symlink_to(away / "secret")
    (desk.tree / "chain").symlink_to("link")
    (desk.tree / "folder").symlink_to(away)
    named = named.replace("LINK", str(desk.tree / "link"))
    done = desk("stage", "free", named, "--", "true")
    assert done.code == 9 and "leads out of the checkout" in done.err
    assert desk.stages()[-1][2] == "error"
    assert not desk.rows("SELECT 1 FROM artifact")
    kept = [one.read_bytes() for one in (desk.home / "blobs").rglob("*") if one.is_file()]
    assert b"of this machine" not in kept


@pytest.mark.parametrize("path", ["../away/app.zip", "ABSOLUTE", "app/../../away/app.zip"])
def test_whoever_types_the_path_of_another_folder_means_it(desk: Any, path: str) -> None:
    desk.start()
    (desk.root / "away").mkdir()
    (desk.root / "away" / "app.zip").write_text("built beside the tree")
    named = path.replace("ABSOLUTE", str(desk.root / "away" / "app.zip"))
    (desk.tree / "app").mkdir()
    assert desk("stage", "free", f"--artifact=app={named}", "--", "true").code == 0
    assert desk.rows("SELECT file_name FROM artifact") == [{"file_name": "app.zip"}]


def test_a_link_within_the_checkout_is_the_file_it_leads_to(desk: Any) -> None:
    desk.start()
    (desk.tree / "app-1.zip").write_text("bytes")
    (desk.tree / "app.zip").symlink_to("app-1.zip")
    assert desk("stage", "free", "--artifact", "app=app.zip", "--", "true").code == 0
    assert desk.rows("SELECT file_name FROM artifact") == [{"file_name": "app-1.zip"}]


@pytest.mark.parametrize("kept", ["run", ""])
def test_a_folder_of_ours_that_is_a_link_is_not_followed(desk: Any, kept: str) -> None:
    away = desk.root / "away"
    away.mkdir()
    if kept:
        (away / kept).write_text("important")
    (desk.tree / ".cx").symlink_to("../away")
    desk.git("add", ".cx")
    desk.git("commit", "-qm", "a link")
    desk.git("push", "-q", "origin", "HEAD")
    done = desk("run", "start")
    assert done.code == 0 and "is a link and is not followed" in done.err
    assert [one.read_text() for one in away.iterdir()] == ["important"] * bool(kept)
    assert desk("stage", "free", "--", "true").code == 0
    assert [one.name for one in away.iterdir()] == ["run"] * bool(kept)


def test_reports_are_read_also_of_commands_that_failed(desk: Any) -> None:
    desk.start()
    (desk.root / "unit.xml").write_text(JUNIT)
    words = ["sh", "-c", "cp ../unit.xml .; exit 1"]
    done = desk("stage", "unit", "--report", "junit=unit.xml", "--", *words)
    assert done.code == 1, done.err
    row = desk.rows("SELECT total, passed, failed, outcome FROM report")[0]
    assert tuple(row.values()) == (2, 1, 1, "failure")


def test_secrets_reach_the_command_and_nothing_else(desk: Any) -> None:
    config = (
        (desk.tree / "cx.toml")
        .read_text()
        .replace('command = "make test"', 'command = "x", secrets = ["TOKEN"]')
    )
    desk.write({"cx.toml": config + '[secrets]\nTOKEN = { env = "THE_TOKEN" }\n'})
    run = desk.start()
    value = "s3cret-value-of-this-test"
    words = ["sh", "-c", 'test "$TOKEN" = "$THE_TOKEN"; echo "<$TOKEN>"; touch "$NAMED"']
    named = str(desk.tree / f"of-{value}.zip")
    env = {"THE_TOKEN": value, "NAMED": named}
    done = desk("stage", "unit", "--artifact", f"kept={named}", "--", *words, env=env)
    assert done.code == 0, done.err
    assert value not in done.out
    assert value.encode() not in (desk.home / "logs" / run / "unit.log").read_bytes()
    assert value.encode() not in (desk.home / "journal.db").read_bytes()
    assert desk.rows("SELECT file_name FROM artifact") == [{"file_name": "of-***.zip"}]
    assert not list(desk.home.rglob(f"*{value}*")), "nor as the name of what is kept"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8"])
def test_no_kept_report_holds_a_secret_in_another_encoding(desk: Any, encoding: str) -> None:
    config = (desk.tree / "cx.toml").read_text()
    config = config.replace('command = "make test"', 'command = "x", secrets = ["TOKEN"]')
    desk.write({"cx.toml": config + '[secrets]\nTOKEN = { env = "THE_TOKEN" }\n'})
    desk.start()
    value = "s3cret-value-of-this-test"
    text = f'<testsuite name="s"><testcase name="a"/><!-- {value} --></testsuite>'
    (desk.root / "unit.xml").write_bytes(text.encode(encoding))
    done = desk("stage", "unit", "--report", "junit=unit.xml", "--", "cp", "../unit.xml", ".",
                env={"THE_TOKEN": value})  # fmt: skip
    assert done.code == 0, done.err
    row = desk.rows("SELECT * FROM report")[0]
    assert (row["passed"], bool(row.get("sha256"))) == (1, encoding == "utf-8")
    for file in desk.home.rglob("*"):
        if file.is_file():
            assert not any(value.encode(each) in file.read_bytes() for each in (encoding, "utf-8"))


def test_no_word_of_a_stage_that_lists_a_secret_holds_it(desk: Any) -> None:
    config = (desk.tree / "cx.toml").read_text()
    config = config.replace('command = "make test"', 'command = "x", secrets = ["TOKEN"]')
    desk.write({"cx.toml": config + '[secrets]\nTOKEN = { env = "THE_TOKEN" }\n'})
    desk.start()
    value = "s3cret-value-of-this-test"
    env = {"THE_TOKEN": value}
    (desk.root / "app.zip").write_text("app")
    done = desk("stage", "unit", "--ended", "failure", "-m", f"curl: {value} refused", env=env)
    assert done.code == 0 and value not in done.err
    done = desk("stage", "unit", "--", f"/nope/{value}", env=env)
    assert done.code == 127 and value not in done.out + done.err and "/nope/***" in done.err
    for words in (
        ["--part", value, "--", "touch", "ran"],
        ["--part", value, "--began"],
        ["--part", value, "--ended", "success"],
        ["--artifact", f"{value}={desk.root / 'app.zip'}", "--", "touch", "ran"],
        ["--artifact", f"{value}={desk.root / 'app.zip'}", "--ended", "success"],
    ):
        done = desk("stage", "unit", *words, env=env)
        assert (done.code, value in done.out + done.err) == (2, False), (words, done.err)
        assert "a name holds a secret" in done.err
    assert not (desk.tree / "ran").exists()
    assert value.encode() not in (desk.home / "journal.db").read_bytes()
    reasons = [row["reason"] for row in desk.rows("SELECT reason FROM stage_run ORDER BY attempt")]
    assert reasons[0] == "curl: *** refused" and "/nope/***" in reasons[1], reasons


def test_what_cannot_be_wrapped_is_only_told(desk: Any) -> None:
    desk.start()
    assert desk("stage", "approve", "--began").code == 0
    assert desk.stages() == [("approve", 1, None, None)]
    assert desk("stage", "approve", "--ended", "failure", "-m", "not today").code == 0
    assert desk.stages() == [("approve", 1, "failure", None)]
    assert desk("stage", "other", "--ended", "success").code == 0
    assert desk.stages()[1] == ("other", 1, "success", None)


@pytest.mark.parametrize(
    "words",
    [
        ["stage", "a"],
        ["stage", "a", "--began", "--", "true"],
        ["stage", "a", "--artifact", "app", "--", "true"],
        ["stage", "a", "--kind", "bake", "--", "true"],
        ["stage", "a", "--timeout", "soon", "--", "true"],
    ],
)
def test_wrong_words_run_nothing(desk: Any, words: list[str]) -> None:
    desk.start()
    assert desk(*words).code == 2
    assert desk.stages() == []
