"""What became of every number: one rule for the view ``number_ledger`` and ``version explain``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.journal.local_tables import ALL as LOCAL_TABLES
from cxlocal.journal.migrate import run_script
from cxlocal.journal.schema import EVENT_SQL
from cxlocal.numbers.ledger import FREE_WHY, LINE, Span, spans
from cxlocal.projection.tables import create_sql
from cxlocal.projection.views import create_views_sql

Interval = tuple[str, int, int, str]
VIEW = "SELECT lo, hi, state, why, machine FROM number_ledger ORDER BY lo, hi"
HELD = {
    "": "granted to another machine whose history has not arrived here yet",
    "online": "granted to a run on {}; its use has not been reported yet",
    "reserve": "held by {} for the day the store cannot be reached",
}


def tables() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for text in (EVENT_SQL, LOCAL_TABLES, create_sql(), create_views_sql()):
        run_script(connection, text)
    return connection


def counted(connection: sqlite3.Connection) -> tuple[list[tuple[Any, ...]], int]:
    """The rows of the view, and how many thousand steps SQLite took for them."""
    ticks: list[int] = []
    connection.set_progress_handler(lambda: ticks.append(1), 1000)
    rows = connection.execute(VIEW).fetchall()
    connection.set_progress_handler(None, 0)
    return rows, len(ticks)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = tables()
    yield connection
    connection.close()


def grant(connection: sqlite3.Connection, k: int, kind: str, lo: int, hi: int, node: str) -> None:
    connection.execute(
        "INSERT INTO grant_entry VALUES ('shop', '1', ?, ?, ?, ?, ?, '', '', 1, ?, '', '', 0)",
        (k, kind, lo, hi, node, f"since {node}"),
    )


def skip(connection: sqlite3.Connection, lo: int, hi: int, why: str, node: str) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO number_skip (deliverable, line, lo, hi, why, node, skipped_at)"
        " VALUES ('shop', '1', ?, ?, ?, ?, 'then')",
        (lo, hi, why, node),
    )


def use(connection: sqlite3.Connection, number: int, run: str) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO version (deliverable, line, number, run, text, how, used_at, node,"
        " sequence) VALUES ('shop', '1', ?, ?, ?, 'online', 'then', 'n', 1)",
        (number, run, f"1.{number}"),
    )


NO_REASON = ", and no reason was recorded"
numbers = st.integers(0, 30)
granted = st.tuples(st.sampled_from(["online", "reserve", "raise"]), numbers, st.integers(0, 9),
                    st.sampled_from(["ada", "bob"]))  # fmt: skip
given_up = st.tuples(st.sampled_from(["lost", "moved", "", " "]), numbers, st.integers(0, 9),
                     st.sampled_from(["ada", "bob"]))  # fmt: skip
used = st.tuples(numbers, st.sampled_from(["r1", "r2", "r3"]))


def spans_of(connection: sqlite3.Connection) -> list[Span]:
    """What ``version explain`` looks into."""
    cursor = connection.execute(LINE, {"deliverable": "shop", "line": "1"})
    names = [column[0] for column in cursor.description]
    return list(spans(dict(zip(names, row, strict=True)) for row in cursor))


def painted(
    grants: list[Interval], skips: list[Interval], uses: list[tuple[int, str]]
) -> dict[int, tuple[str, set[str]]]:
    """Number: its state, and the reasons it may have; weakest statement first."""
    top = max([hi(one) for one in (*grants, *skips)] + [number for number, _ in uses], default=-1)
    cursor = max((hi(one) for one in grants if one[0] != "reserve"), default=-1)
    found: dict[int, tuple[str, set[str]]] = {}
    for number in range(top + 1):
        over = [one for one in grants if one[1] <= number <= hi(one)]
        passed = {f"passed over: since {one[3]}" for one in over if one[0] == "raise"}
        held = {HELD[kind].format(node) for kind, _, _, node in over if kind != "raise"}
        gone = {
            f"{one[3]} gave it up" + (f": {one[0]}" if one[0].strip() else NO_REASON)
            for one in skips
            if one[1] <= number <= hi(one)
        }
        runs = sorted({run for one, run in uses if one == number})
        found[number] = ("free", {FREE_WHY}) if number > cursor else ("reserved", {HELD[""]})
        for state, reasons in (("skipped", passed), ("reserved", held), ("skipped", gone)):
            found[number] = (state, reasons) if reasons else found[number]
        if runs:
            both = f"two runs hold it: {' and '.join(runs)}; name a run or a digest instead"
            alone = ("in use, not yet confirmed", {"taken online"})
            found[number] = alone if len(runs) == 1 else ("conflicted", {both})
    return found


def hi(one: Interval) -> int:
    return one[1] + one[2]


@settings(max_examples=200, deadline=None)
@given(st.lists(granted, max_size=6), st.lists(given_up, max_size=4), st.lists(used, max_size=6))
def test_every_number_has_one_state_and_its_reason_is_that_of_explain(
    grants: list[Interval], skips: list[Interval], uses: list[tuple[int, str]]
) -> None:
    """Whatever overlaps whatever; and nobody is named who has no part in it."""
    connection = tables()
    for k, (kind, lo, more, node) in enumerate(grants, 1):
        grant(connection, k, kind, lo, lo + more, node)
    for why, lo, more, node in skips:
        skip(connection, lo, lo + more, why, node)
    for number, run in uses:
        use(connection, number, run)
    wanted, explained = painted(grants, skips, uses), spans_of(connection)
    told = {n: (each.state, each.why) for each in explained for n in range(each.lo, each.hi + 1)}
    assert list(told) == list(wanted)
    assert all(told[n][0] == state and told[n][1] in why for n, (state, why) in wanted.items())
    rows = connection.execute(VIEW).fetchall()
    seen = {
        number: (state, why) for lo, end, state, why, _ in rows for number in range(lo, end + 1)
    }
    assert seen == {number: each for number, each in told.items() if each[0] != "free"}
    whole = [row for row in rows if row[2] in ("reserved", "skipped")]
    for before, after in pairwise(whole):
        assert before[2:] != after[2:] or before[1] + 1 < after[0], "neighbours stand in one row"
    connection.close()


def test_a_machine_is_named_by_its_host_and_holes_in_our_copy_are_said_to_be_holes(
    connection: sqlite3.Connection,
) -> None:
    connection.execute("INSERT INTO machine (node, host) VALUES ('ada', 'laptop')")
    grant(connection, 3, "online", 2, 2, "ada")
    grant(connection, 4, "reserve", 10, 12, "ada")
    skip(connection, 11, 11, "moved", "ada")
    assert [each[:4] for each in spans_of(connection)] == [
        (0, 1, "reserved", HELD[""]),
        (2, 2, "reserved", HELD["online"].format("laptop")),
        (3, 9, "free", FREE_WHY),
        (10, 10, "reserved", HELD["reserve"].format("laptop")),
        (11, 11, "skipped", "laptop gave it up: moved"),
        (12, 12, "reserved", HELD["reserve"].format("laptop")),
    ]


def test_a_cursor_raised_to_a_date_is_one_row_at_once(connection: sqlite3.Connection) -> None:
    grant(connection, 1, "raise", 0, 20_261_122, "ada")
    rows, thousands = counted(connection)
    assert rows == [(0, 20_261_122, "skipped", "passed over: since ada", None)]
    assert thousands < 100


def test_many_numbers_given_up_are_not_compared_with_each_other(
    connection: sqlite3.Connection,
) -> None:
    connection.execute("BEGIN")
    thousands = []
    for beginning, end in ((0, 1_000), (1_000, 10_000)):
        for number in range(beginning, end):
            grant(connection, number + 1, "online", number, number, "ada")
            skip(connection, number, number, f"why {number % 2}", "ada")
        rows, taken = counted(connection)
        assert len(rows) == end
        thousands.append(taken)
    # In proportion, where comparing each with each would take a hundred times as much.
    assert 0 < thousands[0] and thousands[1] < 20 * thousands[0]


def test_odd_numbers_of_a_hostile_peer_hide_nothing(connection: sqlite3.Connection) -> None:
    for lo, hi in ((-5, 3), ("x", 9), (4, "y"), (7, 2), (0, 2**63 - 1)):
        skip(connection, lo, hi, "odd", "eve")  # type: ignore[arg-type]
    use(connection, "many", "r")  # type: ignore[arg-type]
    use(connection, 1, "r1")
    rows = connection.execute(VIEW).fetchall()
    assert [row[0] for row in rows] == [0, 1, 2]
    assert [row[2] for row in rows] == ["skipped", "in use, not yet confirmed", "skipped"]
