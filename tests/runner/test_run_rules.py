"""What a run is made from, and what it says and records about it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

BUILD = '[stages]\nbuild = { command = "true" }\n'

LIVE = """
[stages]
build = { command = "echo $CXLOCAL_VERSION > app.txt", kind = "build", produces = { app = "app.txt" } }
live  = { command = "true", kind = "deploy", needs = ["build"], environment = "production" }
[environments.production]
"""


def test_the_plan_of_the_commit_counts_not_the_one_in_the_tree(shop: Any) -> None:
    shop.write(BUILD)
    text = (shop.tree / "cx.toml").read_text()
    (shop.tree / "cx.toml").write_text(text.replace('"true"', '"false"'))
    result = shop.run()
    assert result.code == 0, result.err
    assert "cx.toml" in result.err
    assert shop.query("SELECT uncommitted_total FROM run") == [1]


def test_another_revision_runs_with_its_own_plan(shop: Any) -> None:
    shop.write('[stages]\nold = { command = "true" }\n')
    shop.cx("--version")
    first = shop.tree.joinpath(".git", "refs", "heads", "main").read_text().strip()
    shop.write('[stages]\nnew = { command = "true" }\n')
    assert shop.run("--revision", first[:12]).code == 0
    assert shop.outcomes() == {"old": "success"}


def test_what_is_not_committed_is_not_in_the_release(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "test ! -e extra.txt" }\n')
    (shop.tree / "extra.txt").write_text("x")
    result = shop.run()
    assert result.code == 0, result.err
    assert "extra.txt" in result.err
    assert "not in this release" in result.err


def test_actor_reason_and_place_are_recorded(shop: Any) -> None:
    shop.write(BUILD)
    shop.run("--reason", "the shop is down", "--unplanned", env={"CXLOCAL_ACTOR": None})
    assert shop.query("SELECT actor, actor_how, reason, planned, place_kind FROM run") == [
        ("Test Author <author@example.org>", "git config", "the shop is down", 0, "laptop")
    ]


def test_the_second_deployment_replaces_the_first_and_lists_its_commits(shop: Any) -> None:
    shop.write(LIVE)
    shop.run("--to", "production")
    shop.push("a fix")
    assert shop.run("--to", "production").code == 0
    assert shop.query("SELECT version FROM deployments_now") == ["0.1.1"]
    assert shop.query("SELECT subject FROM run_change WHERE run = ?", shop.last()) == ["a fix"]
    assert shop.query("SELECT changes_total FROM run WHERE id = ?", shop.last()) == [1]


def test_the_same_bytes_are_built_deployed_and_recorded(shop: Any) -> None:
    shop.write(LIVE)
    shop.run("--to", "production")
    assert shop.query("SELECT sha256 FROM artifact") == shop.query(
        "SELECT artifact_sha256 FROM deployments_now"
    )


def test_links_out_of_the_checkout_never_become_artifacts(shop: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    command = f"ln -s {tmp_path}/secret app.bin"
    shop.write(f'[stages]\nbuild = {{ command = "{command}", produces = {{ app = "app.bin" }} }}\n')
    assert shop.run().code == 9
    assert shop.query("SELECT count(*) FROM artifact") == [0]


def test_a_promised_file_must_be_there_and_be_the_only_one(shop: Any) -> None:
    stage = 'build = { command = "touch a.bin b.bin", produces = { app = "*.bin" } }\n'
    shop.write("[stages]\n" + stage)
    assert shop.run().code == 9
    assert "2" in shop.query("SELECT reason FROM stage_run")[0]
    shop.write("[stages]\n" + stage.replace("*.bin", "c.bin"))
    assert shop.run().code == 9
    assert "c.bin" in shop.query("SELECT reason FROM stage_run")[1]


def test_the_number_is_stamped_before_anything_is_built(shop: Any) -> None:
    shop.write(
        '[version]\nstamp = [{ file = "package.json", key = "version" }]\n'
        "[stages]\nbuild = { command = 'grep -q 0.1.0 package.json' }\n",
        {"package.json": '{"name": "x", "version": "0.0.0"}\n'},
    )
    assert shop.run().code == 0
    assert "0.0.0" in (shop.tree / "package.json").read_text()


def test_a_deliverable_in_a_folder_of_the_repository(shop: Any) -> None:
    (shop.tree / "services").mkdir()
    (shop.tree / "other").write_text("not ours")
    shop.write('[stages]\nbuild = { command = "test -e cx.toml && test ! -e ../other" }\n')
    text = (shop.tree / "cx.toml").read_text()
    (shop.tree / "cx.toml").unlink()
    (shop.tree / "services" / "cx.toml").write_text(
        text.replace('"shop"', '"shop"\npaths = ["services"]')
    )
    shop.push("move")
    shop.tree = shop.tree / "services"
    result = shop.run()
    assert result.code == 0, result.err


def test_the_machine_s_own_store_is_asked_offline_too_and_no_reserve_is_kept(shop: Any) -> None:
    shop.write(BUILD)
    said = [json.loads(shop.run(*more, "--json").out) for more in ([], ["--offline"], [])]
    assert [(one["how"], one["version"]) for one in said] == [
        ("online", "0.1.0"), ("online", "0.1.1"), ("online", "0.1.2"),
    ]  # fmt: skip
    assert shop.query("SELECT count(*) FROM number_range") == [0]
    assert "none is kept" in shop.command("doctor").out
    assert shop.run("--offline", env={"CXLOCAL_NODE": "passing"}).code in (3, 5)


def test_offline_numbers_come_from_the_reserve_and_lie_ahead(shop: Any) -> None:
    shop.write("[version]\nreserve = 3\n" + BUILD)
    for _ in range(2):
        shop.run()
    done = json.loads(shop.run("--offline", "--json").out)
    assert done["how"] == "reserve"
    assert done["number"] > 50
    assert shop.query("SELECT number_how FROM run ORDER BY queued_at") == [
        "online", "online", "reserve",
    ]  # fmt: skip
    assert shop.run("--offline", "--require-sync").code == 6
    assert shop.run("--require-sync").code == 0
    assert shop.query("SELECT DISTINCT state FROM number_uses") == ["in use, confirmed"]


def test_a_missing_program_is_an_error_that_names_it(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = ["no-such-program-here"] }\n')
    assert shop.run().code == 9
    assert "no-such-program-here" in shop.query("SELECT reason FROM stage_run")[0]


def test_a_missing_tool_is_named_before_a_run_begins(shop: Any) -> None:
    shop.write('[stages]\nbuild = { tool = "no-such-tool" }\n')
    result = shop.run()
    assert result.code == 2
    assert "no-such-tool" in result.err
    assert shop.query("SELECT count(*) FROM run") == [0]


def test_p1_a_passing_machine_needs_a_store_that_outlives_it(shop: Any, tmp_path: Path) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n')
    passing = {"CI": "true", "GITHUB_ACTIONS": "true"}
    done = shop.run("--json", env=passing)
    assert done.code == 3
    error = json.loads(done.err)
    assert error["error"] == "store-passes"
    assert "CXLOCAL_NODE=kept" in error["hint"]
    # Two such jobs, each with an empty home, and one store.
    versions = []
    shop.command("store", "create", f"sqlite://{tmp_path}/shared/store.db")
    for job in ("one", "two"):
        env = {**passing, "CXLOCAL_HOME": str(tmp_path / job),
               "CXLOCAL_STORE": f"sqlite://{tmp_path}/shared/store.db"}  # fmt: skip
        versions.append(json.loads(shop.run("--json", env=env).out)["version"])
    assert versions == ["0.1.0", "0.1.1"]


def test_it_is_said_when_nobody_else_counts_with_this_store(shop: Any, tmp_path: Path) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n')
    assert "number from this machine's own store" in shop.run().err
    shared = {"CXLOCAL_STORE": f"sqlite://{tmp_path}/shared/store.db",
              "CXLOCAL_HOME": str(tmp_path / "other")}  # fmt: skip
    assert shop.command("store", "create", shared["CXLOCAL_STORE"], env=shared).code == 0
    assert "(number from the store)" in shop.run(env=shared).err
    row = next(row for row in shop.command("doctor", "--json").json() if row["name"] == "store")
    assert "any other would hand out the same numbers" in row["found"]


def test_a_mirror_only_release_is_asked_about_until_the_remote_holds_it(
    shop: Any, tmp_path: Path
) -> None:
    shop.write(BUILD)
    assert shop.command("mirror", "add", str(tmp_path / "mirror.git")).code == 0
    away = shop.remote.with_name("away.git")
    shop.remote.rename(away)
    shop.git("commit", "-q", "--allow-empty", "-m", "a fix at night")
    shop.git("push", "-q", str(tmp_path / "mirror.git"), "HEAD:main")
    assert shop.run().code == 0
    away.rename(shop.remote)
    assert "does NOT hold the commit of 0.1.0" in shop.command("sync").err
    events = shop.query("SELECT count(*) FROM event")
    for _ in range(3):
        assert "0.1.0" not in shop.command("sync").err
    assert shop.query("SELECT count(*) FROM event") == events, "an idle sync records nothing"
    status = shop.command("status").out
    assert "does not hold the commit" in status
    assert "  settled by the commit, on a remote of the project again" in status
    shop.git("push", "-q", "origin", "HEAD:main")
    assert "holds the commit of 0.1.0" in shop.command("sync").err
    assert "does not hold the commit" not in shop.command("status").out


def test_words_that_are_not_utf8_are_taken_and_looked_for(shop: Any) -> None:
    shop.write(BUILD + '[promotions]\nREADY = { title = "Ready" }\n')
    odd = os.fsdecode(b"why \xff")
    assert shop.run("--reason", odd).code == 0
    assert shop.query("SELECT reason FROM run") == ["why \\xff"]
    for words in (["show", odd], ["run", "--resume", odd], ["promote", odd, "READY"],
                  ["rollback", odd], ["deploy", odd, "--to", odd], ["log", "-d", odd],
                  ["version", "explain", odd], ["env", "show", odd]):  # fmt: skip
        done = shop.command(*words)
        assert "bug" not in done.err, (words, done.err)
        assert done.code in (0, 2, 3), (words, done.err)
    assert shop.command("promote", "0.1.0", "READY", "-m", odd).code == 0
    assert shop.command("verify").code == 0


def test_failed_runs_push_out_no_good_version(shop: Any) -> None:
    config = """
