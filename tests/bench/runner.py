"""What a run costs: stages that do nothing, against a bare loop and against other runners.

``python tests/bench/runner.py [ROUNDS]`` with the Python that has cxlocal installed. The peers are
measured where they are installed beside it (``pip install nox tox invoke doit rust-just go-task-bin``) or
on the PATH (make); others are listed as absent. What they make durable is nothing. The floor is a Python process that runs ``/bin/true`` twelve times and writes two durable
rows around each, in the SQLite mode of the journal (TRUNCATE, FULL). The stages form a chain, work in
place, and the store of this machine answers.

The cost of a stage is (twelve stages − one stage) / 11, so that starting is left out of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rounds import Case, command, measure, ratios, report, rounds_wanted

STAGES = 12
STAGE_ALLOWED = 2.0
WHOLE_ALLOWED = 3.5
NOX_ALLOWED = {1: 1.25, STAGES: 1.4}
"""A whole run, by its stages, against nox with as many sessions and no environment."""

LOOP = """\
import sqlite3, subprocess, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=TRUNCATE").fetchall()
connection.execute("PRAGMA synchronous=FULL")
connection.execute("CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY, document TEXT)")

def write(text):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO event (document) VALUES (?)", (text,))
    connection.execute("COMMIT")

for number in range(int(sys.argv[2])):
    write(f"step {number} began " + "x" * 700)
    subprocess.run(["/bin/true"], check=True)
    write(f"step {number} ended " + "x" * 700)
