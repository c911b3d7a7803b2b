"""P15: what a machine holds beside its events agrees with them, with the store's log and with itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from numbers_kit import TestClock, open_journal, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.clock import SystemIds
from cxlocal.exchange.own_tables import RULES, check_own_tables, verify
from cxlocal.exchange.salvage import recover_journal
from cxlocal.exchange.state import StoreState, save_store_state
from cxlocal.exchange.sync import synchronise
from cxlocal.journal import verify as shared

LINE = "deliverable = 'webshop' AND line = '2.7'"
FORGED = "'" + "a" * 64 + "'"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    """A machine that took numbers online and of its reserve, gave some up; another
    one took numbers, too."""
    from cxlocal_sync.stores.sqlite import SqliteStore

    folder = tmp_path_factory.mktemp("whole")
    (folder / "central").mkdir()
    store = SqliteStore("sqlite:", folder / "central")
    with open_journal(folder / "other") as other, open_journal(folder / "laptop") as laptop:
        for number in range(3):
            obtain_number(laptop, store, request(f"online-{number}"))
            obtain_number(other, store, request(f"theirs-{number}"))
        assert obtain_number(laptop, None, request("night")).how == "reserve"
        for each in (laptop, other, laptop):
            synchronise(each, store, use_breaker=False)
        assert obtain_number(laptop, None, request("late")).how == "reserve"
        assert verify(laptop).findings == verify(other).findings == []
        rows = laptop.query(
            "SELECT (SELECT count(*) FROM given_up) AS up, next - lo AS used FROM reserve"
        )
        assert rows == [{"up": 1, "used": 1}]
        path = laptop.path
    store.close()
    return path.read_bytes(), path


@pytest.fixture
def laptop(whole: tuple[bytes, Path], tmp_path: Path) -> Path:
    """The home of a copy of that machine's journal."""
    (tmp_path / "laptop").mkdir()
    (tmp_path / "laptop" / "journal.db").write_bytes(whole[0])
    return tmp_path / "laptop"


def tamper(home: Path, script: str) -> None:
    direct = sqlite3.connect(home / "journal.db")
    before = direct.total_changes
    direct.executescript(script)
    assert direct.total_changes > before, "nothing was changed"
    direct.close()


EDITS = {
    "spent": [
        "UPDATE spent SET text = '2.7.99' WHERE run = 'night'",
        "UPDATE spent SET number = number + 50 WHERE run = 'late'",
        "UPDATE spent SET sort_key = sort_key || 'x'",
        "UPDATE spent SET how = 'online' WHERE how = 'reserve'",
        "UPDATE spent SET lineage = ''",
        "UPDATE spent SET number = NULL WHERE run = 'online-0'",
        "UPDATE spent SET run = 'other' WHERE run = 'night'",
        "DELETE FROM spent WHERE run = 'night'",
        "INSERT INTO spent VALUES ('webshop', 'new', '2.7', 900, '2.7.900', 'z', 'online', '')",
    ],
    "reserve": [
        "UPDATE reserve SET next = lo",  # a number a second time
        "UPDATE reserve SET next = hi + 1",
        "UPDATE reserve SET hi = hi + 100",
        "UPDATE reserve SET lo = lo - 50, next = lo - 50",
        "UPDATE reserve SET k = 1",
        "UPDATE reserve SET generation = 2",
        "UPDATE reserve SET lineage = 'another'",
        "UPDATE reserve SET line = '3.0'",
        "INSERT INTO reserve SELECT deliverable, '2.8', lo, hi, next, lineage, generation, k, 0 FROM reserve",
        "INSERT INTO given_up SELECT deliverable, line, next, hi, 'x' FROM reserve",
    ],
    "given_up": [
        "DELETE FROM given_up",
        "UPDATE given_up SET hi = hi + 1",
        "UPDATE given_up SET why = 'no reason'",
        "INSERT INTO given_up VALUES ('webshop', '2.7', 5000, 5009, 'x')",
    ],
    "grant_entry": [
        f"DELETE FROM grant_entry WHERE {LINE} AND k = 2",
        f"UPDATE grant_entry SET hi = hi + 1 WHERE {LINE} AND k = 3",
        f"UPDATE grant_entry SET node = 'x' WHERE {LINE} AND k = 1",
        f"UPDATE grant_entry SET hash = {FORGED} WHERE {LINE} AND k = 2",
        f"UPDATE grant_entry SET previous = {FORGED} WHERE {LINE} AND k = 2",
        f"UPDATE grant_entry SET kind = 'raise' WHERE {LINE} AND k = 1",
        "UPDATE grant_entry SET line = '9' WHERE k = 4",
        "UPDATE grant_entry SET open = 1",
        "UPDATE grant_entry SET generation = 'one' WHERE k = 1",
        "UPDATE store_state SET lineage = 'another'",
    ],
    "store_state": [
        "UPDATE store_state SET generation = 0",
        "UPDATE store_state SET position = -4",
        "UPDATE store_state SET hash = 'x'",
        "UPDATE store_state SET position = 0",
        "UPDATE store_state SET lineage = ''",
    ],
    "ack": [
        "UPDATE ack SET hash = ''",
        "UPDATE ack SET hash = upper(hash)",
        "UPDATE ack SET sequence = -1",
    ],
    "ack_step": [
        "UPDATE ack_step SET sequence = 9999 WHERE sequence = (SELECT max(sequence) FROM ack_step)",
        "UPDATE ack_step SET at = 'yesterday'",
    ],
    "contact": [
        "UPDATE contact SET token_count = -1",
        "UPDATE contact SET proposal_count = proposal_count + 7",
        "UPDATE contact SET accepted = 'many'",
        "UPDATE contact SET token = ''",
    ],
    "local_value": [
        "UPDATE local_value SET value = 'ffff' WHERE name = 'node'",
        "UPDATE local_value SET value = (SELECT node FROM machine"
        + " WHERE node <> value) WHERE name = 'node'",
        "INSERT INTO local_value SELECT 'partial ' || value, '1' FROM local_value WHERE name = 'node'",
    ],
    "relayed": ["INSERT INTO relayed VALUES ('nobody', 0, '', '', '')"],
}  # fmt: skip
CASES = [(table, edit) for table, edits in EDITS.items() for edit in edits]


