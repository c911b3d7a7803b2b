"""What a release costs a project of half a minute: by hand, and by ``cxlocal run``.

``python tests/bench/overhead.py [ROUNDS [TESTS]]`` with the Python that has cxlocal installed. The project is
mpmath, as the package index has it. By hand is what a person would do for a clean release:
clone what the remote has, build the wheel, run the tests. ``cxlocal run`` does the same commands as
two stages; beyond them it proves the push, takes a number, stamps it, keeps artifact, report and logs.

Beside the seconds of the clock stand those of the processor: where others work on the machine, they
differ less from round to round.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "real"))

from archives import pushed, pypi, unpacked
from rounds import measure, ratios, report, rounds_wanted, summary

PROJECT = ("mpmath", "1.3.0")
TESTS = sys.argv[2] if len(sys.argv) > 2 else "mpmath/tests"
"""A part of them, where the machine is busy and half a minute is ten."""
ROUNDS = 3
ALLOWED = 1.1

PYTHON = sys.executable
BUILD = f"{PYTHON} -m pip wheel --quiet --no-deps -w dist ."
TEST = f"{PYTHON} -m pytest -q -p no:cacheprovider --junitxml=junit.xml {TESTS}"
CONFIG = f"""\
cx = 1
[deliverable]
name = "mpmath"
[version]
scheme = "pep440"
line = "1.3"
from = 1
stamp = [{{ file = "mpmath/__init__.py", pattern = "^__version__ = '([^']+)'" }}]
[stages]
build = {{ kind = "build", command = "{BUILD}", produces = {{ wheel = "dist/*.whl" }}, pass_env = ["PIP_*"] }}
unit = {{ kind = "test", command = "{TEST}", needs = ["build"], reports = {{ junit = "junit.xml" }} }}
"""


def by_hand(remote: Path, folder: Path) -> None:
    """Clone, build, test."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", str(remote), str(folder)], check=True)
    for command in (BUILD, TEST):
        subprocess.run(["sh", "-euc", command], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def released(tree: Path) -> None:
    """One release."""
    program = str(Path(PYTHON).with_name("cxlocal"))
    subprocess.run([program, "run"], cwd=tree, check=True)


def main() -> int:
    """Prepare, measure, print."""
    with tempfile.TemporaryDirectory(prefix="cxlocal-bench-") as name:
        root = Path(name)
        identity = {"NAME": "Bench", "EMAIL": "bench@example.org"}
        for who in ("AUTHOR", "COMMITTER"):
            os.environ |= {f"GIT_{who}_{key}": value for key, value in identity.items()}
        os.environ["CXLOCAL_HOME"] = str(root / "home")
        tree = unpacked(pypi(*PROJECT, root), root / "unpacked")
        (tree / "cx.toml").write_text(CONFIG)
        pushed(tree, root / "remote.git")
        spent: dict[str, list[float]] = {"by hand": [], "cxlocal run": []}

        def counted(case: str, work: Callable[[], None]) -> None:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            work()
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent[case].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

        seconds = measure(
            {
                "by hand": lambda: counted("by hand", lambda: by_hand(root / "remote.git", root / "clone")),
                "cxlocal run": lambda: counted("cxlocal run", lambda: released(tree)),
            },
            rounds=rounds_wanted(ROUNDS), warm_up=0, fewest=ROUNDS,
        )  # fmt: skip
    return report(
        "one release of a project of half a minute", seconds,
        [("cxlocal run", "by hand", ALLOWED)],
        processor={
            "milliseconds": {case: summary(all_, scale=1000) for case, all_ in spent.items()},
            "ratio": ratios(spent, "cxlocal run", "by hand"),
        },
        project=" ".join(PROJECT),
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
