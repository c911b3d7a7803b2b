"""Appending: coordinates, chains, durability of a transaction, limits, other versions."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from cxlocal.clock import SystemIds
from cxlocal.errors import CxError, JournalDamaged, Trouble
from cxlocal.events import types
from cxlocal.events.document import DOCUMENT_BYTES_MAX, NO_HASH, Draft, hash_of
from cxlocal.events.hybrid import COUNTER_BITS
from cxlocal.journal.file import Journal
from cxlocal.journal.local_tables import ALL as LOCAL_TABLES
from cxlocal.journal.read import all_events
from cxlocal.journal.rebuild import catch_up
from cxlocal.journal.verify import verify
from cxlocal.projection.project import project
from cxlocal.projection.tables import PROJECTION_VERSION


def flag(text: str = "look", deliverable: str | None = None, run: str | None = None) -> Draft:
    custom = {"kind": "note", "subject": "s", "text": text}
    return Draft(types.RUN_FLAGGED, "s", {}, custom, deliverable, run)


def test_the_first_write_begins_the_machine(journal: Journal) -> None:
    assert journal.node == ""
    (event,) = journal.append(flag())
    assert len(journal.node) == 32 and event.node == journal.node
    assert event.sequence == 2, "the first event of a chain says which machine it is"
    row = journal.one("SELECT * FROM machine")
    assert row is not None and row["node"] == journal.node and row["cause"] == "first use"


def test_chains_run_per_node_and_per_deliverable(journal: Journal) -> None:
    drafts = [flag(), flag(deliverable="a"), flag(deliverable="b"), flag(deliverable="a")]
    plain, first_a, first_b, second_a = journal.append(*drafts)
    assert [event.sequence for event in (plain, first_a, first_b, second_a)] == [2, 3, 4, 5]
    assert plain.deliverable_sequence is None and plain.previous_in_deliverable == NO_HASH
    assert (first_a.deliverable_sequence, second_a.deliverable_sequence) == (1, 2)
    assert second_a.previous_in_deliverable == first_a.hash
    assert second_a.previous == first_b.hash
    assert all(hash_of(event) == event.hash for _, event in all_events(journal))


def test_a_failing_transaction_leaves_nothing(journal: Journal) -> None:
    journal.append(flag())
    with pytest.raises(RuntimeError, match="stop"), journal.write() as transaction:
        transaction.append(flag(deliverable="fresh", run="r"))
        raise RuntimeError("stop")
    assert journal.one("SELECT count(*) AS n FROM event") == {"n": 2}
    # The look-up made in the failed transaction must not be remembered.
    journal.append(flag(deliverable="other"), flag(deliverable="fresh", run="r2"))
    assert verify(journal).findings == []


def test_the_run_is_one_chain_of_links(journal: Journal) -> None:
    first, second = journal.append(flag(run="r"), flag(run="r"))
    links = second.parsed()["context"]["links"]
    assert links == [{"linkType": "PATH", "from": {"contextId": first.parsed()["context"]["id"]}}]
    assert "links" not in first.parsed()["context"]


def test_what_is_too_long_is_refused_and_nothing_written(journal: Journal) -> None:
    journal.append(flag())
    with pytest.raises(Trouble, match="too long") as caught:
        journal.append(flag("x" * (DOCUMENT_BYTES_MAX + 1)))
    assert caught.value.name == "event-too-long"
    assert journal.one("SELECT count(*) AS n FROM event") == {"n": 2}


def test_undecodable_bytes_become_visible_escapes(journal: Journal) -> None:
    (event,) = journal.append(flag(os.fsdecode(b"caf\xe9")))
    assert json.loads(event.document)["customData"]["cxlocal"]["text"] == "caf\\xe9"
    assert verify(journal).findings == []


@pytest.mark.parametrize("name", ["ü / \\ ' \" ; -- <b>%00", "a" * 200, "../../etc", "日本", "%s"])
def test_any_deliverable_name_is_stored_as_it_is(journal: Journal, name: str) -> None:
    journal.append(flag(deliverable=name))
    assert journal.query("SELECT name FROM deliverable_lookup") == [{"name": name}]
    assert verify(journal).findings == []


def test_two_connections_write_one_chain(make_journal: Callable[..., Journal]) -> None:
    one, two = make_journal(), make_journal()
    for _ in range(3):
        one.append(flag(deliverable="a"))
        two.append(flag(deliverable="a"))
    assert [event.sequence for _, event in all_events(one)] == list(range(1, 8))
    assert verify(two).findings == []


def test_the_clock_never_goes_back_and_follows_the_wall(journal: Journal, clock: object) -> None:
    clock.ms += 1000  # type: ignore[attr-defined]
    (before,) = journal.append(flag())
    clock.ms -= 7_200_000  # type: ignore[attr-defined]
    (back,) = journal.append(flag())
    assert back.clock == before.clock + 1
    clock.ms += 20 * 365 * 86_400_000  # type: ignore[attr-defined]
    (forward,) = journal.append(flag())
    assert forward.clock >> COUNTER_BITS == clock.ms  # type: ignore[attr-defined]


def test_events_cannot_be_changed_by_sql(journal: Journal) -> None:
    journal.append(flag())
    for statement in ("UPDATE event SET sequence = 9", "DELETE FROM event"):
        with pytest.raises(sqlite3.IntegrityError, match="events are never"):
            journal.connection.execute(statement)


def test_the_file_is_in_the_durable_mode(journal: Journal) -> None:
    assert journal.connection.execute("PRAGMA journal_mode").fetchone() == ("truncate",)
    assert journal.connection.execute("PRAGMA synchronous").fetchone() == (2,)


def elsewhere(journal: Journal, statement: str) -> None:
    """What another release of cxlocal does to the file, in a process of its own."""
    other = sqlite3.connect(journal.path)
    other.execute(statement)
    other.commit()
    other.close()


def test_an_older_cxlocal_appends_and_leaves_the_projection_behind(journal: Journal) -> None:
    journal.append(flag("before"))
    elsewhere(journal, "UPDATE projection_state SET version = version + 1")
    journal.append(flag("after"), flag("and after"))
    assert [row["text"] for row in journal.query("SELECT text FROM flag")] == ["before"]
    assert catch_up(journal) is False, "tables of a newer version are left alone"
    # The newer one finds out where it has to go on.
    elsewhere(journal, f"UPDATE projection_state SET version = {PROJECTION_VERSION}")
    assert catch_up(journal) is True
    assert len(journal.query("SELECT text FROM flag")) == 3
    journal.append(flag("again at once"))
    assert len(journal.query("SELECT text FROM flag")) == 4


def test_a_newer_cxlocal_projects_anew_in_steps(journal: Journal) -> None:
    for _ in range(3):
        journal.append(flag())
    elsewhere(journal, "UPDATE projection_state SET version = 0")
    elsewhere(journal, "DELETE FROM flag")
    journal.append(flag())
    assert catch_up(journal)
    assert journal.one("SELECT count(*) AS n FROM flag") == {"n": 4}


def test_another_process_is_noticed_between_two_appends(
    make_journal: Callable[..., Journal],
) -> None:
    one, two = make_journal(), make_journal()
    one.append(flag(deliverable="a", run="r"))
    two.append(flag(deliverable="a", run="r"))
    (third,) = one.append(flag(deliverable="a", run="r"))
    assert (third.sequence, third.deliverable_sequence) == (4, 3)
    assert verify(one).findings == []


def test_a_file_of_another_program_is_not_touched(tmp_path: Path, clock: object) -> None:
    path = tmp_path / "journal.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE notes (t)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(JournalDamaged, match="not a cxlocal journal"):
        Journal.open(path, clock=clock, ids=SystemIds())  # type: ignore[arg-type]
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", [b"not a database, not at all " * 200, b"SQLite format 3\0abc"])
def test_a_damaged_file_says_so(tmp_path: Path, clock: object, damage: bytes) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(damage)
    with pytest.raises(JournalDamaged) as caught:
        Journal.open(path, clock=clock, ids=SystemIds())  # type: ignore[arg-type]
    assert "cxlocal journal recover" in caught.value.hint


def test_no_journal_where_one_only_looks(tmp_path: Path, clock: object) -> None:
    with pytest.raises(Trouble) as caught:
        Journal.open(tmp_path / "journal.db", clock=clock, ids=SystemIds(), create=False)  # type: ignore[arg-type]
    assert caught.value.name == "no-journal"
    assert not (tmp_path / "journal.db").exists()


def test_a_replaced_file_is_noticed_before_writing(journal: Journal) -> None:
    journal.append(flag())
    path = journal.path
    path.rename(path.with_name("old.db"))
    with pytest.raises(CxError) as caught:
        journal.append(flag())
    assert caught.value.name == "journal-replaced"
    path.write_bytes(path.with_name("old.db").read_bytes())
    with pytest.raises(CxError, match="replaced"):
        journal.append(flag())


def test_a_waiting_commit_outlasts_a_reader(make_journal: Callable[..., Journal]) -> None:
    journal = make_journal()
    journal.append(flag())
    journal.connection.execute("PRAGMA busy_timeout=50")
    reader = sqlite3.connect(journal.path)
    cursor = reader.execute("SELECT * FROM event")
    cursor.fetchone()
    waited: list[float] = []

    class Releasing:
        """A clock whose third look lets the reader go: the writer must have been waiting."""

        def now_ms(self) -> int:
            return 1_795_400_000_000

        def monotonic(self) -> float:
            waited.append(0)
            if len(waited) == 3:
                cursor.close()
            return len(waited) / 1000

    journal.clock = Releasing()
    journal.append(flag("held up"))
    assert len(waited) >= 3
    assert journal.one("SELECT count(*) AS n FROM event") == {"n": 3}
    reader.close()


def test_a_reader_that_never_lets_go_is_named_and_nothing_is_kept(
    make_journal: Callable[..., Journal],
) -> None:
    journal = make_journal()
    journal.append(flag())
    journal.connection.execute("PRAGMA busy_timeout=50")
    reader = sqlite3.connect(journal.path)
    cursor = reader.execute("SELECT * FROM event")
    cursor.fetchone()

    class Impatient:
        """Sixty seconds pass between two looks."""

        seconds = 0.0

        def now_ms(self) -> int:
            return 1_795_400_000_000

        def monotonic(self) -> float:
            self.seconds += 61
            return self.seconds

    journal.clock = Impatient()
    with pytest.raises(Trouble) as caught:
        journal.append(flag("lost"))
    assert caught.value.name == "journal-busy" and "nothing was written" in caught.value.why
    cursor.close()
    reader.close()
    assert journal.one("SELECT count(*) AS n FROM event") == {"n": 2}
    journal.append(flag("again"))


def test_every_local_column_has_its_reason_beside_it() -> None:
    words = ("PRIMARY KEY (", "CHECK (", "UNIQUE (")
    for line in LOCAL_TABLES.splitlines():
        text = line.strip()
        if line.startswith(" ") and not text.startswith(words):
            assert "--" in line, f"no reason beside: {text}"


@pytest.mark.parametrize(
    ("kind", "custom"),
    [
        (types.VERSION_USED, {"line": None, "number": 3, "text": "1.3"}),
        (types.SUITE_FINISHED, {"cases": [{"name": None, "outcome": "failed"}]}),
        (types.SERVICE_DEPLOYED, {"replaces": [None], "service": "s"}),
        (types.ENVIRONMENT_CREATED, {"turn": "many"}),
        (types.ENVIRONMENT_CREATED, {"turn": 10**30}),
    ],
)
def test_an_odd_event_stops_nothing(journal: Journal, kind: str, custom: dict[str, object]) -> None:
    """Whatever another version or a hostile peer writes: it is kept, and tables stay readable."""
    journal.append(Draft(kind, "subject", {}, custom, "shop", "run-1"))
    journal.append(flag("after it"))
    assert journal.query("SELECT text FROM flag WHERE text = 'after it'")
    assert verify(journal).findings == []
    reset_and_again = journal.query("SELECT count(*) AS n FROM flag")
    with journal.write() as transaction:
        transaction.connection.execute("UPDATE projection_state SET behind_from = 1")
    catch_up(journal)
    assert journal.query("SELECT count(*) AS n FROM flag") == reset_and_again


def test_a_document_that_is_nested_too_deeply_stops_nothing(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    (event,) = journal.append(flag())
    deep = event.document[:-1] + ',"x":' + "[" * 100_000 + "]" * 100_000 + "}"
    with pytest.raises(ValueError, match="nested too deeply"):
        event._replace(document=deep).parsed()
    assert [fact.table for fact in project(event._replace(document=deep))] == ["flag"]


class FailingOnce:
    """A connection whose next COMMIT ends in an error of the disk."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self.real = real
        self.closed = False

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def execute(self, sql: str, *parameters: object) -> object:
        if sql == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return self.real.execute(sql, *parameters)  # type: ignore[arg-type]

    def close(self) -> None:
        self.closed = True
        self.real.close()


def test_after_an_error_at_commit_the_file_is_read_anew(journal: Journal) -> None:
    journal.append(flag("before"))
    failing = FailingOnce(journal.connection)
    journal.connection = failing  # type: ignore[assignment]
    with pytest.raises(CxError, match="journal"):
        journal.append(flag("lost"))
    assert failing.closed, "what it had in memory must decide nothing"
    journal.append(flag("after"))
    texts = [row["text"] for row in journal.query("SELECT text FROM flag ORDER BY raised_at, text")]
    assert sorted(texts) == ["after", "before"]
    assert verify(journal).findings == []
