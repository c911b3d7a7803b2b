"""The main job: one release with the store up and one with the store down, from nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import cxlocal
from cxlocal.demo.story import ACTS, BEGINNING, OUTAGE, DemoFolders, write_fix, write_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PROGRAM = str(Path(sys.executable).with_name("cxlocal"))


def processes_in(folder: Path) -> list[str]:
    """Command lines of processes that know the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                where = os.readlink(entry / "cwd")
            except OSError:
                continue
            if str(folder) in line or where.startswith(str(folder)):
                found.append(line)
    return found


def facts(runs: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(run["version"], run["outcome"], run["number_state"], run["online"]) for run in runs]


EXPECTED = [
    ("1.0.0", "success", "in use, confirmed", 1),
    ("1.0.100", "success", "in use, confirmed", 0),
]


@pytest.mark.needs("unshare", "ip")
def test_the_demo_needs_no_network_and_leaves_nothing(tmp_path: Path) -> None:
    """In a network namespace that has a loopback and nothing else."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    script = 'ip link set lo up && exec "$0" demo --json'
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", script, PROGRAM], capture_output=True, text=True,
        env=environment, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert facts(summary["runs"]) == EXPECTED
    assert [row["version"] for row in summary["board"]] == ["1.0.100"]
    for words in (
        "The store goes away",
        "number from the reserve",
        "webshop: in step with the store",
    ):
        assert words in done.stderr
    assert not Path(summary["folder"]).exists(), "the folder is removed"
    assert processes_in(tmp_path) == [], "no process stays behind"


def test_kept_it_can_be_played_with(tmp_path: Path, cx: Any) -> None:
    folder = tmp_path / "kept"
    said = cx.ok("demo", "--keep", folder, timeout=100)
    assert "Now try" in said.err
    place = DemoFolders(folder)
    try:
        board = json.loads(cx.ok("status", "--json", cwd=place.shop).out)["live"]
        assert [(row["version"], row["state"]) for row in board] == [
            ("1.0.100", "in use, confirmed")
        ]
        with urllib.request.urlopen(f"{board[0]['uri']}/version", timeout=5) as answer:
            assert json.load(answer) == "1.0.100"
        for tried in (
            ["show"], ["version", "explain", "50"], ["verify"], ["log"], ["doctor"],
            ["sql", "SELECT count(*) FROM run"], ["browse", "--get", "/"],
        ):  # fmt: skip
            cx.ok(*tried, cwd=place.shop)
        assert "passed over" in cx.ok("version", "explain", "50", cwd=place.shop).out
        cx.ok("rollback", "production", cwd=place.shop)
        with urllib.request.urlopen(f"{board[0]['uri']}/version", timeout=5) as answer:
            assert json.load(answer) == "1.0.0"
        # Taken down and put up again: the same bytes, on the board again.
        cx.ok("env", "destroy", "production", "--yes", cwd=place.shop)
        assert json.loads(cx.ok("status", "--json", cwd=place.shop).out)["live"] == []
        cx.ok("deploy", "1.0.100", "--to", "production", cwd=place.shop)
        board = json.loads(cx.ok("status", "--json", cwd=place.shop).out)["live"]
        assert [row["version"] for row in board] == ["1.0.100"]
    finally:
        cx.ok("env", "destroy", "production", "--yes", cwd=place.shop)
    assert processes_in(folder) == []


@pytest.mark.heavy  # the demo runs the same commands
def test_typed_by_hand_its_commands_give_the_same(tmp_path: Path, cx: Any) -> None:
    place = DemoFolders(tmp_path)
    try:
        for act in ACTS:
            if act is BEGINNING:
                write_project(place)
                cx.ok("trust", "--yes", cwd=place.shop)  # the demo agrees to what it wrote itself
            if act is OUTAGE:
                write_fix(place)
            for command in act.commands:
                words = [PROGRAM if word == "cxlocal" else word for word in command]
                subprocess.run(words, cwd=place.shop, check=True, capture_output=True)
        sql = "SELECT * FROM run_board WHERE kind = 'release' ORDER BY queued_at"
        assert facts(json.loads(cx.ok("sql", "--json", sql, cwd=place.shop).out)) == EXPECTED
    finally:
        cx.ok("env", "destroy", "production", "--yes", cwd=place.shop)


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path, cx: Any) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    refused = cx("demo", "--keep", tmp_path)
    assert refused.code == 2 and "not empty" in refused.err
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_code_does_not_know_the_demo() -> None:
    """No branch in the code knows it: nothing but its own command imports or names it."""
    root = Path(cxlocal.__file__).parent
    own = {root / "demo", root / "commands" / "demo.py", root / "commands" / "table.py"}
    for path in root.rglob("*.py"):
        if path not in own and not own & set(path.parents):
            code = _code(path)
            assert "cxlocal.demo" not in code and "'demo'" not in code, path


def _code(path: Path) -> str:
    """The text of a module without docstrings and comments."""
    import ast

    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = ""
    return ast.unparse(tree)


def test_git_is_needed_and_said_so(tmp_path: Path, cx: Any) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    os.symlink(shutil.which("mv") or "/bin/mv", empty / "mv")
    said = cx("demo", "--keep", tmp_path / "d", env={"PATH": str(empty)})
    assert said.code != 0 and "git" in said.err
