"""P15: verify notices any change to an event, its coordinates or a projected row."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxlocal.domain import Outcome
from cxlocal.events.document import Event
from cxlocal.events.runs import (
    RunRef,
    run_finished,
    run_flagged,
    run_queued,
    run_started,
    stage_started,
)
from cxlocal.exchange.messages import BadMessage
from cxlocal.exchange.receive import take_event
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.journal.verify import verify


@pytest.fixture
def written(make_journal: Callable[..., Journal]) -> Iterator[Journal]:
    journal = make_journal("written")
    ref = RunRef("shop", "3e0b2c4e-0000-4000-8000-000000000001", "shop", "urn:uuid:1")
    journal.append(run_queued(ref, {"kind": "release", "actor": {"id": "a", "how": "t"}}))
    journal.append(run_started(ref, version="1.0.0", line="1.0", number=0, how="online"))
    journal.append(stage_started(ref, stage="s", attempt=1, facts={"kind": "task"}))
    journal.append(
        run_finished(
            ref, outcome=Outcome.SUCCESS, reason="", version="1.0.0", seconds=1, stopped_before=""
        )
    )
    yield journal


def tamper(journal: Journal, statement: str, parameters: tuple[object, ...] = ()) -> None:
    """Change the file as somebody with a database tool would, around the triggers."""
    direct = sqlite3.connect(journal.path)
    direct.execute("DROP TRIGGER IF EXISTS event_no_update")
    direct.execute("DROP TRIGGER IF EXISTS event_no_delete")
    assert direct.execute(statement, parameters).rowcount != 0
    direct.commit()
    direct.close()


def test_p15_an_untouched_journal_is_clean(written: Journal) -> None:
    checked = verify(written)
    assert checked.findings == [] and checked.events == 5 and checked.rows > 3


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("sequence", "99"), ("clock", "clock + 1"), ("time", "time + 1000"),
        ("type", "(SELECT min(id) FROM type_lookup)"), ("run", "NULL"), ("deliverable", "NULL"),
        ("deliverable_sequence", "7"), ("previous", "zeroblob(32)"),
        ("previous_in_deliverable", "randomblob(32)"), ("hash", "randomblob(32)"),
        ("document", "replace(document, '1.0.0', '1.0.1')"),
        ("document", "CAST(document AS BLOB)"), ("sequence", "'three'"), ("hash", "'text'"),
        ("document", "CAST(x'ff' || document AS TEXT)"),
        ("document", "'{\"a\":' || replace(hex(zeroblob(60000)), '00', '[')"),
    ],
)  # fmt: skip
def test_p15_every_changed_coordinate_is_noticed(written: Journal, column: str, value: str) -> None:
    tamper(written, f"UPDATE event SET {column} = {value} WHERE id = 3")
    findings = verify(written).findings
    assert findings, f"a changed {column} went unnoticed"
    assert any("event 3" in finding.where for finding in findings), findings


ODD_VALUES = [
    "NULL", "''", "'abc'", "x'fffe'", "-1", "9223372036854775807", "1e300", "3.5",
    "CAST(x'ff' AS TEXT)", "zeroblob(32)", "replace(hex(zeroblob(60000)), '00', '[')",
]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "column"),
    [
        *(("event", name) for name in (
            "node", "sequence", "branch", "type", "deliverable", "deliverable_sequence", "run",
            "time", "clock", "received", "previous", "previous_in_deliverable", "hash", "document",
        )),
        *((f"{name}_lookup", "name") for name in ("node", "type", "deliverable", "run")),
        ("projection_state", "version"),
    ],
)  # fmt: skip
def test_p15_whatever_a_column_is_made_to_hold_is_a_finding(
    written: Journal, make_journal: Callable[..., Journal], table: str, column: str
) -> None:
    """Never an exception, and the event itself is named."""
    where = "WHERE id = 3" if table == "event" else "WHERE id = 1"
    whole = written.path.read_bytes()
    written.close()
    for number, value in enumerate(ODD_VALUES):
        path = written.path.parent.parent / f"odd-{number}" / "journal.db"
        path.parent.mkdir()
        path.write_bytes(whole)
        journal = make_journal(path.parent.name)
        try:
            tamper(journal, f"UPDATE {table} SET {column} = {value} {where}")
        except sqlite3.IntegrityError:
            continue  # the column itself refuses it
        checked = verify(journal)
        if column == "version" and value == "9223372036854775807":
            assert [finding.kind for finding in checked.findings] == ["uncompared"]
            continue
        assert checked.findings, f"{column} = {value} went unnoticed"
        if table == "event":
            assert "event 3" in {finding.where[:7] for finding in checked.findings}, value


@pytest.mark.parametrize("version", ["version + 1", "99", "9223372036854775807"])
def test_p15_rows_that_were_not_compared_are_not_called_well(
    written: Journal, cx: Any, tmp_path: Path, version: str
) -> None:
    """A newer cxlocal wrote them, or somebody says so to hide a changed row."""
    tamper(written, "UPDATE run SET outcome = 'failure'")
    tamper(written, f"UPDATE projection_state SET version = {version}")
    home = {"CXLOCAL_HOME": str(written.home)}
    told = cx("verify", cwd=tmp_path, env=home)
    assert told.code == 8 and "all is well" not in told.err + told.out
    assert "were not compared" in told.err and "cxlocal journal rebuild" in told.err
    told = cx("verify", "--json", cwd=tmp_path, env=home)
    assert told.code == 8 and '"uncompared"' in told.out
    assert "nothing is to be recovered" in cx.ok("journal", "recover", cwd=tmp_path, env=home).err
    # What it proposes tells.
    assert cx("journal", "rebuild", cwd=tmp_path, env=home).code == 0
    assert "all is well" in cx.ok("verify", cwd=tmp_path, env=home).err


def test_p15_an_event_that_was_changed_is_named_whoever_wrote_the_rows(
    written: Journal, cx: Any, tmp_path: Path
) -> None:
    tamper(written, "UPDATE projection_state SET version = 99")
    tamper(written, "UPDATE event SET document = replace(document, 'shop', 'chop') WHERE id = 3")
    told = cx("verify", cwd=tmp_path, env={"CXLOCAL_HOME": str(written.home)})
    assert told.code == 7 and "event 3" in told.err


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE event SET document = replace(document, 'shop', 'chop') WHERE id >= 3",
        "UPDATE event SET document = 'no document' WHERE id = 3",
        "DELETE FROM event WHERE id = 3",
    ],
)
def test_p15_a_rebuild_from_changed_events_says_so(
    written: Journal, cx: Any, tmp_path: Path, change: str
) -> None:
    home = {"CXLOCAL_HOME": str(written.path.parent)}
    assert cx.ok("journal", "rebuild", cwd=tmp_path, env=home).err.startswith(
        "All tables were made"
    )
    tamper(written, change)
    rebuilt = cx("journal", "rebuild", cwd=tmp_path, env=home)
    checked = cx("verify", cwd=tmp_path, env=home)
    assert rebuilt.code == checked.code == 7
    said = rebuilt.err[rebuilt.err.index("Error: the journal") :]
    assert "the first: " in said and "cxlocal journal recover" in said
    assert said == checked.err[checked.err.index("Error: the journal") :]


def test_p15_a_removed_event_is_noticed(written: Journal) -> None:
    tamper(written, "DELETE FROM event WHERE id = 3")
    assert {finding.kind for finding in verify(written).findings} >= {"chain"}


@pytest.mark.parametrize(
    "table", ["node_lookup", "type_lookup", "deliverable_lookup", "run_lookup"]
)
def test_p15_a_changed_look_up_is_noticed(written: Journal, table: str) -> None:
    tamper(written, f"UPDATE {table} SET name = name || 'x' WHERE id = 1")
    assert verify(written).findings


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE run SET outcome = 'failure'",
        "DELETE FROM stage_run",
        "INSERT INTO deliverable (id, title) VALUES ('ghost', 'Ghost')",
        "UPDATE run SET started_from = 'x'",
        "UPDATE run SET outcome = 'failure'; UPDATE projection_state SET behind_from = 5",
        "UPDATE run SET outcome = 'failure'; UPDATE projection_state SET version = 0",
        "UPDATE run SET outcome = 'failure'; DELETE FROM projection_state",
        "DROP VIEW run_board; CREATE VIEW run_board AS SELECT 'all is well' AS run",
    ],
)
def test_p15_a_changed_projected_row_is_noticed(written: Journal, statement: str) -> None:
    for each in statement.split("; "):
        tamper(written, each)
    assert {finding.kind for finding in verify(written).findings} == {"projection"}


def test_p15_an_event_moved_to_another_branch_is_noticed(written: Journal) -> None:
    tamper(written, "UPDATE event SET branch = 1 WHERE id = (SELECT max(id) FROM event)")
    assert "coordinates" in {finding.kind for finding in verify(written).findings}


def test_p15_the_last_event_may_not_go_once_a_store_has_it(written: Journal) -> None:
    node = written.node
    last = written.query("SELECT max(sequence) AS n FROM event")[0]["n"]
    tamper(written, "INSERT INTO ack VALUES (?, 0, ?, '', 1)", (node, last))
    assert verify(written).findings == []
    tamper(written, "DELETE FROM event WHERE id = (SELECT max(id) FROM event)")
    tamper(written, "UPDATE run SET outcome = NULL, outcome_reason = NULL, stopped_before = NULL,"
           " finished_at = NULL, duration_seconds = NULL, finished_from = NULL")  # fmt: skip
    assert [finding.kind for finding in verify(written).findings] == ["chain"]


def test_a_journal_that_is_being_written_is_not_called_changed(
    written: Journal, tmp_path: Path
) -> None:
    enough = tmp_path / "enough"
    program = (
        "import sys, time; from pathlib import Path; from cxlocal.clock import SystemClock, SystemIds\n"
        "from cxlocal.journal.file import Journal; from cxlocal.events.runs import run_flagged\n"
        "journal = Journal.open(Path(sys.argv[1]), clock=SystemClock(), ids=SystemIds())\n"
        "while not Path(sys.argv[2]).exists():\n"
        "    journal.append(run_flagged(kind='k', subject='s', text='t')); time.sleep(0.01)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(written.path), str(enough)])
    seen = set()
    try:
        while len(seen) < 5:
            assert writer.poll() is None
            seen.add(written.query("SELECT count(*) AS n FROM event")[0]["n"])
            assert verify(written).findings == []
    finally:
        enough.touch()
        code = writer.wait(30)
    assert code == 0


def test_a_row_is_written_whatever_says_first_that_a_run_is(written: Journal) -> None:
    """A notice about a run, before anything of the run itself is known."""
    ref = RunRef("shop", "unknown-run", "shop", "urn:uuid:2")
    written.append(
        run_flagged(kind="k", subject=ref.run, text="t", deliverable="shop", run=ref.run)
    )
    written.append(stage_started(ref, stage="s", attempt=1, facts={"kind": "task"}))
    assert written.one("SELECT 1 AS found FROM run WHERE id = 'unknown-run'") == {"found": 1}
    assert verify(written).findings == []


def test_p15_every_flipped_byte_of_a_document_is_noticed(
    written: Journal, make_journal: Callable[..., Journal]
) -> None:
    events = [event for _, event in all_events(written)]
    target = make_journal("target")
    document = events[2].document
    for place in range(0, len(document), 7):
        flipped = document[:place] + chr(ord(document[place]) ^ 1) + document[place + 1 :]
        batch: list[Event] = [*events[:2], events[2]._replace(document=flipped)]
        with pytest.raises(BadMessage, match="changed on the way"), target.write() as transaction:
            for event in batch:
                take_event(transaction, event, 1)
    assert target.one("SELECT count(*) AS n FROM event") == {"n": 0}


def test_the_first_bad_event_is_named(written: Journal) -> None:
    tamper(written, "UPDATE event SET document = replace(document, 'shop', 'chop') WHERE id >= 3")
    first = verify(written).findings[0]
    assert first.kind == "hash" and "event 3" in first.where
