"""P1, P2, P3, P5 and P7 under kill -9: the stress script with as many numbers as fit the suite, for each
kind of store; and that its checks find what they are there to find."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NEEDS = pytest.mark.needs("pg_ctlcluster")
KINDS = [
    pytest.param(kind, marks=[NEEDS] if "postgresql" in kind else [])
    for kind in ("sqlite", "http", "http-postgresql", "postgresql", "folder", "s3")
]
BENCH = Path(__file__).parents[1] / "bench"
sys.path.insert(0, str(BENCH))

from numbers_kit import request
from stress_backs import opened
from stress_check import (
    Printed,
    accounted,
    grant_faults,
    ledger_faults,
    open_journal,
    out_of_order,
)

from cxlocal.allocation.allocator import obtain_number
from cxlocal.exchange.sync import synchronise
from cxlocal.numbers.ledger import NumberState, Span

pytestmark = pytest.mark.slow


def stress(folder: Path, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(BENCH / "reserve_stress.py"), "--folder", str(folder), *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_p1_p2_p3_p7_eight_processes_under_kill_9(tmp_path: Path) -> None:
    found = stress(tmp_path, "--nodes", "2", "--numbers", "1000", "--limit-seconds", "25")
    assert found["numbers"] >= 300, "too slow to say anything"
    assert found["kills"] > 10
    assert found["offline"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_p1_p2_p3_p5_p7_eight_machines_and_every_store(kind: str, tmp_path: Path) -> None:
    found = stress(
        tmp_path, "--store", kind, "--nodes", "8", "--numbers", "300", "--limit-seconds", "5"
    )
    assert found["numbers"] >= 50, "too slow to say anything"
    assert found["kills"] >= 2
    assert found["online"] > 0


def test_a_number_below_one_that_was_handed_out_before_is_found() -> None:
    first = Printed(7, "a", "online", 10, 20)
    beside = Printed(5, "b", "online", 15, 40)
    after = Printed(6, "c", "online", 21, 30)
    higher = Printed(8, "d", "online", 22, 30)
    assert list(out_of_order([first, beside, higher])) == []
    assert list(out_of_order([higher, after, first])) == [
        "6 was asked for when 7 had been handed out"
    ]


def test_faulty_grants_are_found() -> None:
    log = [
        (1, "online", 0, 0, "n", "a", ""),
        (2, "reserve", 100, 119, "n", "", ""),
        (3, "online", 1, 1, "m", "b", ""),
    ]
    own = [("n", Printed(0, "a", "online", 0, 1)), ("n", Printed(100, "c", "reserve", 0, 1))]
    assert list(grant_faults(log, own)) == []
    assert list(grant_faults([log[0], log[2]], [])) == ["the log of grants has a gap"]
    overlap = [*log, (4, "online", 110, 110, "m", "d", "")]
    assert "overlap" in next(grant_faults(overlap, []))
    falling = [(1, "online", 5, 5, "n", "a", ""), (2, "online", 4, 4, "n", "b", "")]
    assert list(grant_faults(falling, [])) == ["4 was granted after 5"]
    strangers = [("m", Printed(0, "a", "online", 0, 1)), ("m", Printed(100, "c", "reserve", 0, 1))]
    assert len(list(grant_faults(log, strangers))) == 2


def test_a_number_without_a_state_or_an_explanation_is_found() -> None:
    def span(lo: int, hi: int, state: NumberState, why: str = "") -> Span:
        return Span(lo, hi, state, why, None, None, None)

    states: dict[str, int] = {}
    held = span(3, 9, NumberState.RESERVED, "held by here")
    assert list(ledger_faults([span(0, 2, NumberState.SKIPPED), held], states)) == []
    assert states == {"skipped": 3, "reserved": 7}
    assert list(ledger_faults([span(0, 1, NumberState.SKIPPED), held], {}))
    assert list(ledger_faults([span(0, 9, NumberState.RESERVED, "granted to a run")], {}))
    assert list(ledger_faults([span(0, 0, NumberState.CONFLICTED)], {}))


def test_a_report_that_no_journal_bears_out_is_found(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("one", "two", "witness")]
    reports = [tmp_path / "one.txt", tmp_path / "two.txt"]
    (tmp_path / "central").mkdir()
    opened(f"sqlite://{tmp_path}/central/store.db", homes[0]).create()
    stores = [opened(f"sqlite://{tmp_path}/central/store.db", home) for home in homes]
    for moment in range(4):
        at = moment % 2
        with open_journal(homes[at]) as journal:
            run = f"run-{moment}"
            number = obtain_number(journal, stores[at], request(run))
            with reports[at].open("a") as report:
                report.write(f"{number.number} {run} {number.how} {moment}0 {moment}9\n")
    found, faults = accounted(homes, reports, stores)
    assert (faults, found["numbers"], found["online"]) == ([], 4, 4)

    said = reports[0].read_text()
    reports[0].write_text(said + said.splitlines()[0] + "\n")
    assert "a number was printed twice" in accounted(homes, reports, stores)[1]
    reports[0].write_text(said + "77 run-9 online 90 99\n")
    faults = accounted(homes, reports, stores)[1]
    assert "77 was printed and is not in the journal" in faults
    assert "77 was printed as online and not granted to run-9" in faults
    reports[0].write_text(said)

    # A machine holds what the store never said, and the store's own memory says less than that.
    with open_journal(homes[0]) as journal:
        synchronise(journal, stores[0])
        journal.connection.execute("UPDATE grant_entry SET hash = 'x' WHERE k = 1")
    assert "a machine knows other grants than the store" in accounted(homes, reports, stores)[1]
    for store in stores:
        store.close()  # type: ignore[attr-defined]
