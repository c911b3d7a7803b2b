"""The view ``number_ledger``: the same account as ``numbers.ledger.account``, in stretches."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.domain import NumberState
from cxlocal.journal.local_tables import ALL as LOCAL_TABLES
from cxlocal.journal.migrate import run_script
from cxlocal.journal.schema import EVENT_SQL
from cxlocal.numbers import holdings
from cxlocal.numbers.ledger import Skip, Use, account
from cxlocal.projection.tables import create_sql
from cxlocal.projection.views import create_views_sql

Interval = tuple[str, int, int, str]
VIEW = "SELECT lo, hi, state, why, machine FROM number_ledger ORDER BY lo, hi"


def tables() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for text in (EVENT_SQL, LOCAL_TABLES, create_sql(), create_views_sql()):
        run_script(connection, text)
    return connection


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = tables()
    yield connection
    connection.close()


def grant(connection: sqlite3.Connection, k: int, kind: str, lo: int, hi: int, node: str) -> None:
    connection.execute(
        "INSERT INTO grant_entry VALUES ('shop', '1', ?, ?, ?, ?, ?, '', '', 1, '', '', '', 0)",
        (k, kind, lo, hi, node),
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


numbers = st.integers(0, 30)
granted = st.tuples(st.sampled_from(["online", "reserve", "raise"]), numbers, st.integers(0, 9),
                    st.sampled_from(["ada", "bob"]))  # fmt: skip
given_up = st.tuples(st.sampled_from(["lost", "moved"]), numbers, st.integers(0, 9),
                     st.sampled_from(["ada", "bob"]))  # fmt: skip
used = st.tuples(numbers, st.sampled_from(["r1", "r2", "r3"]))


@settings(max_examples=200, deadline=None)
@given(st.lists(granted, max_size=6), st.lists(given_up, max_size=4), st.lists(used, max_size=6))
def test_the_view_says_what_explain_says(
    grants: list[Interval], skips: list[Interval], uses: list[tuple[int, str]]
) -> None:
    """Whatever overlaps whatever: each number has one state, the same in both, and nobody is named
    who has no part in it."""
    connection = tables()
    for k, (kind, lo, more, node) in enumerate(grants, 1):
        grant(connection, k, kind, lo, lo + more, node)
    for why, lo, more, node in skips:
        skip(connection, lo, lo + more, why, node)
    for number, run in uses:
        use(connection, number, run)
    spans = account(
        holdings.log_entries(connection, "shop", "1"),
        [Use._make(row) for row in connection.execute(
            "SELECT number, run, version, how, state, node FROM number_uses")],
        [Skip._make(row) for row in connection.execute(
            "SELECT lo, hi, why, node FROM number_skip")],
    )  # fmt: skip
    said: dict[int, str] = {
        number: span.state for span in spans for number in range(span.lo, span.hi + 1)
    }
    rows = connection.execute(VIEW).fetchall()
    seen: dict[int, str] = {}
    for lo, hi, state, why, machine in rows:
        for number in range(lo, hi + 1):
            assert seen.setdefault(number, state) == state == said[number], (number, rows, spans)
            over = [g for g in grants if g[0] != "raise" and g[1] <= number <= g[1] + g[2]]
            gone = [s for s in skips if s[1] <= number <= s[1] + s[2]]
            if state == "reserved":
                assert machine in {node for *_, node in over} and why is None
            elif state == "skipped" and gone:
                assert (why, machine) in {(s[0], s[3]) for s in gone}
            elif state == "skipped":
                assert (why, machine) == ("passed over", None)
    for number, state in said.items():
        covered = any(g[1] <= number <= g[1] + g[2] for g in grants)
        if state != NumberState.FREE and (state != NumberState.RESERVED or covered):
            assert number in seen, (number, state, rows)
    whole = [row for row in rows if row[2] in ("reserved", "skipped")]
    for before, after in pairwise(whole):
        assert before[2:] != after[2:] or before[1] + 1 < after[0], "neighbours stand in one row"
    connection.close()


def test_a_cursor_raised_to_a_date_is_one_row_at_once(connection: sqlite3.Connection) -> None:
    grant(connection, 1, "raise", 0, 20_261_122, "ada")
    begun = time.perf_counter()
    assert connection.execute(VIEW).fetchall() == [(0, 20_261_122, "skipped", "passed over", None)]
    assert time.perf_counter() - begun < 0.5


def test_many_numbers_given_up_are_not_compared_with_each_other(
    connection: sqlite3.Connection,
) -> None:
    connection.execute("BEGIN")
    for number in range(20_000):
        grant(connection, number + 1, "online", number, number, "ada")
        skip(connection, number, number, f"why {number % 2}", "ada")
    begun = time.perf_counter()
    assert len(connection.execute(VIEW).fetchall()) == 20_000
    assert time.perf_counter() - begun < 1


def test_odd_numbers_of_a_hostile_peer_hide_nothing(connection: sqlite3.Connection) -> None:
    for lo, hi in ((-5, 3), ("x", 9), (4, "y"), (7, 2), (0, 2**63 - 1)):
        skip(connection, lo, hi, "odd", "eve")  # type: ignore[arg-type]
    use(connection, "many", "r")  # type: ignore[arg-type]
    use(connection, 1, "r1")
    rows = connection.execute(VIEW).fetchall()
    assert [row[0] for row in rows] == [0, 1, 2]
    assert [row[2] for row in rows] == ["skipped", "in use, not yet confirmed", "skipped"]
