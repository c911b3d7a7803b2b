"""One release after the other: what ``cxlocal run`` does and records."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sqlite3
import time
from typing import Any

CHAIN = """
[stages]
build = { kind = "build", command = "echo v$CXLOCAL_VERSION > out.txt", produces = { out = "out.txt" } }
unit = { kind = "test", command = ["grep", "v", "out.txt"], needs = ["build"] }
up = { kind = "deploy", command = "cat $CXLOCAL_ARTIFACT_OUT", needs = ["build"], environment = "test" }
smoke = { command = "test $CXLOCAL_ENVIRONMENT = test", needs = ["up"], environment = "test" }
live = { kind = "deploy", command = "cat $CXLOCAL_ARTIFACT_OUT", requires = "PASSED", environment = "production" }
[promotions]
PASSED = { after = ["unit", "smoke"] }
[environments.test]
lifetime = "per-run"
[environments.production]
title = "Live"
"""


def test_a_release_stops_before_production_and_goes_on(shop: Any) -> None:
    shop.write(CHAIN)
    first = shop.run("--json")
    assert first.code == 0, first.err
    said = first.json()
    assert (said["version"], said["how"], said["outcome"]) == ("0.1.0", "online", "success")
    assert said["stopped_before"] == "production"
    assert said["next"] == f"cxlocal run --resume {said['run']} --to production"
    assert said["promotions"] == {"PASSED": "granted"}
    assert said["pending"] == 0
    assert shop.query("SELECT count(*) FROM deployments_now WHERE environment = 'test'") == [0]
    second = shop.command(*said["next"].split()[1:], "--json")
    assert second.code == 0, second.err
    assert second.json()["run"] == said["run"] and second.json()["version"] == "0.1.0"
    assert second.json()["stages"] == {"live": "success"}
    live = shop.query("SELECT environment, version, version_run FROM deployments_now")
    assert live == [("production", "0.1.0", said["run"])]
    assert shop.query("SELECT count(*) FROM run") == [1]
    assert shop.command("verify").code == 0


def test_to_production_goes_all_the_way_and_numbers_follow(shop: Any) -> None:
    shop.write(CHAIN)
    versions = []
    for _ in range(2):
        done = shop.run("--to", "production", "--json")
        assert done.code == 0, done.err
        versions.append(done.json()["version"])
        shop.push("another")
    assert versions == ["0.1.0", "0.1.1"]
    assert shop.query("SELECT kind FROM deployment WHERE environment = 'production'") == [
        "deployed",
        "upgraded",
    ]
    changes = shop.query("SELECT changes_total, changes_since FROM run ORDER BY queued_at")
    assert changes[1] == (1, "0.1.0")


def test_only_what_the_remote_holds_is_released(shop: Any) -> None:
    shop.write(CHAIN)
    (shop.tree / "more.txt").write_text("new")
    done = shop.run()
    assert done.code == 0, done.err
    assert "left out  more.txt, not committed" in done.err
    import subprocess

    subprocess.run(["git", "add", "-A"], cwd=shop.tree, check=True)
    subprocess.run(["git", "commit", "-qm", "local"], cwd=shop.tree, check=True)
    refused = shop.run()
    assert refused.code == 3
    assert "git push" in refused.err
    assert shop.query("SELECT count(*) FROM run") == [1]


def test_a_failure_stops_what_depends_on_it_and_nothing_else(shop: Any) -> None:
    shop.write("""
[stages]
bad = { command = "echo last words; exit 3" }
after = { command = "true", needs = ["bad"] }
other = { command = "sleep 0.2" }
""")
    done = shop.run("-j", "2", "--json")
    assert done.code == 1
    assert shop.outcomes() == {"bad": "failure", "other": "success"}
    assert "last words" in done.err and "exit code 3" in done.err
    assert json.loads(done.out)["skipped"] == ["after"]
    assert shop.query("SELECT outcome, outcome_reason FROM run") == [("failure", "bad failed")]


def test_resume_runs_only_what_has_not_succeeded(shop: Any, tmp_path: Any) -> None:
    flag = tmp_path / "flag"
    shop.write(f"""
