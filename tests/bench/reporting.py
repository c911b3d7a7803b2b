"""How long a reporting command takes, against a bare click group with one command.

``python tests/bench/reporting.py [ROUNDS]`` with the Python that has cxlocal installed, the package
compiled (as an installer leaves it). A pure report finds the run, opens the journal, appends
durably and exits. ``stage -- true`` does that twice and runs a program in between.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rounds import command, measure, report, rounds_wanted
from startup import BARE_MODULE, BARE_SCRIPT

ALLOWED = 1.6

PROJECT = 'cx = 1\n[deliverable]\nname = "bench"\n[stages]\nbuild = { command = "true" }\n'


def main() -> int:
    """Measure and print."""
    python = sys.executable
    program = str(Path(python).with_name("cxlocal"))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bare.py").write_text(BARE_MODULE)
        script = Path(folder) / "bare-script"
        script.write_text(BARE_SCRIPT.format(folder=folder))
        _begin_run(Path(folder), program)
        seconds = measure(
            {
                "bare command": command([python, str(script), "hello"]),
                "true": command(["true"]),
                "stage --began": command([program, "stage", "a", "--began"]),
                "stage --ended": command([program, "stage", "a", "--ended", "success"]),
                "stage -- true": command([program, "stage", "b", "--", "true"]),
            },
            rounds=rounds_wanted(),
            warm_up=2,
        )
    return report(
        "reporting commands",
        seconds,
        [
            ("stage --began", "bare command", ALLOWED),
            ("stage --ended", "bare command", ALLOWED),
            ("stage -- true", "bare command", 2.0),
        ],
    )


def _begin_run(folder: Path, program: str) -> None:
    """A pushed project and an open run, named by the environment as ``run start`` has it."""
    tree = folder / "tree"
    tree.mkdir()
    (tree / "cx.toml").write_text(PROJECT)
    who = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org"]
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "cx.toml"],
        [*who, "commit", "-q", "-m", "first"],
        ["init", "-q", "--bare", str(folder / "remote.git")],
        ["remote", "add", "origin", str(folder / "remote.git")],
        ["push", "-q", "origin", "main"],
    ):
        subprocess.run(["git", *words], cwd=tree, check=True)
    os.environ["CXLOCAL_HOME"] = str(folder / "home")
    os.chdir(tree)
    lines = subprocess.run(
        [program, "-q", "run", "start"], check=True, capture_output=True, text=True
    ).stdout
    for line in lines.splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        os.environ[name] = value


if __name__ == "__main__":
    sys.exit(main())
