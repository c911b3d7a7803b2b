"""Signals during a run: recorded as cancel, over within ten seconds, the second ends at once."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cxlocal.processes.identity import identity

HANG = """
[stages]
slow = {{ command = "{command}" }}
after = {{ command = "true", needs = ["slow"] }}
"""


def wait_for(path: Path, seconds: float = 15.0) -> None:
    """Wait until a file exists."""
    until = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert path.exists(), f"{path} did not appear"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_recorded_as_cancel(shop: Any, tmp_path: Path, number: signal.Signals) -> None:
    flag = tmp_path / "flag"
    shop.write(HANG.format(command=f"touch {flag}; sleep 60"))
    process = shop.start("run")
    wait_for(flag)
    began = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number, err.decode()
    assert f"To do: cxlocal run --resume {shop.last()[:8]}\n" in err.decode()
    assert time.monotonic() - began < 10
    assert shop.query("SELECT outcome, outcome_reason FROM run") == [
        ("cancel", f"cancelled by {number.name}")
    ]
    assert shop.outcomes() == {"slow": "cancel"}
    assert shop.query("SELECT DISTINCT state FROM number_uses") == ["in use, confirmed"]
    flag.unlink()
    again = shop.start("run", "--resume", "0.1.0")
    wait_for(flag)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=20)
    assert shop.query("SELECT stage, attempt, outcome FROM stage_run") == [
        ("slow", 1, "cancel"),
        ("slow", 2, "cancel"),
    ]


def test_a_second_signal_ends_at_once_and_nothing_runs_on(shop: Any, tmp_path: Path) -> None:
    """The stage ignores SIGTERM and would be waited for; its pid tells that it is gone."""
    flag = tmp_path / "pid"
    command = (
        f"trap : TERM; echo $$ > {flag}.new; mv {flag}.new {flag}; while :; do sleep 1 || :; done"
    )
    shop.write(HANG.format(command=command))
    process = shop.start("run")
    wait_for(flag)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert time.monotonic() - began < 1.5
    assert process.returncode == -signal.SIGTERM
    time.sleep(0.2)
    assert identity(int(flag.read_text())) is None
    done = shop.run("--to", "slow", "--dry-run")
    assert done.code == 0
    assert shop.query("SELECT outcome FROM run") == [None]
    shop.write('[stages]\na = { command = "true" }\n')
    assert "had been cut off" in shop.run().err
    assert shop.query("SELECT outcome FROM run ORDER BY queued_at") == ["error", "success"]


def test_kill_9_leaves_no_stage_running(shop: Any, tmp_path: Path) -> None:
    flag = tmp_path / "pid"
    shop.write(HANG.format(command=f"echo $$ > {flag}.new; mv {flag}.new {flag}; sleep 300; true"))
    process = shop.start("run")
    wait_for(flag)
    process.kill()
    process.communicate()
    pid = int(flag.read_text())
    assert identity(pid) is not None
    cut = shop.last()
    assert "cut off: its process here is gone" in shop.command("status").out
    assert "1 run was cut off" in shop.command("env", "reap", "--dry-run").err
    done = shop.run("--resume", "0.1.0", "--to", "slow", "--dry-run")
    assert done.code == 0
    shop.write('[stages]\nslow = { command = "true" }\n')
    assert shop.run().code == 0
    assert identity(pid) is None
    assert shop.query("SELECT outcome FROM run WHERE id = ?", cut) == ["error"]


def test_nohup_is_respected(shop: Any, tmp_path: Path) -> None:
    """SIGHUP ignored by who started us stays ignored."""
    flag = tmp_path / "flag"
    shop.write(HANG.format(command=f"touch {flag}; sleep 1"))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = shop.start("run")
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for(flag)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err.decode()


def test_without_machine_ids_another_boot_is_no_proof_of_death(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers without an id on one shared home: a run of one is not ended by the other."""
    from cxlocal.clock import SystemClock, SystemIds
    from cxlocal.journal.file import Journal
    from cxlocal.runner.orphans import here, orphans, register

    path = shop.home / "journal.db"
    for raw, dead in (("", False), ("0123456789abcdef", True)):
        monkeypatch.setattr("cxlocal.runner.orphans.machine_id", lambda raw=raw: raw)
        with Journal.open(path, clock=SystemClock(), ids=SystemIds()) as journal:
            with journal.write() as transaction:
                register(transaction, f"run {raw}", "cxlocal run")
            machine, _, boot = here().partition(" ")
            another = f"{machine} another-boot{boot[12:]}"
            with journal.write() as transaction:
                transaction.connection.execute(
                    "UPDATE process SET boot = ?, pid = 1 WHERE run = ?", (another, f"run {raw}")
                )
            assert (f"run {raw}" in [one.run for one in orphans(journal)]) is dead
