"""Stages that tools carry out: environments, handles, debts, reports, gates."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

KIT = """
import json, os, time
from pathlib import Path
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Applied, Done, Observed, Tool
from cxlocal.hooks.report import Case, Report
from cxlocal.hooks.stage_view import GateAnswer
import msgspec

DESK = Path("@DESK@")

class Kit(Tool):
    name = "kit"
    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
        fail: str = ""
        hang: bool = False
        note: str = ""

    def apply(self, ctx):
        name = f"{ctx.environment.instance}.json"
        ctx.intend({"file": name})
        (DESK / name).write_text(json.dumps({"version": ctx.version}))
        ctx.progress(f"note={ctx.options.note}")
        if ctx.options.hang:
            time.sleep(60)
        if ctx.options.fail:
            raise RuntimeError(ctx.options.fail)
        return Applied(outputs={"url": f"http://{name}"}, tool_version="7")

    def observe(self, ctx):
        path = DESK / f"{ctx.environment.instance}.json"
        if not path.exists():
            return Observed()
        return Observed(version=json.loads(path.read_text())["version"], healthy=True)

    def destroy(self, ctx):
        (DESK / "destroyed").open("a").write(ctx.handle["file"] + "\\n")
        if (DESK / "stuck").exists():
            raise RuntimeError("it is stuck")
        (DESK / ctx.handle["file"]).unlink(missing_ok=True)
        return Done()

class Place(Tool):
    name = "place"
    def provision(self, ctx):
        ctx.intend({"file": "place-" + ctx.environment.instance})
        (DESK / ("place-" + ctx.environment.instance)).touch()
        return Done()
    destroy = Kit.destroy

class Lines:
    format = "lines"
    def read(self, path, *, suite):
        text = path.read_text()
        if "raise" in text:
            raise ValueError("bad report")
        cases = [line.split() for line in text.splitlines() if line.strip()]
        return Report("lines", suite, tuple(Case(suite, n, o, 0.5, "") for n, o in cases))

@hookimpl
def cxlocal_register_tools():
    return [Kit, Place]

@hookimpl
def cxlocal_register_report_readers():
    return [Lines()]

@hookimpl
def cxlocal_gate(question):
    path = DESK / "gate"
    if not path.exists() or question.kind != "deploy":
        return None
    verdict = path.read_text().strip()
    if verdict == "raise":
        raise RuntimeError("no idea")
    return GateAnswer("freeze", verdict, "because")
