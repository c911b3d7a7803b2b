"""Environments of components, by whole commands."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

from toys import CONFIG, LB, ROTATE, STAGES, WEB, WEIGHTS, component


def test_new_ones_take_the_place_of_the_old(desk_shop: Any) -> None:
    shop = desk_shop
    done = shop.release("one", CONFIG)
    assert done.code == 0, done.err
    first = shop.running
    assert sorted(first.values()) == ["0.1.0", "0.1.0"] and shop.serving == first
    done = shop.release("two")
    assert done.code == 0, done.err
    assert sorted(shop.running.values()) == ["0.1.1", "0.1.1"] and shop.serving == shop.running
    assert not set(first) & set(shop.running)
    assert shop.query("SELECT service, version FROM deployments_now") == [("web", "0.1.1")]
    assert sorted(shop.query("SELECT resource FROM resources_now WHERE serves")) == sorted(
        shop.running
    )


def test_a_rollback_turns_weights_while_the_old_ones_are_kept(desk_shop: Any) -> None:
    shop = desk_shop
    config = CONFIG.replace("count = 2", 'count = 2\nkeep_old = "1h"')
    shop.release("one", config)
    first = shop.running
    done = shop.release("two")
    assert done.code == 0, done.err
    both = shop.running
    assert len(both) == 4 and set(first) < set(both) and set(shop.serving.values()) == {"0.1.1"}
    assert shop.command("env", "reap").code == 0
    assert shop.running == both, "kept ones are nobody's to take away"
    done = shop.command("rollback", "production", "-m", "two was wrong")
    assert done.code == 0, done.err
    assert shop.serving == first and shop.running == both
    assert shop.query("SELECT version, kind FROM deployments_now") == [("0.1.0", "rolledback")]
    done = shop.release("three")
    assert done.code == 0, done.err
    assert set(shop.serving.values()) == {"0.1.2"} and len(shop.running) == 4, "two went"
    assert set(first) < set(shop.running)
    (shop.desk / "web" / next(iter(first))).unlink()
    (shop.desk / "db").unlink()
    done = shop.command("rollback", "production")
    assert done.code == 0 and "what was changed in place stays as it is: db" in done.err, done.err
    assert not (shop.desk / "db").exists() and set(shop.serving.values()) == {"0.1.0"}


def test_what_was_cut_off_with_traffic_is_left_by_reap(desk_shop: Any) -> None:
    shop = desk_shop
    hold = ROTATE + '\ntest ! -e "$DESK/hold" || { touch "$DESK/here"; sleep 60; }\n'
    config = CONFIG.replace(component("lb", LB, "mutable = true"),
                            component("lb", {**LB, "rotate": hold}, "mutable = true"))  # fmt: skip
    assert shop.release("one", config).code == 0
    old = shop.running
    (shop.desk / "hold").touch()
    (shop.tree / "site.txt").write_text("two")
    shop.push("two")
    with subprocess.Popen(
        [shop.cx.program, "run", "--no-input"], cwd=shop.tree, env={**os.environ, **shop.environ},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as run:  # fmt: skip
        until = time.monotonic() + 40
        while not (shop.desk / "here").exists() and time.monotonic() < until:
            time.sleep(0.02)
        run.kill()
    (shop.desk / "hold").unlink()
    turned, there = shop.serving, shop.running
    assert set(turned.values()) == {"0.1.1"} and len(there) == 4
    for _ in range(2):
        left = shop.command("env", "reap")
        assert left.code == 9 and "gets traffic" in left.err, left.err
        assert "cxlocal deploy 0.1.0 --to production" in left.err
        assert shop.serving == turned and shop.running == there
    done = shop.command("deploy", "0.1.0", "--to", "production")
    assert done.code == 0, done.err
    assert shop.serving == shop.running and set(shop.running.values()) == {"0.1.0"}
    assert len(shop.running) == len(old)


def test_what_is_not_there_is_said_and_put_right_by_the_command_that_is_named(
    desk_shop: Any,
) -> None:
    """An instance that somebody killed, a balancer that does not run: ``env observe`` names it and ends with 1."""
    shop = desk_shop
    dead = 'test ! -e "$DESK/dead"'
    verbs = {
        "apply": 'rm -f "$DESK/dead"; echo \'{"changed": true}\' > "$CXLOCAL_RESULT"',
        "rotate": f"{dead} || exit 1\n{ROTATE}",
        "observe": f'{WEIGHTS}\n{dead} || echo \'{{"healthy": false}}\' > "$CXLOCAL_RESULT"',
    }
    old, new = (component("lb", one, "mutable = true") for one in (LB, verbs))
    assert old in CONFIG
    assert shop.release("one", CONFIG.replace(old, new)).code == 0
    gone, other = shop.running

    def observed(code: int) -> Any:
        done = shop.command("env", "observe", "production", "--json")
        assert done.code == code, done.err
        return done.json(), done.err

    said, _ = observed(0)
    assert (said["agrees"], said["problem"]) == (True, "")
    (shop.desk / "web" / gone).unlink()
    said, _ = observed(1)
    assert (said["agrees"], said["observed"]) == (False, "0.1.0")
    assert said["problem"] == f"{gone[:8]} of web should serve and is not there"
    (shop.desk / "lb").write_text(f"1\n{gone}=100\n")
    said, _ = observed(1)
    assert said["problem"].endswith(f"; lb gives nothing to {other[:8]}")
    (shop.desk / "dead").touch()
    said, err = observed(1)
    assert said["problem"].endswith("; lb does not run") and said["problem"] in err
    assert "changed-outside" in shop.query("SELECT kind FROM open_flags")
    told = shop.command("env", "observe", "production")
    assert (told.code, told.out) == (1, "production runs 0.1.0\n")
    hint = next(line for line in told.err.splitlines() if line.startswith("To do: cxlocal "))
    done = shop.command(
        *hint.removeprefix("To do: cxlocal ").removesuffix(" puts it right").split()
    )
    assert done.code == 0, done.err
    assert shop.serving == shop.running and len(shop.running) == 2
    assert observed(0)[0]["problem"] == ""
    assert shop.query("SELECT kind FROM open_flags") == []


def test_an_environment_says_no_to_what_serves(desk_shop: Any) -> None:
    shop = desk_shop
    check = 'test "$KEY" = open-sesame && ! grep -q bad "$DESK"/web/* && echo "$CXLOCAL_ENVIRONMENT_URI"'
    config = CONFIG.replace(
        "production = { protected = false }",
        f'production = {{ protected = false, uri = "http://shop.test", secrets = ["KEY"], check = \'\'\'{check}\'\'\' }}'
        '\n[secrets]\nKEY = { env = "KEY" }\n[defaults]\npass_env = ["DESK"]',
    ).replace('echo "$CXLOCAL_VERSION" >', 'cat site.txt >')  # fmt: skip
    env = {"KEY": "open-sesame"}
    done = shop.release("fine", config, env=env)
    assert done.code == 0, done.err
    assert "http://shop.test" in shop.log("live")
    first = shop.serving
    done = shop.release("bad", env=env)
    assert done.code == 1 and "0.1.0 serves again" in done.err, done.err
    assert shop.serving == first == shop.running
    assert shop.query("SELECT version, kind FROM deployments_now") == [("0.1.0", "rolledback")]
    shown = shop.command("env", "show", "production").out
    assert "0.1.1 was refused: production is not well" in shown, shown


def test_what_would_change_in_place_is_told_before(desk_shop: Any) -> None:
    shop = desk_shop
    config = CONFIG.replace(
        "count = 2", 'count = 2\nrollout = [{ weight = 10, hold = "2m" }, { weight = 100 }]'
    )
    shop.write(config.replace("2m", "0s"), {"site.txt": "one", ".gitignore": "app.txt\n"})
    told = shop.run("--dry-run")
    assert told.code == 0 and "no stage of it has run on this machine" in told.err, told.err
    assert shop.run("--no-input").code == 0
    (shop.desk / "db").unlink()
    shop.write(config, {"site.txt": "two"})
    before = shop.query("SELECT count(*) FROM event")
    folders = sorted((shop.home / "runs").glob("*"))
    for command in (("run", "--dry-run"), ("deploy", "0.1.0", "--dry-run")):
        told = shop.command(*command)
        assert told.code == 0, told.err
        assert "db in production: make the table orders" in told.err, told.err
        assert "web in production: 2 new instances, turned in behind lb at 10 %" in told.err, (
            told.err
        )
        [change] = (
            shop.command(*command, "--json").json().get("components", {}).get("changes")
            or (shop.command(*command, "--json").json()["changes"])
        )
        assert (change["component"], change["changes"]) == ("db", ["make the table orders"])
    [row] = [one for one in shop.command("doctor", "--json").json() if "deployment" in one["name"]]
    assert row["name"] == "deployment into production" and row["state"] == "ok"
    assert row["found"] == "db in production: make the table orders"
    losing = config.replace("|| echo", "|| echo 'drop it'; exit 3; echo")
    assert losing != config
    shop.write(losing, {"site.txt": "three"})
    told = shop.command("run", "--dry-run")
    assert told.code == 3 and "db would lose something in production" in told.err, told.err
    [row] = [one for one in shop.command("doctor", "--json").json() if "deployment" in one["name"]]
    assert row["state"] == "note" and "it would not begin: db would lose" in row["found"]
    assert shop.query("SELECT count(*) FROM event") == before, "nothing is recorded"
    assert sorted((shop.home / "runs").glob("*")) == folders, "nothing is left"
    assert set(shop.running.values()) == {"0.1.0"}


PER_RUN = CONFIG.replace(
    "[environments]\nproduction = { protected = false }\n",
    "[environments.test]\nlifetime = \"per-run\"\ncomponents.web = { count = 1 }\n"
    'secrets = ["KEY"]\n[environments.production]\n[secrets]\nKEY = { env = "KEY" }\n',
).replace(
    "live = {",
    'try = { kind = "deploy", environment = "test", needs = ["build"] }\n'
    'smoke = { command = "ls $DESK/web > seen; test $(wc -l < seen) = 1", environment = "test",'
    ' needs = ["try"], pass_env = ["DESK"] }\nlive = {',
)  # fmt: skip


def test_an_environment_of_one_run_is_made_of_components_and_taken_away(desk_shop: Any) -> None:
    shop = desk_shop
    config = PER_RUN.replace(
        "rm -f", 'test -n "$KEY"; rm -f'
    ).replace('count = 2', 'count = 2\nenv = { SEEN_DB = "{component.db.url}" }').replace(
        'mkdir -p "$DESK/web"', 'mkdir -p "$DESK/web"; test "$SEEN_DB" = "file://$DESK/db"; echo "with $KEY"'
    )  # fmt: skip
    done = shop.release("one", config, env={"KEY": "open-sesame"})
    assert done.code == 0, done.err + shop.log("try")
    assert "with ***" in shop.log("try") and "open-sesame" not in done.out + done.err
    assert shop.outcomes() == {"build": "success", "try": "success", "smoke": "success"}
    assert shop.running == {}, "what was made for the run is gone with it"
    # Nothing can take its database away, and that is said.
    assert shop.query("SELECT gone_how, component FROM resource ORDER BY gone_how") == [
        ("left", "db"), ("removed", "web"),
    ]  # fmt: skip
    assert shop.query("SELECT deleted_how FROM environment WHERE lifetime = 'per-run'") == [
        "closed, not destroyed"
    ]
    held = [
        path
        for path in shop.home.rglob("*")
        if path.is_file() and b"open-sesame" in path.read_bytes()
    ]
    assert held == [], "journal, logs, own store, blobs"


def test_another_day_deploys_what_a_run_made(desk_shop: Any) -> None:
    shop = desk_shop
    shop.release("one", CONFIG.replace("production = { protected = false }", "production = {}"))
    assert shop.running == {}
    done = shop.command("deploy", "0.1.0", "--to", "production")
    assert done.code == 0, done.err
    assert len(shop.running) == 2 and shop.serving == shop.running
    before = shop.running
    stray = shop.desk / "web" / "0f0e0d0c-0000-4000-8000-000000000001"
    stray.write_text("0.1.0\n")
    refused = shop.command("deploy", "0.1.0", "--to", "production")
    assert refused.code == 3 and "cxlocal env repair production" in refused.err, refused.err
    done = shop.command("env", "repair", "production", "-m", "a machine burnt")
    assert done.code == 0, done.err
    assert shop.running == shop.serving == before, "the stray one is taken away"
    known = shop.query("SELECT count(*) FROM event")
    again = shop.command("env", "repair", "production")
    assert again.code == 0 and "as the record says; nothing was changed" in again.err
    assert shop.query("SELECT count(*) FROM event") == known and shop.serving == before
    gone = shop.command("env", "destroy", "production", "--yes")
    assert gone.code == 0, gone.err
    assert shop.running == {} and "db stands: commands has no destroy" in gone.err
    assert shop.query("SELECT deleted_how FROM environment") == ["closed, not destroyed"]


def test_a_host_is_left_out_and_comes_back(desk_shop: Any) -> None:
    shop = desk_shop
    web = {
        **WEB,
        "create": f'test "$CXLOCAL_HOST" != b || test -f "$DESK/b-is-up" || exit 1; {WEB["create"]}',
    }
    keys = 'artifact = "app"\ncount = 2\nhosts = ["a", "b"]'
    stopped = shop.release("one", STAGES + component("web", web, keys))
    assert stopped.code == 1 and shop.running == {}, stopped.err
    done = shop.release("two", STAGES + component("web", web, f"{keys}\nmin_hosts = 1"))
    assert done.code == 0 and "nothing of web could be made on b" in done.err, done.err
    assert list(shop.running.values()) == ["0.1.1"]
    (shop.desk / "b-is-up").touch()
    assert shop.release("three").code == 0
    assert list(shop.running.values()) == ["0.1.2", "0.1.2"]
    assert shop.query("SELECT kind FROM open_flags WHERE kind = 'host-left-out'") == []


SAME = (
    STAGES.replace(
        "[environments]\nproduction = { protected = false }\n",
        '[environments.test]\nlifetime = "per-run"\n[environments.qa]\nprotected = false\n'
        "[environments.production]\ncomponents.web = { count = 2 }\n",
    ).replace(
        "live = {",
        'try = { kind = "deploy", environment = "test", needs = ["build"] }\n'
        'qa = { kind = "deploy", environment = "qa", needs = ["build"] }\nlive = {',
    )
    + component("web", WEB, 'artifact = "app"')
).replace("$DESK", "$DESK/$CXLOCAL_INSTANCE")  # fmt: skip
"""Three environments, each with a desk of its own."""


def test_same_image_and_same_spec_in_each_environment(desk_shop: Any) -> None:
    """And what is not: an environment that says otherwise what runs, a changed table, a changed byte."""
    shop = desk_shop
    released = shop.release("one", SAME, env={}, timeout=120)
    assert released.code == 0, released.err
    assert shop.command("deploy", "0.1.0", "--to", "production").code == 0
    row = same_image(shop, "0.1.0")
    assert (row["environments"], row["same_artifact"]) == ("production,qa,test", "yes")
    assert (row["same_environment_image"], row["but_for"]) == ("yes", "web: count")
    # Production runs something else: its command to make one is another.
    create = 'mkdir -p "$DESK/production/web"; echo else > "$DESK/production/web/$CXLOCAL_RESOURCE"'
    other = SAME.replace("{ count = 2 }", f"{{ count = 2, with = {{ create = '''{create}''' }} }}")
    assert shop.release("two", other).code == 0
    assert shop.command("deploy", "0.1.1", "--to", "production").code == 0
    row = same_image(shop, "0.1.1")
    assert (row["same_artifact"], row["same_environment_image"]) == ("yes", "no")
    # One byte of what was tested is another one: it goes nowhere.
    assert (
        shop.release(
            "three", SAME.replace('artifact = "app"', 'artifact = "app"\nenv = { A = "b" }')
        ).code
        == 0
    )
    assert len(shop.query("SELECT DISTINCT spec_sha256 FROM resource")) == 2, "another table"
    [(digest, version)] = shop.query(
        "SELECT artifact_sha256, version FROM deployments_now WHERE environment = 'qa'"
    )
    [blob] = [one for one in shop.home.rglob(digest) if one.is_file()]
    blob.chmod(0o600)
    blob.write_bytes(b"F" + blob.read_bytes()[1:])
    refused = shop.command("deploy", version, "--to", "production")
    assert refused.code not in (0, 1) and digest[:12] in refused.err, refused.err
    assert set((shop.desk / "production" / "web").glob("*")), "what served does"
    assert shop.query("SELECT version FROM deployments_now WHERE environment = 'production'") == [
        "0.1.1"
    ]


def same_image(shop: Any, version: str) -> Any:
    rows = shop.command("sql", "-q", "same-image", "--json").json()
    [row] = [one for one in rows if one["version"] == version]
    row["environments"] = ",".join(sorted(row["environments"].split(",")))
    return row


def test_what_becomes_of_a_database_that_leaves_the_file(desk_shop: Any) -> None:
    shop = desk_shop
    made = CONFIG.replace("preview = ", "destroy = 'rm \"$DESK/db\"'\npreview = ", 1)
    assert shop.release("one", made).code == 0
    still = shop.command("env", "release", "production", "db", "-m", "others have it")
    assert still.code == 2 and "is still in the file" in still.err
    gone = CONFIG[: CONFIG.index("[components.db]")] + CONFIG[CONFIG.index("[components.lb]") :]
    gone = gone.replace('needs = ["db"]\n', "")
    stopped = shop.release("two", gone)
    assert stopped.code == 3, stopped.err
    assert "cxlocal env destroy production db" in stopped.err and 'was = "db"' in stopped.err
    assert "cxlocal env release production db -m WHY" in stopped.err
    assert set(shop.serving.values()) == {"0.1.0"}
    refused = shop.command("env", "destroy", "production", "db")
    assert refused.code == 2 and (shop.desk / "db").exists()
    done = shop.command("env", "destroy", "production", "db", "--yes")
    assert done.code == 0 and not (shop.desk / "db").exists(), done.err
    nobody = shop.command("env", "release", "production", "db", "-m", "others have it")
    assert nobody.code == 2, nobody.err
    done = shop.command("run", "--resume")
    assert done.code == 0, done.err
    assert set(shop.serving.values()) == {"0.1.1"}


def test_no_other_command_stands_in_for_the_tools(desk_shop: Any) -> None:
    shop = desk_shop
    shop.write(CONFIG, {"site.txt": "one"})
    started = shop.command("run", "start")
    assert started.code == 0, started.err
    done = shop.command(
        "stage",
        "live",
        "--",
        "touch",
        "ran",
        env={"CXLOCAL_RUN": started.out.split("=")[1].split()[0].strip("'\";")},
    )
    assert done.code == 3 and "deploys the components of production" in done.err, done.err
    assert not (shop.tree / "ran").exists()


def test_a_signal_turns_the_weights_back(desk_shop: Any) -> None:
    shop = desk_shop
    config = CONFIG.replace(
        "count = 2", 'count = 2\nrollout = [{ weight = 50, hold = "5m" }, { weight = 100 }]'
    )
    assert shop.release("one", CONFIG).code == 0
    old = shop.serving
    shop.write(config, {"site.txt": "two"})
    process = shop.start("run", "--no-input")
    until = time.monotonic() + 40
    while set(shop.weights) == set(old):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert time.monotonic() - began < 10
    assert shop.serving == old and len(shop.running) == 4
    assert b"still stand, without traffic" in said
    assert shop.query("SELECT version FROM deployments_now") == ["0.1.0"]
    (shop.tree / "cx.toml").write_text("")
    shop.write(CONFIG, {"site.txt": "three"})
    assert shop.run("--no-input").code == 0
    assert set(shop.running.values()) == {"0.1.2"}, "what the signal left is gone"
