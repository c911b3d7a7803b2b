"""P12: kill -9 at random moments of whole runs, and what the next command makes of it."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RELEASE = """
[stages]
build = { kind = "build", command = "echo made > app", produces = { app = "app" } }
up = { kind = "deploy", command = "sleep 0.05", needs = ["build"], environment = "test" }
unit = { kind = "test", command = "grep made $CXLOCAL_ARTIFACT_APP", needs = ["build"] }
smoke = { command = "sleep 0.05", needs = ["up"], environment = "test" }
[environments]
test = { lifetime = "per-run" }
[promotions]
PASSED = { after = ["unit", "smoke"] }
"""
KILLS = 6
DONE = re.compile(r"^  ✓ (\w+)", re.MULTILINE)
TAKEN = re.compile(r"^Releasing shop (\S+) .*?^  run +(\S+)", re.MULTILINE | re.DOTALL)


def test_p12_kill_9_at_random_moments_of_a_run(
    shop: Any, account: Callable[[Path], list[int]]
) -> None:
    """Whatever a killed run had said is on record, and everything it began has an end."""
    shop.write(RELEASE)
    began = time.monotonic()
    assert shop.run().code == 0
    whole = time.monotonic() - began
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    told: list[tuple[str, str, set[str]]] = []
    killed = 0
    for _ in range(KILLS):
        process = shop.start("run")
        time.sleep(moments.uniform(0.2, 1) * whole)
        process.kill()
        _, said = process.communicate(timeout=30)
        killed += process.returncode == -9
        words = said.decode()
        taken = TAKEN.search(words)
        if taken is not None:
            told.append((taken[1], taken[2], set(DONE.findall(words))))
    assert killed > 0, "no run was met: nothing was tested"
    after = shop.run()
    assert after.code == 0, f"seed {seed}: {after.err}"
    numbers = account(shop.home)
    for version, run, stages in told:
        assert shop.query("SELECT version FROM run WHERE id = ?", run) == [version], f"seed {seed}"
        recorded = shop.query(
            "SELECT stage FROM stage_run WHERE run = ? AND outcome = 'success'", run
        )
        assert stages <= set(recorded), f"seed {seed}"
    for nothing_open in (
        "SELECT count(*) FROM run WHERE outcome IS NULL",
        "SELECT count(*) FROM stage_run WHERE started_at IS NOT NULL AND outcome IS NULL",
        "SELECT count(*) FROM environment WHERE lifetime = 'per-run' AND deleted_at IS NULL",
        "SELECT count(*) FROM process",
        "SELECT count(*) FROM resources_now WHERE lifetime = 'per-run'",
    ):
        assert shop.query(nothing_open) == [0], f"seed {seed}: {nothing_open}"
    assert shop.command("sync").code == 0
    states = json.loads(shop.command("version", "list", "--json").out)
    assert states and all(row["state"] for row in states)
    assert shop.query("SELECT number FROM run WHERE id = ?", shop.last()) == [max(numbers)]
    # Checkouts of runs that died before they were on record go when they are old.
    for path in (shop.home / "checkouts").iterdir():
        os.utime(path, (0, 0))
    assert shop.command("prune").code == 0
    left = {path.name for path in (shop.home / "checkouts").iterdir()}
    assert left <= set(shop.query("SELECT id FROM run")), f"seed {seed}"
    account(shop.home)
