"""A CI job is killed with its home in the middle of an environment of components: others take it away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from toys import DB, LB, STAGES, WEB, component

HERE = ' touch "$DESK/here"; sleep 60;'
"""Killed there: what the command did is done, and nobody has heard of it."""
PLACE = '"$DESK/$CXLOCAL_INSTANCE'
STAGED = STAGES.replace(
    "[environments]\nproduction = { protected = false }\n",
    '[environments.test]\nlifetime = "per-run"\n',
).replace('environment = "production"', 'environment = "test"').replace("live = {", "try = {") + (
    "\n[stages.smoke]\nkind = \"test\"\nenvironment = \"test\"\nneeds = [\"try\"]\npass_env = [\"DESK\"]\n"
    "command = 'true;@smoke@'\n"
)  # fmt: skip


def config(moment: str) -> str:
    """An environment whose database, balancer and instances can all be taken away; it stops at ``moment``."""
    verbs = {
        "db": {**DB, "apply": f'mkdir -p {PLACE}";{DB["apply"]} @apply@', "destroy": f'rm -f {PLACE}/db"'},
        "lb": {**LB, "apply": f'touch {PLACE}/lb-made"', "destroy": f'rm -f {PLACE}"/lb*'},
        "web": {**WEB, "create": f"{WEB['create']};@create@"},
    }  # fmt: skip
    keys = {
        "db": "mutable = true", "lb": 'mutable = true\nneeds = ["db"]',
        "web": 'artifact = "app"\ncount = 2\nneeds = ["db"]\nbehind = "lb"',
    }  # fmt: skip
    text = STAGED + "".join(component(name, verbs[name], keys[name]) for name in verbs)
    text = text.replace('"$DESK/db"', f'{PLACE}/db"').replace('"$DESK/web', f"{PLACE}/web")
    text = text.replace('"$DESK/lb', f"{PLACE}/lb").replace('"$DESK"/web', f'{PLACE}"/web')
    for one in ("apply", "create", "smoke"):
        text = text.replace(f"@{one}@", HERE if one == moment else "")
    return text


def of(home: Path) -> list[int]:
    """The processes that work for a home."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"CXLOCAL_HOME={home}\0".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("moment", ["apply", "create", "smoke"])
def test_what_a_lost_runner_made_of_components_is_taken_away(desk_shop: Any, moment: str) -> None:
    shop = desk_shop
    store = {"CXLOCAL_STORE": f"sqlite://{shop.root}/store.db"}
    assert shop.command("store", "create", store["CXLOCAL_STORE"], env=store).code == 0
    shop.write(config(moment), {"site.txt": "one", ".gitignore": "app.txt\n"})
    home = shop.root / "runner"
    job = {
        **shop.environ, **store, "CXLOCAL_HOME": str(home), "CI": "true", "GITHUB_ACTIONS": "true",
        "GITHUB_RUN_ID": "9", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_SHA": shop.git("rev-parse", "HEAD"),
    }  # fmt: skip
    with subprocess.Popen(
        [shop.cx.program, "run", "--no-input"], cwd=shop.tree, env={**os.environ, **job},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as run:  # fmt: skip
        until = time.monotonic() + 40
        while not (shop.desk / "here").exists():
            if run.poll() is not None or time.monotonic() > until:
                run.kill()
                pytest.fail(run.communicate()[0].decode())
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
    for pid in of(home):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(home)
    [place] = [one for one in shop.desk.iterdir() if one.is_dir()]
    assert (place / "db").exists()
    assert len(list(place.glob("web/*"))) == {"apply": 0, "create": 1, "smoke": 2}[moment]
    assert shop.command("sync", env=store).code == 0
    waits = shop.command("env", "reap", env=store)
    assert waits.code == 0 and "which has not ended as far as is known here" in waits.err, waits.err
    assert (place / "db").exists(), "it may be used still"
    [number] = shop.query("SELECT id FROM run")
    done = shop.command("env", "reap", "--run", number, "-m", "its machine is gone", env=store)
    assert done.code == 0, done.err
    assert [one for one in place.rglob("*") if one.is_file()] == []
    assert shop.query("SELECT count(*) FROM resources_now") == [0]
    assert shop.query("SELECT deleted_how FROM environment") == ["destroyed"]


def _by_scripts(verbs: dict[str, str], name: str) -> tuple[dict[str, str], dict[str, str]]:
    """The verbs as scripts of the repository, and these."""
    files = {f"ops/{name}-{verb}.sh": command for verb, command in verbs.items()}
    return {verb: f"sh -eu ops/{name}-{verb}.sh" for verb in verbs}, files


def test_scripts_of_the_repository_are_found_on_another_day(desk_shop: Any, tmp_path: Path) -> None:
    shop = desk_shop
    web, files = _by_scripts(WEB, "web")
    lb, more = _by_scripts(LB, "lb")
    files |= more | {"site.txt": "one", ".gitignore": "app.txt\n"}
    keys = 'artifact = "app"\nbehind = "lb"\nkeep_old = "1s"\n'
    config = STAGES + component("lb", lb, "mutable = true") + component("web", web, keys)
    shop.write(config, files)
    for text in ("one", "two"):
        (shop.tree / "site.txt").write_text(text)
        shop.push(text)
        done = shop.run("--no-input")
        assert done.code == 0, done.err
    # What lies here now is another commit, without them.
    for file in (shop.tree / "ops").iterdir():
        file.unlink()
    shop.push("scripts go")
    told = shop.command("env", "observe", "production")
    assert (told.code, told.out.strip()) == (0, "production runs 0.1.1"), told.err
    old = {one for one, version in shop.running.items() if version == "0.1.0"}
    assert old and set(shop.running) - old == set(shop.serving)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    lost = shop.cx("env", "reap", cwd=elsewhere, env=shop.environ)
    while lost.code == 0:  # they are kept for a second
        lost = shop.cx("env", "reap", cwd=elsewhere, env=shop.environ)
    assert lost.code == 9 and old <= set(shop.running), lost.err
    assert "a script of the repository is found in a clone that has commit" in lost.err, lost.err
    done = shop.command("env", "reap")
    assert done.code == 0 and set(shop.running) == set(shop.serving), done.err
    assert not list((shop.home / "checkouts").glob("*lent*"))
