"""A terminal or a pipe that goes away changes nothing: how it ended is how the work ended."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

GOOD = '[stages]\na = { command = "echo said; sleep 0.3; echo more" }\n'
BAD = '[stages]\na = { command = "echo said; sleep 0.3; exit 3" }\n'

WAYS = {
    "words into a pipe that goes": '"$@" 2>&1 >/dev/null | head -1',
    "everything into a pipe that goes": '"$@" 2>&1 | head -1',
    "data into a pipe that is gone": '"$@" | true',
    "words closed": '"$@" 2>&-',
    "all closed": '"$@" <&- >&- 2>&-',
    "data closed": '"$@" >&-',
}


def told(shop: Any, way: str, *arguments: str) -> int:
    """The exit code of a command that loses whoever listens."""
    file = shop.root / "code"
    script = f'run() {{ "$@"; echo $? > {file}; }}; ' + WAYS[way].replace('"$@"', 'run "$@"')
    subprocess.run(
        ["sh", "-c", script, "-", shop.cx.program, *arguments], cwd=shop.tree,
        env={**os.environ, **shop.environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        timeout=50, check=False,
    )  # fmt: skip
    until = time.monotonic() + 30
    while not (file.exists() and file.read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    return int(file.read_text())


@pytest.mark.parametrize("way", WAYS)
def test_a_release_ends_as_its_work(shop: Any, way: str) -> None:
    shop.write(GOOD)
    assert told(shop, way, "-v", "run", "--json") == 0
    assert shop.query("SELECT version, outcome FROM run") == [("0.1.0", "success")]


@pytest.mark.parametrize("way", ["everything into a pipe that goes", "all closed"])
def test_a_failure_too(shop: Any, way: str) -> None:
    shop.write(BAD)
    assert told(shop, way, "-v", "run", "--json") == 1
    assert shop.query("SELECT outcome FROM run") == ["failure"]


def test_a_deployment_too(shop: Any) -> None:
    shop.write(
        '[stages]\nlive = { kind = "deploy", command = "echo $CXLOCAL_VERSION",'
        ' environment = "production" }\n[environments]\nproduction = { title = "Live" }\n'
    )
    assert shop.run("--to", "production").code == 0
    way = "data into a pipe that is gone"
    assert told(shop, way, "-v", "deploy", "0.1.0", "--to", "production", "--json") == 0


@pytest.mark.parametrize("again", [False, True], ids=["once", "and the shell says it, too"])
def test_a_terminal_that_is_closed_cancels(shop: Any, tmp_path: Path, again: bool) -> None:
    flag = tmp_path / "flag"
    shop.write(
        f"[stages]\na = {{ command = '''trap 'touch {flag}.end; sleep 0.5; exit 1' TERM;"
        f" touch {flag}; while :; do echo tick; sleep 0.05; done''' }}\n"
    )
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(shop.tree)
        os.execve(shop.cx.program, ["cxlocal", "-v", "run"], {**os.environ, **shop.environ})
    until = time.monotonic() + 20
    while not flag.exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.close(terminal)
    if again:
        ending = Path(f"{flag}.end")
        while not ending.exists() and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(pid, signal.SIGHUP)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    assert shop.query("SELECT outcome, outcome_reason FROM run") == [
        ("cancel", "cancelled by SIGHUP")
    ]


def test_a_full_disk_is_no_reader_that_went_away(shop: Any) -> None:
    """What was to be kept is not: that is said, though the release is made."""
    shop.write(GOOD)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [shop.cx.program, "run", "--json"], cwd=shop.tree, stdout=full, stderr=subprocess.PIPE,
            env={**os.environ, **shop.environ}, text=True, timeout=50, check=False,
        )  # fmt: skip
    assert done.returncode == 9 and "No space left on device" in done.stderr
    assert shop.query("SELECT outcome FROM run") == ["success"]
