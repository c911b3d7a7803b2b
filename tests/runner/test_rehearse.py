"""Rehearsals as whole commands: what leaves the machine, what the version is, how one is ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

PUSHES = """
[stages]
build = { command = "echo $CXLOCAL_VERSION > v.txt", produces = { v = "v.txt" } }
tag = { command = "git tag v1 && git push -q origin v1", needs = ["build"] }
hidden = { command = "sh push.sh", needs = ["build"] }
tell = { command = "true", needs = ["tag"] }
"""


def test_a_tag_is_pushed_neither_openly_nor_by_a_script(shop: Any) -> None:
    clone = "git clone -q . c; cd c; git push -q --no-verify $(git -C .. remote get-url origin) HEAD:x\n"
    shop.write(PUSHES, {"push.sh": f"git tag v2\n({clone})\ngit push -q origin v2\n"})
    done = shop.command("rehearse", "--json")
    assert done.code == 1
    assert done.json()["stages"] == {"build": "success", "hidden": "failure"}
    assert "left out  tag: git push leaves something outside, though its kind is task" in done.err
    assert "left out  tell: waits for one of these" in done.err
    assert "git send-pack" in done.err and "a rehearsal cannot hold back" in done.err
    assert shop.log("hidden").count("a-rehearsal-pushes-nowhere") >= 2
    assert not shop.git("ls-remote", "--heads", "origin", "x")
    assert shop.git("ls-remote", "--tags", "origin") == "" == shop.git("tag")
    refused = shop.command("rehearse", "--to", "tag")
    assert refused.code == 3 and "git push leaves something outside" in refused.err


def test_nothing_but_what_publishes_is_refused_with_the_reason(shop: Any) -> None:
    shop.write('[stages]\nput = { command = "npm publish" }\n')
    done = shop.command("rehearse")
    assert done.code == 3 and "there is nothing to rehearse" in done.err
    assert "put npm publish leaves something outside" in done.err


def test_the_version_is_one_for_stamps_and_stages_and_takes_no_release_s_place(shop: Any) -> None:
    shop.write(
        '[version]\nline = "0.0"\nstamp = [{ file = "CMakeLists.txt", pattern = "VERSION ([0-9.]+)" }]\n'
        "[stages]\n"
        'look = { command = "grep -q \\"VERSION $CXLOCAL_VERSION\\" CMakeLists.txt" }\n',
        {"CMakeLists.txt": "project(demo VERSION 1.2.3)\n"},
    )
    for _ in range(2):
        done = shop.command("rehearse", "--json")
        assert (done.code, done.json()["version"]) == (0, "0.0.0"), done.err
    released = shop.run("--json").json()
    assert released["version"] == "0.0.0"
    assert shop.command("show", "0.0.0", "--json").json()["run"] == released["run"]


@pytest.mark.parametrize("more", [[], ["--to", "slow"]])
def test_after_a_signal_the_hint_is_a_command_that_works(shop: Any, more: list[str]) -> None:
    began = shop.root / "began"
    shop.write(
        f'[stages]\nslow = {{ command = "test ! -e {began} || exit 0; touch {began}; sleep 30" }}\n'
    )
    running = shop.start("rehearse", *more)
    deadline = time.monotonic() + 20
    while not began.exists():
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    hint = err.decode().rpartition("To do: ")[2].strip()
    assert hint == " ".join(["cxlocal", "rehearse", *more])
    assert shop.command(*hint.split()[1:]).code == 0


OTHERS = (
    """
[environments.production]
protected = false
[promotions]
GOOD = {{}}
[stages]
build = {{ command = "true" }}
live = {{ kind = "deploy", command = "true", environment = "production" }}
again = {{ needs = ["build"], command = """
    + "'{command}' }}\n"
)


@pytest.mark.parametrize(
    "command",
    ["cxlocal deploy 0.1.0 --env production", "cxlocal rollback production --to 0.1.0",
     "cxlocal promote 0.1.0 GOOD", "cxlocal mirror add ../away.git",
     "cxlocal store create sqlite://$PWD/new.db", "unset CXLOCAL_HOME; cxlocal sync", "cd $OTHER; cxlocal run", "cd $OTHER; cxlocal run start"],
)  # fmt: skip
def test_commands_of_its_stages_change_nothing_outside_either(
    shop: Any, tmp_path_factory: pytest.TempPathFactory, command: str
) -> None:
    other = type(shop)(tmp_path_factory.mktemp("other"), shop.cx)
    other.environ = shop.environ
    other.write('[stages]\na = { command = "true" }\n')
    (other.tree / "cx.toml").write_text(
        (other.tree / "cx.toml").read_text().replace("shop", "gear")
    )
    other.push("its name")
    shop.write(OTHERS.format(command="true"))
    assert shop.run().code == 0
    path = f"{Path(shop.cx.program).parent}{os.pathsep}{os.environ['PATH']}"
    shop.write(OTHERS.format(command=command.replace("$OTHER", str(other.tree))))
    done = shop.command("rehearse", env={"PATH": path})
    assert done.code == 1 and "this is a stage of rehearsal" in shop.log("again"), done.err
    assert shop.query("SELECT count(*) FROM run") == [2]
    assert shop.query("SELECT count(*) FROM promotion") == [0]
    assert shop.query("SELECT count(*) FROM deployment") == [1]