"""

NOX = "import nox\n" + "\n".join(
    f"@nox.session(python=False)\ndef s{number}(session):\n"
    '    session.run("/bin/true", external=True)\n'
    for number in range(STAGES)
)
DOIT = "\n".join(
    f'def task_s{number}():\n    return {{"actions": ["/bin/true"]}}\n' for number in range(STAGES)
)
JUST = "all: " + " ".join(f"s{n}" for n in range(STAGES)) + "\n" + "\n".join(
    f"s{n}:\n    @/bin/true" for n in range(STAGES)
) + "\n"  # fmt: skip
MAKE = JUST.replace("    @", "\t@")
TASK = "version: '3'\ntasks:\n  all:\n    deps: []\n    cmds:\n" + "".join(
    f"      - task: s{n}\n" for n in range(STAGES)
) + "".join(f"  s{n}:\n    cmds: [/bin/true]\n" for n in range(STAGES))  # fmt: skip
TOX = (
    "env_list = ["
    + ", ".join(f'"s{number}"' for number in range(STAGES))
    + ']\nno_package = true\n[env_run_base]\nskip_install = true\nallowlist_externals = ["/bin/true"]\n'
    'commands = [["/bin/true"]]\n'
)
INVOKE = (
    "from invoke import task\n"
    + "\n".join(f'@task\ndef s{n}(c):\n    c.run("/bin/true")\n' for n in range(STAGES))
    + "\n@task(pre=["
    + ", ".join(f"s{number}" for number in range(STAGES))
    + "])\ndef all(c):\n    pass\n"
)


PEERS = {
    "nox, 1 step": ["-s", "s0"], f"nox, {STAGES} steps": [], f"tox, {STAGES} steps": ["-q"],
    f"invoke, {STAGES} steps": ["all"], f"doit, {STAGES} steps": [], f"just, {STAGES} steps": ["all"],
    f"go-task, {STAGES} steps": ["all"], f"make, {STAGES} steps": ["all"],
}  # fmt: skip
PROGRAMS = {"go-task": "task"}


def project(root: Path, stages: int) -> Case:
    """A deliverable of ``stages`` stages in a chain; a case that releases it."""
    tree = root / f"project-{stages}"
    tree.mkdir()
    lines = [
        f's{number} = {{ command = ["/bin/true"]'
        + (f', needs = ["s{number - 1}"]' if number else "")
        + " }"
        for number in range(stages)
    ]
    (tree / "cx.toml").write_text(
        f'cx = 1\n[deliverable]\nname = "bench-{stages}"\n'
        '[defaults]\nworkspace = "in-place"\n[stages]\n' + "\n".join(lines) + "\n"
    )
    remote = str(root / f"remote-{stages}.git")
    environ = {
        **os.environ,
        "CXLOCAL_HOME": str(root / f"home-{stages}"),
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "Bench",
        "GIT_CONFIG_KEY_1": "user.email",
        "GIT_CONFIG_VALUE_1": "bench@example.org",
    }
    environ.pop("CI", None)
    for argv in (
        ["git", "init", "-q", "--bare", remote],
        ["git", "init", "-q", "."],
        ["git", "remote", "add", "origin", remote],
        ["git", "add", "-A"],
        ["git", "commit", "-qm", "first"],
        ["git", "push", "-q", "origin", "HEAD:main"],
    ):
        subprocess.run(argv, cwd=tree, env=environ, check=True)
    program = str(Path(sys.executable).with_name("cxlocal"))
    argv = [program, "-q", "run"]
    return command(argv, cwd=tree, env=environ, stderr=subprocess.DEVNULL)


def loop(root: Path, steps: int) -> Case:
    """The floor."""
    script = root / "loop.py"
    script.write_text(LOOP)
    return command([sys.executable, str(script), str(root / "loop.db"), str(steps)])


def peers(root: Path) -> tuple[dict[str, Case], list[str]]:
    """The peers that are installed, and the names of those that are not."""
    for name, text in (
        ("noxfile.py", NOX), ("tox.toml", TOX), ("tasks.py", INVOKE), ("dodo.py", DOIT),
        ("justfile", JUST), ("Makefile", MAKE), ("Taskfile.yml", TASK),
    ):  # fmt: skip
        (root / name).write_text(text)
    found: dict[str, Case] = {}
    absent = []
    for case, arguments in PEERS.items():
        name = case.split(",")[0]
        beside = Path(sys.executable).with_name(PROGRAMS.get(name, name))
        program = str(beside) if beside.exists() else shutil.which(beside.name)
        if program is None:
            absent.append(case)
        else:
            found[case] = command([program, *arguments], cwd=root, stderr=subprocess.DEVNULL)
    return found, absent


def per_stage(seconds: dict[str, list[float]], whole: str, one: str) -> list[float]:
    """The cost of one more stage, round by round."""
    return [(a - b) / (STAGES - 1) for a, b in zip(seconds[whole], seconds[one], strict=True)]


def main() -> int:
    """Measure and print; 1 when a bar is missed."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        others, absent = peers(root)
        cases: dict[str, Any] = {
            "loop, 1 step": loop(root, 1),
            f"loop, {STAGES} steps": loop(root, STAGES),
            "cxlocal run, 1 stage": project(root, 1),
            f"cxlocal run, {STAGES} stages": project(root, STAGES),
            **others,
        }
        # Two warm-up rounds: the first release of a journal makes its tables, the second none.
        processor: dict[str, list[float]] = {}
        seconds = measure(cases, rounds=rounds_wanted(), warm_up=2, processor=processor)
    seconds["one more step of the loop"] = per_stage(
        seconds, f"loop, {STAGES} steps", "loop, 1 step"
    )
    seconds["one more stage of cxlocal"] = per_stage(
        seconds, f"cxlocal run, {STAGES} stages", "cxlocal run, 1 stage"
    )
    whole = {1: "cxlocal run, 1 stage", STAGES: f"cxlocal run, {STAGES} stages"}
    bars = [
        ("one more stage of cxlocal", "one more step of the loop", STAGE_ALLOWED),
        (whole[STAGES], f"loop, {STAGES} steps", WHOLE_ALLOWED),
        *(
            (whole[steps], name, allowed)
            for steps, allowed in NOX_ALLOWED.items()
            for name in others
            if name.startswith(f"nox, {steps} step")
        ),
    ]
    of_processor = {
        f"{case} / {floor}": ratios(processor, case, floor) for case, floor, _ in bars[1:]
    } | {"least": {name: round(min(values), 4) for name, values in processor.items()}}
    beside = {name: ratios(seconds, whole[STAGES], name) for name in others if "1 step" not in name}
    return report("runner", seconds, bars, beside=beside, processor=of_processor, absent=absent)


if __name__ == "__main__":
    sys.exit(main())
