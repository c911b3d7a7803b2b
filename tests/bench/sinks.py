"""What a stage costs more where its logs, figures, events and spans are delivered to sinks.

``python tests/bench/sinks.py`` with the Python that has cxlocal installed, and valgrind. Instructions of the
process of ``cxlocal run`` itself, which do not depend on what else the machine does, for 2 and for 32 stages of
200 lines each: what 30 stages cost is the difference. No sink is asked while stages run, so both
are ``--offline``: delivering is the work of another process, afterwards.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FEW, MANY = 2, 32
LINES = 200
ALLOWED = 1.05
KINDS = ("events", "logs", "metrics", "spans")
GIT = ["git", "-c", "user.name=Bench", "-c", "user.email=bench@example.org"]


def project(folder: Path, stages: int) -> Path:
    """A pushed project with so many stages."""
    tree = folder / f"tree{stages}"
    tree.mkdir()
    lines = [
        f's{n} = {{ command = "for i in $(seq {LINES}); do echo line $i; done" }}'
        for n in range(stages)
    ]
    head = 'cx = 1\n[deliverable]\nname = "bench"\n[defaults]\njobs = 1\n[stages]\n'
    (tree / "cx.toml").write_text(head + "\n".join(lines) + "\n")
    remote = str(folder / f"remote{stages}.git")
    for words in (
        ["init", "-q", "--bare", remote], ["init", "-q", "."], ["add", "-A"],
        ["commit", "-q", "-m", "bench"], ["remote", "add", "origin", remote],
        ["push", "-q", "-u", "origin", "HEAD:main"],
    ):  # fmt: skip
        subprocess.run([*GIT, *words], cwd=tree, check=True, capture_output=True)
    return tree


def instructions(
    tree: Path, home: Path, sinks: dict[str, str], *words: str, counted: bool = True
) -> int:
    """Instructions of the process of a release there."""
    program = str(Path(sys.executable).with_name("cxlocal"))
    environ = {**os.environ, **sinks, "CXLOCAL_HOME": str(home), "PYTHONHASHSEED": "0"}
    counting = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"] if counted else []
    done = subprocess.run(
        [*counting, sys.executable, program, "run", "--no-input", *words], cwd=tree, env=environ,
        check=True, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    # What it forks, before that starts another program, tells of itself, too.
    return max(map(int, re.findall(r"Collected : (\d+)", done.stderr)), default=0)


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trees = {count: project(folder, count) for count in (FEW, MANY)}
        sinks = {f"CXLOCAL_SINK_{kind.upper()}": f"file:{folder}/{kind}" for kind in KINDS}
        cases = {
            "without sinks": ({}, ("--offline",)),
            "with sinks": (sinks, ("--offline",)),
        }
        found: dict[str, dict[int, int]] = {case: {} for case in cases}
        for case, (chosen, words) in cases.items():
            for count, tree in trees.items():
                home = folder / f"{case} {count}"
                instructions(tree, home, chosen, counted=False)  # makes the journal
                found[case][count] = instructions(tree, home, chosen, *words)
    stage = {case: round((each[MANY] - each[FEW]) / (MANY - FEW)) for case, each in found.items()}
    ratio = stage["with sinks"] / stage["without sinks"]
    print(
        json.dumps(
            {"a stage, instructions": stage, "ratio": round(ratio, 3), "allowed": ALLOWED}, indent=1
        )
    )
    return int(ratio > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