[version]
stamp = [{{ file = "version.txt", pattern = "^(.*)$" }}]
[stages]
build = {{ command = "echo x >> {tmp_path}/built; cp version.txt out", produces = {{ out = "out" }} }}
test = {{ command = "test -e {flag}; grep 0.1.0 version.txt $CXLOCAL_ARTIFACT_OUT", needs = ["build"] }}
""", {"version.txt": "none"})  # fmt: skip
    first = shop.run()
    assert first.code == 1, first.err
    assert f"cxlocal run --resume {shop.last()[:8]}\n" in first.err
    flag.touch()
    second = shop.run("--resume", "0.1.0")
    assert second.code == 0, second.err
    assert (tmp_path / "built").read_text() == "x\n"
    assert shop.query("SELECT version, outcome FROM run") == [("0.1.0", "success")]
    attempts = shop.query("SELECT stage, attempt, outcome FROM stage_run ORDER BY stage, attempt")
    assert attempts == [("build", 1, "success"), ("test", 1, "failure"), ("test", 2, "success")]


def test_a_resumed_stage_finds_earlier_artifacts_where_they_were(shop: Any, tmp_path: Any) -> None:
    flag = tmp_path / "flag"
    shop.write(f"""
[stages]
build = {{ command = "mkdir dist; echo bytes > dist/app-1.zip; echo 'echo ran' > tool; chmod +x tool", produces = {{ app = "dist/*.zip", tool = "tool" }} }}
test = {{ command = "test -e {flag}; grep bytes dist/app-1.zip; echo more >> dist/app-1.zip; ./tool", needs = ["build"] }}
""")  # fmt: skip
    assert shop.run().code == 1
    flag.touch()
    done = shop.run("--resume", "0.1.0")
    assert done.code == 0, done.err
    assert "ran" in (shop.home / "logs" / shop.last() / "test.2.log").read_text()
    assert shop.command("doctor", "--json").json()
    kept = shop.query("SELECT sha256 FROM artifact WHERE name = 'app'")
    assert kept == [hashlib.sha256(b"bytes\n").hexdigest()]


def test_a_run_in_place_goes_on_in_the_tree_it_left(shop: Any) -> None:
    shop.write("""
[version]
stamp = [{ file = "v.json", key = "version" }]
[defaults]
workspace = "in-place"
[stages]
build = { command = "cp v.json out.txt", produces = { out = "out.txt" } }
live = { kind = "deploy", command = "grep 0.1.0 out.txt v.json $CXLOCAL_ARTIFACT_OUT", needs = ["build"], environment = "production" }
[environments.production]
title = "Live"
""", {"v.json": '{"version": "0"}', "other": "1"})  # fmt: skip
    assert shop.run().code == 0
    (shop.tree / "other").write_text("2")
    done = shop.run("--resume", "0.1.0", "--to", "production")
    assert (done.code, "uncommitted changes: other" in done.err) == (3, True)
    (shop.tree / "other").write_text("1")
    (shop.tree / "v.json").write_text('{"version": "0.1.0", "more": 1}')
    assert shop.run("--resume", "0.1.0", "--to", "production").code == 3
    (shop.tree / "v.json").write_text('{"version": "0.1.0"}')
    done = shop.run("--resume", "0.1.0", "--to", "production")
    assert done.code == 0, done.err
    # A later deploy has a checkout: the tree may be at any other commit by then.
    (shop.tree / "v.json").write_text('{"version": "0"}')
    shop.push("further")
    done = shop.command("deploy", "0.1.0", "--to", "production")
    assert done.code == 0, done.err


def test_retries_are_attempts_of_their_own(shop: Any, tmp_path: Any) -> None:
    shop.write(f"""
[stages]
flaky = {{ command = "test -e {tmp_path}/x || {{ touch {tmp_path}/x; exit 1; }}", retries = 2 }}
""")
    done = shop.run()
    assert done.code == 0, done.err
    assert shop.query("SELECT attempt, outcome FROM stage_run ORDER BY attempt") == [
        (1, "failure"),
        (2, "success"),
    ]
    assert "trying again" in done.err


def test_outcomes_of_commands(shop: Any) -> None:
    shop.write("""
