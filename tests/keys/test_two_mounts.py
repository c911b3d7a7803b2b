"""Machines that reach one folder by mounts that share no locks (F28), some killed at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.keys.store import KeyStore
from numbers_kit import open_journal, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.exchange.contact import bind_address
from cxlocal.exchange.sync import synchronise
from cxlocal.numbers.ledger import ledger

WORKER = Path(__file__).with_name("worker.py")
MACHINES, COUNT = 4, 25


def start(url: str, home: Path, name: str, out: Path) -> subprocess.Popen[bytes]:
    with out.open("ab") as handle:
        return subprocess.Popen(
            [sys.executable, str(WORKER), url, str(home), name, str(COUNT)],
            stdout=handle, stderr=subprocess.STDOUT,
        )  # fmt: skip


def printed(path: Path) -> list[int]:
    lines = path.read_text().splitlines()
    wrong = [line for line in lines if line != "ready" and not line.startswith("# ")]
    return [int(line) for line in wrong]


@pytest.mark.needs("bindfs")
def test_two_mounts_without_locks_and_kills(
    share: Path, mount: Callable[..., Any], tmp_path: Path, seen_by: Callable[..., KeyStore]
) -> None:
    urls = [f"folder://{mount(share, name).point}" for name in ("here", "there")]
    outs = [tmp_path / f"out{index}" for index in range(MACHINES)]
    running = [
        start(urls[index % 2], tmp_path / f"m{index}", f"m{index}", outs[index])
        for index in range(MACHINES)
    ]
    # Two of them are killed again and again wherever they are, and started anew.
    for turn in range(8):
        time.sleep(0.4 + turn * 0.037)
        for index in (0, 1):
            running[index].send_signal(signal.SIGKILL)
            running[index].wait()
            running[index] = start(
                urls[index], tmp_path / f"m{index}", f"m{index}k{turn}", outs[index]
            )
    for process in running:
        assert process.wait(timeout=45) == 0
    numbers = [number for out in outs for number in printed(out)]
    assert len(numbers) == len(set(numbers)), "one number was handed out twice"
    assert len(numbers) >= 2 * COUNT
    for out in outs:
        assert printed(out) == sorted(printed(out))
    journals = [open_journal(tmp_path / f"m{index}") for index in range(MACHINES)]
    for _ in range(2):
        for index, journal in enumerate(journals):
            store = seen_by(share, f"m{index}")
            bind_address(journal, store.url)  # the same share, where it is known by that path
            report = synchronise(journal, store, use_breaker=False, budget_seconds=20)
            assert (report.reached, report.pending, report.stopped) == (True, 0, ""), report
    seen = [
        [
            (row["number"], row["run"])
            for row in journal.query("SELECT number, run FROM version ORDER BY number")
        ]
        for journal in journals
    ]
    assert all(each == seen[0] for each in seen)
    assert {number for number, _ in seen[0]} >= set(numbers)
    spans = ledger(journals[0], "webshop", "2.7")
    covered = [number for span in spans for number in range(span.lo, span.hi + 1)]
    assert covered == list(range(len(covered))), "a number has no state, or two"
    for journal in journals:
        journal.close()
    assert len(os.listdir(share / "tmp")) <= 16, "more than what the killed ones left"


@pytest.mark.needs("bindfs")
def test_what_one_mount_granted_the_other_sees_at_once(
    share: Path, mount: Callable[..., Any], seen_by: Callable[..., KeyStore], machine: Any
) -> None:
    """P5: if one answer came before the next question, its number is lower."""
    points = [mount(share, name).point for name in ("here", "there")]
    stores = [seen_by(point, name) for point, name in zip(points, ("one", "two"), strict=True)]
    journals = [machine("one"), machine("two")]
    numbers = [
        obtain_number(journals[turn % 2], stores[turn % 2], request(f"r{turn}", reserve=0)).number
        for turn in range(12)
    ]
    assert numbers == list(range(12))
