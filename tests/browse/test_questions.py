"""The ten questions of docs/questions.md and the everyday ones: short SQL, and the right answers."""

from __future__ import annotations

import itertools
import sqlite3
import statistics
from contextlib import closing
from types import ModuleType
from typing import Any

import pytest

from cxlocal.errors import Trouble
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import rebuild
from cxlocal.numbers.ledger import explain
from cxlocal.projection import asked
from cxlocal.projection.figures import FIGURES
from cxlocal.projection.page_questions import PAGE_QUESTIONS
from cxlocal.projection.queries import QUERIES
from cxlocal.projection.questions import QUESTIONS
from cxlocal.projection.statistics import add_statistics

LINES_MAX = 22


def ask(journal: Journal, name: str, **given: str) -> list[dict[str, Any]]:
    query = QUERIES[name]
    assert set(given) <= set(query.parameters)
    return journal.query(query.sql, {**dict.fromkeys(query.parameters, ""), **given})


def picked(rows: list[dict[str, Any]], *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row[column] for column in columns) for row in rows]


def test_there_are_ten_short_questions() -> None:
    assert len(QUESTIONS) == 10
    for name, query in QUERIES.items():
        # Two are the statement of a view, asked about one deliverable or run; what a picture or a sheet is
        # made from says all that is in it.
        free = name in (
            "numbers",
            "story",
            "evidence",
            "recorded-otherwise",
            *PAGE_QUESTIONS,
            *FIGURES,
        )
        assert free or len(query.sql.splitlines()) <= LINES_MAX, name
        assert query.title and query.description.endswith((".", "?")), name


@pytest.mark.parametrize("name", QUERIES)
def test_answers_do_not_change_by_a_rebuild(full_journal: Journal, name: str) -> None:
    before = ask(full_journal, name)
    rebuild(full_journal)
    assert ask(full_journal, name) == before


def test_live_now(full_journal: Journal, journals: ModuleType) -> None:
    rows = ask(full_journal, "live-now")
    assert picked(rows, "deliverable", "environment", "version", "state") == [
        ("webshop", "production", "1.0.6", "disputed"),
        ("webshop", "production", "1.0.101", "disputed"),
        ("webshop", "staging", "1.0.101", "in use, not yet confirmed"),
        (journals.HOSTILE, "prod <b>&", "1.0.0", "in use, confirmed"),
    ]
    assert [row["after_it"] for row in rows] == [None, None, "1.0.100 failed here after it", None]
    assert rows[1]["since"] == "2026-11-28T03:46:20.000Z"
    assert rows[1]["actor"] == "Laptop <laptop@example.org>"
    journals.confirm_live(full_journal)
    rows = ask(full_journal, "live-now")
    assert picked(rows, "environment", "version", "state")[0] == (
        "production", "1.0.101", "in use, not yet confirmed",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at", "known", "live"),
    [
        ("2026-11-23T03:00", "", ["1.0.0"]),
        ("2026-11-23T04:00", "", ["1.0.2"]),
        ("2026-11-24T04:12", "", ["1.0.3"]),
        ("2026-11-24T05:00", "", ["1.0.2"]),  # rolled back
        # What the CI did on the 26th arrived here on the 28th: known then, and known now.
        ("2026-11-27", "2026-11-27", ["1.0.2"]),
        ("2026-11-27", "", ["1.0.2", "1.0.6"]),
        ("2026-11-22", "", []),
    ],
)
def test_live_at(full_journal: Journal, at: str, known: str, live: list[str]) -> None:
    rows = [row for row in ask(full_journal, "live-at", at=at, known=known)]
    found = [row["version"] for row in rows if row["environment"] == "production"]
    assert sorted(found) == live


@pytest.mark.parametrize(
    "at", ["2026-11-24 04:12", "2026-11-24T04:12", "2026-11-24 04:12:59.5", "2026-11-24T04:12Z",
           "2026-11-24T05:12+01:00", "2026-11-24 09:57:00+05:45"],
)  # fmt: skip
def test_times_are_taken_as_people_write_them(full_journal: Journal, at: str) -> None:
    assert "1.0.3" in [row["version"] for row in ask(full_journal, "live-at", at=at)]


