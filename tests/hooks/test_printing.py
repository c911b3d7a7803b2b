"""Standard output belongs to the data: whatever a plugin prints, and how, goes to standard error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WAYS = {
    "print": "print('NOISE')",
    "the descriptor": "import os; os.write(1, b'NOISE\\n')",
    "a child process": "import subprocess; subprocess.run(['echo', 'NOISE'])",
    "the first stream": "import sys; print('NOISE', file=sys.__stdout__, flush=True)",
    "a stream it has kept": "print('NOISE', file=KEPT)",
    "click": "import click; click.echo('NOISE')",
    "a thread": "import threading; t = threading.Thread(target=print, args=['NOISE']); t.start(); t.join()",
}  # fmt: skip

PLUGIN = """
from sys import stdout as KEPT
from cxlocal.hooks.specs import hookimpl
def noise():
    {way}
noise()
@hookimpl
def cxlocal_event_recorded(event):
    noise()
"""

READER = """
import threading, time
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.report import ReportReader
def chatter():
    while True:
        print("NOISE"); time.sleep(0.01)
@hookimpl
def cxlocal_event_recorded(event):
    if not any(one.name == "chatter" for one in threading.enumerate()):
        threading.Thread(target=chatter, name="chatter").start()
"""


@pytest.fixture
def project(cx: Any, tmp_path: Path) -> Any:
    """Runs a command in a pushed project with one plugin."""
    tree = tmp_path / "work"
    (tree / ".cx" / "plugins").mkdir(parents=True)
    (tree / "cx.toml").write_text(
        'cx = 1\n[deliverable]\nname = "shop"\n[stages]\na = { command = "true" }\n'
    )

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=tree, check=True, capture_output=True)

    git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    git("init", "-q", ".")
    git("remote", "add", "origin", str(tmp_path / "remote.git"))

    def call(plugin: str, *words: str) -> Any:
        (tree / ".cx" / "plugins" / "noisy.py").write_text(plugin)
        git("add", "-A")
        git("commit", "-q", "--allow-empty", "-m", "it")
        git("push", "-q", "origin", "HEAD:main")
        cx.ok("trust", "--yes", cwd=tree)
        return cx.ok(*words, cwd=tree, timeout=30)

    return call


@pytest.mark.parametrize("way", WAYS)
def test_a_shell_is_told_nothing_that_a_plugin_says(project: Any, way: str) -> None:
    done = project(PLUGIN.format(way=WAYS[way]), "run", "start")
    lines = done.out.splitlines()
    assert [line.partition("=")[0] for line in lines] == [
        "export CXLOCAL_RUN", "export CXLOCAL_VERSION", "export CXLOCAL_REVISION",
    ]  # fmt: skip
    assert done.err.count("NOISE") >= 2  # at import, and in the hook


def test_a_program_neither_whatever_thread_says_it_and_whenever(project: Any) -> None:
    """Nor does the thread, which never ends, keep the command from ending."""
    done = project(READER, "run", "--json")
    assert done.json()["outcome"] == "success"
    assert "NOISE" in done.err


def test_the_process_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Who uses cxlocal as a library prints where he likes."""
    (tmp_path / "stray.py").write_text("print('data')\nimport os\nos.write(1, b'data\\n')\n")
    code = (
        "import sys; sys.path.append(sys.argv[1]); from cxlocal.hooks.manager import load;"
        " m = load({}, warn=print); m.each('cxlocal_register_tools');"
        " from cxlocal.processes import stdout; stdout.set_aside(); import stray"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=dict(os.environ), capture_output=True,
        check=True,
    )  # fmt: skip
    assert sorted(done.stdout.split()) == [b"data", b"data"]