@pytest.mark.parametrize(("table", "edit"), CASES, ids=[edit[:60] for _, edit in CASES])
def test_p15_what_a_machine_holds_is_compared(laptop: Path, table: str, edit: str) -> None:
    tamper(laptop, edit)
    with open_journal(laptop) as journal:
        found = verify(journal).findings
        assert {finding.kind for finding in found} <= {"held", "acknowledged", "chain"}
        assert any(finding.where.split()[0] == table for finding in found), found


def test_every_rule_is_shown_by_an_edit(laptop: Path, whole: tuple[bytes, Path]) -> None:
    shown: set[str] = set()
    for _, edit in CASES:
        (laptop / "journal.db").write_bytes(whole[0])
        tamper(laptop, edit)
        with open_journal(laptop) as journal:
            shown |= {finding.what for finding in check_own_tables(journal.connection)}
    assert {rule.what for rule in RULES} - shown == set()


@pytest.mark.parametrize(("table", "edit"), CASES[::5], ids=[edit[:60] for _, edit in CASES[::5]])
def test_a_recovery_gives_up_what_is_not_to_be_relied_on(
    laptop: Path, table: str, edit: str
) -> None:
    tamper(laptop, edit)
    recover_journal(laptop / "journal.db", clock=TestClock(), ids=SystemIds(), label="x")
    with open_journal(laptop) as journal:
        assert verify(journal).findings == []
        assert journal.query("SELECT 1 FROM reserve") == []


def test_the_command_names_the_way_out_and_it_works(laptop: Path, cx: Any, tmp_path: Path) -> None:
    tamper(laptop, "UPDATE reserve SET next = lo")
    home = {"CXLOCAL_HOME": str(laptop)}
    told = cx("verify", cwd=tmp_path, env=home)
    assert told.code == 7 and "reserve ('webshop', '2.7')" in told.err
    assert "cxlocal journal recover" in told.err
    assert cx("journal", "rebuild", cwd=tmp_path, env=home).code == 7, "its rows are not the fault"
    assert "goes on under a new id" in cx.ok("journal", "recover", cwd=tmp_path, env=home).err
    assert "all is well" in cx.ok("verify", cwd=tmp_path, env=home).err


def test_without_the_rows_of_the_events_nothing_is_compared_with_them(laptop: Path) -> None:
    """What they differ in is named first; they are made anew, and the rest is compared then."""
    tamper(laptop, "UPDATE reserve SET next = lo; UPDATE version SET text = '9'")
    with open_journal(laptop) as journal:
        assert {finding.kind for finding in verify(journal).findings} == {"projection"}
        assert shared.verify(journal).findings


def test_a_journal_that_was_never_in_contact_knows_an_address_and_no_more(tmp_path: Path) -> None:
    """As a run leaves it that was cancelled before its first exchange."""
    with open_journal(tmp_path) as journal:
        with journal.write() as transaction:
            save_store_state(transaction.connection, StoreState(url="https://store.example"))
        assert verify(journal).findings == []
    tamper(tmp_path, "UPDATE store_state SET generation = 1")
    with open_journal(tmp_path) as journal:
        assert [one.where for one in verify(journal).findings] == ["store_state (1,)"]