@pytest.mark.parametrize(
    "time", ["yesterday", "now", "24.11.2026", "2026", "2026-11", "2459000.5", "2026-02-31", "04:12",
             "2026-11-24T25:00", "2026-11-24T", "2026-11-24 4", "11/24/2026", "24 Nov", "'", "-"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["at", "known"])
def test_what_is_no_time_is_refused(full_journal: Journal, name: str, time: str) -> None:
    with pytest.raises(Trouble, match="is no time, write 2026-11-23"):
        ask(full_journal, "live-at", **{name: time})


def test_what_is_learned_later_changes_nothing_of_what_was_known(full_journal: Journal) -> None:
    """A removal that was heard of on the 28th, and what this machine cannot have known at all."""
    with full_journal.write() as transaction:
        transaction.connection.execute(
            "UPDATE deployment SET removed_at = '2026-11-23T03:30:00.000Z',"
            " removed_received_at = '2026-11-28T00:00:00.000Z' WHERE id = 'p-first'"
        )
    then = {"at": "2026-11-23T03:40"}
    assert picked(ask(full_journal, "live-at", known="2026-11-27", **then), "version") == [
        ("1.0.0",)
    ]
    assert ask(full_journal, "live-at", **then) == []
    before = ask(full_journal, "live-at", known="2026-11-20", **then)
    assert picked(before, "version", "words") == [
        (None, "this machine knew nothing before 2026-11-23T02:13:20.000Z")
    ]


def test_an_order_that_clocks_contradict_is_said(full_journal: Journal) -> None:
    def words() -> set[str | None]:
        return {row["words"] for row in ask(full_journal, "live-at", at="2026-11-24 04:12")}

    assert words() == {None}
    change = "UPDATE deployment SET {} WHERE id = {}"
    with full_journal.write() as transaction:
        execute = transaction.connection.execute
        execute(change.format("deployed_at = '2026-11-25T00:00:00.000Z'", "'p-third'"))
        execute(change.format("received_at = '2026-11-24T03:00:00.000Z'", "'p-fourth'"))
    assert words() == {
        "the clock it was done by was ahead of the one here; it took over from 1.0.2,"
        + " which says a later time"
    }


def test_a_version_text_is_that_of_a_deliverable(
    full_journal: Journal, journals: ModuleType
) -> None:
    """Both have a 1.0.0; the newer one is not the shop's."""
    for name, which in (("version-history", "version"), ("story", "run")):
        shop = ask(full_journal, name, deliverable="webshop", **{which: "1.0.0"})
        wild = ask(full_journal, name, deliverable=journals.HOSTILE, **{which: "1.0.0"})
        assert {"production", "prod <b>&"} & {row["name"] for row in shop} <= {"production"}
        assert shop and wild and shop != wild, name
    assert ask(full_journal, "story", run="1.0.0") == wild
    assert ask(full_journal, "story", run="1.0.2", deliverable=journals.HOSTILE) == []


def test_commits(full_journal: Journal) -> None:
    rows = ask(full_journal, "commits", run="1.0.2")
    assert picked(rows, "position", "subject", "author") == [
        (1, "Change 1 of third", "Other"),
        (2, "Change 2 of third", "Other"),
    ]
    newest = ask(full_journal, "commits")
    assert newest[0]["subject"] == "Change 1 of open"


def test_flaky_tests(full_journal: Journal) -> None:
    rows = ask(full_journal, "flaky-tests")
    # test_pay failed for good in 1.0.1: not flaky. test_slow passed at the second attempt.
    assert picked(rows, "name", "times") == [("test_clock", 1), ("test_slow", 1)]


def test_stage_times(full_journal: Journal) -> None:
    rows = {row["stage"]: row for row in ask(full_journal, "stage-times")}
    assert rows["blackbox"]["mean_duration_seconds"] == 180.0
    assert rows["blackbox"]["mean_waiting_seconds"] == 30.0
    assert rows["unit"]["times"] == 3


def test_lead_time(full_journal: Journal) -> None:
    rows = ask(full_journal, "lead-time", environment="production")
    assert picked(rows, "version") == [("1.0.101",), ("1.0.6",), ("1.0.3",), ("1.0.2",), ("1.0.0",)]
    first = rows[-1]
    # Commits one and two hours before the run was asked for, live fifteen minutes after.
    assert (first["newest_commit_seconds"], first["oldest_commit_seconds"]) == (4500.0, 8100.0)


def test_promoted_by_hand(full_journal: Journal) -> None:
    rows = ask(full_journal, "promoted-by-hand")
    assert picked(rows, "version", "name", "decision", "actor", "reason") == [
        ("1.0.100", "RELEASED", "overridden", "Lead <lead@example.org>", "gate host down")
    ]


def test_offline_numbers(full_journal: Journal) -> None:
    rows = ask(full_journal, "offline-numbers")
    assert picked(rows, "version", "state", "confirmed_at") == [
        ("1.0.101", "in use, not yet confirmed", None),
        ("1.0.100", "in use, confirmed", "2026-11-28T03:30:20.000Z"),
    ]


def test_releases_by_place(full_journal: Journal) -> None:
    rows = ask(full_journal, "releases-by-place")
    assert [tuple(row.values()) for row in rows] == [
        ("2026-11", "laptop", 7, 11),
        ("2026-11", "GitHub Actions", 2, 2),
    ]
    weeks = ask(full_journal, "releases-by-week")
    assert {row["week"] for row in weeks} == {"2026-11-23"}  # a Monday
    assert picked(weeks, "place", "releases", "runs") == [
        ("laptop", 7, 11), ("GitHub Actions", 2, 2),
    ]  # fmt: skip


def test_lead_time_of_commits_that_are_not_all_known_is_empty(full_journal: Journal) -> None:
    for change in ("changes_total = changes_total + 1", "changes_total = NULL"):
        with full_journal.write() as transaction:
            # sql: words of this test
            transaction.connection.execute(f"UPDATE run SET {change}")
        rows = ask(full_journal, "lead-time", environment="production")
        assert {row["oldest_commit_seconds"] for row in rows} == {None}
        assert rows[-1]["newest_commit_seconds"] == 4500.0


def test_periods_say_when_and_by_what_each_deployment_ended(full_journal: Journal) -> None:
    rows = [row for row in reversed(ask(full_journal, "deployment-periods"))
            if row["environment"] == "production"]  # fmt: skip
    told = picked(rows, "version", "ended_by")
    assert told[:3] == [
        ("1.0.0", "deployment of 1.0.2"), ("1.0.2", "deployment of 1.0.3"),
        ("1.0.3", "rollback to 1.0.2"),
    ]  # fmt: skip
    for one, following in itertools.pairwise(rows[:4]):
        assert one["until"] == following["since"] and one["seconds"] > 0
    # What is live is what has no end.
    live = full_journal.query("SELECT deployment FROM deployments_now ORDER BY 1")
    still = full_journal.query(
        "SELECT deployment FROM deployment_periods WHERE until IS NULL ORDER BY 1"
    )
    assert live == still


def test_what_ended_a_period_that_nothing_took_over(full_journal: Journal) -> None:
    with full_journal.write() as transaction:
        transaction.connection.execute(
            "UPDATE deployment SET removed_at = '2026-11-23T03:30:00.000Z' WHERE id = 'p-first'"
        )
    (row,) = full_journal.query(
        "SELECT until, ended_by, seconds FROM deployment_periods WHERE deployment = 'p-first'"
    )
    assert (row["until"], row["ended_by"]) == ("2026-11-23T03:30:00.000Z", "removal")


def test_how_often_stages_fail(full_journal: Journal) -> None:
    rows = ask(full_journal, "stage-failure-rate")
    assert rows and all(
        row["failure_rate"] == round((row["failures"] + row["errors"]) / row["attempts"], 3)
        for row in rows
    )
    assert [row["failure_rate"] for row in rows] == sorted(
        (row["failure_rate"] for row in rows), reverse=True
    )
    assert rows[0]["failure_rate"] > 0


def test_what_was_deployed_without_tests_that_passed(full_journal: Journal) -> None:
    rows = ask(full_journal, "deployed-untested")
    reported = {row["run"] for row in full_journal.query("SELECT DISTINCT run FROM report")}
    assert rows
    for row in rows:
        assert (row["why"] == "no test reported anything") == (row["run"] not in reported)
    deployed = {
        row["version_run"] for row in full_journal.query("SELECT version_run FROM deployment")
    }
    red = {row["run"] for row in full_journal.query(
        "SELECT run FROM report GROUP BY run HAVING max(outcome <> 'success') = 0")}  # fmt: skip
    assert not {row["run"] for row in rows} & red & deployed


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 50, None), ([None, None], 50, None), ([3], 90, 3.0), ([1, 2], 50, 1.5),
        ([3, 1, 2], 50, 2.0), ([1, 2, 3, 4], 25, 1.75), ([1, None, 3], 50, 2.0),
        (list(range(101)), 95, 95.0), ([1, 2, 3], 0, 1.0), ([1, 2, 3], 100, 3.0),
    ],
)  # fmt: skip
def test_median_and_percentile(values: list[Any], share: int, expected: Any) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        add_statistics(connection)
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
        sql = "SELECT percentile(x, ?), median(x) FROM t"
        found, middle = connection.execute(sql, (share,)).fetchone()
        known = sorted(value for value in values if value is not None)
    assert found == expected
    assert middle == (statistics.median(known) if known else None)