"""

PIPE = """
[stages]
up = { kind = "deploy", tool = "kit", environment = "test", with = { note = "{version}"@MORE@ } }
look = { command = "echo at $CXLOCAL_ENVIRONMENT_URI", needs = ["up"], environment = "test" }
live = { kind = "deploy", tool = "kit", needs = ["look"], environment = "production" }
[environments.test]
lifetime = "per-run"
@TOOL@
[environments.production]
title = "Live"
"""


def desk(shop: Any, tools: Any) -> Path:
    folder: Path = shop.root / "desk"
    folder.mkdir()
    tools(KIT.replace("@DESK@", str(folder)))
    return folder


def pipe(more: str = "", tool: str = "") -> str:
    return PIPE.replace("@MORE@", more).replace("@TOOL@", tool)


def test_what_a_tool_created_is_destroyed_with_its_environment(shop: Any, tools: Any) -> None:
    table = desk(shop, tools)
    shop.write(pipe(tool='tool = "place"'))
    done = shop.run("--to", "production", "-m", "it is due")
    assert done.code == 0, done.err
    run = shop.last()
    assert (table / "destroyed").read_text().splitlines() == [
        f"test-{run[:8]}.json",
        f"place-test-{run[:8]}",
    ]
    assert sorted(path.name for path in table.glob("*.json")) == ["production.json"]
    assert f"at http://test-{run[:8]}.json" in shop.log("look")
    assert f"note={shop.query('SELECT version FROM run')[0]}" in shop.log("up")
    assert shop.query("SELECT count(*) FROM resources_now WHERE lifetime='per-run'") == [0]
    assert shop.query("SELECT environment, service, uri, reason FROM deployments_now") == [
        ("production", "shop", "http://production.json", "it is due")
    ]
    assert shop.query("SELECT DISTINCT tool_version FROM stage_run WHERE kind = 'deploy'") == ["7"]
    deleted = shop.query("SELECT count(*) FROM environment WHERE deleted_at IS NOT NULL")
    assert deleted == [1]


def test_a_failed_deploy_is_destroyed_too(shop: Any, tools: Any) -> None:
    table = desk(shop, tools)
    shop.write(pipe(more=', fail = "boom"'))
    done = shop.run()
    assert done.code == 9, done.err
    assert "boom" in shop.query("SELECT reason FROM stage_run WHERE stage = 'up'")[0]
    assert list(table.glob("*.json")) == []
    assert shop.outcomes() == {"up": "error"}


def test_what_cannot_be_destroyed_stays_owed_and_is_paid_by_the_next_run(
    shop: Any, tools: Any
) -> None:
    table = desk(shop, tools)
    (table / "stuck").touch()
    shop.write(pipe())
    done = shop.run()
    assert "stays owed" in done.err and "it is stuck" in done.err
    assert shop.query("SELECT kind FROM flag") == ["not-destroyed"]
    (table / "stuck").unlink()
    again = shop.run()
    assert again.code == 0, again.err
    assert "destroyed what was left" in again.err
    assert list(table.glob("test-*.json")) == []
    assert shop.query("SELECT count(*) FROM resources_now WHERE lifetime='per-run'") == [0]
    assert shop.query(
        "SELECT count(*) FROM environment WHERE lifetime = 'per-run' AND deleted_at IS NULL"
    ) == [0]


def test_what_was_changed_outside_is_said(shop: Any, tools: Any) -> None:
    table = desk(shop, tools)
    shop.write(pipe())
    assert shop.run("--to", "production").code == 0
    (table / "production.json").write_text(json.dumps({"version": "9.9.9"}))
    done = shop.run("--to", "production")
    assert done.code == 0, done.err
    assert "changed outside: it runs 9.9.9, the journal says 0.1.0" in done.err


def test_a_gate_is_asked_and_recorded(shop: Any, tools: Any) -> None:
    table = desk(shop, tools)
    shop.write(pipe())
    for verdict, code in (("deny", 3), ("undecided", 8), ("raise", 8), ("allow", 0)):
        (table / "gate").write_text(verdict)
        done = shop.run("--to", "up")
        assert done.code == code, done.err
    found = shop.query("SELECT verdict FROM verdict ORDER BY judged_at")
    assert found == ["deny", "undecided", "undecided", "allow"]


REPORTS = """
[stages]
unit = {{ kind = "test", command = "{command}", reports = {{ lines = "report*.txt" }} }}
"""


def test_reports_are_read_and_kept(shop: Any, tools: Any) -> None:
    desk(shop, tools)
    shop.write(
        REPORTS.format(command="echo one passed > report1.txt; echo two passed > report2.txt")
    )
    done = shop.run()
    assert done.code == 0, done.err
    rows = shop.query("SELECT total, passed FROM report WHERE format = 'lines'")
    assert rows == [(1, 1), (1, 1)]
    digest = shop.query("SELECT sha256 FROM report WHERE format = 'lines'")[0]
    assert any(digest in str(path) for path in shop.home.rglob("*"))


def test_a_success_without_its_report_is_an_error(shop: Any, tools: Any) -> None:
    desk(shop, tools)
    shop.write(REPORTS.format(command="true"))
    assert shop.run().code == 9
    assert "report missing" in shop.query("SELECT reason FROM stage_run")[0]


def test_a_report_from_before_does_not_speak_for_this_attempt(shop: Any, tools: Any) -> None:
    desk(shop, tools)
    shop.write(REPORTS.format(command="true"), {"report.txt": "old passed"})
    assert shop.run().code == 9


def test_a_report_counts_whatever_the_kind_of_its_stage(shop: Any, tools: Any) -> None:
    """Each stage succeeds by its exit code; its report says what became of it."""
    desk(shop, tools)
    one = '{{ {1} command = "printf \'{2}\' > {0}.txt", reports = {{ lines = "{0}.txt" }} }}'
    stages = [
        ("plain", "", "one failed", "failure"),
        ("build", 'kind = "build",', "one error", "failure"),
        ("good", 'kind = "publish",', "one passed", "success"),
        ("word", "", "one fail", "error"),
        ("empty", 'kind = "test",', "", "failure"),
        ("allowed", "allow_empty = true,", "", "success"),
    ]
    shop.write("[stages]\n" + "".join(f"{row[0]} = {one.format(*row)}\n" for row in stages))
    done = shop.run("-j", "2")
    assert done.code == 1, done.err
    rows = dict(shop.query("SELECT stage, outcome FROM stage_run"))
    assert rows == {name: outcome for name, _, _, outcome in stages}
    reasons = dict(shop.query("SELECT stage, reason FROM stage_run"))
    assert "the outcome of 'one' is 'fail'" in reasons["word"]
    assert "holds no test (allow_empty = true" in reasons["empty"]
    suites = dict(shop.query("SELECT stage, outcome FROM report WHERE format = 'lines'"))
    assert suites == {**rows, "build": "error"}, "its test had an error, and did not fail"


def test_an_unreadable_report_is_recorded_and_flagged(shop: Any, tools: Any) -> None:
    desk(shop, tools)
    shop.write(REPORTS.format(command="echo raise > report.txt"))
    done = shop.run()
    assert done.code == 9, done.err
    assert shop.query("SELECT kind FROM flag") == ["unreadable-report"]
    assert "bad report" in shop.query("SELECT problem FROM report WHERE problem <> ''")[0]


def test_untrusted_plugins_stop_the_run(shop: Any, tools: Any) -> None:
    desk(shop, tools)
    shop.write(pipe())
    done = shop.run(env={"CXLOCAL_TRUST": None})
    assert done.code == 3 and "cxlocal trust" in done.err
    assert list((shop.home / "checkouts").iterdir()) == []


def wait_for(path: Path, seconds: float = 15.0) -> None:
    """Wait until a file exists."""
    until = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert path.exists(), f"{path} did not appear"


def test_a_cancelled_deploy_is_destroyed(shop: Any, tools: Any) -> None:
    table = desk(shop, tools)
    shop.write(pipe(more=", hang = true"))
    process = shop.start("run")
    try:
        until = time.monotonic() + 15
        while not list(table.glob("test-*.json")) and time.monotonic() < until:
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 128 + 15, err.decode()
    assert time.monotonic() - began < 10
    assert list(table.glob("test-*.json")) == []
    assert shop.outcomes() == {"up": "cancel"}
    assert shop.query("SELECT outcome FROM run") == ["cancel"]


def test_kill_9_then_the_next_run_pays(shop: Any, tools: Any) -> None:
    table = desk(shop, tools)
    shop.write(pipe(more=", hang = true"))
    process = shop.start("run")
    until = time.monotonic() + 15
    while not list(table.glob("test-*.json")) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    cut = shop.last()
    shop.write(pipe())
    done = shop.run()
    assert done.code == 0, done.err
    assert "had been cut off" in done.err
    assert shop.query("SELECT outcome FROM run WHERE id = ?", cut) == ["error"]
    assert shop.query("SELECT outcome FROM stage_run WHERE run = ?", cut) == ["error"]
    assert list(table.glob("test-*.json")) == []
    assert shop.query("SELECT count(*) FROM process") == [0]
    assert shop.query(
        "SELECT count(*) FROM environment WHERE lifetime = 'per-run' AND deleted_at IS NULL"
    ) == [0]


def test_secrets_are_masked_in_kept_reports(shop: Any, tools: Any) -> None:
    desk(shop, tools)
    shop.write("""
[stages]
unit = { kind = "test", command = "echo $TOKEN passed > report.txt", reports = { lines = "report.txt" }, secrets = ["TOKEN"] }
[secrets]
TOKEN = { env = "MY_TOKEN" }
""")
    done = shop.run(env={"MY_TOKEN": "hunter2-secret-value"})
    assert done.code == 0, done.err
    kept = b"".join(path.read_bytes() for path in shop.home.rglob("*") if path.is_file())
    assert b"hunter2-secret-value" not in kept
    assert b"*** passed" in kept


def test_a_store_that_hangs_is_waited_for_three_seconds_in_all(shop: Any, tools: Any) -> None:
    """P17: a store that never answers costs a run at most 3 s."""
    desk(shop, tools)
    shop.write('[version]\nreserve = 3\n[stages]\na = { command = "true" }\n')
    assert shop.run().code == 0
    import sqlite3

    with sqlite3.connect(shop.home / "store.db", isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        done = shop.run()
        took = time.monotonic() - began
        holder.execute("ROLLBACK")
    assert done.code == 0, done.err
    assert "number from the reserve" in done.err
    assert took < 3 + 2, took
