"""P1, P2, P3 and P7 under kill -9: the stress script with as many numbers as fit the suite."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_p1_p2_p3_p7_eight_processes_under_kill_9(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "bench" / "reserve_stress.py"
    done = subprocess.run(
        [sys.executable, str(script), "--numbers", "2000", "--limit-seconds", "25",
         "--folder", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["numbers"] >= 300, "too slow to say anything"
    assert found["kills"] > 10
    assert found["offline"] > 0