@pytest.mark.parametrize("call", ["median('x')", "percentile(1, 101)", "percentile(1, 'p')"])
def test_statistics_of_what_is_no_number(call: str) -> None:
    sqlite3.enable_callback_tracebacks(
        False
    )  # pages made before in this process let them be printed
    with closing(sqlite3.connect(":memory:")) as connection:
        add_statistics(connection)
        with pytest.raises(sqlite3.Error):
            connection.execute(f"SELECT {call}").fetchone()  # sql: words of this test


def test_same_image(full_journal: Journal) -> None:
    rows = {row["version"]: row for row in ask(full_journal, "same-image")}
    assert rows["1.0.3"]["same_artifact"] == rows["1.0.3"]["same_environment_image"] == "yes"
    assert rows["1.0.101"]["same_artifact"] == "yes"
    assert rows["1.0.101"]["same_environment_image"] == "no"


@pytest.mark.parametrize(
    ("digests", "same"),
    [
        ({"staging": ["a"], "production": ["a"]}, "yes"),
        ({"staging": ["a"], "production": ["b"]}, "no"),
        ({"staging": ["a"], "production": [None]}, "not known, 1 of 2"),
        ({"test": ["a"], "staging": ["a"], "production": [None]}, "not known, 2 of 3"),
        ({"test": ["a"], "staging": ["b"], "production": [None]}, "no"),
        ({"staging": [None], "production": [None]}, "not known, 0 of 2"),
        # Two services of one version have bytes of their own, the same in both places or not.
        ({"staging": ["a", "b"], "production": ["b", "a"]}, "yes"),
        ({"staging": ["a", "b"], "production": ["a"]}, "no"),
        ({"staging": ["a", None], "production": ["a"]}, "not known, 1 of 2"),
        ({"staging": ["a", "a"], "production": ["a"]}, "yes"),
    ],
)
def test_same_image_is_known_only_where_every_digest_is(
    full_journal: Journal, digests: dict[str, list[str | None]], same: str
) -> None:
    rows = [
        (f"{place}-{n}", "long", place, place, "9.9.9", "r", found, "2026-12-01T00:00:00.000Z")
        for place, all_found in digests.items() for n, found in enumerate(all_found)
    ]  # fmt: skip
    with full_journal.write() as transaction:
        transaction.connection.executemany(
            "INSERT INTO deployment (id, deliverable, environment, instance, version, version_run,"
            " artifact_sha256, deployed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows,
        )  # fmt: skip
    found = ask(full_journal, "same-image")[0]
    assert (found["version"], found["same_artifact"]) == ("9.9.9", same)