[stages]
build = { command = "echo $CXLOCAL_VERSION > app.txt; test ! -e broken", produces = { app = "app.txt" } }
[keep]
artifacts = 2
"""
    shop.write(config)
    assert shop.run().code == 0
    (good,) = shop.query("SELECT sha256 FROM artifact WHERE packaged_at IS NOT NULL")
    shop.write(config, {"broken": "1"})
    for _ in range(3):
        assert shop.run().code == 1
    assert shop.command("prune").code == 0
    assert (shop.home / "blobs" / good[:2] / good).exists()


def test_a_scheme_nobody_has_is_found_before_anything_is_recorded(shop: Any) -> None:
    shop.write('[version]\nscheme = "semvar"\n' + BUILD)
    for words in (["run"], ["run", "--dry-run"], ["rehearse"], ["run", "start"]):
        done = shop.command(*words)
        assert (done.code, "no version scheme is called 'semvar'" in done.err) == (2, True), words
    row = next(row for row in shop.command("doctor", "--json").json() if row["name"] == "cx.toml")
    assert row["state"] == "bad"
    assert not shop.query("SELECT 1 FROM run")


def test_a_stopped_store_says_how_to_go_on(shop: Any, tmp_path: Path) -> None:
    shop.write("[version]\nreserve = 3\n" + BUILD)
    assert shop.run().code == 0
    (shop.home / "store.db").rename(shop.home / "kept.db")
    shutil.copy(shop.home / "kept.db", shop.home / "store.db")
    (shop.home / "kept.db").rename(tmp_path / "kept.db")
    done = shop.run()
    assert (done.code, "cxlocal store recover" in done.err) == (0, True), done.err
    assert "'cxlocal store recover' lets it go on" in shop.command("sync").err
    row = next(row for row in shop.command("doctor", "--json").json() if row["name"] == "store")
    assert (row["state"], row["to_do"]) == ("bad", "cxlocal store recover")
    done = shop.command("store", "recover")
    assert (done.code, "needs a yes" in done.err) == (2, True)
    assert shop.command("store", "recover", "--yes").code == 0
    assert "number from this machine's own store" in shop.run().err
    (shop.home / "store.db").unlink()
    done = shop.command("store", "recover")
    assert (done.code, "A NEW store is made at" in done.err) == (2, True)


def test_doctor_sees_a_locked_reserve(shop: Any, tmp_path: Path) -> None:
    shop.write(BUILD)
    away = {"CXLOCAL_STORE": f"sqlite://{tmp_path}/shared/store.db"}
    assert shop.command("store", "create", away["CXLOCAL_STORE"]).code == 0
    assert shop.run(env=away).code == 0
    shutil.copytree(shop.home, tmp_path / "copied")
    (tmp_path / "shared").rename(tmp_path / "gone")
    env = {**away, "CXLOCAL_HOME": str(tmp_path / "copied")}
    assert shop.run(env=env).code == 3
    done = shop.command("doctor", "--json", env=env)
    row = next(row for row in done.json() if row["name"] == "reserve")
    assert (row["state"], "looks moved, copied" in row["found"]) == ("bad", True)


def test_a_rehearsal_blames_the_tree_for_what_is_in_the_tree(shop: Any) -> None:
    shop.write(BUILD)
    config = shop.tree / "cx.toml"
    config.write_text(config.read_text() + 'unit = { command = "true", needs = ["bild"] }\n')
    done = shop.command("rehearse")
    assert (done.code, "'bild'" in done.err, "cx.toml at" in done.err) == (2, True, False)


def test_show_without_a_name_is_about_this_folder(shop: Any, tmp_path: Path) -> None:
    shop.write(BUILD)
    assert shop.run().code == 0
    config = shop.tree / "cx.toml"
    config.write_text(config.read_text().replace('name = "shop"', 'name = "other"'))
    shop.push("another deliverable")
    assert "no release is known" in shop.command("show").err
    config.write_text(config.read_text().replace('name = "other"', 'name = "shop"'))
    assert shop.command("show").out.startswith("shop 0.1.0")
    assert shop.command("log", "-n", "0").code == 2