[stages]
missing = { command = ["no-such-program-here"] }
unfound = { command = "no_such_command" }
killed = { command = "kill -KILL $$" }
crashed = { command = "kill -SEGV $$" }
slow = { command = "sleep 60", timeout = "1s" }
""")
    done = shop.run("-j", "5")
    assert done.code == 1, done.err
    assert shop.outcomes() == {
        "missing": "error",
        "unfound": "error",
        "killed": "error",
        "crashed": "failure",
        "slow": "error",
    }
    reasons = dict(shop.query("SELECT stage, reason FROM stage_run"))
    assert "time limit" in reasons["slow"] and "SIGSEGV" in reasons["crashed"]


def test_an_error_exits_with_9(shop: Any) -> None:
    shop.write('[stages]\nmissing = { command = ["no-such-program-here"] }\n')
    assert shop.run().code == 9


def test_stages_run_in_parallel_up_to_j(shop: Any) -> None:
    stages = "\n".join(f's{i} = {{ command = "sleep 0.5" }}' for i in range(4))
    shop.write(f"[stages]\n{stages}\n")
    assert shop.run("-j", "4").code == 0
    times = shop.query("SELECT started_at, finished_at FROM stage_run")
    assert max(start for start, _ in times) < min(end for _, end in times)
    assert shop.run("-j", "1").code == 0
    times = shop.query(
        "SELECT started_at, finished_at FROM stage_run WHERE run = ? ORDER BY started_at",
        shop.last(),
    )
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times))


def test_a_plain_stage_costs_two_commits(shop: Any) -> None:
    """Commits change the file's change counter (byte 24); one more stage adds exactly two."""

    def commits(stages: int) -> int:
        text = "\n".join(f's{i} = {{ command = ["true"] }}' for i in range(stages))
        shop.write(f"[version]\nreserve = 3\n[stages]\n{text}\n")
        assert shop.run("--offline" if shop.numbered else "--json").code == 0
        shop.numbered = True
        raw = (shop.home / "journal.db").read_bytes()
        return int.from_bytes(raw[24:28], "big")

    shop.numbered = False
    base = commits(1)
    two = commits(2) - base
    base = base + two
    six = commits(6) - base
    assert six - two == 8


def test_dry_run_shows_the_plan_and_writes_nothing(shop: Any) -> None:
    shop.write(CHAIN)
    done = shop.run("--dry-run")
    assert done.code == 0, done.err
    assert "live" in done.out and "later" in done.out
    assert not (shop.home / "journal.db").exists()
    shown = json.loads(shop.run("--dry-run", "--json").out)
    assert [row["stage"] for row in shown["stages"]] == ["build", "unit", "up", "smoke", "live"]
    assert (shown["proof"]["kind"], shown["refused"]) == ("confirmed", None)
    shop.git("commit", "-q", "--allow-empty", "-m", "not pushed")
    done = shop.run("--dry-run", "--json")
    assert done.code == 3
    assert json.loads(done.out)["refused"]["error"] == json.loads(done.err)["error"] == "not-pushed"
    done = shop.run("--dry-run")
    assert (done.code, "live" in done.out, "git push" in done.err) == (3, True, True)


def test_in_place_refuses_a_dirty_tree(shop: Any) -> None:
    shop.write('[defaults]\nworkspace = "in-place"\n[stages]\na = { command = "pwd" }\n')
    done = shop.run()
    assert done.code == 0, done.err
    assert shop.log("a").strip() == str(shop.tree)
    (shop.tree / "x").write_text("x")
    assert shop.run().code == 3


def test_a_rehearsal_leaves_no_trace_in_release_views(shop: Any) -> None:
    shop.write(CHAIN)
    (shop.tree / "note.txt").write_text("uncommitted")
    config = shop.tree / "cx.toml"
    config.write_text(config.read_text().replace("smoke = {", 'see = { command = "cat note.txt" }\nsmoke = {'))  # fmt: skip
    done = shop.command("rehearse", "--json")
    assert done.code == 0, done.err
    said = done.json()
    assert said["kind"] == "rehearsal" and said["number"] is None and "rehearsal" in said["version"]
    assert said["stages"].keys() == {"build", "unit", "up", "see", "smoke"}
    assert "uncommitted" in shop.log("see")
    assert (shop.tree / "note.txt").read_text() == "uncommitted"
    assert not (shop.tree / "out.txt").exists()
    for view in ("release_board", "number_uses", "number_ledger", "promotion"):
        assert shop.query(f"SELECT count(*) FROM {view}") == [0], view
    assert shop.run("--json").json()["version"] == "0.1.0"
    assert shop.run("--resume", said["run"]).code == 3


def test_a_rehearsal_sees_files_whose_names_are_no_utf8(shop: Any) -> None:
    shop.write('[stages]\nsee = { command = "cat n*.txt" }\n')
    odd = shop.tree / os.fsdecode(b"n\xff.txt")
    odd.write_text("uncommitted")
    done = shop.command("rehearse")
    assert done.code == 0, done.err
    assert "uncommitted" in shop.log("see")
    done = shop.run("--json")
    assert "n\\xff.txt" in done.err, done.err
    shop.write('[defaults]\nworkspace = "in-place"\n[stages]\na = { command = "true" }\n')
    odd.write_text("changed")
    refused = shop.run()
    assert refused.code == 3 and "n\\xff.txt" in refused.err