def test_story(full_journal: Journal) -> None:
    rows = ask(full_journal, "story", run="1.0.2")
    assert picked(rows, "what", "name", "result") == [
        ("number", "1.0.2", "online"),
        ("tests", "unit", "failure"),
        ("stage", "unit", "failure"),
        ("tests", "unit", "success"),
        ("stage", "unit", "success"),
        ("stage", "build", "success"),
        ("promotion", "PASSED_TEST", "granted"),
        ("deployment", "shop", "upgraded"),
    ]
    run = rows and full_journal.one("SELECT id FROM run WHERE version = '1.0.2'")
    assert run
    assert ask(full_journal, "story", run=run["id"][:8]) == rows


def test_version_history(full_journal: Journal) -> None:
    rows = ask(full_journal, "version-history", version="1.0.2")
    assert picked(rows, "what", "name", "result") == [
        ("run", "webshop", "success"),
        ("promotion", "PASSED_TEST", "granted"),
        ("deployment", "production", "upgraded"),
        ("replaced", "production", "by 1.0.3"),
        ("deployment", "production", "rolledback"),
        ("replaced", "production", "by 1.0.101"),
    ]


def test_history_of_a_version_that_failed_to_deploy(full_journal: Journal) -> None:
    rows = ask(full_journal, "version-history", version="1.0.100")
    assert picked(rows, "what", "name", "result")[-1] == ("deployment", "staging", "failed")
    assert rows[-1]["words"] == "no <b>room</b> on the disk"


