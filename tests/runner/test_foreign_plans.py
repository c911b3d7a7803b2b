"""A plan that another machine recorded is carried out only where it is what its commit says."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.events.belonging import mark_id
from cxlocal.events.machines import version_skipped
from cxlocal.events.resources import Intent, run_intended
from cxlocal.events.runs import RunRef, run_queued
from cxlocal.exchange.receive import take_event
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.journal.whereabouts import machine_mark

CONFIG = """
[version]
line = "2.7"
[stages]
unit = { kind = "test", command = "true" }
late = { command = "test -e FLAG", needs = ["unit"] }
[stages.live]
kind = "deploy"
command = "echo real"
needs = ["unit"]
environment = "production"
requires = ["READY"]
[promotions]
READY = {}
[environments]
production = { protected = true }
"""


def tell(home: Path, elsewhere: Path, run: str, *changes: tuple[str, str], place: int = 60) -> None:
    """What a member with every right may record on a machine of its own, as it comes to this one: the
    run again, with a plan whose digest is right."""
    with (
        Journal.open(home / "journal.db", clock=SystemClock(), ids=SystemIds()) as journal,
        Journal.open(elsewhere / "journal.db", clock=SystemClock(), ids=SystemIds()) as other,
    ):
        row = journal.one("SELECT document ->> '$.customData.cxlocal' AS facts FROM event e"
                          " JOIN run_lookup r ON r.id = e.run WHERE r.name = ? ORDER BY e.id", (run,))  # fmt: skip
        assert row is not None
        facts = json.loads(row["facts"])
        plan = facts["plan"]
        for old, new in changes:
            assert old in plan
            plan = plan.replace(old, new)
        facts = {**facts, "plan": plan, "plan_sha256": sha256(plan.encode()).hexdigest()}
        # The greater position in a chain holds.
        other.append(
            *[version_skipped(deliverable="x", line="1", lo=n, hi=n, why="") for n in range(place)]
        )
        other.append(run_queued(RunRef("shop", run, "shop", f"urn:uuid:{run}"), facts))
        with journal.write() as transaction:
            for _, event in all_events(other):
                take_event(transaction, event, None)


def test_what_another_machine_planned_is_compared_with_its_commit(
    shop: Any, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    shop.write(CONFIG.replace("FLAG", str(tmp_path / "flag")))
    assert shop.run().code == 1
    run = shop.last()
    ways = [
        ("deploy", "2.7.0", "--env", "production"),
        ("promote", "2.7.0", "READY"),
        ("run", "--resume", run[:8], "--no-input"),
    ]
    tell(shop.home, tmp_path / "one", run)
    assert shop.command(*ways[1]).code == 0, "what the commit says may come from anywhere"
    tell(
        shop.home, tmp_path / "two", run, ("echo real", f"touch {mark}"),
        ('"command":"true"', f'"command":"touch {mark}"'), place=70,
    )  # fmt: skip
    for way in ways:
        done = shop.command(*way)
        assert done.code == 3, (way, done.err)
        assert "is not what its commit says" in done.err
        assert f'stage unit: command is "touch {mark}" in the plan' in " ".join(done.err.split())
    assert not mark.exists()


def test_what_others_say_was_made_is_taken_away_as_the_commit_says(
    shop: Any, tmp_path: Path
) -> None:
    """A tool's options are commands, and an intent of another journal may claim to be of this machine."""
    mark, gone = tmp_path / "mark", tmp_path / "gone"
    shop.write(f"""
[stages]
try = {{ command = "true", environment = "test" }}
[environments.test]
lifetime = "per-run"
tool = "commands"
with = {{ provision = "true", destroy = "touch {gone}" }}
""")
    assert shop.run().code == 0
    gone.unlink()
    planned = {"provision": "true", "destroy": f"touch {gone}"}
    forged = {**planned, "destroy": f"touch {mark}"}
    for number, (options, tool, machine) in enumerate(
        [(forged, "commands", machine_mark()), (forged, "commands", ""), (planned, "cloud", "")]
    ):
        tell_made(shop, tmp_path / str(number), options, tool, machine)
        assert shop.run().code == 0
        done = shop.command("env", "reap")
        assert done.code == 9 and "is not in the plan of its run" in done.err, done.err
    assert not mark.exists()
    gone.unlink()
    tell_made(shop, tmp_path / "true", planned, "commands", "")
    assert shop.command("env", "reap").code == 9, "what is not as planned stays due"
    assert gone.exists() and not mark.exists(), "what the commit says is taken away"
    done = shop.command("-C", str(tmp_path), "env", "reap")
    assert done.code == 9 and not mark.exists(), done.err


def tell_made(shop: Any, elsewhere: Path, options: Any, tool: str, machine: str) -> None:
    """What a journal elsewhere records of a run of this one that is over, as it comes to this one."""
    elsewhere.mkdir()
    run = shop.query("SELECT id FROM run ORDER BY queued_at LIMIT 1")[0]
    intent = Intent(
        resource=mark_id(SystemIds().uuid(), "shop"), component="", environment="test",
        instance=f"test-{run[:8]}-{elsewhere.name}", lifetime="per-run", stage="provision-test",
        stage_run="", tool=tool, verb="provision", options=options, handle={"resource": "x"},
        machine=machine,
    )  # fmt: skip
    with (
        Journal.open(shop.home / "journal.db", clock=SystemClock(), ids=SystemIds()) as journal,
        Journal.open(elsewhere / "journal.db", clock=SystemClock(), ids=SystemIds()) as other,
    ):
        other.append(run_intended(RunRef("shop", run, "shop", f"urn:uuid:{run}"), intent))
        with journal.write() as transaction:
            for _, event in all_events(other):
                take_event(transaction, event, None)