def test_secrets_reach_their_stage_and_no_file(shop: Any) -> None:
    shop.write("""
[stages]
uses = { command = "echo $TOKEN > out; echo token is $TOKEN; exit 1", secrets = ["TOKEN"] }
other = { command = 'echo other "${TOKEN-unset}"' }
[secrets]
TOKEN = { env = "MY_TOKEN" }
""")
    done = shop.run("-j", "1", env={"MY_TOKEN": "hunter2-secret-value"})
    assert done.code == 1
    assert "***" in shop.log("uses") and "***" in done.err
    assert "other unset" in shop.log("other")
    everything = b"".join(
        path.read_bytes()
        for path in shop.home.rglob("*")
        if path.is_file() and "checkouts" not in path.parts
    )
    assert b"hunter2-secret-value" not in everything + done.err.encode() + done.out.encode()


def test_a_missing_secret_stops_the_run_before_a_number_is_taken(shop: Any) -> None:
    shop.write("""
[stages]
uses = { command = "true", secrets = ["TOKEN"] }
[secrets]
TOKEN = { env = "MY_TOKEN" }
""")
    done = shop.run()
    assert done.code == 9 and "TOKEN" in done.err
    assert shop.query("SELECT count(*) FROM run") == [0]
    assert list((shop.home / "checkouts").iterdir()) == []


def test_caches_are_brought_in_and_kept(shop: Any) -> None:
    shop.write(
        """
[stages]
deps = { command = "test -e deps/made || { mkdir deps; echo made > deps/made; echo fresh; }", caches = [{ path = "deps", key_files = ["lock"] }] }
""",
        {"lock": "1"},
    )
    assert shop.run().code == 0
    assert "fresh" in shop.log("deps")
    assert shop.run().code == 0
    assert "fresh" not in shop.log("deps")
    details = json.loads(shop.query("SELECT details FROM stage_run ORDER BY started_at")[1])
    assert details["caches"][0]["hit"] is True
    (shop.tree / "lock").write_text("2")
    shop.push("new lock")
    assert shop.run().code == 0
    assert "fresh" in shop.log("deps")


def test_isolated_stages_have_a_checkout_of_their_own(shop: Any) -> None:
    shop.write("""
[stages]
dirty = { command = "touch left-behind" }
clean = { command = "test ! -e left-behind", needs = ["dirty"], isolated = true }
shared = { command = "test -e left-behind", needs = ["dirty"] }
""")
    done = shop.run()
    assert done.code == 0, done.err


def test_checkouts_go_after_success_and_the_last_failures_stay(shop: Any) -> None:
    shop.write('[keep]\ncheckouts = 2\n[stages]\na = { command = "exit 1" }\n')
    for _ in range(4):
        assert shop.run().code == 1
    assert len(list((shop.home / "checkouts").iterdir())) == 2
    shop.write('[stages]\na = { command = "true" }\n')
    assert shop.run().code == 0
    assert len(list((shop.home / "checkouts").iterdir())) == 2


def test_an_artifact_is_built_once(shop: Any) -> None:
    shop.write("""
[stages]
build = { kind = "build", command = "date +%N%s > out", produces = { out = "out" }, retries = 1 }
again = { command = "cmp out $CXLOCAL_ARTIFACT_OUT; echo changed > out", needs = ["build"] }
use = { command = "test $(cat $CXLOCAL_ARTIFACT_OUT) != changed; echo $CXLOCAL_ARTIFACT_OUT_DIGEST", needs = ["again"] }
""")
    done = shop.run()
    assert done.code == 0, done.err
    sha = shop.query("SELECT sha256 FROM artifact")[0]
    assert f"sha256:{sha}" in shop.log("use")


def test_nothing_to_run_is_said(shop: Any) -> None:
    shop.write("""
[stages]
live = { kind = "deploy", command = "true", environment = "production" }
[environments.production]
title = "Live"
""")
    done = shop.run()
    assert done.code == 3 and "--to production" in done.err


def test_a_deliverable_belongs_to_its_repository(shop: Any, tmp_path: Any, cx: Any) -> None:
    shop.write('[stages]\na = { command = "true" }\n')
    assert shop.run().code == 0
    other = type(shop)(_made(tmp_path / "other"), cx)
    other.home = shop.home
    other.environ = shop.environ
    other.write('[stages]\na = { command = "true" }\n', {"else.txt": "another history"})
    done = other.run()
    assert done.code == 3 and "another repository" in done.err