def test_numbers(full_journal: Journal) -> None:
    rows = ask(full_journal, "numbers", deliverable="webshop")
    assert picked(rows, "lo", "hi", "state")[:7] == [
        (200, 202, "skipped"),
        (102, 102, "reserved"),
        (101, 101, "in use, not yet confirmed"),
        (100, 100, "in use, confirmed"),
        (8, 9, "skipped"),
        (7, 7, "in use, not yet confirmed"),
        (6, 6, "conflicted"),
    ]
    assert picked(rows, "why", "machine")[0] == (
        "laptop-bob gave it up: the journal was copied", "laptop-bob",
    )  # fmt: skip
    assert rows[2]["machine"] == "laptop-ada"
    assert rows[1]["why"] == "held by laptop-ada for the day the store cannot be reached"
    for row in rows:
        explained = explain(full_journal, "webshop", row["line"], row["lo"])
        assert (explained.state, explained.why) == (row["state"], row["why"])
    assert ask(full_journal, "numbers") == rows, "empty: the deliverable that ran last"
    # One state for each number: only the conflicted one has two rows, one for each run.
    assert len({row["lo"] for row in rows}) == len(rows) - 1
    assert picked(ask(full_journal, "numbers-unconfirmed"), "version") == [("1.0.7",), ("1.0.101",)]


def test_failed_runs(full_journal: Journal) -> None:
    rows = ask(full_journal, "failed-runs")
    assert picked(rows, "version", "outcome", "stage", "outcome_reason") == [
        # Its run had ended well before.
        ("1.0.100", "failed", "staging", "deploying to staging: no <b>room</b> on the disk"),
        ("1.0.5", "error", "build", "the disk was full"),
        ("1.0.4", "cancel", "build", "stopped by SIGINT"),
        ("1.0.1", "failure", "unit", "stage unit: 1 of 10 failed"),
    ]


def test_slowest_stages(full_journal: Journal) -> None:
    rows = ask(full_journal, "slowest-stages")
    assert picked(rows, "stage", "times", "median_seconds", "slow_tenth_seconds")[:2] == [
        ("blackbox", 5, 180.0, 180.0),
        ("build", 10, 120.0, 120.0),
    ]


def test_tests_of_version(full_journal: Journal) -> None:
    rows = ask(full_journal, "tests-of-version", run="1.0.2")
    assert picked(rows, "outcome", "passed", "flaky", "cases") == [
        ("failure", 9, 0, "test_slow (failed)"),
        ("success", 10, 1, "test_clock (flaky)"),
    ]


def test_look_at(full_journal: Journal) -> None:
    found = ask(full_journal, "look-at")
    raised = full_journal.query("SELECT kind FROM flag ORDER BY kind")
    assert [row["kind"] for row in raised] == ["changed-outside", "report-unreadable"]
    assert picked(found, "kind", "version") == [
        ("deployment-failed", "1.0.100"), ("report-unreadable", "1.0.6"),
    ], "production was deployed to again since"  # fmt: skip
    assert found[0]["text"] == "Staging: 1.0.100 failed here: no <b>room</b> on the disk"
    board = full_journal.one("SELECT outcome, trouble FROM run_board WHERE version = '1.0.100'")
    assert board == {"outcome": "success", "trouble": "staging: failed"}


def _grow(journal: Journal, numbers: range) -> None:
    rows = [("long", "1", n, f"r{n}", f"1.{n}", f"{n:09}", "online", "2026-11-23T02:13:20.000Z",
             "n" * 32, n + 1) for n in numbers]  # fmt: skip
    with journal.write() as transaction:
        many = transaction.connection.executemany
        many(
            'INSERT INTO version (deliverable, line, number, run, "text", sort_key, how, used_at,'
            " node, sequence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        many(
            "INSERT INTO grant_entry VALUES"
            " ('long', '1', ?, 'online', ?, ?, 'n', ?, '', 1, '', '', '', 0)",
            [(n, n, n, f"r{n}") for n in numbers],
        )


