"""What a stage costs more where its logs, figures, events and spans are delivered to sinks.

``python tests/bench/sinks.py`` with the Python that has cxlocal installed. Processor time (of the command
and all it starts) for 2 and for 22 stages of 200 lines each: what 20 stages cost is the difference. No sink
is asked while stages run, so the runs compared are ``--offline``; what delivering costs afterwards, in a
process of its own, is told beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FEW, MANY = 2, 22
LINES = 200
ALLOWED = 1.05
ROUNDS = 9
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


def seconds(tree: Path, home: Path, sinks: dict[str, str], *words: str) -> float:
    """Processor time of a release there."""
    program = str(Path(sys.executable).with_name("cxlocal"))
    environ = {**os.environ, **sinks, "CXLOCAL_HOME": str(home)}
    process = subprocess.Popen(
        [program, "run", "--no-input", *words], cwd=tree, env=environ, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trees = {count: project(folder, count) for count in (FEW, MANY)}
        sinks = {f"CXLOCAL_SINK_{kind.upper()}": f"file:{folder}/{kind}" for kind in KINDS}
        cases = {
            "without sinks": ({}, ("--offline",)),
            "with sinks": (sinks, ("--offline",)),
            "with sinks, delivered": (sinks, ()),
        }
        best: dict[str, dict[int, float]] = {case: {} for case in cases}
        for case, (chosen, _) in cases.items():
            for count, tree in trees.items():
                seconds(tree, folder / f"{case} {count}", chosen)  # makes the journal
        for _ in range(ROUNDS):
            for case, (chosen, words) in cases.items():
                for count, tree in trees.items():
                    taken = seconds(tree, folder / f"{case} {count}", chosen, *words)
                    best[case][count] = min(taken, best[case].get(count, taken))
    stage = {
        case: round((found[MANY] - found[FEW]) / (MANY - FEW) * 1000, 3)
        for case, found in best.items()
    }
    ratio = stage["with sinks"] / stage["without sinks"]
    print(
        json.dumps({"a stage, ms": stage, "ratio": round(ratio, 3), "allowed": ALLOWED}, indent=1)
    )
    return int(ratio > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