def _made(path: Any) -> Any:
    path.mkdir()
    return path


def test_a_required_promotion_that_a_person_gives(shop: Any) -> None:
    shop.write("""
[stages]
a = { command = "true" }
live = { kind = "deploy", command = "true", needs = ["a"], environment = "production", requires = "APPROVED" }
[promotions]
APPROVED = { title = "Approved" }
[environments.production]
title = "Live"
""")
    done = shop.run("--to", "production")
    assert done.code == 3, done.err
    assert "cxlocal promote 0.1.0 APPROVED, then: cxlocal run --resume" in done.err
    ways = [line for line in done.err.splitlines() if "--resume" in line]
    assert all("--to production" in line for line in ways), ways
    assert shop.query("SELECT verdict, promotion FROM verdict") == [("deny", "APPROVED")]
    assert shop.query("SELECT outcome FROM run") == ["failure"]


def test_two_runs_deploy_one_after_the_other(shop: Any, tmp_path: Any) -> None:
    shop.write(f"""
[stages]
live = {{ kind = "deploy", command = "test ! -e {tmp_path}/in; touch {tmp_path}/in; sleep 1; rm {tmp_path}/in", environment = "production" }}
[environments.production]
title = "Live"
""")
    both = [shop.start("run", "--to", "production") for _ in range(2)]
    said = [one.communicate(timeout=40)[1].decode() for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert sum("waits: run" in text for text in said) == 1
    assert sorted(shop.query("SELECT version FROM run")) == ["0.1.0", "0.1.1"]
    assert shop.query("SELECT count(*) FROM deployments_now") == [1]


def test_two_runs_in_one_tree_are_refused(shop: Any) -> None:
    sleeps = "touch began; sleep 2; rm began"
    stage = f'[stages]\na = {{ command = ["sh", "-c", "{sleeps}"] }}\n'
    shop.write(f'[defaults]\nworkspace = "in-place"\n{stage}', {".gitignore": "began\n"})
    first = shop.start("run")
    deadline = time.monotonic() + 30
    while not (shop.tree / "began").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    second = shop.run()
    first.communicate(timeout=20)
    assert first.returncode == 0
    assert second.code == 3 and "works in this tree" in second.err


def test_a_number_in_two_runs_is_neither_promoted_nor_deployed(shop: Any) -> None:
    shop.write(CHAIN)
    assert shop.run().code == 0
    run = shop.last()
    with sqlite3.connect(shop.home / "journal.db") as journal:
        journal.execute(
            "INSERT INTO version (deliverable, line, number, run, text, used_at)"
            " SELECT deliverable, line, number, 'another run', text, used_at FROM version"
        )
    done = shop.run("--resume", "0.1.0", "--to", "production")
    assert done.code == 10, done.err
    assert run in done.err
    # By the run it goes, and each command says it, once.
    for words in (("run", "--resume", run, "--to", "production"), ("deploy", run, "production")):
        done = shop.command(*words)
        assert done.code == 0, done.err
        assert done.err.count("two runs hold the version 0.1.0") == 1, done.err


def test_reasons_are_masked_too(shop: Any) -> None:
    shop.write("""
[stages]
uses = { command = "true", secrets = ["TOKEN"] }
[secrets]
TOKEN = { env = "MY_TOKEN" }
""")
    secret = "hunter2-secret-value"
    done = shop.run("--reason", f"because {secret}", "--unplanned", env={"MY_TOKEN": secret})
    assert done.code == 0, done.err
    assert shop.query("SELECT reason, planned FROM run") == [("because ***", 0)]


def test_a_store_that_is_away_costs_nothing_but_time(shop: Any) -> None:
    shop.write("[version]\nreserve = 3\n" + CHAIN)
    assert shop.run().code == 0
    (shop.home / "store.db").rename(shop.home / "store.away")
    done = shop.run("--to", "production", "--json")
    assert done.code == 0, done.err
    said = done.json()
    assert (said["how"], said["number"]) == ("reserve", 100) and said["pending"] > 0
    assert shop.query("SELECT online FROM run WHERE id = ?", said["run"]) == [0]
    assert shop.run("--require-sync").code == 6
    assert shop.run("--offline").code == 0
    (shop.home / "store.away").rename(shop.home / "store.db")
    assert shop.command("sync").code == 0
    states = shop.query("SELECT DISTINCT state FROM number_uses")
    assert states == ["in use, confirmed"]