def _steps(journal: Journal, name: str) -> int:
    """How much work of SQLite's machine a stored query is, in thousands of its steps."""
    counted = [0]

    def count() -> int:
        counted[0] += 1
        return 0

    journal.connection.set_progress_handler(count, 1000)
    try:
        ask(journal, name)
    finally:
        journal.connection.set_progress_handler(None, 0)
    return counted[0]


def test_a_long_line_costs_in_proportion(full_journal: Journal) -> None:
    """Every stored query on 2,000 numbers and on ten times as many: one that compares each with each
    would cost a hundred times as much."""
    _grow(full_journal, range(2_000))
    before = {name: _steps(full_journal, name) for name in QUERIES}
    _grow(full_journal, range(2_000, 20_000))
    after = {name: _steps(full_journal, name) for name in QUERIES}
    assert {name: after[name] for name in QUERIES if after[name] > 20 * (before[name] + 10)} == {}


def test_no_question_hides_a_table() -> None:
    """Both have their page at the same address."""
    from cxlocal.projection.tables import TABLES
    from cxlocal.projection.views import VIEWS

    assert not QUERIES.keys() & {*TABLES, *VIEWS, "event"}


def test_statistics_read_the_newest_of_a_history_alone(
    full_journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much happened in 90 days."""

    def first() -> str:
        sql = f"SELECT {asked.since('queued_at', 'run')} AS since"
        return str(full_journal.query(sql, {"since": ""})[0]["since"])

    assert first() < "2026-11" and first().endswith("T00:00:00.000Z")
    monkeypatch.setattr(asked, "SINCE_ROWS", 2)
    newest = full_journal.query("SELECT queued_at FROM run ORDER BY queued_at DESC LIMIT 3")
    assert first() == newest[2]["queued_at"]


WAYS = {
    "open-runs": ("SCAN r USING INDEX run_open", "run_by_time"),
    "live-at": ("SCAN d USING INDEX deployment_by_environment", "SEARCH d USING INDEX deployment_by_time"),
    "commits-live": ("", "SEARCH d USING INDEX deployment_by_time"),
    "figures": ("", "SEARCH d USING INDEX deployment_by_time"),
    "same-image": ("", "MATERIALIZE deployment_specs"),
    "releases-by-week": ("SEARCH run USING INDEX run_by_time (queued_at>?)", "SCAN run\n"),
    "releases-by-place": ("SEARCH run USING INDEX run_by_time (queued_at>?)", "SCAN run\n"),
    "slowest-stages": ("SEARCH r USING INDEX run_by_time (queued_at>?)", "SCAN t"),
    "stage-times": ("SEARCH r USING INDEX run_by_time (queued_at>?)", "SCAN t"),
    "stage-failure-rate": ("SEARCH r USING INDEX run_by_time (queued_at>?)", "SCAN t"),
    "flaky-tests": ("SEARCH c USING INDEX", "SCAN c"),
    "runs": ("SEARCH r USING INDEX run_by_deliverable (deliverable=?)", "SCAN r\n"),
    "recorded-otherwise": ("SEARCH e USING INDEX event_by_run (run=?)", "SCAN e"),
    "evidence": ("SEARCH e USING INDEX event_by_run (run=?)", "SCAN e"),
    "promoted-by-hand": ("promotion_by_hand", "SCAN promotion\n"),
}  # fmt: skip
"""By which way a question goes through a history of five million events, and by which it took seconds."""


@pytest.mark.parametrize("name", WAYS)
def test_a_long_history_is_read_by_the_short_way(full_journal: Journal, name: str) -> None:
    query = QUERIES[name]
    rows = full_journal.query(
        f"EXPLAIN QUERY PLAN {query.sql}\nLIMIT 51", dict.fromkeys(query.parameters, "")
    )
    plan = "".join(f"{row['detail']}\n" for row in rows)
    wanted, unwanted = WAYS[name]
    assert wanted in plan
    assert unwanted not in plan


def test_a_report_without_counts_is_no_difference(full_journal: Journal) -> None:
    given = {"older": "1.0.2", "newer": "1.0.3"}
    before = ask(full_journal, "differences", **given)
    with full_journal.write() as transaction:
        transaction.connection.execute(
            "INSERT INTO report (id, run, stage, suite, finished_at) SELECT 'none', id, 'lint', 'lint', queued_at"
            " FROM run WHERE version = '1.0.3'"
        )
    assert ask(full_journal, "differences", **given) == before
